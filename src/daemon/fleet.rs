//! The running fleet: every room's handle, the agents' setups, and the wakes between them. Wiring, no decisions.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};

use super::boot::Loader;
use super::deaths::Deaths;
use super::event::Event;
use super::news::FirstTries;
use super::places::Places;
use super::post::AgentPost;
use super::protocol::SlackStatus;
use super::pulse::Pulse;
use crate::config::{Fleet, StateDir};
use crate::delivery::{Delivery, Target};
use crate::mirror::{Mirror, Progress};
use crate::model::{Clock, Slug};
use crate::redact::Redaction;
use crate::runtime::{AgentSetup, Conversation, RecordKeeping, RecordSource};
use crate::store::Store;
use crate::supervisor::Supervisor;
use crate::tmux::Server;

/// The fleet as agents.yaml has it now.
pub struct Roster {
    /// agents.yaml, checked.
    pub fleet: Fleet,
    /// The agents, in file order.
    pub agents: Vec<Arc<AgentPost>>,
    /// Agents that this daemon has served and agents.yaml does not name any more: their turns are still told.
    pub retired: Vec<Arc<AgentPost>>,
}

impl Roster {
    /// The agent of that name.
    pub fn agent(&self, slug: &Slug) -> Option<&Arc<AgentPost>> {
        self.agents.iter().find(|post| post.slug() == slug)
    }

    /// The agents and those that are retired.
    pub fn all(&self) -> impl Iterator<Item = &Arc<AgentPost>> {
        self.agents.iter().chain(&self.retired)
    }
}

/// Everything that runs.
pub struct Running {
    /// Since when the daemon runs.
    pub since: Timestamp,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The database.
    pub store: Store,
    /// tmux.
    pub tmux: Server,
    /// Clones and worktrees.
    pub places: Places,
    /// Keeps sessions up.
    pub supervisor: Supervisor,
    /// Types.
    pub delivery: Delivery,
    /// Reads.
    pub mirror: Mirror,
    /// Who is in the fleet now.
    pub roster: watch::Sender<Arc<Roster>>,
    /// Where everything is kept.
    pub state: StateDir,
    /// Where events go.
    pub events: mpsc::UnboundedSender<Event>,
    /// Rises whenever a reader of the store may find something new.
    pub news: watch::Sender<u64>,
    /// Tells every task to end.
    pub stop: watch::Sender<bool>,
    /// What makes a fleet of an agents.yaml.
    pub loader: Loader,
    /// Wakes the reading of agents.yaml.
    pub config: Notify,
    /// The watches on the agents' processes.
    pub deaths: Deaths,
    /// When the passes ended last.
    pub pulse: Pulse,
    /// Wakes the supervisor's pass.
    pub supervise: Notify,
    /// Wakes the look whether the box may stop itself.
    pub idle: Notify,
    /// When somebody last had something done through the local API, in microseconds since 1970.
    pub acted: AtomicI64,
    /// How the first try to bring each agent up went.
    pub first_tries: FirstTries,
    /// Wakes the schedule's pass.
    pub schedule: Notify,
    /// Wakes the Slack bridge's reading of the feed.
    pub slack: Arc<Notify>,
    /// How the Slack bridge is; none where there is none.
    pub bridge: watch::Sender<Option<SlackStatus>>,
    /// What is wrong with the fleet as a whole, by what it is about.
    pub problems: Mutex<HashMap<&'static str, String>>,
    /// What must never leave the box.
    pub redaction: Redaction,
    /// Open, and so locked, for as long as the daemon lives.
    pub _lock: File,
}

impl Running {
    /// The agent of that name.
    pub fn agent(&self, slug: &Slug) -> Option<Arc<AgentPost>> {
        self.roster().agent(slug).cloned()
    }

    /// The fleet as it is now. A pass takes it once and keeps it to its end.
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// How the Slack bridge is; none where there is none.
    pub fn slack_status(&self) -> Option<SlackStatus> {
        self.bridge.borrow().clone()
    }

    /// What is wrong with the fleet as a whole, for people.
    pub fn problems(&self) -> Vec<String> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.values().cloned().chain(self.store.unreadable()).collect()
    }

    /// What is wrong with the fleet as a whole about one thing.
    pub fn problem(&self, about: &str) -> Option<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).get(about).cloned()
    }

    /// Says that something happened. After the loop has ended, nobody needs to hear it.
    pub fn tell(&self, event: Event) {
        self.events.send(event).ok();
    }

    /// Notes, or with `None` takes back, what is wrong with the fleet as a whole.
    pub fn set_problem(&self, about: &'static str, problem: Option<String>) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => {
                if problems.insert(about, problem.clone()).as_ref() != Some(&problem) {
                    tracing::error!("{problem}");
                }
            }
            None => {
                problems.remove(about);
            }
        }
    }

    /// The conversation an agent is, as far as the store knows.
    pub async fn conversation(&self, slug: &Slug) -> anyhow::Result<Conversation> {
        let id = self.store.conversation(slug).await?.map(|row| row.id).unwrap_or_default();
        Ok(Conversation::Resume { id })
    }

    /// Reads what is new in an agent's records.
    pub async fn mirror(
        &self,
        post: &AgentPost,
        setup: &AgentSetup,
        conversation: &Conversation,
    ) -> anyhow::Result<Progress> {
        // An id that is not known yet would make every record look like this agent's.
        let known =
            |source: &RecordSource| !matches!(source, RecordSource::Below { .. }) || !conversation.id().is_empty();
        let mut sources = setup.runtime.records(&setup.context(conversation));
        sources.retain(known);
        let _reading = post.reading.lock().await;
        let progress = self.mirror.pass(post.slug(), &setup.runtime, sources).await?;
        if progress.facts {
            post.forget_cut();
        }
        Ok(progress)
    }

    /// For whom a delivery pass is.
    pub fn target<'a>(&self, post: &AgentPost, setup: &'a AgentSetup, conversation: &'a Conversation) -> Target<'a> {
        let seen = post.seen();
        let (record_since, recorded) = match setup.runtime.keeps_record() {
            RecordKeeping::Always => (Some(None), None),
            RecordKeeping::IfFileExists => match seen.files.iter().filter_map(|file| kept_since(file)).min() {
                Some(since) => (Some(Some(since)), seen.activity),
                None => (None, None),
            },
        };
        Target {
            context: setup.context(conversation),
            runtime: &setup.runtime,
            pane: seen.pane,
            keeps_record: record_since.is_some(),
            record_since: record_since.flatten(),
            recorded,
            blocked: seen.cut.and_then(|cut| cut.blocks(self.clock.now())),
            rule: setup.rule.as_deref(),
            draining: post.restart.wanted().map(|(_, why)| why),
        }
    }

    /// The agents whose records lie in `directory`.
    pub fn agents_with_records_in(&self, directory: &Path) -> Vec<Slug> {
        let here = |post: &&Arc<AgentPost>| {
            post.state() == directory || post.files().iter().any(|file| file.parent() == Some(directory))
        };
        self.roster().all().filter(here).map(|post| post.slug().clone()).collect()
    }
}

/// Since when a record file is there; none where it isn't. A file system that does not tell is taken at its word of when the
/// file was changed last, which is later: less counts as proof then.
fn kept_since(file: &Path) -> Option<Timestamp> {
    let metadata = file.metadata().ok()?;
    let born = metadata.created().or_else(|_| metadata.modified()).ok()?;
    Timestamp::try_from(born).ok()
}
