//! How far the status channel has told the news of the box.

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::slack::{NewOutboxRow, insert_outbox};
use super::{Store, from_json, timestamp, to_json};

/// The note that holds a [`NewsPlace`].
const NOTE: &str = "slack.news";

/// What the status channel's last message tells: the news after `from`, up to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewsPlace {
    /// The place before the first of it.
    pub from: i64,
    /// The place of the last of it.
    pub to: i64,
}

/// How far the last message of a lane has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneEnd {
    /// There is none.
    Empty,
    /// Slack has not got it.
    Queued,
    /// Slack may have it.
    UnderWay,
    /// It was settled then.
    Settled(Timestamp),
}

impl Store {
    /// What the status channel's last message tells; none where it never told anything.
    pub async fn news_place(&self) -> anyhow::Result<Option<NewsPlace>> {
        self.note(NOTE).await?.filter(|text| !text.is_empty()).map(|text| from_json(&text)).transpose()
    }

    /// Puts the status channel's place behind everything there is; with `None` it has none, until it begins anew.
    pub async fn set_news_place(&self, place: Option<NewsPlace>) -> anyhow::Result<()> {
        let text = place.map(|place| to_json(&place)).transpose()?.unwrap_or_default();
        self.set_note(NOTE, &text).await
    }

    /// How far the last message of a lane has come.
    pub async fn lane_end(&self, lane: &str) -> anyhow::Result<LaneEnd> {
        let row = sqlx::query("SELECT state, since FROM slack_outbox WHERE lane = $1 ORDER BY seq DESC LIMIT 1")
            .bind(lane)
            .fetch_optional(&mut *self.read().await?)
            .await
            .context("can't read the outbox")?;
        let Some(row) = row else { return Ok(LaneEnd::Empty) };
        Ok(match row.try_get("state")? {
            "queued" => LaneEnd::Queued,
            "sending" | "ambiguous" => LaneEnd::UnderWay,
            _ => LaneEnd::Settled(timestamp(row.try_get("since")?)?),
        })
    }

    /// Queues a message with the news up to `place`, and moves the place, in one. Where the last message still waits, `row`
    /// takes its place. Says whether that was done: not where the message that it should replace has just been taken up.
    pub async fn queue_news(
        &self,
        id: &str,
        row: &NewOutboxRow,
        place: NewsPlace,
        replace: bool,
        now: Timestamp,
    ) -> anyhow::Result<bool> {
        let mut write = self.write().await?;
        if replace {
            let gone = sqlx::query("DELETE FROM slack_outbox WHERE lane = $1 AND state = 'queued'")
                .bind(&row.lane)
                .execute(write.connection())
                .await
                .context("can't queue news of the box")?
                .rows_affected();
            if gone == 0 {
                return Ok(false);
            }
        }
        insert_outbox(&mut write, id, row, now).await?;
        sqlx::query(
            "INSERT INTO note (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(NOTE)
        .bind(to_json(&place)?)
        .execute(write.connection())
        .await
        .context("can't store how far the status channel has come")?;
        write.commit().await?;
        Ok(true)
    }
}
