//! What the page shows of a pipeline: one panel a flag group, and one for each measure outside the groups.
//!
//! Made once from the configuration; the tiles, the charts and the columns of the live tail follow it.
//!
//! Invariant: every measure of every detector is in exactly one panel.

use outlier_core::measure::{Kind, Measure, Operand};
use outlier_core::pipeline::{Detector, Millis, Pipeline};
use outlier_core::score::SeriesName;
use serde::Serialize;

/// A tile of the page and the charts behind it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// Unique in its pipeline; also in the page's address.
    pub id: String,
    /// What people read.
    pub title: String,
    /// The field behind a flag group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The series, bad ones first.
    pub series: Vec<PanelSeries>,
}

/// A series of a panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PanelSeries {
    /// Detector and measure.
    #[serde(flatten)]
    pub name: SeriesName,
    /// What more of it means.
    pub role: Role,
    /// What its numbers are.
    pub unit: Unit,
    /// Length of a window; milliseconds.
    pub window: Millis,
    /// How long after its end a window is still open; milliseconds.
    pub lateness: Millis,
    /// Scores from here on are anomalies.
    pub threshold: f64,
}

/// What more of a series means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Records whose bad flag is set.
    Bad,
    /// Records whose good flag is set.
    Good,
    /// Neither good nor bad by itself.
    Plain,
}

/// What the numbers of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Records a window.
    Records,
    /// A sum of a field.
    Amount,
    /// From 0 to 1.
    Share,
}

/// The panels of a pipeline: its flag groups in their order, then the other measures in theirs.
pub fn panels(pipeline: &Pipeline) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for (index, group) in pipeline.flags.iter().enumerate() {
        let mut series: Vec<PanelSeries> =
            measures(pipeline).filter(|(_, m)| flag(m).is_some_and(|f| f / 2 == index)).map(of).collect();
        series.sort_by_key(|s| (s.role, s.unit == Unit::Share));
        let field = Some(group.field.to_string());
        panels.push(Panel { id: group.name.clone(), title: group.name.clone(), field, series });
    }
    for (detector, measure) in measures(pipeline).filter(|(_, m)| flag(m).is_none()) {
        let title = format!("{} · {measure}", detector.name);
        let id = format!("{}/{measure}", detector.name);
        panels.push(Panel { id, title, field: None, series: vec![of((detector, measure))] });
    }
    panels
}

fn measures(pipeline: &Pipeline) -> impl Iterator<Item = (&Detector, &Measure)> {
    // The series of a detector that splits are known only as they come.
    let whole = pipeline.detectors.iter().filter(|detector| detector.by.is_empty());
    whole.flat_map(|d| d.measures.iter().map(move |m| (d, m)))
}

/// The index of a measure's flag: even ones are good, odd ones bad, two a group.
fn flag(measure: &Measure) -> Option<usize> {
    match measure {
        Measure::Sum(Operand::Flag(index, _)) | Measure::Ratio(Operand::Flag(index, _)) => Some(*index),
        _ => None,
    }
}

fn of((detector, measure): (&Detector, &Measure)) -> PanelSeries {
    PanelSeries {
        name: SeriesName { detector: detector.name.clone(), series: measure.to_string() },
        role: match flag(measure) {
            Some(index) if index % 2 == 1 => Role::Bad,
            Some(_) => Role::Good,
            None => Role::Plain,
        },
        unit: match measure.kind() {
            Kind::Count => Unit::Records,
            Kind::Amount => Unit::Amount,
            Kind::Share => Unit::Share,
        },
        window: detector.window,
        lateness: detector.lateness,
        threshold: detector.threshold,
    }
}
