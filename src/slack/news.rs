//! Tells the news of the box in the status channel: at most one message a minute, whatever came meanwhile in it.
//!
//! The message and the place up to which it tells are stored in one; a message that still waits, because Slack can't be
//! reached, is replaced by one that tells more. So nothing is told twice, and hours without Slack end in one message.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Bridge;
use super::bulletin::bulletin;
use crate::store::slack::{NewOutboxRow, OutboxAction, Said};
use crate::store::{LaneEnd, NewsPlace};

/// The lane of the status channel's messages.
pub const LANE: &str = "news";

/// The least time between two messages.
const BETWEEN: SignedDuration = SignedDuration::from_secs(60);

/// How soon it is looked whether a message that may have been posted was.
const LOOK: Duration = Duration::from_secs(1);

/// How soon the time is looked at while a message waits for its minute: a clock that is set ends no sleep.
const GLANCE: Duration = Duration::from_secs(5);

/// The most news in one message; far more than fit.
const BATCH: u32 = 1_000;

/// Tells the news, for ever. What happened before there was a status channel is not told.
pub(super) async fn tell(bridge: Arc<Bridge>) {
    while let Err(error) = begin(&bridge).await {
        trouble(&bridge, &error).await;
    }
    if bridge.status_channel.is_none() {
        return;
    }
    loop {
        let wait = match pass(&bridge).await {
            Ok(wait) => wait,
            Err(error) => {
                trouble(&bridge, &error).await;
                continue;
            }
        };
        let woken = bridge.told.notified();
        match wait {
            // Without the channel nothing is told; the wake of the next tick looks again.
            None => woken.await,
            // Over or not, it is looked again.
            Some(wait) => drop(tokio::time::timeout(wait, woken).await),
        }
    }
}

async fn trouble(bridge: &Bridge, error: &anyhow::Error) {
    bridge.board.store(Some(format!("{error:#}")));
    tokio::time::sleep(LOOK).await;
}

async fn begin(bridge: &Bridge) -> anyhow::Result<()> {
    let known = bridge.store.news_place().await?;
    match (&bridge.status_channel, known) {
        (None, None) | (Some(_), Some(_)) => Ok(()),
        (None, Some(_)) => bridge.store.set_news_place(None).await,
        (Some(_), None) => {
            let end = bridge.store.last_notice().await?;
            bridge.store.set_news_place(Some(NewsPlace { from: end, to: end })).await
        }
    }
}

/// Queues what is to be told, if it may be now. Answers when to look again; none where only a wake can change anything.
async fn pass(bridge: &Bridge) -> anyhow::Result<Option<Duration>> {
    let directory = bridge.directory().await;
    let Some(channel) = &directory.status else { return Ok(None) };
    let Some(place) = bridge.store.news_place().await? else { return Ok(None) };
    if bridge.store.notices_after(place.to, 1).await?.is_empty() {
        return Ok(None);
    }
    let now = bridge.clock.now();
    let (from, replace) = match bridge.store.lane_end(LANE).await? {
        LaneEnd::UnderWay => return Ok(Some(LOOK)),
        LaneEnd::Queued => (place.from, true),
        LaneEnd::Empty => (place.to, false),
        LaneEnd::Settled(at) => match wait(at, now) {
            Some(wait) => return Ok(Some(wait.min(GLANCE))),
            None => (place.to, false),
        },
    };
    let news = bridge.store.notices_after(from, BATCH).await?;
    let Some(to) = news.last().map(|row| row.seq) else { return Ok(None) };
    let row = NewOutboxRow {
        dedup_key: format!("{LANE}/{from}-{to}"),
        lane: LANE.to_owned(),
        channel: channel.clone(),
        action: OutboxAction::Open { said: Said::text(bulletin(&news, now)) },
    };
    let (id, row) = (Uuid::new_v4().simple().to_string(), bridge.clean_row(&row)?);
    if bridge.store.queue_news(&id, &row, NewsPlace { from, to }, replace, now).await? {
        bridge.queued.notify_one();
    }
    Ok(Some(LOOK))
}

/// How long to wait after a message at `last`. A clock that was set back makes nobody wait.
fn wait(last: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(last);
    let left = if passed.is_negative() { SignedDuration::ZERO } else { BETWEEN - passed };
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_lies_between_two_messages_whatever_the_clock_does() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (now, left) in [(100, Some(60)), (130, Some(30)), (159, Some(1)), (160, None), (9_999, None), (10, None)] {
            assert_eq!(wait(at(100), at(now)), left.map(Duration::from_secs), "at {now}");
        }
    }
}
