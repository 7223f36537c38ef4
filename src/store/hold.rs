//! Agents that a person holds: they get no prompts until somebody resumes them.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::{Store, Write, micros, timestamp};
use crate::model::Slug;

/// Who holds an agent, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// Who.
    pub who: String,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// Who holds an agent; none where nobody does.
    pub async fn agent_hold(&self, agent: &Slug) -> anyhow::Result<Option<HoldRow>> {
        let row = sqlx::query("SELECT who, since FROM agent_hold WHERE agent = $1").bind(agent.as_str());
        row.fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read whether {agent} is held"))?
            .map(|row| Ok(HoldRow { who: row.try_get("who")?, since: timestamp(row.try_get("since")?)? }))
            .transpose()
    }

    /// Holds these agents, all or none; who held one first stays its holder.
    pub async fn hold_agents(&self, agents: &[Slug], who: &str, now: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write_durably().await?;
        for agent in agents {
            hold(&mut write, agent, who, now).await?;
        }
        write.commit().await
    }

    /// Lets an agent go; says whether anybody held it.
    pub async fn release_agent(&self, agent: &Slug) -> anyhow::Result<bool> {
        let mut write = self.write_durably().await?;
        let released = sqlx::query("DELETE FROM agent_hold WHERE agent = $1")
            .bind(agent.as_str())
            .execute(write.connection())
            .await
            .with_context(|| format!("can't store that {agent} is let go"))?
            .rows_affected();
        write.commit().await?;
        Ok(released == 1)
    }
}

/// Holds an agent; who held it first stays its holder.
pub(super) async fn hold(write: &mut Write, agent: &Slug, who: &str, now: Timestamp) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO agent_hold (agent, who, since) VALUES ($1, $2, $3) ON CONFLICT (agent) DO NOTHING")
        .bind(agent.as_str())
        .bind(who)
        .bind(micros(now))
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store that {agent} is held"))?;
    Ok(())
}
