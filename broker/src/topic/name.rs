//! Which names a topic may have: Kafka's rules.
//!
//! Asked before every creation. Invariant: a name that passes is safe in paths and metrics.

/// The longest name in bytes.
const MAX_LENGTH: usize = 249;

/// Checks a name; the error is a text for the operator.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Err("Topic name is invalid: '.' or '..' is not allowed".to_owned());
    }
    if name.len() > MAX_LENGTH {
        return Err(format!("Topic name is invalid: the length of '{name}' is longer than {MAX_LENGTH} characters"));
    }
    if !name.chars().all(legal) {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Two names that differ only in '.' and '_' would share their metrics.
pub(crate) fn collides(a: &str, b: &str) -> bool {
    let plain = |c: char| if c == '.' { '_' } else { c };
    a.len() == b.len() && a.chars().map(plain).eq(b.chars().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, legal) in
            [("waf.raw", true), ("a_b-c9", true), ("", false), ("..", false), ("a/b", false), ("ä", false)]
        {
            assert_eq!(check(name).is_ok(), legal, "{name}");
        }
        assert!(check(&"x".repeat(249)).is_ok());
        assert!(check(&"x".repeat(250)).is_err());
        assert!(collides("a.b", "a_b") && !collides("a.b", "a-b"));
    }
}
