//! Acts on what arrived and was stored, once: each arrival's effects are stored together with its end.
//!
//! What takes its time (files, a turn that is to be stopped) is done beside the others; only its own thread waits for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::arrival::{Arrival, Callback, Post, Reaction, SharedFile};
use super::authority::Act;
use super::away;
use super::catch_up::said_at;
use super::effects::{Effect, settle};
use super::fetch::fetch_all;
use super::from_slack::{Decision, Directory, Word, decide, prompt_key, reaction, skipped, users_in, word};
use super::leave::{self, Answer, Deed, Leave, pressed_for};
use super::people::PAUSE;
use super::{Ask, Bridge, Interrupted, interaction, question, verdict, wording};
use crate::model::{NewPrompt, Place, Slug};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread};
use crate::store::slack_in::Envelope;

/// What was settled is kept this long, so that a late second delivery is recognised.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The most arrivals that are looked at in one pass.
const BATCH: u32 = 500;

/// What takes its time before its effects are known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slow {
    /// Fetch the files of a message, then store its prompt.
    Fetch { prompt: Box<NewPrompt>, thread: Thread, ack: NewOutboxRow, files: Vec<SharedFile> },
    /// Break off the turn of a thread, and say so at the message that asked for it.
    Stop { agent: Slug, thread: Thread, place: Place, ts: String },
}

impl Slow {
    /// Whether it may be begun.
    fn is_covered(&self, leave: &Leave) -> anyhow::Result<()> {
        match self {
            Self::Fetch { prompt, .. } => leave.covers(Act::Steer, &prompt.agent),
            Self::Stop { agent, .. } => leave.covers(Act::Stop, agent),
        }
    }
}

/// What an arrival comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    Effects(Vec<Effect>),
    Slow(Box<Slow>),
}

/// What became of an arrival in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is settled, or begun.
    Acted,
    /// Somebody else settles it.
    HandedOn,
    /// Who did it can't be told now: it stays open.
    Waits,
}

/// What a pass came to.
struct Pass {
    acted: usize,
    /// Whether something stays open because it can't be told who did it.
    waits: bool,
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
            if let Err(error) = desk.bridge.store.forget_slack_known(before).await {
                tracing::warn!("{error:#}");
            }
        }
        match desk.pass().await {
            Ok(Pass { acted: 0, waits }) => {
                desk.bridge.board.store(None);
                desk.wait(waits).await;
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
    /// Until something arrives or is done, or it may be told who did what waits for that.
    async fn wait(&mut self, waits: bool) {
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
            // A stored arrival always wakes; the longer wait is for the pruning alone.
            () = tokio::time::sleep(if waits { PAUSE } else { Duration::from_secs(3600) }) => {}
        }
    }

    /// Acts on what is there.
    async fn pass(&mut self) -> anyhow::Result<Pass> {
        let directory = self.bridge.directory().await;
        let mut pass = Pass { acted: 0, waits: false };
        // Whoever waits keeps their own order, and so does a thread: nothing of either goes before it. What stands below a root
        // that waits would be taken for talk among people.
        let (mut waiting, mut waiting_lanes) = (HashSet::new(), HashSet::new());
        let mut after = 0;
        loop {
            // By pages, so that any number that waits keeps nobody else's from being acted on.
            let envelopes = self.bridge.store.open_envelopes_after(after, BATCH).await?;
            let Some(last) = envelopes.last() else { return Ok(pass) };
            after = last.seq;
            for envelope in &envelopes {
                let arrival = Arrival::read(&envelope.payload);
                let (lane, person) = (lane(&arrival), arrival.person().map(|person| person.user));
                // What is said in a thread stays in its order.
                let behind = lane.is_some() && self.under_way.values().any(|busy| *busy == lane);
                let behind = behind || person.as_ref().is_some_and(|person| waiting.contains(person));
                let behind = behind || lane.as_ref().is_some_and(|lane| waiting_lanes.contains(lane));
                if behind || self.under_way.contains_key(&envelope.seq) {
                    continue;
                }
                match self.act_on(&directory, envelope, &arrival, lane.clone()).await? {
                    Fate::Acted => pass.acted += 1,
                    Fate::HandedOn => {}
                    Fate::Waits => {
                        pass.waits = true;
                        waiting.extend(person);
                        waiting_lanes.extend(lane);
                    }
                }
            }
        }
    }

    async fn act_on(
        &mut self,
        directory: &Directory,
        envelope: &Envelope,
        arrival: &Arrival,
        lane: Option<String>,
    ) -> anyhow::Result<Fate> {
        let (bridge, seq) = (&self.bridge, envelope.seq);
        if let Arrival::Command(command) = arrival {
            bridge.orders.take(seq, command);
            return Ok(Fate::HandedOn);
        }
        let (deed, plan) = judge(bridge, directory, seq, arrival).await?;
        let (leave, plan) = match leave::ask(bridge, arrival, deed).await? {
            Answer::Yes(leave) => (leave, plan),
            Answer::No(told) => (Leave::Unneeded, Plan::Effects(told)),
            Answer::Later => return Ok(Fate::Waits),
        };
        match plan {
            Plan::Effects(effects) => settle(bridge, directory, seq, &leave, effects).await?,
            Plan::Slow(slow) => {
                slow.is_covered(&leave)?;
                self.under_way.insert(seq, lane);
                let (bridge, directory) = (Arc::clone(bridge), directory.clone());
                self.slow.spawn(async move {
                    let effects = carry_out(&bridge, *slow).await;
                    if let Err(error) = settle(&bridge, &directory, seq, &leave, effects).await {
                        // It stays open, and is begun again.
                        bridge.board.store(Some(format!("{error:#}")));
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    seq
                });
            }
        }
        Ok(Fate::Acted)
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
            let (deed, plan) = planned(decision, &callback.event).unwrap_or_else(ignored);
            (deed, answering(bridge, &callback.event, plan).await?)
        }
        Arrival::Reaction(reaction) => {
            bridge.hear(&reaction.item.channel);
            if let Some((deed, effect)) = verdict::judge(bridge, directory, reaction).await? {
                return Ok((deed, Plan::Effects(vec![effect])));
            }
            match stop_by_reaction(bridge, directory, reaction).await? {
                Some((agent, stop)) => (Some(Deed::new(Act::Stop, &agent)), Plan::Slow(Box::new(stop))),
                None => ignored("a reaction that asks for nothing"),
            }
        }
        Arrival::Channel(event) => match away::change(event, directory) {
            Some(change) => (None, Plan::Effects(vec![Effect::Channel(change)])),
            None => ignored("news of a channel that change nothing"),
        },
        Arrival::Interaction(interaction) => {
            if let Some((deed, effect)) = interaction::judge(bridge, directory, interaction).await? {
                return Ok((Some(deed), Plan::Effects(vec![effect])));
            }
            tracing::info!(kind = interaction.kind, "somebody pressed what is nobody's in slack");
            let agent = pressed_for(bridge, directory, interaction).await?;
            (agent.map(|agent| Deed::new(Act::Approve, &agent)), Plan::Effects(Vec::new()))
        }
        Arrival::Command(_) => ignored("a command that somebody else carries out"),
        Arrival::Home(home) => {
            if home.tab != "messages" {
                // Gone only while the bridge goes down; a home is written when it is opened again.
                bridge.homes.send(home.user.clone()).ok();
            }
            (None, Plan::Effects(Vec::new()))
        }
        Arrival::Other(reason) => ignored(reason),
    })
}

