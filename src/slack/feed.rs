//! Reads the feed and stores what is to be said of it, together with how far was read.

use std::sync::Arc;
use std::time::Duration;

use super::Bridge;
use super::from_slack::Directory;
use super::liveness;
use super::to_slack::{Home, Plan, home, plan, steered};
use crate::model::{Fact, FeedRow, Prompt};
use crate::store::move_feed_cursor;
use crate::store::slack::insert_thread;
use crate::store::slack_in::silenced;

/// The bridge's name as a reader of the feed.
const READER: &str = "slack";

/// The most rows in one pass.
const BATCH: u32 = 100;

/// Follows the feed, for ever. The very first time it begins at the feed's end: nobody wants a flood of history.
pub(super) async fn follow(bridge: Arc<Bridge>) {
    while let Err(error) = begin(&bridge).await {
        trouble(&bridge, &error).await;
    }
    loop {
        let directory = bridge.directory().await;
        match pass(&bridge, &directory).await {
            Ok(true) => {}
            Ok(false) => {
                bridge.board.store(None);
                bridge.wakes.outbox.notified().await;
                bridge.told.notify_one();
            }
            Err(error) => trouble(&bridge, &error).await,
        }
    }
}

async fn trouble(bridge: &Bridge, error: &anyhow::Error) {
    bridge.board.store(Some(format!("{error:#}")));
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn begin(bridge: &Bridge) -> anyhow::Result<()> {
    if bridge.store.feed_cursor(READER).await?.is_some() {
        return Ok(());
    }
    let end = bridge.store.feed_end().await?;
    let mut write = bridge.store.write().await?;
    move_feed_cursor(&mut write, READER, end).await?;
    write.commit().await
}

/// Reads on; says whether there may be more.
async fn pass(bridge: &Arc<Bridge>, directory: &Directory) -> anyhow::Result<bool> {
    let from = bridge.store.feed_cursor(READER).await?.unwrap_or_default();
    let rows = bridge.store.feed_after(from, BATCH).await?;
    for row in &rows {
        let fact = &row.fact;
        let plan = planned(bridge, directory, &bridge.clean(row)?).await?;
        let now = bridge.clock.now();
        let mut write = bridge.store.write().await?;
        if let Some(thread) = &plan.thread {
            insert_thread(&mut write, thread).await?;
        }
        for row in &plan.rows {
            // A question is asked all the same: without an answer the work would stand still.
            if !matches!(fact, Fact::Asked { .. }) && silenced(&mut write, row).await? {
                continue;
            }
            bridge.queue(&mut write, row, now).await?;
        }
        move_feed_cursor(&mut write, READER, row.seq).await?;
        write.commit().await?;
        if !plan.rows.is_empty() {
            bridge.queued.notify_one();
        }
        liveness::show(bridge, row).await?;
    }
    Ok(rows.len() == BATCH as usize)
}

async fn planned(bridge: &Bridge, directory: &Directory, row: &FeedRow) -> anyhow::Result<Plan> {
    let Some(turn) = &row.turn else { return Ok(Plan::default()) };
    let Some(prompt) = bridge.store.prompt(turn).await? else { return Ok(Plan::default()) };
    if let Fact::Steered { into } = &row.fact {
        let Some(opener) = bridge.store.prompt(into).await? else { return Ok(Plan::default()) };
        let home = home_of(bridge, directory, &opener).await?;
        return Ok(steered(row, &prompt, &opener, home));
    }
    let home = home_of(bridge, directory, &prompt).await?;
    Ok(plan(row, &prompt, home))
}

/// Where the turn is told that `prompt` opened.
async fn home_of(bridge: &Bridge, directory: &Directory, prompt: &Prompt) -> anyhow::Result<Home> {
    let at_place = match &prompt.place {
        Some(place) => bridge.store.slack_thread(&place.channel, &place.thread).await?,
        None => None,
    };
    let of_turn = bridge.store.slack_thread_of_turn(&prompt.id).await?;
    Ok(home(prompt, at_place, of_turn, directory.channel_of(&prompt.agent)))
}
