//! What must survive the daemon: the inbox, the feed, and how far everybody has read.
//!
//! Two kinds of write. A *durable* one is on the disk when it returns: words of people, which nobody could tell us again. A
//! plain one survives the death of the daemon, but a power cut may take the last moment of it; that is right for whatever
//! the next pass derives anew from an agent's own record. All writes queue in one line, so that SQLite's busy handler
//! (which sleeps) is never met.
//!
//! The SQL is written to serve PostgreSQL as it stands: `$1`, `BIGINT`, `TEXT`, `ON CONFLICT`. This room must never decide
//! anything: it stores what it is given.

mod activity;
mod amend;
mod conversation;
mod draft;
mod evidence;
mod feed;
mod hold;
mod inbox;
mod integrity;
mod mirror;
mod news;
mod notice;
mod nudge;
mod outbox;
mod question;
mod retired;
pub mod slack;
pub mod slack_in;
pub mod slack_people;
mod unreadable;
mod verdict;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, OwnedMutexGuard};

pub use amend::{Amended, edit_prompt, take_back};
pub use conversation::ConversationRow;
pub use evidence::EvidenceRow;
pub use feed::move_feed_cursor;
pub use hold::HoldRow;
pub use inbox::{Inserted, insert_prompt};
pub use integrity::{Integrity, Writer as DatabaseWriter, integrity};
pub use mirror::{Offset, RecordBatch};
pub use news::{LaneEnd, NewsPlace};
pub use notice::NoticeRow;
pub use nudge::nudge_key;
pub use question::{Answered, Recorded, answer_question, told_question};
use unreadable::Unreadable;
pub use verdict::{OutcomeMessage, VerdictMark, give_verdict, withdraw_verdict};

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    reader: Arc<Mutex<Option<SqliteConnection>>>,
    options: SqliteConnectOptions,
    line: Arc<Mutex<Option<Writer>>>,
    unreadable: Arc<Unreadable>,
}

/// The connection that writes. It and the one that reads are kept by hand and not in a pool, which would ask a connection
/// whether it lives before and after each use: two round trips to its thread beside the few that a query needs.
#[derive(Debug)]
struct Writer {
    connection: SqliteConnection,
    durability: Durability,
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Plain,
    Durable,
}

impl Durability {
    /// Begins a write on a connection that was last used otherwise. SQLite's `synchronous` holds until it is set again.
    fn begin(self) -> &'static str {
        match self {
            Self::Plain => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
            Self::Durable => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
        }
    }
}

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It exists and is not a sound database.
    #[error(
        "the database {path} is damaged ({what}): move it away (and the -wal and -shm files beside it) and start fleetd \
         again; running sessions stay, but prompts that still waited in it are lost"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
    /// It can't be opened or created.
    #[error("can't open the database {path}: {what}; fleetd needs to write in that directory, and room on its disk")]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
}

/// A transaction that holds its place in the line of writers. Nothing is stored until [`Write::commit`]; dropped before, its
/// connection is closed, which undoes whatever was done in it.
pub struct Write {
    writer: Writer,
    turn: OwnedMutexGuard<Option<Writer>>,
}

impl Write {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.writer.connection
    }

    /// Stores everything that was done in it, or nothing.
    pub async fn commit(mut self) -> anyhow::Result<()> {
        let done = sqlx::raw_sql("COMMIT").execute(self.connection()).await;
        done.context("can't store in fleet.db; is the disk full?")?;
        *self.turn = Some(self.writer);
        Ok(())
    }
}

