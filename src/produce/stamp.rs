//! Event times as text: written anew by the generator, moved in place by a replay.
//!
//! Invariants: what is written, `outlier_core::record::event_time` reads back as the same time; moving a text by
//! whole seconds changes no digit of its fraction and nothing of its offset, so spacing is kept exactly.

use outlier_core::pipeline::{Millis, TimeFormat};
use outlier_core::record::event_time;

/// How an event time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Written {
    /// Milliseconds since the epoch, as a number: 1795399664758
    #[default]
    Millis,
    /// Seconds since the epoch, as a number with a fraction: 1795399664.758
    Seconds,
    /// ISO 8601 in UTC, as a string: "2026-11-23T02:07:44.758Z"
    Iso,
}

impl From<TimeFormat> for Written {
    /// What a pipeline reads that expects this.
    fn from(format: TimeFormat) -> Self {
        match format {
            TimeFormat::EpochMillis | TimeFormat::Auto => Self::Millis,
            TimeFormat::EpochSeconds => Self::Seconds,
            TimeFormat::Iso8601 => Self::Iso,
        }
    }
}

/// Appends a time as JSON.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, at: Millis, written: Written) {
    let positive = at.max(0) as u64;
    match written {
        Written::Millis => decimal(out, positive, 1),
        Written::Seconds => {
            decimal(out, positive / 1000, 1);
            out.push(b'.');
            decimal(out, positive % 1000, 3);
        }
        Written::Iso => {
            out.push(b'"');
            date_and_time(out, at.div_euclid(1000), b'T', true);
            out.push(b'.');
            decimal(out, at.rem_euclid(1000) as u64, 3);
            out.extend_from_slice(b"Z\"");
        }
    }
}

/// `20261123T020744Z`, for names of files.
pub(super) fn compact(at: Millis) -> String {
    let mut text = Vec::new();
    date_and_time(&mut text, at.div_euclid(1000), b'T', true);
    text.retain(|byte| !matches!(byte, b'-' | b':'));
    text.push(b'Z');
    String::from_utf8_lossy(&text).into_owned()
}

/// Appends a number with at least `width` digits.
#[inline]
pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 || digits.len() - first < width {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[first..]);
}

/// Appends the text of an event time moved by whole seconds, written as it was: the same unit, fraction, separators
/// and offset. `at` is the time that `text` stands for. False when nothing was appended, as `text` is no such time.
pub(super) fn shifted(out: &mut Vec<u8>, text: &[u8], at: Millis, seconds: i64) -> bool {
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    if text.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        // A number with an exponent: rare enough to be written without it.
        write(out, at + seconds * 1000, Written::Seconds);
        return true;
    }
    let whole = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    match text.get(whole) {
        None | Some(b'.') => {
            let Some(number) = std::str::from_utf8(&text[..whole]).ok().and_then(|digits| digits.parse::<i64>().ok())
            else {
                return false;
            };
            // As milliseconds it is the time itself, as seconds a thousandth of it.
            let unit = if (number - at).abs() <= 1 { 1000 } else { 1 };
            let Some(moved) = number.checked_add(seconds * unit).and_then(|moved| u64::try_from(moved).ok()) else {
                return false;
            };
            decimal(out, moved, 1);
            out.extend_from_slice(&text[whole..]);
            true
        }
        Some(_) => shifted_iso(out, text, seconds),
    }
}

/// Moves `2026-11-23T02:07[:44…]`, whatever follows.
fn shifted_iso(out: &mut Vec<u8>, text: &[u8], seconds: i64) -> bool {
    let has_seconds = text.get(16) == Some(&b':');
    let length = if has_seconds { 19 } else { 16 };
    let Some((local, rest)) = text.split_at_checked(length) else {
        return false;
    };
    // Without its offset the text is read as UTC: what comes back is the local time.
    let Some(at) = event_time(local, TimeFormat::Iso8601) else {
        return false;
    };
    date_and_time(out, at.div_euclid(1000) + seconds, local[10], has_seconds);
    out.extend_from_slice(rest);
    true
}

