//! A tmux server as a value: which road a call takes, and when the control client is opened again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::broadcast;

use super::command::{Command, Sequence};
use super::control::{Connection, Happening};
use super::exec::{Scope, Start, Variables, Version, execute, version};
use super::leftover;
use super::parse::Notice;
use super::reap::Asked;
use super::{Result, TmuxError};

/// The shortest and the longest wait before the control client is opened again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Which server, and how it is treated.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The socket's name (`tmux -L`). `default` is the user's own server: it reads the user's own configuration.
    pub socket: String,
    /// A directory of ours (0700) for `tmux.conf`, `tmux.pid`, `control.pid` and the text of a paste on its way.
    pub directory: PathBuf,
    /// How long any one call may take.
    pub timeout: Duration,
    /// The environment of tmux itself, and so of everything that is started in a pane. It must hold no secret that agents
    /// may not see.
    pub environment: Variables,
    /// The user options (`@fleet_…`) by which a pane of ours is known.
    pub tags: Vec<String>,
    /// The scope that the server is started in, where we are a service; else it is a child of ours.
    pub scope: Option<Scope>,
}

impl ServerOptions {
    /// Our own configuration file; none on the user's own server.
    pub(super) fn conf(&self) -> Option<PathBuf> {
        (self.socket != "default").then(|| self.directory.join("tmux.conf"))
    }
}

/// The door to one tmux server. Cheap to clone; the clones share one control client.
#[derive(Clone)]
pub struct Server {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: ServerOptions,
    connection: Mutex<Option<Arc<Connection>>>,
    /// Where the server listens, as it said at its last start.
    pub(super) socket: Mutex<Option<PathBuf>>,
    /// Held while a connection is being opened, so that there is one at most.
    opening: tokio::sync::Mutex<()>,
    /// Set while a task keeps trying to open the connection again.
    reopening: AtomicBool,
    notices: broadcast::Sender<Notice>,
    pub(super) asked: Asked,
}

/// Whether a call whose answer was lost may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It reads, or doing it twice is the same as once.
    Safe,
    /// It types, creates or ends something: only the caller can tell, by looking.
    Never,
}

impl Server {
    /// A door that nothing has gone through yet: no I/O.
    pub fn new(options: ServerOptions) -> Self {
        let (notices, _) = broadcast::channel(64);
        let inner = Inner {
            options,
            connection: Mutex::default(),
            socket: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            reopening: AtomicBool::new(false),
            notices,
            asked: Asked::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The installed tmux. Fails with [`TmuxError::Missing`] or [`TmuxError::TooOld`].
    pub async fn version(&self) -> Result<Version> {
        version(&self.inner.options).await
    }

    /// What happens on the server from now on. A reader that lags loses notices and nothing else.
    pub fn events(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices.subscribe()
    }

    /// Whether calls go through the control client at this moment.
    pub fn is_connected(&self) -> bool {
        self.inner.connection().is_some()
    }

    /// Whether the server works for us and for people: the control client lives on where the socket's file was deleted, and
    /// nobody can attach any more. Costs one look at that file.
    pub fn is_reachable(&self) -> bool {
        // The slot holds one path, which a panic can't leave half written.
        let socket = self.inner.socket.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_connected() && socket.as_ref().is_some_and(|socket| socket.exists())
    }

    pub(super) async fn call(&self, what: &'static str, repeat: Repeat, sequence: Sequence) -> Result<Vec<String>> {
        if let Some(connection) = self.inner.connection() {
            match connection.call(&self.inner.options, what, &sequence).await {
                Err(TmuxError::Lost { .. } | TmuxError::Timeout { .. }) if repeat == Repeat::Safe => {
                    tracing::debug!(what, "the tmux control client gave no answer, asking by exec");
                }
                other => return other,
            }
        }
        self.exec(what, &sequence).await
    }

    /// By exec, whatever the control client does; never starts a server.
    pub(super) async fn exec(&self, what: &'static str, sequence: &[Command]) -> Result<Vec<String>> {
        execute(&self.inner.options, Start::Never, what, sequence).await
    }

    /// Opens the control client unless it is open.
    pub(super) async fn connect(&self) -> Result<()> {
        Inner::connect(&self.inner).await
    }

    /// Keeps trying to open the control client, for as long as the server value lives.
    pub(super) fn connect_later(&self) {
        self.inner.connect_later();
    }

    /// Ends the control client.
    pub(super) fn disconnect(&self) {
        *self.inner.slot() = None;
    }
}

impl Inner {
    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connection>>> {
        // The slot holds one pointer, which a panic can't leave half written.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> Option<Arc<Connection>> {
        self.slot().clone().filter(|connection| connection.is_open())
    }

    async fn connect(self: &Arc<Self>) -> Result<()> {
        let _opening = self.opening.lock().await;
        if self.connection().is_some() {
            return Ok(());
        }
        // A plain client asks first whether the server answers: tmux 3.3a dies of a null pointer, and every agent with it,
        // when it comes back from a pause to find several control clients that gave up before they were attached.
        let ask = [Command::new("display-message").args(["-p", "ready"])];
        execute(&self.options, Start::Never, "display-message", &ask).await?;
        leftover::end(&self.options);
        let weak = Arc::downgrade(self);
        let connection = Connection::open(&self.options, move |happening| told(&weak, happening))?;
        if let Some(pid) = connection.pid {
            leftover::remember(&self.options, pid);
        }
        // Only an answer shows that the client is attached.
        connection.call(&self.options, "the control client's start", &ask.into()).await?;
        let connection = Arc::new(connection);
        *self.slot() = Some(Arc::clone(&connection));
        self.notify(Notice::Connected);
        if !connection.is_open() {
            // It ended before it was in the slot, so its end was nobody's news.
            told(&Arc::downgrade(self), Happening::Closed);
        }
        Ok(())
    }

    fn connect_later(self: &Arc<Self>) {
        if !self.reopening.swap(true, Ordering::AcqRel) {
            tokio::spawn(reconnect(Arc::downgrade(self)));
        }
    }

    fn notify(&self, notice: Notice) {
        // Without a subscriber there is nobody to wake.
        drop(self.notices.send(notice));
    }
}

/// Takes what a connection tells; one that never got an answer was not in the slot, and its end is nobody's news.
fn told(inner: &Weak<Inner>, happening: Happening) {
    let Some(inner) = inner.upgrade() else { return };
    match happening {
        Happening::SessionsChanged => inner.notify(Notice::SessionsChanged),
        Happening::Closed => {
            let had = inner.slot().take_if(|connection| !connection.is_open());
            if had.is_some() {
                inner.notify(Notice::Disconnected);
                inner.connect_later();
            }
        }
    }
}

async fn reconnect(inner: Weak<Inner>) {
    let mut wait = BACKOFF.0;
    loop {
        tokio::time::sleep(wait).await;
        let Some(inner) = inner.upgrade() else { return };
        match Inner::connect(&inner).await {
            // One that broke again at once has started no task of its own while this one runs.
            Ok(()) => {
                inner.reopening.store(false, Ordering::Release);
                if inner.connection().is_none() {
                    inner.connect_later();
                }
                return;
            }
            Err(error) => tracing::debug!(%error, "the tmux control client did not come back yet"),
        }
        wait = (wait * 2).min(BACKOFF.1);
    }
}
