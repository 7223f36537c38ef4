//! One agent's place in the running fleet: its setup, and what the last passes saw. It outlives a change of agents.yaml, so
//! that no two passes ever work for one agent.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::restart::Wishes;
use crate::mirror::Progress;
use crate::model::{ContextUse, LaunchFile, Slug};
use crate::policy::Cut;
use crate::runtime::{Activity, AgentSetup};
use crate::tmux::PaneId;

/// How many ticks an agent sleeps through that is at rest. A pass costs some seven trips to the store.
const RESTS: u8 = 2;

/// One agent in the running fleet.
pub struct AgentPost {
    slug: Slug,
    /// Its directory in the state directory.
    state: PathBuf,
    setup: Mutex<Arc<AgentSetup>>,
    /// What its process was launched by, where agents.yaml says something else since.
    earlier: Mutex<Option<Arc<AgentSetup>>>,
    /// The process whose launch was compared with which setup.
    compared: Mutex<Option<(u32, Weak<AgentSetup>)>>,
    /// Wakes its mirror and delivery.
    pub wake: Notify,
    /// The wishes that it be started anew.
    pub restart: Wishes,
    /// What only a look at tmux or a pass can tell; a cache, made anew by every pass.
    seen: Mutex<Seen>,
    /// Whether ticks need wake it.
    pub rest: Rest,
    /// Held while its records are read: two readings at once would tell the same twice.
    pub reading: tokio::sync::Mutex<()>,
}

/// What the last passes saw of an agent.
#[derive(Default, Clone)]
pub struct Seen {
    /// Its pane.
    pub pane: Option<PaneId>,
    /// What held its next prompt back, for people.
    pub hold: Option<String>,
    /// Its record files that exist.
    pub files: Vec<PathBuf>,
    /// What its record shows it doing.
    pub activity: Option<Activity>,
    /// How full its context is.
    pub context: Option<ContextUse>,
    /// What cut its last turn off, and whether that was looked up since the feed told of it last.
    pub cut: Option<Cut>,
    cut_known: bool,
    /// Whether people may have been told that it can't go on and not yet that it does; none where nobody looked yet.
    pub told_blocked: Option<bool>,
}

impl AgentPost {
    /// An agent that nobody has looked at yet.
    pub fn new(setup: AgentSetup) -> Self {
        Self {
            slug: setup.agent.slug.clone(),
            state: setup.state.clone(),
            setup: Mutex::new(Arc::new(setup)),
            earlier: Mutex::default(),
            compared: Mutex::default(),
            wake: Notify::new(),
            restart: Wishes::default(),
            seen: Mutex::default(),
            rest: Rest::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// Its name.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// Its directory in the state directory, which no agents.yaml moves.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The setup by which its process is to be read and spoken to: until it is started anew, a process is what it was
    /// launched as, whatever agents.yaml says since. Another CLI's eyes would never see it idle. A pass takes it once and
    /// keeps it to its end.
    pub fn setup_of_process(&self) -> Arc<AgentSetup> {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(launched_by) = earlier.as_ref() {
            if self.runs_by(launched_by) {
                return Arc::clone(launched_by);
            }
            *earlier = None;
        }
        drop(earlier);
        self.setup()
    }

    /// Whether its process, by its own note, was launched by that setup.
    fn runs_by(&self, setup: &AgentSetup) -> bool {
        let noted = std::fs::read_to_string(LaunchFile::noted(&self.state)).unwrap_or_default();
        noted == setup.agent.launch_fingerprint()
    }

    /// Its setup, as agents.yaml has it now, for its next start and all that needs none. A pass takes it once and keeps it
    /// to its end.
    pub fn setup(&self) -> Arc<AgentSetup> {
        Arc::clone(&self.setup.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether that process's launch was compared with that setup already.
    pub fn is_compared(&self, pid: u32, setup: &Arc<AgentSetup>) -> bool {
        let compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        compared.as_ref().is_some_and(|(known, with)| *known == pid && with.ptr_eq(&Arc::downgrade(setup)))
    }

    /// Notes that it was.
    pub fn set_compared(&self, pid: u32, setup: &Arc<AgentSetup>) {
        *self.compared.lock().unwrap_or_else(PoisonError::into_inner) = Some((pid, Arc::downgrade(setup)));
    }

    /// Takes what agents.yaml says now, for every pass that begins from here on.
    pub fn set_setup(&self, setup: AgentSetup) {
        let fingerprint = setup.agent.launch_fingerprint();
        let before =
            std::mem::replace(&mut *self.setup.lock().unwrap_or_else(PoisonError::into_inner), Arc::new(setup));
        if before.agent.launch_fingerprint() != fingerprint && self.runs_by(&before) {
            *self.earlier.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        }
    }

    /// What held its next prompt back in the last pass, for people.
    pub fn hold(&self) -> Option<String> {
        self.seen().hold
    }

    /// Its pane, as far as the last look at tmux showed one.
    pub fn pane(&self) -> Option<PaneId> {
        self.seen().pane
    }

    /// Its record files that exist.
    pub fn files(&self) -> Vec<PathBuf> {
        self.seen().files
    }

    /// Notes its pane; says whether that is another one than before.
    pub fn set_pane(&self, pane: Option<PaneId>) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = seen.pane != pane;
        seen.pane = pane;
        changed
    }

    /// Notes what holds its next prompt back.
    pub fn set_hold(&self, hold: Option<String>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).hold = hold;
    }

    /// Notes what its records showed; says whether there are other record files than before.
    pub fn set_progress(&self, progress: &Progress) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = seen.files != progress.files;
        seen.files.clone_from(&progress.files);
        seen.activity.clone_from(&progress.activity);
        seen.context = progress.context;
        changed
    }

    /// Notes what cut its last turn off.
    pub fn set_cut(&self, cut: Option<Cut>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).cut = cut;
    }

    /// Says whether that is known, and takes it for known from here on: noted before it is looked up, so that whatever the feed
    /// tells meanwhile is looked up too.
    pub fn note_cut_known(&self) -> bool {
        std::mem::replace(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).cut_known, true)
    }

    /// Notes whether people may believe that it can't go on.
    pub fn set_told_blocked(&self, told: bool) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).told_blocked = Some(told);
    }

    /// Notes that the feed tells more of it.
    pub fn forget_cut(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).cut_known = false;
    }

    /// All of it.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How many more ticks need not wake an agent.
#[derive(Debug, Default)]
pub struct Rest(AtomicU8);

impl Rest {
    /// Notes whether its last pass found nothing that time alone could change: then only every third tick looks whether an
    /// event was lost.
    pub fn set(&self, at_rest: bool) {
        self.0.store(if at_rest { RESTS } else { 0 }, Ordering::Relaxed);
    }

    /// Whether this tick is to wake it; to be asked once for each tick.
    pub fn is_over(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_at_rest_is_looked_at_every_third_tick_and_any_other_at_every_one() {
        let rest = Rest::default();
        let ticks = |count: usize| (0..count).map(|_| rest.is_over()).collect::<Vec<_>>();
        assert_eq!(ticks(3), [true; 3]);
        rest.set(true);
        assert_eq!(ticks(4), [false, false, true, true]);
        rest.set(true);
        rest.set(false);
        assert_eq!(ticks(1), [true]);
    }
}
