//! The index on a laptop: one SQLite file with a table for each pipeline and stage.
//!
//! Invariants: a request is one transaction, on disk before its outcomes are known; the id is unique, so a replay
//! changes nothing; a table never holds more than `sqlite.max_rows`, the oldest written go first (a replay of a
//! record that has gone this way is written again).

mod reader;
mod schema;

pub use reader::{Reader, StoredScore};

use crate::config::Config;
use crate::index::names::{self, STAGES};
use crate::index::score::ScoreRow;
use crate::index::{Document, Index, Outcome, Request, Stage, Unavailable, Written};
use futures::future::BoxFuture;
use outlier_core::alert::Alert;
use rusqlite::{Connection, ErrorCode, Statement, params};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Writes to SQLite. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Sqlite(Arc<Writer>);

struct Writer {
    connection: Mutex<Connection>,
    tables: BTreeMap<(Arc<str>, Stage), Table>,
}

struct Table {
    insert: String,
    prune: String,
}

impl Sqlite {
    /// Opens or creates the file and its tables.
    ///
    /// # Errors
    /// The file cannot be written or is not a database.
    pub fn open(config: &Config) -> rusqlite::Result<Self> {
        let connection = Connection::open(&config.sqlite.path)?;
        schema::prepare(&connection)?;
        let mut tables = BTreeMap::new();
        for pipeline in &config.pipelines {
            for stage in STAGES {
                let name = names::index("", &pipeline.name, stage);
                schema::create(&connection, &name, stage)?;
                let table =
                    Table { insert: schema::insert(&name, stage), prune: schema::prune(&name, config.sqlite.max_rows) };
                tables.insert((pipeline.name.as_str().into(), stage), table);
            }
        }
        Ok(Self(Arc::new(Writer { connection: Mutex::new(connection), tables })))
    }
}

impl Index for Sqlite {
    fn add(&self, request: &mut Request, document: &Document<'_>) -> Result<(), String> {
        request.add(document, |_| Ok(Written::Otherwise))
    }

    fn write<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>> {
        let writer = Arc::clone(&self.0);
        let request = request.clone();
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || writer.write(&request)).await;
            match written {
                Ok(outcomes) => outcomes.map_err(|error| unavailable(&error)),
                Err(error) => Err(Unavailable::new(format!("the write to SQLite was cut off: {error}"))),
            }
        })
    }
}

impl Writer {
    fn write(&self, request: &Request) -> rusqlite::Result<Vec<Outcome>> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        let mut outcomes = Vec::new();
        outcomes.resize_with(request.len(), || Outcome::Reject("the pipeline is not configured".to_owned()));
        for stage in STAGES {
            let Some(table) = self.tables.get(&(Arc::clone(request.pipeline()), stage)) else {
                continue;
            };
            let mut chosen = (0..request.len()).filter(|place| request.stage(*place) == stage).peekable();
            if chosen.peek().is_none() {
                continue;
            }
            let mut statement = transaction.prepare(&table.insert)?;
            for place in chosen {
                outcomes[place] = insert(&mut statement, &request.document(place))?;
            }
            transaction.execute(&table.prune, [])?;
        }
        transaction.commit()?;
        Ok(outcomes)
    }
}

/// Inserts one document with its table's statement.
fn insert(statement: &mut Statement<'_>, document: &Document<'_>) -> rusqlite::Result<Outcome> {
    let (id, time, body) = (&*document.id, document.timestamp_ms, document.body.as_deref());
    let changed = match (document.stage, body) {
        (Stage::Raw, _) => statement.execute(params![id, time, body])?,
        (_, None) => return Ok(Outcome::Reject("the record has no value".to_owned())),
        (Stage::Enriched, _) => statement.execute(params![id, time, body])?,
        (Stage::Scores, Some(bytes)) => match ScoreRow::parse(bytes) {
            Ok(row) => {
                let (start, end) = (row.window_start, row.window_end);
                statement.execute(params![
                    id,
                    time,
                    body,
                    row.detector,
                    row.series,
                    start,
                    end,
                    row.value,
                    row.expected,
                    row.lower,
                    row.upper,
                    row.score,
                    row.anomaly
                ])?
            }
            Err(reason) => return Ok(Outcome::Reject(reason)),
        },
        (Stage::Alerts, Some(bytes)) => match Alert::parse(bytes) {
            Ok(Alert { id: alert, state, severity, name, start, end, peak, .. }) => statement.execute(params![
                id,
                time,
                body,
                alert,
                state.name(),
                severity.name(),
                name.detector,
                name.series,
                start,
                end,
                peak.score
            ])?,
            Err(error) => return Ok(Outcome::Reject(format!("not an alert: {error}"))),
        },
    };
    Ok(if changed == 0 { Outcome::AlreadyThere } else { Outcome::Created })
}

fn unavailable(error: &rusqlite::Error) -> Unavailable {
    Unavailable::new(match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!("SQLite: {error}: free disk space, or lower sqlite.max_rows"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("SQLite: {error}: another process writes to the file; give each its own sqlite.path")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            format!("SQLite: {error}: stop outlier and move the file away; it is filled again from Kafka")
        }
        _ => format!("SQLite: {error}: check the file at sqlite.path and its rights"),
    })
}
