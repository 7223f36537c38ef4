//! What an agent does, derived afresh from what is seen whenever somebody asks. Nothing here is stored.

use std::collections::HashMap;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::fleet::Running;
use super::idle;
use super::post::AgentPost;
use super::protocol::{AgentState, AgentStatus, LastPrompt, Status};
use crate::delivery::guard::{self, Hold, Sight};
use crate::model::{Prompt, Slug};
use crate::runtime::Activity;
use crate::schedule;

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
        slack: running.slack_status(),
        problems: running.problems(),
        stops_at: idle::stops_at(running).await?,
        awake_until: idle::awake_until(running).await?,
    })
}

async fn agent(running: &Running, post: &AgentPost, last: Option<&Prompt>) -> anyhow::Result<AgentStatus> {
    let slug = post.slug();
    let (setup, conversation) = (post.setup(), running.conversation(slug).await?);
    // What can't be looked at is shown as such; the rest of the table must not suffer.
    let sight = running.delivery.look(&running.target(post, &setup, &conversation)).await.unwrap_or_default();
    let problem = running.supervisor.problem(slug);
    let open = running.store.open_prompts(slug).await?;
    let queued = open.iter().filter(|prompt| prompt.state.name().is_waiting()).count();
    Ok(AgentStatus {
        agent: slug.clone(),
        runtime: setup.agent.runtime.word().to_owned(),
        state: derive(sight.as_ref(), problem.as_deref()),
        since: running.store.last_news(slug).await?,
        last: last.map(|prompt| LastPrompt {
            id: prompt.id.clone(),
            source: prompt.source.clone(),
            who: prompt.who.clone(),
            at: prompt.created,
            state: prompt.state.name().as_str().to_owned(),
        }),
        next_nudge: next_nudge(post, running.clock.now()),
        queued,
        held: post.hold().filter(|_| queued > 0),
        held_by: running.store.agent_hold(slug).await?.map(|row| row.who),
        attached: sight.as_ref().map_or(0, |sight| sight.pane.attached),
        problem,
    })
}

fn next_nudge(post: &AgentPost, now: Timestamp) -> Option<Timestamp> {
    schedule::next(now, post.setup().agent.schedule.as_ref()?)
}

fn derive(sight: Option<&Sight>, problem: Option<&str>) -> AgentState {
    let Some(sight) = sight else {
        return if problem.is_some() { AgentState::Failed } else { AgentState::Starting };
    };
    match guard::check(sight) {
        Ok(_) => AgentState::Idle,
        Err(Hold::NoSession | Hold::NotReady | Hold::ReadsLines | Hold::Held(_) | Hold::Draining(_)) => {
            AgentState::Starting
        }
        Err(Hold::Dead) => AgentState::Ended,
        Err(Hold::Stranger(program) | Hold::Behind(program)) => AgentState::Elsewhere { program },
        Err(Hold::Dialog(what)) => AgentState::Asking { what },
        Err(Hold::Busy) => AgentState::Busy,
        // A draft, a mode or switched-off input hold a prompt back, yet the agent itself does what its CLI says.
        Err(Hold::Draft | Hold::Undecided(_) | Hold::Mode | Hold::InputOff | Hold::PersonTypes) => {
            match sight.told.as_ref().or(sight.screen.activity.as_ref()) {
                Some(Activity::Busy) => AgentState::Busy,
                _ => AgentState::Idle,
            }
        }
    }
}
