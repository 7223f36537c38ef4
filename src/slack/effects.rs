//! What follows from an arrival, stored together with its end: both or neither.

use jiff::Timestamp;

use super::authority::{Act, Refusal};
use super::away::{self, Change};
use super::from_slack::Directory;
use super::leave::{Leave, refusal_row};
use super::place_in_queue::{ahead, ordinal};
use super::{Bridge, fetch, question, wording};
use crate::model::{Answer, NewPrompt, Place, Slug};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread, insert_thread};
use crate::store::slack_in::{close_envelope, set_muted};
use crate::store::{
    Amended, Answered, Inserted, OutcomeMessage, VerdictMark, Write, answer_question, edit_prompt, give_verdict,
    insert_prompt, take_back, withdraw_verdict,
};

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
    /// Take an answer to a question, where it is the first; tell whoever came too late. What was said in words becomes a
    /// prompt then.
    Answer {
        seq: i64,
        act: Act,
        agent: Slug,
        answer: Answer,
        channel: String,
        thread: Option<String>,
        otherwise: Option<Box<Effect>>,
    },
    /// Store what somebody thinks of how a turn went, and tell the agent where it is told.
    Verdict { mark: VerdictMark, good: bool, outcome: OutcomeMessage, told: Option<(NewPrompt, Thread)> },
    /// Take such a word back.
    Withdraw { mark: VerdictMark },
    /// Tell whoever may not do what they meant to, alone.
    Refuse { channel: String, refusal: Refusal },
}

/// Stores the effects and that the arrival is settled: both or neither.
pub(super) async fn settle(
    bridge: &Bridge,
    directory: &Directory,
    seq: i64,
    leave: &Leave,
    effects: Vec<Effect>,
) -> anyhow::Result<()> {
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
        wake.extend(store(bridge, &mut write, leave, effect, now).await?);
    }
    if !wake.is_empty() {
        for row in queue_notes {
            bridge.queue(&mut write, &row, now).await?;
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
        Effect::Edit { key, body, correction, thread } => {
            leave.covers(Act::Steer, &correction.agent)?;
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
            bridge.queue(write, &row, now).await?;
        }
        Effect::React(row) => bridge.queue(write, &row, now).await?,
        Effect::Mute { thread, place, muted } => {
            insert_thread(write, &thread).await?;
            set_muted(write, &place, muted.then_some(now)).await?;
        }
        Effect::Channel(change) => away::store(write, &change, now).await?,
        Effect::Answer { seq, act, agent, answer, channel, thread, otherwise } => {
            leave.covers(act, &agent)?;
            match (answer_question(write, seq, &agent, &answer).await?, otherwise) {
                (Answered::Taken, _) => return Ok(Some(agent)),
                (_, Some(otherwise)) => return Box::pin(store(bridge, write, leave, *otherwise, now)).await,
                (Answered::TooLate(state), _) if question::is_by(&state, &answer) => {}
                (Answered::TooLate(state), _) => {
                    let row = question::late_row(seq, &state, &answer.user, channel, thread);
                    bridge.queue(write, &row, now).await?;
                }
                (Answered::Unknown, _) => {}
            }
        }
        Effect::Verdict { mark, good, outcome, told } => {
            leave.covers(Act::Approve, &outcome.agent)?;
            give_verdict(write, &mark, good, &outcome, now).await?;
            if let Some((prompt, thread)) = told
                && let Inserted::New(_) = insert_prompt(write, &prompt, now).await?
            {
                insert_thread(write, &thread).await?;
                return Ok(Some(prompt.agent));
            }
        }
        Effect::Withdraw { mark } => withdraw_verdict(write, &mark, now).await?,
        Effect::Refuse { channel, refusal } => {
            if let Some(row) = refusal_row(write, &channel, &refusal, now).await? {
                bridge.queue(write, &row, now).await?;
            }
        }
    }
    Ok(None)
}
