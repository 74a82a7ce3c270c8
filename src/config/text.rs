//! The small languages inside strings: durations, sizes, `${VAR}`, quoting.
//!
//! Invariant: what the `show_` functions write, the readers read back as the same value.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads whole numbers with units, largest first or not: `1m30s`. `None` when it is no duration.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest)?;
        let (_, millis) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*millis)?)?;
        rest = after;
    }
    Some(Duration::from_millis(total))
}

/// The shortest way to write a duration of whole milliseconds: `90s`, `1m`.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    show(millis, &DURATION_UNITS)
}

/// Reads bytes, `64KiB`, `5 MB`. `None` when it is no size.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(bytes) = text.parse() {
        return Some(bytes);
    }
    let (number, unit, rest) = number_and_unit(text)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    rest.is_empty().then(|| number.checked_mul(*bytes))?
}

/// The shortest exact way to write a size: `5MiB`.
pub(super) fn show_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    let binary = SIZE_UNITS.iter().filter(|(name, _)| name.contains('i') || *name == "B");
    show(bytes, binary)
}

fn show<'a>(amount: u64, units: impl IntoIterator<Item = &'a (&'a str, u64)>) -> String {
    units
        .into_iter()
        .find(|(_, unit)| amount.is_multiple_of(*unit))
        .map_or_else(|| amount.to_string(), |(name, unit)| format!("{}{name}", amount / unit))
}

/// Splits `30 s…` into its number, its letters and what follows.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = text[..digits].parse().ok()?;
    let unit_on = text[digits..].trim_start();
    let letters = unit_on.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &unit_on[..unit_on.len() - letters.len()];
    Some((number, unit, letters.trim_start()))
}

/// Replaces each `${NAME}` by the variable's value; `$${` stands for `${`.
///
/// # Errors
/// What is wrong and what to do, when a variable is not set or a brace is not closed.
pub(super) fn expand<'a>(text: &str, variable: impl Fn(&str) -> Option<&'a str>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("${") {
        let (before, from) = rest.split_at(found);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let Some((name, after)) = from[2..].split_once('}') else {
            return Err("`${` is not closed: write `${NAME}`, or `$${` for the text `${`".into());
        };
        match variable(name) {
            Some(value) => out.push_str(value),
            None => {
                return Err(format!(
                    "the environment variable `{name}` is not set: set it, or write `$${{` for the text `${{`"
                ));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A TOML string that reads back as this text, `${` included.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_and_sizes_are_read() {
        let millis = |text| duration(text).map(|d| d.as_millis() as u64);
        for (text, want) in [
            ("100ms", Some(100)),
            ("1m30s", Some(90_000)),
            ("1 h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1w", None),
            ("99999999999999999999s", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(millis(text), want, "{text:?}");
        }
        for (text, want) in [
            ("5MiB", Some(5 << 20)),
            ("5 mb", Some(5_000_000)),
            ("12", Some(12)),
            ("1.5MiB", None),
            ("MiB", None),
            ("5MiB5", None),
            ("5TiB", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(size(text), want, "{text:?}");
        }
    }

    #[test]
    fn variables_are_replaced() {
        let look = |name: &str| (name == "A").then_some("x${B}");
        for (text, want) in [
            ("plain $A $", Ok("plain $A $")),
            ("<${A}>", Ok("<x${B}>")),
            ("$${A} $$${A}", Ok("${A} $${A}")),
            ("${B}", Err("`B` is not set")),
            ("${}", Err("`` is not set")),
            ("${A", Err("not closed")),
        ] {
            match (expand(text, look), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0u64..1 << 50, bytes in any::<u64>()) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)), Some(time));
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn quoted_text_reads_back(text in "[\\PC\\x00-\\x20$\\{\\}\"]{0,20}") {
            let toml = format!("a = {}", quote(&text));
            let table = toml::de::DeTable::parse(&toml).unwrap();
            let got = table.get_ref().values().next().unwrap().get_ref().as_str().unwrap();
            prop_assert_eq!(expand(got, |_| None), Ok(text));
        }
    }
}
