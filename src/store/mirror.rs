//! What one reading of an agent's records yields, stored whole or not at all: facts, evidence, and how far was read.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::evidence::{EvidenceRow, insert_evidence};
use super::feed::append;
use super::{Store, conversation};
use crate::config::CrashPoint;
use crate::model::{Fact, PromptId, Slug};

/// How far a record file was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offset {
    /// The file, as text.
    pub path: String,
    /// The file's inode: another file at the same path is read from its start.
    pub inode: i64,
    /// Bytes read, always at the start of a line.
    pub bytes: i64,
}

/// What one reading of an agent's records yields.
#[derive(Debug, Clone, Default)]
pub struct RecordBatch {
    /// What the agent did, in order, with the turn it belongs to.
    pub facts: Vec<(Timestamp, Option<PromptId>, Fact)>,
    /// The prompts that its records held.
    pub evidence: Vec<(PromptId, EvidenceRow)>,
    /// The conversation that runs from here on, if a record told, and since when.
    pub conversation: Option<(String, Timestamp)>,
    /// How far each file was read.
    pub offsets: Vec<Offset>,
    /// What the mirror must remember of the turn that runs, as JSON.
    pub open_turn: String,
}

impl Store {
    /// Stores one reading in one transaction: a crash before it repeats the reading, a crash after it doesn't.
    pub async fn append_records(&self, agent: &Slug, batch: &RecordBatch, now: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        for (at, turn, fact) in &batch.facts {
            append(&mut write, *at, agent, turn.as_ref(), fact).await?;
        }
        if !batch.facts.is_empty() {
            CrashPoint::RecordsHalfStored.pass();
        }
        for (id, row) in &batch.evidence {
            insert_evidence(&mut write, id, *row, now).await?;
        }
        if let Some((id, since)) = &batch.conversation {
            conversation::follow(&mut write, agent, id, *since).await?;
        }
        for offset in &batch.offsets {
            sqlx::query(
                "INSERT INTO record_offset (agent, path, inode, bytes) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (agent, path) DO UPDATE SET inode = excluded.inode, bytes = excluded.bytes",
            )
            .bind(agent.as_str())
            .bind(&offset.path)
            .bind(offset.inode)
            .bind(offset.bytes)
            .execute(write.connection())
            .await
            .with_context(|| format!("can't store how far {} was read", offset.path))?;
        }
        sqlx::query(
            "INSERT INTO open_turn (agent, turn) VALUES ($1, $2) ON CONFLICT (agent) DO UPDATE SET turn = excluded.turn",
        )
        .bind(agent.as_str())
        .bind(&batch.open_turn)
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store the turn of {agent}"))?;
        write.commit().await
    }

    /// How far the record files of an agent were read.
    pub async fn offsets(&self, agent: &Slug) -> anyhow::Result<Vec<Offset>> {
        sqlx::query("SELECT path, inode, bytes FROM record_offset WHERE agent = $1")
            .bind(agent.as_str())
            .fetch_all(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read how far the records of {agent} were read"))?
            .iter()
            .map(|row| {
                Ok(Offset { path: row.try_get("path")?, inode: row.try_get("inode")?, bytes: row.try_get("bytes")? })
            })
            .collect()
    }

    /// What the mirror remembered of the turn that runs, as the JSON it gave.
    pub async fn open_turn(&self, agent: &Slug) -> anyhow::Result<Option<String>> {
        sqlx::query_scalar("SELECT turn FROM open_turn WHERE agent = $1")
            .bind(agent.as_str())
            .fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read the turn of {agent}"))
    }
}
