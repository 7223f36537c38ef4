//! News of the box itself, kept until the status channel has told it.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::{Store, from_json, micros, timestamp, to_json};
use crate::model::Notice;

/// A piece of news in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// Its place, rising.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub notice: Notice,
}

impl Store {
    /// Stores a piece of news, unless one of that key is there already; says whether it was stored.
    pub async fn tell_box(&self, key: &str, notice: &Notice, now: Timestamp) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        let stored =
            sqlx::query("INSERT INTO notice (at, key, notice) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING")
                .bind(micros(now))
                .bind(key)
                .bind(to_json(notice)?)
                .execute(write.connection())
                .await
                .context("can't store news of the box")?
                .rows_affected();
        write.commit().await?;
        Ok(stored == 1)
    }

    /// The key of the last piece of news whose key begins with `prefix`, which ends in a slash.
    pub async fn last_told(&self, prefix: &str) -> anyhow::Result<Option<String>> {
        // As a range, which the index of the keys answers: what follows a slash is a zero.
        let end = format!("{}0", prefix.trim_end_matches('/'));
        sqlx::query_scalar("SELECT key FROM notice WHERE key >= $1 AND key < $2 ORDER BY seq DESC LIMIT 1")
            .bind(prefix)
            .bind(end)
            .fetch_optional(&mut *self.read().await?)
            .await
            .context("can't read the news of the box")
    }

    /// The news after `seq`, at most `most`, oldest first.
    pub async fn notices_after(&self, seq: i64, most: u32) -> anyhow::Result<Vec<NoticeRow>> {
        sqlx::query("SELECT seq, at, notice FROM notice WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(seq)
            .bind(i64::from(most))
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the news of the box")?
            .iter()
            .map(|row| {
                let notice = from_json(row.try_get("notice")?)?;
                Ok(NoticeRow { seq: row.try_get("seq")?, at: timestamp(row.try_get("at")?)?, notice })
            })
            .collect()
    }

    /// The place of the last piece of news; 0 where there is none.
    pub async fn last_notice(&self) -> anyhow::Result<i64> {
        let row = sqlx::query("SELECT coalesce(max(seq), 0) AS seq FROM notice")
            .fetch_one(&mut *self.read().await?)
            .await
            .context("can't read the news of the box")?;
        Ok(row.try_get("seq")?)
    }
}
