//! Keeps every agent's session up, as the same conversation: observe, plan, apply; at boot, every ten seconds, on demand.
//!
//! A session is never torn down and never started over a person's: what ended is resumed in its pane, what carries no tag of
//! this fleet is not touched. One agent's failure is that agent's alone.

mod conversation;
mod orphan;
mod plan;
mod retire;
mod seed;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::config::CrashPoint;
use crate::files::{create_private_dir, lines, newest_below, open_files_in, write_private};
use crate::git::{Git, branch, worktree_path};
use crate::model::{Clock, LaunchFile, NewPrompt, PromptId, Slug, Source};
use crate::runtime::{AgentSetup, Conversation, Identity, Record, RecordKind, RecordSource};
use crate::store::Store;
use crate::tmux::{Death, NewSession, Pane, PaneId, Screen, Server, family};

use conversation::OnDisk;
use plan::Starts;
pub use plan::{Step, TAG_AGENT, TAG_FLEET};
pub use retire::{Retirement, end as retirement_end};

/// How many agents are started at once.
const LAUNCHES_AT_ONCE: usize = 4;

/// How long a CLI that chooses its conversation's id itself may take to show it.
const ID_SHOWS: Duration = Duration::from_secs(15);

/// How much of an ended program's screen is told.
const LAST_LINES: usize = 3;
const LAST_CHARACTERS: usize = 400;

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
    starts: Mutex<HashMap<Slug, Starts>>,
}

