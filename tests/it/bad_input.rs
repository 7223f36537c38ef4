//! What a user meets who got something wrong: the real program says what happened, to what, and what to do; the agents that
//! can run, run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::fleet::Fleet;
use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};
use crate::support::wait::{PATIENCE, until};

/// Runs the daemon, which must refuse to start; answers its exit code and what it said.
async fn refused(command: Command) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::from(command);
    let ended = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let output = ended.expect("fleetd runs where it must refuse to start").unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn assert_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

#[tokio::test]
async fn a_truncated_database_is_named_with_what_to_do_and_is_not_overwritten() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["send", "ann", "--reply", "hello"]);
    assert_eq!(fleet.stop(), Some(0));
    let path = fleet.state().join("fleet.db");
    let half = std::fs::metadata(&path).unwrap().len() / 2;
    std::fs::File::options().write(true).open(&path).unwrap().set_len(half).unwrap();
    let before = std::fs::read(&path).unwrap();
    let (code, told) = refused(fleet.command(&[])).await;
    assert_eq!(code, Some(1), "{told}");
    assert_told(&told, &[path.to_str().unwrap(), "is damaged", "move it away"]);
    assert_eq!(std::fs::read(&path).unwrap(), before, "the evidence was touched");
    std::fs::rename(&path, fleet.path("away")).unwrap();
    for beside in ["fleet.db-wal", "fleet.db-shm"] {
        std::fs::remove_file(fleet.state().join(beside)).ok();
    }
    fleet.start().await;
    assert!(fleet.log().contains("fleetd is up"));
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_named_with_the_way_out() {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    std::fs::write(fleet.path("file"), "").unwrap();
    for place in [fleet.path("file"), fleet.path("file/below"), "/proc/fleet".into(), "/dev/null/fleet".into()] {
        let mut command = fleet.command(&[]);
        command.env("FLEET_STATE", &place);
        let (code, told) = refused(command).await;
        assert_eq!(code, Some(1), "{told}");
        assert_told(&told, &[place.to_str().unwrap(), "--state"]);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_written_ends_the_start_and_names_the_file() {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    std::fs::create_dir_all(fleet.state().join("fleet.db")).unwrap();
    let (code, told) = refused(fleet.command(&[])).await;
    assert_eq!(code, Some(1), "{told}");
    assert_told(&told, &["can't open the database", fleet.state().join("fleet.db").to_str().unwrap()]);
}

#[tokio::test]
async fn an_agents_yaml_with_mistakes_starts_no_fleet_and_every_mistake_is_shown() {
    let fleet = Fleet::new("  - slug: ann\n    runtme: claude\n  - slug: Bad Slug\n    runtime: claude\n");
    for verb in [&[][..], &["check"]] {
        let (code, told) = refused(fleet.command(verb)).await;
        assert_eq!(code, Some(2), "{told}");
        assert_told(&told, &["agents.yaml:8:", "runtme", "runtime", "Bad Slug", "no fleet until it is right", "^"]);
    }
    for broken in ["agents: [", "", "agents: []\n", "- 1\n", "\u{0}"] {
        std::fs::write(fleet.path("agents.yaml"), broken).unwrap();
        let (code, told) = refused(fleet.command(&[])).await;
        assert_eq!(code, Some(2), "{broken:?}: {told}");
        assert_told(&told, &["agents.yaml"]);
    }
    assert!(!fleet.state().exists(), "something was set up for a fleet that is none");
}

#[tokio::test]
async fn without_any_agents_yaml_every_place_that_counts_is_named() {
    let fleet = Fleet::new("");
    std::fs::remove_file(fleet.path("agents.yaml")).unwrap();
    let mut command = fleet.command(&[]);
    command.env_remove("FLEET_CONFIG");
    let (code, told) = refused(command).await;
    assert_eq!(code, Some(2), "{told}");
    let places = [fleet.path("agents.yaml"), fleet.path("home/.config/fleet/agents.yaml")];
    assert_told(&told, &places.each_ref().map(|place| place.to_str().unwrap()));
    assert_told(&told, &["/etc/fleet/agents.yaml", "--config"]);
    let (code, told) = refused(fleet.command(&["--config", "/nonexistent/agents.yaml"])).await;
    assert_eq!(code, Some(2), "{told}");
    assert_told(&told, &["/nonexistent/agents.yaml", "check the path"]);
}

#[tokio::test]
async fn without_tmux_or_with_an_old_one_the_start_says_what_to_install() {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    let mut command = fleet.command(&[]);
    command.env("PATH", "/nonexistent");
    let (code, told) = refused(command).await;
    assert_eq!(code, Some(1), "{told}");
    assert_told(&told, &["tmux is not installed", "apt-get install tmux"]);
    for (version, parts) in [("tmux 2.9", &["2.9 is too old", "3.2"][..]), ("screen 5", &["names no version"])] {
        script(&fleet.path("tmux"), &format!("echo {version}"));
        let mut command = fleet.command(&[]);
        command.env("PATH", fleet.path(""));
        let (code, told) = refused(command).await;
        assert_eq!(code, Some(1), "{told}");
        assert_told(&told, parts);
    }
}

fn script(path: &Path, line: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_channel(slug: &str) -> String {
    Fleet::practice(slug) + &format!("    slackChannel: \"#agent-{slug}\"\n")
}

/// Waits until `fleet status` says all of this.
async fn until_status(fleet: &Fleet, event: &str, parts: &[&str]) -> String {
    let says = async || {
        let told = fleet.fleet(&["status"]);
        parts.iter().all(|part| told.contains(part)).then_some(told)
    };
    until(event, says).await
}

#[tokio::test]
async fn without_a_network_to_slack_the_agents_run_and_the_status_says_what_is_wrong() {
    // Bound and never listened on: nobody can take the port meanwhile.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let mut fleet = Fleet::new(&with_channel("ann"));
    fleet.set("SLACK_API_URL", format!("http://{address}/api/"));
    fleet.set("SLACK_BOT_TOKEN", BOT_TOKEN);
    fleet.set("SLACK_APP_TOKEN", APP_TOKEN);
    fleet.start().await;
    assert!(fleet.fleet(&["send", "ann", "--reply", "hello"]).contains("hello"));
    let told = until_status(&fleet, "the status names slack", &["slack: not connected", "slack: can't"]).await;
    assert!(!told.contains("secret") && !fleet.log().contains("secret"), "a token was shown: {told}");
}

#[tokio::test]
async fn a_wrong_slack_token_is_named_with_what_to_set_and_the_agents_run() {
    let slack = FakeSlack::start(&[("agent-ann", "C00000001")], std::time::Duration::from_secs(3)).await;
    for (bot, app) in [("xoxb-wrong", APP_TOKEN), (BOT_TOKEN, "xapp-wrong")] {
        let mut fleet = Fleet::new(&with_channel("ann"));
        fleet.set("SLACK_API_URL", slack.api_url());
        fleet.set("SLACK_BOT_TOKEN", bot);
        fleet.set("SLACK_APP_TOKEN", app);
        fleet.start().await;
        assert!(fleet.fleet(&["send", "ann", "--reply", "hello"]).contains("hello"));
        until_status(
            &fleet,
            "the status names the token",
            &["slack: ", "the token is wrong or revoked", "SLACK_BOT_TOKEN"],
        )
        .await;
        assert!(!fleet.log().contains("-wrong"), "a token was logged");
    }
}

#[tokio::test]
async fn one_of_the_two_slack_tokens_alone_is_named_and_the_agents_run() {
    for (set, missing) in [("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"), ("SLACK_APP_TOKEN", "SLACK_BOT_TOKEN")] {
        let mut fleet = Fleet::new(&with_channel("ann"));
        fleet.set(set, "x");
        fleet.start().await;
        let missing = format!("{missing} is not: the bridge needs both");
        until_status(&fleet, "the status names the missing token", &["the slack bridge is off", &missing]).await;
        assert!(fleet.fleet(&["send", "ann", "--reply", "hello"]).contains("hello"));
    }
}

#[tokio::test]
async fn an_agent_whose_clone_fails_is_named_and_the_other_one_runs() {
    let broken = Fleet::practice("ann") + "    repos: [nobody/nothing]\n";
    let mut fleet = Fleet::new(&(broken + &Fleet::practice("bob")));
    fleet.set("FLEET_GIT_URL", "file:///nonexistent");
    fleet.set("https_proxy", "http://127.0.0.1:1");
    fleet.start().await;
    assert!(fleet.fleet(&["send", "bob", "--reply", "hello"]).contains("hello"));
    until_status(&fleet, "the status names the clone", &["ann: can't clone nobody/nothing"]).await;
    fleet.until_state("ann", "failed").await;
    let output = fleet.run(&["send", "ann", "--timeout", "1s", "x"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
}

#[tokio::test]
async fn an_agent_whose_workspace_cannot_be_made_is_named_and_the_other_one_runs() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + &Fleet::practice("bob")));
    std::fs::create_dir_all(fleet.path("work")).unwrap();
    std::fs::write(fleet.path("work/ann"), "a file").unwrap();
    fleet.start().await;
    assert!(fleet.fleet(&["send", "bob", "--reply", "hello"]).contains("hello"));
    until_status(&fleet, "the status names the workspace", &["ann: can't create the workspace", "work/ann"]).await;
}

#[tokio::test]
async fn a_missing_cli_is_named_and_not_tried_in_a_loop_and_the_other_agent_runs() {
    let broken = "  - slug: ann\n    runtime: claude\n    env: {PATH: /nonexistent}\n";
    let mut fleet = Fleet::new(&(broken.to_owned() + &Fleet::practice("bob")));
    fleet.start().await;
    assert!(fleet.fleet(&["send", "bob", "--reply", "hello"]).contains("hello"));
    let parts = [
        "ann: it exited with status 127 soon after each of",
        "could not start claude: is it installed",
        "fleet reconcile",
    ];
    until_status(&fleet, "the status names the missing CLI", &parts).await;
    fleet.until_state("ann", "ended").await;
    let starts = fleet.log().matches("started agent=ann").count();
    assert!((2..=7).contains(&starts), "started {starts} times:\n{}", fleet.log());
    let output = fleet.run(&["send", "ann", "--timeout", "1s", "x"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("ann: still "), "{output:?}");
}

#[tokio::test]
async fn the_socket_of_a_dead_daemon_keeps_nobody_out() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.kill();
    assert!(fleet.state().join("fleetd.sock").exists());
    let output = fleet.run(&["status"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert_told(&String::from_utf8_lossy(&output.stderr), &["fleetd", "start it"]);
    fleet.start().await;
    assert!(fleet.fleet(&["send", "ann", "hello"]).contains("confirmed"));
}
