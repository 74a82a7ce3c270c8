//! The benchmark's files: series, and the windows that hold their anomalies.
//!
//! Invariants: files are sorted by name, so that every run has the same order; a window is a range of points.

use anyhow::{Context, Result, ensure};
use outlier_core::pipeline::TimeFormat;
use outlier_core::record::event_time;
use std::collections::BTreeMap;
use std::path::Path;

/// One series and its labels.
pub struct Series {
    /// `category/file.csv`.
    pub name: String,
    /// Times in seconds, and values.
    pub points: Vec<(i64, f64)>,
    /// First and last point of each window.
    pub windows: Vec<(usize, usize)>,
}

impl Series {
    /// The folder.
    pub fn category(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// Reads `data/` by the labels of `labels/combined_windows.json`.
pub fn read(folder: &Path) -> Result<Vec<Series>> {
    let path = folder.join("labels/combined_windows.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let labels: BTreeMap<String, Vec<[String; 2]>> =
        serde_json::from_str(&text).with_context(|| format!("{} is not a list of windows", path.display()))?;
    labels.into_iter().map(|(name, windows)| series(folder, name, &windows)).collect()
}

fn series(folder: &Path, name: String, windows: &[[String; 2]]) -> Result<Series> {
    let path = folder.join("data").join(&name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let points = text.lines().skip(1).enumerate().map(|(i, line)| {
        let row = line.split_once(',').and_then(|(time, value)| Some((seconds(time)?, value.parse().ok()?)));
        row.with_context(|| format!("{}:{}: not a time and a value", path.display(), i + 2))
    });
    let points: Vec<(i64, f64)> = points.collect::<Result<_>>()?;
    let place = |time: &str| -> Result<usize> {
        let time = seconds(time).with_context(|| format!("{name}: window at {time}"))?;
        points.iter().position(|p| p.0 == time).with_context(|| format!("{name}: no point at a window's end"))
    };
    let windows = windows.iter().map(|[from, to]| Ok((place(from)?, place(to)?)));
    let windows: Vec<(usize, usize)> = windows.collect::<Result<_>>()?;
    ensure!(windows.is_sorted(), "{name}: windows are not in order");
    Ok(Series { name, points, windows })
}

/// Of `2014-04-01 00:00:00`, in UTC.
fn seconds(text: &str) -> Option<i64> {
    event_time(text.as_bytes(), TimeFormat::Iso8601).map(|ms| ms.div_euclid(1000))
}
