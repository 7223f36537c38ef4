//! What Slack told of people and user groups, and whom something was told alone.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::{Store, Write, micros, timestamp};

impl Store {
    /// What Slack told under `key`, and when it was asked.
    pub async fn slack_known(&self, key: &str) -> anyhow::Result<Option<(String, Timestamp)>> {
        sqlx::query("SELECT value, at FROM slack_known WHERE key = $1")
            .bind(key)
            .fetch_optional(&mut *self.read().await?)
            .await
            .context("can't read what is known of a person in Slack")?
            .map(|row| Ok((row.try_get("value")?, timestamp(row.try_get("at")?)?)))
            .transpose()
    }

    /// Stores what Slack told under `key`.
    pub async fn set_slack_known(&self, key: &str, value: &str, now: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO slack_known (key, value, at) VALUES ($1, $2, $3) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at",
        )
        .bind(key)
        .bind(value)
        .bind(micros(now))
        .execute(write.connection())
        .await
        .context("can't store what is known of a person in Slack")?;
        write.commit().await
    }

    /// Forgets what was asked before `before`.
    pub async fn forget_slack_known(&self, before: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        let done = sqlx::query("DELETE FROM slack_known WHERE at < $1").bind(micros(before));
        done.execute(write.connection()).await.context("can't forget people in Slack")?;
        write.commit().await
    }

    /// When an event was stored; none where it is not there any more.
    pub async fn envelope_received(&self, seq: i64) -> anyhow::Result<Option<Timestamp>> {
        let row = sqlx::query_scalar("SELECT received FROM slack_envelope WHERE seq = $1").bind(seq);
        let received: Option<i64> =
            row.fetch_optional(&mut *self.read().await?).await.context("can't read the events of Slack")?;
        received.map(timestamp).transpose()
    }
}

/// The greatest dedup key in the outbox that begins with `prefix`, which ends in a slash.
pub async fn last_outbox_key(write: &mut Write, prefix: &str) -> anyhow::Result<Option<String>> {
    // As a range, which the index of the keys answers: what follows a slash is a zero.
    let end = format!("{}0", prefix.trim_end_matches('/'));
    sqlx::query_scalar("SELECT MAX(dedup_key) FROM slack_outbox WHERE dedup_key >= $1 AND dedup_key < $2")
        .bind(prefix)
        .bind(end)
        .fetch_one(write.connection())
        .await
        .context("can't read the outbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_known_of_a_person_outlives_the_daemon_until_it_is_asked_anew_or_too_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet.db");
        let at = |second| Timestamp::from_second(second).unwrap();
        let store = Store::open(&path).await.unwrap();
        store.set_slack_known("user/U1", "\"guest\"", at(1)).await.unwrap();
        store.set_slack_known("user/U1", "\"member\"", at(5)).await.unwrap();
        store.set_slack_known("user/U2", "\"member\"", at(2)).await.unwrap();
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        store.forget_slack_known(at(3)).await.unwrap();
        assert_eq!(store.slack_known("user/U1").await.unwrap(), Some(("\"member\"".to_owned(), at(5))));
        assert_eq!(store.slack_known("user/U2").await.unwrap(), None);
    }
}
