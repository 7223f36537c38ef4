//! Places to work over an agent's life: clones that are new when its day begins, and worktrees that go only where nobody's
//! work is left. Real git, the real daemon.

use std::path::{Path, PathBuf};

use fleetd::daemon::protocol::{GcItem, GcKind, GcOutcome, GcReport};

use crate::support::fleet::{Fleet, seconds_to_next_nine};
use crate::support::forge::Forge;
use crate::support::wait::until;

/// A fleet in which `old` worked in `acme/demo` and `acme/site` and is gone, and `ann` still works in `acme/demo`.
async fn after_old(forge: &Forge) -> Fleet {
    let entry = |slug: &str, repos: &str| format!("{}    repos: [{repos}]\n", Fleet::practice(slug));
    let mut fleet = Fleet::new(&(entry("old", "acme/demo, acme/site") + &entry("ann", "acme/demo")));
    fleet.set("FLEET_GIT_URL", forge.url());
    fleet.start().await;
    fleet.until_state("old", "idle").await;
    fleet.until_state("ann", "idle").await;
    fleet.stop();
    fleet.tmux(&["kill-session", "-t", "=old"]);
    fleet.configure(&entry("ann", "acme/demo"));
    fleet.start().await;
    let ended = async || {
        let sits = |entry: std::fs::DirEntry| {
            let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            cwd.starts_with(fleet.path("work/old"))
        };
        (!std::fs::read_dir("/proc").unwrap().flatten().any(sits)).then_some(())
    };
    until("old's processes have ended", ended).await;
    fleet
}

fn gc(fleet: &Fleet, args: &[&str]) -> GcReport {
    let args: Vec<&str> = ["gc", "--json"].into_iter().chain(args.iter().copied()).collect();
    serde_json::from_str(&fleet.fleet(&args)).unwrap()
}

fn item<'a>(report: &'a GcReport, path: &Path) -> &'a GcItem {
    let found = report.items.iter().find(|item| Path::new(&item.path) == path);
    found.unwrap_or_else(|| panic!("{} is not in {report:#?}", path.display()))
}

