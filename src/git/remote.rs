//! What a clone asks its remote: what is new, and what it has at this moment.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::command::{Git, GitError};
use super::refusal::Refusal;

/// How long another git that works on the same clone is waited for.
const BUSY: Duration = Duration::from_secs(2);

/// What a remote had when it was asked: the object ids of all its branches, tags and other refs. A forge keeps a proposed
/// change there even after its branch was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tips(pub(super) Vec<String>);

impl Git {
    /// Fetches every branch of origin into `refs/remotes/origin/`, whatever else the clone is set up to do: no local branch
    /// moves, and nothing is pruned. Two fetches of one clone wait for each other; one that meets another program's git is
    /// tried once more.
    pub async fn fetch(&self, clone: &Path) -> Result<(), GitError> {
        // Beside the lock of the worktrees: a remote that hangs must not keep an agent from starting.
        let lock = self.lock(&clone.join(".git"));
        let _held = lock.lock().await;
        let mut args = self.quiet_ssh(clone).await?;
        let fetch = ["fetch", "--quiet", "--no-prune", "--no-recurse-submodules", "--no-write-fetch-head", "--refmap="];
        args.extend(fetch.map(OsString::from));
        args.extend(["origin", "+refs/heads/*:refs/remotes/origin/*"].map(OsString::from));
        let what = format!("fetch in {}", clone.display());
        match self.run(&what, clone, &args).await {
            Err(GitError::Failed { refusal: Some(Refusal::Busy), .. }) => {
                tokio::time::sleep(BUSY).await;
                self.run(&what, clone, &args).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// Asks origin what it has now. What was fetched once may be gone there since.
    pub async fn tips(&self, clone: &Path) -> Result<Tips, GitError> {
        let mut args = self.quiet_ssh(clone).await?;
        args.extend(["ls-remote", "--quiet", "origin"].map(OsString::from));
        let told = self.run(&format!("ls-remote in {}", clone.display()), clone, args).await?;
        let ids = told.lines().filter_map(|line| line.split_once('\t')).map(|(id, _)| id);
        Ok(Tips(ids.filter(|id| is_object_id(id)).map(str::to_owned).collect()))
    }
}

fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
