//! Agents that agents.yaml does not name any more, in each of the supervisor's passes: what `supervisor::retirements` says is
//! done here, and told.

use super::event::Event;
use super::fleet::Running;
use super::reload::HOLDER;
use crate::model::{Notice, Slug};
use crate::supervisor::{Retirement, Survey};

/// Holds, ends and lets go. What fails for one agent keeps nothing from the others; the first failure is answered.
pub async fn pass(running: &Running, survey: &Survey) -> anyhow::Result<()> {
    let roster = running.roster();
    let wanted: Vec<Slug> = roster.agents.iter().map(|post| post.slug().clone()).collect();
    for post in &roster.retired {
        let pane = running.supervisor.pane_of(survey, post.slug()).cloned();
        post.set_pane(pane);
    }
    let retired = running.store.retired_agents().await?;
    let after = roster.fleet.retire_after;
    let mut done = Ok(());
    for step in running.supervisor.retirements(survey, &wanted, &retired, after) {
        done = done.and(apply(running, step).await);
    }
    done
}

async fn apply(running: &Running, step: Retirement) -> anyhow::Result<()> {
    let now = running.clock.now();
    let store = &running.store;
    match step {
        Retirement::Begin { agent, until } => {
            if store.retire_agent(&agent, HOLDER, now).await? {
                tracing::info!(%agent, %until, "retired: its session is held");
                let key = format!("retired/{agent}/{now}");
                store.tell_box(&key, &Notice::Retired { agent, until }, now).await?;
            }
        }
        Retirement::End { agent, pane, shared } => {
            match shared {
                true => running.tmux.kill_pane(&pane).await?,
                false => running.tmux.kill_session(&pane).await?,
            }
            tracing::info!(%agent, "the session of a retired agent has ended");
            store.tell_box(&format!("ended/{agent}/{now}"), &Notice::Ended { agent: agent.clone() }, now).await?;
            release(running, &agent).await?;
        }
        Retirement::Return { agent } | Retirement::Gone { agent } => release(running, &agent).await?,
    }
    Ok(())
}

/// Lets an agent go that agents.yaml held; one that a person holds stays held.
async fn release(running: &Running, agent: &Slug) -> anyhow::Result<()> {
    if running.store.agent_hold(agent).await?.is_some_and(|hold| hold.who == HOLDER) {
        running.store.release_agent(agent).await?;
    }
    running.store.unretire_agent(agent).await?;
    running.tell(Event::Inbox(agent.clone()));
    Ok(())
}
