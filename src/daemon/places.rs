//! Clones that are as new as their remotes when an agent's day begins.
//!
//! A nudge's clones are fetched shortly ahead of it. It never waits for them longer than [`HOLD`], which ends before the
//! schedule would call it missed: a remote that is slow or gone costs an agent its newest commits, never its nudge. Nothing
//! of this is stored; what a restart forgets is fetched again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::fleet::Running;
use crate::config::Repo;
use crate::git::Git;
use crate::model::{Notice, Slug};
use crate::schedule;

/// How long before a nudge its clones are fetched.
const AHEAD: SignedDuration = SignedDuration::from_mins(2);

/// How long after it was due a nudge waits for its clones.
const HOLD: SignedDuration = SignedDuration::from_secs(90);

/// How long a clone that was fetched counts as new.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// How soon a fetch that failed is tried again for another nudge.
const AGAIN: SignedDuration = SignedDuration::from_mins(2);

/// How long one fetch may take; it goes on after the nudge went out.
const PATIENCE: Duration = Duration::from_secs(600);

/// A fetch that has no end to show after this long has none any more.
const LOST: SignedDuration = SignedDuration::from_mins(30);

/// The clones, and how their last fetch went.
#[derive(Debug)]
pub struct Places {
    /// The door to git.
    pub git: Git,
    fetches: Mutex<HashMap<Repo, Fetch>>,
}

/// A repository's last fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetch {
    Running(Timestamp),
    Done(Timestamp),
    Failed(Timestamp),
}

/// What is to be done about a repository before a nudge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing: it is new, or just failed.
    Go,
    /// Its fetch runs.
    Await,
    /// Fetch it.
    Fetch,
}

impl Places {
    /// Nothing was fetched yet.
    pub fn new(git: Git) -> Self {
        Self { git, fetches: Mutex::default() }
    }

    /// Looks at a repository's last fetch, and notes that one begins where that is to be.
    fn next(&self, repo: &Repo, now: Timestamp) -> Next {
        // A panic can't leave the table half changed: its changes are insertions.
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next(fetches.get(repo).copied(), now);
        if next == Next::Fetch {
            fetches.insert(repo.clone(), Fetch::Running(now));
        }
        next
    }

    fn ended(&self, repo: Repo, fetch: Fetch) {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner).insert(repo, fetch);
    }
}

fn next(last: Option<Fetch>, now: Timestamp) -> Next {
    // A clock that was set back makes no fetch newer than it is.
    let within = |at: Timestamp, span: SignedDuration| now.duration_since(at).abs() < span;
    match last {
        Some(Fetch::Done(at)) if within(at, FRESH) => Next::Go,
        Some(Fetch::Failed(at)) if within(at, AGAIN) => Next::Go,
        Some(Fetch::Running(since)) if within(since, LOST) => Next::Await,
        _ => Next::Fetch,
    }
}

/// Whether a nudge that was due at `due_at` may still wait.
fn may_wait(due_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(due_at) < HOLD
}

/// Begins the fetches of the nudges that are due soon.
pub fn look_ahead(running: &Arc<Running>, now: Timestamp) {
    for agent in &running.roster().fleet.agents {
        let due = agent.schedule.as_ref().and_then(|schedule| schedule::next(now, schedule));
        if due.is_some_and(|due| due.duration_since(now) <= AHEAD) {
            fetch(running, &agent.repos, now);
        }
    }
}

/// Whether an agent's nudge may go out: its clones are new, or can't be made so in time. Begins what is missing; the
/// schedule's pass is woken when that has ended.
pub fn ready(running: &Arc<Running>, slug: &Slug, due_at: Timestamp, now: Timestamp) -> bool {
    let roster = running.roster();
    let Some(agent) = roster.fleet.agent(slug) else { return true };
    !fetch(running, &agent.repos, now) || !may_wait(due_at, now)
}

/// Begins the fetches that are missing; says whether any runs.
fn fetch(running: &Arc<Running>, repos: &[Repo], now: Timestamp) -> bool {
    let mut runs = false;
    for repo in repos {
        match running.places.next(repo, now) {
            Next::Go => continue,
            Next::Await => {}
            Next::Fetch => {
                tokio::spawn(one(Arc::clone(running), repo.clone()));
            }
        }
        runs = true;
    }
    runs
}

async fn one(running: Arc<Running>, repo: Repo) {
    let fetched = fetch_clone(&running, &repo).await;
    let now = running.clock.now();
    if let Err(error) = &fetched {
        tracing::warn!(%repo, "can't fetch: {error:#}");
        let what = format!("{repo} could not be fetched, its agents work with what is here: {error:#}");
        let day = now.to_zoned(running.roster().fleet.timezone.clone()).date();
        if let Err(error) = running.store.tell_box(&format!("fetch/{repo}/{day}"), &Notice::Problem { what }, now).await
        {
            tracing::warn!(%repo, "can't tell people that it can't be fetched: {error:#}");
        }
    }
    running.places.ended(repo, if fetched.is_ok() { Fetch::Done(now) } else { Fetch::Failed(now) });
    running.schedule.notify_one();
}

async fn fetch_clone(running: &Running, repo: &Repo) -> anyhow::Result<()> {
    let git = running.places.git.patient(PATIENCE);
    let clone = git.clone_path(&running.roster().fleet.repos_dir, repo).await.context("can't look for its clone")?;
    // One that is missing is made at its agent's start, and is new then.
    if !clone.join(".git").exists() {
        return Ok(());
    }
    git.fetch(&clone).await?;
    tracing::debug!(%repo, "fetched");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn five_agents_share_one_fetch_and_a_dead_remote_is_not_asked_for_each_of_them() {
        let now = at(100_000);
        let ago = |seconds: i64| at(100_000 - seconds);
        for (last, expected) in [
            (None, Next::Fetch),
            (Some(Fetch::Running(ago(5))), Next::Await),
            (Some(Fetch::Running(ago(3_600))), Next::Fetch),
            (Some(Fetch::Done(ago(599))), Next::Go),
            (Some(Fetch::Done(ago(600))), Next::Fetch),
            (Some(Fetch::Done(ago(-86_400))), Next::Fetch),
            (Some(Fetch::Failed(ago(119))), Next::Go),
            (Some(Fetch::Failed(ago(120))), Next::Fetch),
        ] {
            assert_eq!(next(last, now), expected, "{last:?}");
        }
    }

    #[test]
    fn a_slow_remote_never_makes_a_nudge_a_missed_one() {
        assert!(may_wait(at(0), at(0)) && may_wait(at(0), at(89)));
        assert!(!may_wait(at(0), at(90)) && !may_wait(at(0), at(4_000)));
        // Three looks at the clock are left before the schedule calls it missed.
        assert!(HOLD + SignedDuration::from_secs(30) <= schedule::LATEST);
    }
}
