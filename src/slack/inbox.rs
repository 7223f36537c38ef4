//! Acts on what arrived and was stored, once: each arrival's effects are stored together with its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::arrival::{Arrival, Callback, ChannelRef, Interaction};
use super::authority::{Act, Permit, Refusal, Why};
use super::from_slack::{Decision, Directory, decide, users_in};
use super::people::{PAUSE, Verdict, check};
use super::{Bridge, interaction, wording_fleet};
use crate::model::{NewPrompt, Slug};
use crate::store::slack::{Envelope, NewOutboxRow, OutboxAction, Said, Thread, close_envelope, insert_thread};
use crate::store::slack_people::last_outbox_key;
use crate::store::{Inserted, Write, insert_prompt};

/// What was settled is kept this long, so that a late second delivery is recognised.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Nobody is told twice within this time, in one channel, that they may not.
const TOLD: SignedDuration = SignedDuration::from_hours(1);

/// What follows from an arrival, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Store a prompt, remember the thread as the agent's and say that it was heard; nothing where it is stored already.
    Prompt { prompt: NewPrompt, thread: Thread, ack: NewOutboxRow },
    /// Say something in a thread.
    Say { thread: Thread, row: NewOutboxRow },
    /// Tell whoever may not do what they meant to, alone.
    Refuse { channel: String, refusal: Refusal },
}

/// What a person means to do with an agent, by the right that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) act: Act,
    pub(super) agent: Slug,
}

/// Whose leave the effects of an arrival have.
#[derive(Debug)]
enum Leave {
    /// Nobody's: nothing is done with an agent.
    Unneeded,
    /// A person's.
    Given(Permit),
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is settled.
    Settled,
    /// Somebody else settles it.
    HandedOn,
    /// Who did it can't be told now: it stays open.
    Waits,
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
            if let Err(error) = bridge.store.forget_slack_known(before).await {
                tracing::warn!("{error:#}");
            }
        }
        let directory = bridge.directory().await;
        match pass(&bridge, &directory).await {
            Ok(Pass { settled: 0, waits }) => {
                bridge.board.store(None);
                // A stored arrival always wakes; the longer wait is for the pruning alone.
                let most = if waits { PAUSE } else { Duration::from_secs(3600) };
                let _ = tokio::time::timeout(most, bridge.arrived.notified()).await;
            }
            Ok(_) => {}
            Err(error) => {
                bridge.board.store(Some(format!("{error:#}")));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// What a pass came to.
struct Pass {
    settled: usize,
    /// Whether something stays open because it can't be told who did it.
    waits: bool,
}

/// Acts on what is there.
async fn pass(bridge: &Bridge, directory: &Directory) -> anyhow::Result<Pass> {
    let mut pass = Pass { settled: 0, waits: false };
    // Whoever waits keeps their own order: nothing of theirs goes before it.
    let mut waiting = HashSet::new();
    let mut after = 0;
    loop {
        // By pages, so that any number that waits keeps nobody else's from being acted on.
        let envelopes = bridge.store.open_envelopes_after(after, 100).await?;
        let Some(last) = envelopes.last() else { return Ok(pass) };
        after = last.seq;
        for envelope in &envelopes {
            let arrival = Arrival::read(&envelope.payload);
            let person = arrival.person().map(|person| person.user);
            if person.as_ref().is_some_and(|person| waiting.contains(person)) {
                continue;
            }
            match act_on(bridge, directory, envelope, &arrival).await? {
                Fate::Settled => pass.settled += 1,
                Fate::HandedOn => {}
                Fate::Waits => {
                    pass.waits = true;
                    waiting.extend(person);
                }
            }
        }
    }
}

async fn act_on(
    bridge: &Bridge,
    directory: &Directory,
    envelope: &Envelope,
    arrival: &Arrival,
) -> anyhow::Result<Fate> {
    if let Arrival::Command(command) = arrival {
        bridge.orders.take(envelope.seq, command);
        return Ok(Fate::HandedOn);
    }
    let (deed, effects) = judge(bridge, directory, envelope.seq, arrival).await?;
    // The one place that knows both who and what, whichever way it came in.
    let (leave, effects) = match (arrival.person(), deed) {
        (Some(person), Some(deed)) => match check(bridge, &person.user, deed.act, &deed.agent).await? {
            Verdict::Permitted(permit) => {
                let (user, agent) = (permit.user(), permit.agent());
                tracing::debug!(user, %agent, act = permit.act().word(), way = arrival.way(), "acts from slack");
                (Leave::Given(permit), effects)
            }
            Verdict::Refused(refusal) => {
                refusal.log(arrival.way());
                // A program does not read it.
                let told = arrival.channel().filter(|_| !matches!(refusal.why, Why::Bot | Why::Deleted));
                let told = told.map(|channel| Effect::Refuse { channel: channel.to_owned(), refusal });
                (Leave::Unneeded, told.into_iter().collect())
            }
            Verdict::Waits => return Ok(Fate::Waits),
        },
        (None, Some(_)) => (Leave::Unneeded, Vec::new()),
        (_, None) => (Leave::Unneeded, effects),
    };
    settle(bridge, envelope.seq, &leave, effects).await?;
    Ok(Fate::Settled)
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
                let deed = Deed { act: Act::Steer, agent: prompt.agent.clone() };
                (Some(deed), vec![Effect::Prompt { prompt, thread, ack }])
            }
            Decision::AnswerOnce { thread, answer } => (None, vec![Effect::Say { thread, row: answer }]),
            Decision::Ignore(reason) => {
                tracing::debug!("slack event {seq} is ignored: {reason}");
                (None, Vec::new())
            }
        },
        Arrival::Interaction(interaction) => {
            let agent = pressed_for(bridge, directory, interaction).await?;
            (agent.map(|agent| Deed { act: Act::Approve, agent }), interaction::plan(interaction))
        }
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
            if home.tab != "messages" {
                // Gone only while the bridge goes down; a home is written when it is opened again.
                bridge.homes.send(home.user.clone()).ok();
            }
            (None, Vec::new())
        }
        Arrival::Command(_) => (None, Vec::new()),
        Arrival::Other(reason) => {
            tracing::debug!("slack event {seq} is ignored: {reason}");
            (None, Vec::new())
        }
    })
}

