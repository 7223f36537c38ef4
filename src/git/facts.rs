//! What is to be known of a worktree before it may go, and its going. Every look asks git in a way that no configuration,
//! index flag or monitor of the worktree can blind.

use std::path::{Path, PathBuf};

use super::books::{Entry, place};
use super::command::{Git, GitError};
use super::remote::Tips;
use super::repository::Worktree;
use super::spare::{Verdict, judge};

/// A worktree that nobody seems to need.
#[derive(Debug, Clone)]
pub struct Spare {
    /// Its clone.
    pub clone: PathBuf,
    /// Where it is.
    pub path: PathBuf,
    /// The branch that its agent was given.
    pub branch: String,
    /// What its clone's origin has, or why that can't be told.
    pub tips: Result<Tips, String>,
}

/// Where a worktree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Where git's books have it.
    Registered,
    /// Git's books don't have it here: a person moved it.
    Moved,
    /// What is there is a symbolic link.
    Link,
}

/// What can't be learnt from git.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outside {
    /// Repositories within the worktree, relative to it.
    pub repositories: Vec<String>,
    /// Directories that could not be read.
    pub unreadable: usize,
    /// Processes that work in it: `vim (4711)`.
    pub processes: Vec<String>,
}

/// A worktree, as far as its going is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeFacts {
    /// Where it is.
    pub standing: Standing,
    /// Why it is locked.
    pub locked: Option<String>,
    /// Changed, staged and untracked files.
    pub changes: Vec<String>,
    /// Files that are there and whose changes git was told not to see (`assume-unchanged`, `skip-worktree`).
    pub hidden: Vec<String>,
    /// Files and directories (with a slash at their end) that git ignores.
    pub ignored: Vec<String>,
    /// Submodules.
    pub submodules: Vec<String>,
    /// What a person or the agent began and did not finish: `rebase`.
    pub operation: Option<&'static str>,
    /// Stashes that were made on its branch, or of which that can't be told.
    pub stashes: usize,
    /// How many commits of its HEAD and its branch origin does not have, or why that can't be told.
    pub unpushed: Result<u64, String>,
    /// What git does not know.
    pub outside: Outside,
}

/// How an attempt to free a worktree ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freed {
    /// It is gone.
    Gone {
        /// Why its branch is still there, harmless in its clone; none where it went, or never was.
        branch_kept: Option<String>,
    },
    /// It stays.
    Kept {
        /// Why.
        why: Vec<String>,
    },
}

/// Files and directories of a worktree's own git directory that tell what is under way.
const UNDER_WAY: [(&str, &str); 8] = [
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
    ("sequencer", "sequence of picks"),
    ("index.lock", "change of the index"),
];

impl Git {
    /// Looks at a worktree.
    pub async fn worktree_facts(&self, spare: &Spare, outside: Outside) -> Result<WorktreeFacts, GitError> {
        let Spare { clone, path, branch, tips } = spare;
        if let Worktree::Missing | Worktree::Foreign(_) = self.worktree(clone, path).await? {
            let why = "it is no worktree of that clone".to_owned();
            return Err(GitError::InTheWay { path: path.clone(), why });
        }
        let entries = self.entries(clone).await?;
        // The first entry is the clone itself.
        let entry = entries.iter().skip(1).find(|entry| entry.path == place(path));
        let standing =
            match std::fs::symlink_metadata(path).map_err(GitError::io(format!("looking at {}", path.display())))? {
                found if found.is_symlink() => Standing::Link,
                _ if entry.is_none() => Standing::Moved,
                _ => Standing::Registered,
            };
        let own = self.run("rev-parse", path, ["rev-parse", "--absolute-git-dir"]).await?;
        let under_way = UNDER_WAY.iter().find(|(name, _)| Path::new(&own).join(name).exists());
        let head = entry.and_then(|entry| entry.branch.as_deref());
        let (changes, ignored) = self.status(path).await?;
        let (hidden, submodules) = self.index(path).await?;
        let unpushed = match tips {
            Ok(tips) => Ok(self.unpushed(path, branch, tips).await?),
            Err(why) => Err(why.clone()),
        };
        let stashes = self.run("stash list", clone, ["stash", "list", "-z", "--format=%gs"]).await?;
        let stashes = stashes.split('\0').filter(|stash| !stash.is_empty());
        Ok(WorktreeFacts {
            standing,
            locked: entry.and_then(|entry: &Entry| entry.locked.clone()),
            changes,
            hidden,
            ignored,
            submodules,
            operation: under_way.map(|(_, what)| *what),
            stashes: stashes.filter(|stash| made_on(stash, head, branch)).count(),
            unpushed,
            outside,
        })
    }