/// The same, but for words that answer a question which stands in their thread.
async fn answering(bridge: &Bridge, event: &Post, plan: Plan) -> anyhow::Result<Plan> {
    let Plan::Effects(effects) = plan else { return Ok(plan) };
    let by = event.user.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    for effect in effects {
        match effect {
            Effect::Prompt { prompt, thread, ack } => {
                all.extend(question::in_words(bridge, by, prompt, thread, ack).await?);
            }
            other => all.push(other),
        }
    }
    Ok(Plan::Effects(all))
}

/// What a decision comes to; the reason where it comes to nothing.
fn planned(decision: Decision, event: &Post) -> Result<(Option<Deed>, Plan), &'static str> {
    let steer = |agent: &Slug| Some(Deed::new(Act::Steer, agent));
    Ok(match decision {
        Decision::Prompt { prompt, thread, ack } if event.files.is_empty() => {
            (steer(&prompt.agent), Plan::Effects(vec![Effect::Prompt { prompt, thread, ack }]))
        }
        Decision::Prompt { prompt, thread, ack } => {
            let files = event.files.clone();
            let prompt = Box::new(prompt);
            (steer(&prompt.agent), Plan::Slow(Box::new(Slow::Fetch { prompt, thread, ack, files })))
        }
        Decision::Edit { key, body, correction, thread } => {
            (steer(&correction.agent), Plan::Effects(vec![Effect::Edit { key, body, correction, thread }]))
        }
        Decision::TakeBack { key, who } => (None, Plan::Effects(vec![Effect::TakeBack { key, who }])),
        Decision::Stop { agent, thread, root, ts } => {
            let place = Place { channel: event.channel.clone(), thread: root };
            (Some(Deed::new(Act::Stop, &agent)), Plan::Slow(Box::new(Slow::Stop { agent, thread, place, ts })))
        }
        Decision::Mute { thread, root, muted, ts } => {
            let place = Place { channel: event.channel.clone(), thread: root };
            let emoji = if muted { wording::MUTE_EMOJI.0 } else { wording::MUTE_EMOJI.1 };
            let told = Effect::React(reaction(emoji, &event.channel, &ts));
            let deed = thread.agent.as_ref().and_then(steer);
            (deed, Plan::Effects(vec![Effect::Mute { thread, place, muted }, told]))
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
async fn stop_by_reaction(
    bridge: &Bridge,
    directory: &Directory,
    reaction: &Reaction,
) -> anyhow::Result<Option<(Slug, Slow)>> {
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
    Ok(Some((agent.clone(), Slow::Stop { agent, thread, place, ts: item.ts.clone() })))
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
