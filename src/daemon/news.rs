//! What the daemon itself tells of the box: how a boot went, and what keeps the fleet as a whole from working.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::TICK;
use super::fleet::Running;
use crate::model::{Notice, Slug};
use crate::supervisor::Step;

/// A boot is told after this long, whoever is still on the way up.
const PATIENCE: Duration = Duration::from_secs(120);

/// How soon it is looked again whether all are up.
const LOOK: Duration = Duration::from_secs(1);

/// The problems that people are told of, by what they are about; each is told once it has lasted from one look to the next.
const TOLD: [&str; 4] = ["tmux", "schedule", "memory", "idle stop"];

/// How the first try to bring each agent up went.
#[derive(Debug, Default)]
pub struct FirstTries(Mutex<HashMap<Slug, First>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Running,
    Launched,
    Failed,
}

impl FirstTries {
    /// Notes how a step went; only an agent's first counts.
    pub fn note(&self, step: &Step, done: bool) {
        let first = match step {
            _ if !done => First::Failed,
            Step::Keep { .. } => First::Running,
            Step::Create { .. } | Step::Respawn { .. } => First::Launched,
            Step::Pause { .. } | Step::Refuse { .. } => First::Failed,
        };
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tries.entry(step.agent().clone()).or_insert(first);
    }

    fn of(&self, agent: &Slug) -> Option<First> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(agent).copied()
    }
}

/// Tells until the daemon stops.
pub async fn run(running: Arc<Running>) {
    let mut stop = running.stop.subscribe();
    let told = async {
        let began = tokio::time::Instant::now();
        let all_up = || running.roster().agents.iter().all(|post| running.first_tries.of(post.slug()).is_some());
        while !all_up() && began.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK).await;
        }
        if let Err(error) = booted(&running).await {
            tracing::warn!("the boot could not be told: {error:#}");
        }
        let mut known = HashMap::new();
        loop {
            tokio::time::sleep(TICK).await;
            if let Err(error) = problems(&running, &mut known).await {
                tracing::warn!("a problem could not be told: {error:#}");
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = told => {}
    }
}

/// Tells how the boot went; once for each start of the daemon.
async fn booted(running: &Running) -> anyhow::Result<()> {
    let (mut up, mut resumed, mut fresh, mut failed) = (0, 0, 0, Vec::new());
    for post in &running.roster().agents {
        match running.first_tries.of(post.slug()) {
            Some(First::Running) => up += 1,
            Some(First::Launched) => {
                let row = running.store.conversation(post.slug()).await?;
                if row.is_some_and(|row| row.launches > 1) { resumed += 1 } else { fresh += 1 }
            }
            Some(First::Failed) | None => failed.push(post.slug().clone()),
        }
    }
    let notice = Notice::Booted { running: up, resumed, fresh, failed };
    tracing::info!("{notice}");
    running.store.tell_box(&format!("boot/{}", running.since), &notice, running.clock.now()).await?;
    Ok(())
}

/// Tells what is wrong since two looks at least; `known` is what the last look saw, and whether it was told.
async fn problems(running: &Running, known: &mut HashMap<&'static str, (String, bool)>) -> anyhow::Result<()> {
    for about in TOLD {
        let Some(problem) = running.problem(about) else {
            known.remove(about);
            continue;
        };
        let seen = known.get(about).filter(|(seen, _)| *seen == problem).map(|(_, told)| *told);
        if seen == Some(false) {
            let now = running.clock.now();
            let notice = Notice::Problem { what: problem.clone() };
            running.store.tell_box(&format!("problem/{about}/{now}"), &notice, now).await?;
        }
        known.insert(about, (problem, seen.is_some()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_tells_how_an_agent_was_found_and_not_what_became_of_it_later() {
        let agent: Slug = "ann".parse().unwrap();
        let tries = FirstTries::default();
        assert_eq!(tries.of(&agent), None);
        tries.note(&Step::Create { agent: agent.clone() }, true);
        tries.note(&Step::Keep { agent: agent.clone(), pane: "%1".parse().unwrap(), pid: 1 }, true);
        assert_eq!(tries.of(&agent), Some(First::Launched));
        let other: Slug = "bob".parse().unwrap();
        tries.note(&Step::Create { agent: other.clone() }, false);
        assert_eq!(tries.of(&other), Some(First::Failed));
    }
}
