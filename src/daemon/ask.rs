//! Does for the Slack bridge what only the daemon can do.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::event::Event;
use super::fleet::Running;
use super::protocol::{AgentState, AgentStatus, QueuedPrompt, Status};
use super::{idle, nudge, queue, status};
use crate::delivery::Interrupt;
use crate::model::{Evidence, NewPrompt, Place, PromptId, PromptState, Slug, StateName};
use crate::slack::{AgentView, Ask, FleetView, Interrupted, LastView, QueuedView};

/// Does it and answers.
pub async fn answer(running: Arc<Running>, ask: Ask) {
    match ask {
        Ask::Interrupt { agent, place, answer } => {
            let done = interrupt(&running, &agent, &place).await;
            // Whoever asked is gone only while the bridge goes down; its next start asks again.
            answer.send(done.unwrap_or_else(|error| Interrupted::Failed(format!("{error:#}")))).ok();
        }
        Ask::Look { answer } => reply(answer, status::status(&running).await.map(fleet)),
        Ask::Queue { answer } => {
            let waiting = queue::waiting(&running, None).await;
            reply(answer, waiting.map(|waiting| waiting.into_iter().map(queued).collect()));
        }
        Ask::Stop { agent, who, answer } => reply(answer, stop(&running, agent, &who).await),
        Ask::Nudge { agent, who, key, answer } => reply(answer, nudge(&running, &agent, who, key).await),
    }
}

fn reply<T>(answer: oneshot::Sender<Result<T, String>>, done: anyhow::Result<T>) {
    // As above.
    answer.send(done.map_err(|error| format!("{error:#}"))).ok();
}

async fn stop(running: &Running, agent: Slug, who: &str) -> anyhow::Result<String> {
    known(running, &agent)?;
    idle::acted(running);
    let stopped = queue::stop(running, &[agent], who).await?;
    Ok(stopped.into_iter().map(|stopped| stopped.outcome).collect())
}

async fn nudge(running: &Running, agent: &Slug, who: String, key: String) -> anyhow::Result<PromptId> {
    known(running, agent)?;
    idle::acted(running);
    let new = NewPrompt { who, dedup_key: key, ..nudge::by_hand(running, agent)? };
    let inserted = running.store.insert_prompt(&new, running.clock.now()).await?;
    running.tell(Event::Inbox(agent.clone()));
    Ok(inserted.id().clone())
}

fn known(running: &Running, agent: &Slug) -> anyhow::Result<()> {
    anyhow::ensure!(running.agent(agent).is_some(), "agents.yaml does not name {agent} any more");
    Ok(())
}

fn fleet(status: Status) -> FleetView {
    FleetView {
        agents: status.agents.into_iter().map(agent).collect(),
        problems: status.problems,
        stops_at: status.stops_at,
    }
}

fn agent(status: AgentStatus) -> AgentView {
    let detail = match &status.state {
        AgentState::Asking { what, .. } => Some(what.clone()),
        AgentState::Blocked { why } => Some(why.to_string()),
        AgentState::Held { why } => Some(why.clone()),
        AgentState::Ended { how, .. } => Some(how.clone()).filter(|how| !how.is_empty()),
        AgentState::Elsewhere { program } => Some(program.clone()),
        AgentState::Starting
        | AgentState::Idle
        | AgentState::Busy
        | AgentState::Paused { .. }
        | AgentState::Retiring { .. }
        | AgentState::Failed => None,
    };
    AgentView {
        state: status.state.word(),
        detail,
        agent: status.agent,
        since: status.since,
        held_by: status.held_by,
        queued: status.queued,
        held: status.held,
        last: status.last.map(|last| LastView {
            source: last.source.word(),
            who: last.who,
            at: last.at,
            state: last.state,
        }),
        next_nudge: status.next_nudge,
        problem: status.problem,
    }
}

fn queued(prompt: QueuedPrompt) -> QueuedView {
    QueuedView {
        id: prompt.id,
        agent: prompt.agent,
        source: prompt.source.word(),
        who: prompt.who,
        at: prompt.at,
        state: prompt.state,
        held: prompt.held,
        text: prompt.text,
    }
}

async fn interrupt(running: &Running, agent: &Slug, place: &Place) -> anyhow::Result<Interrupted> {
    let Some(post) = running.agent(agent) else {
        return Ok(Interrupted::Failed(format!("agents.yaml does not name {agent} any more")));
    };
    if !runs_there(running, agent, place).await? {
        return Ok(Interrupted::NotThere);
    }
    let (setup, conversation) = (post.setup_of_process(), running.conversation(agent).await?);
    Ok(match running.delivery.interrupt(&running.target(&post, &setup, &conversation)).await? {
        Interrupt::Pressed => Interrupted::Pressed,
        Interrupt::Idle => Interrupted::NotThere,
        Interrupt::Unknown => {
            Interrupted::Failed(format!("its screen does not tell whether a turn runs (`fleet attach {agent}`)"))
        }
        Interrupt::NotReached(hold) => Interrupted::Failed(hold.to_string()),
    })
}

/// Whether a prompt of that thread was taken by the agent and its turn has not ended. What the agent only holds in its own
/// queue is not yet a turn: Escape would break off another's.
async fn runs_there(running: &Running, agent: &Slug, place: &Place) -> anyhow::Result<bool> {
    let queued = PromptState::Confirmed { by: Evidence::Queue };
    for prompt in running.store.open_prompts(agent).await? {
        if prompt.state.name() != StateName::Confirmed || prompt.state == queued {
            continue;
        }
        let told = match &prompt.place {
            Some(told) => Some(told.clone()),
            None => running.store.place_of_turn(&prompt.id).await?,
        };
        if told.as_ref() == Some(place) {
            return Ok(true);
        }
    }
    Ok(false)
}