/// Whether an agent that ended soon after its last starts may be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// After a pause that grows.
    Growing,
    /// At once: a person asked for it.
    None,
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
        let shared =
            Shared { launching: Mutex::default(), slots, problems: Mutex::default(), starts: Mutex::default() };
        let shared = Arc::new(shared);
        Self { store, tmux, git, clock, fleet, repos_dir, shared }
    }

    /// Looks at the server, which is started where it is not up, and plans.
    pub async fn survey(&self, agents: &[Slug], patience: Patience) -> anyhow::Result<Survey> {
        if !self.tmux.is_connected() {
            self.tmux.start().await.context("can't start the tmux server")?;
        }
        let panes = self.tmux.panes().await.context("can't list the tmux sessions")?;
        let launching = self.shared.launching.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let starts = match patience {
            Patience::Growing => self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Patience::None => HashMap::new(),
        };
        let mut steps = plan::plan(agents, &panes, &self.fleet, &starts, self.clock.now());
        steps.retain(|step| !launching.contains(step.agent()) || matches!(step, Step::Keep { .. }));
        Ok(Survey { steps, panes })
    }

    /// An agent's pane, whether it is wanted or not.
    pub fn pane_of<'a>(&self, survey: &'a Survey, agent: &Slug) -> Option<&'a PaneId> {
        let tagged = |pane: &&Pane, name, value: &str| pane.tags.get(name).is_some_and(|tag| tag == value);
        let its = |pane: &&Pane| tagged(pane, TAG_AGENT, agent.as_str()) && tagged(pane, TAG_FLEET, &self.fleet);
        survey.panes.iter().find(its).map(|pane| &pane.id)
    }

    /// What to do about agents that are not wanted any more; see [`retire::retirements`].
    pub fn retirements(
        &self,
        survey: &Survey,
        wanted: &[Slug],
        retired: &[(Slug, Timestamp)],
        after: Duration,
    ) -> Vec<Retirement> {
        retire::retirements(&survey.panes, &self.fleet, wanted, retired, after, self.clock.now())
    }

    /// Does one step. What fails is kept as the agent's problem until a later step of the same agent succeeds.
    pub async fn apply(&self, step: &Step, setup: &AgentSetup) -> anyhow::Result<()> {
        let agent = &setup.agent.slug;
        let done = match step {
            Step::Keep { pane, .. } => {
                self.forget_starts(agent);
                self.follow(setup, pane).await
            }
            Step::Pause { pane, death, in_vain, .. } => Err(self.short_lives(pane, death, *in_vain).await),
            Step::Refuse { why, .. } => Err(anyhow::anyhow!("{why}")),
            Step::Create { .. } | Step::Respawn { .. } => {
                let Some(_launching) = Launching::begin(&self.shared, agent) else { return Ok(()) };
                self.launch(setup).await
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

    /// Says that an agent's process is about to be ended on purpose: it is resumed at once, however soon after its start that is.
    pub fn expect_end(&self, agent: &Slug) {
        self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner).remove(agent);
    }

    /// How many starts of an agent in a row were not followed by a good life, the first among them; 0 where it is well.
    pub fn starts_in_vain(&self, agent: &Slug) -> u32 {
        let starts = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.get(agent).map_or(0, Starts::in_vain)
    }

    fn note_start(&self, agent: &Slug) {
        let mut starts = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = starts.get(agent).copied();
        starts.insert(agent.clone(), Starts::one_more(before, self.clock.now()));
    }

    /// Forgets the starts of an agent that is alive, once its last one was a good one.
    fn forget_starts(&self, agent: &Slug) {
        let mut starts = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.get(agent).is_some_and(|starts| starts.was_good(self.clock.now())) {
            starts.remove(agent);
        }
    }

    /// What is said of an agent whose process ended soon after each start: how, and with which last words.
    async fn short_lives(&self, pane: &PaneId, death: &Death, in_vain: u32) -> anyhow::Error {
        // A pane that can't be looked at has no last words; how its process ended is known all the same.
        let words = self.tmux.capture(pane).await.map(|screen| last_words(&screen)).unwrap_or_default();
        let words = if words.is_empty() { "it left no words on its screen".to_owned() } else { words };
        anyhow::anyhow!(
            "it {} soon after each of {in_vain} starts: {words}. Mend that and run `fleet reconcile`; it is also tried \
             again by itself, after growing pauses",
            plan::how(death)
        )
    }

    async fn launch(&self, setup: &AgentSetup) -> anyhow::Result<()> {
        let agent = &setup.agent.slug;
        std::fs::create_dir_all(&setup.cwd)
            .with_context(|| format!("can't create the workspace {} of {agent}", setup.cwd.display()))?;
        let _slot = self.shared.slots.acquire().await.context("fleetd is shutting down")?;
        self.prepare_worktrees(setup).await?;
        // Looked at again, now that nobody else launches this agent: a clone takes long, another pass may have been quicker,
        // and after a restart of the tmux server the pane's id may be another agent's.
        let panes = self.tmux.panes().await.context("can't list the tmux sessions")?;
        let dead = match plan::step(agent, &panes, &self.fleet, None) {
            Step::Keep { .. } => return Ok(()),
            Step::Refuse { why, .. } => anyhow::bail!(why),
            Step::Create { .. } => None,
            Step::Respawn { pane, .. } | Step::Pause { pane, .. } => Some(pane),
        };
        orphan::end(&setup.state).await?;
        let row = self.store.conversation(agent).await?;
        let identity = setup.runtime.identity();
        let known = row.as_ref().map(|row| row.id.as_str());
        let chosen = conversation::choose(identity, known, |id| on_disk(setup, id), || Uuid::new_v4().to_string());
        let argv = write_launch(setup, &chosen)?;
        if row.is_none_or(|row| row.launches == 0) {
            // Before the launch is counted: a crash in between must not make it look like a later one.
            self.greet(setup).await?;
        }
        self.store.count_launch(agent, chosen.id(), self.clock.now()).await?;
        CrashPoint::LaunchCounted.pass();
        self.note_start(agent);
        let pane = match dead {
            Some(pane) => {
                self.tmux.respawn(&pane, &setup.cwd, &argv).await.with_context(|| format!("can't resume {agent}"))?;
                pane
            }
            None => self.create(setup, argv).await?,
        };
        CrashPoint::Launched.pass();
        tracing::info!(%agent, conversation = chosen.id(), resumed = matches!(chosen, Conversation::Resume { .. }), "started");
        self.await_id(setup, &pane).await
    }

    /// Stores the agent's first prompt, once.
    async fn greet(&self, setup: &AgentSetup) -> anyhow::Result<()> {
        let Some(body) = &setup.agent.init_prompt else { return Ok(()) };
        let agent = &setup.agent.slug;
        let prompt = NewPrompt {
            id: PromptId::random(),
            agent: agent.clone(),
            source: Source::Init,
            who: "agents.yaml".to_owned(),
            dedup_key: format!("init/{agent}"),
            body: body.clone(),
            place: None,
            expires: None,
            mode: crate::model::Mode::Queue,
        };
        self.store.insert_prompt(&prompt, self.clock.now()).await?;
        CrashPoint::InitStored.pass();
        Ok(())
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

    /// Stores which conversation the agent in `pane` is, where its CLI chooses that itself and a person may have begun another.
    pub async fn follow(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<()> {
        self.follow_lock(setup, pane).await.map(drop)
    }

    /// Stores the conversation's id that the CLI's open lock file shows; says whether it shows one.
    async fn follow_lock(&self, setup: &AgentSetup, pane: &PaneId) -> anyhow::Result<bool> {
        let Identity::LockFile { directory } = setup.runtime.identity() else { return Ok(true) };
        let Some(pane) = self.tmux.pane(pane).await.context("can't look at a pane")? else { return Ok(false) };
        // The nearest of the family: an agent may run the same CLI as a tool.
        let Some(id) = family(pane.pid).into_iter().find_map(|pid| newest_lock(pid, directory)) else {
            return Ok(false);
        };
        let agent = &setup.agent.slug;
        let known = self.store.conversation(agent).await?;
        if known.is_none_or(|row| row.id != id) {
            self.store.follow_conversation(agent, &id, self.clock.now()).await?;
        }
        Ok(true)
    }
}

/// An agent's launch that runs. Gone with it, however it ends: an agent that looked launched for ever would never be again.
struct Launching<'a> {
    shared: &'a Shared,
    agent: &'a Slug,
}

impl<'a> Launching<'a> {
    /// None where one runs already.
    fn begin(shared: &'a Shared, agent: &'a Slug) -> Option<Self> {
        let begun = shared.launching.lock().unwrap_or_else(PoisonError::into_inner).insert(agent.clone());
        // Lazily: one that was made in vain would take the other out of the set when it is dropped.
        begun.then(|| Self { shared, agent })
    }
}

impl Drop for Launching<'_> {
    fn drop(&mut self) {
        self.shared.launching.lock().unwrap_or_else(PoisonError::into_inner).remove(self.agent);
    }
}

/// The conversation whose lock a process took last: Codex keeps the locks of those that a person left by `/new` (measured
/// with 0.169.0). Other locks than those of conversations lie there too.
fn newest_lock(pid: u32, directory: &str) -> Option<String> {
    let named = |lock: PathBuf| {
        let id = Uuid::parse_str(lock.file_stem()?.to_str()?).ok()?;
        Some((std::fs::metadata(&lock).and_then(|found| found.modified()).ok(), id.to_string()))
    };
    open_files_in(&[pid], directory).into_iter().filter_map(named).max().map(|(_, id)| id)
}

/// The last lines of an ended program's screen, in one line. tmux's own "Pane is dead" is none of them.
fn last_words(screen: &Screen) -> String {
    let rows = screen.rows.iter().map(|row| row.text.trim());
    let said: Vec<&str> = rows.filter(|row| !row.is_empty() && !row.starts_with("Pane is dead")).collect();
    let words = said[said.len().saturating_sub(LAST_LINES)..].join(" ");
    // Of a long text the end tells most.
    let surplus = words.chars().count().saturating_sub(LAST_CHARACTERS);
    words.chars().skip(surplus).collect()
}

/// What the CLI has on disk of the conversation `id`.
fn on_disk(setup: &AgentSetup, id: &str) -> OnDisk {
    let conversation = Conversation::Resume { id: id.to_owned() };
    let transcript = |source| match source {
        RecordSource::File { path, kind: RecordKind::Transcript } => path.exists().then_some(path),
        RecordSource::File { .. } => None,
        RecordSource::Below { root, depth, suffix, .. } => newest_below(&root, depth, &suffix),
    };
    match setup.runtime.records(&setup.context(&conversation)).into_iter().find_map(transcript) {
        None => OnDisk::Nothing,
        Some(path) if has_words(setup, &path) => OnDisk::Words,
        Some(_) => OnDisk::Wordless,
    }
}

/// Whether a transcript holds anything that was asked or said. One that can't be read is the CLI's to judge.
fn has_words(setup: &AgentSetup, path: &Path) -> bool {
    let mut start = 0;
    loop {
        let Ok(reading) = lines::read(path, lines::Place { bytes: start, ..Default::default() }) else { return true };
        let Some(reading) = reading else { return false };
        let words = |record: &Record| record.taken().is_some() || matches!(record, Record::Said { .. });
        let read = |line: &lines::Line| setup.runtime.read_record(RecordKind::Transcript, &line.text);
        if reading.lines.iter().any(|line| read(line).iter().any(words)) {
            return true;
        }
        if !reading.more {
            return false;
        }
        start = reading.end;
    }
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
    let mut file = LaunchFile::new(launch.argv, environment.into_iter().collect(), setup.cwd.clone());
    file.fingerprint = Some(setup.agent.launch_fingerprint());
    let path = setup.state.join("launch.json");
    let json = file.to_json().context("can't write the launch file")?;
    write_private(&path, json.as_bytes()).with_context(|| format!("can't write {}", path.display()))?;
    Ok(vec![setup.fleetd.clone().into(), "launch".into(), path.into()])
}
