//! The practice agent in a real tmux.

use std::fs;
use std::path::{Path, PathBuf};

use fleetd::model::{Doing, Outcome, TranscriptEntry, TranscriptLine};
use sha2::{Digest, Sha256};

use crate::support::private_tmux::{Pane, PrivateTmux};
use crate::support::wait::until;

const FLEETD: &str = env!("CARGO_BIN_EXE_fleetd");

/// An agent that answers at once.
fn start<'a>(tmux: &'a PrivateTmux, more: &[&str]) -> (Pane<'a>, PathBuf) {
    start_at("0", tmux, more)
}

fn start_at<'a>(speed: &str, tmux: &'a PrivateTmux, more: &[&str]) -> (Pane<'a>, PathBuf) {
    let transcript = tmux.path("transcript.jsonl");
    let argv: Vec<&str> =
        [FLEETD, "practice-agent", "--speed", speed].into_iter().chain(more.iter().copied()).collect();
    (tmux.start(&[("FLEET_TRANSCRIPT", &transcript)], &argv), transcript)
}

/// The whole lines of the record; each of them must be readable.
fn entries(transcript: &Path) -> Vec<TranscriptEntry> {
    let text = fs::read_to_string(transcript).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| TranscriptLine::from_json(line).unwrap_or_else(|| panic!("unreadable: {line}")).entry)
        .collect()
}

fn prompts(transcript: &Path) -> Vec<String> {
    let prompt = |entry| if let TranscriptEntry::Prompt { text } = entry { Some(text) } else { None };
    entries(transcript).into_iter().filter_map(prompt).collect()
}

async fn recorded(transcript: &Path, event: &str, wanted: impl Fn(&[TranscriptEntry]) -> bool) -> Vec<TranscriptEntry> {
    until(event, async || Some(entries(transcript)).filter(|entries| wanted(entries))).await
}

fn turns_ended(entries: &[TranscriptEntry]) -> usize {
    entries.iter().filter(|entry| matches!(entry, TranscriptEntry::TurnEnded { .. })).count()
}

#[tokio::test]
async fn a_megabyte_arrives_exact_in_one_prompt() {
    let tmux = PrivateTmux::new();
    let (pane, transcript) = start(&tmux, &[]);
    pane.shows("❯ Try:").await;
    let line = "emoji 🦀, tab\there, quote \" and ~ tilde; [201~ and a number ";
    let mut text = "[fleet · cli · test · 0123456789ab]\n".to_owned();
    for number in 0.. {
        if text.len() >= 1 << 20 {
            break;
        }
        text.push_str(&format!("{line}{number}\n"));
    }
    text.push_str("the end");
    pane.paste(&text);
    pane.shows("[pasted").await;
    pane.key("Enter");
    recorded(&transcript, "the turn of the long prompt has ended", |entries| turns_ended(entries) == 1).await;
    let taken = prompts(&transcript);
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].len(), Sha256::digest(&taken[0])), (text.len(), Sha256::digest(&text)));
    pane.shows("prompt 1 of this conversation** (`0123456789ab`)").await;
}

#[tokio::test]
async fn a_prompt_typed_while_busy_is_queued_shown_and_run_after_the_turn() {
    let tmux = PrivateTmux::new();
    let gate = tmux.path("gate");
    let (pane, transcript) = start(&tmux, &["--gate", gate.to_str().unwrap()]);
    pane.shows("❯ Try:").await;
    assert_eq!(pane.format("#{pane_title}"), "✳ idle");
    pane.send("first\npractice: hold");
    pane.shows("esc to interrupt").await;
    pane.send("second");
    let screen = pane.shows("queued: second").await;
    assert!(screen.contains("\n⋯") && !screen.contains("\n❯"), "the box says that it is busy:\n{screen}");
    assert_eq!(pane.format("#{pane_title}"), "⠂ busy");
    assert_eq!(prompts(&transcript), ["first\npractice: hold"]);
    fs::write(&gate, "").unwrap();
    recorded(&transcript, "both turns have ended", |entries| turns_ended(entries) == 2).await;
    assert_eq!(prompts(&transcript), ["first\npractice: hold", "second"]);
    pane.shows("Done with prompt 2").await;
}

#[tokio::test]
async fn an_interrupted_turn_says_so_and_the_queued_prompt_still_runs() {
    let tmux = PrivateTmux::new();
    let (pane, transcript) = start(&tmux, &[]);
    pane.shows("❯ Try:").await;
    pane.send("practice: hold");
    pane.shows("esc to interrupt").await;
    pane.send("second");
    pane.shows("queued: second").await;
    pane.key("Escape");
    let entries = recorded(&transcript, "both turns have ended", |entries| turns_ended(entries) == 2).await;
    let interrupted =
        |entry: &TranscriptEntry| matches!(entry, TranscriptEntry::TurnEnded { outcome: Outcome::Interrupted, .. });
    assert_eq!(entries.iter().filter(|entry| interrupted(entry)).count(), 1);
    assert_eq!(prompts(&transcript).last().map(String::as_str), Some("second"));
}

