//! Clones and worktrees: looked for first, made only where missing.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::command::{Git, GitError};
use super::layout::{canonical_path, flat_path, owned_by, remote_url};
use crate::config::Repo;

/// What stands where a worktree of ours belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worktree {
    /// Nothing, or an empty directory.
    Missing,
    /// A worktree of that clone, on whatever branch its agent has moved to.
    Ours,
    /// Something else, which is left alone.
    Foreign(String),
}

impl Git {
    /// What `git --version` prints: `git version 2.39.5`.
    pub async fn version(&self) -> Result<String, GitError> {
        self.run("--version", Path::new("/"), ["--version"]).await
    }

    /// The URL of a repository's `origin`; none where the directory is no repository of its own or has no such remote.
    /// Credentials in it are kept: never log it.
    pub async fn origin_url(&self, clone: &Path) -> Result<Option<String>, GitError> {
        if !clone.join(".git").exists() {
            return Ok(None);
        }
        match self.run("config", clone, ["config", "--get", "remote.origin.url"]).await {
            Ok(url) => Ok(Some(url).filter(|url| !url.is_empty())),
            // The key is absent: exit status 1 without a word.
            Err(GitError::Failed { message, .. }) if message.starts_with("exit status") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the clone of `repo` lies or is to be made: `<repos_dir>/<owner>/<name>`, or a `<repos_dir>/<name>` that a
    /// person made, where its origin is that repository.
    pub async fn clone_path(&self, repos_dir: &Path, repo: &Repo) -> Result<PathBuf, GitError> {
        let canonical = canonical_path(repos_dir, repo);
        if canonical.join(".git").exists() {
            return Ok(canonical);
        }
        let flat = flat_path(repos_dir, repo);
        match self.origin_url(&flat).await? {
            Some(url) if owned_by(&url, repo) => Ok(flat),
            _ => Ok(canonical),
        }
    }

    /// The clone of `repo`, made where it is missing. An interrupted one leaves nothing at its place: it grows beside it
    /// and is renamed when whole.
    pub async fn clone_missing(&self, repos_dir: &Path, repo: &Repo) -> Result<PathBuf, GitError> {
        let path = self.clone_path(repos_dir, repo).await?;
        let lock = self.lock(&path);
        let _held = lock.lock().await;
        if path.join(".git").exists() {
            return Ok(path);
        }
        if !is_missing_or_empty(&path) {
            return Err(GitError::InTheWay { path, why: "it is not a git repository".to_owned() });
        }
        let parent = path.parent().unwrap_or(repos_dir).to_path_buf();
        let made = tokio::fs::create_dir_all(&parent).await;
        made.map_err(GitError::io(format!("creating {}", parent.display())))?;
        let growing = Growing(parent.join(format!(".{}.{}", repo.name, Uuid::new_v4())));
        let url = remote_url(&self.remote_base, repo);
        let mut args = self.quiet_ssh(&parent).await?;
        args.extend(["clone", "--quiet", "--", &url].map(std::ffi::OsString::from));
        args.push(growing.0.clone().into_os_string());
        self.run(&format!("clone {url}"), &parent, args).await?;
        let renamed = tokio::fs::rename(&growing.0, &path).await;
        renamed.map_err(GitError::io(format!("moving the new clone to {}", path.display())))?;
        Ok(path)
    }

    /// What stands at `path`, seen from `clone`.
    pub async fn worktree(&self, clone: &Path, path: &Path) -> Result<Worktree, GitError> {
        if is_missing_or_empty(path) {
            return Ok(Worktree::Missing);
        }
        if !path.join(".git").exists() {
            return Ok(Worktree::Foreign("it is not a git worktree".to_owned()));
        }
        let common = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
        let theirs = match self.run("rev-parse", path, common).await {
            Err(GitError::Failed { message, .. }) => return Ok(Worktree::Foreign(message)),
            other => other?,
        };
        let ours = self.run("rev-parse", clone, common).await?;
        let same = real(Path::new(&theirs)).is_some_and(|path| Some(path) == real(Path::new(&ours)));
        Ok(if same { Worktree::Ours } else { Worktree::Foreign(format!("it belongs to {theirs}")) })
    }

    /// Sees to it that `path` is a worktree of `clone`. A new one is on `branch`: the one that exists, here or at origin,
    /// else a new one from origin's HEAD. One that is there stays as it is, changes and all.
    pub async fn worktree_missing(&self, clone: &Path, path: &Path, branch: &str) -> Result<(), GitError> {
        let lock = self.lock(clone);
        let _held = lock.lock().await;
        match self.worktree(clone, path).await? {
            Worktree::Ours => return Ok(()),
            Worktree::Foreign(why) => return Err(GitError::InTheWay { path: path.to_path_buf(), why }),
            Worktree::Missing => {}
        }
        let replaces = self.make_way(clone, path, branch).await?;
        let mut args: Vec<std::ffi::OsString> = ["worktree", "add", "--quiet"].map(Into::into).into();
        // Forced only over the books' entry of this very place, whose directory is gone.
        args.extend(replaces.then(|| "--force".into()));
        let last = if self.has_ref(clone, &format!("refs/heads/{branch}")).await? {
            branch.to_owned()
        } else {
            let remote = format!("origin/{branch}");
            let known = self.has_ref(clone, &format!("refs/remotes/{remote}")).await?;
            // Tracking origin's HEAD would make a bare `git push` of the agent aim at the default branch.
            args.extend([if known { "--track" } else { "--no-track" }, "-b", branch].map(Into::into));
            if known { remote } else { self.start_point(clone).await? }
        };
        args.extend(["--".into(), path.as_os_str().to_owned(), last.into()]);
        self.run(&format!("worktree add {}", path.display()), clone, args).await.map(drop)
    }

    /// What a new branch starts from: origin's HEAD, else (a remote without one) the clone's own.
    async fn start_point(&self, clone: &Path) -> Result<String, GitError> {
        let remote = "refs/remotes/origin/HEAD";
        Ok(if self.has_ref(clone, remote).await? { remote } else { "HEAD" }.to_owned())
    }

    pub(super) async fn has_ref(&self, clone: &Path, name: &str) -> Result<bool, GitError> {
        match self.run("rev-parse", clone, ["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).await {
            Ok(_) => Ok(true),
            Err(GitError::Failed { message, .. }) if message.starts_with("exit status") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A clone that is not whole yet. It is ours alone, by its name; dropping it removes what is still there.
struct Growing(PathBuf);

impl Drop for Growing {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.0.display(), "an unfinished clone could not be removed");
            }
            _ => {}
        }
    }
}

fn is_missing_or_empty(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn real(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}
