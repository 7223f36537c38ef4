//! The main job with practice agents: a prompt goes in, is proven, is answered; whatever dies comes back as itself.

use fleetd::model::{Fact, PromptState, StateName};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::fleet::{Fleet, seconds_to_next_nine};
use crate::support::wait::until;

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_prompt_is_confirmed_by_the_agent_s_own_record_and_its_answer_comes_back() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    let line = fleet.fleet(&["send", "ann", "what is up"]);
    assert!(line.starts_with("ann: confirmed in ") && line.ends_with(" s"), "{line}");
    let reply = fleet.fleet(&["send", "ann", "--reply", "and now"]);
    assert!(reply.contains("prompt 2 of this conversation") && reply.contains("and now"), "{reply}");
    assert_eq!(fleet.transcript("ann").matches("\"type\":\"prompt\"").count(), 2);
}

#[tokio::test]
async fn each_agent_gets_only_its_own_prompts_even_where_one_name_begins_like_the_other() {
    let mut fleet = Fleet::new(&(Fleet::practice("pr") + &Fleet::practice("pr-reviewer")));
    fleet.start().await;
    fleet.fleet(&["send", "pr", "--reply", "for pr alone"]);
    fleet.fleet(&["send", "pr-reviewer", "--reply", "for the reviewer alone"]);
    assert!(!fleet.transcript("pr").contains("reviewer alone"));
    assert!(!fleet.transcript("pr-reviewer").contains("for pr alone"));
}

#[tokio::test]
async fn an_agent_that_is_killed_is_resumed_in_its_pane_and_remembers() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["send", "ann", "--reply", "one"]);
    let (pane, pid) =
        (fleet.tmux(&["list-panes", "-a", "-F", "#{pane_id} #{session_created}"]), fleet.agent_pid("ann"));
    kill(pid);
    until("another process is the agent", async || {
        let pane = fleet.tmux(&["display-message", "-p", "-t", "=ann:", "#{pane_dead} #{pane_pid}"]);
        (pane.starts_with("0 ") && pane != format!("0 {pid}")).then_some(())
    })
    .await;
    let reply = fleet.fleet(&["send", "ann", "--reply", "two"]);
    assert!(reply.contains("prompt 2 of this conversation"), "{reply}");
    assert_eq!(fleet.tmux(&["list-panes", "-a", "-F", "#{pane_id} #{session_created}"]), pane);
    assert_ne!(fleet.agent_pid("ann"), pid);
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_a_turn_tells_the_rest_of_the_answer_once() {
    let gate = tempfile::tempdir().unwrap();
    let entry = Fleet::practice("ann") + &format!("    args: [--gate, {}]\n", gate.path().join("open").display());
    let mut fleet = Fleet::new(&entry);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let pid = fleet.agent_pid("ann");
    let id = fleet.fleet(&["send", "ann", "--no-wait", "practice: hold\nthen answer"]);
    fleet.until_prompt(&id, "confirmed", |state| state.name() == StateName::Confirmed).await;
    fleet.kill();
    std::fs::write(gate.path().join("open"), "").unwrap();
    until("the agent answered while no daemon ran", async || {
        fleet.transcript("ann").contains("turn_ended").then_some(())
    })
    .await;
    fleet.start().await;
    let view = fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    assert_eq!(fleet.agent_pid("ann"), pid, "the agent was disturbed");
    let said = view.turn.iter().filter(|row| matches!(row.fact, Fact::Said { .. })).count();
    assert_eq!(said, fleet.transcript("ann").matches("\"type\":\"said\"").count());
    assert_eq!(fleet.transcript("ann").matches("\"type\":\"prompt\"").count(), 1, "typed twice");
}

#[tokio::test]
async fn a_prompt_sent_while_no_daemon_runs_is_kept_and_delivered_at_its_next_start() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    let output = fleet.run(&["send", "ann", "for later"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("delivered at its next start"));
    fleet.start().await;
    until("the kept prompt arrives", async || fleet.transcript("ann").contains("for later").then_some(())).await;
    assert_eq!(fleet.transcript("ann").matches("\"type\":\"prompt\"").count(), 1);
}

#[tokio::test]
async fn a_prompt_for_nobody_is_refused_with_the_name_that_was_meant() {
    let mut fleet = Fleet::new(&Fleet::practice("clickhouse-optimizer"));
    for running in [false, true] {
        if running {
            fleet.start().await;
        }
        for wrong in ["clickhouse-optimiser", "Clickhouse.Optimizer"] {
            let output = fleet.run(&["send", wrong, "x"]);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains("did you mean \"clickhouse-optimizer\""), "{told}");
        }
    }
}

#[tokio::test]
async fn a_prompt_waits_while_the_agent_is_busy_and_is_not_typed_into_its_turn() {
    let gate = tempfile::tempdir().unwrap();
    let entry = Fleet::practice("ann") + &format!("    args: [--gate, {}]\n", gate.path().join("open").display());
    let mut fleet = Fleet::new(&entry);
    fleet.start().await;
    fleet.fleet(&["send", "ann", "practice: hold"]);
    let id = fleet.fleet(&["send", "ann", "--no-wait", "the second"]);
    until("status tells what holds it back", async || {
        fleet.fleet(&["status"]).contains("ann: next prompt waits: it is busy").then_some(())
    })
    .await;
    assert_eq!(fleet.trace(&id).steps.len(), 1, "it was touched");
    std::fs::write(gate.path().join("open"), "").unwrap();
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
}

