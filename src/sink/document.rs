//! From a record to a document: its id and its time.
//!
//! Invariant: the same record gives the same id wherever and whenever it is read.

use crate::config::Stage;
use crate::index::MAX_ID_BYTES;
use crate::index::score::ScoreRow;
use outlier_core::alert::Alert;

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

/// The times of a document, epoch milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Its `@timestamp`.
    pub timestamp_ms: i64,
    /// The time that decides on a dated index: the same for every record of its id.
    pub period_ms: i64,
}

/// The own time of a raw or enriched record decides on its index as far as it is from the time at which it was sent, so
/// that no log can make more indices than these days.
const BEFORE: i64 = 7 * DAY;
const AFTER: i64 = DAY;
const DAY: i64 = 86_400_000;

impl Times {
    fn new(own: i64, sent: i64) -> Self {
        let period_ms = own.clamp(sent.saturating_sub(BEFORE), sent.saturating_add(AFTER));
        Self { timestamp_ms: own, period_ms }
    }

    /// The time at which a row was sent says nothing of an old window, which may be scored again.
    fn of_window(end: i64, sent: i64) -> Self {
        Self { timestamp_ms: end, period_ms: end.min(sent.saturating_add(AFTER)) }
    }

    /// An alert is written again while it goes on: its beginning stays the same.
    fn of(alert: &Alert) -> Self {
        Self { timestamp_ms: alert.updated, period_ms: alert.start }
    }
}

/// What [`Unfit::kind`] may be: `outlier-reason` in the rejected topic.
pub const KINDS: [&str; 7] =
    ["index", "no-source", "no-value", "no-event-time", "not-a-score", "not-an-alert", "id-too-long"];

/// A record that cannot be a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// A label for metrics: one of [`KINDS`].
    pub kind: &'static str,
    /// For people.
    pub reason: String,
}

/// Finds a record's times, and its id, which is left in `id`.
///
/// # Errors
/// It is not what its topic promises.
pub fn identify(stage: Stage, origin: Origin<'_>, body: Option<&[u8]>, id: &mut String) -> Result<Times, Unfit> {
    let sent = origin.timestamp_ms;
    id.clear();
    let times = match stage {
        Stage::Raw => {
            place_id(id, origin.topic, origin.partition, origin.offset);
            times(stage, sent, body)?
        }
        Stage::Enriched => {
            source_id(id, origin.source)?;
            times(stage, sent, body)?
        }
        Stage::Scores => {
            let row = score(body)?;
            *id = row.id();
            Times::of_window(row.window_end, sent)
        }
        // Between two changes of its state an alert is written again and again: the first counts.
        Stage::Alerts => {
            let alert = alert(body)?;
            *id = format!("{}-{}", alert.id, alert.sequence);
            Times::of(&alert)
        }
    };
    if id.len() > MAX_ID_BYTES {
        let reason =
            format!("its id would have {} bytes and may have {MAX_ID_BYTES}: shorten the names in it", id.len());
        return Err(Unfit { kind: "id-too-long", reason });
    }
    Ok(times)
}

