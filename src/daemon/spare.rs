//! What lies in the agents' places to work and nobody seems to need: candidates only, named by a look at directories. Whether
//! one of them may go is judged elsewhere; nothing here changes anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::files::Process;
use crate::model::Slug;

/// A clone takes half an hour at most; what is older than this does not grow any more.
const GROWN: Duration = Duration::from_secs(3600);

/// How many names a reason holds.
const NAMED: usize = 3;

/// Something that may be spare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// A worktree in the workspace of `agent`.
    Worktree {
        /// Whose.
        agent: Slug,
        /// Where.
        path: PathBuf,
        /// Its clone, or why there is none that could be asked.
        clone: Result<PathBuf, String>,
    },
    /// What else lies in the workspace of an agent that is gone; it stays.
    Files {
        /// Whose.
        agent: Slug,
        /// The workspace.
        path: PathBuf,
        /// Some names.
        names: String,
    },
    /// A clone that never became whole.
    HalfClone {
        /// Where.
        path: PathBuf,
    },
}

impl Candidate {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Worktree { path, .. } | Self::Files { path, .. } | Self::HalfClone { path } => path,
        }
    }

    /// In whose workspace.
    pub fn agent(&self) -> Option<&Slug> {
        match self {
            Self::Worktree { agent, .. } | Self::Files { agent, .. } => Some(agent),
            Self::HalfClone { .. } => None,
        }
    }
}

/// Every candidate, in the order of the paths. In the workspace of an agent that `is_named` knows only its worktrees are: it
/// may still list their repositories, which whoever asked must look up.
pub fn candidates(workspaces: &Path, repos: &Path, is_named: impl Fn(&Slug) -> bool) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (name, path) in entries(workspaces) {
        // Only an agent's name is a workspace's; what else lies there is somebody else's.
        let Ok(agent) = name.parse::<Slug>() else { continue };
        if is_directory(&path) {
            in_workspace(&agent, &path, repos, is_named(&agent), &mut found);
        }
    }
    let owners = entries(repos).into_iter().filter(|(name, path)| !name.starts_with('.') && is_directory(path));
    for directory in owners.map(|(_, path)| path).chain([repos.to_path_buf()]) {
        let halves = entries(&directory).into_iter().filter(|(name, path)| is_half(name) && is_directory(path));
        found.extend(halves.map(|(_, path)| Candidate::HalfClone { path }));
    }
    found.sort_by(|left, right| left.path().cmp(right.path()));
    found
}

fn in_workspace(agent: &Slug, workspace: &Path, repos: &Path, named: bool, found: &mut Vec<Candidate>) {
    let mut others = Vec::new();
    for (name, path) in entries(workspace) {
        if path.join(".git").is_file() {
            let clone = clone_of(&path, repos);
            // What a living agent made of clones of its own is its work.
            if clone.is_ok() || !named {
                found.push(Candidate::Worktree { agent: agent.clone(), path, clone });
            }
        } else if !named {
            others.push(name);
        }
    }
    if !others.is_empty() {
        let more = if others.len() > NAMED { ", …" } else { "" };
        let names = others.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ") + more;
        found.push(Candidate::Files { agent: agent.clone(), path: workspace.to_path_buf(), names });
    }
}

/// The clone of a worktree, by the `.git` file in it: `gitdir: <clone>/.git/worktrees/<id>`.
fn clone_of(worktree: &Path, repos: &Path) -> Result<PathBuf, String> {
    let text = fs::read_to_string(worktree.join(".git")).map_err(|error| format!("its .git can't be read: {error}"))?;
    let own = text.trim_end_matches(['\n', '\r']).strip_prefix("gitdir: ").ok_or("its .git names no clone")?;
    let own = worktree.join(own);
    let gone = || format!("its clone is gone: there is no {}", own.display());
    let own = own.canonicalize().map_err(|_| gone())?;
    let worktrees = own.parent().filter(|worktrees| worktrees.ends_with(".git/worktrees"));
    let clone = worktrees.and_then(|worktrees| worktrees.ancestors().nth(2)).ok_or("it is no worktree of a clone")?;
    match repos.canonicalize() {
        Ok(repos) if clone.starts_with(&repos) && clone != repos => Ok(clone.to_path_buf()),
        _ => Err(format!("it belongs to {}, which is no clone of this fleet", clone.display())),
    }
}

