//! What the documentation shows is true: examples load, logs become what is printed under them, links lead somewhere.
//!
//! A fenced block's words say what it is: `toml` is a configuration (or a part of one), `json log` a log for the
//! configuration above it, `json enriched` what it becomes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use outlier::config::{Config, Environment};
use outlier_core::record::{Anomalies, Scratch, Transform};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What every secret of an example is: good for a password as for an address, of Slack too.
const SECRET: &str = "https://hooks.slack.com/services/secret";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files of `docs` and of the repository's top.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in [root().to_owned(), root().join("docs"), root().join("docs/adr")] {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages.sort();
    pages
}

struct Block {
    words: String,
    text: String,
    /// `docs/configuration.md:12`, its first line.
    place: String,
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let name = page.strip_prefix(root()).unwrap().display().to_string();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (open.as_mut(), line.strip_prefix("```")) {
            (None, Some(words)) => {
                let place = format!("{name}:{}", number + 2);
                open = Some(Block { words: words.to_owned(), text: String::new(), place });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{name}: a block is not closed");
    blocks
}

/// Loads an example as it stands, or as the part of a configuration that it is. Each `${NAME}` is set.
fn load(block: &Block) -> Config {
    let mut text = block.text.clone();
    if !text.contains("[[pipeline]]") {
        match text.contains("[pipeline.") {
            true => text.insert_str(0, "[[pipeline]]\nname = \"example\"\n"),
            false => text.push_str("[[pipeline]]\npreset = \"waf\"\n"),
        }
    }
    // What an example takes from outside: its secrets.
    let secrets = std::env::temp_dir().join(format!("outlier-docs-{}", std::process::id()));
    fs::create_dir_all(&secrets).unwrap();
    for rest in text.split("file:/run/secrets/").skip(1) {
        fs::write(secrets.join(until(rest, '"')), format!("{SECRET}\n")).unwrap();
    }
    let text = text.replace("/run/secrets", secrets.to_str().unwrap());
    let variables = text.split("${").skip(1).map(|rest| (until(rest, '}'), SECRET));
    let environment: Environment = variables.collect();
    let config = Config::parse(&text, &block.place, &environment);
    fs::remove_dir_all(secrets).unwrap();
    config.unwrap_or_else(|mistakes| panic!("{}\n{mistakes}", block.place))
}

fn until(text: &str, end: char) -> String {
    text.split(end).next().unwrap().to_owned()
}

fn enrich(config: &Config, log: &str) -> Value {
    let mut scratch = Scratch::default();
    let transform = Transform::new(&config.pipelines[0]);
    let enriched = transform.apply(Some(log.trim().as_bytes()), -1, &Anomalies::default(), &mut scratch);
    let enriched = enriched.unwrap_or_else(|reject| panic!("{reject}:\n{log}"));
    serde_json::from_slice(enriched.bytes).unwrap()
}

#[test]
fn examples_do_what_they_say() {
    let (mut loaded, mut enriched) = (0, 0);
    for page in pages() {
        let (mut config, mut log) = (None, None);
        for block in blocks(&page) {
            match block.words.as_str() {
                "toml" => {
                    config = Some(load(&block));
                    loaded += 1;
                }
                "json log" => log = Some(block.text),
                "json enriched" => {
                    let (config, log) = (config.as_ref().unwrap(), log.take().unwrap());
                    let shown: Value = serde_json::from_str(&block.text).expect(&block.place);
                    assert_eq!(enrich(config, &log), shown, "{}", block.place);
                    enriched += 1;
                }
                _ => {}
            }
        }
        assert!(log.is_none(), "{}: a log without what it becomes", page.display());
    }
    assert!(loaded >= 10 && enriched >= 4, "the examples are found: {loaded} and {enriched}");
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).map(|rest| until(rest, ')')) {
            let file = until(&target, '#');
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let path = page.parent().unwrap().join(&file);
            assert!(path.exists(), "{}: {target} is not there", page.display());
        }
    }
}
