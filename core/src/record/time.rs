//! Event times: from a value's text to milliseconds since the epoch.
//!
//! Behind `scan` on the data path. Invariants: times are exact to the millisecond (nearest; no float is
//! involved) and lie in a range of years, so that one absurd value cannot run stream time away and seconds
//! are never taken for milliseconds.

use super::number::scaled;
use crate::pipeline::{Millis, TimeFormat};
use std::ops::Range;

/// What the configuration says is an event time must be from 1990 to 2099 to be believed: milliseconds read
/// as seconds are far beyond, seconds read as milliseconds are in January 1970.
const BELIEVED: Range<Millis> = 631_152_000_000..END_OF_2099;

/// What [`TimeFormat::Auto`] takes for a time: from 2000 to 2099. Seconds and milliseconds cannot both be.
const PLAUSIBLE: Range<Millis> = 946_684_800_000..END_OF_2099;

const END_OF_2099: Millis = 4_102_444_800_000;

/// The event time that `text` (a number's literal or a string's content) stands for.
pub fn event_time(text: &[u8], format: TimeFormat) -> Option<Millis> {
    let believed = |ms: &Millis| BELIEVED.contains(ms);
    let plausible = |ms: &Millis| PLAUSIBLE.contains(ms);
    match format {
        TimeFormat::EpochSeconds => scaled(text, 3).filter(believed),
        TimeFormat::EpochMillis => scaled(text, 0).filter(believed),
        TimeFormat::Iso8601 => iso8601(text).filter(believed),
        TimeFormat::Auto => scaled(text, 3)
            .filter(plausible)
            .or_else(|| scaled(text, 0).filter(plausible))
            .or_else(|| iso8601(text).filter(plausible)),
    }
}

/// `2026-11-22T10:15:00.123+01:00`: date and time of the extended format.
///
/// `T` may be a space or lower case; seconds and fraction (after a point or a comma) may be missing; the
/// offset is `Z`, `+01:00`, `+0100`, `+01` or missing (UTC), after a space or not. Second 60 is the next
/// minute's first.
fn iso8601(text: &[u8]) -> Option<Millis> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    eat(&mut rest, b"-")?;
    let month = digits(&mut rest, 2).filter(|m| (1..=12).contains(m))?;
    eat(&mut rest, b"-")?;
    let day = digits(&mut rest, 2).filter(|d| (1..=days_in_month(year, month)).contains(d))?;
    eat(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2).filter(|h| *h <= 23)?;
    eat(&mut rest, b":")?;
    let minute = digits(&mut rest, 2).filter(|m| *m <= 59)?;
    let mut ms = 0;
    if eat(&mut rest, b":").is_some() {
        ms = digits(&mut rest, 2).filter(|s| *s <= 60)? * 1000;
        if eat(&mut rest, b".,").is_some() {
            ms += fraction(&mut rest)?;
        }
    }
    let offset = offset_minutes(rest)?;
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset;
    Some(minutes * 60_000 + ms)
}

/// One or more digits of a fraction of a second, as milliseconds, rounded to the nearest.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let end = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (text, tail) = rest.split_at(end);
    *rest = tail;
    let digit = |i: usize| text.get(i).map_or(0, |b| i64::from(b - b'0'));
    let ms = digit(0) * 100 + digit(1) * 10 + digit(2) + i64::from(digit(3) >= 5);
    (end > 0).then_some(ms)
}

/// What is left after the time of day: how many minutes it is ahead of UTC.
fn offset_minutes(mut rest: &[u8]) -> Option<i64> {
    if rest.is_empty() {
        return Some(0);
    }
    let _ = eat(&mut rest, b" ");
    let sign = match eat(&mut rest, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return rest.is_empty().then_some(0),
    };
    let hours = digits(&mut rest, 2).filter(|h| *h <= 23)?;
    let colon = eat(&mut rest, b":").is_some();
    let minutes = match rest {
        [] if !colon => 0,
        _ => digits(&mut rest, 2).filter(|m| *m <= 59)?,
    };
    rest.is_empty().then_some(sign * (hours * 60 + minutes))
}

