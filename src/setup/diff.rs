//! Compares what is wanted with what a server answers, field by field. No I/O.
//!
//! Servers add defaults and ids of their own, so only what is wanted is looked at. Invariant: after a server has
//! stored exactly what is wanted, whatever it adds, there is no difference.

use serde_json::Value;

/// The differences, each as `path: found → wanted`; empty when all that is wanted is there.
pub fn differences(wanted: &Value, found: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", wanted, found, &mut lines);
    lines
}

fn compare(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (key, value) in wanted {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, value, found.get(key).unwrap_or(&Value::Null), lines);
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (i, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{path}[{i}]"), wanted, found, lines);
            }
        }
        _ if same(wanted, found) => {}
        _ => lines.push(format!("{path}: {found} → {wanted}")),
    }
}

/// Index settings come back as texts.
fn same(wanted: &Value, found: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    wanted == found || text(wanted).is_some_and(|wanted| Some(wanted) == text(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_wanted_counts() {
        for (wanted, found, want) in [
            (json!({"a": 1}), json!({"a": "1", "b": 2}), vec![]),
            (json!({"a": {"b": [1, {"c": true}]}}), json!({"a": {"b": [1, {"c": "true", "id": "x"}]}}), vec![]),
            (json!({"a": 1}), json!({}), vec!["a: null → 1"]),
            (
                json!({"a": {"b": "x"}, "c": [1]}),
                json!({"a": {"b": "y"}, "c": [1, 2]}),
                vec!["a.b: \"y\" → \"x\"", "c: [1,2] → [1]"],
            ),
            (json!({"a": {}}), json!({"a": 3}), vec!["a: 3 → {}"]),
        ] {
            assert_eq!(differences(&wanted, &found), want, "{wanted} {found}");
        }
    }
}
