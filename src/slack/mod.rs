//! The bridge to Slack: what people say there becomes prompts, what agents say is told there.
//!
//! An event is stored, then acked, then acted on; what is to be said is stored in the outbox with the cursor of the feed it
//! came from. So the death of the daemon, a lost socket or a lost answer neither loses nor doubles a word. `from_slack`,
//! `to_slack`, `progress`, `authority`, `command`, `bulletin`, `plain`, `markdown`, `split`, `amend` and `pace` decide and are pure;
//! `connector`, `socket`, `web`, `workspace`, `people`, `inbox`, `orders`, `home`, `feed`, `news`, `outbox`, `find`, `upload`
//! and `liveness` do.
//!
//! Must never happen here: a message of one channel that reaches another channel's agent; a bot's words that become a
//! prompt; an act with an agent for which `authority` gave no permit; a second post of what may have been posted, before the thread was read; a token or a socket's URL in a log; an
//! error that ends the daemon. A problem is told in [`BridgeStatus`], and the agents work on.

mod amend;
mod arrival;
mod authority;
mod away;
mod bulletin;
mod catch_up;
mod command;
mod connector;
mod directory;
mod effects;
mod feed;
mod fetch;
mod find;
mod from_slack;
mod home;
mod inbox;
mod inspect;
mod interaction;
mod leave;
mod liveness;
mod markdown;
mod news;
mod orders;
mod outbox;
mod outgoing;
mod pace;
mod people;
mod place_in_queue;
mod plain;
mod progress;
mod question;
mod reading;
mod socket;
mod split;
mod status;
mod to_slack;
mod upload;
mod verdict;
mod view;
mod web;
mod wording;
mod wording_fleet;
mod workspace;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use command::COMMAND;
pub use from_slack::{EVENTS, FILES_SCOPE};
pub use inspect::{Bot, Inspection, SeenChannel, Trouble, find_channel, inspect, manifest_scopes};
pub use news::LANE as NEWS;
pub use people::FleetRights;
pub use status::BridgeStatus;
pub use view::{AgentView, FleetView, LastView, QueuedView};
pub use web::METHODS;

use crate::model::{Clock, Place, PromptId, Slug};
use crate::redact::Redaction;
use crate::store::Store;
use away::Away;
use directory::Names;
use fetch::Fetcher;
use from_slack::Directory;
use liveness::Liveness;
use orders::Orders;
use people::People;
use status::Board;
use web::Web;

/// What the bridge needs to know.
#[derive(Debug, Clone)]
pub struct SlackOptions {
    /// `xoxb-…`
    pub bot_token: SecretString,
    /// `xapp-…`
    pub app_token: SecretString,
    /// The Web API's address, with or without a slash at its end; Slack's own where there is none.
    pub api_url: Option<String>,
    /// The agents that have a channel, with the channel as agents.yaml writes it: `#name` or an id.
    pub agents: Vec<(Slug, String)>,
    /// The channel of the box's own news, in the same words; none where there is none.
    pub status_channel: Option<String>,
    /// What must never be said.
    pub redaction: Redaction,
    /// Who may do what with every agent, as agents.yaml has it at any moment.
    pub rights: watch::Receiver<Arc<FleetRights>>,
    /// Where the files that people share with an agent are put, by agent.
    pub inboxes: HashMap<Slug, PathBuf>,
    /// What was said while nobody listened is passed on for so long; older words only get an answer that they were not.
    pub catch_up: Duration,
    /// How long to wait for what.
    pub timing: Timing,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The most that any call of the Web API, a dial or a frame that is written may take.
    pub call: Duration,
    /// A socket is pinged this often.
    pub ping: Duration,
    /// A socket from which nothing came for this long is half-open: it is given up.
    pub silence: Duration,
    /// A socket that lived this long was a good one: its end is no failure.
    pub settled: Duration,
    /// A socket that Slack said it would close is read for at most this long.
    pub drain: Duration,
    /// The wait before another try with a token that was refused.
    pub refused: Duration,
    /// The wait between a lost answer and the look into the thread: what is under way may still arrive.
    pub look: Duration,
    /// The most that a person's name may hold up their prompt.
    pub name: Duration,
    /// An App Home that somebody looks at is written this often at most.
    pub home: Duration,
    /// Each channel is looked at this often for what no socket brought.
    pub look_around: Duration,
    /// What was said so lately may still come on a socket.
    pub grace: Duration,
    /// The most that the fetching of one file may take.
    pub fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            ping: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            settled: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            refused: Duration::from_secs(300),
            look: Duration::from_secs(1),
            name: Duration::from_secs(1),
            home: Duration::from_secs(15),
            look_around: Duration::from_secs(45),
            grace: Duration::from_secs(5),
            fetch: Duration::from_secs(120),
        }
    }
}

/// How the bridge and the daemon wake each other.
#[derive(Debug)]
pub struct Wakes {
    /// Woken by the daemon (`notify_one`) when the feed has new rows.
    pub outbox: Arc<Notify>,
    /// Tells the daemon that a prompt was stored for an agent.
    pub inbox: mpsc::UnboundedSender<Slug>,
    /// Asks the daemon for what only it can do. It answers each; a sender that is gone means that nothing was done.
    pub asks: mpsc::UnboundedSender<Ask>,
}

