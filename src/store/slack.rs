//! What the Slack bridge must not forget: what it was told, which threads are whose, and what it still has to say.

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, Write, micros, to_json};
use crate::model::blocks::Block;
use crate::model::{Place, PromptId, Slug};

/// A thread that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The thread's name in the outbox.
    pub lane: String,
    /// Whose it is; nobody's where only an answer is due.
    pub agent: Option<Slug>,
    /// The channel's id.
    pub channel: String,
    /// The root message; none while it is not posted.
    pub ts: Option<String>,
}

impl Thread {
    /// Its place; none before its first message is posted.
    pub fn place(&self) -> Option<Place> {
        Some(Place { channel: self.channel.clone(), thread: self.ts.clone()? })
    }
}

/// What an outbox row does in Slack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum OutboxAction {
    /// Posts the root message of its lane's thread.
    Open {
        /// What it says.
        #[serde(flatten)]
        said: Said,
    },
    /// Posts in its lane's thread.
    Reply {
        /// What it says.
        #[serde(flatten)]
        said: Said,
    },
    /// Replaces its lane's root message.
    EditRoot {
        /// What it says from then on.
        #[serde(flatten)]
        said: Said,
    },
    /// Posts in its lane's thread under a name of ours, or replaces what that name says there already.
    Keyed {
        /// The name, unique in its lane.
        key: String,
        /// What it says from then on.
        #[serde(flatten)]
        said: Said,
    },
    /// Tells one person something in the channel, seen by nobody else.
    Whisper {
        /// Their id.
        user: String,
        /// The thread in which they see it; the channel itself where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
        /// What it says.
        #[serde(flatten)]
        said: Said,
    },
    /// Sets a reaction on a message.
    React {
        /// The message.
        ts: String,
        /// The emoji's name, without colons.
        emoji: String,
    },
    /// Posts a file in its lane's thread.
    Upload {
        /// The file's name; the row's id is put before its end, so that the file is found again.
        name: String,
        /// What people see above it.
        title: String,
        /// What is in it.
        content: String,
        /// What the message says that shows it.
        #[serde(flatten)]
        said: Said,
    },
    /// Takes a reaction of ours off a message.
    Unreact {
        /// The message.
        ts: String,
        /// The emoji's name, without colons.
        emoji: String,
    },
}

impl OutboxAction {
    /// What it says, where it says something.
    pub fn said(&self) -> Option<&Said> {
        match self {
            Self::Open { said }
            | Self::Reply { said }
            | Self::EditRoot { said }
            | Self::Keyed { said, .. }
            | Self::Whisper { said, .. }
            | Self::Upload { said, .. } => Some(said),
            Self::React { .. } | Self::Unreact { .. } => None,
        }
    }

    /// The same action that says something else.
    pub fn saying(&self, new: Said) -> Self {
        let mut action = self.clone();
        match &mut action {
            Self::Open { said }
            | Self::Reply { said }
            | Self::EditRoot { said }
            | Self::Keyed { said, .. }
            | Self::Whisper { said, .. }
            | Self::Upload { said, .. } => *said = new,
            Self::React { .. } | Self::Unreact { .. } => {}
        }
        action
    }

    /// The name under which its message is replaced.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Keyed { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Slack's mrkdwn: the whole message where it has no blocks, else what notifications show of it.
    pub text: String,
    /// What is shown instead of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
}

impl Said {
    /// A message of text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), blocks: Vec::new() }
    }
}

/// How far an outbox row has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxState {
    /// Slack has not got it.
    Queued,
    /// A call is under way, or was when the daemon died.
    Sending,
    /// The call's answer was lost: Slack may have it.
    Ambiguous,
    /// Slack has it.
    Sent {
        /// The message's name in its channel.
        ts: String,
    },
    /// It will never be sent.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

impl OutboxState {
    fn columns(&self) -> (&'static str, Option<&str>, Option<&str>) {
        match self {
            Self::Queued => ("queued", None, None),
            Self::Sending => ("sending", None, None),
            Self::Ambiguous => ("ambiguous", None, None),
            Self::Sent { ts } => ("sent", Some(ts), None),
            Self::Failed { reason } => ("failed", None, Some(reason)),
        }
    }
}

/// A row to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutboxRow {
    /// The same key twice is the same row.
    pub dedup_key: String,
    /// The thread it belongs to: rows of one lane go out in order.
    pub lane: String,
    /// The channel's id.
    pub channel: String,
    /// What it does.
    pub action: OutboxAction,
}

