//! Keeps every agent's session up, as the same conversation: observe, plan, apply; at boot, every ten seconds, on demand.
//!
//! A session is never torn down and never started over a person's: what ended is resumed in its pane, what carries no tag of
//! this fleet is not touched. One agent's failure is that agent's alone.

mod conversation;
mod plan;
mod seed;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::files::{create_private_dir, newest_below, open_files_in, write_private};
use crate::git::{Git, branch, worktree_path};
use crate::model::{Clock, LaunchFile, NewPrompt, PromptId, Slug, Source};
use crate::runtime::{AgentSetup, Conversation, Identity, RecordKind, RecordSource};
use crate::store::Store;
use crate::tmux::{NewSession, Pane, PaneId, Server, family};

pub use plan::{Step, TAG_AGENT, TAG_FLEET};

/// How many agents are started at once.
const LAUNCHES_AT_ONCE: usize = 4;

/// How long a CLI that chooses its conversation's id itself may take to show it.
const ID_SHOWS: Duration = Duration::from_secs(15);

/// The size of an agent's pane: wide enough that a header line is never broken.
const SIZE: (u32, u32) = (200, 50);

/// Keeps sessions up. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    store: Store,
    tmux: Server,
    git: Git,
    clock: Arc<dyn Clock>,
    /// Names this fleet in the tags of its panes.
    fleet: String,
    repos_dir: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    /// Agents whose launch runs now: a pass leaves them alone.
    launching: Mutex<HashSet<Slug>>,
    slots: Semaphore,
    problems: Mutex<HashMap<Slug, String>>,
}

/// What a pass saw and what it wants done.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// One step for each agent that is not being launched already.
    pub steps: Vec<Step>,
    /// Every pane of the tmux server.
    pub panes: Vec<Pane>,
}

impl Survey {
    /// The panes of ours, by agent.
    pub fn seats(&self) -> HashMap<Slug, PaneId> {
        self.steps.iter().filter_map(|step| Some((step.agent().clone(), step.pane()?.clone()))).collect()
    }
}

impl Supervisor {
    /// A supervisor of the fleet named `fleet`, whose clones lie in `repos_dir`.
    pub fn new(store: Store, tmux: Server, git: Git, clock: Arc<dyn Clock>, fleet: String, repos_dir: PathBuf) -> Self {
        let slots = Semaphore::new(LAUNCHES_AT_ONCE);
        let shared = Arc::new(Shared { launching: Mutex::default(), slots, problems: Mutex::default() });
        Self { store, tmux, git, clock, fleet, repos_dir, shared }
    }

    /// Looks at the server, which is started where it is not up, and plans.
    pub async fn survey(&self, agents: &[Slug]) -> anyhow::Result<Survey> {
        if !self.tmux.is_connected() {
            self.tmux.start().await.context("can't start the tmux server")?;
        }
        let panes = self.tmux.panes().await.context("can't list the tmux sessions")?;
        let launching = self.shared.launching.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut steps = plan::plan(agents, &panes, &self.fleet);
        steps.retain(|step| !launching.contains(step.agent()) || matches!(step, Step::Keep { .. }));
        Ok(Survey { steps, panes })
    }

    /// Does one step. What fails is kept as the agent's problem until a later step of the same agent succeeds.
    pub async fn apply(&self, step: &Step, setup: &AgentSetup) -> anyhow::Result<()> {
        let agent = &setup.agent.slug;
        let done = match step {
            Step::Keep { pane, .. } => self.follow(setup, pane).await,
            Step::Refuse { why, .. } => Err(anyhow::anyhow!("{why}")),
            Step::Create { .. } | Step::Respawn { .. } => {
                if !self.shared.launching.lock().unwrap_or_else(PoisonError::into_inner).insert(agent.clone()) {
                    return Ok(());
                }
                let launched = self.launch(step, setup).await;
                self.shared.launching.lock().unwrap_or_else(PoisonError::into_inner).remove(agent);
                launched
            }
        };
        let mut problems = self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match &done {
            Ok(()) => problems.remove(agent),
            Err(error) => problems.insert(agent.clone(), format!("{error:#}")),
        };
        done
    }

    /// What keeps an agent from running, for people.
    pub fn problem(&self, agent: &Slug) -> Option<String> {
        self.shared.problems.lock().unwrap_or_else(PoisonError::into_inner).get(agent).cloned()
    }

    async fn launch(&self, step: &Step, setup: &AgentSetup) -> anyhow::Result<()> {
        let agent = &setup.agent.slug;
        let _slot = self.shared.slots.acquire().await.context("fleetd is shutting down")?;
        self.prepare_worktrees(setup).await?;
        let row = self.store.conversation(agent).await?;
        let identity = setup.runtime.identity();
        let known = row.as_ref().map(|row| row.id.as_str());
        let chosen = conversation::choose(identity, known, |id| has_record(setup, id), || Uuid::new_v4().to_string());
        let argv = write_launch(setup, &chosen)?;
        self.store.count_launch(agent, chosen.id(), self.clock.now()).await?;
        let pane = match step {
            Step::Respawn { pane, .. } => {
                self.tmux.respawn(pane, &setup.cwd, &argv).await.with_context(|| format!("can't resume {agent}"))?;
                pane.clone()
            }
            _ => self.create(setup, argv).await?,
        };
        tracing::info!(%agent, conversation = chosen.id(), resumed = matches!(chosen, Conversation::Resume { .. }), "started");
        if row.is_none_or(|row| row.launches == 0)
            && let Some(body) = &setup.agent.init_prompt
        {
            let prompt = NewPrompt {
                id: PromptId::random(),
                agent: agent.clone(),
                source: Source::Init,
                who: "agents.yaml".to_owned(),
                dedup_key: format!("init/{agent}"),
                body: body.clone(),
                place: None,
                expires: None,
            };
            self.store.insert_prompt(&prompt, self.clock.now()).await?;
        }
        self.await_id(setup, &pane).await
    }

