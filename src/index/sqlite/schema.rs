//! The tables of the SQLite index, and the statements that fill them.
//!
//! Invariant: a table's `seq` grows in the order of writing, which is what pruning goes by.

use crate::config::Stage;
use rusqlite::Connection;

/// Columns of a score beside its body.
const SCORE: [(&str, &str); 10] = [
    ("detector", "TEXT NOT NULL"),
    ("series", "TEXT NOT NULL"),
    ("window_start", "INTEGER NOT NULL"),
    ("window_end", "INTEGER NOT NULL"),
    ("value", "REAL"),
    ("expected", "REAL"),
    ("lower", "REAL"),
    ("upper", "REAL"),
    ("score", "REAL"),
    ("anomaly", "INTEGER NOT NULL"),
];

/// Columns of an alert beside its body.
const ALERT: [(&str, &str); 8] = [
    ("alert", "TEXT NOT NULL"),
    ("state", "TEXT NOT NULL"),
    ("severity", "TEXT NOT NULL"),
    ("detector", "TEXT NOT NULL"),
    ("series", "TEXT NOT NULL"),
    ("start_ms", "INTEGER NOT NULL"),
    ("end_ms", "INTEGER NOT NULL"),
    ("score", "REAL"),
];

/// Sets the connection up: readers never wait for the writer, a commit is on disk.
pub fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Pages of 4 KiB; larger checkpoints write a page once that several batches changed.
    connection.pragma_update(None, "wal_autocheckpoint", 8_000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -64 * 1024)
}

/// Creates a stage's table and its indices where they are missing.
pub fn create(connection: &Connection, table: &str, stage: Stage) -> rusqlite::Result<()> {
    let more: String = columns(stage).iter().map(|(name, kind)| format!(", {name} {kind}")).collect();
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS \"{table}\" (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, timestamp_ms INTEGER NOT NULL, body BLOB{more});
         CREATE INDEX IF NOT EXISTS \"{table}-time\" ON \"{table}\" (timestamp_ms);"
    ))?;
    if stage == Stage::Scores {
        connection.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS \"{table}-anomalies\" ON \"{table}\" (window_end) WHERE anomaly;"
        ))?;
    }
    if stage == Stage::Alerts {
        connection
            .execute_batch(&format!("CREATE INDEX IF NOT EXISTS \"{table}-alerts\" ON \"{table}\" (alert, seq);"))?;
    }
    Ok(())
}

/// The statement that inserts one document unless its id is there.
pub fn insert(table: &str, stage: Stage) -> String {
    let more = columns(stage);
    let names: String = more.iter().map(|(name, _)| format!(", {name}")).collect();
    let marks = ", ?".repeat(more.len());
    format!(
        "INSERT INTO \"{table}\" (id, timestamp_ms, body{names}) VALUES (?, ?, ?{marks}) ON CONFLICT (id) DO NOTHING"
    )
}

/// The statement that deletes the oldest rows beyond `max_rows`.
pub fn prune(table: &str, max_rows: u64) -> String {
    format!("DELETE FROM \"{table}\" WHERE seq <= (SELECT max(seq) FROM \"{table}\") - {max_rows}")
}

fn columns(stage: Stage) -> &'static [(&'static str, &'static str)] {
    match stage {
        Stage::Raw | Stage::Enriched => &[],
        Stage::Scores => &SCORE,
        Stage::Alerts => &ALERT,
    }
}
