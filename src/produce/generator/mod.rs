//! The mock generator: a seed and settings in, an endless stream of WAF logs in event-time order out.
//!
//! ```text
//! rhythm (when) ─┐
//! bursts (what is anomalous now) ─► fields (which values) ─► record (bytes)
//! ```
//!
//! Invariants: pure: no clock, no input; the same settings and the same calls give the same bytes on every
//! platform; event times never go back; every record is one line of valid JSON.

mod bursts;
mod fields;
mod record;
mod rhythm;
mod rng;

pub use fields::{Field, UnknownField};
pub use rhythm::Rhythm;

use super::stamp::Written;
use bursts::Bursts;
use fields::{Drawn, Table};
use outlier_core::pipeline::Millis;
use rhythm::Arrivals;
use rng::Rng;

/// What decides a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Two streams of the same settings and seed are the same.
    pub seed: u64,
    /// No record is earlier.
    pub start: Millis,
    /// Records a second on average; finite, above zero.
    pub rate: f64,
    /// How the rate changes with the time of day.
    pub rhythm: Rhythm,
    /// Which values are drawn apart from enforced anomalies.
    pub mode: Mode,
    /// How the event time is written.
    pub written: Written,
}

/// Which values are drawn while no anomaly is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Good values only.
    Good,
    /// The design's weights: now and then a bad value.
    Usual,
    /// The same, and now and then a burst of bad values in one field.
    Bursts,
}

/// A field whose bad values dominate for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforced {
    /// The field.
    pub field: Field,
    /// The one value that dominates; `None`: all bad values of the field. It need not be a known one.
    pub value: Option<String>,
    /// Event time of the first record it can touch.
    pub from: Millis,
    /// Event time from which on it is over.
    pub until: Millis,
}

/// One log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'g> {
    /// When it happened.
    pub event_time: Millis,
    /// The JSON object, without a line end.
    pub bytes: &'g [u8],
}

/// The stream. [`Generator::next_at`] says when the next record is due, [`Generator::next_record`] makes it.
#[derive(Debug)]
pub struct Generator {
    arrivals: Arrivals,
    values: Rng,
    usual: [Table; Field::ALL.len()],
    enforced: [Option<Override>; Field::ALL.len()],
    bursts: Option<Bursts>,
    written: Written,
    line: Vec<u8>,
}

/// Weights that count instead of the usual ones for a while.
#[derive(Debug)]
struct Override {
    from: Millis,
    until: Millis,
    table: Table,
}

impl Override {
    fn holds(&self, at: Millis) -> bool {
        self.from <= at && at < self.until
    }
}

impl Generator {
    /// The stream from its beginning.
    pub fn new(settings: &Settings) -> Self {
        let mut seeds = Rng::new(settings.seed);
        let arrivals = Arrivals::new(seeds.split(), settings.start, settings.rate, settings.rhythm);
        let values = seeds.split();
        let bursts = Bursts::new(seeds.split(), settings.start);
        Self {
            arrivals,
            values,
            usual: Field::ALL.map(|field| match settings.mode {
                Mode::Good => Table::good(field),
                Mode::Usual | Mode::Bursts => Table::usual(field),
            }),
            enforced: Default::default(),
            bursts: (settings.mode == Mode::Bursts).then_some(bursts),
            written: settings.written,
            line: Vec::with_capacity(1024),
        }
    }

    /// Event time of the record that comes next.
    pub fn next_at(&self) -> Millis {
        self.arrivals.next_at()
    }

    /// Enforces an anomaly. It replaces one that was enforced on the same field before.
    pub fn enforce(&mut self, anomaly: &Enforced) {
        let table = match &anomaly.value {
            None => Table::bad(anomaly.field),
            Some(value) => Table::dominated(anomaly.field, value),
        };
        let index = anomaly.field as usize;
        self.enforced[index] = Some(Override { from: anomaly.from, until: anomaly.until, table });
    }

    /// The next record.
    pub fn next_record(&mut self) -> Record<'_> {
        let event_time = self.arrivals.take();
        let burst = self.bursts.as_mut().and_then(|bursts| bursts.at(event_time));
        let Self { values, usual, enforced, line, written, .. } = self;
        let drawn: Drawn<'_> = Field::ALL.map(|field| {
            let index = field as usize;
            let table = match (&enforced[index], burst) {
                (Some(now), _) if now.holds(event_time) => &now.table,
                (_, Some((bursting, table))) if bursting == field => table,
                _ => &usual[index],
            };
            table.draw(values)
        });
        line.clear();
        record::write(line, event_time, *written, &drawn, values);
        Record { event_time, bytes: line }
    }
}
