//! The feed: what the agents did, and how far each reader has come.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, Write, from_json, micros, timestamp, to_json};
use crate::model::{Fact, FeedRow, Place, PromptId, Slug};

/// The latest `$2` rows of the agent `$1` that tell of a turn's beginning or end, the latest first.
pub(super) const LAST_TURNS: &str = "SELECT seq, at, agent, turn, fact FROM feed WHERE agent = $1 AND \
    (fact LIKE '{\"fact\":\"turn_ended\"%' OR fact LIKE '{\"fact\":\"turn_started\"%') ORDER BY seq DESC LIMIT $2";

impl Store {
    /// At most `most` rows after `seq`, in order.
    pub async fn feed_after(&self, seq: i64, most: u32) -> anyhow::Result<Vec<FeedRow>> {
        let mut found = Vec::new();
        let mut from = seq;
        // Rows that can't be read don't count: a reader that got none of them would believe itself at the end.
        while found.len() < most as usize {
            let missing = i64::from(most) - i64::try_from(found.len())?;
            let rows = sqlx::query("SELECT seq, at, agent, turn, fact FROM feed WHERE seq > $1 ORDER BY seq LIMIT $2")
                .bind(from)
                .bind(missing)
                .fetch_all(&mut *self.read().await?)
                .await
                .context("can't read the feed")?;
            let Some(last) = rows.last() else { break };
            from = last.try_get("seq")?;
            found.extend(self.unreadable.without("feed row", "seq", &rows, feed_row));
            if i64::try_from(rows.len())? < missing {
                break;
            }
        }
        Ok(found)
    }

    /// What the feed tells of a prompt, in order: the rows of the turn that it opened, or, from where it was taken into a turn
    /// that ran already, of that one.
    pub async fn feed_of_turn(&self, turn: &PromptId) -> anyhow::Result<Vec<FeedRow>> {
        let mut rows = self.rows_of(turn, 0).await?;
        if let Some((into, since)) = steered_into(&rows) {
            rows.extend(self.rows_of(&into, since).await?);
            rows.sort_by_key(|row| row.seq);
        }
        Ok(rows)
    }

