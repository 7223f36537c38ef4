//! Acts on what arrived and was stored, once: each arrival's effects are stored together with its end.
//!
//! What takes its time (files, a turn that is to be stopped) is done beside the others; only its own thread waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::arrival::{Arrival, Callback, Post, Reaction, SharedFile};
use super::away::{self, Change};
use super::catch_up::said_at;
use super::fetch::{self, fetch_all};
use super::from_slack::{Decision, Directory, Word, decide, prompt_key, reaction, skipped, users_in, word};
use super::place_in_queue::{ahead, ordinal};
use super::{Ask, Bridge, Interrupted, command, interaction, wording};
use crate::model::{NewPrompt, Place, Slug};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread, insert_outbox, insert_thread};
use crate::store::slack_in::{Envelope, close_envelope, set_muted};
use crate::store::{Amended, Inserted, Write, edit_prompt, insert_prompt, take_back};

/// What was settled is kept this long, so that a late second delivery is recognised.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The most arrivals that are looked at in one pass.
const BATCH: u32 = 500;

/// What follows from an arrival, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Store a prompt, remember the thread as the agent's and say that it was heard; nothing where it is stored already.
    Prompt { prompt: NewPrompt, thread: Thread, ack: NewOutboxRow },
    /// Give a prompt of which nothing was typed this text; else pass `correction` on.
    Edit { key: String, body: String, correction: NewPrompt, thread: Thread },
    /// Take a prompt back of which nothing was typed.
    TakeBack { key: String, who: String },
    /// Say something in a thread.
    Say { thread: Thread, row: NewOutboxRow },
    /// Set a reaction.
    React(NewOutboxRow),
    /// Silence the agent's posts in a thread, or let them be heard again.
    Mute { thread: Thread, place: Place, muted: bool },
    /// A channel has changed.
    Channel(Change),
}

/// What takes its time before its effects are known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slow {
    /// Fetch the files of a message, then store its prompt.
    Fetch { prompt: Box<NewPrompt>, thread: Thread, ack: NewOutboxRow, files: Vec<SharedFile> },
    /// Break off the turn of a thread, and say so at the message that asked for it.
    Stop { agent: Slug, thread: Thread, place: Place, ts: String },
}

/// What an arrival comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    Effects(Vec<Effect>),
    Slow(Box<Slow>),
}

/// What a person means to do, by the right that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Give an agent words, or have files given to it.
    Steer,
    /// Break a turn off.
    Stop,
}