/// Why it stays.
fn why(report: &GcReport, path: &Path) -> String {
    match &item(report, path).outcome {
        GcOutcome::Kept { why } => why.join("; "),
        other => panic!("{} is not kept: {other:?}", path.display()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gone_agent_left_is_freed_if_it_is_at_the_remote_and_the_living_keep_theirs() {
    let forge = Forge::of(&["acme/demo", "acme/site"]);
    let fleet = after_old(&forge).await;
    let (demo, site) = (fleet.path("work/old/demo"), fleet.path("work/old/site"));
    forge.commit(&demo, "pushed");
    forge.git(&demo, &["push", "--quiet", "-u", "origin", "agent/old"]);
    forge.commit(&site, "here-only");
    std::fs::create_dir_all(demo.join("target/debug")).unwrap();
    std::fs::write(demo.join("target/debug/out"), "built").unwrap();

    let seen = gc(&fleet, &[]);
    assert_eq!(item(&seen, &demo).outcome, GcOutcome::Free { along: vec!["target/".into()] });
    assert_eq!(item(&seen, &demo).repo.as_deref(), Some("acme/demo"));
    assert_eq!(why(&seen, &site), "1 commit that origin does not have");
    assert!(seen.items.iter().all(|item| item.agent.as_ref().unwrap().as_str() == "old"), "{seen:#?}");
    assert!(demo.exists() && seen.bytes > 0 && !seen.freed);

    let freed = gc(&fleet, &["--yes"]);
    assert_eq!(item(&freed, &demo).outcome, GcOutcome::Freed { branch_kept: None });
    assert!(!demo.exists() && site.join("here-only").exists());
    assert!(fleet.path("work/ann/demo/README").exists());
    let clone = fleet.path("repos/acme/demo");
    assert_eq!(forge.git(&clone, &["branch", "--list", "agent/*", "--format=%(refname:short)"]), "agent/ann");

    forge.git(&site, &["push", "--quiet", "origin", "agent/old"]);
    gc(&fleet, &["--yes"]);
    // Nothing is left of it, but for the branch that git does not call merged.
    assert!(!fleet.path("work/old").exists() && fleet.path("repos/acme/site/.git").exists());
    assert!(gc(&fleet, &[]).items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_clone_keeps_its_own_worktrees_and_no_others_from_going() {
    let forge = Forge::of(&["acme/demo", "acme/site"]);
    let fleet = after_old(&forge).await;
    std::fs::write(fleet.path("repos/acme/site/.git/config"), "[remote half a line").unwrap();
    let freed = gc(&fleet, &["--yes"]);
    let (demo, site) = (fleet.path("work/old/demo"), fleet.path("work/old/site"));
    assert_eq!(item(&freed, &demo).outcome, GcOutcome::Freed { branch_kept: None });
    assert!(why(&freed, &site).contains("can't look at its clone"), "{freed:#?}");
    assert!(site.exists() && !demo.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trick_makes_gc_delete_somebody_s_work() {
    let forge = Forge::of(&["acme/demo", "acme/site"]);
    let fleet = after_old(&forge).await;
    let demo = fleet.path("work/old/demo");
    let clone = fleet.path("repos/acme/demo");
    // Each trick in a worktree of its own, all of which would go without it.
    let tree = |name: &str| -> PathBuf {
        let path = fleet.path("work/old").join(name);
        forge.git(&clone, &["worktree", "add", "--quiet", "-b", name, &path.to_string_lossy(), "origin/trunk"]);
        path
    };
    let hidden = tree("hidden");
    forge.git(&hidden, &["update-index", "--assume-unchanged", "README"]);
    std::fs::write(hidden.join("README"), "mine").unwrap();
    let detached = tree("detached");
    forge.git(&detached, &["checkout", "--quiet", "--detach"]);
    forge.commit(&detached, "nowhere-else");
    let stash = tree("stash");
    std::fs::write(stash.join("README"), "stashed").unwrap();
    forge.git(&stash, &["stash", "--quiet"]);
    let rebase = tree("rebase");
    std::fs::create_dir_all(
        PathBuf::from(forge.git(&rebase, &["rev-parse", "--absolute-git-dir"])).join("rebase-merge"),
    )
    .unwrap();
    let nested = tree("nested");
    std::fs::create_dir_all(nested.join("target/inner")).unwrap();
    forge.git(&nested.join("target/inner"), &["init", "--quiet"]);
    std::fs::write(nested.join("target/inner/work"), "mine").unwrap();
    let option = tree("option");
    std::fs::write(option.join("--force"), "mine").unwrap();
    let ignored = tree("ignored");
    std::fs::write(ignored.join("notes.local"), "mine").unwrap();
    let locked = tree("locked");
    forge.git(&clone, &["worktree", "lock", &locked.to_string_lossy()]);
    let moved = tree("moved-away");
    let now_at = fleet.path("work/old/moved");
    std::fs::rename(&moved, &now_at).unwrap();
    let linked = fleet.path("work/old/linked");
    std::os::unix::fs::symlink(&hidden, &linked).unwrap();
    let submodule = tree("submodule");
    let url = forge.bare("acme/site");
    let add = ["-c", "protocol.file.allow=always", "submodule", "add", "--quiet", &url.to_string_lossy(), "sub"];
    forge.git(&submodule, &add);
    forge.git(&submodule, &["commit", "--quiet", "-m", "sub"]);
    forge.git(&submodule, &["push", "--quiet", "origin", "submodule"]);
    std::fs::write(submodule.join("sub/README"), "mine").unwrap();
    let removed = tree("removed");
    forge.commit(&removed, "pushed-once");
    forge.git(&removed, &["push", "--quiet", "origin", "removed"]);
    forge.git(&forge.bare("acme/demo"), &["branch", "--quiet", "-D", "removed"]);
    let busy = tree("busy");
    let mut worker =
        std::process::Command::new("cat").current_dir(&busy).stdin(std::process::Stdio::piped()).spawn().unwrap();

    let report = gc(&fleet, &["--yes"]);
    worker.kill().unwrap();
    worker.wait().unwrap();
    for (path, told) in [
        (&hidden, "told not to see: README"),
        (&detached, "1 commit that origin does not have"),
        (&stash, "1 stash of its branch"),
        (&rebase, "a rebase is under way"),
        (&nested, "repository inside: target/inner"),
        (&option, "uncommitted change: --force"),
        (&ignored, "no build makes again: notes.local"),
        (&locked, "it is locked"),
        (&now_at, "at another place"),
        (&linked, "symbolic link"),
        (&submodule, "submodule: sub"),
        (&removed, "1 commit that origin does not have"),
        (&busy, "works in it: cat"),
    ] {
        assert!(why(&report, path).contains(told), "{told}: {}", why(&report, path));
        assert!(path.exists(), "{}", path.display());
    }
    assert!(matches!(item(&report, &demo).outcome, GcOutcome::Freed { .. }), "{report:#?}");

    // What is committed between a listing and the word counts.
    let late = tree("late");
    assert!(matches!(item(&gc(&fleet, &[]), &late).outcome, GcOutcome::Free { .. }));
    forge.commit(&late, "just-now");
    assert!(why(&gc(&fleet, &["--yes"]), &late).contains("1 commit"));
    // A remote that can't be asked proves nothing.
    let offline = tree("offline");
    std::fs::rename(forge.bare("acme/demo"), forge.bare("acme/away")).unwrap();
    assert!(why(&gc(&fleet, &["--yes"]), &offline).contains("can't be told"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_still_runs_keeps_its_places_and_a_half_clone_of_today_stays() {
    let forge = Forge::of(&["acme/demo", "acme/site"]);
    let fleet = after_old(&forge).await;
    fleet.tmux(&["new-session", "-d", "-s", "old", "-c", "/", "sleep 600"]);
    let half = fleet.path("repos/acme/.demo.6f1c0000-0000-4000-8000-000000000001");
    std::fs::create_dir(&half).unwrap();
    let report = gc(&fleet, &["--yes"]);
    assert_eq!(why(&report, &fleet.path("work/old/demo")), "a session of old still runs");
    assert!(why(&report, &half).contains("may still grow") && half.exists());

    let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    std::fs::File::open(&half).unwrap().set_modified(yesterday).unwrap();
    let report = gc(&fleet, &["--yes"]);
    assert_eq!(item(&report, &half).kind, GcKind::HalfClone);
    assert!(!half.exists() && fleet.path("work/old/demo").exists());
}

/// An agent with a nudge at nine in `acme/demo`, idle.
async fn before_nine(forge: &Forge) -> Fleet {
    let nudge = "    repos: [acme/demo]\n    schedule: \"Mon..Sun 09:00\"\n    dailyPrompt: good morning\n";
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + nudge + &Fleet::practice("bob") + nudge));
    fleet.set("FLEET_GIT_URL", forge.url());
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    fleet.until_state("bob", "idle").await;
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_s_day_begins_with_what_its_remote_has() {
    let forge = Forge::of(&["acme/demo"]);
    let fleet = before_nine(&forge).await;
    let newest = forge.advance("acme/demo", "overnight");
    let clone = fleet.path("repos/acme/demo");
    let before = forge.git(&clone, &["rev-parse", "trunk"]);
    fleet.move_clock(seconds_to_next_nine() + 1);
    until("ann's nudge is in the inbox", async || fleet.log().contains("nudge due").then_some(())).await;
    // Fetched before the nudge went out, and nothing else moved.
    assert_eq!(forge.git(&clone, &["rev-parse", "origin/trunk"]), newest);
    assert_eq!(forge.git(&clone, &["rev-parse", "trunk"]), before);
    assert_eq!(forge.git(&clone, &["for-each-ref", "refs/heads/agent", "--format=%(refname)"]).lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_never_answers_costs_an_agent_its_newest_commits_and_never_its_nudge() {
    let forge = Forge::of(&["acme/demo"]);
    let fleet = before_nine(&forge).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:s3cret@{}/acme/demo.git", silent.local_addr().unwrap());
    forge.git(&fleet.path("repos/acme/demo"), &["remote", "set-url", "origin", &url]);
    let nine = seconds_to_next_nine();
    fleet.move_clock(nine + 1);
    until("the nudge waits", async || fleet.log().contains("a nudge waits for its clones").then_some(())).await;
    assert!(!fleet.log().contains("nudge due"));
    fleet.move_clock(nine + 95);
    until("ann's nudge goes out", async || fleet.log().contains("nudge due").then_some(())).await;
    assert_eq!(fleet.log().matches("nudge due").count(), 1);
    assert!(!fleet.log().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_a_nudge_waits_for_its_clones_neither_doubles_it_nor_gives_it_late() {
    let forge = Forge::of(&["acme/demo"]);
    let mut fleet = before_nine(&forge).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/acme/demo.git", silent.local_addr().unwrap());
    forge.git(&fleet.path("repos/acme/demo"), &["remote", "set-url", "origin", &url]);
    let nine = seconds_to_next_nine();
    let waits = |fleet: &Fleet| fleet.log().matches("a nudge waits for its clones").count();
    let given = |fleet: &Fleet, slug: &str| fleet.transcript(slug).matches("good morning").count();
    fleet.move_clock(nine + 1);
    until("ann's nudge waits", async || (waits(&fleet) > 0).then_some(())).await;
    fleet.kill();
    let before = waits(&fleet);
    fleet.start().await;
    until("it waits again", async || (waits(&fleet) > before).then_some(())).await;
    fleet.move_clock(nine + 95);
    until("ann has it", async || (given(&fleet, "ann") > 0).then_some(())).await;
    // Bob's is due two minutes after ann's; nobody is there when its time ends.
    let before = waits(&fleet);
    fleet.move_clock(nine + 121);
    until("bob's nudge waits", async || (waits(&fleet) > before).then_some(())).await;
    fleet.kill();
    fleet.move_clock(nine + 600);
    fleet.start().await;
    until("bob's is skipped", async || fleet.log().contains("nudge skipped").then_some(())).await;
    fleet.until_state("ann", "idle").await;
    fleet.until_state("bob", "idle").await;
    assert_eq!(fleet.log().matches("nudge due").count(), 1);
    let transcript = fleet.transcript("ann");
    let prompts = transcript.lines().filter(|line| line.contains("\"type\":\"prompt\"")).count();
    assert_eq!((prompts, given(&fleet, "bob")), (1, 0), "{transcript}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_is_gone_is_told_once_a_day_and_the_nudge_goes_out_at_once() {
    let forge = Forge::of(&["acme/demo"]);
    let fleet = before_nine(&forge).await;
    std::fs::rename(forge.bare("acme/demo"), forge.bare("acme/away")).unwrap();
    fleet.move_clock(seconds_to_next_nine() + 1);
    until("ann's nudge goes out", async || fleet.log().contains("nudge due").then_some(())).await;
    let store = fleetd::store::Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let told = store.notices_after(0, 100).await.unwrap();
    let told: Vec<String> =
        told.iter().map(|row| row.notice.to_string()).filter(|text| text.contains("fetched")).collect();
    assert!(matches!(&told[..], [one] if one.contains("acme/demo") && one.contains("no such repository")), "{told:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_that_was_taken_out_and_is_set_again_is_told_again() {
    let with_ceiling = Fleet::practice("ann") + "    disk: 1M\n";
    let mut fleet = Fleet::new(&with_ceiling);
    let work = fleet.path("work/ann");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("big"), vec![7; 3 << 20]).unwrap();
    fleet.start().await;
    let times = |count: usize| (fleet.log().matches("*ann* takes 3.0 MiB").count() == count).then_some(());
    until("it is told", async || times(1)).await;
    fleet.configure(&Fleet::practice("ann"));
    let store = fleetd::store::Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let forgotten = async || store.note("disk.over/ann").await.unwrap().is_some_and(|since| since.is_empty());
    until("it is forgotten", async || forgotten().await.then_some(())).await;
    store.close().await;
    fleet.configure(&with_ceiling);
    until("it is told again", async || times(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_over_its_ceiling_is_told_once() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + "    disk: 1M\n"));
    let work = fleet.path("work/ann");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("big"), vec![7; 3 << 20]).unwrap();
    let told = "*ann* takes 3.0 MiB";
    fleet.start().await;
    until("it is told", async || fleet.log().contains(told).then_some(())).await;
    // A restart measures again and tells nothing twice.
    fleet.stop();
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    assert_eq!(fleet.log().matches(told).count(), 1);
}
