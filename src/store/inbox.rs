//! Prompts and their lives.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::feed::append;
use super::{Store, Write, from_json, micros, timestamp, to_json};
use crate::model::{
    Evidence, Fact, NewPrompt, Place, Prompt, PromptId, PromptState, Slug, StateName, TIME_TO_LIVE, Transition,
};

/// What became of an insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored under this id.
    New(PromptId),
    /// The same dedup key was there already, under this id; nothing was stored.
    Known(PromptId),
}

impl Inserted {
    /// The id under which the prompt is stored.
    pub fn id(&self) -> &PromptId {
        match self {
            Self::New(id) | Self::Known(id) => id,
        }
    }
}

/// The states in which delivery still has to see to a prompt. One list: a state that stood in one query and not in another would
/// be typed without its evidence.
macro_rules! open_states {
    () => {
        "('queued', 'deferred', 'typing', 'submitted', 'confirmed', 'uncertain')"
    };
}
pub(super) use open_states;

/// A query for whole prompts.
macro_rules! select {
    ($($rest:expr),+) => {
        concat!(
            "SELECT id, agent, source, who, body, channel, thread, created, expires, mode, lead, detail, since FROM inbox ",
            $($rest),+
        )
    };
}

impl Store {
    /// Stores a prompt durably; the same dedup key again is the same prompt.
    pub async fn insert_prompt(&self, new: &NewPrompt, now: Timestamp) -> anyhow::Result<Inserted> {
        let mut write = self.write_durably().await?;
        let inserted = insert_prompt(&mut write, new, now).await?;
        write.commit().await?;
        Ok(inserted)
    }

