//! What Slack told, and how far: arrivals, watermarks, threads that are muted, channels that are away.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::slack::{NewOutboxRow, OutboxAction};
use super::{Store, Write, micros};
use crate::model::Place;

/// An arrival that is stored and not yet acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// The frame as Slack sent it, JSON.
    pub payload: String,
}

/// An arrival to be stored. The same `key` or the same `about` twice is the same arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnvelope {
    /// The event's own name.
    pub key: String,
    /// What it tells, `<channel>/<ts>` of a post and more behind it of what became of one.
    pub about: Option<String>,
    /// The frame, JSON.
    pub payload: String,
}

/// A post that the history told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The post as it stands now.
    pub post: NewEnvelope,
    /// That it was edited, where it was.
    pub edit: Option<NewEnvelope>,
}

/// Up to where everything that was said is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The channel's id.
    pub channel: String,
    /// The thread's root; none for the channel's own messages.
    pub thread: Option<String>,
    /// The last message that is stored, with all before it.
    pub ts: String,
}

impl Store {
    /// Stores an arrival durably, before it is acked; says whether it is news.
    pub async fn store_envelope(&self, new: &NewEnvelope, now: Timestamp) -> anyhow::Result<bool> {
        let mut write = self.write_durably().await?;
        let news = insert_envelope(&mut write, new, now).await?;
        write.commit().await?;
        Ok(news)
    }

    /// Stores what the history told, in this order, and how far it was read: all or nothing. Says which posts were news.
    pub async fn store_told(&self, told: &[Told], marks: &[Watermark], now: Timestamp) -> anyhow::Result<Vec<bool>> {
        let mut write = self.write_durably().await?;
        let mut news = Vec::with_capacity(told.len());
        for Told { post, edit } in told {
            let is_news = insert_envelope(&mut write, post, now).await?;
            // A post that is news is stored as it stands now: its edit is in it.
            if let (false, Some(edit)) = (is_news, edit) {
                insert_envelope(&mut write, edit, now).await?;
            }
            news.push(is_news);
        }
        for mark in marks {
            sqlx::query(
                "INSERT INTO slack_watermark (channel, thread, ts) VALUES ($1, $2, $3) \
                 ON CONFLICT (channel, thread) DO UPDATE SET ts = excluded.ts",
            )
            .bind(&mark.channel)
            .bind(mark.thread.as_deref().unwrap_or_default())
            .bind(&mark.ts)
            .execute(write.connection())
            .await
            .context("can't store how far a channel was read")?;
        }
        write.commit().await?;
        Ok(news)
    }

    /// At most `most` arrivals that were not acted on, first come first.
    pub async fn open_envelopes(&self, most: u32) -> anyhow::Result<Vec<Envelope>> {
        self.open_envelopes_after(0, most).await
    }

    /// The same behind `seq`.
    pub async fn open_envelopes_after(&self, seq: i64, most: u32) -> anyhow::Result<Vec<Envelope>> {
        sqlx::query("SELECT seq, payload FROM slack_envelope WHERE acted IS NULL AND seq > $2 ORDER BY seq LIMIT $1")
            .bind(i64::from(most))
            .bind(seq)
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the events of Slack")?
            .iter()
            .map(|row| Ok(Envelope { seq: row.try_get("seq")?, payload: row.try_get("payload")? }))
            .collect()
    }

    /// Up to which message everything is stored; none where nothing was ever read there.
    pub async fn watermark(&self, channel: &str, thread: Option<&str>) -> anyhow::Result<Option<String>> {
        sqlx::query_scalar("SELECT ts FROM slack_watermark WHERE channel = $1 AND thread = $2")
            .bind(channel)
            .bind(thread.unwrap_or_default())
            .fetch_optional(&mut *self.read().await?)
            .await
            .context("can't read how far a channel was read")
    }

    /// The roots of a channel's threads in which a prompt was asked or a turn was told since `since`, at most `most`, the
    /// liveliest first.
    pub async fn live_threads(&self, channel: &str, since: Timestamp, most: u32) -> anyhow::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT ts FROM (SELECT i.thread AS ts, i.created AS at FROM inbox i WHERE i.channel = $1 AND i.created >= $2 \
             UNION ALL SELECT t.ts, i.created FROM slack_thread t JOIN inbox i ON i.id = t.lane \
             WHERE t.channel = $1 AND t.ts IS NOT NULL AND i.created >= $2) AS live \
             GROUP BY ts ORDER BY MAX(at) DESC LIMIT $3",
        )
        .bind(channel)
        .bind(micros(since))
        .bind(i64::from(most))
        .fetch_all(&mut *self.read().await?)
        .await
        .context("can't read the live threads")
    }

    /// The channels in which the app can neither hear nor speak, with the reason.
    pub async fn slack_away(&self) -> anyhow::Result<Vec<(String, String)>> {
        sqlx::query("SELECT channel, why FROM slack_away ORDER BY since")
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read which channels are away")?
            .iter()
            .map(|row| Ok((row.try_get("channel")?, row.try_get("why")?)))
            .collect()
    }

    /// Whether the agent's posts in a thread are silenced.
    pub async fn is_muted(&self, place: &Place) -> anyhow::Result<bool> {
        let muted: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM slack_thread WHERE channel = $1 AND ts = $2 AND muted IS NOT NULL",
        )
        .bind(&place.channel)
        .bind(&place.thread)
        .fetch_one(&mut *self.read().await?)
        .await
        .context("can't read the threads")?;
        Ok(muted > 0)
    }
}

