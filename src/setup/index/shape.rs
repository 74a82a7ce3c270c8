//! Whether what has an index's name is of the configured shape (an index, an alias of dated ones, a data stream) and takes
//! documents.
//!
//! The server answers both document by document; here it is one sentence.

use crate::config::{Config, Indices};
use crate::index::Unavailable;
use crate::index::names;
use crate::index::opensearch::{Answer, Client, probe, words};
use anyhow::bail;
use opensearch::http::Method;
use outlier_core::pipeline::Millis;
use serde_json::Value;
use std::time::Duration;

/// Settings of an index that keep documents out.
const BLOCKS: [&str; 3] = ["index.blocks.read_only_allow_delete", "index.blocks.read_only", "index.blocks.write"];

/// What is over after so long is no obstacle: a moment of load, a shard that is just made.
const MOMENT: Duration = Duration::from_secs(1);

/// Looks at what has the name of each stage's index.
///
/// # Errors
/// It is of another shape; or OpenSearch does not answer.
pub async fn check(config: &Config, client: &Client) -> anyhow::Result<()> {
    for (name, answer) in behind(config, client).await? {
        // Without the right to look it may still be what it should be.
        if answer.good()
            && let Some(wrong) = wrong(&name, config.opensearch.indices, &answer.json()?)
        {
            bail!("{wrong}");
        }
    }
    Ok(())
}

/// What keeps documents out of the indices that those of `now` go to, and what to do. Earlier ones may be read-only.
/// `ask`: also by documents that are never taken, which shows whether this user may write, and whether there is room.
///
/// # Errors
/// OpenSearch does not answer.
pub async fn obstacles(config: &Config, client: &Client, now: Millis, ask: bool) -> anyhow::Result<Vec<String>> {
    let (mut obstacles, mut free) = (Vec::new(), Vec::new());
    for (name, answer) in behind(config, client).await? {
        if !answer.good() {
            obstacles.push(format!("whether {name} takes documents is not known: {}", answer.reason()));
            continue;
        }
        let found = answer.json()?;
        let Some(index) = written_to(&name, config.opensearch.indices, &found, now) else { continue };
        match block(&index, &found) {
            Some(block) => obstacles.push(block),
            None => free.push(index),
        }
    }
    if ask {
        let refusals = refusals(client, &free).await?;
        obstacles.extend(refusals.iter().map(|(index, why)| format!("{index} takes no documents: {why}")));
    }
    Ok(obstacles)
}

/// Which of these indices take no documents for longer than a moment, and why.
async fn refusals(client: &Client, indices: &[String]) -> Result<Vec<(String, String)>, Unavailable> {
    let first = probe::refusals(client, indices).await;
    let again: Vec<String> = match &first {
        Ok(refusals) if refusals.is_empty() => return first,
        Ok(refusals) => refusals.iter().map(|(index, _)| index.clone()).collect(),
        Err(_) => indices.to_vec(),
    };
    tokio::time::sleep(MOMENT).await;
    match probe::refusals(client, &again).await {
        // What was said before tells more than no answer.
        Err(_) if first.is_ok() => first,
        second => second,
    }
}

/// What is behind the name of each stage's index, if there is anything: settings of indices, by their own names.
async fn behind(config: &Config, client: &Client) -> anyhow::Result<Vec<(String, Answer)>> {
    let mut all = Vec::new();
    for pipeline in &config.pipelines {
        for stage in &config.sink.what {
            let name = names::index(&config.opensearch.index_prefix, &pipeline.name, *stage);
            let path = format!("/{name}/_settings/index.uuid,index.blocks.*?flat_settings=true");
            let answer = client.send(Method::Get, &path, None).await?;
            if answer.status != 404 {
                all.push((name, answer));
            }
        }
    }
    Ok(all)
}

/// The index that documents of `now` go to, if it is there.
fn written_to(name: &str, indices: Indices, behind: &Value, now: Millis) -> Option<String> {
    let index = match indices {
        Indices::DataStream => behind.as_object()?.keys().max()?.clone(),
        _ => names::of_period(name, indices, now).into_owned(),
    };
    behind.get(&index).is_some().then_some(index)
}