    /// The prompt of that id.
    pub async fn prompt(&self, id: &PromptId) -> anyhow::Result<Option<Prompt>> {
        let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str());
        let row = row.fetch_optional(&mut *self.read().await?).await.context("can't read the inbox")?;
        Ok(self.readable(row.as_slice()).pop())
    }

    /// The prompt of that dedup key.
    pub async fn prompt_of_key(&self, key: &str) -> anyhow::Result<Option<Prompt>> {
        let row = sqlx::query(select!("WHERE dedup_key = $1")).bind(key);
        let row = row.fetch_optional(&mut *self.read().await?).await.context("can't read the inbox")?;
        Ok(self.readable(row.as_slice()).pop())
    }

    /// What delivery still has to see to for one agent, first come first.
    pub async fn open_prompts(&self, agent: &Slug) -> anyhow::Result<Vec<Prompt>> {
        self.waiting_prompts(Some(agent)).await
    }

    /// Every prompt that waits, is under way or is uncertain, first come first; of one agent or of all.
    pub async fn waiting_prompts(&self, agent: Option<&Slug>) -> anyhow::Result<Vec<Prompt>> {
        let rows =
            sqlx::query(select!("WHERE ($1 IS NULL OR agent = $1) AND state IN ", open_states!(), " ORDER BY seq"));
        let rows = rows
            .bind(agent.map(Slug::as_str))
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the inbox")?;
        Ok(self.readable(&rows))
    }

    /// Puts a prompt that was given up, and of which nothing was typed, back into the queue, with a new end to its time; says whether it was there to be put.
    pub async fn requeue(
        &self,
        prompt: &Prompt,
        expires: Timestamp,
        cause: &str,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let mut write = self.write_durably().await?;
        let state = PromptState::Queued;
        let moved = sqlx::query(
            "UPDATE inbox SET state = $1, detail = $2, since = $3, expires = $4 WHERE id = $5 AND state = $6",
        )
        .bind(state.name().as_str())
        .bind(to_json(&state)?)
        .bind(micros(now))
        .bind(micros(expires))
        .bind(prompt.id.as_str())
        .bind(prompt.state.name().as_str())
        .execute(write.connection())
        .await
        .with_context(|| format!("can't put prompt {} back into the queue", prompt.id))?
        .rows_affected();
        if moved == 1 {
            record(&mut write, &prompt.id, &state, cause, now).await?;
            write.commit().await?;
        }
        Ok(moved == 1)
    }

    /// The latest prompt of every agent that ever had one.
    pub async fn latest_prompts(&self) -> anyhow::Result<Vec<Prompt>> {
        let rows = sqlx::query(select!("WHERE seq IN (SELECT MAX(seq) FROM inbox GROUP BY agent)"));
        Ok(self.readable(&rows.fetch_all(&mut *self.read().await?).await.context("can't read the inbox")?))
    }

    /// The scheduled nudges that were stored since `since`.
    pub async fn recent_nudges(&self, since: Timestamp) -> anyhow::Result<Vec<Prompt>> {
        let rows = sqlx::query(select!("WHERE dedup_key LIKE 'nudge/%' AND created >= $1 ORDER BY seq"));
        let rows = rows.bind(micros(since)).fetch_all(&mut *self.read().await?).await;
        Ok(self.readable(&rows.context("can't read the inbox")?))
    }

    /// The prompts among `rows` that can be read.
    fn readable(&self, rows: &[SqliteRow]) -> Vec<Prompt> {
        self.unreadable.without("prompt", "id", rows, prompt)
    }

    /// Moves a prompt on, if it still is in the state that the caller saw; says whether it did.
    pub async fn advance(
        &self,
        prompt: &Prompt,
        to: &PromptState,
        cause: &str,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        let moved = move_on(&mut write, prompt, to, cause, now).await?;
        if moved {
            write.commit().await?;
        }
        Ok(moved)
    }

    /// As [`Store::advance`], together with the prompts that went as one message with it and are where it is. Back in the
    /// queue, they are on their own again.
    pub async fn advance_together(
        &self,
        prompt: &Prompt,
        to: &PromptState,
        cause: &str,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        if !move_on(&mut write, prompt, to, cause, now).await? {
            return Ok(false);
        }
        let others = sqlx::query(select!("WHERE lead = $1 AND state = $2 ORDER BY seq"));
        let others = others
            .bind(prompt.id.as_str())
            .bind(prompt.state.name().as_str())
            .fetch_all(write.connection())
            .await
            .context("can't read the inbox")?;
        for other in &others {
            let other = self::prompt(other)?;
            move_on(&mut write, &other, to, cause, now).await?;
            if to.name().is_waiting() {
                set_lead(&mut write, &other.id, None).await?;
            }
        }
        write.commit().await?;
        Ok(true)
    }

    /// Moves a prompt on to being typed, and `others` with it that go as one message, and keeps the exact text that is about
    /// to be typed: all of them, if all still are in the states and have the texts that the caller saw, or none.
    pub async fn begin_typing(
        &self,
        lead: &Prompt,
        others: &[&Prompt],
        to: &PromptState,
        cause: &str,
        typed: &str,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        for prompt in std::iter::once(&lead).chain(others) {
            if !move_on(&mut write, prompt, to, cause, now).await? {
                return Ok(false);
            }
            // Its author may have edited it since it was read.
            let as_seen = sqlx::query("UPDATE inbox SET typed = $1 WHERE id = $2 AND body = $3")
                .bind(typed)
                .bind(prompt.id.as_str())
                .bind(&prompt.body)
                .execute(write.connection())
                .await
                .with_context(|| format!("can't store what is typed for prompt {}", prompt.id))?
                .rows_affected();
            if as_seen == 0 {
                return Ok(false);
            }
        }
        for other in others {
            set_lead(&mut write, &other.id, Some(&lead.id)).await?;
        }
        write.commit().await?;
        Ok(true)
    }

    /// Tells a prompt's author that it waits, once for each kind of thing that holds it back.
    pub async fn tell_held(&self, prompt: &Prompt, by: &str, why: &str, now: Timestamp) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        let told: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM feed WHERE turn = $1 AND fact LIKE $2")
            .bind(prompt.id.as_str())
            .bind(format!("{{\"fact\":\"held\",\"by\":\"{by}\"%"))
            .fetch_one(write.connection())
            .await
            .context("can't read the feed")?;
        if told == 0 {
            let fact = Fact::Held { by: by.to_owned(), why: why.to_owned() };
            append(&mut write, now, &prompt.agent, Some(&prompt.id), &fact).await?;
            write.commit().await?;
        }
        Ok(told == 0)
    }

    /// As [`Store::advance`], and tells the prompt's turn in the feed, whole or not at all. A turn that the feed knows
    /// already is not told again.
    pub async fn finish(
        &self,
        prompt: &Prompt,
        to: &PromptState,
        cause: &str,
        now: Timestamp,
        turn: &[Fact],
    ) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        if !move_on(&mut write, prompt, to, cause, now).await? {
            return Ok(false);
        }
        let known: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM feed WHERE turn = $1 \
             AND fact NOT LIKE '{\"fact\":\"undelivered\"%' AND fact NOT LIKE '{\"fact\":\"held\"%'",
        )
        .bind(prompt.id.as_str())
        .fetch_one(write.connection())
        .await
        .context("can't read the feed")?;
        for fact in turn.iter().filter(|_| known == 0) {
            append(&mut write, now, &prompt.agent, Some(&prompt.id), fact).await?;
        }
        write.commit().await?;
        Ok(true)
    }

    /// The text that was last typed for a prompt.
    pub async fn typed_text(&self, id: &PromptId) -> anyhow::Result<Option<String>> {
        let row = sqlx::query_scalar("SELECT typed FROM inbox WHERE id = $1").bind(id.as_str());
        Ok(row.fetch_optional(&mut *self.read().await?).await.context("can't read the inbox")?.flatten())
    }

    /// Every step of a prompt's life, in order.
    pub async fn trace(&self, id: &PromptId) -> anyhow::Result<Vec<Transition>> {
        let rows = sqlx::query("SELECT seq, at, detail, cause FROM transition WHERE prompt = $1 ORDER BY seq");
        let rows = rows.bind(id.as_str()).fetch_all(&mut *self.read().await?).await.context("can't read the trace")?;
        Ok(self.unreadable.without("transition", "seq", &rows, |row| {
            Ok(Transition {
                at: timestamp(row.try_get("at")?)?,
                state: from_json(row.try_get("detail")?)?,
                cause: row.try_get("cause")?,
            })
        }))
    }
}

