//! Real git on local remotes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fleetd::config::Repo;
use fleetd::git::{Git, GitError, Worktree, branch, worktree_path};
use tempfile::TempDir;

/// A forge's directory with `acme/demo`, and a place to clone to.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        place.remote("acme/demo");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        environment.insert("HOME".into(), self.directory.path().into());
        for who in ["AUTHOR", "COMMITTER"] {
            environment.insert(format!("GIT_{who}_NAME").into(), "ann".into());
            environment.insert(format!("GIT_{who}_EMAIL").into(), "ann@example.org".into());
        }
        // What a git hook that started us would leave behind.
        environment.insert("GIT_DIR".into(), "/nowhere".into());
        environment
    }

    fn git(&self) -> Git {
        Git::new(&format!("file://{}", self.path("forge").display()), Duration::from_secs(60), self.environment())
    }

    fn by_hand(&self, directory: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.env_clear().envs(self.environment()).env_remove("GIT_DIR");
        let output = command.args(args).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A bare repository with one commit on `trunk`, its HEAD.
    fn remote(&self, name: &str) {
        let bare = self.path("forge").join(format!("{name}.git"));
        let work = self.path("seed").join(name);
        std::fs::create_dir_all(&work).unwrap();
        self.by_hand(&work, &["init", "--quiet", "-b", "trunk"]);
        std::fs::write(work.join("README"), name).unwrap();
        self.by_hand(&work, &["add", "."]);
        self.by_hand(&work, &["commit", "--quiet", "-m", "first"]);
        self.by_hand(&work, &["clone", "--quiet", "--bare", ".", &bare.to_string_lossy()]);
    }
}

fn repo(text: &str) -> Repo {
    let (owner, name) = text.split_once('/').unwrap();
    Repo { owner: owner.into(), name: name.into() }
}

#[tokio::test]
async fn an_agent_gets_its_own_branch_and_keeps_its_work_at_every_later_pass() {
    let place = Place::new();
    let (git, demo) = (place.git(), repo("acme/demo"));
    let clone = git.clone_missing(&place.path("repos"), &demo).await.unwrap();
    assert_eq!(clone, place.path("repos").join("acme/demo"));
    let path = worktree_path(&place.path("work"), &demo, std::slice::from_ref(&demo));
    let name = branch(&"optimizer".parse().unwrap());
    assert_eq!(git.worktree(&clone, &path).await.unwrap(), Worktree::Missing);
    git.worktree_missing(&clone, &path, &name).await.unwrap();
    assert_eq!(place.by_hand(&path, &["branch", "--show-current"]), "agent/optimizer");
    assert_eq!(std::fs::read_to_string(path.join("README")).unwrap(), "acme/demo");

    std::fs::write(path.join("README"), "half-done work").unwrap();
    place.by_hand(&path, &["checkout", "--quiet", "-b", "feature"]);
    assert_eq!(git.clone_missing(&place.path("repos"), &demo).await.unwrap(), clone);
    git.worktree_missing(&clone, &path, &name).await.unwrap();
    assert_eq!(git.worktree(&clone, &path).await.unwrap(), Worktree::Ours);
    assert_eq!(std::fs::read_to_string(path.join("README")).unwrap(), "half-done work");
    assert_eq!(place.by_hand(&path, &["branch", "--show-current"]), "feature");
}

#[tokio::test]
async fn a_removed_worktree_comes_back_with_what_was_committed() {
    let place = Place::new();
    let git = place.git();
    let clone = git.clone_missing(&place.path("repos"), &repo("acme/demo")).await.unwrap();
    let path = place.path("work/demo");
    git.worktree_missing(&clone, &path, "agent/a").await.unwrap();
    std::fs::write(path.join("new"), "x").unwrap();
    place.by_hand(&path, &["add", "."]);
    place.by_hand(&path, &["commit", "--quiet", "-m", "work"]);
    place.by_hand(&path, &["push", "--quiet", "origin", "agent/a"]);
    std::fs::remove_dir_all(&path).unwrap();
    git.worktree_missing(&clone, &path, "agent/a").await.unwrap();
    assert!(path.join("new").exists());

    // On a new machine the branch is only at origin.
    let elsewhere = git.clone_missing(&place.path("other-repos"), &repo("acme/demo")).await.unwrap();
    let path = place.path("other-work/demo");
    git.worktree_missing(&elsewhere, &path, "agent/a").await.unwrap();
    assert!(path.join("new").exists());
    assert_eq!(place.by_hand(&path, &["branch", "--show-current"]), "agent/a");
}

