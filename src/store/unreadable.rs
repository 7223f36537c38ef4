//! Rows that can't be read: another release's word, or a damaged one. Such a row must never take the readable ones around it
//! along, and must never go unnoticed: it is passed over, told once in the log and shown for as long as it is met.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// What was passed over since the start, by row.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    known: Mutex<BTreeMap<String, String>>,
}

impl Unreadable {
    /// What can be read of `rows`, which are named `what` and by their column `key`.
    pub(super) fn without<T>(
        &self,
        what: &str,
        key: &str,
        rows: &[SqliteRow],
        read: impl Fn(&SqliteRow) -> anyhow::Result<T>,
    ) -> Vec<T> {
        rows.iter().filter_map(|row| read(row).map_err(|error| self.tell(what, key, row, &error)).ok()).collect()
    }

    /// What there is to tell people.
    pub(super) fn told(&self) -> Vec<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn tell(&self, what: &str, key: &str, row: &SqliteRow, error: &anyhow::Error) {
        let name = row
            .try_get::<String, _>(key)
            .or_else(|_| row.try_get::<i64, _>(key).map(|number| number.to_string()))
            .unwrap_or_default();
        let told = format!("fleet.db: {what} {name} can't be read and is passed over: {error:#}");
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.insert(format!("{what} {name}"), told.clone()).is_none() {
            tracing::error!("{told}");
        }
    }
}
