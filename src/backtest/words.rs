//! Times, spans and numbers as people read them. Everything is UTC.

use crate::produce::stamp;
use outlier_core::pipeline::Millis;

/// Milliseconds of a day.
pub const DAY: Millis = 86_400_000;

/// `2026-11-23 02:07:44`, with milliseconds if there are any.
pub fn instant(at: Millis) -> String {
    let mut text = Vec::new();
    stamp::date_and_time(&mut text, at.div_euclid(1000), b' ', true);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    let rest = at.rem_euclid(1000);
    if rest > 0 {
        text.push_str(&format!(".{rest:03}"));
    }
    text
}

/// The same, without milliseconds.
pub fn second(at: Millis) -> String {
    instant(at.div_euclid(1000) * 1000)
}

/// `2026-11-23` of a count of days since 1970.
pub fn date(day: i64) -> String {
    let mut text = instant(day.saturating_mul(DAY));
    text.truncate(10);
    text
}

/// The two largest units of a span: `2 d 3 h`, `1 min 30 s`, `250 ms`.
pub fn span(millis: Millis) -> String {
    let units = [("d", DAY), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];
    let Some(first) = units.iter().position(|(_, unit)| millis >= *unit) else { return format!("{millis} ms") };
    let (name, unit) = units[first];
    let mut text = format!("{} {name}", millis / unit);
    if let Some((name, next)) = units.get(first + 1) {
        let rest = millis % unit / next;
        if rest > 0 && first < 3 {
            text.push_str(&format!(" {rest} {name}"));
        }
    }
    text
}

/// A value with at most four significant digits, thousands apart: `12,345`, `0.031`, `-2.5`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size >= 1e15 || (size > 0.0 && size < 1e-4) {
        return format!("{value:.2e}");
    }
    let decimals = match size {
        _ if size >= 1000.0 || size == 0.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let whole = grouped(digits);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

/// How often something happens, to a hundredth: `0.91`, `1,200`.
pub fn rate(often: f64) -> String {
    number((often * 100.0).round() / 100.0)
}

/// A whole number, thousands apart: `12,345`.
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 alert`, `1,200 alerts`.
pub fn of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A share as a percentage: `97.5 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", number((share * 1000.0).round() / 10.0))
}

/// Without what a terminal or a mail's header would obey: names and values come from logs.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (got, expected) in [
            (instant(1_795_399_664_000), "2026-11-23 02:07:44"),
            (instant(1_795_399_664_758), "2026-11-23 02:07:44.758"),
            (date(20_780), "2026-11-23"),
            (span(0), "0 ms"),
            (span(250), "250 ms"),
            (span(10_000), "10 s"),
            (span(90_000), "1 min 30 s"),
            (span(2 * DAY), "2 d"),
            (span(2 * DAY + 3 * 3_600_000 + 1), "2 d 3 h"),
            (number(0.0), "0"),
            (number(12_345.6), "12,346"),
            (number(-1_234_567.0), "-1,234,567"),
            (number(123.45), "123.5"),
            (number(41.0), "41"),
            (number(1.5), "1.5"),
            (number(0.03128), "0.0313"),
            (number(1e-9), "1.00e-9"),
            (number(f64::NAN), "NaN"),
            (count(999), "999"),
            (count(1_000_000), "1,000,000"),
            (of(1, "alert", "alerts"), "1 alert"),
            (of(0, "alert", "alerts"), "0 alerts"),
            (percent(0.975), "97.5 %"),
        ] {
            assert_eq!(got, expected);
        }
    }
}
