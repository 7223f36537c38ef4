//! git, the clones and the agents' worktrees, as they lie on the disk. No remote is contacted: it would take a login, and time.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;

use super::house::House;
use super::report::{Check, Line};
use crate::config::{self, Agent, Fleet, Repo};
use crate::git::{Git, GitError, Worktree, owned_by, worktree_path};
use crate::model::Slug;

/// How long one look of git's may take.
const LOOK: Duration = Duration::from_secs(10);

/// The oldest git that has what fleetd uses: `rev-parse --path-format`.
const NEEDED: (u32, u32) = (2, 31);

/// What was found of one agent's repository.
#[derive(Debug)]
struct Found {
    agent: Slug,
    repo: Repo,
    clone: Result<Clone, String>,
    /// None where there is no clone that it could belong to.
    worktree: Option<(PathBuf, Result<Worktree, String>)>,
}

/// The clone.
#[derive(Debug, PartialEq, Eq)]
enum Clone {
    /// It is to be made here.
    Missing(PathBuf),
    /// It is here, and is what it should be.
    Ours(PathBuf),
    /// What is here has another origin, or none.
    Other(PathBuf),
}

/// Looks.
pub async fn check(house: &House) -> Vec<Line> {
    let environment = config::plain_environment(&house.environment);
    let git = Git::new(&config::git_remote(&house.environment), LOOK, environment);
    let version = judge_version(git.version().await.map_err(|error| error.to_string()));
    let Some(fleet) = house.fleet.as_ref().filter(|_| !matches!(version.verdict, super::Verdict::Fail { .. })) else {
        return vec![version];
    };
    let pairs = fleet.agents.iter().flat_map(|agent| agent.repos.iter().map(move |repo| (agent, repo)));
    let found = join_all(pairs.map(|(agent, repo)| look(&git, fleet, agent, repo))).await;
    std::iter::once(version).chain(found.iter().flat_map(judge)).collect()
}

async fn look(git: &Git, fleet: &Fleet, agent: &Agent, repo: &Repo) -> Found {
    let told = |error: GitError| error.to_string();
    let clone = clone(git, fleet, repo).await.map_err(told);
    let worktree = match &clone {
        Ok(Clone::Ours(clone)) => {
            let path = worktree_path(&fleet.workspaces_dir.join(agent.slug.as_str()), repo, &agent.repos);
            let seen = git.worktree(clone, &path).await.map_err(told);
            Some((path, seen))
        }
        _ => None,
    };
    Found { agent: agent.slug.clone(), repo: repo.clone(), clone, worktree }
}

async fn clone(git: &Git, fleet: &Fleet, repo: &Repo) -> Result<Clone, GitError> {
    let path = git.clone_path(&fleet.repos_dir, repo).await?;
    if !path.exists() {
        return Ok(Clone::Missing(path));
    }
    let origin = git.origin_url(&path).await?;
    Ok(if origin.is_some_and(|url| owned_by(&url, repo)) { Clone::Ours(path) } else { Clone::Other(path) })
}

fn judge_version(printed: Result<String, String>) -> Line {
    let words = match printed {
        Ok(words) => words,
        Err(why) => return Line::fail(Check::Git, why, "install it: `apt-get install git`"),
    };
    let mut numbers = words.split_whitespace().nth(2).unwrap_or_default().split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < NEEDED => {
            let found = format!("{words} is too old: {}.{} or newer is needed", NEEDED.0, NEEDED.1);
            Line::fail(Check::Git, found, "upgrade it")
        }
        _ => Line::ok(Check::Git, words),
    }
}

fn judge(found: &Found) -> Vec<Line> {
    let Found { agent, repo, clone, worktree } = found;
    let clone = match clone {
        Ok(Clone::Ours(path)) => {
            Line::ok(Check::Clone, format!("{repo} in {} (its remote was not asked)", path.display()))
        }
        Ok(Clone::Missing(path)) => {
            Line::ok(Check::Clone, format!("{repo} is not cloned yet: the agent's next start makes {}", path.display()))
        }
        Ok(Clone::Other(path)) => Line::fail(
            Check::Clone,
            format!("{} is not a clone of {repo}", path.display()),
            "move it aside, or set its origin right: `git remote set-url origin …`",
        ),
        Err(why) => Line::fail(
            Check::Clone,
            format!("{repo}: {why}"),
            "look at that directory with git, as the user that runs fleetd",
        ),
    };
    let worktree = worktree.as_ref().map(|(path, seen)| {
        let shown = path.display();
        match seen {
            Ok(Worktree::Ours) => Line::ok(Check::Worktree, format!("{shown}, of {repo}")),
            Ok(Worktree::Missing) => Line::ok(Check::Worktree, format!("the agent's next start makes {shown}")),
            Ok(Worktree::Foreign(why)) => {
                Line::fail(Check::Worktree, format!("{shown} is in the way: {why}"), "move it aside or remove it")
            }
            Err(why) => Line::fail(Check::Worktree, format!("{shown}: {why}"), "look at it with `git status`"),
        }
    });
    std::iter::once(clone).chain(worktree).map(|line| line.of(agent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_agent_s_way_is_told_and_what_is_yet_to_be_made_is_no_fault() {
        let words = |clone, worktree: Option<Result<Worktree, String>>| {
            let found = Found {
                agent: "ann".parse().unwrap(),
                repo: Repo { owner: "o".into(), name: "n".into() },
                clone,
                worktree: worktree.map(|seen| ("/w/n".into(), seen)),
            };
            judge(&found).iter().map(|line| line.verdict.word()).collect::<Vec<_>>()
        };
        let ours = || Ok(Clone::Ours("/r".into()));
        assert_eq!(words(Ok(Clone::Missing("/r".into())), None), ["ok"]);
        assert_eq!(words(Ok(Clone::Other("/r".into())), None), ["fail"]);
        assert_eq!(words(Err("dubious".into()), None), ["fail"]);
        assert_eq!(words(ours(), Some(Ok(Worktree::Ours))), ["ok", "ok"]);
        assert_eq!(words(ours(), Some(Ok(Worktree::Missing))), ["ok", "ok"]);
        assert_eq!(words(ours(), Some(Ok(Worktree::Foreign("x".into())))), ["ok", "fail"]);
        assert_eq!(words(ours(), Some(Err("x".into()))), ["ok", "fail"]);
    }

    #[test]
    fn a_git_that_is_missing_or_too_old_is_told() {
        let judged = |words: &str| judge_version(Ok(words.to_owned())).verdict.word();
        assert_eq!((judged("git version 2.39.5"), judged("git version 2.25.1")), ("ok", "fail"));
        assert_eq!((judged("git version 3.0.rc1"), judged("something new")), ("ok", "ok"));
        assert_eq!(judge_version(Err("no git".into())).verdict.word(), "fail");
    }
}
