//! `fleet doctor` on whole boxes: a healthy one, a broken one, one that hangs; and that it leaves everything as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fleetd::cli::doctor::{Check, Line, Report, Verdict};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::agents::Cli;
use crate::support::fleet::Fleet;
use crate::support::slack::{BOT_TOKEN, FakeSlack, MANIFEST_SCOPES};
use crate::support::wait::until;

const CHANNEL: &str = "C00000001";

async fn slack(fleet: &mut Fleet, channels: &[(&str, &str)]) -> FakeSlack {
    let slack = FakeSlack::start(channels, Duration::from_secs(3)).await;
    fleet.on_slack(&slack);
    slack
}

fn report(output: &Output) -> Report {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn word(line: &Line) -> &'static str {
    match line.verdict {
        Verdict::Ok => "ok",
        Verdict::Warn { .. } => "warn",
        Verdict::Fail { .. } => "fail",
    }
}

fn of(report: &Report, check: Check) -> Vec<&Line> {
    report.lines.iter().filter(|line| line.check == check).collect()
}

/// A line of this check that fails, says `part`, and has a mend with `mend` in it.
fn fails(report: &Report, check: Check, part: &str, mend: &str) {
    let told = |line: &&Line| {
        matches!(&line.verdict, Verdict::Fail { mend: told } if told.contains(mend)) && line.found.contains(part)
    };
    assert!(of(report, check).iter().any(told), "{check:?} {part:?} {mend:?} is missing in {:#?}", report.lines);
}

/// A program of that name that does what a shell script says.
fn program(fleet: &Fleet, name: &str, script: &str) -> PathBuf {
    let directory = fleet.path("bin");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn before_the_path(fleet: &mut Fleet) {
    let path = format!("{}:{}", fleet.path("bin").display(), std::env::var("PATH").unwrap());
    fleet.set("PATH", path);
}

/// Everything below a directory: rights, time of change, content.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut seen = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        seen.insert(path, (found.mode(), found.mtime(), found.mtime_nsec(), content));
    }
    seen
}

