//! The bridge in this process, with a real database, against the fake Slack.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetd::config::Rights;
use fleetd::model::{Clock, Fact, NewPrompt, Outcome, PromptId, Slug, Source, SystemClock};
use fleetd::slack::{Ask, BridgeStatus, FleetRights, SlackOptions, Timing, Wakes, run};
use fleetd::store::{RecordBatch, Store};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};
use crate::support::wait::{PATIENCE, until};

pub const PR: &str = "C00000001";
pub const REVIEWER: &str = "C00000002";
pub const NOBODYS: &str = "C00000003";

/// A clock that a test moves.
#[derive(Debug, Default)]
pub struct Moved(pub Mutex<SignedDuration>);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock().unwrap()
    }
}

/// A box with two agents whose names begin alike, and a channel that is nobody's.
pub struct House {
    pub slack: FakeSlack,
    pub store: Store,
    pub options: SlackOptions,
    /// Who may do what, from now on.
    pub rights: watch::Sender<Arc<FleetRights>>,
    _directory: tempfile::TempDir,
    path: PathBuf,
}

/// A running bridge. Dropping it is its death: nothing is finished or tidied.
pub struct Running {
    pub status: watch::Receiver<BridgeStatus>,
    pub inbox: mpsc::UnboundedReceiver<Slug>,
    pub asks: mpsc::UnboundedReceiver<Ask>,
    pub wake: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

/// Short where a test would have to wait, and never so short that a busy machine changes the outcome.
pub fn timing() -> Timing {
    Timing { look: Duration::from_millis(50), refused: Duration::from_millis(300), ..Timing::default() }
}

impl House {
    pub async fn new() -> Self {
        // Another test may have been first; the provider is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let channels = [("agent-pr", PR), ("agent-pr-reviewer", REVIEWER), ("general", NOBODYS)];
        let slack = FakeSlack::start(&channels, Duration::from_millis(400)).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet.db");
        let store = Store::open(&path).await.unwrap();
        let everybody = ["pr", "pr-reviewer"].map(|agent| (slug(agent), Rights::default()));
        let rights = watch::Sender::new(Arc::new(everybody.to_vec()));
        let options = SlackOptions {
            bot_token: BOT_TOKEN.to_owned().into(),
            app_token: APP_TOKEN.to_owned().into(),
            api_url: Some(slack.api_url()),
            agents: vec![(slug("pr"), "#agent-pr".into()), (slug("pr-reviewer"), REVIEWER.into())],
            status_channel: None,
            redaction: fleetd::redact::Redaction::new().unwrap(),
            rights: rights.subscribe(),
            inboxes: [(slug("pr"), directory.path().join("pr-files"))].into(),
            catch_up: Duration::from_secs(12 * 3600),
            timing: timing(),
        };
        Self { slack, store, options, rights, _directory: directory, path }
    }

    /// Everything that was to be said is said.
    pub async fn all_said(&self) {
        until("the outbox is empty", || async { self.store.outbox_heads().await.unwrap().is_empty().then_some(()) })
            .await;
    }

    pub fn start(&self) -> Running {
        self.start_at(Arc::new(SystemClock))
    }

    pub fn start_at(&self, clock: Arc<dyn Clock>) -> Running {
        self.slack.measure_by(Arc::clone(&clock));
        let (status_sender, status) = watch::channel(BridgeStatus::default());
        let (inbox_sender, inbox) = mpsc::unbounded_channel();
        let (asks_sender, asks) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let wake = Arc::new(Notify::new());
        let wakes = Wakes { outbox: Arc::clone(&wake), inbox: inbox_sender, asks: asks_sender };
        let shutdown = async move { stopped.await.unwrap_or(()) };
        let task = tokio::spawn(run(self.options.clone(), self.store.clone(), clock, wakes, status_sender, shutdown));
        Running { status, inbox, asks, wake, stop: Some(stop), task }
    }

    /// A bridge that is up.
    pub async fn started(&self) -> Running {
        let mut running = self.start();
        running.wait_status("the bridge is connected", |status| status.connected).await;
        until("the bridge knows where it reads on", || async { self.store.feed_cursor("slack").await.unwrap() }).await;
        running
    }

    /// The database as a new life finds it.
    pub async fn reopened(&mut self) {
        self.store = Store::open(&self.path).await.unwrap();
    }

    pub async fn open(&self, agent: &str) -> Vec<fleetd::model::Prompt> {
        self.store.open_prompts(&slug(agent)).await.unwrap()
    }

    /// Stores a prompt of `fleet send`.
    pub async fn cli_prompt(&self, agent: &str, body: &str) -> PromptId {
        let id = PromptId::random();
        let new = NewPrompt {
            id: id.clone(),
            agent: slug(agent),
            source: Source::Cli,
            who: "bob".into(),
            dedup_key: format!("cli/{id}"),
            body: body.into(),
            place: None,
            expires: None,
            mode: fleetd::model::Mode::Queue,
        };
        self.store.insert_prompt(&new, SystemClock.now()).await.unwrap();
        id
    }

    /// Appends what an agent did.
    pub async fn did(&self, agent: &str, turn: Option<&PromptId>, facts: impl IntoIterator<Item = Fact>) {
        let now = SystemClock.now();
        let facts = facts.into_iter().map(|fact| (now, turn.cloned(), fact)).collect();
        let batch = RecordBatch { facts, open_turn: "{}".into(), ..RecordBatch::default() };
        self.store.append_records(&slug(agent), &batch, now).await.unwrap();
    }

    pub fn assert_clean(&self) {
        assert_eq!(self.slack.violations(), Vec::<String>::new());
    }
}

impl Running {
    pub async fn wait_status(&mut self, event: &str, wanted: impl FnMut(&BridgeStatus) -> bool) -> BridgeStatus {
        let found = tokio::time::timeout(PATIENCE, self.status.wait_for(wanted)).await;
        found.unwrap_or_else(|_| panic!("waited in vain for: {event}")).unwrap().clone()
    }

    /// The next agent for which a prompt was stored.
    pub async fn prompted(&mut self) -> Slug {
        tokio::time::timeout(PATIENCE, self.inbox.recv()).await.expect("no prompt was stored").unwrap()
    }

    /// An orderly end.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.task).await.unwrap();
    }

    /// Sudden death.
    pub async fn kill(mut self) {
        self.task.abort();
        // Cancelled is what it was meant to be.
        let _ = (&mut self.task).await;
    }
}

pub fn started() -> Fact {
    Fact::TurnStarted { summary: "s".into() }
}

pub fn said(text: &str) -> Fact {
    Fact::Said { text: text.into() }
}

pub fn ended(outcome: Outcome) -> Fact {
    Fact::TurnEnded { outcome, usage: None, work: fleetd::model::Work::default() }
}
