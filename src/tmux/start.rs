//! Bringing the server up, and down. It must outlive us, must never be doubled, and must never run out of file descriptors:
//! with a full table it spins and every new call hangs.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::time::{sleep, timeout};

use super::command::Command;
use super::control::keeper_commands;
use super::end::signal;
use super::exec::{Start, execute, execute_in};
use super::kin::runs;
use super::occupant::{ProcessMark, ProcessStatus};
use super::process::wait_for_exit;
use super::server::{Server, ServerOptions};
use super::{Result, TmuxError};

/// Open files that the server may have, where the hard limit allows; each pane and client takes some.
const OPEN_FILES: u64 = 65_536;
/// How often a server that comes or goes is looked at.
const TICK: Duration = Duration::from_millis(20);
/// The text of a paste that is still there after this long was left by a crash.
const STALE: Duration = Duration::from_secs(60);

/// Our own configuration. What a person's could change (indexes, names, default commands) stays at tmux's defaults.
const CONF: &str = "\
# Written by fleetd at every start: changes are lost.
set -s exit-empty off
set -s escape-time 20
set -g default-terminal tmux-256color
set -g history-limit 2000
set -g update-environment ''
set -g automatic-rename off
set -g allow-rename off
set -g mouse on
set -g status-left-length 64
set -g status-left '#{session_name} '
";

impl Server {
    /// Sees to it that the server runs and that the control client is connected. Does nothing where both hold. Where only
    /// the socket's file was deleted, the server is told to make it anew; where an old server is still ending, it is
    /// waited for. Works without the control client if that can't be had.
    ///
    /// Raises this process's limit of open files, which the server inherits, as its agents do.
    pub async fn start(&self) -> Result<()> {
        if !self.is_connected() {
            self.version().await?;
            let options = self.inner.options.clone();
            tokio::task::spawn_blocking(move || prepare(&options))
                .await
                .map_err(|error| TmuxError::io("preparing tmux's directory")(std::io::Error::other(error)))??;
        }
        let pid = match self.probe().await {
            Err(TmuxError::NoServer) => self.bring_up().await?,
            other => other?,
        };
        self.remember(pid)?;
        if let Err(error) = self.connect().await {
            tracing::warn!(%error, "no tmux control client: every call takes an exec until there is one");
            self.connect_later();
        }
        Ok(())
    }

    /// Ends the server with all its sessions, a person's among them, and waits until it is gone.
    pub async fn kill_server(&self) -> Result<()> {
        let pid = match self.probe().await {
            Err(TmuxError::NoServer) => return Ok(()),
            other => other?,
        };
        self.disconnect();
        match self.exec("kill-server", &[Command::new("kill-server")]).await {
            Ok(_) | Err(TmuxError::NoServer) => {}
            Err(error) => return Err(error),
        }
        let after = self.inner.options.timeout;
        timeout(after, wait_for_exit(pid))
            .await
            .map_err(|_| TmuxError::Timeout { what: "kill-server", after })?
            .map_err(TmuxError::io("waiting for the tmux server's end"))
    }

    /// The server's pid, by exec: only that shows whether a new client finds the socket. Notes where that is.
    async fn probe(&self) -> Result<u32> {
        let command = Command::new("display-message").args(["-p", "#{pid} #{socket_path}"]);
        let lines = self.exec("display-message", &[command]).await?;
        let told = lines.first().and_then(|line| line.split_once(' '));
        let told = told.and_then(|(pid, socket)| Some((pid.parse().ok()?, PathBuf::from(socket))));
        let (pid, socket) = told.ok_or_else(|| {
            let message = format!("{lines:?} is no pid with a socket");
            TmuxError::Refused { command: "display-message", message }
        })?;
        *self.inner.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        Ok(pid)
    }

    async fn bring_up(&self) -> Result<u32> {
        let options = &self.inner.options;
        let begun = Instant::now();
        let mut asked = false;
        loop {
            match self.remembered() {
                // It lost its socket's file, or is ending. A second server beside it would split the fleet.
                Some(server) if !asked => {
                    asked = true;
                    ask_for_socket(server);
                }
                Some(_) => {}
                None => match self.start_server().await {
                    // `NoServer` is an old server's last answer.
                    Ok(_) | Err(TmuxError::SessionExists(_) | TmuxError::NoServer) => {}
                    Err(error) => return Err(error),
                },
            }
            match self.probe().await {
                Err(TmuxError::NoServer) if begun.elapsed() < options.timeout => sleep(TICK).await,
                Err(TmuxError::NoServer) => {
                    return Err(TmuxError::Timeout { what: "the server's start", after: options.timeout });
                }
                other => return other,
            }
        }
    }

    async fn start_server(&self) -> Result<Vec<String>> {
        let (options, keeper) = (&self.inner.options, keeper_commands(false));
        if let Some(scope) = options.scope {
            match execute_in(scope, options, "new-session", &keeper).await {
                Err(error) => tracing::debug!(%error, ?scope, "no scope for the tmux server: it is started as a child"),
                done => return done,
            }
        }
        execute(options, Start::IfNeeded, "new-session", &keeper).await
    }

    /// The server's process as it was noted at its start, if it still lives.
    pub fn noted_pid(&self) -> Option<u32> {
        self.remembered().map(|server| server.pid)
    }

    /// The server that ran here last, if it still does.
    fn remembered(&self) -> Option<ProcessMark> {
        let text = std::fs::read_to_string(pid_file(&self.inner.options)).ok()?;
        text.trim().parse().ok().filter(|server: &ProcessMark| server.status().is_some() && runs(server.pid, "tmux"))
    }

    fn remember(&self, pid: u32) -> Result<()> {
        match ProcessStatus::read(pid) {
            Some(server) => write_if_other(&pid_file(&self.inner.options), &server.mark(pid).to_string()),
            // It ended just now, or runs where its process can't be seen; nothing to find again.
            None => Ok(()),
        }
    }
}

fn pid_file(options: &ServerOptions) -> std::path::PathBuf {
    options.directory.join("tmux.pid")
}

fn ask_for_socket(server: ProcessMark) {
    if let Err(error) = signal(server, Signal::USR1) {
        tracing::warn!(%error, pid = server.pid, "the tmux server could not be asked for a new socket");
    }
}

fn prepare(options: &ServerOptions) -> Result<()> {
    let directory = &options.directory;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(TmuxError::io(format!("creating {}", directory.display())))?;
    if let Some(conf) = options.conf() {
        write_if_other(&conf, CONF)?;
    }
    remove_stale_pastes(directory);
    raise_open_files();
    Ok(())
}

/// Writes a private file, whole or not at all, unless it says so already.
pub(super) fn write_if_other(path: &Path, content: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content.as_bytes())?;
        std::fs::rename(&beside, path)
    };
    write().map_err(TmuxError::io(format!("writing {}", path.display())))
}

fn remove_stale_pastes(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let stale = entry.file_name().to_string_lossy().starts_with(super::verbs::PASTE_PREFIX)
            && entry
                .metadata()
                .and_then(|data| data.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE));
        if stale && let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(%error, file = %entry.path().display(), "a left-over paste could not be removed");
        }
    }
}

fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES));
    if limit.current.is_none_or(|soft| soft >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        tracing::warn!(%error, wanted, "the limit of open files could not be raised");
    }
}
