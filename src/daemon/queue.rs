//! What waits, and what a person does about it: take a prompt back, give it again, hold an agent, let it go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use futures_util::future::join_all;

use super::event::Event;
use super::fleet::Running;
use super::post::AgentPost;
use super::protocol::{QueuedPrompt, StoppedAgent};
use crate::delivery::Interrupt;
use crate::model::text::first_line;
use crate::model::{Evidence, NewPrompt, Prompt, PromptId, PromptState, Slug, Source, StateName, TIME_TO_LIVE};

/// Everything that waits, is under way or is uncertain, first come first.
pub async fn waiting(running: &Running, agent: Option<&Slug>) -> anyhow::Result<Vec<QueuedPrompt>> {
    let prompts = running.store.waiting_prompts(agent).await?;
    Ok(prompts.into_iter().map(|prompt| shown(running, prompt)).collect())
}

fn shown(running: &Running, prompt: Prompt) -> QueuedPrompt {
    let held = match (prompt.state.name(), running.agent(&prompt.agent)) {
        (StateName::Queued | StateName::Deferred, Some(post)) => post.hold(),
        (StateName::Queued | StateName::Deferred, None) => Some("agents.yaml does not name it any more".to_owned()),
        _ => None,
    };
    QueuedPrompt {
        text: first_line(&prompt.body, 80),
        state: prompt.state.name().as_str().to_owned(),
        id: prompt.id,
        agent: prompt.agent,
        source: prompt.source,
        who: prompt.who,
        at: prompt.created,
        expires: prompt.expires,
        mode: prompt.mode,
        held,
    }
}

/// Takes a prompt back. What is being typed, or was taken, can't be: that would be a lie about what the agent does.
pub async fn cancel(running: &Running, prompt: &Prompt, who: &str) -> anyhow::Result<()> {
    let id = &prompt.id;
    match prompt.state.name() {
        StateName::Queued | StateName::Deferred | StateName::Uncertain => {}
        StateName::Typing | StateName::Submitted => bail!("{id} is on its way into the pane: too late to take it back"),
        state => bail!("{id} is {} already: there is nothing to take back", state.as_str()),
    }
    let state = PromptState::Cancelled { by: who.to_owned() };
    moved(running.store.advance(prompt, &state, &format!("cancelled by {who}"), running.clock.now()).await?, id)?;
    running.tell(Event::Inbox(prompt.agent.clone()));
    running.tell(Event::Progress(prompt.agent.clone()));
    Ok(())
}

/// Gives a prompt again that was given up, and answers its id. Where something of it was typed before, it is a new prompt:
/// what the agent's record or screen still shows of the first try must not speak for the second, and the other way round.
pub async fn retry(running: &Running, prompt: &Prompt, who: &str) -> anyhow::Result<PromptId> {
    let id = &prompt.id;
    if !prompt.state.name().is_given_up() {
        bail!(
            "{id} is {}: only what failed, expired, was cancelled or is uncertain can be given again",
            prompt.state.name().as_str()
        );
    }
    if running.store.evidence(id).await?.iter().any(|row| row.exact) {
        bail!("the agent's own record holds {id}: it was taken (`fleet trace {id}`)");
    }
    let now = running.clock.now();
    let nudge = matches!(prompt.source, Source::Nudge { .. });
    let again = if nudge || running.store.typed_text(id).await?.is_some() {
        let new = NewPrompt {
            id: PromptId::random(),
            agent: prompt.agent.clone(),
            // A nudge's day may be over: by hand it is one beside the day's own.
            source: if nudge { Source::NudgeByHand } else { prompt.source.clone() },
            who: prompt.who.clone(),
            dedup_key: format!("retry/{id}/{}", PromptId::random()),
            body: prompt.body.clone(),
            place: prompt.place.clone(),
            expires: None,
            mode: prompt.mode,
        };
        running.store.insert_prompt(&new, now).await?.id().clone()
    } else {
        let expires = now.checked_add(TIME_TO_LIVE)?;
        moved(running.store.requeue(prompt, expires, &format!("given again by {who}"), now).await?, id)?;
        id.clone()
    };
    running.tell(Event::Inbox(prompt.agent.clone()));
    Ok(again)
}

fn moved(moved: bool, id: &PromptId) -> anyhow::Result<()> {
    if moved { Ok(()) } else { bail!("{id} has just moved on: look at `fleet trace {id}` and try again") }
}