/// A row that is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its place in the order.
    pub seq: i64,
    /// Its name, which travels in the message's metadata.
    pub id: String,
    /// The thread it belongs to.
    pub lane: String,
    /// The channel's id.
    pub channel: String,
    /// The root message of the lane's thread; none while it is not posted.
    pub thread: Option<String>,
    /// The message that a keyed one replaces; none where it is the first of its key.
    pub posted: Option<String>,
    /// Whether rows of its lane that were queued before it are not settled; only of a keyed row, which need not wait for them.
    pub behind: bool,
    /// What it does.
    pub action: OutboxAction,
    /// How far it has come.
    pub state: OutboxState,
    /// Since when; of an ambiguous row, when its call began.
    pub since: Timestamp,
}

impl Store {
    /// The thread at that place.
    pub async fn slack_thread(&self, channel: &str, ts: &str) -> anyhow::Result<Option<Thread>> {
        let row = sqlx::query(
            "SELECT lane, agent, channel, ts FROM slack_thread WHERE channel = $1 AND ts = $2 ORDER BY lane LIMIT 1",
        );
        let row = row.bind(channel).bind(ts).fetch_optional(&mut *self.read().await?).await;
        row.context("can't read the threads")?.map(|row| thread(&row)).transpose()
    }

    /// The thread that was opened for a turn.
    pub async fn slack_thread_of_turn(&self, turn: &PromptId) -> anyhow::Result<Option<Thread>> {
        let row = sqlx::query("SELECT lane, agent, channel, ts FROM slack_thread WHERE lane = $1").bind(turn.as_str());
        row.fetch_optional(&mut *self.read().await?)
            .await
            .context("can't read the threads")?
            .map(|row| thread(&row))
            .transpose()
    }

    /// The place of the thread that was opened for the turn of a prompt; none where there is none, or not yet.
    pub async fn place_of_turn(&self, turn: &PromptId) -> anyhow::Result<Option<Place>> {
        Ok(self.slack_thread_of_turn(turn).await?.and_then(|thread| thread.place()))
    }

    /// Moves a row on. A call is never begun before its `Sending` is on the disk: that is what a crash is recognised by.
    /// Says whether it is still there: a message that waits may be replaced.
    pub async fn move_outbox(&self, row: &OutboxRow, to: &OutboxState, now: Timestamp) -> anyhow::Result<bool> {
        let mut write = match to {
            OutboxState::Sending => self.write_durably().await?,
            _ => self.write().await?,
        };
        let (state, ts, reason) = to.columns();
        // An ambiguous row keeps the time of its call: from then on its message is looked for.
        let moved = sqlx::query(
            "UPDATE slack_outbox SET state = $1, since = CASE WHEN $1 = 'ambiguous' THEN since ELSE $2 END, ts = $3, \
             reason = $4 WHERE seq = $5 AND id = $6",
        )
        .bind(state)
        .bind(micros(now))
        .bind(ts)
        .bind(reason)
        .bind(row.seq)
        .bind(&row.id)
        .execute(write.connection())
        .await
        .context("can't store how far a message to Slack has come")?
        .rows_affected();
        if let (OutboxAction::Open { .. }, OutboxState::Sent { ts }) = (&row.action, to) {
            sqlx::query("UPDATE slack_thread SET ts = $1 WHERE lane = $2")
                .bind(ts)
                .bind(&row.lane)
                .execute(write.connection())
                .await
                .context("can't store a thread")?;
        }
        write.commit().await?;
        Ok(moved == 1)
    }

    /// Rows that will never be sent, with the reason, the latest first.
    pub async fn failed_outbox(&self, most: u32) -> anyhow::Result<Vec<(String, String)>> {
        sqlx::query("SELECT channel, reason FROM slack_outbox WHERE state = 'failed' ORDER BY seq DESC LIMIT $1")
            .bind(i64::from(most))
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the outbox")?
            .iter()
            .map(|row| Ok((row.try_get("channel")?, row.try_get("reason")?)))
            .collect()
    }

    /// The id under which a channel's name was last known.
    pub async fn slack_channel(&self, name: &str) -> anyhow::Result<Option<String>> {
        let row = sqlx::query_scalar("SELECT id FROM slack_channel WHERE name = $1").bind(name);
        row.fetch_optional(&mut *self.read().await?).await.context("can't read the channels")
    }

