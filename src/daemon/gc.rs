//! What the agents' places to work hold that nobody needs any more, and its going, on a person's word.
//!
//! Nobody's work may ever go: a candidate is looked at with fresh news from its remote, judged by `git::judge`, and looked at
//! again at the moment of its going, by us and by git itself. Clones are never removed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;

use super::api::Failure;
use super::disk::measure_gently;
use super::fleet::{Roster, Running};
use super::protocol::{Gc, GcItem, GcKind, GcOutcome, GcReport};
use super::spare::{Candidate, candidates, half_clone_stays};
use crate::files::{Measured, Process, processes};
use crate::git::{Freed, Git, Outside, Spare, Tips, Verdict, branch, judge, owned_by, owner_and_name};
use crate::model::Slug;
use crate::supervisor::{TAG_AGENT, retirement_end};

/// How long a remote may take to answer somebody who waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// A clone that a candidate belongs to.
struct Clone {
    /// Its origin's address, which may hold a password.
    origin: String,
    /// What its origin has now.
    tips: Result<Tips, String>,
}

/// The route's answer.
pub async fn answer(State(running): State<Arc<Running>>, Json(question): Json<Gc>) -> Result<Json<GcReport>, Failure> {
    Ok(Json(if question.free { free(&running).await? } else { survey(&running).await? }))
}

/// What may go, and why the rest stays.
pub async fn survey(running: &Running) -> anyhow::Result<GcReport> {
    report(running, false).await
}

/// Frees what may go.
pub async fn free(running: &Running) -> anyhow::Result<GcReport> {
    report(running, true).await
}

async fn report(running: &Running, free: bool) -> anyhow::Result<GcReport> {
    let git = running.places.git.patient(PATIENCE);
    let roster = running.roster();
    let found = find(&roster).await?;
    let held = held(running, &roster, found.iter().filter_map(Candidate::agent)).await?;
    let asked = found.iter().filter_map(|candidate| match candidate {
        Candidate::Worktree { agent, clone: Ok(clone), .. } if !held.contains_key(agent) => Some(clone.clone()),
        _ => None,
    });
    let clones = ask(&git, &roster, asked.collect()).await;
    let mut report = GcReport { freed: free, items: Vec::new(), bytes: 0 };
    for candidate in found {
        let measured = measure_gently(candidate.path().to_path_buf()).await?;
        let bytes = measured.bytes;
        let mut item = GcItem {
            kind: GcKind::Worktree,
            path: candidate.path().display().to_string(),
            agent: candidate.agent().cloned(),
            repo: None,
            bytes,
            outcome: GcOutcome::Kept { why: Vec::new() },
        };
        item.outcome = match candidate {
            Candidate::HalfClone { path } => {
                item.kind = GcKind::HalfClone;
                half_clone(path, free).await?
            }
            Candidate::Files { names, .. } => {
                item.kind = GcKind::Files;
                kept(format!("they are no worktree ({names}): remove by hand what is not needed"))
            }
            Candidate::Worktree { agent, path, clone } => {
                let known = clone.and_then(|clone| match clones.get(&clone) {
                    Some(Ok(known)) => Ok((clone, known)),
                    Some(Err(why)) => Err(why.clone()),
                    None => Err("its clone was not looked at".to_owned()),
                });
                let origin = known.as_ref().ok().map(|(_, known)| known.origin.as_str());
                item.repo = origin.and_then(owner_and_name).map(|repo| repo.to_string());
                if listed(&roster, &agent, origin) {
                    continue;
                }
                match (held.get(&agent), known) {
                    (Some(why), _) => kept(why.clone()),
                    (None, Err(why)) => kept(why),
                    (None, Ok((clone, known))) => match wanted_since(running, &agent, &known.origin, free).await? {
                        Some(why) => kept(why),
                        None => {
                            let tips = known.tips.clone();
                            let spare = Spare { clone, path, branch: branch(&agent), tips };
                            worktree(&git, &spare, measured, free).await?
                        }
                    },
                }
            }
        };
        if matches!(item.outcome, GcOutcome::Free { .. } | GcOutcome::Freed { .. }) {
            report.bytes += bytes;
        }
        report.items.push(item);
    }
    if free {
        remove_empty_workspaces(running, &report.items);
    }
    Ok(report)
}