async fn insert_envelope(write: &mut Write, new: &NewEnvelope, now: Timestamp) -> anyhow::Result<bool> {
    let stored = sqlx::query(
        "INSERT INTO slack_envelope (event_id, about, payload, received) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(&new.key)
    .bind(&new.about)
    .bind(&new.payload)
    .bind(micros(now))
    .execute(write.connection())
    .await
    .context("can't store an event of Slack")?
    .rows_affected();
    Ok(stored == 1)
}

/// Marks an arrival as acted on, within the transaction that stores what follows from it.
pub async fn close_envelope(write: &mut Write, seq: i64, now: Timestamp) -> anyhow::Result<()> {
    sqlx::query("UPDATE slack_envelope SET acted = $1 WHERE seq = $2")
        .bind(micros(now))
        .bind(seq)
        .execute(write.connection())
        .await
        .context("can't store that an event was acted on")?;
    Ok(())
}

/// Silences the agent's posts in a thread, or lets them be heard again.
pub async fn set_muted(write: &mut Write, place: &Place, muted: Option<Timestamp>) -> anyhow::Result<()> {
    sqlx::query("UPDATE slack_thread SET muted = $1 WHERE channel = $2 AND ts = $3")
        .bind(muted.map(micros))
        .bind(&place.channel)
        .bind(&place.thread)
        .execute(write.connection())
        .await
        .context("can't store that a thread is muted")?;
    Ok(())
}

/// Whether a row is a post in a thread that is muted. What a root message says of its turn, reactions, and what becomes of a
/// message that stands there already are no posts.
pub async fn silenced(write: &mut Write, row: &NewOutboxRow) -> anyhow::Result<bool> {
    match row.action {
        OutboxAction::Reply { .. } | OutboxAction::Upload { .. } => {}
        OutboxAction::Keyed { ref key, .. } => {
            let there: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM slack_outbox WHERE lane = $1 AND key = $2")
                .bind(&row.lane)
                .bind(key)
                .fetch_one(write.connection())
                .await
                .context("can't read the outbox")?;
            if there > 0 {
                return Ok(false);
            }
        }
        OutboxAction::Open { .. }
        | OutboxAction::EditRoot { .. }
        | OutboxAction::Whisper { .. }
        | OutboxAction::React { .. }
        | OutboxAction::Unreact { .. } => return Ok(false),
    }
    let muted: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM slack_thread t JOIN slack_thread o ON o.channel = t.channel AND o.ts = t.ts \
         WHERE t.lane = $1 AND o.muted IS NOT NULL",
    )
    .bind(&row.lane)
    .fetch_one(write.connection())
    .await
    .context("can't read the threads")?;
    Ok(muted > 0)
}

/// Notes that the app can neither hear nor speak in a channel; says whether that is news.
pub async fn leave_channel(write: &mut Write, channel: &str, why: &str, now: Timestamp) -> anyhow::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO slack_away (channel, why, since) VALUES ($1, $2, $3) ON CONFLICT (channel) DO NOTHING",
    )
    .bind(channel)
    .bind(why)
    .bind(micros(now))
    .execute(write.connection())
    .await;
    Ok(done.context("can't store that a channel is away")?.rows_affected() == 1)
}

/// Notes that the app can hear and speak in a channel again; says whether that is news.
pub async fn return_to_channel(write: &mut Write, channel: &str) -> anyhow::Result<bool> {
    let done = sqlx::query("DELETE FROM slack_away WHERE channel = $1").bind(channel).execute(write.connection()).await;
    Ok(done.context("can't store that a channel is back")?.rows_affected() == 1)
}

