//! A closed window of one group: each measure's value, what its model says of it, and why it is anomalous.
//!
//! Used by `scoring`; what the models learn here is the group's state. Invariant: a window is judged by what was
//! learned before it, then it is learned.

use super::Score;
use super::group::{Group, Series};
use crate::explain::{Change, Lesson, MOST_REASONS, Usual, why};
use crate::measure::{Cell, Measure, Sketch};
use crate::model::{Point, Verdict};
use crate::pipeline::{Detector, Emit, Millis};
use crate::sketch::Values;
use crate::window::{Cells, LeftOut};

/// A value with a smaller share than this of what is usual is rare.
const RARE: f64 = 1e-3;

/// What a window gave for one measure.
pub(super) struct Row {
    /// Without its name.
    pub score: Score,
    /// It is to be written.
    pub emit: bool,
    /// The series' anomaly began or went on (score and since), or ended.
    pub change: Option<Option<(f64, Millis)>>,
}

/// Judges the window that ends at `end`, then learns it. `many`: there are so many groups that only changes matter;
/// `left_out`: what the rows tell besides.
pub(super) fn judge(
    detector: &Detector,
    group: &mut Group,
    end: Millis,
    window: &Cells,
    many: bool,
    left_out: LeftOut,
) -> Vec<(usize, Row)> {
    // After the last zero nothing more is said of the group, so its anomalies must not go on.
    let last = group.silent(detector.hop);
    let none = Cell::default();
    let mut rows = Vec::with_capacity(detector.measures.len());
    for (index, (measure, series)) in detector.measures.iter().zip(&mut group.series).enumerate() {
        let cell = window.measures.get(index).unwrap_or(&none);
        // The first that it learns: what was known under its name, when it had another window, is over. Not told for each
        // of very many groups: a million would have nothing to end.
        let begins = detector.by.is_empty() && series.model.learned() == 0;
        let (value, forgot) = value(detector, measure, series, cell, end);
        let point = Point {
            start: end - detector.window,
            window: detector.window,
            value,
            count: cell.count,
            trusted: cell.tells(measure),
        };
        let mut verdict = series.model.observe(&point);
        if *measure == Measure::Silence && value >= verdict.expected {
            verdict.score = 0.0;
        }
        let mut row = row(detector, series, cell, &point, &verdict, last, many);
        (row.score.left_out, row.score.forgot) = (left_out, forgot);
        if begins && series.model.learned() > 0 {
            row.change = row.change.or(Some(None));
        }
        rows.push((index, row));
    }
    explain(detector, group, end, window, &mut rows);
    rows
}

/// A window's value, and whether new or rare values may be missing in it, as more came than are counted or, of new ones,
/// remembered.
fn value(detector: &Detector, measure: &Measure, series: &mut Series, cell: &Cell, end: Millis) -> (f64, bool) {
    let (Measure::New(_) | Measure::Rare(_)) = measure else { return (cell.value(measure), false) };
    let empty = Values::new(detector.why_values);
    let values = match cell.sketch.as_deref() {
        Some(Sketch::Values(values)) => values,
        _ => &empty,
    };
    let history = series.history.get_or_insert_with(|| Box::new(Usual::default()));
    let start = end.saturating_sub(detector.window);
    let counts = values.iter().map(|(value, weight)| match measure {
        Measure::New(_) => u64::from(history.is_new(value, start, detector.forget)),
        _ if history.rarity(value) < RARE => weight,
        _ => 0,
    });
    let sum: u64 = counts.sum();
    let forgets = history.forgets(start, detector.forget);
    history.learn(values, &Lesson { besides: detector.remembered(), ..lesson(detector, end, false) });
    (sum as f64, !values.is_exact() || (forgets && matches!(measure, Measure::New(_))))
}