/// `2026-11-23 02:07:44 UTC`, for people.
pub fn text(time: Millis) -> String {
    let mut out = Vec::new();
    date_and_time(&mut out, time.div_euclid(1_000), b' ', true);
    String::from_utf8_lossy(&out).into_owned() + " UTC"
}

/// Appends `2026-11-23T02:07:44` of seconds since the epoch.
pub(crate) fn date_and_time(out: &mut Vec<u8>, seconds: i64, separator: u8, with_seconds: bool) {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400) as u64;
    decimal(out, year.max(0) as u64, 4);
    for (before, part) in [(b'-', month), (b'-', day), (separator, second / 3600), (b':', second / 60 % 60)] {
        out.push(before);
        decimal(out, part, 2);
    }
    if with_seconds {
        out.push(b':');
        decimal(out, second % 60, 2);
    }
}

/// Year, month and day of a count of days since 1970-01-01 (Howard Hinnant's `civil_from_days`, which counts in
/// years that begin in March, so that a leap day is a year's last).
fn civil(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Millis = 1_795_399_664_758;

    #[test]
    fn times_as_text() {
        for (written, expected) in [
            (Written::Millis, "1795399664758"),
            (Written::Seconds, "1795399664.758"),
            (Written::Iso, "\"2026-11-23T02:07:44.758Z\""),
        ] {
            let mut out = Vec::new();
            write(&mut out, AT, written);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        assert_eq!(compact(AT), "20261123T020744Z");
    }

    #[test]
    fn shifts() {
        for (text, seconds, expected) in [
            ("1795399664758", 10, Some("1795399674758")),
            ("1795399664", -64, Some("1795399600")),
            ("1795399664.7581234", 1, Some("1795399665.7581234")),
            ("1795399664758.5", 1, Some("1795399665758.5")),
            ("1.795399664758e9", 1, Some("1795399665.758")),
            ("2026-11-23T02:07:44.758Z", 86_400, Some("2026-11-24T02:07:44.758Z")),
            ("2026-12-31 23:59:59,25 +01:00", 1, Some("2027-01-01 00:00:00,25 +01:00")),
            ("2024-02-28t23:59", 60, Some("2024-02-29t00:00")),
            ("2026-11-23T02:07:60Z", 0, Some("2026-11-23T02:08:00Z")),
            ("yesterday", 1, None),
            ("", 1, None),
        ] {
            let at = event_time(text.as_bytes(), TimeFormat::Auto).unwrap_or(0);
            let mut out = Vec::new();
            let done = shifted(&mut out, text.as_bytes(), at, seconds);
            assert_eq!(done.then(|| String::from_utf8_lossy(&out).into_owned()).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_and_moved_is_read_back(
            at in 946_684_800_000i64..4_000_000_000_000,
            seconds in -1_000_000i64..1_000_000,
            written in prop::sample::select(vec![Written::Millis, Written::Seconds, Written::Iso]),
        ) {
            let at = at.max(946_684_800_000 + 1_000_000_000);
            let mut json = Vec::new();
            write(&mut json, at, written);
            let text = String::from_utf8(json).unwrap();
            let text = text.trim_matches('"').as_bytes();
            prop_assert_eq!(event_time(text, TimeFormat::Auto), Some(at));
            let mut moved = Vec::new();
            prop_assert!(shifted(&mut moved, text, at, seconds));
            prop_assert_eq!(event_time(&moved, TimeFormat::Auto), Some(at + seconds * 1000));
            // Only a number can gain or lose a digit: the tenth of seconds came in September 2001.
            let digits = |at: Millis| if written == Written::Iso { 0 } else { (at / 1000).to_string().len() };
            prop_assert_eq!(moved.len() - digits(at + seconds * 1000), text.len() - digits(at));
        }
    }
}
