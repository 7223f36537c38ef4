//! What an agent does, derived afresh from what is seen whenever somebody asks. Nothing here is stored.

use std::collections::HashMap;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::fleet::Running;
use super::idle;
use super::policy;
use super::post::AgentPost;
use super::protocol::{AgentState, AgentStatus, LastPrompt, Status};
use crate::model::{Prompt, Slug};
use crate::policy::State;
use crate::schedule;
use crate::supervisor::retirement_end;

/// How many verdicts are shown of an agent.
const VERDICTS: u32 = 5;

/// Everything `fleet status` shows.
pub async fn status(running: &Running) -> anyhow::Result<Status> {
    let latest = running.store.latest_prompts().await?;
    let latest: HashMap<Slug, Prompt> = latest.into_iter().map(|prompt| (prompt.agent.clone(), prompt)).collect();
    let roster = running.roster();
    let agents = roster.agents.iter().map(|post| agent(running, post, latest.get(post.slug())));
    let agents = join_all(agents).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: running.since,
        agents,
        retired: retired(running, &latest).await?,
        slack: running.slack_status(),
        problems: running.problems(),
        stops_at: idle::stops_at(running).await?,
        awake_until: idle::awake_until(running).await?,
    })
}

/// What one agent is at; also one that agents.yaml does not name any more.
pub async fn agent(running: &Running, post: &AgentPost, last: Option<&Prompt>) -> anyhow::Result<AgentStatus> {
    let slug = post.slug();
    let (setup, conversation) = (post.setup_of_process(), running.conversation(slug).await?);
    // What can't be looked at is shown as such; the rest of the table must not suffer.
    let sight = running.delivery.look(&running.target(post, &setup, &conversation)).await.unwrap_or_default();
    let unknown = post.unknown();
    let problem = running.supervisor.problem(slug).or_else(|| unknown.clone());
    let open = running.store.open_prompts(slug).await?;
    let queued = open.iter().filter(|prompt| prompt.state.name().is_waiting()).count();
    let held_by = running.store.agent_hold(slug).await?.map(|row| row.who);
    let crashed = (problem.clone(), running.supervisor.starts_in_vain(slug));
    let cut = post.seen().cut;
    let state = match unknown {
        Some(why) => State::Held { why },
        None => policy::derive(sight.as_ref(), cut.as_ref(), held_by.as_deref(), &crashed, None, running.clock.now()),
    };
    Ok(AgentStatus {
        agent: slug.clone(),
        runtime: setup.agent.runtime.word().to_owned(),
        state: shown(state, problem.is_some() && sight.is_none()),
        since: running.store.last_news(slug).await?,
        last: last.map(last_prompt),
        next_nudge: next_nudge(post, running.clock.now()),
        queued,
        held: post.hold().filter(|_| queued > 0),
        held_by,
        attached: sight.as_ref().map_or(0, |sight| sight.pane.attached),
        problem,
        verdicts: running.store.latest_verdicts(slug, VERDICTS).await?,
    })
}

/// Those that agents.yaml does not name any more, the first retired first. Of one that this daemon never served nothing is
/// known but that its session is held.
async fn retired(running: &Running, latest: &HashMap<Slug, Prompt>) -> anyhow::Result<Vec<AgentStatus>> {
    let roster = running.roster();
    let mut lines = Vec::new();
    for (slug, since) in running.store.retired_agents().await? {
        if roster.agent(&slug).is_some() {
            continue;
        }
        let post = roster.retired.iter().find(|post| *post.slug() == slug);
        let until = retirement_end(since, roster.fleet.retire_after);
        let state = policy::derive(None, None, None, &(None, 0), Some(until), running.clock.now());
        lines.push(AgentStatus {
            runtime: post.map_or_else(|| "-".to_owned(), |post| post.setup().agent.runtime.word().to_owned()),
            state: shown(state, false),
            since: running.store.last_news(&slug).await?,
            last: latest.get(&slug).map(last_prompt),
            next_nudge: None,
            queued: running.store.waiting_prompts(Some(&slug)).await?.len(),
            held: None,
            held_by: running.store.agent_hold(&slug).await?.map(|row| row.who),
            attached: 0,
            problem: None,
            verdicts: running.store.latest_verdicts(&slug, VERDICTS).await?,
            agent: slug,
        });
    }
    Ok(lines)
}

fn last_prompt(prompt: &Prompt) -> LastPrompt {
    LastPrompt {
        id: prompt.id.clone(),
        source: prompt.source.clone(),
        who: prompt.who.clone(),
        at: prompt.created,
        state: prompt.state.name().as_str().to_owned(),
    }
}

fn next_nudge(post: &AgentPost, now: Timestamp) -> Option<Timestamp> {
    schedule::next(now, post.setup().agent.schedule.as_ref()?)
}

fn shown(state: State, problem: bool) -> AgentState {
    match state {
        State::Starting if problem => AgentState::Failed,
        State::Starting => AgentState::Starting,
        State::Idle => AgentState::Idle,
        State::Busy => AgentState::Busy,
        State::Asking { kind, what } => AgentState::Asking { kind: Some(kind), what },
        State::Blocked(why) => AgentState::Blocked { why },
        State::Crashed { how, times } => AgentState::Ended { how, times },
        State::AtShell { program } => AgentState::Elsewhere { program },
        State::Paused { by } => AgentState::Paused { by },
        State::Held { why } => AgentState::Held { why },
        State::Retiring { until } => AgentState::Retiring { until },
    }
}