/// Holds agents: what is queued for them waits.
pub async fn pause(running: &Running, agents: &[Slug], who: &str) -> anyhow::Result<()> {
    running.store.hold_agents(agents, who, running.clock.now()).await?;
    agents.iter().for_each(|agent| running.tell(Event::Inbox(agent.clone())));
    Ok(())
}

/// Lets an agent go; says whether anybody held it.
pub async fn resume(running: &Arc<Running>, agent: &Slug) -> anyhow::Result<bool> {
    let released = running.store.release_agent(agent).await?;
    running.tell(Event::Inbox(agent.clone()));
    Ok(released)
}

/// How long an agent may take to show that it was interrupted.
const SHOWS: Duration = Duration::from_secs(5);

/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// For how long it must show no turn where prompts were on their way: both CLIs make a turn of what they held in a queue of
/// their own as soon as Escape has ended the one before.
const RESTS: Duration = Duration::from_secs(1);

/// How often Escape is pressed at most.
const MOST_ESCAPES: u32 = 3;

/// How soon Escape is pressed again where a turn still shows. Two in quick succession open a menu in both CLIs.
const ESCAPE_AGAIN: Duration = Duration::from_secs(1);

/// Stops agents in one step: first all are held, so that nothing new begins, then the turns that run are interrupted.
pub async fn stop(running: &Running, agents: &[Slug], who: &str) -> anyhow::Result<Vec<StoppedAgent>> {
    pause(running, agents, who).await?;
    let posts = agents.iter().filter_map(|agent| running.agent(agent));
    let stopped = join_all(posts.map(async |post| {
        let outcome =
            interrupt(running, &post).await.unwrap_or_else(|error| format!("held, but not interrupted: {error:#}"));
        StoppedAgent { agent: post.slug().clone(), outcome }
    }));
    Ok(stopped.await)
}

async fn interrupt(running: &Running, post: &AgentPost) -> anyhow::Result<String> {
    let attach = format!("`fleet attach {}`", post.slug());
    let (setup, conversation) = (post.setup_of_process(), running.conversation(post.slug()).await?);
    let mut deadline = Instant::now() + SHOWS;
    let mut follows = false;
    loop {
        let on_its_way = is_on_its_way(running, post).await?;
        follows |= on_its_way;
        match running.delivery.interrupt(&running.target(post, &setup, &conversation)).await? {
            Interrupt::Pressed => break,
            Interrupt::NotReached(hold) => return Ok(format!("held, but not interrupted: {hold}")),
            Interrupt::Unknown => return Ok(format!("held; its screen does not tell whether a turn runs ({attach})")),
            Interrupt::Idle if !on_its_way => return Ok("held; no turn ran".to_owned()),
            // What was being typed when the hold came is about to become a turn.
            Interrupt::Idle if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
            Interrupt::Idle => return Ok(format!("held; a prompt is on its way into its pane ({attach})")),
        }
    }
    let (mut escapes, mut pressed, mut rests_since) = (1, Instant::now(), None);
    loop {
        let target = running.target(post, &setup, &conversation);
        let shows_turn = running.delivery.shows_turn(&target).await?;
        let on_its_way = is_on_its_way(running, post).await?;
        follows |= on_its_way;
        if shows_turn || on_its_way {
            rests_since = None;
        } else if rests_since.get_or_insert_with(Instant::now).elapsed() >= RESTS || !follows {
            return Ok("held; its turn was interrupted".to_owned());
        }
        // What it held in a queue of its own has become a turn by the Escape before.
        if shows_turn
            && escapes < MOST_ESCAPES
            && pressed.elapsed() >= ESCAPE_AGAIN
            && running.delivery.interrupt(&target).await? == Interrupt::Pressed
        {
            (escapes, pressed, deadline) = (escapes + 1, Instant::now(), Instant::now() + SHOWS);
        }
        if Instant::now() >= deadline {
            let why = if shows_turn { "it still shows a turn" } else { "a prompt is on its way into its pane" };
            return Ok(format!("held; Escape was pressed, but {why} ({attach})"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether something of ours is about to become a turn: what is being typed, and what the agent holds in its own queue.
async fn is_on_its_way(running: &Running, post: &AgentPost) -> anyhow::Result<bool> {
    let open = running.store.open_prompts(post.slug()).await?;
    let queued = PromptState::Confirmed { by: Evidence::Queue };
    Ok(open.iter().any(|prompt| {
        matches!(prompt.state.name(), StateName::Typing | StateName::Submitted) || prompt.state == queued
    }))
}
