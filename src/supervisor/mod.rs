//! Keeps every agent's session up, as the same conversation: observe, plan, apply; at boot, every ten seconds, on demand.
//!
//! A session is never torn down and never started over a person's: what ended is resumed in its pane, what carries no tag of
//! this fleet is not touched. One agent's failure is that agent's alone.

mod conversation;
mod holder;
mod launch;
mod plan;
mod retire;
mod seed;
mod stagger;
mod stray;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::git::Git;
use crate::model::{Clock, Notice, Slug};
use crate::runtime::AgentSetup;
use crate::store::Store;
use crate::tmux::{Death, Pane, PaneId, ProcessMark, ProcessStatus, Screen, Server, end_families};

use plan::Starts;
pub use plan::{Step, TAG_AGENT, TAG_FLEET};
pub use retire::{Retirement, end as retirement_end};
use stagger::Turns;
use stray::{Life, left_behind};

/// How many agents are started at once, and for how many something is cloned at once.
const LAUNCHES_AT_ONCE: usize = 4;

/// When tmux is asked again whether a pane's process has ended, once the kernel said so: in milliseconds, and that often.
const LOOKS_AFTER_DEATH: [u64; 8] = [0, 1, 2, 4, 8, 16, 32, 64];

/// How much of an ended program's screen is told.
const LAST_LINES: usize = 3;
const LAST_CHARACTERS: usize = 400;

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
    clones: Semaphore,
    /// From when the turns of starts are counted: no clock that is set can move it.
    since: Instant,
    turns: Mutex<Turns>,
    /// How far apart sessions are started that are created at once.
    gap: Mutex<Duration>,
    /// Processes that are being ended: nobody is told twice.
    ending: Mutex<HashSet<ProcessMark>>,
    problems: Mutex<HashMap<Slug, String>>,
    starts: Mutex<HashMap<Slug, Starts>>,
    /// Marks that were found right: of which process, and the file's last change and length.
    marks: Mutex<HashMap<Slug, (u32, SystemTime, u64)>>,
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
    /// After which time the first of those that pause may be started again.
    pub again: Option<Duration>,
}

impl Survey {
    /// The panes of ours, by agent.
    pub fn seats(&self) -> HashMap<Slug, PaneId> {
        self.steps.iter().filter_map(|step| Some((step.agent().clone(), step.pane()?.clone()))).collect()
    }
}

impl Survey {
    /// The processes of the live panes of ours, by agent.
    pub fn alive(&self) -> HashMap<Slug, u32> {
        let kept = self.steps.iter().filter_map(|step| match step {
            Step::Keep { agent, pid, .. } => Some((agent.clone(), *pid)),
            _ => None,
        });
        kept.collect()
    }
}

impl Supervisor {
    /// A supervisor of the fleet named `fleet`, whose clones lie in `repos_dir`.
    pub fn new(store: Store, tmux: Server, git: Git, clock: Arc<dyn Clock>, fleet: String, repos_dir: PathBuf) -> Self {
        let shared = Arc::new(Shared {
            launching: Mutex::default(),
            slots: Semaphore::new(LAUNCHES_AT_ONCE),
            clones: Semaphore::new(LAUNCHES_AT_ONCE),
            since: Instant::now(),
            turns: Mutex::default(),
            gap: Mutex::default(),
            ending: Mutex::default(),
            marks: Mutex::default(),
            problems: Mutex::default(),
            starts: Mutex::default(),
        });
        Self { store, tmux, git, clock, fleet, repos_dir, shared }
    }

    /// Sets how far apart sessions are started that are created at once; at first they are not held back.
    pub fn set_launch_stagger(&self, gap: Duration) {
        *self.shared.gap.lock().unwrap_or_else(PoisonError::into_inner) = gap;
    }

