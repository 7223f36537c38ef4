//! The outbox, lane by lane: what is next, and what becomes of a row that Slack will not have as it is.
//!
//! The outbox is looked at whenever anything wakes the bridge, so that look must never cost more because many rows wait.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::slack::{NewOutboxRow, OutboxAction, OutboxRow, OutboxState, insert_outbox};
use super::{Store, from_json, micros, timestamp, to_json};

/// The lanes are found one after the other by the index of what is not settled, and in each its heads.
const HEADS: &str = "WITH RECURSIVE lanes (lane) AS (\
    SELECT MIN(lane) FROM slack_outbox WHERE state IN ('queued', 'sending', 'ambiguous') \
    UNION ALL SELECT (SELECT MIN(n.lane) FROM slack_outbox n WHERE n.lane > lanes.lane \
        AND n.state IN ('queued', 'sending', 'ambiguous')) FROM lanes WHERE lanes.lane IS NOT NULL), \
    heads (seq) AS (\
    SELECT (SELECT MIN(m.seq) FROM slack_outbox m WHERE m.lane = lanes.lane AND m.key IS NULL \
        AND m.state IN ('queued', 'sending', 'ambiguous')) FROM lanes WHERE lanes.lane IS NOT NULL \
    UNION ALL SELECT MIN(k.seq) FROM lanes JOIN slack_outbox k ON k.lane = lanes.lane AND k.key IS NOT NULL \
        AND k.state IN ('queued', 'sending', 'ambiguous') GROUP BY k.lane, k.key) \
    SELECT o.seq, o.id, o.lane, o.channel, o.action, o.state, o.since, t.ts AS thread, \
    (SELECT p.ts FROM slack_outbox p WHERE p.lane = o.lane AND p.key = o.key AND p.state = 'sent' \
        ORDER BY p.seq DESC LIMIT 1) AS posted, \
    o.key IS NOT NULL AND EXISTS (SELECT 1 FROM slack_outbox e WHERE e.lane = o.lane AND e.key IS NULL AND e.seq < o.seq \
        AND e.state IN ('queued', 'sending', 'ambiguous')) AS behind \
    FROM heads JOIN slack_outbox o ON o.seq = heads.seq LEFT JOIN slack_thread t ON t.lane = o.lane ORDER BY o.seq";

impl Store {
    /// The first unsettled row of every lane, and of every key in it, in order. Its cost grows with the lanes, not with the rows.
    pub async fn outbox_heads(&self) -> anyhow::Result<Vec<OutboxRow>> {
        sqlx::query(HEADS)
            .fetch_all(&mut *self.read().await?)
            .await
            .context("can't read the outbox")?
            .iter()
            .map(outbox_row)
            .collect()
    }

    /// Puts `actions` where a row's one stood, which Slack refused: they go out in its place, in order, before whatever its lane
    /// was to say next.
    pub async fn amend_outbox(&self, row: &OutboxRow, actions: &[OutboxAction], now: Timestamp) -> anyhow::Result<()> {
        let context = "can't store a message to Slack in another form";
        let Some((first, rest)) = actions.split_first() else { return Ok(()) };
        let mut write = self.write().await?;
        sqlx::query("UPDATE slack_outbox SET action = $1, state = 'queued', since = $2 WHERE seq = $3 AND id = $4")
            .bind(to_json(first)?)
            .bind(micros(now))
            .bind(row.seq)
            .bind(&row.id)
            .execute(write.connection())
            .await
            .context(context)?;
        let later = "SELECT seq FROM slack_outbox WHERE lane = $1 AND key IS NULL AND seq > $2 AND state = 'queued' ORDER BY seq";
        let later: Vec<i64> = (sqlx::query_scalar(later).bind(&row.lane).bind(row.seq))
            .fetch_all(write.connection())
            .await
            .context(context)?;
        for (number, action) in (1..).zip(rest) {
            let new = NewOutboxRow {
                dedup_key: format!("{}/{number}", row.id),
                lane: row.lane.clone(),
                channel: row.channel.clone(),
                action: action.clone(),
            };
            insert_outbox(&mut write, &format!("{}-{number}", row.id), &new, now).await?;
        }
        for seq in later.into_iter().filter(|_| !rest.is_empty()) {
            sqlx::query("UPDATE slack_outbox SET seq = (SELECT MAX(seq) + 1 FROM slack_outbox) WHERE seq = $1")
                .bind(seq)
                .execute(write.connection())
                .await
                .context(context)?;
        }
        write.commit().await
    }

    /// Forgets the message of a key, which is gone from Slack, so that it is posted anew; says whether that is the first time.
    pub async fn forget_keyed(&self, lane: &str, key: &str) -> anyhow::Result<bool> {
        let context = "can't forget a message of Slack's";
        let gone = format!("{key} (deleted)");
        let mut write = self.write().await?;
        let before: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM slack_outbox WHERE lane = $1 AND key = $2")
            .bind(lane)
            .bind(&gone)
            .fetch_one(write.connection())
            .await
            .context(context)?;
        if before > 0 {
            return Ok(false);
        }
        sqlx::query("UPDATE slack_outbox SET key = $1 WHERE lane = $2 AND key = $3 AND state = 'sent'")
            .bind(&gone)
            .bind(lane)
            .bind(key)
            .execute(write.connection())
            .await
            .context(context)?;
        write.commit().await?;
        Ok(true)
    }
}