#[tokio::test]
async fn a_clone_that_a_person_made_is_used_only_if_it_is_of_that_repository() {
    let place = Place::new();
    place.remote("other/demo");
    let (git, repos) = (place.git(), place.path("repos"));
    std::fs::create_dir_all(&repos).unwrap();
    let url = format!("file://{}", place.path("forge/acme/demo.git").display());
    place.by_hand(&repos, &["clone", "--quiet", &url, "demo"]);
    assert_eq!(git.origin_url(&repos.join("demo")).await.unwrap(), Some(url));
    assert_eq!(git.origin_url(&repos).await.unwrap(), None);
    assert_eq!(git.clone_missing(&repos, &repo("acme/demo")).await.unwrap(), repos.join("demo"));
    let other = git.clone_missing(&repos, &repo("other/demo")).await.unwrap();
    assert_eq!(other, repos.join("other/demo"));
    assert_eq!(std::fs::read_to_string(other.join("README")).unwrap(), "other/demo");
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_and_left_alone() {
    let place = Place::new();
    let (git, demo) = (place.git(), repo("acme/demo"));
    let stray = place.path("repos/acme/demo/notes");
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "mine").unwrap();
    let error = git.clone_missing(&place.path("repos"), &demo).await.unwrap_err();
    assert!(matches!(&error, GitError::InTheWay { .. }), "{error}");

    let clone = git.clone_missing(&place.path("good"), &demo).await.unwrap();
    let path = place.path("work/demo");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("notes"), "mine").unwrap();
    assert!(matches!(git.worktree_missing(&clone, &path, "agent/a").await, Err(GitError::InTheWay { .. })));
    place.by_hand(&path, &["init", "--quiet"]);
    assert!(matches!(git.worktree_missing(&clone, &path, "agent/a").await, Err(GitError::InTheWay { .. })));
    for file in [stray, path.join("notes")] {
        assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
    }
}

