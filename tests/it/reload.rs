//! agents.yaml that changes while the fleet runs.

use fleetd::daemon::protocol::{ChangeKind, Plan};
use fleetd::model::StateName;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::fleet::Fleet;
use crate::support::wait::until;

fn both() -> String {
    Fleet::practice("ann") + &Fleet::practice("bob")
}

async fn until_served(fleet: &Fleet, slugs: &[&str]) {
    let event = format!("the fleet is {slugs:?}");
    until(&event, async || {
        let named: Vec<String> = fleet.status().agents.iter().map(|agent| agent.agent.to_string()).collect();
        (named == slugs).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_added_works_without_a_restart_of_the_daemon_and_no_other_is_disturbed() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let pid = fleet.agent_pid("ann");
    fleet.configure(&both());
    until_served(&fleet, &["ann", "bob"]).await;
    fleet.until_state("bob", "idle").await;
    fleet.fleet(&["send", "bob", "hello"]);
    assert_eq!(fleet.agent_pid("ann"), pid);
    fleet.fleet(&["send", "ann", "still here"]);
}

#[tokio::test]
async fn a_new_prompt_or_schedule_restarts_nothing_and_is_what_the_next_nudge_says() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + "    dailyPrompt: old words\n    schedule: \"09:00\"\n"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let pid = fleet.agent_pid("ann");
    let before = fleet.status().agents[0].next_nudge;
    fleet.configure(&(Fleet::practice("ann") + "    dailyPrompt: new words\n    schedule: \"11:00\"\n"));
    until("the other time shows", async || (fleet.status().agents[0].next_nudge != before).then_some(())).await;
    let id = fleet.fleet(&["nudge", "ann"]);
    let id = id.split_whitespace().find(|word| word.len() == 12).unwrap_or(&id).to_owned();
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    assert!(fleet.transcript("ann").contains("new words"), "{}", fleet.transcript("ann"));
    assert_eq!(fleet.agent_pid("ann"), pid);
}

#[tokio::test]
async fn a_new_model_or_variable_restarts_that_agent_alone_once_it_is_idle_and_as_itself() {
    let gate = tempfile::tempdir().unwrap();
    let gate = gate.path().join("gate");
    let bob = Fleet::practice("bob");
    let mut fleet = Fleet::new(&(Fleet::gated("ann", &gate) + &bob));
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    fleet.fleet(&["send", "ann", "remember me"]);
    let pids = (fleet.agent_pid("ann"), fleet.agent_pid("bob"));
    let id = fleet.hand_in("ann", "practice: hold");
    fleet.until_state("ann", "busy").await;
    fleet.configure(&(Fleet::gated("ann", &gate) + "    env: {COLOUR: green}\n" + &bob));
    let waits = fleet.hand_in("ann", "after the restart");
    fleet.until_held("ann", &waits, "agents.yaml has changed").await;
    assert_eq!(fleet.agent_pid("ann"), pids.0, "it was killed in the middle of its turn");
    std::fs::write(&gate, "").unwrap();
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    fleet.until_prompt(&waits, "done", |state| state.name() == StateName::Done).await;
    let after = fleet.agent_pid("ann");
    assert_ne!(after, pids.0);
    let environ = std::fs::read(format!("/proc/{after}/environ")).unwrap();
    assert!(environ.split(|byte| *byte == 0).any(|word| word == b"COLOUR=green"));
    assert!(fleet.taken("ann")[0].contains("remember me"));
    fleet.fleet(&["reconcile"]);
    assert_eq!((fleet.agent_pid("ann"), fleet.agent_pid("bob")), (after, pids.1), "one restart is enough");
}

#[tokio::test]
async fn a_file_with_a_mistake_leaves_the_fleet_as_it_was_and_says_so_until_it_is_mended() {
    let mut fleet = Fleet::new(&both());
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    let pids = (fleet.agent_pid("ann"), fleet.agent_pid("bob"));
    fleet.configure("  - slug: ann\n    runtim: claude\n");
    let told =
        async || fleet.status().problems.iter().any(|problem| problem.contains("did you mean `runtime`")).then_some(());
    until("the mistake is told", told).await;
    fleet.fleet(&["send", "bob", "hello"]);
    assert_eq!((fleet.agent_pid("ann"), fleet.agent_pid("bob")), pids);
    std::fs::remove_file(fleet.path("agents.yaml")).unwrap();
    until("the missing file is told", async || {
        fleet.status().problems.iter().any(|problem| problem.contains("can't read")).then_some(())
    })
    .await;
    fleet.configure(&both());
    until("nothing is wrong any more", async || fleet.status().problems.is_empty().then_some(())).await;
    assert_eq!((fleet.agent_pid("ann"), fleet.agent_pid("bob")), pids);
}

#[tokio::test]
async fn an_agent_that_is_taken_out_is_held_with_its_work_and_comes_back_as_it_was() {
    let mut fleet = Fleet::new(&both());
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    let pid = fleet.agent_pid("bob");
    fleet.configure(&Fleet::practice("ann"));
    until_served(&fleet, &["ann"]).await;
    assert_eq!(fleet.run(&["send", "bob", "hello"]).status.code(), Some(2));
    fleet.kill();
    fleet.start().await;
    assert_eq!(fleet.agent_pid("bob"), pid, "a restart of the daemon must not end it either");
    fleet.configure(&both());
    until_served(&fleet, &["ann", "bob"]).await;
    fleet.fleet(&["send", "bob", "welcome back"]);
    assert_eq!(fleet.agent_pid("bob"), pid);
}

#[tokio::test]
async fn an_agent_that_was_to_be_started_anew_and_is_taken_out_keeps_its_process_and_its_last_turn() {
    let gate = tempfile::tempdir().unwrap();
    let gate = gate.path().join("gate");
    let mut fleet = Fleet::new(&(Fleet::gated("ann", &gate) + &Fleet::practice("bob")));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let pid = fleet.agent_pid("ann");
    let id = fleet.hand_in("ann", "practice: hold");
    fleet.until_state("ann", "busy").await;
    fleet.configure(&(Fleet::gated("ann", &gate) + "    env: {COLOUR: green}\n" + &Fleet::practice("bob")));
    let waits = fleet.hand_in("ann", "after the restart");
    fleet.until_held("ann", &waits, "agents.yaml has changed").await;
    fleet.configure(&Fleet::practice("bob"));
    until_served(&fleet, &["bob"]).await;
    std::fs::write(&gate, "").unwrap();
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    // As it was at first: nothing asks for another process any more.
    fleet.configure(&(Fleet::gated("ann", &gate) + &Fleet::practice("bob")));
    until_served(&fleet, &["ann", "bob"]).await;
    fleet.until_prompt(&waits, "done", |state| state.name() == StateName::Done).await;
    assert_eq!(fleet.agent_pid("ann"), pid, "a retired agent was ended, and nobody resumed it");
}

#[tokio::test]
async fn the_session_of_a_retired_agent_ends_when_its_time_is_over_and_its_directory_stays() {
    let mut fleet = Fleet::new(&both());
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    std::fs::write(fleet.path("work/bob/notes"), "precious").unwrap();
    fleet.configure(&Fleet::practice("ann"));
    let logged = |words: &'static str| fleet.log().contains(words);
    until("it is retired", async || logged("retired: its session is held").then_some(())).await;
    fleet.move_clock(6 * 86_400);
    until("a pass has looked", async || fleet.status().problems.is_empty().then_some(())).await;
    fleet.fleet(&["reconcile"]);
    assert!(fleet.tmux(&["list-sessions"]).contains("bob:"), "its week is not over");
    fleet.move_clock(7 * 86_400 + 60);
    fleet.fleet(&["reconcile"]);
    until("its session has ended", async || (!fleet.tmux(&["list-sessions"]).contains("bob:")).then_some(())).await;
    assert_eq!(std::fs::read_to_string(fleet.path("work/bob/notes")).unwrap(), "precious");
    assert!(fleet.tmux(&["list-sessions"]).contains("ann:"));
}

#[tokio::test]
async fn a_plan_tells_what_a_change_would_do_and_does_nothing() {
    let mut fleet = Fleet::new(&both());
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    assert_eq!(fleet.fleet(&["plan"]), "no changes");
    let text = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    let changed = text.replace("slug: bob", "slug: eve").replace("slug: ann", "slug: ann\n    model: other");
    std::fs::write(fleet.path("other.yaml"), &changed).unwrap();
    let told = fleet.fleet(&["plan", "other.yaml"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    assert_eq!(lines[0], "ann: restart it once it is idle, resumed: another model");
    assert_eq!(lines[1], "eve: launch it, as a new conversation");
    assert!(lines[2].starts_with("bob: retire it: its session is held, and ends "), "{told}");
    let plan: Plan = serde_json::from_str(&fleet.fleet(&["plan", "other.yaml", "--json"])).unwrap();
    let kinds: Vec<ChangeKind> = plan.changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Restart, ChangeKind::Launch, ChangeKind::Retire]);
    std::fs::write(fleet.path("other.yaml"), changed.replace("model: other", "modle: other")).unwrap();
    let refused = fleet.run(&["plan", "other.yaml"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("other.yaml:"), "{refused:?}");
    until_served(&fleet, &["ann", "bob"]).await;
}

#[tokio::test]
async fn what_only_the_next_start_takes_is_told_as_wrong_and_never_as_taken() {
    let mut fleet = Fleet::running(&Fleet::practice("ann")).await;
    let elsewhere = |fleet: &Fleet| {
        let text = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
        std::fs::write(fleet.path("agents.yaml"), text.replace("/repos\n", "/elsewhere\n")).unwrap();
    };
    elsewhere(&fleet);
    let told = async || fleet.status().problems.iter().any(|told| told.contains("another reposDir")).then_some(());
    until("it is told", told).await;
    assert!(!fleet.log().contains("agents.yaml was taken"));
    fleet.configure(&both());
    elsewhere(&fleet);
    until_served(&fleet, &["ann", "bob"]).await;
    until("it is still told", told).await;
    let taken = fleet.log().lines().filter(|line| line.contains("agents.yaml was taken")).collect::<String>();
    assert!(taken.contains("bob") && !taken.contains("reposDir"), "{taken}");
    assert!(!fleet.died());
}

#[tokio::test]
async fn a_reload_asked_for_by_a_signal_does_not_end_the_daemon() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    let pid = Pid::from_raw(fleet.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    until("the file was read again", async || fleet.log().contains("agents.yaml was read again").then_some(())).await;
    assert!(!fleet.died());
}

#[tokio::test]
async fn a_file_that_is_written_slowly_never_retires_the_agents_that_are_not_in_it_yet() {
    let mut fleet = Fleet::new(&both());
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    let whole = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    fleet.configure(&Fleet::practice("ann"));
    // Longer than an editor takes, and long enough for the first half to be read.
    until("the half was read", async || fleet.log().contains("agents.yaml drops agents").then_some(())).await;
    std::fs::write(fleet.path("agents.yaml"), whole).unwrap();
    until("the whole was read", async || fleet.log().contains("says what it said").then_some(())).await;
    let log = fleet.log();
    assert!(!log.contains("retired: its session is held") && !log.contains("agents.yaml was taken"), "{log}");
    fleet.fleet(&["send", "bob", "still here"]);
}

#[tokio::test]
async fn a_retired_agent_is_shown_until_its_session_ends_and_a_person_s_window_in_it_outlives_that() {
    let mut fleet = Fleet::new(&both());
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    fleet.tmux(&["new-window", "-d", "-t", "=bob:", "sleep 1000"]);
    let theirs = fleet.tmux(&["list-panes", "-s", "-t", "=bob", "-F", "#{pane_start_command} #{pane_id}"]);
    let theirs = theirs.lines().find(|line| line.contains("sleep 1000")).unwrap().to_owned();
    let theirs = theirs.rsplit(' ').next().unwrap().to_owned();
    fleet.configure(&Fleet::practice("ann"));
    let shown = until("it is shown", async || fleet.status().retired.pop()).await;
    assert_eq!((shown.agent.as_str(), shown.state.word()), ("bob", "retiring"));
    assert!(fleet.fleet(&["status"]).contains("retiring until"));
    fleet.move_clock(7 * 86_400 + 300);
    until("it is shown no more", async || {
        fleet.fleet(&["reconcile"]);
        fleet.status().retired.is_empty().then_some(())
    })
    .await;
    let panes = fleet.tmux(&["list-panes", "-a", "-F", "#{session_name} #{pane_id}"]);
    assert!(panes.lines().any(|line| line == format!("bob {theirs}")), "{panes}");
    assert_eq!(panes.lines().filter(|line| line.starts_with("bob ")).count(), 1, "{panes}");
}

#[tokio::test]
async fn an_agent_that_becomes_another_program_is_read_as_what_it_still_is_until_it_is_started_anew() {
    let mut fleet = Fleet::running(&Fleet::practice("ann")).await;
    let pid = fleet.agent_pid("ann");
    // By these words no screen of the old program is ever ready: it would wait for its idle moment for ever.
    let other = Fleet::practice("ann").replace("\"0\"]", "\"1\"]").replace("❯", "another prompt>");
    fleet.configure(&other);
    until("another process is ann", async || (fleet.agent_pid("ann") != pid).then_some(())).await;
    assert!(!fleet.died());
}

#[tokio::test]
async fn a_file_of_which_one_agent_can_t_be_set_up_is_not_taken_by_halves() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let pid = fleet.agent_pid("ann");
    std::fs::write(fleet.state().join("agents/bob"), "in the way").unwrap();
    fleet.configure(&(Fleet::practice("ann") + "    env: {COLOUR: green}\n" + &Fleet::practice("bob")));
    let told = async || fleet.status().problems.iter().any(|told| told.contains("can't take")).then_some(());
    until("it is told", told).await;
    fleet.fleet(&["reconcile"]);
    fleet.fleet(&["send", "ann", "--reply", "hello"]);
    assert!(!fleet.log().contains("agents.yaml has changed how it is started"));
    assert_eq!(fleet.agent_pid("ann"), pid, "half of a refused file was taken");
}