fn outbox_row(row: &SqliteRow) -> anyhow::Result<OutboxRow> {
    let state = match row.try_get("state")? {
        "queued" => OutboxState::Queued,
        "sending" => OutboxState::Sending,
        "ambiguous" => OutboxState::Ambiguous,
        other => anyhow::bail!("fleet.db holds a message to Slack in the unknown state {other}"),
    };
    Ok(OutboxRow {
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        lane: row.try_get("lane")?,
        channel: row.try_get("channel")?,
        thread: row.try_get("thread")?,
        posted: row.try_get("posted")?,
        behind: row.try_get("behind")?,
        action: from_json(row.try_get("action")?)?,
        state,
        since: timestamp(row.try_get("since")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::slack::Said;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
        (directory, store)
    }

    async fn queue(store: &Store, lane: &str, id: &str, action: OutboxAction) {
        let row = NewOutboxRow { dedup_key: id.into(), lane: lane.into(), channel: "C1".into(), action };
        let mut write = store.write().await.unwrap();
        insert_outbox(&mut write, id, &row, at(1)).await.unwrap();
        write.commit().await.unwrap();
    }

    fn reply(text: &str) -> OutboxAction {
        OutboxAction::Reply { said: Said::text(text) }
    }

    fn keyed(key: &str, text: &str) -> OutboxAction {
        OutboxAction::Keyed { key: key.into(), said: Said::text(text) }
    }

    async fn heads(store: &Store) -> Vec<(String, String, Option<String>, bool)> {
        let rows = store.outbox_heads().await.unwrap().into_iter();
        let text = |row: &OutboxRow| row.action.said().unwrap().text.clone();
        rows.map(|row| (row.id.clone(), text(&row), row.posted, row.behind)).collect()
    }

    async fn settle_head(store: &Store, ts: &str) {
        let row = store.outbox_heads().await.unwrap().remove(0);
        store.move_outbox(&row, &OutboxState::Sent { ts: ts.into() }, at(2)).await.unwrap();
    }

    #[tokio::test]
    async fn a_thousand_waiting_messages_do_not_slow_down_the_look_at_what_is_next() {
        let (_directory, store) = store().await;
        let plan: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {HEADS}")))
            .fetch_all(&mut *store.read().await.unwrap())
            .await
            .unwrap()
            .iter()
            .map(|row| row.get("detail"))
            .collect();
        let reads = plan.iter().filter(|step| {
            ["slack_outbox", " o", " k", " m", " n", " e", " p"].iter().any(|table| step.contains(table))
        });
        let scans: Vec<_> = reads
            .filter(|step| step.starts_with("SCAN") && !step.contains("lanes") && !step.contains("heads"))
            .collect();
        assert!(scans.is_empty(), "{plan:#?}");
        assert!(plan.iter().any(|step| step.contains("slack_outbox_open")), "{plan:#?}");
    }

    #[tokio::test]
    async fn the_latest_progress_takes_the_place_of_what_was_not_said_yet_and_holds_no_answer_up() {
        let (_directory, store) = store().await;
        queue(&store, "a", "1", reply("one")).await;
        queue(&store, "a", "2", keyed("p", "half")).await;
        queue(&store, "a", "3", reply("two")).await;
        queue(&store, "a", "4", keyed("p", "whole")).await;
        queue(&store, "b", "5", reply("other")).await;
        let row = |id: &str, text: &str, posted: Option<&str>, behind| {
            (id.to_owned(), text.to_owned(), posted.map(str::to_owned), behind)
        };
        assert_eq!(
            heads(&store).await,
            [row("1", "one", None, false), row("4", "whole", None, true), row("5", "other", None, false)]
        );
        settle_head(&store, "1.0").await;
        assert_eq!(
            heads(&store).await,
            [row("4", "whole", None, false), row("3", "two", None, false), row("5", "other", None, false)]
        );
        settle_head(&store, "2.0").await;
        queue(&store, "a", "6", keyed("p", "over")).await;
        assert_eq!(heads(&store).await[2], row("6", "over", Some("2.0"), true));
        assert!(store.forget_keyed("a", "p").await.unwrap());
        assert_eq!(heads(&store).await[2], row("6", "over", None, true), "it is posted anew");
        assert!(!store.forget_keyed("a", "p").await.unwrap(), "once");
    }

    #[tokio::test]
    async fn what_was_cut_goes_out_before_what_was_to_be_said_next() {
        let (_directory, store) = store().await;
        for (lane, id, text) in [("a", "1", "long"), ("b", "2", "other"), ("a", "3", "next"), ("a", "4", "last")] {
            queue(&store, lane, id, reply(text)).await;
        }
        let head = store.outbox_heads().await.unwrap().remove(0);
        store.amend_outbox(&head, &[reply("lo"), reply("n"), reply("g")], at(2)).await.unwrap();
        let mut said = Vec::new();
        while let Some(row) = store.outbox_heads().await.unwrap().into_iter().find(|row| row.lane == "a") {
            said.push(row.action.said().unwrap().text.clone());
            store.move_outbox(&row, &OutboxState::Sent { ts: "1.0".into() }, at(3)).await.unwrap();
        }
        assert_eq!(said, ["lo", "n", "g", "next", "last"]);
    }

    #[test]
    fn what_an_older_fleetd_was_about_to_say_is_said_by_a_newer_one() {
        for stored in [
            r#"{"do":"open","text":"t"}"#,
            r#"{"do":"reply","text":"t"}"#,
            r#"{"do":"edit_root","text":"t"}"#,
            r#"{"do":"react","ts":"1.0","emoji":"eyes"}"#,
            r#"{"do":"unreact","ts":"1.0","emoji":"eyes"}"#,
            r#"{"do":"keyed","key":"k","text":"t","blocks":[{"type":"divider"}]}"#,
            r#"{"do":"whisper","user":"U1","thread":"1.0","text":"t"}"#,
            r#"{"do":"upload","name":"a.md","title":"A","content":"c","text":"t"}"#,
        ] {
            let action: OutboxAction = from_json(stored).unwrap();
            assert_eq!(to_json(&action).unwrap(), stored);
        }
    }
}
