//! JSON numbers: their grammar, and their value exactly scaled or as a float.
//!
//! Below `scan`, `flags` and `time` on the data path. Invariant: a number's text is kept as written; every
//! number that RFC 8259 allows is accepted, `1e999` too, as nobody has to hold it in a float.

/// Position after the number that starts at `at`; the error is the position of the byte that is wrong.
#[inline]
pub(super) fn end_of_number(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        _ => digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

/// Position after one or more digits.
#[inline]
fn digits(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start { Err(at) } else { Ok(at) }
}

/// The finite value of a text that is a JSON number from end to end.
pub(super) fn float(text: &[u8]) -> Option<f64> {
    if end_of_number(text, 0) != Ok(text.len()) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// The value of a JSON number times 10^`scale`, rounded to the nearest integer (halves away from zero).
///
/// Exact: no float is involved. `None` when the text is not a number or the result does not fit.
pub(super) fn scaled(text: &[u8], scale: i64) -> Option<i64> {
    /// So many digits always fit a `u64`; what follows them can neither fit nor change the rounding.
    const KEPT: u32 = 19;
    // Nearly every time is one.
    if let Some((digits, fraction)) = plain(text) {
        return shift(digits, scale - fraction).and_then(|value| i64::try_from(value).ok());
    }
    if end_of_number(text, 0) != Ok(text.len()) {
        return None;
    }
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(e) => (&text[..e], exponent(&text[e + 1..])),
        None => (text, 0),
    };
    let mut value = 0u64;
    let mut kept = 0;
    let mut power = exponent.saturating_add(scale);
    let mut fraction = false;
    for &byte in mantissa {
        if byte == b'.' {
            fraction = true;
        }
        if !byte.is_ascii_digit() {
            continue;
        }
        if kept < KEPT {
            value = value * 10 + u64::from(byte - b'0');
            kept += u32::from(value > 0);
            power = power.saturating_sub(i64::from(fraction));
        } else {
            power = power.saturating_add(i64::from(!fraction));
        }
    }
    let rounded = shift(value, power)?;
    let signed = i64::try_from(rounded).ok()?;
    Some(if text[0] == b'-' { -signed } else { signed })
}

/// A number without sign and exponent, of at most 18 digits: its digits, and how many of them are a fraction.
#[inline]
fn plain(text: &[u8]) -> Option<(u64, i64)> {
    if text.len() > 18 {
        return None;
    }
    let (mut digits, mut point) = (0, text.len());
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits = digits * 10 + u64::from(byte - b'0'),
            b'.' if point == text.len() => point = at,
            _ => return None,
        }
    }
    // Digits before the point, none of them a leading zero, and behind it.
    let whole = point == 1 || (point > 1 && text.first() != Some(&b'0'));
    let fraction = text.len().saturating_sub(point + 1);
    (whole && (point == text.len() || fraction > 0)).then_some((digits, fraction as i64))
}

/// `value` times 10^`power`, rounded.
fn shift(value: u64, power: i64) -> Option<u64> {
    if value == 0 {
        return Some(0);
    }
    let factor = u32::try_from(power.unsigned_abs()).ok().and_then(|p| 10u64.checked_pow(p));
    match (factor, power < 0) {
        (Some(factor), true) => Some(value / factor + u64::from(value % factor >= factor - value % factor)),
        // Less than 10^19 divided by at least 10^20.
        (None, true) => Some(0),
        (factor, false) => value.checked_mul(factor?),
    }
}

/// An exponent's value; far beyond any use it saturates.
fn exponent(text: &[u8]) -> i64 {
    let size = text
        .iter()
        .filter(|b| b.is_ascii_digit())
        .fold(0i64, |sum, &b| sum.saturating_mul(10).saturating_add(i64::from(b - b'0')));
    if text.first() == Some(&b'-') { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grammar() {
        for good in
            ["0", "-0", "10", "-1.5", "0.0", "1e5", "1E+05", "1e-0", "1.25e999", "123456789012345678901234567890"]
        {
            assert_eq!(end_of_number(good.as_bytes(), 0), Ok(good.len()), "{good}");
            assert_eq!(end_of_number(format!("{good},").as_bytes(), 0), Ok(good.len()), "{good}");
        }
        for (bad, at) in
            [("", 0), ("-", 1), ("+1", 0), (".5", 0), ("1.", 2), ("1.e5", 2), ("1e", 2), ("1e+", 3), ("-a", 1)]
        {
            assert_eq!(end_of_number(bad.as_bytes(), 0), Err(at), "{bad}");
        }
        // The caller sees what follows a complete number.
        assert_eq!(end_of_number(b"01", 0), Ok(1));
    }

    #[test]
    fn exact_scaling() {
        for (text, scale, expected) in [
            ("1795399664.758", 3, Some(1_795_399_664_758)),
            ("1795399664.7584999999999999999999999999", 3, Some(1_795_399_664_758)),
            ("1795399664.7585", 3, Some(1_795_399_664_759)),
            ("-1.0005", 3, Some(-1001)),
            ("-0", 3, Some(0)),
            ("1.795399664758E9", 3, Some(1_795_399_664_758)),
            ("1795399664758e-3", 3, Some(1_795_399_664_758)),
            ("0.000000000000000000000000000001795399664758e39", 3, Some(1_795_399_664_758)),
            ("17953996647580000000000000000000e-19", 0, Some(1_795_399_664_758)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("9223372036854775808", 0, None),
            ("1e19", 0, None),
            ("1e999999999999999999999999", 3, None),
            ("1e-999999999999999999999999", 3, Some(0)),
            ("0e999", 3, Some(0)),
            ("9999999999999999999e-20", 0, Some(0)),
            ("0", 3, Some(0)),
            ("1795399664758", 0, Some(1_795_399_664_758)),
            ("1795399664758", -3, Some(1_795_399_665)),
            ("999999999999999999", 0, Some(999_999_999_999_999_999)),
            ("999999999999999999", 3, None),
            ("01", 0, None),
            ("1.", 3, None),
            (".5", 3, None),
            ("0.0015", 3, Some(2)),
            ("1.2.3", 3, None),
            ("5e-1", 0, Some(1)),
            ("49e-2", 0, Some(0)),
            ("1 ", 0, None),
            ("abc", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(scaled(text.as_bytes(), scale), expected, "{text} scaled by {scale}");
        }
    }

    #[test]
    fn only_finite_json_numbers_are_floats() {
        for (text, expected) in [
            ("404", Some(404.0)),
            ("-1.5e2", Some(-150.0)),
            ("1e999", None),
            ("inf", None),
            ("NaN", None),
            ("+1", None),
            ("", None),
        ] {
            assert_eq!(float(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn scaling_agrees_with_integers(value in any::<i32>(), zeros in 0usize..30, point in 0usize..9) {
            // `value` written with a decimal point and the power of ten that undoes it.
            let digits = format!("{:0width$}", value.unsigned_abs(), width = point + 1);
            let (whole, fraction) = digits.split_at(digits.len() - point);
            let sign = if value < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}{}e{point}", "0".repeat(zeros + 1));
            prop_assert_eq!(scaled(text.as_bytes(), 2), Some(i64::from(value) * 100));
        }
    }
}