    /// Stores the id of a channel's name.
    pub async fn set_slack_channel(&self, name: &str, id: &str) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO slack_channel (name, id) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET id = excluded.id",
        )
        .bind(name)
        .bind(id)
        .execute(write.connection())
        .await
        .context("can't store a channel")?;
        write.commit().await
    }

    /// Forgets the events and messages that were settled before `before`.
    pub async fn prune_slack(&self, before: Timestamp) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        for sql in [
            "DELETE FROM slack_envelope WHERE acted IS NOT NULL AND received < $1",
            "DELETE FROM slack_outbox WHERE state IN ('sent', 'failed') AND since < $1",
        ] {
            let done = sqlx::query(sql).bind(micros(before)).execute(write.connection()).await;
            done.context("can't clear what Slack has had for long")?;
        }
        write.commit().await
    }
}

/// Stores a thread; one that is known keeps its agent and its place.
pub async fn insert_thread(write: &mut Write, thread: &Thread) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO slack_thread (lane, agent, channel, ts) VALUES ($1, $2, $3, $4) ON CONFLICT (lane) \
         DO UPDATE SET agent = COALESCE(slack_thread.agent, excluded.agent)",
    )
    .bind(&thread.lane)
    .bind(thread.agent.as_ref().map(Slug::as_str))
    .bind(&thread.channel)
    .bind(&thread.ts)
    .execute(write.connection())
    .await
    .context("can't store a thread")?;
    Ok(())
}

/// Queues a row under `id`; the same dedup key again is the same row. A keyed row takes the place of one of its key that still
/// waits: under another id, so that whoever took that one up meanwhile notices.
pub async fn insert_outbox(write: &mut Write, id: &str, row: &NewOutboxRow, now: Timestamp) -> anyhow::Result<()> {
    let key = row.action.key();
    let action = to_json(&row.action)?;
    if let Some(key) = key {
        let replaced = sqlx::query(
            "UPDATE OR IGNORE slack_outbox SET id = $1, dedup_key = $2, action = $3 \
             WHERE lane = $4 AND key = $5 AND state = 'queued'",
        );
        let replaced = replaced.bind(id).bind(&row.dedup_key).bind(&action).bind(&row.lane).bind(key);
        let replaced = replaced.execute(write.connection()).await.context("can't replace a message to Slack")?;
        if replaced.rows_affected() > 0 {
            return Ok(());
        }
    }
    sqlx::query(
        "INSERT INTO slack_outbox (id, dedup_key, lane, channel, action, state, since, key) \
         VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7) ON CONFLICT (dedup_key) DO NOTHING",
    )
    .bind(id)
    .bind(&row.dedup_key)
    .bind(&row.lane)
    .bind(&row.channel)
    .bind(action)
    .bind(micros(now))
    .bind(key)
    .execute(write.connection())
    .await
    .context("can't queue a message to Slack")?;
    Ok(())
}

fn thread(row: &SqliteRow) -> anyhow::Result<Thread> {
    let agent: Option<&str> = row.try_get("agent")?;
    Ok(Thread {
        lane: row.try_get("lane")?,
        agent: agent.map(str::parse).transpose()?,
        channel: row.try_get("channel")?,
        ts: row.try_get("ts")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_whose_answer_was_lost_is_looked_for_from_the_time_of_its_call_however_often_that_fails() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let new = NewOutboxRow {
            dedup_key: "k".into(),
            lane: "l".into(),
            channel: "C1".into(),
            action: OutboxAction::Open { said: Said::text("t") },
        };
        let mut write = store.write().await.unwrap();
        for id in ["first", "again"] {
            insert_outbox(&mut write, id, &new, at(1)).await.unwrap();
        }
        write.commit().await.unwrap();
        for (state, now) in [(OutboxState::Sending, 2), (OutboxState::Ambiguous, 30), (OutboxState::Ambiguous, 3600)] {
            let row = store.outbox_heads().await.unwrap().remove(0);
            store.move_outbox(&row, &state, at(now)).await.unwrap();
        }
        let heads = store.outbox_heads().await.unwrap();
        assert_eq!(heads.len(), 1, "the same key twice is the same row");
        assert_eq!((heads[0].id.as_str(), &heads[0].state, heads[0].since), ("first", &OutboxState::Ambiguous, at(2)));
    }
}