/// Acts on stored arrivals, for ever; first on those of an earlier life.
pub(super) async fn act(bridge: Arc<Bridge>) {
    bridge.directory().await;
    let mut desk = Desk { bridge, slow: JoinSet::new(), under_way: HashMap::new() };
    let mut pruned = Timestamp::MIN;
    loop {
        let now = desk.bridge.clock.now();
        if now.duration_since(pruned) > SignedDuration::from_hours(24) {
            pruned = now;
            let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
            if let Err(error) = desk.bridge.store.prune_slack(before).await {
                tracing::warn!("{error:#}");
            }
        }
        match desk.pass().await {
            Ok(0) => {
                desk.bridge.board.store(None);
                desk.wait().await;
            }
            Ok(_) => {}
            Err(error) => {
                desk.bridge.board.store(Some(format!("{error:#}")));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// What is being done about the arrivals.
struct Desk {
    bridge: Arc<Bridge>,
    slow: JoinSet<i64>,
    /// The thread of each arrival that takes its time.
    under_way: HashMap<i64, Option<String>>,
}

impl Desk {
    /// Until something arrives or is done.
    async fn wait(&mut self) {
        tokio::select! {
            Some(done) = self.slow.join_next() => match done {
                Ok(seq) => drop(self.under_way.remove(&seq)),
                // Whichever it was that panicked, it is begun again.
                Err(error) => {
                    tracing::error!("fleetd has a defect: {error}");
                    self.under_way.clear();
                }
            },
            () = self.bridge.arrived.notified() => {}
            // For the pruning alone: a stored arrival always wakes.
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
    }

    /// Acts on what is there; says how many arrivals were settled or begun.
    async fn pass(&mut self) -> anyhow::Result<usize> {
        let directory = self.bridge.directory().await;
        let envelopes = self.bridge.store.open_envelopes(BATCH).await?;
        let mut acted = 0;
        for envelope in &envelopes {
            if self.under_way.contains_key(&envelope.seq) {
                continue;
            }
            let arrival = Arrival::read(&envelope.payload);
            let lane = lane(&arrival);
            // What is said in a thread stays in its order.
            if lane.is_some() && self.under_way.values().any(|busy| *busy == lane) {
                continue;
            }
            self.act_on(&directory, envelope, &arrival, lane).await?;
            acted += 1;
        }
        Ok(acted)
    }

    async fn act_on(
        &mut self,
        directory: &Directory,
        envelope: &Envelope,
        arrival: &Arrival,
        lane: Option<String>,
    ) -> anyhow::Result<()> {
        let (bridge, seq) = (&self.bridge, envelope.seq);
        let (deed, plan) = judge(bridge, directory, seq, arrival).await?;
        // The one place that knows both who and what, whichever way it came in.
        if let (Some(person), Some(deed)) = (arrival.person(), deed) {
            tracing::debug!(user = person.user, team = person.team, ?deed, "somebody acts from slack");
        }
        match plan {
            Plan::Effects(effects) => settle(bridge, directory, seq, effects).await,
            Plan::Slow(slow) => {
                self.under_way.insert(seq, lane);
                let (bridge, directory) = (Arc::clone(bridge), directory.clone());
                self.slow.spawn(async move {
                    let effects = carry_out(&bridge, *slow).await;
                    if let Err(error) = settle(&bridge, &directory, seq, effects).await {
                        // It stays open, and is begun again.
                        bridge.board.store(Some(format!("{error:#}")));
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    seq
                });
                Ok(())
            }
        }
    }
}

/// The thread whose order an arrival keeps; none where it keeps none: a stop must not wait for what it is to stop.
fn lane(arrival: &Arrival) -> Option<String> {
    let Arrival::Post(callback) = arrival else { return None };
    let event = &callback.event;
    let post = event.message.as_deref().or(event.previous_message.as_deref()).unwrap_or(event);
    let words = post.text.split('>').next_back().unwrap_or_default();
    if word(words) == Some(Word::Stop) {
        return None;
    }
    let root = post.thread_ts.as_deref().or(event.deleted_ts.as_deref()).unwrap_or(&post.ts);
    Some(format!("{}/{root}", event.channel))
}

/// What follows from an arrival, and what its author means to do by it.
async fn judge(
    bridge: &Bridge,
    directory: &Directory,
    seq: i64,
    arrival: &Arrival,
) -> anyhow::Result<(Option<Deed>, Plan)> {
    let ignored = |reason: &str| {
        tracing::debug!("slack event {seq} is ignored: {reason}");
        (None, Plan::Effects(Vec::new()))
    };
    Ok(match arrival {
        Arrival::Post(callback) => {
            bridge.hear(&callback.event.channel);
            let decision = in_time(bridge, callback, post(bridge, directory, callback).await?).await?;
            planned(decision, &callback.event).unwrap_or_else(ignored)
        }
        Arrival::Reaction(reaction) => {
            bridge.hear(&reaction.item.channel);
            match stop_by_reaction(bridge, directory, reaction).await? {
                Some(stop) => (Some(Deed::Stop), Plan::Slow(Box::new(stop))),
                None => ignored("a reaction that asks for nothing"),
            }
        }
        Arrival::Channel(event) => match away::change(event, directory) {
            Some(change) => (None, Plan::Effects(vec![Effect::Channel(change)])),
            None => ignored("news of a channel that change nothing"),
        },
        Arrival::Interaction(interaction) => (None, Plan::Effects(interaction::plan(interaction))),
        Arrival::Command(command) => (None, Plan::Effects(command::plan(command))),
        Arrival::Home(_) => ignored("there is no home to show"),
        Arrival::Other(reason) => ignored(reason),
    })
}

/// What a decision comes to; the reason where it comes to nothing.
fn planned(decision: Decision, event: &Post) -> Result<(Option<Deed>, Plan), &'static str> {
    let steer = |effect| (Some(Deed::Steer), Plan::Effects(vec![effect]));
    Ok(match decision {
        Decision::Prompt { prompt, thread, ack } if event.files.is_empty() => {
            steer(Effect::Prompt { prompt, thread, ack })
        }
        Decision::Prompt { prompt, thread, ack } => {
            let files = event.files.clone();
            let prompt = Box::new(prompt);
            (Some(Deed::Steer), Plan::Slow(Box::new(Slow::Fetch { prompt, thread, ack, files })))
        }
        Decision::Edit { key, body, correction, thread } => steer(Effect::Edit { key, body, correction, thread }),
        Decision::TakeBack { key, who } => (None, Plan::Effects(vec![Effect::TakeBack { key, who }])),
        Decision::Stop { agent, thread, root, ts } => {
            let place = Place { channel: event.channel.clone(), thread: root };
            (Some(Deed::Stop), Plan::Slow(Box::new(Slow::Stop { agent, thread, place, ts })))
        }
        Decision::Mute { thread, root, muted, ts } => {
            let place = Place { channel: event.channel.clone(), thread: root };
            let emoji = if muted { wording::MUTE_EMOJI.0 } else { wording::MUTE_EMOJI.1 };
            let told = Effect::React(reaction(emoji, &event.channel, &ts));
            (Some(Deed::Steer), Plan::Effects(vec![Effect::Mute { thread, place, muted }, told]))
        }
        Decision::AnswerOnce { thread, answer } => (None, Plan::Effects(vec![Effect::Say { thread, row: answer }])),
        Decision::Ignore(reason) => return Err(reason),
    })
}

async fn post(bridge: &Bridge, directory: &Directory, callback: &Callback) -> anyhow::Result<Decision> {
    let event = &callback.event;
    let thread = match event.message.as_deref().unwrap_or(event).thread_ts.as_deref() {
        Some(ts) => bridge.store.slack_thread(&event.channel, ts).await?,
        None => None,
    };
    // Most events are decided without a name: it is asked for only where it will be used.
    let first = decide(callback, directory, thread.as_ref(), &Default::default());
    if matches!(first, Decision::Ignore(_) | Decision::AnswerOnce { .. } | Decision::Stop { .. }) {
        return Ok(first);
    }
    let names = bridge.names.of(bridge, &users_in(event, &directory.team)).await;
    Ok(decide(callback, directory, thread.as_ref(), &names))
}

/// What the history told of too long ago is not passed on, unless it was before. Only the history is judged so: by a wrong clock
/// of the box, everything would be old.
async fn in_time(bridge: &Bridge, callback: &Callback, decision: Decision) -> anyhow::Result<Decision> {
    let Decision::Prompt { prompt, thread, .. } = &decision else { return Ok(decision) };
    let said = said_at(&callback.event.ts).unwrap_or(Timestamp::MAX);
    let late = bridge.clock.now().duration_since(said) > SignedDuration::try_from(bridge.catch_up)?;
    if !callback.read_back || !late {
        return Ok(decision);
    }
    if bridge.store.prompt_of_key(&prompt.dedup_key).await?.is_some() {
        return Ok(Decision::Ignore("it was passed on before"));
    }
    let answer = skipped(thread, bridge.catch_up.as_secs() / 3600);
    Ok(Decision::AnswerOnce { thread: thread.clone(), answer })
}

/// The turn that a reaction asks to stop: that of the thread below the message it stands on, or of the prompt that this is.
async fn stop_by_reaction(bridge: &Bridge, directory: &Directory, reaction: &Reaction) -> anyhow::Result<Option<Slow>> {
    let item = &reaction.item;
    if reaction.kind != "reaction_added"
        || reaction.reaction != wording::STOP_EMOJI
        || reaction.user == directory.bot_user
    {
        return Ok(None);
    }
    let prompt = bridge.store.prompt_of_key(&prompt_key(&reaction.team_id, &item.channel, &item.ts)).await?;
    let place = prompt.and_then(|prompt| prompt.place);
    let place = place.unwrap_or_else(|| Place { channel: item.channel.clone(), thread: item.ts.clone() });
    let thread = bridge.store.slack_thread(&place.channel, &place.thread).await?;
    let Some(thread) = thread else { return Ok(None) };
    let Some(agent) = directory.owner(&place.channel, Some(&thread)).cloned() else { return Ok(None) };
    Ok(Some(Slow::Stop { agent, thread, place, ts: item.ts.clone() }))
}

/// Does what takes its time.
async fn carry_out(bridge: &Bridge, slow: Slow) -> Vec<Effect> {
    match slow {
        Slow::Fetch { mut prompt, thread, ack, files } => {
            let lines = fetch_all(bridge, &prompt.agent, &files).await;
            prompt.body.push_str(&lines);
            vec![Effect::Prompt { prompt: *prompt, thread, ack }]
        }
        Slow::Stop { agent, thread, place, ts } => {
            let (answer, answered) = oneshot::channel();
            let asked = Ask::Interrupt { agent, place, answer };
            let done = match bridge.wakes.asks.send(asked) {
                Ok(()) => answered.await.ok(),
                Err(_) => None,
            };
            let said = |text: String| {
                let row = NewOutboxRow {
                    dedup_key: format!("stop/{}/{ts}", thread.channel),
                    lane: thread.lane.clone(),
                    channel: thread.channel.clone(),
                    action: OutboxAction::Reply { said: Said::text(text) },
                };
                vec![Effect::Say { thread: thread.clone(), row }]
            };
            match done {
                Some(Interrupted::Pressed) => {
                    vec![Effect::React(reaction(wording::STOP_EMOJI, &thread.channel, &ts))]
                }
                Some(Interrupted::NotThere) => said(wording::nothing_to_stop()),
                Some(Interrupted::Failed(why)) => said(wording::not_stopped(&why)),
                None => said(wording::not_stopped("fleetd is about to end")),
            }
        }
    }
}

/// Stores the effects and that the arrival is settled: both or neither.
async fn settle(bridge: &Bridge, directory: &Directory, seq: i64, effects: Vec<Effect>) -> anyhow::Result<()> {
    let now = bridge.clock.now();
    let mut channels = false;
    for effect in &effects {
        if let Effect::Channel(change) = effect {
            bridge.tell_change(&seq.to_string(), change, directory).await?;
            channels = true;
        }
    }
    let mut queue_notes = Vec::new();
    for effect in &effects {
        queue_notes.extend(queue_note(bridge, effect).await?);
    }
    let mut write = bridge.store.write_durably().await?;
    let mut wake = Vec::new();
    for effect in effects {
        wake.extend(store(&mut write, effect, now).await?);
    }
    if !wake.is_empty() {
        for row in queue_notes {
            insert_outbox(&mut write, &name(), &row, now).await?;
        }
    }
    close_envelope(&mut write, seq, now).await?;
    write.commit().await?;
    for agent in wake {
        // Nobody listens only while the daemon goes down; its next start reads the inbox itself.
        bridge.wakes.inbox.send(agent).ok();
    }
    bridge.queued.notify_one();
    if channels {
        bridge.read_away().await?;
        bridge.look_around.notify_one();
        bridge.reconnected.notify_one();
    }
    Ok(())
}

fn name() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Tells a person what their prompt waits for, where it does.
async fn queue_note(bridge: &Bridge, effect: &Effect) -> anyhow::Result<Option<NewOutboxRow>> {
    let Effect::Prompt { prompt, thread, .. } = effect else { return Ok(None) };
    let Some(place) = &prompt.place else { return Ok(None) };
    let open = bridge.store.open_prompts(&prompt.agent).await?;
    Ok(ahead(&open, place).map(|ahead| NewOutboxRow {
        dedup_key: format!("queue/{}", prompt.dedup_key),
        lane: thread.lane.clone(),
        channel: thread.channel.clone(),
        action: OutboxAction::Reply {
            said: Said::text(wording::in_queue(&ordinal(ahead.place), &ahead.behind.0, &ahead.behind.1)),
        },
    }))
}

/// Stores one effect; the agent that got a prompt by it.
async fn store(write: &mut Write, effect: Effect, now: Timestamp) -> anyhow::Result<Option<Slug>> {
    match effect {
        Effect::Prompt { prompt, thread, ack } => {
            if let Inserted::New(_) = insert_prompt(write, &prompt, now).await? {
                insert_thread(write, &thread).await?;
                insert_outbox(write, &name(), &ack, now).await?;
                return Ok(Some(prompt.agent));
            }
        }
        Effect::Edit { key, body, correction, thread } => {
            // What names its files stays behind the new text.
            let with_files = |old: &str| match old.find(fetch::HEAD) {
                Some(files) => format!("{body}{}", &old[files..]),
                None => body.clone(),
            };
            let edited = edit_prompt(write, &key, with_files, &correction.who, now).await?;
            if edited == Amended::TooLate
                && let Inserted::New(_) = insert_prompt(write, &correction, now).await?
            {
                insert_thread(write, &thread).await?;
                return Ok(Some(correction.agent));
            }
        }
        Effect::TakeBack { key, who } => drop(take_back(write, &key, &who, now).await?),
        Effect::Say { thread, row } => {
            insert_thread(write, &thread).await?;
            insert_outbox(write, &name(), &row, now).await?;
        }
        Effect::React(row) => insert_outbox(write, &name(), &row, now).await?,
        Effect::Mute { thread, place, muted } => {
            insert_thread(write, &thread).await?;
            set_muted(write, &place, muted.then_some(now)).await?;
        }
        Effect::Channel(change) => away::store(write, &change, now).await?,
    }
    Ok(None)
}
