//! Whether what has an index's name is of the configured shape: an index, an alias of dated ones, or a data stream.
//!
//! The server answers the mistake document by document, with the status of a bad document; here it is one sentence before
//! anything is written.

use crate::config::{Config, Indices};
use crate::index::names;
use crate::index::opensearch::Client;
use anyhow::bail;
use opensearch::http::Method;
use serde_json::Value;

/// Looks at the name of each stage's index.
///
/// # Errors
/// What has the name is of another shape; or OpenSearch does not answer.
pub async fn check(config: &Config, client: &Client) -> anyhow::Result<()> {
    for pipeline in &config.pipelines {
        for stage in &config.sink.what {
            let name = names::index(&config.opensearch.index_prefix, &pipeline.name, *stage);
            // The settings of all indices behind the name, by their own names.
            let answer = client.send(Method::Get, &format!("/{name}/_settings/index.uuid"), None).await?;
            if answer.good()
                && let Some(wrong) = wrong(&name, config.opensearch.indices, &answer.json()?)
            {
                bail!("{wrong}");
            }
        }
    }
    Ok(())
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
}