/// Inserts a prompt within a caller's transaction, so that a source can store what it read and what follows from it at once.
pub async fn insert_prompt(write: &mut Write, new: &NewPrompt, now: Timestamp) -> anyhow::Result<Inserted> {
    let known: Option<String> = sqlx::query_scalar("SELECT id FROM inbox WHERE dedup_key = $1")
        .bind(&new.dedup_key)
        .fetch_optional(write.connection())
        .await
        .context("can't read the inbox")?;
    if let Some(known) = known {
        return Ok(Inserted::Known(known.parse().map_err(anyhow::Error::msg)?));
    }
    let state = PromptState::Queued;
    sqlx::query(
        "INSERT INTO inbox (id, dedup_key, agent, source, who, body, channel, thread, created, state, detail, since, expires, mode) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $9, $12, $13)",
    )
    .bind(new.id.as_str())
    .bind(&new.dedup_key)
    .bind(new.agent.as_str())
    .bind(to_json(&new.source)?)
    .bind(&new.who)
    .bind(&new.body)
    .bind(new.place.as_ref().map(|place| place.channel.as_str()))
    .bind(new.place.as_ref().map(|place| place.thread.as_str()))
    .bind(micros(now))
    .bind(state.name().as_str())
    .bind(to_json(&state)?)
    .bind(micros(new.expires.map_or_else(|| now.checked_add(TIME_TO_LIVE), Ok)?))
    .bind(new.mode.as_str())
    .execute(write.connection())
    .await
    .with_context(|| format!("can't store a prompt for {}", new.agent))?;
    record(write, &new.id, &state, &format!("{} by {}", new.source.word(), new.who), now).await?;
    Ok(Inserted::New(new.id.clone()))
}