    /// Whether the turn that took a prompt has ended.
    pub async fn turn_ended(&self, turn: &PromptId) -> anyhow::Result<bool> {
        let rows = sqlx::query(
            "SELECT seq, at, agent, turn, fact FROM feed WHERE turn = $1 \
             AND (fact LIKE '{\"fact\":\"turn_ended\"%' OR fact LIKE '{\"fact\":\"steered\"%') ORDER BY seq",
        );
        let rows = rows.bind(turn.as_str()).fetch_all(&mut *self.read().await?).await.context("can't read the feed")?;
        let rows = self.unreadable.without("feed row", "seq", &rows, feed_row);
        if rows.iter().any(|row| matches!(row.fact, Fact::TurnEnded { .. })) {
            return Ok(true);
        }
        let Some((into, since)) = steered_into(&rows) else { return Ok(false) };
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM feed WHERE turn = $1 AND seq > $2 AND fact LIKE '{\"fact\":\"turn_ended\"%'",
        )
        .bind(into.as_str())
        .bind(since)
        .fetch_one(&mut *self.read().await?)
        .await
        .context("can't read the feed")?;
        Ok(count > 0)
    }

    /// How the turns of a job ended before the row `before`, in order: the turn of `job` itself, and those in which the fleet
    /// went on with it in the thread at `place`.
    pub async fn ends_of_job(&self, job: &PromptId, place: Option<&Place>, before: i64) -> anyhow::Result<Vec<Fact>> {
        let rows = sqlx::query(
            "SELECT f.seq, f.at, f.agent, f.turn, f.fact FROM feed f JOIN inbox i ON i.id = f.turn \
             WHERE (i.id = $1 OR i.channel = $2 AND i.thread = $3 AND i.source LIKE '{\"kind\":\"resume\"%') \
             AND f.seq < $4 AND f.fact LIKE '{\"fact\":\"turn_ended\"%' ORDER BY f.seq",
        );
        let rows = rows
            .bind(job.as_str())
            .bind(place.map(|place| place.channel.as_str()))
            .bind(place.map(|place| place.thread.as_str()))
            .bind(before)
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the feed")?;
        Ok(self.unreadable.without("feed row", "seq", &rows, feed_row).into_iter().map(|row| row.fact).collect())
    }

    async fn rows_of(&self, turn: &PromptId, after: i64) -> anyhow::Result<Vec<FeedRow>> {
        let rows = sqlx::query("SELECT seq, at, agent, turn, fact FROM feed WHERE turn = $1 AND seq > $2 ORDER BY seq")
            .bind(turn.as_str())
            .bind(after)
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the feed")?;
        Ok(self.unreadable.without("feed row", "seq", &rows, feed_row))
    }

    /// The latest rows that tell of a turn's beginning or end, the latest first.
    pub async fn last_turns(&self, agent: &Slug, most: u32) -> anyhow::Result<Vec<FeedRow>> {
        let rows = sqlx::query(LAST_TURNS);
        let rows = rows.bind(agent.as_str()).bind(i64::from(most)).fetch_all(&mut *self.read().await?).await;
        Ok(self.unreadable.without("feed row", "seq", &rows.context("can't read the feed")?, feed_row))
    }

    /// When an agent last did something or was started; none where it never was.
    pub async fn last_news(&self, agent: &Slug) -> anyhow::Result<Option<Timestamp>> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(at) FROM (SELECT MAX(at) AS at FROM feed WHERE agent = $1 \
             UNION ALL SELECT since AS at FROM conversation WHERE agent = $1 \
             UNION ALL SELECT launched AS at FROM conversation WHERE agent = $1) AS news",
        )
        .bind(agent.as_str())
        .fetch_one(&mut *self.read().await?)
        .await
        .context("can't read the feed")?;
        at.map(timestamp).transpose()
    }

    /// The last row's place; 0 where there is none.
    pub async fn feed_end(&self) -> anyhow::Result<i64> {
        sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM feed")
            .fetch_one(&mut *self.read().await?)
            .await
            .context("can't read the feed")
    }

    /// How far a reader has come; none where it never read.
    pub async fn feed_cursor(&self, reader: &str) -> anyhow::Result<Option<i64>> {
        sqlx::query_scalar("SELECT seq FROM feed_cursor WHERE reader = $1")
            .bind(reader)
            .fetch_optional(&mut *self.read().await?)
            .await
            .with_context(|| format!("can't read how far {reader} has come"))
    }
}

/// The turn into which the prompt of these rows was taken, and since which row.
fn steered_into(rows: &[FeedRow]) -> Option<(PromptId, i64)> {
    rows.iter().rev().find_map(|row| match &row.fact {
        Fact::Steered { into } => Some((into.clone(), row.seq)),
        _ => None,
    })
}

/// Moves a reader on within the transaction that stores what it made of the rows.
pub async fn move_feed_cursor(write: &mut Write, reader: &str, seq: i64) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO feed_cursor (reader, seq) VALUES ($1, $2) ON CONFLICT (reader) DO UPDATE SET seq = excluded.seq",
    )
    .bind(reader)
    .bind(seq)
    .execute(write.connection())
    .await
    .with_context(|| format!("can't store how far {reader} has come"))?;
    Ok(())
}

pub(super) async fn append(
    write: &mut Write,
    at: Timestamp,
    agent: &Slug,
    turn: Option<&PromptId>,
    fact: &Fact,
) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO feed (at, agent, turn, fact) VALUES ($1, $2, $3, $4)")
        .bind(micros(at))
        .bind(agent.as_str())
        .bind(turn.map(PromptId::as_str))
        .bind(to_json(fact)?)
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store what {agent} did"))?;
    Ok(())
}

fn feed_row(row: &SqliteRow) -> anyhow::Result<FeedRow> {
    Ok(FeedRow {
        seq: row.try_get("seq")?,
        at: timestamp(row.try_get("at")?)?,
        agent: row.try_get::<&str, _>("agent")?.parse()?,
        turn: row.try_get::<Option<&str>, _>("turn")?.map(str::parse).transpose().map_err(anyhow::Error::msg)?,
        fact: from_json(row.try_get("fact")?)?,
    })
}
