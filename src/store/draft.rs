//! What people had typed into an agent's input box and was set aside for a prompt: kept until it is given back.

use anyhow::Context;
use jiff::Timestamp;

use super::{Store, micros};
use crate::model::Slug;

impl Store {
    /// Stores, before the first key, what is about to be taken out of the box, as the box shows it.
    pub async fn keep_draft(&self, agent: &Slug, shown: &str, now: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write_durably().await?;
        sqlx::query(
            "INSERT INTO draft (agent, shown, since) VALUES ($1, $2, $3) \
             ON CONFLICT (agent) DO UPDATE SET shown = excluded.shown, since = excluded.since",
        )
        .bind(agent.as_str())
        .bind(shown)
        .bind(micros(now))
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store the draft in {agent}'s input box"))?;
        write.commit().await
    }

    /// What was set aside and not given back yet, as the box showed it.
    pub async fn draft(&self, agent: &Slug) -> anyhow::Result<Option<String>> {
        sqlx::query_scalar("SELECT shown FROM draft WHERE agent = $1")
            .bind(agent.as_str())
            .fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read the draft that was set aside for {agent}"))
    }

    /// Stores that the draft is back in its box.
    pub async fn forget_draft(&self, agent: &Slug) -> anyhow::Result<()> {
        let mut write = self.write_durably().await?;
        sqlx::query("DELETE FROM draft WHERE agent = $1")
            .bind(agent.as_str())
            .execute(write.connection())
            .await
            .with_context(|| format!("can't store that the draft of {agent} was given back"))?;
        write.commit().await
    }
}