/// Follows a channel that has got another id: with its threads, its prompts, what is still to be said in it.
pub async fn follow_channel(write: &mut Write, old: &str, new: &str) -> anyhow::Result<()> {
    for sql in [
        "UPDATE slack_channel SET id = $2 WHERE id = $1",
        "UPDATE slack_thread SET channel = $2 WHERE channel = $1",
        "UPDATE slack_watermark SET channel = $2 WHERE channel = $1",
        "UPDATE slack_outbox SET channel = $2 WHERE channel = $1",
        "UPDATE inbox SET channel = $2 WHERE channel = $1",
        "DELETE FROM slack_away WHERE channel = $1 OR channel = $2",
    ] {
        let done = sqlx::query(sql).bind(old).bind(new).execute(write.connection()).await;
        done.with_context(|| format!("can't follow the channel {old} to its new id {new}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::slack::{Said, Thread, insert_thread};

    async fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
        (directory, store)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn new(key: &str, about: Option<&str>) -> NewEnvelope {
        NewEnvelope { key: key.into(), about: about.map(str::to_owned), payload: key.into() }
    }

    fn mark(ts: &str) -> Watermark {
        Watermark { channel: "C1".into(), thread: None, ts: ts.into() }
    }

    #[tokio::test]
    async fn what_a_socket_and_the_history_tell_is_stored_once_and_an_edit_is_news_only_of_a_post_that_was_known() {
        let (_directory, store) = store().await;
        assert!(store.store_envelope(&new("Ev1", Some("C1/1.0")), at(1)).await.unwrap());
        assert!(!store.store_envelope(&new("Ev1", None), at(1)).await.unwrap(), "the same event again");
        assert!(!store.store_envelope(&new("Ev2", Some("C1/1.0")), at(1)).await.unwrap(), "a mention is a message too");
        let told = [("1.0", "a"), ("2.0", "b")].map(|(ts, edit)| Told {
            post: new(&format!("history/{ts}"), Some(&format!("C1/{ts}"))),
            edit: Some(new(edit, Some(&format!("C1/{ts}/edited/9.0")))),
        });
        assert_eq!(store.store_told(&told, &[mark("2.0")], at(2)).await.unwrap(), [false, true]);
        let payloads: Vec<_> = store.open_envelopes(9).await.unwrap().into_iter().map(|open| open.payload).collect();
        assert_eq!(payloads, ["Ev1", "a", "history/2.0"], "a new post holds its edit");
        assert_eq!(store.store_told(&told, &[mark("2.0")], at(2)).await.unwrap(), [false, false]);
        assert_eq!(store.watermark("C1", None).await.unwrap().as_deref(), Some("2.0"));
        assert_eq!(store.watermark("C1", Some("1.0")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_muted_thread_holds_back_posts_and_nothing_else() {
        let (_directory, store) = store().await;
        let place = Place { channel: "C1".into(), thread: "1.0".into() };
        let thread = Thread { lane: "l".into(), agent: None, channel: "C1".into(), ts: Some("1.0".into()) };
        let row = |action| NewOutboxRow { dedup_key: "k".into(), lane: "l".into(), channel: "C1".into(), action };
        let mut write = store.write().await.unwrap();
        insert_thread(&mut write, &thread).await.unwrap();
        for muted in [Some(at(1)), None] {
            set_muted(&mut write, &place, muted).await.unwrap();
            let reply = row(OutboxAction::Reply { said: Said::text("t") });
            assert_eq!(silenced(&mut write, &reply).await.unwrap(), muted.is_some());
            let react = row(OutboxAction::React { ts: "1".into(), emoji: "e".into() });
            assert!(!silenced(&mut write, &react).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_channel_that_gets_another_id_keeps_its_threads() {
        let (_directory, store) = store().await;
        store.set_slack_channel("#a", "C1").await.unwrap();
        let mut write = store.write().await.unwrap();
        let thread = Thread { lane: "l".into(), agent: None, channel: "C1".into(), ts: Some("1.0".into()) };
        insert_thread(&mut write, &thread).await.unwrap();
        assert!(leave_channel(&mut write, "C1", "w", at(1)).await.unwrap());
        assert!(!leave_channel(&mut write, "C1", "w", at(2)).await.unwrap());
        follow_channel(&mut write, "C1", "C2").await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(store.slack_channel("#a").await.unwrap().as_deref(), Some("C2"));
        assert_eq!(store.slack_thread("C2", "1.0").await.unwrap().map(|thread| thread.lane).as_deref(), Some("l"));
        assert_eq!(store.slack_away().await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_was_settled_long_ago_is_forgotten_and_nothing_else() {
        let (_directory, store) = store().await;
        assert!(store.store_envelope(&new("old", None), at(1)).await.unwrap());
        assert!(store.store_envelope(&new("open", None), at(1)).await.unwrap());
        assert!(store.store_envelope(&new("new", None), at(9)).await.unwrap());
        let mut write = store.write().await.unwrap();
        for envelope in store.open_envelopes(9).await.unwrap().iter().filter(|envelope| envelope.seq != 2) {
            close_envelope(&mut write, envelope.seq, at(9)).await.unwrap();
        }
        write.commit().await.unwrap();
        store.prune_slack(at(5)).await.unwrap();
        assert!(store.store_envelope(&new("old", None), at(9)).await.unwrap());
        for known in ["open", "new"] {
            assert!(!store.store_envelope(&new(known, None), at(9)).await.unwrap(), "{known}");
        }
    }
}
