//! One run of git: bounded in time, asking nobody, its errors free of credentials.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::layout::redacted;
use super::refusal::Refusal;

/// Variables by which a git that runs us would point ours at another repository.
const OF_AN_OUTER_GIT: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

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
    #[error("git {what} failed: {message}{}", advice(refusal))]
    Failed {
        /// What was being done.
        what: String,
        /// Git's own words, without credentials.
        message: String,
        /// What its words mean, where they are known.
        refusal: Option<Refusal>,
    },
    /// The branch of a new worktree is in use in another one; git allows that to one at a time.
    #[error(
        "the branch {branch} is checked out in {path}: check out another one there, or move that worktree to its place \
         with `git worktree move`"
    )]
    BranchInUse {
        /// The branch.
        branch: String,
        /// The other worktree.
        path: PathBuf,
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

fn advice(refusal: &Option<Refusal>) -> String {
    refusal.map(|refusal| format!(". {refusal}")).unwrap_or_default()
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

    /// The same door, and the same locks, for runs that may take this long.
    pub fn patient(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The lock of the clone at `path`, by whatever name: git's own locks fail where this waits.
    pub(super) fn lock(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        // A panic can't leave the table half changed: its one change is an insertion.
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(path).or_default())
    }

    /// Runs git in `directory` and yields what it printed, its last newline removed.
    pub(super) async fn run<A: AsRef<OsStr>>(
        &self,
        what: &str,
        directory: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String, GitError> {
        self.run_fed(what, directory, args, String::new()).await
    }

    /// The same, `input` being its standard input.
    pub(super) async fn run_fed<A: AsRef<OsStr>>(
        &self,
        what: &str,
        directory: &Path,
        args: impl IntoIterator<Item = A>,
        input: String,
    ) -> Result<String, GitError> {
        let what = redacted(what);
        let mut command = self.command(directory);
        command.args(args).stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        let mut child = command.spawn().map_err(|source| match source.kind() {
            // A missing directory fails the same way.
            std::io::ErrorKind::NotFound if directory.is_dir() => GitError::Missing,
            _ => GitError::Io { what: format!("starting git in {}", directory.display()), source },
        })?;
        let group = child.id();
        let after = self.timeout;
        let stdin = child.stdin.take();
        let fed = async move {
            if let Some(mut stdin) = stdin {
                // Git that ended before it read everything says why by its exit.
                stdin.write_all(input.as_bytes()).await.ok();
            }
        };
        let Ok(((), output)) = timeout(after, async { tokio::join!(fed, child.wait_with_output()) }).await else {
            end_group(group);
            return Err(GitError::Timeout { what, after });
        };
        let output = output.map_err(GitError::io("waiting for git"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let message = if said.trim().is_empty() { output.status.to_string() } else { redacted(said.trim()) };
        let refusal = Refusal::read(&message);
        Err(GitError::Failed { what, message, refusal })
    }

    /// Git as it is always called: it asks nobody, takes no optional lock, and believes no monitor that an agent set up.
    fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(&self.environment);
        // An outer git (a hook that started us) would point these at another repository.
        for name in OF_AN_OUTER_GIT {
            command.env_remove(name);
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            // Whatever ssh a person has configured: what it would ask a terminal it asks this, and gets no answer.
            .env("SSH_ASKPASS", "true")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.fsmonitor=false"])
            .args(["-c", "credential.interactive=false"])
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// What keeps ssh from asking, for a run that may speak to a remote. A person's own `core.sshCommand` (a deploy key)
    /// stays.
    pub(super) async fn quiet_ssh(&self, directory: &Path) -> Result<Vec<OsString>, GitError> {
        match self.run("config", directory, ["config", "--get", "core.sshCommand"]).await {
            Ok(_) => Ok(Vec::new()),
            // The key is absent: exit status 1 without a word.
            Err(GitError::Failed { message, .. }) if message.starts_with("exit status") => {
                Ok(["-c", "core.sshCommand=ssh -o BatchMode=yes"].map(OsString::from).into())
            }
            Err(error) => Err(error),
        }
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
