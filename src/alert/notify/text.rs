//! A message in plain words. No I/O.

use crate::backtest::words::{number, of, percent, plain, second, span};
use outlier_core::alert::{Alert, Message, Occasion, Severity, Telling};
use outlier_core::explain::Reason;

/// Alerts that a text describes; of the rest it says the number.
const MOST: usize = 10;
/// Reasons that are named of each.
const REASONS: usize = 3;

/// One line that says what it is about.
pub fn subject(pipeline: &str, message: &Message) -> String {
    let Some(worst) = message.alerts.first() else { return "Test message of outlier".to_owned() };
    let series = series(&worst.alert);
    let score = number(worst.alert.peak.score);
    let rest = match message.total.saturating_sub(1) as u64 {
        0 => String::new(),
        rest => format!(" and {}", of(rest, "other series", "other series")),
    };
    if message.over {
        return one_line(&format!("Resolved: {pipeline}: {series}{rest}"));
    }
    let critical = message.alerts.iter().any(|telling| telling.alert.severity == Severity::Critical);
    let kind = if critical { "Critical anomaly" } else { "Anomaly" };
    one_line(&format!("{kind}: {pipeline}: {series}{rest}, score {score}"))
}

/// What happened, a paragraph an alert.
pub fn body(message: &Message) -> String {
    if message.alerts.is_empty() {
        return "Somebody ran `outlier setup --test`: messages about anomalies come this way.\n".to_owned();
    }
    let mut text = message.alerts.iter().take(MOST).map(paragraph).collect::<Vec<_>>().join("\n\n");
    let rest = message.total.saturating_sub(MOST);
    if rest > 0 {
        text.push_str(&format!("\n\nand {} with a lower score", of(rest as u64, "other series", "other series")));
    }
    text.push('\n');
    text
}

fn paragraph(Telling { occasion, alert }: &Telling) -> String {
    let peak = &alert.peak;
    let series = series(alert);
    let band = format!(
        "{} where {} was expected ({} to {}), score {}",
        number(peak.value),
        number(peak.expected),
        number(peak.lower),
        number(peak.upper),
        number(peak.score)
    );
    let severity = if alert.severity == Severity::Critical { "critical, " } else { "" };
    let lasted = span(alert.end - alert.start);
    let (start, end) = (second(alert.start), second(alert.end));
    let mut text = match occasion {
        Occasion::Began => format!("{series} is anomalous: {severity}{band}\nsince {start} UTC"),
        Occasion::Escalated => format!("{series} is critical now: {band}\nsince {start} UTC, for {lasted}"),
        Occasion::Repeated => {
            format!("{series} is still anomalous: {severity}at its worst {band}\nsince {start} UTC, for {lasted}")
        }
        Occasion::Over => format!(
            "{series} is normal again after {lasted}: {severity}at its worst {band}\nfrom {start} to {end} UTC, {}",
            of(alert.windows, "anomalous window", "anomalous windows")
        ),
    };
    if !peak.why.is_empty() {
        text.push_str(&format!("\nwhy: {}", reasons(&peak.why)));
    }
    text.push_str(&format!("\nalert {}", alert.id));
    text
}

fn series(alert: &Alert) -> String {
    plain(&format!("{} {}", alert.name.detector, alert.name.series))
}

/// The first reasons: `field value: 12 % now, 3 % usually`.
pub fn reasons(why: &[Reason]) -> String {
    plain(&why.iter().take(REASONS).map(reason).collect::<Vec<_>>().join("; "))
}

fn reason(reason: &Reason) -> String {
    let Reason { field, value, now, usual, .. } = reason;
    format!("{field} {value}: {} now, {} usually", percent(*now), percent(*usual))
}

fn one_line(text: &str) -> String {
    match text.char_indices().nth(150) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A message of one alert.
    pub fn message(occasion: Occasion, total: usize) -> Message {
        let alert = json!({
            "id": "00c0ffee00c0ffee", "state": "firing", "sequence": 1, "severity": "critical",
            "detector": "action", "series": "sum(B_action)", "start": 1_795_399_620_000i64,
            "end": 1_795_399_740_000i64, "updated": 1_795_399_740_000i64, "windows": 2,
            "peak": {"window_end": 1_795_399_680_000i64, "value": 41.0, "expected": 1.25, "lower": 0.0, "upper": 7.0,
                "score": 100.0, "why": [
                    {"field": "httpRequest.country", "value": "X\r\nX", "now": 0.93, "usual": 0.01, "contribution": 100.0},
                ]},
            "tell": true,
        });
        let alert = serde_json::from_value(alert).unwrap();
        Message {
            key: "0123456789abcdef".to_owned(),
            batch: "0123456789abcdef".to_owned(),
            channel: "team".to_owned(),
            since: 0,
            over: occasion == Occasion::Over,
            alerts: vec![Telling { occasion, alert }],
            total,
            ids: Default::default(),
        }
    }

    #[test]
    fn texts() {
        let band = "41 where 1.25 was expected (0 to 7), score 100";
        let why = "why: httpRequest.country X  X: 93 % now, 1 % usually\nalert 00c0ffee00c0ffee\n";
        for (occasion, subject_is, first) in [
            (
                Occasion::Began,
                "Critical anomaly: waf: action sum(B_action), score 100",
                format!("action sum(B_action) is anomalous: critical, {band}\nsince 2026-11-23 02:07:00 UTC\n{why}"),
            ),
            (
                Occasion::Repeated,
                "Critical anomaly: waf: action sum(B_action), score 100",
                format!(
                    "action sum(B_action) is still anomalous: critical, at its worst {band}\nsince 2026-11-23 02:07:00 UTC, for 2 min\n{why}"
                ),
            ),
            (
                Occasion::Over,
                "Resolved: waf: action sum(B_action)",
                format!(
                    "action sum(B_action) is normal again after 2 min: critical, at its worst {band}\nfrom 2026-11-23 02:07:00 to 2026-11-23 02:09:00 UTC, 2 anomalous windows\n{why}"
                ),
            ),
        ] {
            let message = message(occasion, 1);
            assert_eq!((subject("waf", &message).as_str(), body(&message)), (subject_is, first));
        }
        let many = message(Occasion::Began, 31);
        assert_eq!(subject("waf", &many), "Critical anomaly: waf: action sum(B_action) and 30 other series, score 100");
        assert!(body(&many).ends_with("\n\nand 21 other series with a lower score\n"));
    }
}