#[tokio::test]
async fn an_open_dialog_is_not_answered_by_a_prompt() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["send", "ann", "practice: dialog"]);
    until("the dialog is open", async || fleet.screen("ann").contains("1. Yes").then_some(())).await;
    fleet.until_state("ann", "asking").await;
    let output = fleet.run(&["send", "ann", "--timeout", "2s", "yes"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(fleet.screen("ann").contains("1. Yes"), "the dialog was answered");
    assert!(!fleet.transcript("ann").contains("\"type\":\"tool\""), "something was approved");
}

#[tokio::test]
async fn a_pane_at_a_shell_gets_nothing_typed_and_nothing_is_confirmed() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let marker = fleet.path("executed");
    fleet.tmux(&["respawn-pane", "-k", "-t", "=ann:", "env", "PS1=❯ ", "bash", "--norc", "-i"]);
    fleet.until_state("ann", "elsewhere").await;
    let output = fleet.run(&["send", "ann", "--timeout", "2s", &format!("x\ntouch {}", marker.display())]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(!marker.exists(), "a prompt was executed by a shell");
    assert!(!fleet.screen("ann").contains("[fleet"), "{}", fleet.screen("ann"));
}

#[tokio::test]
async fn a_session_of_a_person_s_is_left_alone_and_named_as_the_agent_s_problem() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + &Fleet::practice("bob")));
    fleet.tmux(&["-f", "/dev/null", "new-session", "-d", "-s", "ann", "sleep", "1000"]);
    let pid = fleet.agent_pid("ann");
    fleet.start().await;
    fleet.until_state("bob", "idle").await;
    let output = fleet.run(&["send", "ann", "--timeout", "1s", "x"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(fleet.agent_pid("ann"), pid);
    assert!(
        fleet.fleet(&["status"]).contains("a tmux session named ann is there already"),
        "{}",
        fleet.fleet(&["status"])
    );
    assert!(fleet.fleet(&["send", "bob", "hello"]).contains("confirmed"));
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_directory_is_refused() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    let output = fleet.run(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("another fleetd runs on"), "{told}");
    assert!(fleet.fleet(&["send", "ann", "still well"]).contains("confirmed"));
}

#[tokio::test]
async fn stopping_the_daemon_leaves_the_agents_running_and_a_new_one_adopts_them() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["send", "ann", "--reply", "one"]);
    let pid = fleet.agent_pid("ann");
    assert_eq!(fleet.stop(), Some(0));
    assert_eq!(fleet.agent_pid("ann"), pid);
    fleet.start().await;
    assert!(fleet.fleet(&["send", "ann", "--reply", "two"]).contains("prompt 2 of this conversation"));
    assert_eq!(fleet.agent_pid("ann"), pid);
}

#[tokio::test]
async fn the_daily_prompt_comes_once_at_its_hour_and_the_day_is_stamped_after_it_was_confirmed() {
    let entry = Fleet::practice("ann")
        + "    schedule: \"Mon..Sun 09:00\"\n    dailyPrompt: Good morning.\n    initPrompt: Welcome.\n";
    let mut fleet = Fleet::new(&entry);
    let nine = seconds_to_next_nine();
    fleet.move_clock(nine - 40);
    fleet.start().await;
    until("the welcome was answered", async || fleet.transcript("ann").contains("turn_ended").then_some(())).await;
    assert!(!fleet.transcript("ann").contains("Good morning"));
    fleet.move_clock(nine + 5);
    let stamps = fleet.state().join("stamps/ann");
    until("the day is stamped", async || stamps.read_dir().is_ok_and(|mut files| files.next().is_some()).then_some(()))
        .await;
    assert_eq!(fleet.transcript("ann").matches("nudge · schedule").count(), 1);
    fleet.fleet(&["nudge", "ann"]);
    until("a nudge by hand comes beside it", async || {
        fleet.transcript("ann").contains("nudge · by hand").then_some(())
    })
    .await;
    fleet.kill();
    fleet.start().await;
    fleet.fleet(&["send", "ann", "--reply", "a turn later"]);
    assert_eq!(fleet.transcript("ann").matches("nudge · schedule").count(), 1, "the day's nudge came again");
    assert_eq!(fleet.transcript("ann").matches("init · agents.yaml").count(), 1, "the first prompt came again");
}

#[tokio::test]
async fn a_missed_nudge_is_skipped_and_told_and_never_given_later() {
    let entry = Fleet::practice("ann") + "    schedule: \"Mon..Sun 09:00\"\n    dailyPrompt: Good morning.\n";
    let mut fleet = Fleet::new(&entry);
    let nine = seconds_to_next_nine();
    fleet.move_clock(nine - 60);
    fleet.start().await;
    until("the schedule was looked at", async || fleet.log().contains("looked at the schedule").then_some(())).await;
    fleet.kill();
    fleet.move_clock(nine + 1200);
    fleet.start().await;
    until("the skip is told", async || fleet.log().contains("nudge skipped").then_some(())).await;
    fleet.fleet(&["send", "ann", "--reply", "a turn later"]);
    assert!(!fleet.transcript("ann").contains("Good morning"));
}

#[tokio::test]
async fn a_failed_prompt_is_never_called_confirmed() {
    let mut fleet = Fleet::new("  - slug: ann\n    runtime: command\n    command: [/nonexistent/agent]\n");
    fleet.start().await;
    let output = fleet.run(&["send", "ann", "--timeout", "2s", "x"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(": its process has ended"), "{output:?}");
    let id = fleet.status().agents[0].last.as_ref().unwrap().id.to_string();
    let waits = |state: &PromptState| matches!(state.name(), StateName::Queued | StateName::Deferred);
    assert!(fleet.trace(&id).steps.iter().all(|step| waits(&step.state)), "{:?}", fleet.trace(&id).steps);
}
