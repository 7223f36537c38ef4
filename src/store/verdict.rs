//! What people think of how turns went.

use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::slack::OutboxAction;
use super::{Store, Write, from_json, micros, timestamp, to_json};
use crate::model::{Place, PromptId, Slug, Verdict};

/// What the key of the line begins with that a turn is folded into.
const FOLDED: &str = "progress/";

/// A message of ours that tells how a turn went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeMessage {
    /// Whose turn.
    pub agent: Slug,
    /// The prompt that opened it.
    pub turn: PromptId,
    /// The thread that it is told in.
    pub place: Place,
    /// The lane of that thread.
    pub lane: String,
    /// The addresses of the pull requests that the turn's work names.
    pub pull_requests: Vec<String>,
}

/// A reaction that is a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictMark {
    /// The channel of the message.
    pub channel: String,
    /// The message.
    pub ts: String,
    /// Who set it, by their id.
    pub person: String,
    /// The emoji's name.
    pub emoji: String,
}

/// The part of a turn's end that names its work.
#[derive(Deserialize)]
struct Ended {
    #[serde(default)]
    work: Work,
}

#[derive(Default, Deserialize)]
struct Work {
    #[serde(default)]
    pull_requests: Vec<PullRequest>,
}

#[derive(Deserialize)]
struct PullRequest {
    owner: String,
    repo: String,
    number: u64,
}

impl Store {
    /// The turn whose end a message of ours tells; none where it is another message, or the turn has not ended.
    pub async fn outcome_message(&self, channel: &str, ts: &str) -> anyhow::Result<Option<OutcomeMessage>> {
        let context = "can't read what a message tells";
        let row = sqlx::query(
            "SELECT o.lane, o.key, o.action, t.agent, t.ts AS root FROM slack_outbox o JOIN slack_thread t ON t.lane = o.lane \
             WHERE o.channel = $1 AND o.ts = $2 AND o.state = 'sent' ORDER BY o.seq LIMIT 1",
        );
        let row = row.bind(channel).bind(ts).fetch_optional(&mut *self.read().await?).await.context(context)?;
        let Some(row) = row else { return Ok(None) };
        let (lane, key): (String, Option<String>) = (row.try_get("lane")?, row.try_get("key")?);
        let turn = match (from_json(row.try_get("action")?)?, &key) {
            (OutboxAction::Open { .. } | OutboxAction::EditRoot { .. }, _) => lane.parse().ok(),
            (_, Some(key)) => key.strip_prefix(FOLDED).and_then(|turn| turn.parse().ok()),
            _ => None,
        };
        let (agent, root): (Option<String>, Option<String>) = (row.try_get("agent")?, row.try_get("root")?);
        let (Some(turn), Some(agent), Some(root)) = (turn, agent, root) else { return Ok(None) };
        let end = sqlx::query_scalar::<_, String>(
            "SELECT fact FROM feed WHERE turn = $1 AND fact LIKE '{\"fact\":\"turn_ended\"%' ORDER BY seq DESC LIMIT 1",
        );
        let turn: PromptId = turn;
        let end = end.bind(turn.as_str()).fetch_optional(&mut *self.read().await?).await.context(context)?;
        let Some(end) = end else { return Ok(None) };
        let ended: Ended = from_json(&end)?;
        let address =
            |pull: &PullRequest| format!("https://github.com/{}/{}/pull/{}", pull.owner, pull.repo, pull.number);
        Ok(Some(OutcomeMessage {
            agent: agent.parse().context("fleet.db holds an agent that can't be one")?,
            turn,
            place: Place { channel: channel.to_owned(), thread: root },
            lane,
            pull_requests: ended.work.pull_requests.iter().map(address).collect(),
        }))
    }

    /// What people think of a turn, first come first.
    pub async fn verdicts_of(&self, turn: &PromptId) -> anyhow::Result<Vec<Verdict>> {
        let sql = "SELECT turn, person, good, pull_requests, since, withdrawn FROM verdict WHERE turn = $1 ORDER BY since, person";
        let rows = sqlx::query(sql).bind(turn.as_str()).fetch_all(&mut *self.read().await?).await;
        Ok(self.unreadable.without("verdict", "turn", &rows.context("can't read the verdicts")?, verdict))
    }

    /// What stands of what people thought of an agent's turns last, the latest first.
    pub async fn latest_verdicts(&self, agent: &Slug, most: u32) -> anyhow::Result<Vec<Verdict>> {
        let sql = "SELECT turn, person, good, pull_requests, since, withdrawn FROM verdict \
                   WHERE agent = $1 AND withdrawn IS NULL ORDER BY since DESC LIMIT $2";
        let rows = sqlx::query(sql).bind(agent.as_str()).bind(i64::from(most));
        let rows = rows.fetch_all(&mut *self.read().await?).await.context("can't read the verdicts")?;
        Ok(self.unreadable.without("verdict", "turn", &rows, verdict))
    }
}

/// Stores a verdict, also one that was taken back before.
pub async fn give_verdict(
    write: &mut Write,
    mark: &VerdictMark,
    good: bool,
    outcome: &OutcomeMessage,
    now: Timestamp,
) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO verdict (channel, ts, person, emoji, good, agent, turn, pull_requests, since) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (channel, ts, person, emoji) \
         DO UPDATE SET since = excluded.since, withdrawn = NULL, pull_requests = excluded.pull_requests",
    )
    .bind(&mark.channel)
    .bind(&mark.ts)
    .bind(&mark.person)
    .bind(&mark.emoji)
    .bind(good)
    .bind(outcome.agent.as_str())
    .bind(outcome.turn.as_str())
    .bind(to_json(&outcome.pull_requests)?)
    .bind(micros(now))
    .execute(write.connection())
    .await
    .context("can't store a verdict")?;
    Ok(())
}

/// Takes a verdict back, where there is one.
pub async fn withdraw_verdict(write: &mut Write, mark: &VerdictMark, now: Timestamp) -> anyhow::Result<()> {
    sqlx::query(
        "UPDATE verdict SET withdrawn = $1 WHERE channel = $2 AND ts = $3 AND person = $4 AND emoji = $5 AND withdrawn IS NULL",
    )
    .bind(micros(now))
    .bind(&mark.channel)
    .bind(&mark.ts)
    .bind(&mark.person)
    .bind(&mark.emoji)
    .execute(write.connection())
    .await
    .context("can't take a verdict back")?;
    Ok(())
}

fn verdict(row: &SqliteRow) -> anyhow::Result<Verdict> {
    let turn: &str = row.try_get("turn")?;
    let withdrawn: Option<i64> = row.try_get("withdrawn")?;
    Ok(Verdict {
        turn: turn.parse().map_err(anyhow::Error::msg)?,
        person: row.try_get("person")?,
        good: row.try_get("good")?,
        pull_requests: from_json(row.try_get("pull_requests")?)?,
        since: timestamp(row.try_get("since")?)?,
        withdrawn: withdrawn.map(timestamp).transpose()?,
    })
}