/// What only the daemon can do.
#[derive(Debug)]
pub enum Ask {
    /// Break off the turn that is told in a thread, and no other.
    Interrupt {
        /// Whose.
        agent: Slug,
        /// The thread.
        place: Place,
        /// Where the answer goes.
        answer: oneshot::Sender<Interrupted>,
    },
    /// How the fleet is.
    Look {
        /// Where the answer goes; an error is for people.
        answer: oneshot::Sender<Result<FleetView, String>>,
    },
    /// What waits, for every agent.
    Queue {
        /// Where the answer goes; an error is for people.
        answer: oneshot::Sender<Result<Vec<QueuedView>, String>>,
    },
    /// Hold an agent and interrupt its turn.
    Stop {
        /// Whom.
        agent: Slug,
        /// On whose word.
        who: String,
        /// Where the answer goes: what happened, for people.
        answer: oneshot::Sender<Result<String, String>>,
    },
    /// Give an agent its daily prompt now.
    Nudge {
        /// Whom.
        agent: Slug,
        /// On whose word.
        who: String,
        /// The same key twice is the same prompt.
        key: String,
        /// Where the answer goes: the prompt's id.
        answer: oneshot::Sender<Result<PromptId, String>>,
    },
}

/// What became of an attempt to break a turn off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupted {
    /// Escape was pressed in it.
    Pressed,
    /// No turn of that thread runs.
    NotThere,
    /// It could not be done, for this reason, for people.
    Failed(String),
}

/// What the bridge's tasks share.
struct Bridge {
    web: Web,
    store: Store,
    redaction: Redaction,
    clock: Arc<dyn Clock>,
    timing: Timing,
    agents: Vec<(Slug, String)>,
    status_channel: Option<String>,
    fetcher: Fetcher,
    inboxes: HashMap<Slug, PathBuf>,
    catch_up: Duration,
    wakes: Wakes,
    board: Board,
    names: Names,
    liveness: Liveness,
    people: People,
    rights: watch::Receiver<Arc<FleetRights>>,
    orders: Orders,
    /// Who has opened their App Home.
    homes: mpsc::UnboundedSender<String>,
    /// The Web API's address; Slack's own where there is none.
    api_url: Option<String>,
    /// None until it is known who we are and which channel is whose.
    directory: watch::Sender<Option<Arc<Directory>>>,
    /// Where the app can neither hear nor speak.
    away: Away,
    /// When something last arrived in a channel.
    heard: Mutex<HashMap<String, Instant>>,
    /// Since when a message is missed that no socket brought.
    missed: watch::Sender<Option<Instant>>,
    /// A socket was opened: what was said before is to be read.
    reconnected: Notify,
    /// The channels may have changed.
    look_around: Notify,
    /// Something arrived and was stored.
    arrived: Notify,
    /// An outbox row was stored.
    queued: Notify,
    /// News of the box may have been told.
    told: Notify,
}

impl Bridge {
    /// When something last arrived in each channel.
    fn heard(&self) -> HashMap<String, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something arrived in a channel.
    fn hear(&self, channel: &str) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(channel.to_owned(), Instant::now());
    }

    /// The directory, as soon as there is one.
    async fn directory(&self) -> Arc<Directory> {
        let mut known = self.directory.subscribe();
        loop {
            if let Some(directory) = known.borrow_and_update().clone() {
                return directory;
            }
            if known.changed().await.is_err() {
                // The sender is a field of `self`: it can't be gone.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Runs the bridge until `shutdown`. Whatever goes wrong is told in `status` and tried again; what was under way at the
/// shutdown is settled by the next run.
pub async fn run(
    options: SlackOptions,
    store: Store,
    clock: Arc<dyn Clock>,
    wakes: Wakes,
    status: watch::Sender<BridgeStatus>,
    shutdown: impl Future<Output = ()>,
) {
    let board = Board::new(status);
    let web = Web::new(&options.bot_token, &options.app_token, options.api_url.as_deref(), options.timing.call);
    let web = match web {
        Ok(web) => web,
        Err(error) => {
            tracing::error!("the bridge to slack is off: {error:#}");
            board.web(Some(format!("{error:#}")));
            return shutdown.await;
        }
    };
    let (orders, taken) = Orders::new();
    let (homes, opened) = mpsc::unbounded_channel();
    let fetcher = match Fetcher::new(&options.bot_token, options.api_url.as_deref(), options.timing.fetch) {
        Ok(fetcher) => fetcher,
        // What makes one client fail makes the other fail too, and that was told above.
        Err(error) => {
            board.web(Some(format!("{error:#}")));
            return shutdown.await;
        }
    };
    let bridge = Arc::new(Bridge {
        web,
        store,
        redaction: options.redaction,
        clock,
        timing: options.timing,
        agents: options.agents,
        status_channel: options.status_channel,
        fetcher,
        inboxes: options.inboxes,
        catch_up: options.catch_up,
        wakes,
        board,
        names: Names::default(),
        liveness: Liveness::default(),
        people: People::default(),
        rights: options.rights,
        orders,
        homes,
        api_url: options.api_url,
        directory: watch::Sender::new(None),
        away: Away::default(),
        heard: Mutex::default(),
        missed: watch::Sender::new(None),
        reconnected: Notify::new(),
        look_around: Notify::new(),
        arrived: Notify::new(),
        queued: Notify::new(),
        told: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(connector::keep_connected(Arc::clone(&bridge)));
    tasks.spawn(directory::keep_known(Arc::clone(&bridge)));
    tasks.spawn(catch_up::keep_up(Arc::clone(&bridge)));
    tasks.spawn(fetch::sweep(Arc::clone(&bridge)));
    tasks.spawn(inbox::act(Arc::clone(&bridge)));
    tasks.spawn(orders::carry_out(Arc::clone(&bridge), taken));
    tasks.spawn(home::keep_shown(Arc::clone(&bridge), opened));
    tasks.spawn(feed::follow(Arc::clone(&bridge)));
    tasks.spawn(news::tell(Arc::clone(&bridge)));
    tasks.spawn(outbox::deliver(bridge));
    shutdown.await;
    tasks.shutdown().await;
}
