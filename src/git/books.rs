//! A clone's books of its worktrees: which are known, where, on what. An entry whose directory is gone still holds its
//! branch, and may be the only thing that still names a commit.

use std::path::{Path, PathBuf};

use super::command::{Git, GitError};

/// One worktree in the books. The clone itself is the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// Its commit; none where nothing was committed yet.
    pub(super) head: Option<String>,
    /// Its branch; none where its HEAD is detached.
    pub(super) branch: Option<String>,
    /// Why it is locked, which may be without a word.
    pub(super) locked: Option<String>,
}

impl Git {
    pub(super) async fn entries(&self, clone: &Path) -> Result<Vec<Entry>, GitError> {
        Ok(parse(&self.run("worktree list", clone, ["worktree", "list", "--porcelain"]).await?))
    }

    /// Makes way in the books for a worktree of `branch` at `path`, where none is; says whether git is to take the place of an
    /// entry that is there. Only entries without a directory go: one that still has one is somebody's.
    pub(super) async fn make_way(&self, clone: &Path, path: &Path, branch: &str) -> Result<bool, GitError> {
        let place = place(path);
        let mut replaces = false;
        // The first is the clone itself, which may have the branch checked out as any other.
        for (number, entry) in self.entries(clone).await?.iter().enumerate() {
            let here = number > 0 && entry.path == place;
            if !here && entry.branch.as_deref() != Some(branch) {
                continue;
            }
            if !here && entry.path.exists() {
                return Err(GitError::BranchInUse { branch: branch.to_owned(), path: entry.path.clone() });
            }
            if let Some(why) = &entry.locked {
                let why = format!("its worktree is gone but locked ({why}); `git worktree unlock` there lets it go");
                return Err(GitError::InTheWay { path: entry.path.clone(), why });
            }
            self.rescue(clone, entry).await?;
            if here {
                replaces = true;
            } else {
                let args = ["worktree".as_ref(), "remove".as_ref(), "--".as_ref(), entry.path.as_os_str()];
                self.run(&format!("worktree remove {}", entry.path.display()), clone, args).await?;
            }
        }
        Ok(replaces)
    }

    /// Gives a branch to the commit of an entry that is about to go, if nothing else names it.
    async fn rescue(&self, clone: &Path, entry: &Entry) -> Result<(), GitError> {
        let (Some(head), None) = (&entry.head, &entry.branch) else { return Ok(()) };
        let named = ["for-each-ref", "--count=1", "--contains", head];
        if !self.run("for-each-ref", clone, named).await?.is_empty() {
            return Ok(());
        }
        let branch = format!("rescued/{head}");
        self.run(&format!("branch {branch}"), clone, ["branch", "--no-track", &branch, head]).await?;
        tracing::warn!(clone = %clone.display(), %branch, worktree = %entry.path.display(), "a removed worktree's commits were on no branch");
        Ok(())
    }
}

/// A path as git writes it into its books: its parent's real path, for the last part may be gone.
pub(super) fn place(path: &Path) -> PathBuf {
    let real = path.parent().and_then(|parent| parent.canonicalize().ok());
    match (real, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_path_buf(),
    }
}

fn parse(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        if key == "worktree" {
            entries.push(Entry { path: value.into(), head: None, branch: None, locked: None });
        }
        let Some(entry) = entries.last_mut() else { continue };
        match key {
            // Nothing was committed yet: all zeros.
            "HEAD" => entry.head = value.contains(|c| c != '0').then(|| value.to_owned()),
            "branch" => entry.branch = Some(value.strip_prefix("refs/heads/").unwrap_or(value).to_owned()),
            "locked" => entry.locked = Some(if value.is_empty() { "no reason given" } else { value }.to_owned()),
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_tell_who_holds_a_branch_and_what_is_locked() {
        let text = "worktree /c\nHEAD 12ab\nbranch refs/heads/main\n\nworktree /w/a b\nHEAD 34cd\ndetached\nlocked on a disk\n\
                    prunable gitdir file points to non-existent location\n\nworktree /w/new\nHEAD 0000\nbranch refs/heads/x\nlocked\n";
        let entry = |path: &str, head: Option<&str>, branch: Option<&str>, locked: Option<&str>| Entry {
            path: path.into(),
            head: head.map(Into::into),
            branch: branch.map(Into::into),
            locked: locked.map(Into::into),
        };
        let expected = [
            entry("/c", Some("12ab"), Some("main"), None),
            entry("/w/a b", Some("34cd"), None, Some("on a disk")),
            entry("/w/new", None, Some("x"), Some("no reason given")),
        ];
        assert_eq!(parse(text), expected);
    }
}
