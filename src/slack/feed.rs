//! Reads the feed and stores what is to be said of it, together with how far was read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::Bridge;
use super::from_slack::Directory;
use super::progress::{Ending, Progress, is_progress_only, shows};
use super::to_slack::{Home, Known, Plan, home, left_over, plan, steered};
use super::{liveness, question};
use crate::model::{Fact, FeedRow, Prompt, PromptId, Source, StateName};
use crate::store::move_feed_cursor;
use crate::store::slack::insert_thread;
use crate::store::slack_in::silenced;

/// The bridge's name as a reader of the feed.
pub(super) const READER: &str = "slack";

/// The most rows in one pass.
const BATCH: u32 = 100;

/// How long a turn's own end may come after its prompt's.
const LAST_WORD: SignedDuration = SignedDuration::from_secs(30);

/// Follows the feed, for ever. The very first time it begins at the feed's end: nobody wants a flood of history.
pub(super) async fn follow(bridge: Arc<Bridge>) {
    while let Err(error) = begin(&bridge).await {
        trouble(&bridge, &error).await;
    }
    let mut turns = None;
    loop {
        let directory = bridge.directory().await;
        match step(&bridge, &directory, &mut turns).await {
            Ok(true) => {}
            Ok(false) => {
                if let Err(error) = question::tell(&bridge).await {
                    trouble(&bridge, &error).await;
                    continue;
                }
                bridge.board.store(None);
                bridge.wakes.outbox.notified().await;
                bridge.told.notify_one();
            }
            Err(error) => {
                // It may be ahead of what was stored.
                turns = None;
                trouble(&bridge, &error).await;
            }
        }
    }
}

/// Reads on, and once there is nothing more settles what nobody will tell; says whether there may be more.
async fn step(bridge: &Arc<Bridge>, directory: &Directory, turns: &mut Option<Turns>) -> anyhow::Result<bool> {
    let turns = match turns {
        Some(turns) => turns,
        None => turns.insert(Turns::load(bridge).await?),
    };
    let more = pass(bridge, directory, turns).await?;
    if !more {
        settle_left_over(bridge, directory, turns).await?;
    }
    Ok(more)
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

/// What is remembered of the turns that run; a restart reads it from the feed again.
#[derive(Debug, Default)]
struct Turns(HashMap<PromptId, Progress>);

impl Turns {
    /// The turns that ran when the bridge was last here.
    async fn load(bridge: &Bridge) -> anyhow::Result<Self> {
        let from = bridge.store.feed_cursor(READER).await?.unwrap_or_default();
        let mut turns = Self::default();
        for (agent, _) in &bridge.agents {
            let last = bridge.store.last_turns(agent, 1).await?.pop();
            let open = last.filter(|row| row.seq <= from && matches!(row.fact, Fact::TurnStarted { .. }));
            if let Some(turn) = open.and_then(|row| row.turn) {
                turns.before(bridge, &turn, from + 1).await?;
            }
        }
        Ok(turns)
    }

    /// How far a turn was before the row `seq`.
    async fn before(&mut self, bridge: &Bridge, turn: &PromptId, seq: i64) -> anyhow::Result<&mut Progress> {
        match self.0.entry(turn.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let rows = bridge.store.feed_of_turn(turn).await?;
                let mine = rows.iter().filter(|row| row.seq < seq && row.turn.as_ref() == Some(turn));
                Ok(unknown.insert(Progress::of(mine)))
            }
        }
    }
}

/// Reads on; says whether there may be more.
async fn pass(bridge: &Arc<Bridge>, directory: &Directory, turns: &mut Turns) -> anyhow::Result<bool> {
    let from = bridge.store.feed_cursor(READER).await?.unwrap_or_default();
    let rows = bridge.store.feed_after(from, BATCH).await?;
    let rows = rows.iter().map(|row| bridge.clean(row)).collect::<anyhow::Result<Vec<FeedRow>>>()?;
    for (index, row) in rows.iter().enumerate() {
        let later = &rows[index + 1..];
        let plan = planned(bridge, directory, row, later, turns).await?;
        // What follows from a row is stored with the place behind it; a row from which nothing follows can be read again.
        if !plan.is_empty() || later.is_empty() {
            store(bridge, plan, Some(row)).await?;
        }
        let works = |row: &FeedRow| matches!(row.fact, Fact::UsedTool { .. } | Fact::Todos { .. });
        if !works(row) || !later.iter().any(|next| next.turn == row.turn && works(next)) {
            liveness::show(bridge, row).await?;
        }
    }
    Ok(rows.len() == BATCH as usize)
}

