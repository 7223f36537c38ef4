//! What people and scripts meet at the command line: the real program, its output, its exit codes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use fleetd::daemon::protocol::{PromptView, Status};
use fleetd::model::{FeedRow, StateName};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::fleet::{FLEETD, Fleet};
use crate::support::wait::until;

fn code_and_text(fleet: &Fleet, args: &[&str]) -> (Option<i32>, String) {
    let output = fleet.run(args);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn check_passes_a_good_file_and_shows_every_mistake_of_a_bad_one_with_its_place() {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    let (code, told) = code_and_text(&fleet, &["check"]);
    assert_eq!((code, told.trim_end().ends_with("agents.yaml: 1 agent, no mistakes")), (Some(0), true), "{told}");
    fleet.configure("  - slug: ann\n    runtime: cluade\n    modle: opus\n    schedule: \"25:00\"\n  - slug: ann\n");
    let (code, told) = code_and_text(&fleet, &["check"]);
    assert_eq!(code, Some(2), "{told}");
    for part in ["cluade", "claude", "modle", "model", "25:00", "agents.yaml:8:", "^", "mistakes in"] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
}

#[test]
fn the_printed_schema_is_the_shipped_one() {
    let fleet = Fleet::new("");
    let shipped = include_str!("../fixtures/agents.schema.json");
    let (code, printed) = code_and_text(&fleet, &["schema"]);
    assert_eq!(code, Some(0));
    assert_eq!(printed.trim_end(), shipped.trim_end());
}

#[test]
fn a_shell_takes_its_completions() {
    let fleet = Fleet::new("");
    for (shell, sign) in [("bash", "complete -F"), ("zsh", "#compdef fleet"), ("fish", "complete -c fleet")] {
        let (code, script) = code_and_text(&fleet, &["completions", shell]);
        assert_eq!(code, Some(0), "{script}");
        assert!(script.contains(sign) && script.contains("reconcile"), "{shell}: {script:.200}");
    }
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(fleet.fleet(&["completions", "bash"]).as_bytes()).unwrap();
    let checked = bash.wait_with_output().unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
}

#[test]
fn man_pages_are_written_for_every_verb_into_a_directory_that_need_not_exist() {
    let fleet = Fleet::new("");
    let directory = fleet.path("share/man1");
    fleet.fleet(&["man", directory.to_str().unwrap()]);
    for page in ["fleet.1", "fleet-send.1", "fleet-status.1", "fleet-attach.1"] {
        let text = std::fs::read_to_string(directory.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.starts_with(".ie") && text.contains(".TH fleet"), "{page}: {text:.100}");
    }
    assert!(fleet.fleet(&["man"]).contains(".TH fleet"));
}

#[tokio::test]
async fn a_status_in_a_pipe_has_no_colours_and_every_agent() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + &Fleet::practice("bob")));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let told = fleet.fleet(&["status"]);
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let heads: Vec<&str> = told.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["AGENT", "RUNTIME", "STATE", "SINCE", "LAST", "PROMPT", "NEXT", "NUDGE", "QUEUE", "ATTACHED"]);
    assert!(told.contains("ann ") && told.contains("bob ") && told.contains("idle"), "{told}");
}

#[tokio::test]
async fn a_prompt_comes_from_an_argument_from_standard_input_or_from_a_file_alike() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    std::fs::write(fleet.path("prompt"), "from a file\nof two lines\n").unwrap();
    fleet.fleet(&["send", "ann", "--file", fleet.path("prompt").to_str().unwrap()]);
    let mut command = fleet.command(&["send", "ann", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("from standard input\n".as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("confirmed in"), "{output:?}");
    let record = fleet.transcript("ann");
    assert!(record.contains(r"from a file\nof two lines") && record.contains("from standard input"), "{record}");
    for (args, part) in [
        (&["send", "ann", "--file", "/nonexistent/prompt"][..], "/nonexistent/prompt"),
        (&["send", "ann", " "], "the prompt is empty"),
        (&["send", "ann"], "required"),
        (&["send", "ann", "x", "--timeout", "soon"], "30s"),
        (&["send", "ann", "x", "--no-wait", "--reply"], "cannot be used with"),
        (&["trace", "nonsense"], "is not a prompt id"),
        (&["trace", "000000000000"], "there is no prompt"),
        (&["nudge", "ann"], "no dailyPrompt"),
        (&["tail", "an"], "did you mean \"ann\""),
    ] {
        let (code, told) = code_and_text(&fleet, args);
        assert!(code == Some(2) || args[2..].contains(&"--file") && code == Some(1), "{args:?}: {code:?} {told}");
        assert!(told.contains(part), "{args:?}: {told}");
    }
}

#[tokio::test]
async fn no_wait_prints_the_id_alone_and_json_prints_the_whole_life() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    let id = fleet.fleet(&["send", "ann", "--no-wait", "one"]);
    assert_eq!(id.len(), fleetd::model::PromptId::LENGTH, "{id}");
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    let view: PromptView = serde_json::from_str(&fleet.fleet(&["send", "ann", "--reply", "--json", "two"])).unwrap();
    assert_eq!((view.body.as_str(), view.steps.last().unwrap().state.name()), ("two", StateName::Done));
    let told = fleet.fleet(&["trace", &id]);
    for word in ["cli by ann: one", "queued", "typing", "submitted", "confirmed by transcript", "done", "▶"] {
        assert!(told.contains(word), "{word} is missing in:\n{told}");
    }
}