impl Store {
    /// Opens the database at `path`, creates it where it is missing and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // Created by us, so that it is private from its first byte; SQLite gives -wal and -shm the same rights.
        let created = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        created.map_err(|error| StoreError::Unreachable { path: path.to_owned(), what: error.to_string() })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let reader = check(&options, path).await?;
        let reader = Arc::new(Mutex::new(Some(reader)));
        Ok(Self { reader, options, line: Arc::default(), unreadable: Arc::default() })
    }

    /// Closes every connection; what was committed is in the file.
    pub async fn close(&self) {
        let writer = self.line.lock().await.take().map(|writer| writer.connection);
        for connection in [writer, self.reader.lock().await.take()].into_iter().flatten() {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "the database was not closed cleanly; it is whole all the same");
            }
        }
    }

    /// The rows that were met and can't be read, for people.
    pub fn unreadable(&self) -> Vec<String> {
        self.unreadable.told()
    }

    /// The connection that reads, for one query: never held over another await.
    pub(crate) async fn read(&self) -> anyhow::Result<MappedMutexGuard<'_, SqliteConnection>> {
        let mut reader = self.reader.lock().await;
        let connection = match reader.take() {
            Some(connection) => connection,
            None => self.options.connect().await.context("can't open fleet.db")?,
        };
        Ok(MutexGuard::map(reader, |place| place.insert(connection)))
    }

    /// A write that survives the daemon's death.
    pub async fn write(&self) -> anyhow::Result<Write> {
        self.begin(Durability::Plain).await
    }

    /// A write that survives a power cut too.
    pub async fn write_durably(&self) -> anyhow::Result<Write> {
        self.begin(Durability::Durable).await
    }

    async fn begin(&self, durability: Durability) -> anyhow::Result<Write> {
        let told = "can't begin to write in fleet.db";
        let mut turn = Arc::clone(&self.line).lock_owned().await;
        // Out of its place until the commit: whoever gives up half-way drops it, and with it the half of a write.
        let kept = turn.take();
        let sql = if kept.as_ref().is_some_and(|writer| writer.durability == durability) {
            "BEGIN IMMEDIATE"
        } else {
            durability.begin()
        };
        let mut connection = match kept {
            Some(writer) => writer.connection,
            None => self.options.connect().await.context(told)?,
        };
        sqlx::raw_sql(sql).execute(&mut connection).await.context(told)?;
        Ok(Write { writer: Writer { connection, durability }, turn })
    }

    /// A single named value.
    pub async fn note(&self, name: &str) -> anyhow::Result<Option<String>> {
        sqlx::query_scalar("SELECT value FROM note WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read the note {name} from fleet.db"))
    }

    /// Stores a single named value.
    pub async fn set_note(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO note (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store the note {name} in fleet.db"))?;
        write.commit().await
    }
}

/// A connection to a database that is sound and up to date.
async fn check(options: &SqliteConnectOptions, path: &Path) -> Result<SqliteConnection, StoreError> {
    let judge = |error: sqlx::Error| {
        let what = error.to_string();
        let damaged =
            ["malformed", "not a database", "disk image", "short read"].iter().any(|sign| what.contains(sign));
        let path = path.to_owned();
        if damaged { StoreError::Damaged { path, what } } else { StoreError::Unreachable { path, what } }
    };
    let mut connection = options.connect().await.map_err(judge)?;
    let verdict: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await.map_err(judge)?;
    if verdict != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), what: verdict });
    }
    migrator().run(&mut connection).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => judge(error),
        other => StoreError::Damaged { path: path.to_owned(), what: other.to_string() },
    })?;
    Ok(connection)
}

fn migrator() -> Migrator {
    let steps = [
        (1, "first", include_str!("migrations/0001_first.sql")),
        (2, "slack", include_str!("migrations/0002_slack.sql")),
        (3, "life", include_str!("migrations/0003_life.sql")),
        (4, "modes", include_str!("migrations/0004_modes.sql")),
        (5, "drafts", include_str!("migrations/0005_drafts.sql")),
        (6, "box", include_str!("migrations/0006_box.sql")),
        (7, "arrivals", include_str!("migrations/0007_arrivals.sql")),
        (8, "keyed", include_str!("migrations/0008_keyed.sql")),
        (9, "rights", include_str!("migrations/0009_rights.sql")),
        (10, "questions", include_str!("migrations/0010_questions.sql")),
        (11, "feed turns", include_str!("migrations/0011_feed_turns.sql")),
    ];
    Migrator::with_migrations(
        steps
            .into_iter()
            .map(|(version, name, sql)| {
                Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
            })
            .collect(),
    )
}

/// Microseconds since 1970, the form in which times are stored.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The time that was stored.
pub(crate) fn timestamp(micros: i64) -> anyhow::Result<Timestamp> {
    Timestamp::from_microsecond(micros).with_context(|| format!("fleet.db holds an impossible time, {micros}"))
}

pub(crate) fn to_json(value: &impl Serialize) -> anyhow::Result<String> {
    serde_json::to_string(value).context("can't write a value as JSON")
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    serde_json::from_str(text).with_context(|| format!("fleet.db holds JSON that this version can't read: {text:.200}"))
}

#[cfg(test)]
mod tests;
