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
/// whatever else was `found`, which somebody added. Of lists, what is wanted is in them, each of a name with what was found
/// of that name; all others are as wanted.
pub fn merged(wanted: &Value, written: &Value, found: &Value) -> Value {
    let (new, there) = match (wanted, found) {
        (Value::Object(new), Value::Object(there)) => (new, there),
        (Value::Array(new), Value::Array(_)) => {
            let one = |item: &Value| match named(item, found) {
                Some(there) => merged(item, named(item, written).unwrap_or(&Value::Null), there),
                None => item.clone(),
            };
            return new.iter().map(one).collect();
        }
        _ => return wanted.clone(),
    };
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

/// The one of a list that has the name of `item`. A trigger of a monitor has its name within a member that says its kind.
pub fn named<'v>(item: &Value, list: &'v Value) -> Option<&'v Value> {
    let name = |item: &Value| {
        let inner = item.as_object().filter(|members| members.len() == 1).and_then(|members| members.iter().next());
        let (kind, of) = inner.map_or(("", item), |(kind, of)| (kind.as_str(), of));
        of["name"].as_str().map(|name| (kind.to_owned(), name.to_owned()))
    };
    let wanted = name(item)?;
    list.as_array()?.iter().find(|other| name(other).as_ref() == Some(&wanted))
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
    fn additions_to_what_has_a_name_stay() {
        let list = |items: Value| json!({"triggers": items});
        let trigger = |name: &str, more: Value| {
            let mut body = json!({"name": name, "actions": [{"name": "tell", "to": 1}]});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"by_query": body})
        };
        let written = list(json!([trigger("a", json!({"old": 1})), trigger("b", json!({}))]));
        let mut found = list(json!([trigger("b", json!({"id": 2})), trigger("a", json!({"old": 1, "id": 1}))]));
        found["triggers"][0]["by_query"]["actions"][0]["mine"] = json!(7);
        let wanted = list(json!([trigger("a", json!({})), trigger("b", json!({"new": 3})), trigger("c", json!({}))]));
        let mut want = list(json!([
            trigger("a", json!({"id": 1})),
            trigger("b", json!({"id": 2, "new": 3})),
            trigger("c", json!({})),
        ]));
        want["triggers"][1]["by_query"]["actions"][0]["mine"] = json!(7);
        assert_eq!(merged(&wanted, &written, &found), want);
        // Without a name, or of another kind, they have nothing to do with each other.
        let other = list(json!([{"by_bucket": {"name": "a", "id": 1}}, {"x": 1}]));
        assert_eq!(merged(&wanted, &written, &other), wanted);
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
