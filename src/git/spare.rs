//! Whether a worktree may go: a pure judgement over what was seen of it. It must never free what could be somebody's work:
//! what is not known speaks for keeping.

use super::facts::{Standing, WorktreeFacts};

/// How many names a reason holds.
const NAMED: usize = 3;

/// Directories that hold what a build makes again.
const MADE_AGAIN: [&str; 18] = [
    "target",
    "node_modules",
    "dist",
    "build",
    "out",
    "coverage",
    "venv",
    ".venv",
    "__pycache__",
    ".cache",
    ".gradle",
    ".mypy_cache",
    ".next",
    ".nuxt",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".turbo",
];

/// What becomes of a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go.
    Free {
        /// Ignored build output that goes with it.
        along: Vec<String>,
    },
    /// It stays.
    Keep {
        /// Every reason, for people.
        why: Vec<String>,
    },
}

/// Judges.
pub fn judge(facts: &WorktreeFacts) -> Verdict {
    let (along, work): (Vec<String>, Vec<String>) = facts.ignored.iter().cloned().partition(|path| is_made_again(path));
    let why: Vec<String> = [
        match facts.standing {
            Standing::Registered => None,
            Standing::Link => Some("it is a symbolic link".to_owned()),
            Standing::Moved => {
                Some("git has it at another place; `git worktree repair` in it tells git where it is".to_owned())
            }
        },
        facts.locked.as_ref().map(|why| format!("it is locked ({why})")),
        some(&facts.changes, "uncommitted change"),
        some(&facts.hidden, "file whose changes git was told not to see"),
        some(&work, "ignored file that no build makes again"),
        some(&facts.submodules, "submodule"),
        some(&facts.outside.repositories, "repository inside"),
        facts.operation.map(|what| format!("a {what} is under way in it")),
        count(facts.stashes as u64, "stash", "stashes")
            .map(|stashes| format!("{stashes} of its branch (`git stash list`)")),
        match &facts.unpushed {
            Ok(number) => {
                count(*number, "commit", "commits").map(|commits| format!("{commits} that origin does not have"))
            }
            Err(why) => Some(format!("whether origin has its commits can't be told: {why}")),
        },
        some(&facts.outside.processes, "process that works in it"),
        count(facts.outside.unreadable as u64, "directory", "directories")
            .map(|directories| format!("{directories} in it can't be read")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if why.is_empty() { Verdict::Free { along } } else { Verdict::Keep { why } }
}

/// Whether an ignored path lies in a directory, or is one, that a build makes again.
fn is_made_again(path: &str) -> bool {
    let directories = path.rsplit_once('/').map(|(directories, _)| directories).unwrap_or_default();
    directories.split('/').any(|name| MADE_AGAIN.contains(&name)) || path.ends_with(".pyc")
}

fn some(names: &[String], what: &str) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = if names.len() > NAMED { ", …" } else { "" };
    let shown = shown.join(", ");
    Some(if let [_] = names {
        format!("a {what}: {shown}")
    } else {
        format!("{} times a {what}: {shown}{more}", names.len())
    })
}

fn count(number: u64, one: &str, many: &str) -> Option<String> {
    match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{number} {many}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Outside;
    use super::*;

    fn clean() -> WorktreeFacts {
        WorktreeFacts {
            standing: Standing::Registered,
            locked: None,
            changes: Vec::new(),
            hidden: Vec::new(),
            ignored: Vec::new(),
            submodules: Vec::new(),
            operation: None,
            stashes: 0,
            unpushed: Ok(0),
            outside: Outside::default(),
        }
    }

    #[test]
    fn every_single_trace_of_work_keeps_a_worktree() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        let rows: [(&str, WorktreeFacts); 14] = [
            ("symbolic link", WorktreeFacts { standing: Standing::Link, ..clean() }),
            ("at another place", WorktreeFacts { standing: Standing::Moved, ..clean() }),
            ("locked (mine)", WorktreeFacts { locked: Some("mine".into()), ..clean() }),
            ("uncommitted change: a, b", WorktreeFacts { changes: names(), ..clean() }),
            ("told not to see", WorktreeFacts { hidden: names(), ..clean() }),
            ("no build makes again", WorktreeFacts { ignored: names(), ..clean() }),
            ("submodule", WorktreeFacts { submodules: names(), ..clean() }),
            ("a rebase is under way", WorktreeFacts { operation: Some("rebase"), ..clean() }),
            ("1 stash of", WorktreeFacts { stashes: 1, ..clean() }),
            ("2 commits that", WorktreeFacts { unpushed: Ok(2), ..clean() }),
            ("can't be told: no network", WorktreeFacts { unpushed: Err("no network".into()), ..clean() }),
            ("repository inside", with(Outside { repositories: names(), ..Outside::default() })),
            ("process that works", with(Outside { processes: names(), ..Outside::default() })),
            ("1 directory in it", with(Outside { unreadable: 1, ..Outside::default() })),
        ];
        for (told, facts) in rows {
            let Verdict::Keep { why } = judge(&facts) else { panic!("freed: {facts:?}") };
            assert!(why.len() == 1 && why[0].contains(told), "{told}: {why:?}");
        }
        assert_eq!(judge(&clean()), Verdict::Free { along: Vec::new() });
    }

    fn with(outside: Outside) -> WorktreeFacts {
        WorktreeFacts { outside, ..clean() }
    }

    #[test]
    fn every_reason_is_told_at_once() {
        let facts = WorktreeFacts { locked: Some("mine".into()), stashes: 3, unpushed: Ok(1), ..clean() };
        let Verdict::Keep { why } = judge(&facts) else { panic!("freed") };
        assert_eq!(why.len(), 3, "{why:?}");
    }

    #[test]
    fn only_what_a_build_makes_again_goes_unseen_by_git() {
        for (path, goes) in [
            ("target/", true),
            ("web/node_modules/", true),
            ("target/debug/fleetd", true),
            ("a/__pycache__/b.pyc", true),
            ("c.pyc", true),
            (".env", false),
            ("target", false),
            ("notes/", false),
            ("my-target/", false),
            ("", false),
        ] {
            let facts = WorktreeFacts { ignored: vec![path.to_owned()], ..clean() };
            let expected = Verdict::Free { along: vec![path.to_owned()] };
            assert_eq!(judge(&facts) == expected, goes, "{path}");
        }
    }
}
