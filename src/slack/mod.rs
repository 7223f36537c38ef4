//! The bridge to Slack: what people say there becomes prompts, what agents say is told there.
//!
//! An event is stored, then acked, then acted on; what is to be said is stored in the outbox with the cursor of the feed it
//! came from. So the death of the daemon, a lost socket or a lost answer neither loses nor doubles a word. `from_slack`,
//! `to_slack`, `progress`, `bulletin`, `plain`, `markdown`, `split`, `amend` and `pace` decide and are pure; `connector`,
//! `socket`, `web`, `inbox`, `feed`, `news`, `outbox`, `find`, `upload` and `liveness` do.
//!
//! Must never happen here: a message of one channel that reaches another channel's agent; a bot's words that become a
//! prompt; a second post of what may have been posted, before the thread was read; a token or a socket's URL in a log; an
//! error that ends the daemon. A problem is told in [`BridgeStatus`], and the agents work on.

mod amend;
mod bulletin;
mod connector;
mod directory;
mod feed;
mod find;
mod from_slack;
mod inbox;
mod inspect;
mod liveness;
mod markdown;
mod news;
mod outbox;
mod pace;
mod plain;
mod progress;
mod socket;
mod split;
mod status;
mod to_slack;
mod upload;
mod web;
mod wording;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

pub use from_slack::EVENTS;
pub use inspect::{Bot, Inspection, SeenChannel, Trouble, find_channel, inspect, manifest_scopes};
pub use news::LANE as NEWS;
pub use status::BridgeStatus;
pub use web::METHODS;

use crate::model::{Clock, Slug};
use crate::store::Store;
use directory::Names;
use from_slack::Directory;
use liveness::Liveness;
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
}

/// What the bridge's tasks share.
struct Bridge {
    web: Web,
    store: Store,
    clock: Arc<dyn Clock>,
    timing: Timing,
    agents: Vec<(Slug, String)>,
    status_channel: Option<String>,
    wakes: Wakes,
    board: Board,
    names: Names,
    liveness: Liveness,
    /// None until it is known who we are and which channel is whose.
    directory: watch::Sender<Option<Arc<Directory>>>,
    /// An event was stored.
    arrived: Notify,
    /// An outbox row was stored.
    queued: Notify,
    /// News of the box may have been told.
    told: Notify,
}

impl Bridge {
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
    let bridge = Arc::new(Bridge {
        web,
        store,
        clock,
        timing: options.timing,
        agents: options.agents,
        status_channel: options.status_channel,
        wakes,
        board,
        names: Names::default(),
        liveness: Liveness::default(),
        directory: watch::Sender::new(None),
        arrived: Notify::new(),
        queued: Notify::new(),
        told: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(connector::keep_connected(Arc::clone(&bridge)));
    tasks.spawn(directory::keep_known(Arc::clone(&bridge)));
    tasks.spawn(inbox::act(Arc::clone(&bridge)));
    tasks.spawn(feed::follow(Arc::clone(&bridge)));
    tasks.spawn(news::tell(Arc::clone(&bridge)));
    tasks.spawn(outbox::deliver(bridge));
    shutdown.await;
    tasks.shutdown().await;
}
