//! Reads the SQLite index for the dashboard, beside the writer.
//!
//! Invariant: only reads; a write in progress is not seen and not waited for.

use crate::config::{Sqlite, Stage};
use crate::index::names;
use rusqlite::{Connection, OpenFlags, Row, params};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};

/// A score in the index. Units as in `outlier_core::score::Score`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredScore {
    /// The detector's name.
    pub detector: String,
    /// The measure's text.
    pub series: String,
    /// Start of the window, epoch milliseconds.
    pub window_start: i64,
    /// End of the window, epoch milliseconds, exclusive.
    pub window_end: i64,
    /// The measure's value.
    pub value: f64,
    /// The value that was to be expected.
    pub expected: f64,
    /// Lower end of the band of normal values.
    pub lower: f64,
    /// Upper end of that band.
    pub upper: f64,
    /// 0 (usual) to 100.
    pub score: f64,
    /// The score reached the detector's threshold.
    pub anomaly: bool,
}

const COLUMNS: &str = "detector, series, window_start, window_end, value, expected, lower, upper, score, anomaly";

/// A second connection to the file.
pub struct Reader(Mutex<Connection>);

impl Reader {
    /// Opens a file that the sink has created.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    pub fn open(config: &Sqlite) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&config.path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Self(Mutex::new(connection)))
    }

    /// The newest anomalies of a pipeline, newest first.
    ///
    /// # Errors
    /// The file cannot be read, or the pipeline has no table.
    pub fn anomalies(&self, pipeline: &str, limit: u32) -> rusqlite::Result<Vec<StoredScore>> {
        let table = names::index("", pipeline, Stage::Scores);
        let sql =
            format!("SELECT {COLUMNS} FROM \"{table}\" WHERE anomaly ORDER BY window_end DESC, score DESC LIMIT ?");
        self.query(&sql, params![limit])
    }

    /// Scores of windows that end in `from..to` (epoch milliseconds), oldest first.
    ///
    /// # Errors
    /// The file cannot be read, or the pipeline has no table.
    pub fn scores(&self, pipeline: &str, from: i64, to: i64, limit: u32) -> rusqlite::Result<Vec<StoredScore>> {
        let table = names::index("", pipeline, Stage::Scores);
        // `timestamp_ms` of a score is its window's end.
        let sql = format!(
            "SELECT {COLUMNS} FROM \"{table}\" WHERE timestamp_ms >= ? AND timestamp_ms < ? ORDER BY timestamp_ms, detector, series LIMIT ?"
        );
        self.query(&sql, params![from, to, limit])
    }

    /// How many documents a stage's table holds.
    ///
    /// # Errors
    /// The file cannot be read, or the pipeline has no table.
    pub fn count(&self, pipeline: &str, stage: Stage) -> rusqlite::Result<u64> {
        let table = names::index("", pipeline, stage);
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count: i64 = connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    fn query(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<StoredScore>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare(sql)?;
        statement.query_map(params, stored)?.collect()
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredScore> {
    Ok(StoredScore {
        detector: row.get(0)?,
        series: row.get(1)?,
        window_start: row.get(2)?,
        window_end: row.get(3)?,
        value: row.get(4)?,
        expected: row.get(5)?,
        lower: row.get(6)?,
        upper: row.get(7)?,
        score: row.get(8)?,
        anomaly: row.get(9)?,
    })
}
