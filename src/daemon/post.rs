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
use crate::tmux::{PaneId, ProcessMark};

/// How many ticks an agent sleeps through that is at rest. A pass costs some seven trips to the store.
const RESTS: u8 = 2;

/// How many of its earlier ways to be started are remembered: a launch that takes minutes must find its own among them.
const EARLIER: usize = 8;

/// One agent in the running fleet.
pub struct AgentPost {
    slug: Slug,
    /// Its directory in the state directory.
    state: PathBuf,
    setup: Mutex<Arc<AgentSetup>>,
    /// What agents.yaml said before, with their launches' fingerprints, the latest last: its process may be, or be about to
    /// be, what one of them says.
    earlier: Mutex<Vec<(String, Arc<AgentSetup>)>>,
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

/// What a process noted of its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// The word of its runtime; none of an earlier release, which did not note it.
    pub runtime: Option<String>,
    /// What it was launched by, as [`crate::config::Agent::launch_fingerprint`] tells it.
    pub fingerprint: String,
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
        self.setup_noted(self.launched().as_ref())
    }

    fn setup_noted(&self, launched: Option<&Launched>) -> Arc<AgentSetup> {
        let setup = self.setup();
        let Some(noted) = launched.map(|launched| &launched.fingerprint) else { return setup };
        if *noted == setup.agent.launch_fingerprint() {
            return setup;
        }
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.iter().find(|(known, _)| known == noted).map_or(setup, |(_, setup)| Arc::clone(setup))
    }

    /// What its process, by its own note, was launched by; none where it noted nothing.
    pub fn launched(&self) -> Option<Launched> {
        let noted = std::fs::read_to_string(LaunchFile::noted(&self.state)).ok().filter(|noted| !noted.is_empty())?;
        Some(match noted.rsplit_once(' ') {
            Some((runtime, fingerprint)) => {
                Launched { runtime: Some(runtime.to_owned()), fingerprint: fingerprint.to_owned() }
            }
            None => Launched { runtime: None, fingerprint: noted },
        })
    }

    /// Why its process can be neither read nor spoken to, for people: it is another CLI than agents.yaml has named since this
    /// daemon was started, and nothing is known of how that one was set up.
    pub fn unknown(&self) -> Option<String> {
        let launched = self.launched()?;
        let (runs, wanted) = (launched.runtime.as_deref()?, self.setup_noted(Some(&launched)));
        let wanted = wanted.agent.runtime.word();
        if runs == wanted {
            return None;
        }
        ProcessMark::read_live(&self.state)?;
        let slug = &self.slug;
        Some(format!(
            "it runs as {runs} still, agents.yaml has it as {wanted}: nothing is given to it until it has ended; attach \
             with `fleet attach {slug}` and end it"
        ))
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
        let before =
            std::mem::replace(&mut *self.setup.lock().unwrap_or_else(PoisonError::into_inner), Arc::new(setup));
        let fingerprint = before.agent.launch_fingerprint();
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those that are started alike the latest counts: it differs in what needs no start.
        earlier.retain(|(known, _)| *known != fingerprint);
        if earlier.len() == EARLIER {
            earlier.remove(0);
        }
        earlier.push((fingerprint, before));
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
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::runtime::for_agent;
    use crate::tmux::ProcessStatus;

    /// What agents.yaml says of `a`, in these words.
    fn setup(state: &Path, says: &str) -> AgentSetup {
        let path = state.join("agents.yaml");
        std::fs::write(&path, format!("- {{slug: a, {says}}}\n")).unwrap();
        let agent = config::load(&path, &config::Environment::default()).unwrap().agents.remove(0);
        let (cwd, state, fleetd) = (state.to_owned(), state.to_owned(), state.to_owned());
        AgentSetup {
            runtime: for_agent(&agent),
            agent,
            cwd,
            state,
            fleetd,
            environment: BTreeMap::new(),
            rule: None,
            root: false,
        }
    }

    const CLAUDE: &str = "runtime: claude";
    const CODEX: &str = "runtime: codex";

    fn note(post: &AgentPost, text: &str) {
        std::fs::write(LaunchFile::noted(post.state()), text).unwrap();
    }

    fn launch(post: &AgentPost) {
        note(post, &post.setup().agent.launch_note());
    }

    fn read_as(post: &AgentPost) -> &'static str {
        post.setup_of_process().agent.runtime.word()
    }

    #[test]
    fn an_agent_whose_launch_was_under_way_when_agents_yaml_changed_is_read_as_what_it_was_launched_as() {
        let state = tempfile::tempdir().unwrap();
        let post = AgentPost::new(setup(state.path(), CLAUDE));
        let begun = post.setup();
        post.set_setup(setup(state.path(), CODEX));
        assert_eq!(read_as(&post), "codex", "nothing runs yet");
        note(&post, &begun.agent.launch_note());
        assert_eq!((read_as(&post), post.unknown()), ("claude", None));
        launch(&post);
        assert_eq!(read_as(&post), "codex");
    }

    #[test]
    fn what_agents_yaml_says_there_and_back_again_reaches_the_process_that_never_changed() {
        let state = tempfile::tempdir().unwrap();
        let post = AgentPost::new(setup(state.path(), CLAUDE));
        launch(&post);
        post.set_setup(setup(state.path(), CODEX));
        assert_eq!(read_as(&post), "claude");
        post.set_setup(setup(state.path(), &format!("{CLAUDE}, context: {{compactAt: 0.5}}")));
        assert_eq!(post.setup_of_process().agent.compact_at, Some(0.5));
        post.set_setup(setup(state.path(), CODEX));
        assert_eq!((read_as(&post), post.setup_of_process().agent.compact_at), ("claude", Some(0.5)));
        for number in 0..20 {
            post.set_setup(setup(state.path(), &format!("{CODEX}, model: m{number}")));
        }
        assert_eq!(post.earlier.lock().unwrap().len(), EARLIER);
    }

    #[test]
    fn nothing_is_typed_into_a_cli_that_agents_yaml_stopped_naming_while_nobody_looked() {
        let state = tempfile::tempdir().unwrap();
        let post = AgentPost::new(setup(state.path(), CODEX));
        let claude = setup(state.path(), CLAUDE).agent;
        note(&post, &claude.launch_note());
        assert_eq!(post.unknown(), None, "it has ended");
        let pid = std::process::id();
        let mark = ProcessStatus::read(pid).unwrap().mark(pid);
        std::fs::write(ProcessMark::path(state.path()), mark.to_string()).unwrap();
        let told = post.unknown().unwrap();
        assert!(told.contains("runs as claude") && told.contains("fleet attach a"), "{told}");
        // One of an earlier release told nothing but the hash.
        note(&post, &claude.launch_fingerprint());
        assert_eq!((post.unknown(), post.launched().unwrap().fingerprint), (None, claude.launch_fingerprint()));
        launch(&post);
        assert_eq!(post.unknown(), None);
    }

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