    /// Looks at the server, which is started where it is not up, and plans.
    pub async fn survey(&self, agents: &[Slug], patience: Patience) -> anyhow::Result<Survey> {
        if !self.tmux.is_reachable() {
            self.tmux.start().await.context("can't start the tmux server")?;
        }
        let panes = self.tmux.panes().await.context("can't list the tmux sessions")?;
        let launching = self.shared.launching.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let starts = match patience {
            Patience::Growing => self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Patience::None => HashMap::new(),
        };
        let now = self.clock.now();
        let mut steps = plan::plan(agents, &panes, &self.fleet, &starts, now);
        steps.retain(|step| !launching.contains(step.agent()) || matches!(step, Step::Keep { .. }));
        let pausing = steps.iter().filter(|step| matches!(step, Step::Pause { .. }));
        let waits = pausing.filter_map(|step| starts.get(step.agent())?.wait(now));
        let again = waits.min().map(|wait| wait.unsigned_abs());
        Ok(Survey { steps, panes, again })
    }

    /// Looks at one agent whose process has just ended, until tmux has seen that too; none where there is nothing to do now.
    pub async fn survey_after_death(&self, agent: &Slug) -> anyhow::Result<Option<Survey>> {
        for pause in LOOKS_AFTER_DEATH {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let panes = self.tmux.panes_now().await.context("can't list the tmux sessions")?;
            let starts = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let steps = plan::plan(std::slice::from_ref(agent), &panes, &self.fleet, &starts, self.clock.now());
            let ended = |id: &PaneId| {
                let pane = panes.iter().find(|pane| pane.id == *id);
                pane.is_some_and(|pane| ProcessStatus::read(pane.pid).is_none())
            };
            match steps.first() {
                Some(Step::Respawn { .. }) => return Ok(Some(Survey { steps, panes, again: None })),
                Some(Step::Keep { pane, .. }) if ended(pane) => {}
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Ends what dead agents left behind, in the background. See [`stray`].
    pub async fn sweep(&self) -> anyhow::Result<()> {
        let (fleet, server) = (self.fleet.clone(), self.tmux.noted_pid());
        let strays = tokio::task::spawn_blocking(move || stray::find(&fleet, server)).await?;
        if strays.is_empty() {
            return Ok(());
        }
        // In this order: whoever is in neither was not alive when the strays were found.
        let launching = self.shared.launching.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let panes = self.tmux.panes_now().await.context("can't list the tmux sessions")?;
        for stray in strays {
            let Ok(agent) = stray.agent.parse::<Slug>() else { continue };
            let its = |pane: &&Pane| pane.death.is_none() && self.is_of(pane, &agent);
            let alive = launching.contains(&agent) || panes.iter().find(its).is_some();
            let row = self.store.conversation(&agent).await?;
            let life = row.map(|row| Life { launch: row.launches, alive });
            if !left_behind(&stray, life) || !self.begin_ending(stray.mark) {
                continue;
            }
            tracing::info!(%agent, pid = stray.mark.pid, "a process that a dead agent left behind is told to end");
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                if !end_families(&[stray.mark]).await.is_empty() {
                    tracing::warn!(%agent, pid = stray.mark.pid, "what a dead agent left behind can't be ended");
                }
                shared.ending.lock().unwrap_or_else(PoisonError::into_inner).remove(&stray.mark);
            });
        }
        Ok(())
    }

    fn begin_ending(&self, mark: ProcessMark) -> bool {
        self.shared.ending.lock().unwrap_or_else(PoisonError::into_inner).insert(mark)
    }

    fn is_of(&self, pane: &Pane, agent: &Slug) -> bool {
        let tagged = |name, value: &str| pane.tags.get(name).is_some_and(|tag| tag == value);
        tagged(TAG_AGENT, agent.as_str()) && tagged(TAG_FLEET, &self.fleet)
    }

    /// An agent's pane, whether it is wanted or not.
    pub fn pane_of<'a>(&self, survey: &'a Survey, agent: &Slug) -> Option<&'a PaneId> {
        survey.panes.iter().find(|pane| self.is_of(pane, agent)).map(|pane| &pane.id)
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
            Step::Keep { pid, .. } => {
                self.forget_starts(agent);
                self.mend_mark(setup, *pid)
            }
            Step::Pause { pane, death, in_vain, .. } => {
                self.tell_of_crashes(agent, pane, death).await;
                Err(self.short_lives(pane, death, *in_vain).await)
            }
            Step::Refuse { why, .. } => Err(anyhow::anyhow!("{why}")),
            Step::Create { .. } | Step::Respawn { .. } => {
                let Some(_launching) = Launching::begin(&self.shared, agent) else { return Ok(()) };
                if let Step::Respawn { pane, death, .. } = step {
                    self.tell_of_crashes(agent, pane, death).await;
                }
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

    /// Sees to it that the mark of an agent that is alive is there and right. One look at the file's dates suffices while nothing
    /// has touched it: a pass goes over a thousand agents.
    fn mend_mark(&self, setup: &AgentSetup, pid: u32) -> anyhow::Result<()> {
        let agent = &setup.agent.slug;
        let dated = || {
            let found = std::fs::metadata(ProcessMark::path(&setup.state)).ok()?;
            Some((pid, found.modified().ok()?, found.len()))
        };
        let before = dated();
        let known = self.shared.marks.lock().unwrap_or_else(PoisonError::into_inner).get(agent).copied();
        if before.is_some() && before == known {
            return Ok(());
        }
        holder::mend_mark(&setup.state, agent, &self.fleet, pid)?;
        if let Some(dated) = before.filter(|before| dated().as_ref() == Some(before)) {
            self.shared.marks.lock().unwrap_or_else(PoisonError::into_inner).insert(agent.clone(), dated);
        }
        Ok(())
    }

    /// Forgets the starts of an agent that is alive, once its last one was a good one.
    fn forget_starts(&self, agent: &Slug) {
        let mut starts = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.get(agent).is_some_and(|starts| starts.was_good(self.clock.now())) {
            starts.remove(agent);
        }
    }

    /// Tells people of an agent that crashes on and on, once for each series.
    async fn tell_of_crashes(&self, agent: &Slug, pane: &PaneId, death: &Death) {
        let known = |starts: &HashMap<Slug, Starts>| starts.get(agent).copied();
        let starts = known(&self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(told) = starts.and_then(Starts::to_tell) else { return };
        let how = format!("it {}, {}", plan::how(death), self.last_words(pane).await);
        let notice = Notice::Crashed { agent: agent.clone(), how, times: told.in_vain() };
        let key = format!("crashes/{agent}/{}", told.since());
        match self.store.tell_box(&key, &notice, self.clock.now()).await {
            Ok(true) => tracing::error!("{notice}"),
            Ok(false) => {}
            Err(error) => return tracing::warn!(%agent, "can't store that it crashes on and on: {error:#}"),
        }
        let mut starts = self.shared.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&starts).is_some_and(|now| now.since() == told.since()) {
            starts.entry(agent.clone()).and_modify(|now| *now = now.to_tell().unwrap_or(*now));
        }
    }

    /// What is said of an agent whose process ended soon after each start: how, and with which last words.
    async fn short_lives(&self, pane: &PaneId, death: &Death, in_vain: u32) -> anyhow::Error {
        anyhow::anyhow!(
            "it {} soon after each of {in_vain} starts: {}. Mend that and run `fleet reconcile`; it is also tried \
             again by itself, after growing pauses",
            plan::how(death),
            self.last_words(pane).await
        )
    }

    /// What a pane's ended process left on its screen, for people.
    async fn last_words(&self, pane: &PaneId) -> String {
        // A pane that can't be looked at has no last words; how its process ended is known all the same.
        let words = self.tmux.capture(pane).await.map(|screen| last_words(&screen)).unwrap_or_default();
        if words.is_empty() { "it left no words on its screen".to_owned() } else { words }
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

/// The last lines of an ended program's screen, in one line. tmux's own "Pane is dead" is none of them.
fn last_words(screen: &Screen) -> String {
    let rows = screen.rows.iter().map(|row| row.text.trim());
    let said: Vec<&str> = rows.filter(|row| !row.is_empty() && !row.starts_with("Pane is dead")).collect();
    let words = said[said.len().saturating_sub(LAST_LINES)..].join(" ");
    // Of a long text the end tells most.
    let surplus = words.chars().count().saturating_sub(LAST_CHARACTERS);
    words.chars().skip(surplus).collect()
}
