//! Nudges that were skipped: each is told once, and none is ever sent later.

use anyhow::Context;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sqlx::Row;

use super::{Store, micros};
use crate::model::Slug;

impl Store {
    /// Stores that the nudge of that day was skipped; says whether that is news.
    pub async fn skip_nudge(&self, agent: &Slug, day: Date, due: Timestamp) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        let news = sqlx::query(
            "INSERT INTO skipped_nudge (agent, day, due) VALUES ($1, $2, $3) ON CONFLICT (agent, day) DO NOTHING",
        )
        .bind(agent.as_str())
        .bind(day.to_string())
        .bind(micros(due))
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store the skipped nudge of {agent}"))?
        .rows_affected();
        write.commit().await?;
        Ok(news == 1)
    }

    /// The days from `since` on for which an agent's nudge is settled: it is in the inbox, or was skipped.
    pub async fn settled_nudges(&self, since: Date) -> anyhow::Result<Vec<(Slug, Date)>> {
        let skipped = sqlx::query("SELECT agent, day FROM skipped_nudge WHERE day >= $1")
            .bind(since.to_string())
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the skipped nudges")?;
        // A local day begins at most a day before the UTC day of the same name.
        let created = since.yesterday()?.to_zoned(TimeZone::UTC)?.timestamp();
        let stored = sqlx::query("SELECT agent, dedup_key FROM inbox WHERE dedup_key LIKE 'nudge/%' AND created >= $1")
            .bind(micros(created))
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the stored nudges")?;
        let mut settled = Vec::with_capacity(skipped.len() + stored.len());
        for row in &skipped {
            settled.push((row.try_get::<&str, _>("agent")?.parse()?, row.try_get::<&str, _>("day")?.parse()?));
        }
        for row in &stored {
            let key: &str = row.try_get("dedup_key")?;
            if let Some((_, day)) = key.rsplit_once('/') {
                settled.push((row.try_get::<&str, _>("agent")?.parse()?, day.parse()?));
            }
        }
        Ok(settled)
    }
}

/// The dedup key of an agent's nudge of one local day: the same day can't be stored twice.
pub fn nudge_key(agent: &Slug, day: Date) -> String {
    format!("nudge/{agent}/{day}")
}