#[test]
fn attaching_to_nobody_names_the_agent_that_was_meant() {
    let fleet = Fleet::new(&Fleet::practice("clickhouse-optimizer"));
    let (code, told) = code_and_text(&fleet, &["attach", "clickhouse-optimiser"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("did you mean \"clickhouse-optimizer\""), "{told}");
}

#[test]
fn every_verb_without_a_daemon_says_so_by_its_exit_code() {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    for args in [&["status"][..], &["tail"], &["nudge", "ann"], &["reconcile"], &["trace", "000000000000"]] {
        let (code, told) = code_and_text(&fleet, args);
        assert_eq!(code, Some(5), "{args:?}: {told}");
        assert!(told.contains("fleetd is not running on") && told.contains("start it"), "{args:?}: {told}");
    }
}

/// A `fleet tail` that runs.
struct Tail {
    child: Child,
    lines: Receiver<String>,
}

impl Tail {
    fn start(fleet: &Fleet) -> Self {
        let mut command = fleet.command(&["tail", "--all", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_tail_outlives_the_daemon_and_neither_loses_nor_repeats_a_row() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    let tail = Tail::start(&fleet);
    let seen = Mutex::new(Vec::new());
    for round in 0..3 {
        fleet.fleet(&["send", "ann", "--reply", &format!("round {round}")]);
        match round {
            0 => fleet.kill(),
            _ => assert_eq!(fleet.stop(), Some(0)),
        }
        fleet.start().await;
    }
    let feed = fleet.feed();
    until("the tail has shown every row", async || {
        let mut seen = seen.lock().unwrap();
        seen.extend(tail.lines.try_iter().map(|line| serde_json::from_str::<FeedRow>(&line).unwrap()));
        (seen.len() >= feed.len()).then_some(())
    })
    .await;
    assert_eq!(seen.into_inner().unwrap(), feed);
}

#[tokio::test]
async fn a_tail_into_a_pipe_that_closes_ends_quietly() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["send", "ann", "--reply", "hello"]);
    let script = format!("{FLEETD} tail --all --no-follow | head -n 1");
    let output = Command::new("sh").args(["-c", &script]).env("FLEET_STATE", fleet.state()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
}

#[tokio::test]
async fn a_send_outlives_the_daemon_s_restart() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let agent = Pid::from_raw(fleet.agent_pid("ann").cast_signed()).unwrap();
    kill_process(agent, Signal::STOP).unwrap();
    let mut command = fleet.command(&["send", "ann", "across a restart"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let stored = async || {
        let status: Status = fleet.status();
        status.agents[0].last.is_some().then_some(())
    };
    until("the prompt is stored", stored).await;
    fleet.kill();
    kill_process(agent, Signal::CONT).unwrap();
    fleet.start().await;
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("ann: confirmed in"), "{output:?}");
    assert_eq!(fleet.transcript("ann").matches("across a restart").count() - said(&fleet), 1, "typed twice");
}

/// How often the practice agent repeated the prompt in its own words.
fn said(fleet: &Fleet) -> usize {
    let record = fleet.transcript("ann");
    record
        .lines()
        .filter(|line| !line.contains("\"type\":\"prompt\""))
        .map(|line| line.matches("across a restart").count())
        .sum()
}

#[test]
fn a_prompt_that_a_dying_daemon_did_not_answer_for_is_kept_and_not_lost() {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    std::fs::create_dir_all(fleet.state()).unwrap();
    let dying = std::os::unix::net::UnixListener::bind(fleet.state().join("fleetd.sock")).unwrap();
    let hangs_up = std::thread::spawn(move || drop(dying.accept().unwrap()));
    let (code, told) = code_and_text(&fleet, &["send", "ann", "do not lose me"]);
    hangs_up.join().unwrap();
    assert_eq!(code, Some(5), "{told}");
    let kept = std::fs::read_dir(fleet.state().join("offline")).unwrap().next().unwrap().unwrap().path();
    assert!(std::fs::read_to_string(kept).unwrap().contains("do not lose me"));
}