    async fn create(&self, setup: &AgentSetup, argv: Vec<OsString>) -> anyhow::Result<PaneId> {
        let agent = &setup.agent.slug;
        let tags = [(TAG_AGENT, agent.as_str()), (TAG_FLEET, &self.fleet)];
        let new = NewSession {
            name: agent.to_string(),
            cwd: setup.cwd.clone(),
            argv,
            tags: tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            width: SIZE.0,
            height: SIZE.1,
        };
        let pane = self.tmux.create(&new).await.with_context(|| format!("can't create the session of {agent}"))?;
        Ok(pane.id)
    }

    /// Clones what is missing and gives the agent a worktree of each of its repositories.
    async fn prepare_worktrees(&self, setup: &AgentSetup) -> anyhow::Result<()> {
        let agent = &setup.agent;
        for repo in &agent.repos {
            let clone =
                self.git.clone_missing(&self.repos_dir, repo).await.with_context(|| format!("can't clone {repo}"))?;
            let path = worktree_path(&setup.cwd, repo, &agent.repos);
            let made = self.git.worktree_missing(&clone, &path, &branch(&agent.slug)).await;
            made.with_context(|| format!("can't make the worktree of {repo} for {}", agent.slug))?;
        }
        Ok(())
    }

    /// Waits until a CLI that chooses its conversation's id itself has shown it.
    async fn await_id(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<()> {
        if !matches!(setup.runtime.identity(), Identity::LockFile { .. }) {
            return Ok(());
        }
        let shown = async {
            while !self.follow_lock(setup, pane).await? {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        // A CLI that is slow, or ended at once, is looked at again by the next pass.
        tokio::time::timeout(ID_SHOWS, shown).await.unwrap_or(Ok(()))
    }

    async fn follow(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<()> {
        self.follow_lock(setup, pane).await.map(drop)
    }

    /// Stores the conversation's id that the CLI's open lock file shows; says whether it shows one.
    async fn follow_lock(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<bool> {
        let Identity::LockFile { directory } = setup.runtime.identity() else { return Ok(true) };
        let Some(pane) = self.tmux.pane(pane).await.context("can't look at a pane")? else { return Ok(false) };
        let locks = open_files_in(&family(pane.pid), directory);
        // Other locks than those of conversations lie there too.
        let mut ids = locks.iter().filter_map(|lock| Uuid::parse_str(lock.file_stem()?.to_str()?).ok());
        let Some(id) = ids.next().map(|id| id.to_string()) else { return Ok(false) };
        let agent = &setup.agent.slug;
        let known = self.store.conversation(agent).await?;
        if known.is_none_or(|row| row.id != id) {
            self.store.follow_conversation(agent, &id, self.clock.now()).await?;
        }
        Ok(true)
    }
}

/// Whether the CLI keeps a record of the conversation `id`.
fn has_record(setup: &AgentSetup, id: &str) -> bool {
    let conversation = Conversation::Resume { id: id.to_owned() };
    setup.runtime.records(&setup.context(&conversation)).iter().any(|source| match source {
        RecordSource::File { path, kind } => *kind == RecordKind::Transcript && path.exists(),
        RecordSource::Below { root, depth, suffix, .. } => newest_below(root, *depth, suffix).is_some(),
    })
}

/// Puts in place what the agent's start needs, and answers the pane's command. The command is the same for ever and holds
/// nothing: program, arguments and environment stand in a private file that our launcher reads before it becomes the agent.
fn write_launch(setup: &AgentSetup, conversation: &Conversation) -> anyhow::Result<Vec<OsString>> {
    let agent = &setup.agent.slug;
    create_private_dir(&setup.state).with_context(|| format!("can't create {}", setup.state.display()))?;
    let launch = setup.runtime.launch(&setup.context(conversation));
    for planted in &launch.seeds {
        seed::plant(planted).with_context(|| format!("can't prepare the start of {agent}"))?;
    }
    let mut environment = setup.environment.clone();
    environment.extend(launch.env);
    environment.insert("PWD".into(), setup.cwd.clone().into());
    let file = LaunchFile::new(launch.argv, environment.into_iter().collect(), setup.cwd.clone());
    let path = setup.state.join("launch.json");
    let json = file.to_json().context("can't write the launch file")?;
    write_private(&path, json.as_bytes()).with_context(|| format!("can't write {}", path.display()))?;
    Ok(vec![setup.fleetd.clone().into(), "launch".into(), path.into()])
}
