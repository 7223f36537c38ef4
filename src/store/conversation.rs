//! Which conversation each agent is: what brings it back as itself.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::{Store, Write, micros, timestamp};
use crate::model::Slug;

/// SQL: since when a conversation runs that is stored once more.
macro_rules! since_first {
    () => {
        "CASE WHEN conversation.id = excluded.id THEN conversation.since ELSE excluded.since END"
    };
}

/// The conversation an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRow {
    /// The CLI's own id for it; empty where the CLI has not told yet.
    pub id: String,
    /// How often the agent was started.
    pub launches: i64,
}

impl Store {
    /// The conversation of an agent; none before its first launch.
    pub async fn conversation(&self, agent: &Slug) -> anyhow::Result<Option<ConversationRow>> {
        let row = sqlx::query("SELECT id, launches FROM conversation WHERE agent = $1").bind(agent.as_str());
        row.fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read the conversation of {agent}"))?
            .map(|row| Ok(ConversationRow { id: row.try_get("id")?, launches: row.try_get("launches")? }))
            .transpose()
    }

    /// Stores, before a launch, which conversation it is for: a crash in between finds the same one again.
    pub async fn count_launch(&self, agent: &Slug, id: &str, now: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write_durably().await?;
        sqlx::query(concat!(
            "INSERT INTO conversation (agent, id, launches, since, launched) VALUES ($1, $2, 1, $3, $3) \
                 ON CONFLICT (agent) DO UPDATE SET id = excluded.id, launches = conversation.launches + 1, \
                 launched = excluded.launched, since = ",
            since_first!()
        ))
        .bind(agent.as_str())
        .bind(id)
        .bind(micros(now))
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store the conversation of {agent}"))?;
        write.commit().await
    }

    /// Since when an agent is the conversation that it is, however often it was started as that; none before its first launch.
    pub async fn conversation_since(&self, agent: &Slug) -> anyhow::Result<Option<Timestamp>> {
        let since: Option<i64> = sqlx::query_scalar("SELECT since FROM conversation WHERE agent = $1")
            .bind(agent.as_str())
            .fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read since when {agent} is its conversation"))?;
        since.map(timestamp).transpose()
    }

    /// When an agent was started last; none where it never was, or by a release that did not note it.
    pub async fn launched_at(&self, agent: &Slug) -> anyhow::Result<Option<Timestamp>> {
        let at: Option<Option<i64>> = sqlx::query_scalar("SELECT launched FROM conversation WHERE agent = $1")
            .bind(agent.as_str())
            .fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read when {agent} was started"))?;
        at.flatten().map(timestamp).transpose()
    }

    /// Stores the id that a CLI chose by itself.
    pub async fn follow_conversation(&self, agent: &Slug, id: &str, now: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write_durably().await?;
        follow(&mut write, agent, id, now).await?;
        write.commit().await
    }
}

pub(super) async fn follow(write: &mut Write, agent: &Slug, id: &str, now: Timestamp) -> anyhow::Result<()> {
    sqlx::query(concat!(
        "INSERT INTO conversation (agent, id, launches, since) VALUES ($1, $2, 0, $3) \
             ON CONFLICT (agent) DO UPDATE SET id = excluded.id, since = ",
        since_first!()
    ))
    .bind(agent.as_str())
    .bind(id)
    .bind(micros(now))
    .execute(write.connection())
    .await
    .with_context(|| format!("can't store the conversation of {agent}"))?;
    Ok(())
}