/// Why a half clone stays; none where it may go.
pub fn half_clone_stays(path: &Path, processes: &[Process], now: SystemTime) -> Option<String> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let names_it = |process: &&Process| process.command.windows(name.len().max(1)).any(|words| words == name);
    if let Some(process) = processes.iter().find(names_it) {
        return Some(format!("{} ({}) works on it", process.name, process.pid));
    }
    let changed = [path.to_path_buf(), path.join(".git")]
        .iter()
        .filter_map(|path| fs::symlink_metadata(path).and_then(|found| found.modified()).ok())
        .max();
    let age = changed.and_then(|changed| now.duration_since(changed).ok());
    age.is_none_or(|age| age < GROWN).then(|| "it may still grow: it changed less than an hour ago".to_owned())
}

/// `.<name>.<uuid>`: how a clone is called until it is whole.
fn is_half(name: &str) -> bool {
    let id = name.strip_prefix('.').and_then(|rest| rest.rsplit_once('.')).filter(|(name, _)| !name.is_empty());
    id.is_some_and(|(_, id)| id.len() == 36 && Uuid::parse_str(id).is_ok())
}

/// A directory's entries, by name; none where it can't be read. A name that is not UTF-8 is none of ours.
fn entries(directory: &Path) -> BTreeMap<String, PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let named = |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.path()));
    entries.flatten().filter_map(named).collect()
}

/// Whether it is a directory itself and no symbolic link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_unfinished_clones_are_taken_for_unfinished() {
        for (name, half) in [
            (".demo.6f1c0000-0000-4000-8000-000000000001", true),
            (".a.b.6f1c0000-0000-4000-8000-000000000001", true),
            ("demo.6f1c0000-0000-4000-8000-000000000001", false),
            ("..6f1c0000-0000-4000-8000-000000000001", false),
            (".demo.6f1c00000000400080000000000000001", false),
            (".demo.mine", false),
            (".git", false),
        ] {
            assert_eq!(is_half(name), half, "{name}");
        }
    }

    #[test]
    fn a_clone_that_still_grows_is_not_taken_away() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(".demo.6f1c0000-0000-4000-8000-000000000001");
        fs::create_dir(&path).unwrap();
        let git = Process {
            pid: 7,
            name: "git".into(),
            cwd: None,
            command: [b"git\0clone\0", path.as_os_str().as_encoded_bytes()].concat(),
        };
        let later = SystemTime::now() + 2 * GROWN;
        assert!(half_clone_stays(&path, &[], SystemTime::now()).unwrap().contains("may still grow"));
        assert_eq!(half_clone_stays(&path, &[git], later).unwrap(), "git (7) works on it");
        assert_eq!(half_clone_stays(&path, &[], later), None);
        assert!(half_clone_stays(&place.path().join("gone"), &[], later).is_some());
    }

    #[test]
    fn a_living_agent_s_own_files_are_nobody_s_business() {
        let place = tempfile::tempdir().unwrap();
        let (work, repos) = (place.path().join("work"), place.path().join("repos"));
        for path in ["work/ann/notes", "work/bob/notes", "work/Not A Slug/notes", "repos/acme/demo/.git/worktrees/d"] {
            fs::create_dir_all(place.path().join(path)).unwrap();
        }
        for agent in ["ann", "bob"] {
            fs::create_dir_all(work.join(agent).join("stray")).unwrap();
            fs::write(work.join(agent).join("stray/.git"), "gitdir: /nowhere/.git/worktrees/x\n").unwrap();
            fs::create_dir_all(work.join(agent).join("demo")).unwrap();
            let own = repos.join("acme/demo/.git/worktrees/d");
            fs::write(work.join(agent).join("demo/.git"), format!("gitdir: {}\n", own.display())).unwrap();
        }
        std::os::unix::fs::symlink(work.join("bob"), work.join("carol")).unwrap();
        let found = candidates(&work, &repos, |agent| agent.as_str() == "ann");
        let shown: Vec<String> =
            found.iter().map(|one| one.path().strip_prefix(&work).unwrap().display().to_string()).collect();
        assert_eq!(shown, ["ann/demo", "bob", "bob/demo", "bob/stray"]);
        assert!(
            matches!(&found[0], Candidate::Worktree { clone: Ok(clone), .. } if clone.ends_with("repos/acme/demo"))
        );
        assert!(matches!(&found[3], Candidate::Worktree { clone: Err(why), .. } if why.contains("gone")));
    }
}
