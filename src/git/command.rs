//! One run of git: bounded in time, asking nobody, its errors free of credentials.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::layout::redacted;

/// A failed run of git.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git on PATH.
    #[error("git is not installed, or not on PATH: install it, for example with `apt-get install git`")]
    Missing,
    /// It took too long and was ended.
    #[error("git {what} took longer than {after:?} and was ended; it is tried again at the next pass")]
    Timeout {
        /// What was being done.
        what: String,
        /// How long it was given.
        after: Duration,
    },
    /// Git said no.
    #[error("git {what} failed: {message}")]
    Failed {
        /// What was being done.
        what: String,
        /// Git's own words, without credentials.
        message: String,
    },
    /// Something stands in the way that git did not make; it is left alone.
    #[error("{path} is in the way: {why}; move it aside or remove it")]
    InTheWay {
        /// What.
        path: PathBuf,
        /// Why it can't be used.
        why: String,
    },
    /// A file or a process of ours failed.
    #[error("{what} failed")]
    Io {
        /// What was being done, to what.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl GitError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The door. Cheap to clone; the clones share the locks, one per clone on disk.
#[derive(Debug, Clone)]
pub struct Git {
    pub(super) remote_base: String,
    timeout: Duration,
    environment: BTreeMap<OsString, OsString>,
    locks: Arc<Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Git {
    /// Clones come from `<remote_base>/<owner>/<name>.git` (for example `https://github.com`); any one run of git may take
    /// `timeout` and sees `environment` (and what keeps it from asking).
    pub fn new(remote_base: &str, timeout: Duration, environment: BTreeMap<OsString, OsString>) -> Self {
        Self { remote_base: remote_base.to_owned(), timeout, environment, locks: Arc::default() }
    }

    /// The lock of the clone at `path`: git's own locks fail where this waits.
    pub(super) fn lock(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        // A panic can't leave the table half changed: its one change is an insertion.
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(path.to_path_buf()).or_default())
    }

    /// Runs git in `directory` and yields what it printed, its last newline removed.
    pub(super) async fn run<A: AsRef<OsStr>>(
        &self,
        what: &str,
        directory: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String, GitError> {
        let what = redacted(what);
        let mut command = Command::new("git");
        command.env_clear().envs(&self.environment);
        // An outer git (a hook that started us) would point these at another repository.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
            command.env_remove(name);
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("SSH_ASKPASS", "true")
            .env("LC_ALL", "C")
            .args(["-c", "core.sshCommand=ssh -o BatchMode=yes", "-c", "gc.auto=0", "-c", "maintenance.auto=false"])
            .args(args)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|source| match source.kind() {
            // A missing directory fails the same way.
            std::io::ErrorKind::NotFound if directory.is_dir() => GitError::Missing,
            _ => GitError::Io { what: format!("starting git in {}", directory.display()), source },
        })?;
        let group = child.id();
        let after = self.timeout;
        let Ok(output) = timeout(after, child.wait_with_output()).await else {
            end_group(group);
            return Err(GitError::Timeout { what, after });
        };
        let output = output.map_err(GitError::io("waiting for git"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if said.trim().is_empty() { output.status.to_string() } else { redacted(said.trim()) };
        Err(GitError::Failed { what, message: said })
    }
}

/// Ends git's helpers (ssh, remote-https) with it.
fn end_group(leader: Option<u32>) {
    let leader = leader.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(Err(error)) = leader.map(|pid| rustix::process::kill_process_group(pid, rustix::process::Signal::KILL))
    {
        tracing::debug!(%error, "git's helpers had ended already");
    }
}
