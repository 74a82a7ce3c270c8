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

/// What to store so that all that is wanted is there, nothing that was `written` before and is not wanted any more, and
/// whatever else was `found`, which somebody added. Lists are taken as a whole.
pub fn merged(wanted: &Value, written: &Value, found: &Value) -> Value {
    let (Value::Object(new), Value::Object(there)) = (wanted, found) else { return wanted.clone() };
    let mut all = there.clone();
    all.retain(|key, _| new.contains_key(key) || written.get(key).is_none());
    for (key, value) in new {
        let value = match there.get(key) {
            Some(there) => merged(value, written.get(key).unwrap_or(&Value::Null), there),
            None => value.clone(),
        };
        all.insert(key.clone(), value);
    }
    Value::Object(all)
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
    fn additions_stay() {
        let written = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1]});
        let found = json!({"a": "1", "b": {"c": 2, "d": 3, "mine": 4}, "e": [1], "mine": {"x": 5}});
        let wanted = json!({"a": 9, "b": {"c": 2}, "f": {"g": 1}});
        let want = json!({"a": 9, "b": {"c": 2, "mine": 4}, "f": {"g": 1}, "mine": {"x": 5}});
        assert_eq!(merged(&wanted, &written, &found), want);
        assert_eq!(merged(&wanted, &written, &want), want);
    }

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
