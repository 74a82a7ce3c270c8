//! From a record to a document: its id and its time.
//!
//! Invariant: the same record gives the same id wherever and whenever it is read.

use crate::config::Stage;
use crate::index::MAX_ID_BYTES;
use crate::index::score::ScoreRow;
use outlier_core::alert::Alert;
use serde::Deserialize;

/// The header of an enriched record that names its source as `topic/partition/offset`.
pub const SOURCE_HEADER: &str = "outlier-source";

/// Where a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp, epoch milliseconds.
    pub timestamp_ms: i64,
    /// The value of its header [`SOURCE_HEADER`], if it has one.
    pub source: Option<&'a [u8]>,
}

/// A document's id and `@timestamp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Unique in its index.
    pub id: String,
    /// Epoch milliseconds.
    pub timestamp_ms: i64,
}

/// A record that cannot be a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// A label for metrics: one of a few.
    pub kind: &'static str,
    /// For people.
    pub reason: String,
}

/// Finds a record's id and time.
///
/// # Errors
/// It is not what its topic promises.
pub fn identify(stage: Stage, origin: Origin<'_>, body: Option<&[u8]>) -> Result<Identity, Unfit> {
    let identity = match stage {
        Stage::Raw => Identity {
            id: format!("{}-{}-{}", origin.topic, origin.partition, origin.offset),
            timestamp_ms: origin.timestamp_ms,
        },
        Stage::Enriched => Identity { id: source_id(origin.source)?, timestamp_ms: event_time(value(body)?)? },
        Stage::Scores => {
            let row = score(body)?;
            Identity { id: row.id(), timestamp_ms: row.window_end }
        }
        // Between two changes of its state an alert is written again and again: the first counts.
        Stage::Alerts => {
            let alert = alert(body)?;
            Identity { id: format!("{}-{}", alert.id, alert.sequence), timestamp_ms: alert.updated }
        }
    };
    if identity.id.len() > MAX_ID_BYTES {
        let reason = format!(
            "its id would have {} bytes and may have {MAX_ID_BYTES}: shorten the names in it",
            identity.id.len()
        );
        return Err(Unfit { kind: "id-too-long", reason });
    }
    Ok(identity)
}

/// The `@timestamp` of a record's document; `kafka_ms` is the record's own timestamp. Epoch milliseconds.
///
/// # Errors
/// It is not what its topic promises.
pub fn time(stage: Stage, kafka_ms: i64, body: Option<&[u8]>) -> Result<i64, Unfit> {
    match stage {
        Stage::Raw => Ok(kafka_ms),
        Stage::Enriched => event_time(value(body)?),
        Stage::Scores => score(body).map(|row| row.window_end),
        Stage::Alerts => alert(body).map(|alert| alert.updated),
    }
}

fn score(body: Option<&[u8]>) -> Result<ScoreRow<'_>, Unfit> {
    ScoreRow::parse(value(body)?).map_err(|reason| Unfit { kind: "not-a-score", reason })
}

fn alert(body: Option<&[u8]>) -> Result<Alert, Unfit> {
    Alert::parse(value(body)?).map_err(|error| Unfit { kind: "not-an-alert", reason: format!("not an alert: {error}") })
}

fn value(body: Option<&[u8]>) -> Result<&[u8], Unfit> {
    body.ok_or_else(|| Unfit { kind: "no-value", reason: "the record has no value".to_owned() })
}

/// `topic/partition/offset` with dashes.
fn source_id(header: Option<&[u8]>) -> Result<String, Unfit> {
    let parts = || {
        let mut parts = str::from_utf8(header?).ok()?.rsplitn(3, '/');
        let offset: u64 = parts.next()?.parse().ok()?;
        let partition: u32 = parts.next()?.parse().ok()?;
        let topic = parts.next().filter(|topic| !topic.is_empty() && !topic.contains('/'))?;
        Some(format!("{topic}-{partition}-{offset}"))
    };
    parts().ok_or_else(|| Unfit {
        kind: "no-source",
        reason: format!(
            "the header {SOURCE_HEADER} is not topic/partition/offset: was the record written by `process`?"
        ),
    })
}