/// Takes exactly `n` digits.
fn digits(rest: &mut &[u8], n: usize) -> Option<i64> {
    let (text, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    text.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

/// Takes one byte if it is among `any`.
fn eat(rest: &mut &[u8], any: &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    any.contains(first).then(|| {
        *rest = tail;
        *first
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant's `days_from_civil`), which
/// counts in years that begin in March, so that a leap day is a year's last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimeFormat::{Auto, EpochMillis, EpochSeconds, Iso8601};

    const T: Millis = 1_795_399_664_758;

    #[test]
    fn times() {
        for (text, format, expected) in [
            ("1795399664.758", EpochSeconds, Some(T)),
            ("1795399664.7580001", EpochSeconds, Some(T)),
            ("1.795399664758E9", EpochSeconds, Some(T)),
            ("1795399664", EpochSeconds, Some(T - 758)),
            ("1795399664758", EpochSeconds, None),
            ("0", EpochSeconds, None),
            ("-1795399664", EpochSeconds, None),
            ("2026-11-22T23:27:44Z", EpochSeconds, None),
            ("1795399664758", EpochMillis, Some(T)),
            ("1795399664758.4", EpochMillis, Some(T)),
            ("1795399664", EpochMillis, None),
            ("99999999999999999999", EpochMillis, None),
            ("631152000000", EpochMillis, Some(631_152_000_000)),
            ("631151999999", EpochMillis, None),
            ("4102444799999", EpochMillis, Some(END_OF_2099 - 1)),
            ("4102444800000", EpochMillis, None),
            ("1795399664758", Auto, Some(T)),
            ("1795399664.758", Auto, Some(T)),
            ("946684800", Auto, Some(946_684_800_000)),
            ("946684799", Auto, None),
            ("946684800000", Auto, Some(946_684_800_000)),
            ("4102444799999", Auto, Some(END_OF_2099 - 1)),
            ("4102444800", Auto, None),
            ("1795399664758000", Auto, None),
            ("1e999", Auto, None),
            ("", Auto, None),
            ("yesterday", Auto, None),
            ("2026-11-23T01:27:44.758Z", Auto, Some(1_795_397_264_758)),
            ("1995-07-01T00:00:01Z", Auto, None),
        ] {
            assert_eq!(event_time(text.as_bytes(), format), expected, "{text} as {format:?}");
        }
    }

    #[test]
    fn iso_8601() {
        const AT: Millis = 1_582_934_400_000; // 2020-02-29T00:00:00Z
        for (text, expected) in [
            ("2020-02-29T00:00:00Z", Some(AT)),
            ("2020-02-29t00:00:00z", Some(AT)),
            ("2020-02-29 00:00:00", Some(AT)),
            ("2020-02-29T00:00", Some(AT)),
            ("2020-02-29T00:00Z", Some(AT)),
            ("2020-02-29T01:30:00+01:30", Some(AT)),
            ("2020-02-29T01:30:00+0130", Some(AT)),
            ("2020-02-28T17:00:00-07", Some(AT)),
            ("2020-02-29 01:00:00 +0100", Some(AT)),
            ("2020-02-29T00:00:00.1Z", Some(AT + 100)),
            ("2020-02-29T00:00:00,123456789Z", Some(AT + 123)),
            ("2020-02-29T00:00:00.1235", Some(AT + 124)),
            ("2020-02-28T23:59:59.9996Z", Some(AT)),
            ("2020-02-28T23:59:60Z", Some(AT)),
            ("1995-07-01T00:00:01-04:00", Some(804_571_201_000)),
            ("2021-02-29T00:00:00Z", None),
            ("2020-13-01T00:00:00Z", None),
            ("2020-00-01T00:00:00Z", None),
            ("2020-04-31T00:00:00Z", None),
            ("2020-02-29T24:00:00Z", None),
            ("2020-02-29T00:60:00Z", None),
            ("2020-02-29T00:00:61Z", None),
            ("2020-02-29T00:00:00.Z", None),
            ("2020-02-29T00:00:00+24:00", None),
            ("2020-02-29T00:00:00+01:", None),
            ("2020-02-29T00:00:00+1", None),
            ("2020-02-29T00:00:00Zx", None),
            ("2020-02-29T00:00:00 ", None),
            ("2020-02-29", None),
            ("2020-2-9T00:00:00Z", None),
            ("0001-01-01T00:00:00Z", None),
            ("+020-02-29T00:00:00Z", None),
        ] {
            assert_eq!(event_time(text.as_bytes(), Iso8601), expected, "{text}");
        }
    }

    #[test]
    fn every_date_follows_the_day_before() {
        let mut expected = days_from_civil(1970, 1, 1);
        assert_eq!(expected, 0);
        for year in 1970..2400 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_from_civil(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, 157_054);
    }
}