/// Stores what is to be said, and that it was read as far as that row from which it follows.
async fn store(bridge: &Bridge, plan: Plan, row: Option<&FeedRow>) -> anyhow::Result<()> {
    // A question is asked in a muted thread too: without an answer the work would stand still.
    let heard = row.is_some_and(|row| matches!(row.fact, Fact::Asked { .. }));
    let now = bridge.clock.now();
    let queued = !plan.is_empty();
    let mut write = bridge.store.write().await?;
    for (thread, rows) in &plan.threads {
        insert_thread(&mut write, thread).await?;
        for row in rows {
            if heard || !silenced(&mut write, row).await? {
                bridge.queue(&mut write, row, now).await?;
            }
        }
    }
    if let Some(row) = row {
        move_feed_cursor(&mut write, READER, row.seq).await?;
    }
    write.commit().await?;
    if queued {
        bridge.queued.notify_one();
    }
    Ok(())
}

/// What follows from a row; `later` are the rows behind it.
async fn planned(
    bridge: &Bridge,
    directory: &Directory,
    row: &FeedRow,
    later: &[FeedRow],
    turns: &mut Turns,
) -> anyhow::Result<Plan> {
    let Some(turn) = &row.turn else { return Ok(Plan::default()) };
    let before = match row.fact {
        Fact::Held { .. } | Fact::Undelivered { .. } | Fact::Steered { .. } => Progress::default(),
        Fact::TurnStarted { .. } => turns.0.entry(turn.clone()).or_default().clone(),
        _ => turns.before(bridge, turn, row.seq).await?.clone(),
    };
    if let Some(progress) = turns.0.get_mut(turn) {
        *progress = std::mem::take(progress).with(&row.fact);
    }
    if matches!(row.fact, Fact::TurnEnded { .. }) {
        turns.0.remove(turn);
    }
    // The latest counts: a hundred tools that were used meanwhile are one edit.
    if is_progress_only(&row.fact, &before) && later.iter().any(|next| next.turn == row.turn && shows(&next.fact)) {
        return Ok(Plan::default());
    }
    let Some(prompt) = bridge.store.prompt(turn).await? else { return Ok(Plan::default()) };
    let home = home_of(bridge, directory, &prompt).await?;
    if let Fact::Steered { into } = &row.fact {
        let Some(opener) = bridge.store.prompt(into).await? else { return Ok(Plan::default()) };
        let there = home_of(bridge, directory, &opener).await?;
        return Ok(steered(row, &prompt, home, &opener, there));
    }
    let earlier = match (&row.fact, &home) {
        (Fact::TurnEnded { .. }, Home::Opened { thread, job }) if job.id != prompt.id => {
            let facts = bridge.store.ends_of_job(&job.id, thread.place().as_ref(), row.seq).await?;
            facts.iter().filter_map(Ending::of).collect()
        }
        _ => Vec::new(),
    };
    Ok(plan(row, &prompt, home, &before, &earlier))
}

/// Where the turn is told that `prompt` opened.
async fn home_of(bridge: &Bridge, directory: &Directory, prompt: &Prompt) -> anyhow::Result<Home> {
    let mut known = Known {
        of_turn: bridge.store.slack_thread_of_turn(&prompt.id).await?,
        channel: directory.channel_of(&prompt.agent).map(str::to_owned),
        ..Known::default()
    };
    if let Some(place) = &prompt.place {
        known.at_place = bridge.store.slack_thread(&place.channel, &place.thread).await?;
        // The lane of a thread that we opened is the name of the prompt that it was opened for.
        let opener = known.at_place.as_ref().and_then(|thread| thread.lane.parse().ok());
        if let (Some(opener), Source::Resume) = (opener, &prompt.source) {
            known.job = bridge.store.prompt(&opener).await?;
        }
    }
    Ok(home(prompt, known))
}

/// Tells of the turns that are over though no record of the agent's told so: delivery has closed the prompt, or the agent is
/// gone for good.
async fn settle_left_over(bridge: &Bridge, directory: &Directory, turns: &mut Turns) -> anyhow::Result<()> {
    let now = bridge.clock.now();
    for turn in turns.0.keys().cloned().collect::<Vec<_>>() {
        let known = bridge.store.prompt(&turn).await?;
        // What was given up is told as such.
        let Some(prompt) = known.filter(|prompt| !prompt.state.name().is_given_up()) else {
            turns.0.remove(&turn);
            continue;
        };
        let settled = prompt.state.name() == StateName::Done;
        let named = bridge.agents.iter().any(|(agent, _)| *agent == prompt.agent);
        let gone =
            !settled && !named && !bridge.store.retired_agents().await?.iter().any(|(agent, _)| *agent == prompt.agent);
        if !gone && (!settled || now.duration_since(prompt.since) < LAST_WORD) {
            continue;
        }
        let progress = turns.0.remove(&turn).unwrap_or_default();
        let home = home_of(bridge, directory, &prompt).await?;
        store(bridge, left_over(&prompt, home, &progress, gone), None).await?;
    }
    Ok(())
}