async fn find(roster: &Roster) -> anyhow::Result<Vec<Candidate>> {
    let fleet = &roster.fleet;
    let named: Vec<Slug> = fleet.agents.iter().map(|agent| agent.slug.clone()).collect();
    let (workspaces, repos) = (fleet.workspaces_dir.clone(), fleet.repos_dir.clone());
    let look = move || candidates(&workspaces, &repos, |agent| named.contains(agent));
    tokio::task::spawn_blocking(look).await.context("a look at the workspaces failed")
}

/// Why the workspaces of agents that are gone stay, whatever is in them.
async fn held(
    running: &Running,
    roster: &Roster,
    agents: impl Iterator<Item = &Slug>,
) -> anyhow::Result<HashMap<Slug, String>> {
    let panes = running.tmux.panes().await.context("can't tell which sessions still run")?;
    let retired: BTreeMap<Slug, _> = running.store.retired_agents().await?.into_iter().collect();
    let mut held = HashMap::new();
    for agent in agents.filter(|agent| roster.fleet.agent(agent).is_none()) {
        let sits = panes.iter().any(|pane| {
            pane.session == agent.as_str() || pane.tags.get(TAG_AGENT).is_some_and(|tag| tag == agent.as_str())
        });
        if let Some(since) = retired.get(agent) {
            let until = retirement_end(*since, roster.fleet.retire_after).to_zoned(roster.fleet.timezone.clone());
            held.insert(agent.clone(), format!("{agent} is retired, its session ends {}", until.strftime("%F %H:%M")));
        } else if sits {
            held.insert(agent.clone(), format!("a session of {agent} still runs"));
        }
    }
    Ok(held)
}

/// Why a worktree stays after all, right before it would be freed: all the others were looked at meanwhile.
async fn wanted_since(running: &Running, agent: &Slug, origin: &str, free: bool) -> anyhow::Result<Option<String>> {
    if !free {
        return Ok(None);
    }
    let roster = running.roster();
    if listed(&roster, agent, Some(origin)) {
        return Ok(Some(format!("agents.yaml gives it to {agent} again")));
    }
    Ok(held(running, &roster, std::iter::once(agent)).await?.remove(agent))
}

/// Asks each clone's origin what is new and what it has. One that can't be looked at tells why, and keeps nothing from the
/// others.
async fn ask(git: &Git, roster: &Roster, mut clones: Vec<PathBuf>) -> HashMap<PathBuf, Result<Clone, String>> {
    clones.sort();
    clones.dedup();
    let asked = clones.into_iter().map(|clone| async move {
        let origin = match git.origin_url(&clone).await {
            Ok(Some(origin)) => origin,
            Ok(None) => return (clone, Err("its clone has no origin".to_owned())),
            Err(error) => {
                let why = format!("can't look at its clone {}: {error}", clone.display());
                return (clone, Err(why));
            }
        };
        let tips = match clone_is_ours(roster, &clone, &origin) {
            Err(why) => Err(why),
            // First what is new: of a tip that the clone does not have it can't tell what it holds.
            Ok(()) => match git.fetch(&clone).await {
                Ok(()) => git.tips(&clone).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
        };
        (clone, Ok(Clone { origin, tips }))
    });
    join_all(asked).await.into_iter().collect()
}

/// Whether a clone's origin is the one that its place names: one that was set to somewhere else proves nothing.
fn clone_is_ours(roster: &Roster, clone: &Path, origin: &str) -> Result<(), String> {
    let repos = real(&roster.fleet.repos_dir);
    let place: Vec<_> = clone.strip_prefix(&repos).unwrap_or(clone).iter().map(|part| part.to_string_lossy()).collect();
    let found = owner_and_name(origin).ok_or("its clone's origin names no repository")?;
    let fits = match place.as_slice() {
        [name] => name.eq_ignore_ascii_case(&found.name),
        [owner, name] => owner.eq_ignore_ascii_case(&found.owner) && name.eq_ignore_ascii_case(&found.name),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("the origin of {} is {found}, not what its place names", clone.display())) }
}