    /// Removes a worktree if nothing would be lost with it, looked at anew at this moment, and then its branch if git agrees
    /// that it is merged. Git itself looks a last time: it is never forced.
    pub async fn free_worktree(&self, spare: &Spare, outside: Outside) -> Result<Freed, GitError> {
        let Spare { clone, path, branch, .. } = spare;
        let lock = self.lock(clone);
        let _held = lock.lock().await;
        if let Verdict::Keep { why } = judge(&self.worktree_facts(spare, outside).await?) {
            return Ok(Freed::Kept { why });
        }
        let args = ["worktree".as_ref(), "remove".as_ref(), "--".as_ref(), path.as_os_str()];
        match self.run(&format!("worktree remove {}", path.display()), clone, args).await {
            Err(GitError::Failed { message, .. }) => return Ok(Freed::Kept { why: vec![message] }),
            done => done?,
        };
        if !self.has_ref(clone, &format!("refs/heads/{branch}")).await? {
            return Ok(Freed::Gone { branch_kept: None });
        }
        match self.run(&format!("branch -d {branch}"), clone, ["branch", "--quiet", "-d", "--", branch]).await {
            Err(GitError::Failed { message, .. }) => {
                let why = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Ok(Freed::Gone { branch_kept: Some(why) })
            }
            done => done.map(|_| Freed::Gone { branch_kept: None }),
        }
    }

    /// What changed, and what is ignored.
    async fn status(&self, path: &Path) -> Result<(Vec<String>, Vec<String>), GitError> {
        let args = ["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignored=matching"];
        let args = args.into_iter().chain(["--ignore-submodules=none"]);
        let status = self.run("status", path, args).await?;
        let (mut changes, mut ignored) = (Vec::new(), Vec::new());
        for entry in status.split('\0').filter(|entry| !entry.is_empty()) {
            match entry.split_at_checked(3) {
                Some(("!! ", path)) => ignored.push(path.to_owned()),
                Some((_, path)) => changes.push(path.to_owned()),
                // Nothing that git prints; better told as a change than passed over.
                None => changes.push(entry.to_owned()),
            }
        }
        Ok((changes, ignored))
    }

    /// Files that the index hides, and submodules.
    async fn index(&self, path: &Path) -> Result<(Vec<String>, Vec<String>), GitError> {
        let listed = self.run("ls-files", path, ["ls-files", "-v", "--stage", "-z"]).await?;
        let (mut hidden, mut submodules) = (Vec::new(), Vec::new());
        for entry in listed.split('\0') {
            let Some((about, name)) = entry.split_once('\t') else { continue };
            let (tag, mode) = about.split_once(' ').unwrap_or((about, ""));
            if mode.starts_with("160000") {
                submodules.push(name.to_owned());
            }
            // A name that is not UTF-8 can't be looked for.
            let there = name.contains(char::REPLACEMENT_CHARACTER) || path.join(name).symlink_metadata().is_ok();
            if tag != "H" && there {
                hidden.push(name.to_owned());
            }
        }
        Ok((hidden, submodules))
    }

    /// How many commits of HEAD and of `branch` origin did not have when it was asked.
    async fn unpushed(&self, path: &Path, branch: &str, tips: &Tips) -> Result<u64, GitError> {
        let mut wanted = Vec::new();
        for name in ["HEAD".to_owned(), format!("refs/heads/{branch}")] {
            // Where nothing was committed yet there is no such commit.
            if self.has_ref(path, &name).await? {
                wanted.push(name);
            }
        }
        if wanted.is_empty() {
            return Ok(0);
        }
        let theirs = tips.0.iter().map(|id| format!("^{id}"));
        let input: String = wanted.into_iter().chain(theirs).flat_map(|line| [line, "\n".to_owned()]).collect();
        // What origin has and the clone has not fetched is no commit of ours.
        let args = ["rev-list", "--count", "--ignore-missing", "--stdin"];
        let count = self.run_fed("rev-list", path, args, input).await?;
        count.parse().map_err(|_| GitError::Failed {
            what: "rev-list".to_owned(),
            message: format!("it printed no number: {count:?}"),
            refusal: None,
        })
    }
}

/// Whether a stash (`WIP on <branch>: …`, `On <branch>: …`) was made on the worktree's branch; `true` where it doesn't say.
fn made_on(stash: &str, head: Option<&str>, branch: &str) -> bool {
    let named =
        stash.strip_prefix("WIP on ").or_else(|| stash.strip_prefix("On ")).and_then(|rest| rest.split_once(": "));
    match named {
        Some(("(no branch)", _)) => head.is_none(),
        Some((on, _)) => on == branch || Some(on) == head,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stash_keeps_the_worktree_that_it_was_made_in_and_no_other() {
        for (stash, head, belongs) in [
            ("WIP on agent/a: 1234 subject: more", Some("agent/a"), true),
            ("On agent/a: words", Some("feature"), true),
            ("On feature: words", Some("feature"), true),
            ("WIP on agent/ab: 1234 subject", Some("agent/a"), false),
            ("WIP on (no branch): 1234 subject", Some("agent/a"), false),
            ("WIP on (no branch): 1234 subject", None, true),
            ("stored by hand", Some("agent/a"), true),
        ] {
            assert_eq!(made_on(stash, head, "agent/a"), belongs, "{stash} {head:?}");
        }
    }
}