/// Stores the effects and that the arrival is settled: both or neither.
async fn settle(bridge: &Bridge, seq: i64, leave: &Leave, effects: Vec<Effect>) -> anyhow::Result<()> {
    let now = bridge.clock.now();
    let mut write = bridge.store.write_durably().await?;
    let mut wake = Vec::new();
    for effect in effects {
        wake.extend(store(bridge, &mut write, leave, effect, now).await?);
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
async fn store(
    bridge: &Bridge,
    write: &mut Write,
    leave: &Leave,
    effect: Effect,
    now: Timestamp,
) -> anyhow::Result<Option<Slug>> {
    match effect {
        Effect::Prompt { prompt, thread, ack } => {
            leave.covers(Act::Steer, &prompt.agent)?;
            if let Inserted::New(_) = insert_prompt(write, &prompt, now).await? {
                insert_thread(write, &thread).await?;
                bridge.queue(write, &ack, now).await?;
                return Ok(Some(prompt.agent));
            }
        }
        Effect::Say { thread, row } => {
            insert_thread(write, &thread).await?;
            bridge.queue(write, &row, now).await?;
        }
        Effect::Refuse { channel, refusal } => {
            if let Some(row) = refusal_row(write, &channel, &refusal, now).await? {
                bridge.queue(write, &row, now).await?;
            }
        }
    }
    Ok(None)
}

/// What tells a refusal; none where the same person was told one in that channel within the hour.
async fn refusal_row(
    write: &mut Write,
    channel: &str,
    refusal: &Refusal,
    now: Timestamp,
) -> anyhow::Result<Option<NewOutboxRow>> {
    let prefix = format!("refused/{channel}/{}/", refusal.user);
    let last = last_outbox_key(write, &prefix).await?;
    let told = last.and_then(|key| key.strip_prefix(&prefix)?.parse::<i64>().ok());
    let told = told.and_then(|second| Timestamp::from_second(second).ok());
    if told.is_some_and(|told| now.duration_since(told).abs() < TOLD) {
        return Ok(None);
    }
    Ok(Some(NewOutboxRow {
        // As many digits for every time there will be: the greatest key is the latest.
        dedup_key: format!("{prefix}{:012}", now.as_second()),
        lane: format!("whisper/{}", refusal.user),
        channel: channel.to_owned(),
        action: OutboxAction::Whisper {
            user: refusal.user.clone(),
            thread: None,
            said: Said::text(wording_fleet::refused(refusal)),
        },
    }))
}

impl Leave {
    /// The last line: what was not judged is an error, whatever led to it.
    fn covers(&self, act: Act, agent: &Slug) -> anyhow::Result<()> {
        match self {
            Self::Given(permit) if permit.act() == act && permit.agent() == agent => Ok(()),
            _ => anyhow::bail!("nobody gave leave to {} {agent}: nothing was done", act.word()),
        }
    }
}

/// The agent for whom something was pressed.
async fn pressed_for(
    bridge: &Bridge,
    directory: &Directory,
    interaction: &Interaction,
) -> anyhow::Result<Option<Slug>> {
    let Some(channel) = &interaction.channel else { return Ok(None) };
    let thread = match &interaction.message {
        Some(message) => {
            let root = message.thread_ts.as_ref().unwrap_or(&message.ts);
            bridge.store.slack_thread(&channel.id, root).await?
        }
        None => None,
    };
    Ok(directory.owner(&channel.id, thread.as_ref()).cloned())
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