/// Which setting keeps documents out of an index.
fn block(index: &str, behind: &Value) -> Option<String> {
    let settings = behind[index]["settings"].as_object()?;
    let key = settings.iter().find(|(key, value)| BLOCKS.contains(&key.as_str()) && *value == "true")?.0;
    let remedy = match key.ends_with("allow_delete") {
        true => words::remedy(403, "read-only").to_owned(),
        false => format!("lift it with \"{key}\": null in the index's settings"),
    };
    Some(format!("{index} is read-only, as its setting {key} is set: {remedy}"))
}

fn wrong(name: &str, indices: Indices, behind: &Value) -> Option<String> {
    let found: Vec<&String> = behind.as_object()?.keys().collect();
    let other = if found.iter().any(|index| *index == name) {
        (indices != Indices::Single).then_some("an index (`indices = \"single\"`)")
    } else if found.iter().any(|index| index.starts_with(".ds-")) {
        (indices != Indices::DataStream).then_some("a data stream (`indices = \"data_stream\"`)")
    } else {
        let dated = found.iter().any(|index| names::end(name, indices, index).is_some());
        (!found.is_empty() && !dated).then_some("an alias of other indices (`indices = \"daily\"` or \"monthly\")")
    };
    other.map(|other| {
        format!(
            "{name} is {other}, and the configuration wants something else of that name: keep that setting, move the data away and delete it, or choose another opensearch.index_prefix"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shapes_are_told_apart() {
        use Indices::{Daily, DataStream, Monthly, Single};
        let (index, daily) = (json!({"p-raw": {}}), json!({"p-raw-2026.11.22": {}, "p-raw-2026.11.23": {}}));
        let stream = json!({".ds-p-raw-000001": {}});
        for (behind, fits) in [
            (&index, [true, false, false, false]),
            (&daily, [false, true, false, false]),
            (&json!({"p-raw-2026.11": {}}), [false, false, true, false]),
            (&stream, [false, false, false, true]),
            (&json!({"other": {}}), [false, false, false, false]),
            (&json!({}), [true, true, true, true]),
        ] {
            for (indices, fits) in [Single, Daily, Monthly, DataStream].into_iter().zip(fits) {
                assert_eq!(wrong("p-raw", indices, behind).is_none(), fits, "{indices:?} {behind}");
            }
        }
    }

    #[test]
    fn a_block_of_the_index_that_is_written_to_is_told() {
        use Indices::{Daily, DataStream, Single};
        let now = 1_795_392_000_000; // 2026-11-23
        let blocked = |key: &str| json!({"settings": {"index.uuid": "u", key: "true"}});
        let free = json!({"settings": {"index.uuid": "u", "index.blocks.write": "false"}});
        let write = "index.blocks.write";
        for (indices, behind, want) in [
            (Single, json!({"p-raw": free}), None),
            (Single, json!({"p-raw": blocked("index.blocks.metadata")}), None),
            (Single, json!({"p-raw": blocked(write)}), Some(["p-raw is read-only", "\"index.blocks.write\": null"])),
            (
                Single,
                json!({"p-raw": blocked("index.blocks.read_only_allow_delete")}),
                Some(["p-raw is read-only", "free disk space"]),
            ),
            (Daily, json!({"p-raw-2026.11.22": blocked(write), "p-raw-2026.11.23": free}), None),
            (Daily, json!({"p-raw-2026.11.22": blocked(write)}), None),
            (Daily, json!({"p-raw-2026.11.23": blocked(write)}), Some(["p-raw-2026.11.23 is", "lift it"])),
            (DataStream, json!({".ds-p-raw-000001": blocked(write), ".ds-p-raw-000002": free}), None),
            (DataStream, json!({".ds-p-raw-000001": blocked(write)}), Some([".ds-p-raw-000001 is", "lift it"])),
            (Single, json!({}), None),
        ] {
            let told = written_to("p-raw", indices, &behind, now).and_then(|index| block(&index, &behind));
            let fits = |parts: [&str; 2]| parts.iter().all(|part| told.as_ref().unwrap().contains(part));
            assert!(told.is_some() == want.is_some() && want.is_none_or(fits), "{behind}: {told:?}");
        }
    }
}
