//! Whether a database is sound, found out without a write: no migration, no journal, no file beside it.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::{StoreError, migrator};

/// How many of SQLite's complaints are told.
const COMPLAINTS: u32 = 5;

/// Who may write in the database while it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer<'a> {
    /// A daemon: it is read beside it, as any other reader does.
    Daemon,
    /// Nobody. Where a daemon that was killed left a journal, a copy in this directory is looked at: SQLite would work the
    /// journal in.
    Nobody(&'a Path),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integrity {
    /// What SQLite complains of; nothing where it is sound.
    pub complaints: Vec<String>,
    /// The last step of the tables that was done in it; 0 where it has none.
    pub step: i64,
    /// The last step that this fleetd knows.
    pub known: i64,
}

/// Looks at the database at `path`.
pub async fn integrity(path: &Path, writer: Writer<'_>) -> Result<Integrity, StoreError> {
    let unreachable =
        |error: &dyn std::fmt::Display| StoreError::Unreachable { path: path.to_owned(), what: error.to_string() };
    let options = SqliteConnectOptions::new().read_only(true).create_if_missing(false).disable_statement_logging();
    let options = match writer {
        Writer::Daemon => options.filename(path),
        Writer::Nobody(scratch) if has_journal(path) => {
            let copy = scratch.join("fleet.db");
            for suffix in ["", "-wal"] {
                let copied = std::fs::copy(beside(path, suffix), beside(&copy, suffix));
                copied.map_err(|error| unreachable(&error))?;
            }
            options.filename(copy).read_only(false)
        }
        // Without a journal the file alone is the whole truth, and this keeps SQLite from making files beside it.
        Writer::Nobody(_) => options.filename(path).immutable(true),
    };
    let mut connection = options.connect().await.map_err(|error| unreachable(&error))?;
    let found = ask(&mut connection).await;
    // It was only read: nothing is lost with it.
    connection.close().await.ok();
    found.map_err(|error| StoreError::Damaged { path: path.to_owned(), what: error.to_string() })
}

async fn ask(connection: &mut SqliteConnection) -> sqlx::Result<Integrity> {
    let check = format!("PRAGMA integrity_check({COMPLAINTS})");
    let mut complaints: Vec<String> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(check)).fetch_all(&mut *connection).await?;
    complaints.retain(|complaint| complaint != "ok");
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?;
    let step: Option<i64> = match tables {
        0 => None,
        _ => sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut *connection).await?,
    };
    let known = migrator().iter().map(|step| step.version).max().unwrap_or_default();
    Ok(Integrity { complaints, step: step.unwrap_or_default(), known })
}

fn has_journal(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|journal| journal.len() > 0)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::Store;

    fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
    }

    #[tokio::test]
    async fn a_look_at_the_database_changes_no_byte_and_makes_no_file() {
        let (directory, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = directory.path().join("fleet.db");
        let store = Store::open(&path).await.unwrap();
        store.set_note("a", "b").await.unwrap();
        let crashed = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal"] {
            std::fs::copy(beside(&path, suffix), beside(&crashed.path().join("fleet.db"), suffix)).unwrap();
        }
        assert!(has_journal(&crashed.path().join("fleet.db")));
        let live = integrity(&path, Writer::Daemon).await.unwrap();
        store.close().await;
        for directory in [directory.path(), crashed.path()] {
            let before = files(directory);
            let found = integrity(&directory.join("fleet.db"), Writer::Nobody(scratch.path())).await.unwrap();
            assert_eq!(found, live);
            assert_eq!(files(directory), before);
        }
        assert_eq!((live.complaints.len(), live.step), (0, live.known));
        assert!(live.known >= 3, "{live:?}");
    }

    #[tokio::test]
    async fn a_damaged_database_is_never_called_sound() {
        let (directory, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = directory.path().join("fleet.db");
        let store = Store::open(&path).await.unwrap();
        for number in 0..2000 {
            store.set_note(&format!("note {number}"), &"x".repeat(100)).await.unwrap();
        }
        store.close().await;
        let whole = std::fs::read(&path).unwrap();
        let mut holed = whole.clone();
        holed[whole.len() / 2..].iter_mut().for_each(|byte| *byte = 0x55);
        for broken in [&whole[..whole.len() / 2], &holed, b"no database at all, but text of some length"] {
            std::fs::write(&path, broken).unwrap();
            let found = integrity(&path, Writer::Nobody(scratch.path())).await;
            assert!(found.as_ref().is_err() || !found.as_ref().unwrap().complaints.is_empty(), "{found:?}");
        }
    }
}