#[tokio::test]
async fn a_dialog_that_nobody_answers_stays_open_and_takes_the_box_away() {
    let tmux = PrivateTmux::new();
    let (pane, transcript) = start(&tmux, &[]);
    pane.shows("❯ Try:").await;
    pane.send("practice: dialog");
    pane.shows("Do you want to run `make test`?").await;
    pane.paste("a prompt typed without looking");
    // A key that the dialog knows, so that what came before it has been read for sure.
    pane.key("Down");
    let screen = pane.shows("❯ 2. Always").await;
    assert!(!screen.contains("without looking") && !screen.contains("\n❯"), "{screen}");
    let before = entries(&transcript);
    assert!(matches!(before.last(), Some(TranscriptEntry::Asked { .. })), "{before:?}");
    pane.key("3");
    let after = recorded(&transcript, "the turn has ended", |entries| turns_ended(entries) == 1).await;
    let no = TranscriptEntry::Tool { tool: "permission".into(), detail: "make test: no".into(), doing: Doing::Other };
    assert!(after.contains(&no), "{after:?}");
}

#[tokio::test]
async fn a_killed_agent_comes_back_as_itself_even_after_a_half_written_line() {
    let tmux = PrivateTmux::new();
    let (pane, transcript) = start(&tmux, &[]);
    pane.shows("❯ Try:").await;
    pane.send("remember me\npractice: crash");
    assert_eq!(pane.is_dead().await, "1");
    let first = entries(&transcript);
    let torn = fs::read_to_string(&transcript).unwrap() + r#"{"at":"2026-11-20T09:00:00Z","type":"prom"#;
    fs::write(&transcript, torn).unwrap();
    let (pane, _) = start(&tmux, &[]);
    pane.shows("> remember me").await;
    pane.send("who am I?");
    pane.shows("prompt 2 of this conversation").await;
    pane.shows("I remember one before it").await;
    let text = fs::read_to_string(&transcript).unwrap();
    let read: Vec<TranscriptLine> = text.lines().filter_map(TranscriptLine::from_json).collect();
    assert_eq!(read.len() + 1, text.lines().count(), "only the torn line is lost:\n{text}");
    let again = TranscriptEntry::Prompt { text: "who am I?".into() };
    assert!(read.iter().any(|line| line.entry == again), "a prompt is glued to the torn line:\n{text}");
    let conversations = read.iter().filter(|line| matches!(line.entry, TranscriptEntry::Conversation { .. })).count();
    assert_eq!((conversations, &read[0].entry), (1, &first[0]));
}

#[tokio::test]
async fn a_shell_command_typed_into_the_box_is_written_down_and_never_run() {
    let tmux = PrivateTmux::new();
    let proof = tmux.path("proof");
    let (pane, transcript) = start(&tmux, &[]);
    pane.shows("❯ Try:").await;
    pane.send(&format!("!touch {}", proof.display()));
    let shell = TranscriptEntry::Tool {
        tool: "shell".into(),
        detail: format!("touch {}", proof.display()),
        doing: Doing::Running,
    };
    recorded(&transcript, "the shell command is written down", |entries| entries.contains(&shell)).await;
    pane.send("and on");
    recorded(&transcript, "the next turn has ended", |entries| turns_ended(entries) == 1).await;
    assert!(!proof.exists());
    assert_eq!(prompts(&transcript), ["and on"]);
    pane.send("exit");
    assert_eq!(pane.is_dead().await, "0");
}

/// User and system time of a process so far, in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// How often a process gave the processor up of its own accord: it rises by one whenever it wakes and waits again.
fn wakes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn a_dozen_idle_agents_cost_a_machine_nothing() {
    let tmux = PrivateTmux::new();
    let (pane, transcript) = start(&tmux, &[]);
    pane.shows("❯ Try:").await;
    pane.send("warm up");
    recorded(&transcript, "the turn has ended", |entries| turns_ended(entries) == 1).await;
    pane.shows("❯ Try:").await;
    let pid = pane.pid();
    let mut last = None;
    until("the agent has come to rest", || {
        let now = Some((cpu_ticks(pid), wakes(pid)));
        let at_rest = std::mem::replace(&mut last, now) == now;
        async move { at_rest.then_some(()) }
    })
    .await;
    let (cpu, woken) = (cpu_ticks(pid), wakes(pid));
    // The named event: a second agent streams a long answer, some seconds in which the first has nothing to do.
    let other = PrivateTmux::new();
    let (neighbour, record) = start_at("30", &other, &[]);
    neighbour.shows("❯ Try:").await;
    neighbour.send("practice: long 64");
    recorded(&record, "the neighbour's turn has ended", |entries| turns_ended(entries) == 1).await;
    assert_eq!((cpu_ticks(pid), wakes(pid)), (cpu, woken), "an idle agent woke up");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    // Its own memory: the pages of the program's file are shared by all of them.
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kilobytes: u64 = own.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes < 4 << 10, "{kilobytes} kB");
}

#[tokio::test]
async fn a_resized_window_is_drawn_anew_without_a_key() {
    let tmux = PrivateTmux::new();
    let (pane, _) = start(&tmux, &[]);
    pane.shows("❯ Try:").await;
    pane.shows(&"─".repeat(100)).await;
    pane.resize(60, 20);
    let rule = "─".repeat(60);
    until("the rules have the new width", async || {
        let screen = pane.screen();
        (screen.lines().filter(|line| *line == rule).count() == 2).then_some(())
    })
    .await;
}