#[tokio::test]
async fn a_failed_clone_leaves_nothing_that_looks_like_one_and_is_made_at_the_next_pass() {
    let place = Place::new();
    let (git, late) = (place.git(), repo("acme/late"));
    let error = git.clone_missing(&place.path("repos"), &late).await.unwrap_err();
    assert!(matches!(&error, GitError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("acme/late.git"), "{error}");
    assert_eq!(std::fs::read_dir(place.path("repos/acme")).unwrap().count(), 0);
    place.remote("acme/late");
    git.clone_missing(&place.path("repos"), &late).await.unwrap();
}

#[tokio::test]
async fn a_remote_that_asks_or_hangs_does_not_hang_the_daemon_and_no_token_is_told() {
    let place = Place::new();
    // A server that accepts and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://me:s3cret@{}", listener.local_addr().unwrap());
    let git = Git::new(&base, Duration::from_millis(500), place.environment());
    let begun = Instant::now();
    let error = git.clone_missing(&place.path("repos"), &repo("acme/demo")).await.unwrap_err();
    assert!(matches!(&error, GitError::Timeout { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(!error.to_string().contains("s3cret"), "{error}");
    drop(listener);
    let git = Git::new(&base, Duration::from_secs(60), place.environment());
    let error = git.clone_missing(&place.path("repos"), &repo("acme/demo")).await.unwrap_err();
    assert!(matches!(&error, GitError::Failed { .. }) && !error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_share_a_clone_do_not_trip_over_its_locks() {
    let place = Place::new();
    let git = place.git();
    let agents = (0..8).map(|number| {
        let (git, repos, path) = (git.clone(), place.path("repos"), place.path(&format!("work/{number}/demo")));
        tokio::spawn(async move {
            let clone = git.clone_missing(&repos, &repo("acme/demo")).await.unwrap();
            git.worktree_missing(&clone, &path, &format!("agent/{number}")).await.unwrap();
            assert!(path.join("README").exists());
        })
    });
    for agent in agents.collect::<Vec<_>>() {
        agent.await.unwrap();
    }
}

#[tokio::test]
async fn two_repositories_of_one_name_lie_side_by_side_in_one_workspace() {
    let place = Place::new();
    place.remote("other/demo");
    let git = place.git();
    let both = [repo("acme/demo"), repo("other/demo")];
    for one in &both {
        let clone = git.clone_missing(&place.path("repos"), one).await.unwrap();
        let path = worktree_path(&place.path("work"), one, &both);
        git.worktree_missing(&clone, &path, "agent/a").await.unwrap();
        assert_eq!(std::fs::read_to_string(path.join("README")).unwrap(), one.to_string());
    }
}

#[tokio::test]
async fn a_removed_worktree_comes_back_alone_and_a_commit_that_was_on_no_branch_stays() {
    let place = Place::new();
    let git = place.git();
    let clone = git.clone_missing(&place.path("repos"), &repo("acme/demo")).await.unwrap();
    let (mine, other) = (place.path("work/a/demo"), place.path("work/b/demo"));
    git.worktree_missing(&clone, &mine, "agent/a").await.unwrap();
    git.worktree_missing(&clone, &other, "agent/b").await.unwrap();
    place.by_hand(&mine, &["checkout", "--quiet", "--detach"]);
    std::fs::write(mine.join("new"), "x").unwrap();
    place.by_hand(&mine, &["add", "."]);
    place.by_hand(&mine, &["commit", "--quiet", "-m", "work"]);
    let head = place.by_hand(&mine, &["rev-parse", "HEAD"]);
    // Another one's disk may only be away for a while.
    std::fs::rename(&other, place.path("away")).unwrap();
    std::fs::remove_dir_all(&mine).unwrap();
    git.worktree_missing(&clone, &mine, "agent/a").await.unwrap();
    assert!(mine.join("README").exists());
    assert_eq!(place.by_hand(&clone, &["rev-parse", &format!("rescued/{head}")]), head);
    std::fs::rename(place.path("away"), &other).unwrap();
    assert_eq!(place.by_hand(&other, &["branch", "--show-current"]), "agent/b");
}

#[tokio::test]
async fn a_branch_that_is_checked_out_elsewhere_is_told_with_the_place() {
    let place = Place::new();
    let git = place.git();
    let clone = git.clone_missing(&place.path("repos"), &repo("acme/demo")).await.unwrap();
    git.worktree_missing(&clone, &place.path("elsewhere"), "agent/a").await.unwrap();
    let error = git.worktree_missing(&clone, &place.path("work/demo"), "agent/a").await.unwrap_err();
    assert!(matches!(&error, GitError::BranchInUse { path, .. } if path.ends_with("elsewhere")), "{error}");
    assert!(!place.path("work/demo").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_of_one_clone_do_not_trip_over_each_other_and_move_no_branch_of_a_person() {
    let place = Place::new();
    let git = place.git();
    let clone = git.clone_missing(&place.path("repos"), &repo("acme/demo")).await.unwrap();
    // A clone that a person set up as a mirror: a plain fetch would reset and prune its branches.
    place.by_hand(&clone, &["config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*"]);
    place.by_hand(&clone, &["config", "fetch.prune", "true"]);
    place.by_hand(&clone, &["branch", "mine"]);
    place.by_hand(&clone, &["branch", "trunk2"]);
    let mine = place.by_hand(&clone, &["rev-parse", "trunk"]);
    let seed = place.path("seed/acme/demo");
    std::fs::write(seed.join("more"), "x").unwrap();
    place.by_hand(&seed, &["add", "."]);
    place.by_hand(&seed, &["commit", "--quiet", "-m", "more"]);
    let newest = place.by_hand(&seed, &["rev-parse", "HEAD"]);
    let bare = place.path("forge/acme/demo.git");
    place.by_hand(&seed, &["push", "--quiet", &bare.to_string_lossy(), "trunk", "trunk:trunk2"]);
    // A second door has no lock of ours in common with the first, as another fleetd has none.
    let doors = [git.clone(), git, place.git(), place.git()];
    let fetches = doors.map(|git| {
        let clone = clone.clone();
        tokio::spawn(async move { git.fetch(&clone).await })
    });
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(place.by_hand(&clone, &["rev-parse", "origin/trunk"]), newest);
    for branch in ["mine", "trunk2", "trunk"] {
        assert_eq!(place.by_hand(&clone, &["rev-parse", &format!("refs/heads/{branch}")]), mine, "{branch}");
    }
}