fn row(
    detector: &Detector,
    series: &mut Series,
    cell: &Cell,
    point: &Point,
    verdict: &Verdict,
    last: bool,
    many: bool,
) -> Row {
    let end = point.start + detector.window;
    let anomaly = !verdict.learning && verdict.score >= detector.threshold;
    let was = series.anomalous_since;
    let change = if anomaly && !last {
        Some(Some((verdict.score, *series.anomalous_since.get_or_insert(end))))
    } else {
        series.anomalous_since.take().map(|_| None)
    };
    let changed = point.value != series.last || anomaly || was.is_some();
    series.last = point.value;
    let emit = match detector.emit {
        Emit::All => true,
        Emit::Auto if !many => true,
        Emit::Auto | Emit::Changed => changed,
        Emit::Anomalous => anomaly || was.is_some(),
    };
    let score = Score {
        window_start: point.start,
        window_end: end,
        value: unsigned(point.value),
        count: cell.count,
        expected: unsigned(verdict.expected),
        lower: unsigned(verdict.lower),
        upper: unsigned(verdict.upper),
        score: unsigned(verdict.score),
        anomaly,
        confidence: unsigned(verdict.confidence),
        learning: verdict.learning,
        learned: if verdict.learning { series.model.learned() } else { 0 },
        needed: if verdict.learning { detector.model.learning() } else { 0 },
        overflow: cell.overflows(),
        ..Score::default()
    };
    Row { score, emit, change }
}

/// The number, and 0 for a zero with a sign, which JSON would show.
fn unsigned(number: f64) -> f64 {
    number + 0.0
}

fn lesson(detector: &Detector, end: Millis, anomalous: bool) -> Lesson {
    let window = detector.window;
    Lesson { start: end.saturating_sub(window), window, anomalous, age_out: detector.forget, besides: Usual::BESIDES }
}

/// How a measure changed: values that a rise or a fall is made of are looked for where the measure counts records.
fn change(measure: &Measure, score: &Score) -> Change {
    let counts = matches!(measure, Measure::Count | Measure::Silence | Measure::Sum(_));
    match counts {
        true if score.value > score.expected => Change::Rise,
        true => Change::Fall,
        false => Change::Shift,
    }
}

/// Gives the reasons of anomalies, and learns what is usual.
fn explain(detector: &Detector, group: &mut Group, end: Millis, window: &Cells, rows: &mut [(usize, Row)]) {
    let fields = detector.explain.len();
    if fields == 0 {
        return;
    }
    let names: Vec<String> = detector.explain.iter().map(ToString::to_string).collect();
    let weights = detector.weights();
    let empty = Values::new(detector.why_values);
    let now: Vec<&Values> = (0..weights.len() * fields).map(|i| window.values.get(i).unwrap_or(&empty)).collect();
    for (index, row) in rows.iter_mut().filter(|(_, row)| row.score.anomaly) {
        let measure = &detector.measures[*index];
        let reasons = |at: usize, change: Change| {
            let of_weight = at * fields..(at + 1) * fields;
            let known = names.iter().zip(&group.usual[of_weight.clone()]).zip(&now[of_weight]);
            let all: Vec<_> = known.map(|((name, usual), now)| (name.as_str(), usual, *now)).collect();
            why(&all, change, MOST_REASONS)
        };
        let own = weights.iter().position(|weight| *weight == measure.flag()).unwrap_or(0);
        row.score.why = reasons(own, change(measure, &row.score));
        // Where the records with the flag are made of what they always are, the flag itself came or went: the first
        // weight is that of all records.
        if row.score.why.is_empty() && own != 0 {
            row.score.why = reasons(0, Change::Shift);
        }
    }
    let anomalous = |weight: &Option<usize>| {
        let of_weight = |index: usize| weight.is_none() || detector.measures[index].flag() == *weight;
        rows.iter().any(|(index, row)| row.score.anomaly && of_weight(*index))
    };
    for (at, weight) in weights.iter().enumerate() {
        let lesson = lesson(detector, end, anomalous(weight));
        let of_weight = at * fields..(at + 1) * fields;
        group.usual[of_weight.clone()]
            .iter_mut()
            .zip(&now[of_weight])
            .for_each(|(usual, now)| usual.learn(now, &lesson));
    }
}
