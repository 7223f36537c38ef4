//! Acts on what arrived and was stored, once: each arrival's effects are stored together with its end.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::arrival::{Arrival, Callback, ChannelRef};
use super::from_slack::{Decision, Directory, decide, users_in};
use super::{Bridge, command, interaction};
use crate::model::{NewPrompt, Slug};
use crate::store::slack::{Envelope, NewOutboxRow, Thread, close_envelope, insert_outbox, insert_thread};
use crate::store::{Inserted, Write, insert_prompt};

/// What was settled is kept this long, so that a late second delivery is recognised.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What follows from an arrival, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Store a prompt, remember the thread as the agent's and say that it was heard; nothing where it is stored already.
    Prompt { prompt: NewPrompt, thread: Thread, ack: NewOutboxRow },
    /// Say something in a thread.
    Say { thread: Thread, row: NewOutboxRow },
}

/// What a person means to do, by the right that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Give an agent words, or have files given to it.
    Steer,
}

/// Acts on stored arrivals, for ever; first on those of an earlier life.
pub(super) async fn act(bridge: Arc<Bridge>) {
    bridge.directory().await;
    let mut pruned = Timestamp::MIN;
    loop {
        let now = bridge.clock.now();
        if now.duration_since(pruned) > SignedDuration::from_hours(24) {
            pruned = now;
            let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
            if let Err(error) = bridge.store.prune_slack(before).await {
                tracing::warn!("{error:#}");
            }
        }
        let directory = bridge.directory().await;
        match pass(&bridge, &directory).await {
            Ok(0) => {
                bridge.board.store(None);
                // The timeout is for the pruning alone: a stored arrival always wakes.
                let _ = tokio::time::timeout(Duration::from_secs(3600), bridge.arrived.notified()).await;
            }
            Ok(_) => {}
            Err(error) => {
                bridge.board.store(Some(format!("{error:#}")));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Acts on what is there; says how many arrivals that were.
async fn pass(bridge: &Bridge, directory: &Directory) -> anyhow::Result<usize> {
    let envelopes = bridge.store.open_envelopes(100).await?;
    for envelope in &envelopes {
        act_on(bridge, directory, envelope).await?;
    }
    Ok(envelopes.len())
}

async fn act_on(bridge: &Bridge, directory: &Directory, envelope: &Envelope) -> anyhow::Result<()> {
    let arrival = Arrival::read(&envelope.payload);
    let (deed, effects) = judge(bridge, directory, envelope.seq, &arrival).await?;
    // The one place that knows both who and what, whichever way it came in.
    if let (Some(person), Some(deed)) = (arrival.person(), deed) {
        tracing::debug!(user = person.user, team = person.team, ?deed, "somebody acts from slack");
    }
    settle(bridge, envelope.seq, effects).await
}

/// What follows from an arrival, and what its author means to do by it.
async fn judge(
    bridge: &Bridge,
    directory: &Directory,
    seq: i64,
    arrival: &Arrival,
) -> anyhow::Result<(Option<Deed>, Vec<Effect>)> {
    Ok(match arrival {
        Arrival::Post(callback) => match post(bridge, directory, callback).await? {
            Decision::Prompt { prompt, thread, ack } => {
                (Some(Deed::Steer), vec![Effect::Prompt { prompt, thread, ack }])
            }
            Decision::AnswerOnce { thread, answer } => (None, vec![Effect::Say { thread, row: answer }]),
            Decision::Ignore(reason) => {
                tracing::debug!("slack event {seq} is ignored: {reason}");
                (None, Vec::new())
            }
        },
        Arrival::Interaction(interaction) => (None, interaction::plan(interaction)),
        Arrival::Command(command) => (None, command::plan(command)),
        Arrival::Reaction(reaction) => {
            tracing::debug!(seq, kind = reaction.kind, reaction = reaction.reaction, "a reaction is nobody's");
            (None, Vec::new())
        }
        Arrival::Channel(event) => {
            let channel = event.channel.as_ref().map(ChannelRef::id);
            tracing::debug!(seq, kind = event.kind, channel, "news of a channel change nothing");
            (None, Vec::new())
        }
        Arrival::Home(home) => {
            tracing::debug!(seq, tab = home.tab, "there is no home to show");
            (None, Vec::new())
        }
        Arrival::Other(reason) => {
            tracing::debug!("slack event {seq} is ignored: {reason}");
            (None, Vec::new())
        }
    })
}

/// Stores the effects and that the arrival is settled: both or neither.
async fn settle(bridge: &Bridge, seq: i64, effects: Vec<Effect>) -> anyhow::Result<()> {
    let now = bridge.clock.now();
    let mut write = bridge.store.write_durably().await?;
    let mut wake = Vec::new();
    for effect in effects {
        wake.extend(store(&mut write, effect, now).await?);
    }
    close_envelope(&mut write, seq, now).await?;
    write.commit().await?;
    for agent in wake {
        // Nobody listens only while the daemon goes down; its next start reads the inbox itself.
        let _ = bridge.wakes.inbox.send(agent);
    }
    bridge.queued.notify_one();
    Ok(())
}

/// Stores one effect; the agent that got a prompt by it.
async fn store(write: &mut Write, effect: Effect, now: Timestamp) -> anyhow::Result<Option<Slug>> {
    let name = || Uuid::new_v4().simple().to_string();
    match effect {
        Effect::Prompt { prompt, thread, ack } => {
            if let Inserted::New(_) = insert_prompt(write, &prompt, now).await? {
                insert_thread(write, &thread).await?;
                insert_outbox(write, &name(), &ack, now).await?;
                return Ok(Some(prompt.agent));
            }
        }
        Effect::Say { thread, row } => {
            insert_thread(write, &thread).await?;
            insert_outbox(write, &name(), &row, now).await?;
        }
    }
    Ok(None)
}

async fn post(bridge: &Bridge, directory: &Directory, callback: &Callback) -> anyhow::Result<Decision> {
    let thread = match callback.event.reply_to() {
        Some((channel, ts)) => bridge.store.slack_thread(channel, ts).await?,
        None => None,
    };
    // Most events are decided without a name: it is asked for only where it will be used.
    let first = decide(callback, directory, thread.as_ref(), &Default::default());
    let Decision::Prompt { .. } = first else { return Ok(first) };
    let names = bridge.names.of(bridge, &users_in(&callback.event)).await;
    Ok(decide(callback, directory, thread.as_ref(), &names))
}