/// `outlier.event_time`, which `process` writes as the last member.
fn event_time(body: &[u8]) -> Result<i64, Unfit> {
    #[derive(Deserialize)]
    struct Outlier {
        event_time: i64,
    }
    const MEMBER: &[u8] = b"\"outlier\":";
    let read = || {
        let at = memchr::memmem::rfind(body, MEMBER)? + MEMBER.len();
        let mut values = serde_json::Deserializer::from_slice(&body[at..]).into_iter::<Outlier>();
        Some(values.next()?.ok()?.event_time)
    };
    read().ok_or_else(|| Unfit {
        kind: "no-event-time",
        reason: "the record does not end with `outlier.event_time`: was it written by `process`?".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stage: Stage, source: Option<&str>, body: Option<&str>, want: Result<(&str, i64), &str>) {
        let origin =
            Origin { topic: "t.x", partition: 3, offset: 9, timestamp_ms: 77, source: source.map(str::as_bytes) };
        let got = identify(stage, origin, body.map(str::as_bytes));
        let want = want.map(|(id, timestamp_ms)| Identity { id: id.to_owned(), timestamp_ms });
        assert_eq!(got.map_err(|unfit| unfit.kind), want, "{stage:?} {source:?} {body:?}");
    }

    #[test]
    fn records_have_ids_and_times() {
        let enriched = r#"{"a":{"outlier":{"event_time":1}},"B":0,"outlier":{"pipeline":"waf","event_time":42,"anomalies":["x"]}}"#;
        let score = r#"{"detector":"d","series":"sum(a)","window_start":10,"window_end":20,"value":1,"count":1,"expected":1,"lower":0,"upper":2,"score":0.5,"anomaly":false,"confidence":1,"why":[1]}"#;
        let long = |letter: &str| score.replace("sum(a)", &letter.repeat(600));
        let id = |body: &str| {
            let origin = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: 0, source: None };
            identify(Stage::Scores, origin, Some(body.as_bytes())).map(|identity| identity.id).unwrap_or_default()
        };
        let ids = [id(&long("x")), id(&long("y"))];
        assert!(ids.iter().all(|id| id.len() == 35 && id.ends_with("/10")) && ids[0] != ids[1], "{ids:?}");
        check(Stage::Raw, None, Some("whatever"), Ok(("t.x-3-9", 77)));
        check(Stage::Raw, None, None, Ok(("t.x-3-9", 77)));
        check(Stage::Enriched, Some("r.a/w/1/5"), Some(enriched), Err("no-source"));
        check(Stage::Enriched, Some("r.a/1/5"), Some(enriched), Ok(("r.a-1-5", 42)));
        check(Stage::Enriched, None, Some(enriched), Err("no-source"));
        check(Stage::Enriched, Some("/1/5"), Some(enriched), Err("no-source"));
        check(Stage::Enriched, Some("r/1/5"), Some(r#"{"a":1}"#), Err("no-event-time"));
        check(Stage::Enriched, Some("r/1/5"), Some(r#"{"outlier":{"event_time":"x"}}"#), Err("no-event-time"));
        check(Stage::Enriched, Some("r/1/5"), None, Err("no-value"));
        check(Stage::Scores, None, Some(score), Ok(("d/sum(a)/10", 20)));
        check(Stage::Scores, None, Some("{}"), Err("not-a-score"));
        check(Stage::Scores, None, None, Err("no-value"));
        let alert = r#"{"id":"0f","state":"firing","sequence":1,"severity":"normal","detector":"d","series":"s","start":0,"end":10,"updated":20,"windows":1,"peak":{"window_end":10,"value":1,"expected":1,"lower":0,"upper":2,"score":95},"tell":true}"#;
        check(Stage::Alerts, None, Some(alert), Ok(("0f-1", 20)));
        check(Stage::Alerts, None, Some(score), Err("not-an-alert"));
        check(Stage::Alerts, None, None, Err("no-value"));
    }
}