/// Moves a prompt on within a caller's transaction, if it still is in the state that the caller saw; says whether it did.
async fn move_on(
    write: &mut Write,
    prompt: &Prompt,
    to: &PromptState,
    cause: &str,
    now: Timestamp,
) -> anyhow::Result<bool> {
    let (id, agent, seen) = (&prompt.id, &prompt.agent, prompt.state.name());
    let moved = sqlx::query("UPDATE inbox SET state = $1, detail = $2, since = $3 WHERE id = $4 AND state = $5")
        .bind(to.name().as_str())
        .bind(to_json(to)?)
        .bind(micros(now))
        .bind(id.as_str())
        .bind(seen.as_str())
        .execute(write.connection())
        .await
        .with_context(|| format!("can't move prompt {id} on"))?
        .rows_affected();
    if moved == 1 {
        record(write, id, to, cause, now).await?;
        if prompt.state == (PromptState::Confirmed { by: Evidence::Queue }) && to.name() == StateName::Submitted {
            // It is out of the agent's queue and was not taken: that it once was in there proves nothing any more.
            sqlx::query("DELETE FROM evidence WHERE prompt = $1 AND kind = 'queue'")
                .bind(id.as_str())
                .execute(write.connection())
                .await
                .with_context(|| format!("can't take back the evidence for prompt {id}"))?;
        }
        if let Some(fact) = undelivered(prompt, to) {
            append(write, now, agent, Some(id), &fact).await?;
        }
    }
    Ok(moved == 1)
}

async fn set_lead(write: &mut Write, id: &PromptId, lead: Option<&PromptId>) -> anyhow::Result<()> {
    sqlx::query("UPDATE inbox SET lead = $1 WHERE id = $2")
        .bind(lead.map(PromptId::as_str))
        .bind(id.as_str())
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store with what prompt {id} goes"))?;
    Ok(())
}

/// What the feed says of a prompt that stops here, so that its author reads it.
fn undelivered(prompt: &Prompt, to: &PromptState) -> Option<Fact> {
    match to {
        PromptState::Failed { reason } => Some(Fact::Undelivered { uncertain: false, why: reason.clone() }),
        PromptState::Uncertain { seen } => Some(Fact::Undelivered { uncertain: true, why: seen.clone() }),
        // It may run all the same: nobody is told that the agent did not get it.
        PromptState::Cancelled { by } if prompt.state.name() == StateName::Uncertain => {
            Some(Fact::Undelivered { uncertain: true, why: format!("{by} gave up on it") })
        }
        PromptState::Cancelled { by } => {
            Some(Fact::Undelivered { uncertain: false, why: format!("{by} cancelled it") })
        }
        PromptState::Expired => {
            let why = "it waited until its time was over, and the agent could not take it before".to_owned();
            Some(Fact::Undelivered { uncertain: false, why })
        }
        _ => None,
    }
}

pub(super) async fn record(
    write: &mut Write,
    id: &PromptId,
    state: &PromptState,
    cause: &str,
    now: Timestamp,
) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO transition (prompt, at, detail, cause) VALUES ($1, $2, $3, $4)")
        .bind(id.as_str())
        .bind(micros(now))
        .bind(to_json(state)?)
        .bind(cause)
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store the trace of prompt {id}"))?;
    Ok(())
}

fn prompt(row: &SqliteRow) -> anyhow::Result<Prompt> {
    let text = |column: &str| row.try_get::<String, _>(column).with_context(|| format!("the inbox has no {column}"));
    let place = match (row.try_get("channel")?, row.try_get("thread")?) {
        (Some(channel), Some(thread)) => Some(Place { channel, thread }),
        _ => None,
    };
    Ok(Prompt {
        id: text("id")?.parse().map_err(anyhow::Error::msg)?,
        agent: text("agent")?.parse()?,
        source: from_json(&text("source")?)?,
        who: text("who")?,
        body: text("body")?,
        place,
        created: timestamp(row.try_get("created")?)?,
        expires: row.try_get::<Option<i64>, _>("expires")?.map(timestamp).transpose()?,
        mode: text("mode")?.parse().map_err(anyhow::Error::msg)?,
        lead: row.try_get::<Option<&str>, _>("lead")?.map(str::parse).transpose().map_err(anyhow::Error::msg)?,
        state: from_json(&text("detail")?)?,
        since: timestamp(row.try_get("since")?)?,
    })
}