/// Whether agents.yaml gives the agent that repository.
fn listed(roster: &Roster, agent: &Slug, origin: Option<&str>) -> bool {
    let Some(agent) = roster.fleet.agent(agent) else { return false };
    // Where there is no origin to go by, a living agent's worktree is its own affair.
    origin.is_none_or(|url| agent.repos.iter().any(|repo| owned_by(url, repo)))
}

async fn worktree(git: &Git, spare: &Spare, measured: Measured, free: bool) -> anyhow::Result<GcOutcome> {
    let facts = match git.worktree_facts(spare, outside(spare, measured).await?).await {
        Ok(facts) => facts,
        Err(error) => return Ok(kept(format!("git can't tell what is in it: {error}"))),
    };
    let along = match judge(&facts) {
        Verdict::Keep { why } => return Ok(GcOutcome::Kept { why }),
        Verdict::Free { along } => along,
    };
    if !free {
        return Ok(GcOutcome::Free { along });
    }
    // Everything anew: somebody may have gone to work there since.
    let measured = measure_gently(spare.path.clone()).await?;
    let outcome = match git.free_worktree(spare, outside(spare, measured).await?).await {
        Ok(Freed::Gone { branch_kept }) => GcOutcome::Freed { branch_kept },
        Ok(Freed::Kept { why }) => GcOutcome::Kept { why },
        Err(error) => GcOutcome::Failed { error: error.to_string() },
    };
    tracing::info!(worktree = %spare.path.display(), ?outcome, "gc");
    Ok(outcome)
}

/// What git does not know of a worktree.
async fn outside(spare: &Spare, measured: Measured) -> anyhow::Result<Outside> {
    let real = real(&spare.path);
    let inside = move |process: &Process| process.cwd.as_ref().is_some_and(|cwd| cwd.starts_with(&real));
    let processes = tokio::task::spawn_blocking(processes).await.context("a look at the processes failed")?;
    let shown = |process: &Process| format!("{} ({})", process.name, process.pid);
    Ok(Outside {
        repositories: measured.repositories.iter().map(|path| path.display().to_string()).collect(),
        unreadable: measured.unreadable,
        processes: processes.iter().filter(|process| inside(process)).map(shown).collect(),
    })
}

async fn half_clone(path: PathBuf, free: bool) -> anyhow::Result<GcOutcome> {
    let work = move || {
        if let Some(why) = half_clone_stays(&path, &processes(), SystemTime::now()) {
            return kept(why);
        }
        if !free {
            return GcOutcome::Free { along: Vec::new() };
        }
        match std::fs::remove_dir_all(&path) {
            Ok(()) => GcOutcome::Freed { branch_kept: None },
            Err(error) => GcOutcome::Failed { error: format!("can't remove {}: {error}", path.display()) },
        }
    };
    tokio::task::spawn_blocking(work).await.context("a look at a half clone failed")
}

/// Takes away the workspaces in which nothing is left. One that holds anything refuses by itself.
fn remove_empty_workspaces(running: &Running, items: &[GcItem]) {
    let freed = items.iter().filter(|item| matches!(item.outcome, GcOutcome::Freed { .. }));
    for agent in
        freed.filter_map(|item| item.agent.as_ref()).filter(|agent| running.roster().fleet.agent(agent).is_none())
    {
        let workspace = running.roster().fleet.workspaces_dir.join(agent.as_str());
        if let Err(error) = std::fs::remove_dir(&workspace) {
            tracing::debug!(workspace = %workspace.display(), %error, "the workspace stays");
        }
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn kept(why: String) -> GcOutcome {
    GcOutcome::Kept { why: vec![why] }
}
