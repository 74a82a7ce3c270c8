//! Checks the scripts and message templates of monitors before they are sent: the server stores anything, and tells of a
//! mistake only when the monitor runs. No I/O.
//!
//! Invariant: a script that passes is one condition (see [`painless`]), and a template that passes has closed sections and
//! names that begin with one that the server knows.

use super::painless;
use serde_json::Value;

/// What a message template may begin a name with.
const ROOTS: &[&str] = &[
    "ctx.",
    "_source.",
    "fields.",
    "period_end",
    "field",
    "value",
    "contribution",
    "feature_name",
    "value_list",
    "data",
];

/// Checks every script and template in a body.
///
/// # Errors
/// The first mistake, with where it is.
pub fn check(body: &Value) -> Result<(), String> {
    walk("", body)
}

fn walk(path: &str, body: &Value) -> Result<(), String> {
    if let (Some(source), Some(lang)) = (body["source"].as_str(), body["lang"].as_str()) {
        let checked = match lang {
            "painless" => painless::check(source),
            "mustache" => mustache(source),
            other => Err(format!("{other} is no language of monitors")),
        };
        return checked.map_err(|wrong| format!("{path}: {wrong} in {source:?}"));
    }
    match body {
        Value::Object(members) => members.iter().try_for_each(|(key, value)| walk(&format!("{path}.{key}"), value)),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(i, item)| walk(&format!("{path}[{i}]"), item)),
        Value::String(text) if text.contains("{{") => mustache(text).map_err(|wrong| format!("{path}: {wrong}")),
        _ => Ok(()),
    }
}

/// Tags are closed, sections too, and names begin with a known root.
fn mustache(template: &str) -> Result<(), String> {
    let mut sections = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}") else {
            return Err("a tag is not closed".to_owned());
        };
        let tag = rest[start + 2..start + end].trim();
        rest = &rest[start + end + 2..];
        let name = tag.trim_start_matches(['#', '/', '^', '&']);
        if !ROOTS
            .iter()
            .any(|root| name == root.trim_end_matches('.') || (root.ends_with('.') && name.starts_with(root)))
        {
            return Err(format!("the server knows no {name:?}"));
        }
        match tag.chars().next() {
            Some('#' | '^') => sections.push(name),
            Some('/') if sections.pop() != Some(name) => {
                return Err(format!("the section {name:?} is closed and not open"));
            }
            _ => {}
        }
    }
    match sections.pop() {
        Some(name) => Err(format!("the section {name:?} is not closed")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mistakes_are_found() {
        for (lang, source, good) in [
            ("painless", "ctx.results[0].hits.total.value > 0", true),
            ("painless", "ctx.a)", false),
            ("mustache", "plain", true),
            ("mustache", "{{ctx.a}} {{#ctx.b}}{{_source.x}}{{/ctx.b}}", true),
            ("mustache", "{{ctx.a}", false),
            ("mustache", "{{#ctx.b}}", false),
            ("mustache", "{{#ctx.b}}{{/ctx.c}}", false),
            ("mustache", "{{nope}}", false),
            ("groovy", "1", false),
        ] {
            let body = json!({"triggers": [{"condition": {"source": source, "lang": lang}}]});
            assert_eq!(check(&body).is_ok(), good, "{lang} {source}: {:?}", check(&body));
        }
        assert!(check(&json!({"from": "{{period_end}}||-1m"})).is_ok());
        assert!(check(&json!({"from": "{{period_begin}}||-1m"})).is_err());
    }
}
