//! Where the agents' own records held the prompts: the proof that they arrived.

use std::collections::HashMap;

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::inbox::open_states;
use super::{Store, Write, from_json, micros};
use crate::model::{Evidence, PromptId, Slug};

/// Where an agent's own record held a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceRow {
    /// Which record.
    pub kind: Evidence,
    /// Whether the text in it was exactly the one typed.
    pub exact: bool,
}

/// A row that can't be read says no less than that a record knew something of the prompt: it must not be typed again for want
/// of proof.
const UNREADABLE: EvidenceRow = EvidenceRow { kind: Evidence::Transcript, exact: false };

impl Store {
    /// Where the agent's own record held a prompt.
    pub async fn evidence(&self, id: &PromptId) -> anyhow::Result<Vec<EvidenceRow>> {
        let rows = sqlx::query("SELECT prompt, kind, exact FROM evidence WHERE prompt = $1 ORDER BY at, kind");
        let rows =
            rows.bind(id.as_str()).fetch_all(&mut *self.read().await?).await.context("can't read the evidence")?;
        let mut found = self.unreadable.without("evidence for prompt", "prompt", &rows, evidence_row);
        found.resize(rows.len(), UNREADABLE);
        Ok(found)
    }

    /// Where the agent's own record held its open prompts; no entry for one that it never held.
    pub async fn open_evidence(&self, agent: &Slug) -> anyhow::Result<HashMap<PromptId, Vec<EvidenceRow>>> {
        let rows = sqlx::query(concat!(
            "SELECT e.prompt, e.kind, e.exact FROM inbox i JOIN evidence e ON e.prompt = i.id WHERE i.agent = $1 AND i.state IN ",
            open_states!(),
            " ORDER BY e.at, e.kind"
        ));
        let rows =
            rows.bind(agent.as_str()).fetch_all(&mut *self.read().await?).await.context("can't read the evidence")?;
        let mut evidence: HashMap<PromptId, Vec<EvidenceRow>> = HashMap::new();
        let readable = self
            .unreadable
            .without("evidence for prompt", "prompt", &rows, |row| Ok((prompt_of(row)?, evidence_row(row)?)));
        let unreadable = rows.iter().filter(|row| evidence_row(row).is_err());
        let unreadable = unreadable.filter_map(|row| Some((prompt_of(row).ok()?, UNREADABLE)));
        for (id, row) in readable.into_iter().chain(unreadable) {
            evidence.entry(id).or_default().push(row);
        }
        Ok(evidence)
    }

    /// Stores that a record held a prompt.
    pub async fn insert_evidence(&self, id: &PromptId, row: EvidenceRow, now: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        insert_evidence(&mut write, id, row, now).await?;
        write.commit().await
    }
}

/// What a record holds for a prompt it holds for those that went as one message with it. What was taken stays taken; of the
/// agent's own queue the latest word counts.
pub(super) async fn insert_evidence(
    write: &mut Write,
    id: &PromptId,
    row: EvidenceRow,
    now: Timestamp,
) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO evidence (prompt, kind, exact, at) SELECT id, $2, $3, $4 FROM inbox WHERE id = $1 OR lead = $1 \
         ON CONFLICT (prompt, kind) DO UPDATE SET exact = excluded.exact, at = excluded.at WHERE evidence.kind = 'queue'",
    )
    .bind(id.as_str())
    .bind(row.kind.to_string())
    .bind(i64::from(row.exact))
    .bind(micros(now))
    .execute(write.connection())
    .await
    .with_context(|| format!("can't store the evidence for prompt {id}"))?;
    Ok(())
}

fn prompt_of(row: &SqliteRow) -> anyhow::Result<PromptId> {
    row.try_get::<&str, _>("prompt")?.parse().map_err(anyhow::Error::msg)
}

fn evidence_row(row: &SqliteRow) -> anyhow::Result<EvidenceRow> {
    let kind: &str = row.try_get("kind")?;
    let exact: i64 = row.try_get("exact")?;
    Ok(EvidenceRow { kind: from_json(&format!("\"{kind}\""))?, exact: exact != 0 })
}
