//! Agents that agents.yaml does not name any more.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::hold::hold;
use super::{Store, micros, timestamp};
use crate::model::Slug;

impl Store {
    /// Notes that an agent is retired, and holds it for `holder` where nobody else does; says whether that is news. Both or
    /// none: retired and not held it would be given prompts, and held alone nobody would ever let it go. Who was retired
    /// first stays retired since then.
    pub async fn retire_agent(&self, agent: &Slug, holder: &str, now: Timestamp) -> anyhow::Result<bool> {
        let mut write = self.write_durably().await?;
        hold(&mut write, agent, holder, now).await?;
        let news =
            sqlx::query("INSERT INTO retired_agent (agent, since) VALUES ($1, $2) ON CONFLICT (agent) DO NOTHING")
                .bind(agent.as_str())
                .bind(micros(now))
                .execute(write.connection())
                .await
                .with_context(|| format!("can't store that {agent} is retired"))?
                .rows_affected();
        write.commit().await?;
        Ok(news == 1)
    }

    /// Forgets that an agent was retired: it is named again, or its session has ended.
    pub async fn unretire_agent(&self, agent: &Slug) -> anyhow::Result<()> {
        let mut write = self.write_durably().await?;
        sqlx::query("DELETE FROM retired_agent WHERE agent = $1")
            .bind(agent.as_str())
            .execute(write.connection())
            .await
            .with_context(|| format!("can't store that {agent} is not retired any more"))?;
        write.commit().await
    }

    /// Every retired agent, and since when.
    pub async fn retired_agents(&self) -> anyhow::Result<Vec<(Slug, Timestamp)>> {
        sqlx::query("SELECT agent, since FROM retired_agent ORDER BY since, agent")
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the retired agents")?
            .iter()
            .map(|row| Ok((row.try_get::<&str, _>("agent")?.parse()?, timestamp(row.try_get("since")?)?)))
            .collect()
    }
}