/// The processes that were told of a directory, by their command lines.
fn told_of(directory: &Path) -> Vec<String> {
    let needle = directory.as_os_str().as_encoded_bytes();
    let told = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.windows(needle.len()).any(|window| window == needle)
    };
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).filter(told);
    processes.map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_box_is_called_healthy_by_the_surroundings_of_its_daemon() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + "    slackChannel: \"#agent-ann\"\n"));
    let _slack = slack(&mut fleet, &[("general", "C00000009"), ("other", "C00000008"), ("agent-ann", CHANNEL)]).await;
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    // Whoever asks in a shell has none of the service's tokens.
    for name in ["SLACK_API_URL", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"] {
        fleet.unset(name);
    }
    let output = fleet.run(&["doctor", "--json", "--timeout", "60s"]);
    let found = report(&output);
    let wrong: Vec<&Line> = found.lines.iter().filter(|line| word(line) == "fail").collect();
    assert_eq!((output.status.code(), wrong), (Some(0), Vec::new()));
    for check in [
        Check::Config,
        Check::Tmux,
        Check::TmuxServer,
        Check::SelfTest,
        Check::Program,
        Check::SlackBot,
        Check::SlackScopes,
        Check::SlackApp,
        Check::SlackChannel,
        Check::Git,
        Check::Zone,
        Check::State,
        Check::Database,
        Check::Daemon,
    ] {
        let lines = of(&found, check);
        assert!(!lines.is_empty() && lines.iter().all(|line| word(line) == "ok"), "{check:?}: {lines:#?}");
    }
    assert!(of(&found, Check::SelfTest)[0].found.contains("confirmed in"), "{found:#?}");
    assert!(fleet.fleet(&["send", "ann", "still well"]).contains("confirmed"), "the fleet was disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_with_many_faults_tells_each_with_its_mend_in_one_go_and_no_secret() {
    let mut fleet = Fleet::new("");
    let claude = program(&fleet, "claude", "echo 'error: this machine is too old for me' >&2; exit 1");
    program(&fleet, "tmux", "echo tmux 3.1c");
    before_the_path(&mut fleet);
    let config_home = fleet.path("claude-home");
    fs::create_dir_all(&config_home).unwrap();
    fs::write(config_home.join(".claude.json"), "{\"half").unwrap();
    let ann = format!(
        "  - slug: ann\n    command: {}\n    env: {{CLAUDE_CONFIG_DIR: {}, ANTHROPIC_API_KEY: sk-s3cret}}\n",
        claude.display(),
        config_home.display()
    );
    let bob = "  - slug: bob\n    runtime: codex\n    command: /nowhere/codex\n    repos: [o/n]\n";
    fleet.configure(&format!("{ann}    slackChannel: \"#agent-ann\"\n{bob}    slackChannel: \"#gone\"\n"));
    let slack = slack(&mut fleet, &[("agent-ann", CHANNEL)]).await;
    let without: Vec<&str> = MANIFEST_SCOPES.into_iter().filter(|scope| *scope != "reactions:write").collect();
    slack.grant(&without);
    slack.leave(CHANNEL);
    fleet.set("SLACK_APP_TOKEN", "xapp-wrong-s3cret");
    fs::create_dir_all(fleet.path("repos/o/n")).unwrap();
    fs::create_dir_all(fleet.state()).unwrap();
    fs::set_permissions(fleet.state(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(fleet.state().join("fleet.db"), "this was a database once, before the disk was full").unwrap();
    let before = snapshot(&fleet.path(""));
    let output = fleet.run(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(snapshot(&fleet.path("")), before, "something was changed");
    let found = report(&output);
    fails(&found, Check::Tmux, "tmux 3.1c is too old: 3.2", "upgrade");
    fails(&found, Check::SelfTest, "too old", "mend what else is told of tmux");
    fails(&found, Check::Program, "/nowhere/codex", "npm install");
    fails(&found, Check::Start, "this machine is too old for me", "agents.yaml");
    fails(&found, Check::Login, "codex has no login", "log in");
    fails(&found, Check::Trust, ".claude.json is no JSON", "by hand");
    fails(&found, Check::SlackScopes, "lacks reactions:write", "slack-manifest.yaml");
    fails(&found, Check::SlackApp, "invalid_auth", "SLACK_APP_TOKEN");
    fails(&found, Check::SlackChannel, "the app is not in #agent-ann", "/invite");
    fails(&found, Check::SlackChannel, "no channel #gone", "/invite");
    fails(&found, Check::Clone, "repos/o/n is not a clone of o/n", "move it aside");
    fails(&found, Check::State, "0755", "--fix");
    fails(&found, Check::Database, "not a database", "move fleet.db away");
    assert!(of(&found, Check::Daemon).iter().any(|line| line.found.contains("not running")), "{found:#?}");
    let people = fleet.run(&["doctor", "--no-self-test"]);
    let told = String::from_utf8([people.stdout, people.stderr, output.stdout].concat()).unwrap();
    assert!(!told.contains("s3cret") && !told.contains(BOT_TOKEN) && !told.contains('\u{1b}'), "{told}");
    assert!(told.contains("→ ") && told.contains(" fail\n"), "{told}");
    assert!(slack.violations().is_empty(), "{:?}", slack.violations());

    // Only root can make it another user's; and only root could be made to run another user's programs.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(fleet.state(), Some(12_345), None).unwrap();
        let found = report(&fleet.run(&["doctor", "--json", "--fix"]));
        fails(&found, Check::State, "belongs to the user 12345", "sudo -u");
        for check in [Check::Start, Check::SelfTest, Check::Tmux, Check::Clone] {
            assert!(of(&found, check).is_empty(), "{check:?} ran another user's programs as root");
        }
        assert_eq!(found.fixed, [], "root changed another user's directory");
        std::os::unix::fs::chown(fleet.state(), Some(0), None).unwrap();
    }
    fleet.configure("  - slug: ann\n    runtime: cluade\n    modle: opus\n");
    let output = fleet.run(&["doctor", "--json", "--no-self-test"]);
    let found = report(&output);
    fails(&found, Check::Config, "cluade", "claude");
    fails(&found, Check::Config, "modle", "model");
    fails(&found, Check::State, "0755", "--fix");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_without_fix_and_a_second_fix_finds_nothing_to_do() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["send", "ann", "--reply", "one"]);
    // A crash: the journal and the socket's file stay behind.
    fleet.kill();
    let state = fleet.state();
    let loose = [("", 0o750), ("agents", 0o755), ("fleet.db", 0o644), ("fleetd.lock", 0o640)];
    for (name, mode) in loose {
        fs::set_permissions(state.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert!(state.join("fleetd.sock").exists() && state.join("fleet.db-wal").exists());
    // The practice agent goes on, and writes only when it is spoken to.
    let before = snapshot(&state);
    let found = report(&fleet.run(&["doctor", "--json", "--no-self-test"]));
    assert_eq!(snapshot(&state), before, "looking changed something");
    assert_eq!((found.fixed.len(), of(&found, Check::State).len()), (0, 2), "{found:#?}");
    assert!(of(&found, Check::Database)[0].found.contains("sound"), "{found:#?}");

    let fixed = report(&fleet.run(&["doctor", "--json", "--no-self-test", "--fix"]));
    let told: Vec<&str> = fixed.fixed.iter().map(|fixed| fixed.what.as_str()).collect();
    assert_eq!(told.len(), loose.len() + 1, "{told:#?}");
    assert!(fixed.fixed.iter().all(|fixed| fixed.error.is_none()), "{:#?}", fixed.fixed);
    assert!(
        told[0].ends_with("rights 0750 made 0700") && told.iter().any(|what| what.starts_with("removed ")),
        "{told:#?}"
    );
    assert_eq!(of(&fixed, Check::State).iter().map(|line| word(line)).collect::<Vec<_>>(), ["ok"]);
    let after = snapshot(&state);
    assert!(!after.contains_key(&state.join("fleetd.sock")));
    for (path, (_, _, _, content)) in &after {
        assert_eq!(&before[path].3, content, "{} has another content", path.display());
    }
    let again = report(&fleet.run(&["doctor", "--json", "--no-self-test", "--fix"]));
    assert_eq!((again.fixed, snapshot(&state)), (Vec::new(), after));

    fleet.start().await;
    assert!(fleet.fleet(&["send", "ann", "--reply", "two"]).contains("prompt 2 of this conversation"));
    let live = report(&fleet.run(&["doctor", "--json", "--no-self-test", "--fix"]));
    assert_eq!(live.fixed, Vec::new());
    assert!(fleet.fleet(&["send", "ann", "three"]).contains("confirmed"), "the socket of a running daemon was removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_test_leaves_nothing_behind_when_it_works_hangs_or_is_interrupted() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    let scratch = tempfile::Builder::new().prefix("fd").tempdir_in("/tmp").unwrap();
    fleet.set("TMPDIR", scratch.path().to_str().unwrap());
    let nothing_left = async |when: &str| {
        // What was killed is gone a moment later.
        until(&format!("{when}: no process is left"), async || told_of(scratch.path()).is_empty().then_some(())).await;
        let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{when}");
    };
    let found = report(&fleet.run(&["doctor", "--json", "--timeout", "60s"]));
    assert_eq!(word(of(&found, Check::SelfTest)[0]), "ok", "{found:#?}");
    nothing_left("it worked").await;

    program(&fleet, "tmux", "[ \"$1\" = -V ] && echo tmux 3.3a && exit; exec sleep 1000");
    before_the_path(&mut fleet);
    let output = fleet.run(&["doctor", "--json", "--timeout", "5s"]);
    fails(&report(&output), Check::SelfTest, "did not take a prompt", "mend");
    nothing_left("tmux hung").await;

    let mut doctor = fleet.command(&["doctor"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the daemon of the self-test is up", async || {
        let mut tests = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path());
        tests.any(|test| test.join("state/fleetd.sock").exists()).then_some(())
    })
    .await;
    kill_process(Pid::from_child(&doctor), Signal::TERM).unwrap();
    assert_eq!(doctor.wait().unwrap().code(), Some(1));
    nothing_left("it was interrupted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_holds_up_no_other_check() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + "    slackChannel: \"#agent-ann\"\n"));
    let slack = slack(&mut fleet, &[("agent-ann", CHANNEL)]).await;
    slack.hold("auth.test", true);
    let output = fleet.run(&["doctor", "--json", "--no-self-test", "--timeout", "3s"]);
    let found = report(&output);
    fails(&found, Check::SlackBot, "after 3 s", "--timeout");
    for check in [Check::Tmux, Check::Git, Check::Disk, Check::State, Check::Daemon] {
        assert!(!of(&found, check).is_empty(), "{check:?} is missing");
    }
    assert!(found.lines.is_sorted_by_key(|line| line.check), "the order of the lines depends on who is quick");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_real_clis_writes_into_no_home_and_names_a_wrong_argument() {
    let mut fleet = Fleet::new("");
    let entry = |slug: &str, runtime: &str, cli: Cli, args: &str| {
        let program = cli.program();
        format!("  - slug: {slug}\n    runtime: {runtime}\n    command: {}\n    args: {args}\n", program.display())
    };
    // What it writes, and whether it sees a key, shows in any directory; the real one spares homes beneath /tmp.
    let script = "[ -z \"$OPENAI_API_KEY\" ] && echo x > \"${CODEX_HOME:-$HOME/.codex}/written\" && echo codex 1";
    let eve = format!(
        "  - slug: eve\n    runtime: codex\n    command: {}\n    env: {{OPENAI_API_KEY: s3cret}}\n",
        program(&fleet, "codex", script).display()
    );
    fleet.configure(
        &[
            eve,
            entry("ann", "claude", Cli::Claude, "[--permission-mode, acceptEdits]"),
            entry("bob", "claude", Cli::Claude, "[--permission-mode, nonsense]"),
            entry("carol", "codex", Cli::Codex, "[--search]"),
            entry("dave", "codex", Cli::Codex, "[--nonsense]"),
        ]
        .concat(),
    );
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(home.path().join(".codex")).unwrap();
    fleet.set("HOME", home.path().to_str().unwrap());
    let before = snapshot(home.path());
    let found = report(&fleet.run(&["doctor", "--json", "--no-self-test", "--timeout", "60s"]));
    assert_eq!(snapshot(home.path()), before);
    let starts: Vec<(String, &str)> =
        of(&found, Check::Start).iter().map(|line| (line.agents[0].to_string(), word(line))).collect();
    let expected = [("eve", "ok"), ("ann", "ok"), ("bob", "fail"), ("carol", "ok"), ("dave", "fail")];
    assert_eq!(starts, expected.map(|(agent, word)| (agent.to_owned(), word)), "{found:#?}");
    fails(&found, Check::Start, "'--nonsense'", "args");
    fails(&found, Check::Start, "--permission-mode", "args");
    fails(&found, Check::Login, "claude has no login", "log in");
}