/// The times of a record's document; `kafka_ms` is the record's own timestamp. Epoch milliseconds.
///
/// # Errors
/// It is not what its topic promises.
pub fn times(stage: Stage, kafka_ms: i64, body: Option<&[u8]>) -> Result<Times, Unfit> {
    Ok(match stage {
        Stage::Raw => Times::new(kafka_ms, kafka_ms),
        Stage::Enriched => Times::new(event_time(value(body)?)?, kafka_ms),
        Stage::Scores => Times::of_window(score(body)?.window_end, kafka_ms),
        Stage::Alerts => Times::of(&alert(body)?),
    })
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

/// `topic-partition-offset`. On the path of every record.
fn place_id(id: &mut String, topic: &str, partition: impl itoa::Integer, offset: impl itoa::Integer) {
    id.push_str(topic);
    id.push('-');
    id.push_str(itoa::Buffer::new().format(partition));
    id.push('-');
    id.push_str(itoa::Buffer::new().format(offset));
}

/// `topic/partition/offset` with dashes.
fn source_id(id: &mut String, header: Option<&[u8]>) -> Result<(), Unfit> {
    let mut parts = || {
        let source = str::from_utf8(header?).ok()?;
        let (source, offset) = cut(source)?;
        let (topic, partition) = cut(source)?;
        let (partition, offset): (u32, u64) = (partition.parse().ok()?, offset.parse().ok()?);
        (!topic.is_empty() && !topic.contains('/')).then(|| place_id(id, topic, partition, offset))
    };
    parts().ok_or_else(|| Unfit {
        kind: "no-source",
        reason: format!(
            "the header {SOURCE_HEADER} is not topic/partition/offset: was the record written by `process`?"
        ),
    })
}

/// What is before and after the last slash; `rsplit_once` looks at one byte after the other.
fn cut(text: &str) -> Option<(&str, &str)> {
    let slash = memchr::memrchr(b'/', text.as_bytes())?;
    Some((&text[..slash], &text[slash + 1..]))
}

/// `outlier.event_time`, the last member of this name in what `process` writes. On the path of every record.
fn event_time(body: &[u8]) -> Result<i64, Unfit> {
    // In a string its second quote would have a backslash before it.
    const NAME: &[u8] = b"\"event_time\"";
    let read = || {
        let colon = memchr::memrchr_iter(b':', body).find(|colon| body[..*colon].ends_with(NAME))?;
        let end = colon + memchr::memchr2(b',', b'}', &body[colon..])?;
        str::from_utf8(body[colon + 1..end].trim_ascii()).ok()?.parse().ok()
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
        let mut id = "of the record before".to_owned();
        let got = identify(stage, origin, body.map(str::as_bytes), &mut id);
        let got = got.as_ref().map(|times| (id.as_str(), times.timestamp_ms)).map_err(|unfit| unfit.kind);
        assert_eq!(got, want, "{stage:?} {source:?} {body:?}");
        assert!(got.err().is_none_or(|kind| KINDS.contains(&kind)), "{got:?}");
    }

    #[test]
    fn no_log_makes_an_index_of_its_own() {
        let sent = 1_795_399_664_758;
        for (own, want) in [
            (sent, sent),
            (sent - 2 * DAY, sent - 2 * DAY),
            (0, sent - 7 * DAY),
            (i64::MAX, sent + DAY),
            (i64::MIN, sent - 7 * DAY),
        ] {
            assert_eq!(Times::new(own, sent), Times { timestamp_ms: own, period_ms: want });
        }
    }

    #[test]
    fn a_window_is_of_its_time_whenever_it_was_scored() {
        for (end, sent, want) in [(0, DAY, 0), (0, 100 * DAY, 0), (DAY, 100 * DAY, DAY), (3 * DAY, DAY, 2 * DAY)] {
            assert_eq!(Times::of_window(end, sent), Times { timestamp_ms: end, period_ms: want });
        }
    }

    #[test]
    fn records_have_ids_and_times() {
        let enriched = r#"{"a":{"outlier":{"event_time":1}},"B":0,"outlier":{"pipeline":"waf","event_time":42,"anomalies":["x"]}}"#;
        let score = r#"{"detector":"d","series":"sum(a)","window_start":10,"window_end":20,"value":1,"count":1,"expected":1,"lower":0,"upper":2,"score":0.5,"anomaly":false,"confidence":1,"why":[1]}"#;
        let long = |letter: &str| score.replace("sum(a)", &letter.repeat(600));
        let id = |body: &str| {
            let origin = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: 0, source: None };
            let mut id = String::new();
            identify(Stage::Scores, origin, Some(body.as_bytes()), &mut id).unwrap();
            id
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
        for (member, want) in [
            (r#""event_time":-7"#, Ok(-7)),
            (r#""event_time": 42 "#, Ok(42)),
            (r#""event_time":42,"a":":\"event_time\":1""#, Ok(42)),
            (r#""event_time":42,"event_time\"":1"#, Ok(42)),
            (r#""event_time":4.2"#, Err("no-event-time")),
            (r#""event_time":99999999999999999999"#, Err("no-event-time")),
            (r#""event_time":"#, Err("no-event-time")),
        ] {
            let body = format!(r#"{{"event_time":1,"outlier":{{{member}}}}}"#);
            check(Stage::Enriched, Some("r/1/5"), Some(&body), want.map(|time| ("r-1-5", time)));
        }
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
