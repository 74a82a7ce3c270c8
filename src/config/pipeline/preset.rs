//! Pipelines that are built in: `[[pipeline]]` with `preset = "waf"` takes each key it does not give itself.
//!
//! Invariant: presets are put into the tree before it is read and before variables change it, so that a
//! pipeline from a preset is held to the same rules and can be changed in the same ways.

use super::unknown_preset;
use crate::config::mistake::{At, Found, Kind, Sources};
use crate::config::tree::{self, Node, Table, Value};

/// Name, file and text of each preset.
const PRESETS: [(&str, &str, &str); 2] = [
    ("waf", "built-in waf.toml", include_str!("../../../config/waf.toml")),
    ("aws-waf", "built-in aws-waf.toml", include_str!("../../../config/aws-waf.toml")),
];

/// File and text of the configuration that is used when there is none.
pub(in crate::config) fn shipped() -> (&'static str, &'static str) {
    let (_, file, text) = PRESETS[0];
    (file, text)
}

/// The presets there are.
pub(in crate::config) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, ..)| *name)
}

/// Completes the pipelines that name a preset.
pub(in crate::config) fn complete(root: &mut Table, sources: &mut Sources, found: &mut Found) {
    let pipelines = match root.get_mut("pipeline").map(|entry| &mut entry.node.value) {
        Some(Value::Array(items)) => items,
        _ => return,
    };
    for pipeline in pipelines {
        let Value::Table(table) = &mut pipeline.value else {
            continue;
        };
        let Some(preset) = table.remove("preset") else {
            continue;
        };
        match find(&preset.node) {
            Ok((file, text)) => fill(table, file, text, sources, found),
            Err((at, text)) => found.push(at, Kind::Wrong, text),
        }
    }
}

fn find(node: &Node) -> Result<(&'static str, &'static str), (At, String)> {
    let Value::Text(name) = &node.value else {
        let text = format!("`preset` must be a text, not {}", node.value.type_name());
        return Err((node.at.clone(), text));
    };
    PRESETS
        .iter()
        .find(|(preset, ..)| preset == name)
        .map(|(_, file, text)| (*file, *text))
        .ok_or_else(|| (node.at.clone(), unknown_preset(name)))
}

/// Adds the keys of the preset's first pipeline that the table does not have.
fn fill(table: &mut Table, file: &str, text: &str, sources: &mut Sources, found: &mut Found) {
    let mut preset = tree::parse(sources.add(file, text), text, found);
    let Some(Value::Array(pipelines)) = preset.remove("pipeline").map(|entry| entry.node.value) else {
        return;
    };
    if let Some(Value::Table(keys)) = pipelines.into_iter().next().map(|node| node.value) {
        for (key, entry) in keys {
            table.entry(key).or_insert(entry);
        }
    }
}
