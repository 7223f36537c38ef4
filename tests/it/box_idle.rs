//! A box that stops itself: announced, called off by anybody who does anything, and up again as if nothing had been.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use fleetd::model::PromptState;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::fleet::{Fleet, seconds_to_next_nine};
use crate::support::slack::FakeSlack;
use crate::support::wait::until;

const MINUTE: i64 = 60;
const STATUS: &str = "C00000002";

/// A fleet whose box would stop by a program that writes a line into `stopped`.
fn fleet(script: &str) -> Fleet {
    let fleet = Fleet::new("");
    let program = fleet.path("stop-box");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let daily = "    schedule: \"Mon..Sun 09:00 Europe/Berlin\"\n    dailyPrompt: Look after the build.\n";
    let box_keys = format!(
        "statusChannel: \"#status\"\nidleStop:\n  after: 30m\n  command: [{}, \"$HOME; now\"]\n",
        program.display()
    );
    fleet.configure(&(Fleet::practice("ann") + daily + &box_keys));
    fleet
}

fn stops(fleet: &Fleet) -> Vec<String> {
    let text = std::fs::read_to_string(fleet.path("stopped")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Starts the fleet at ten in the morning: the day's nudge is over before the box comes up, the next one is far away. Answers by
/// how many seconds the clock is ahead.
async fn up_at_ten(fleet: &mut Fleet) -> i64 {
    let moved = seconds_to_next_nine() + 60 * MINUTE;
    fleet.move_clock(moved);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    moved
}

async fn announced(fleet: &Fleet, whether: bool) {
    let event = if whether { "the stop is announced" } else { "no stop is announced" };
    until(event, async || (fleet.status().stops_at.is_some() == whether).then_some(())).await;
}

#[tokio::test]
async fn an_idle_box_says_so_first_stays_up_for_whoever_needs_it_stops_once_and_comes_back_without_old_nudges() {
    let slack = FakeSlack::start(&[("status", STATUS)], Duration::from_secs(3)).await;
    let mut fleet = fleet("echo \"$@\" >> \"$(dirname \"$0\")/stopped\"");
    fleet.on_slack(&slack);
    let told = async |what: &str| slack.wait_message(what, |post| post.text.contains(what)).await;
    let mut moved = up_at_ten(&mut fleet).await;
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
    told("fleetd is up: 0 running, 0 resumed, 1 fresh, 0 failed").await;
    let mut passes = |fleet: &Fleet, minutes: i64| {
        moved += minutes * MINUTE;
        fleet.move_clock(moved);
    };

    passes(&fleet, 31);
    announced(&fleet, true).await;
    told("this box stops itself").await;
    assert!(fleet.fleet(&["status"]).contains("this box stops itself"));
    fleet.fleet(&["send", "ann", "--reply", "one more thing"]);
    announced(&fleet, false).await;
    passes(&fleet, 6);
    told("this box stays up").await;

    passes(&fleet, 31);
    announced(&fleet, true).await;
    let awake = fleet.fleet(&["keep-awake", "2h"]);
    assert!(awake.contains("stays up until"), "{awake}");
    announced(&fleet, false).await;
    assert!(fleet.status().awake_until.is_some());
    passes(&fleet, 40);
    assert!(fleet.fleet(&["keep-awake", "--off", "--json"]).contains("null"));
    assert_eq!((fleet.status().awake_until, stops(&fleet)), (None, Vec::<String>::new()));

    passes(&fleet, 31);
    announced(&fleet, true).await;
    assert_eq!(stops(&fleet), Vec::<String>::new(), "stopped without a warning");
    passes(&fleet, 6);
    until("the box stops", async || (!stops(&fleet).is_empty()).then_some(())).await;
    announced(&fleet, false).await;
    assert_eq!(stops(&fleet), ["$HOME; now"], "the command went through a shell");

    fleet.kill();
    passes(&fleet, 24 * 60);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    told("got no daily prompt on").await;
    // A minute lies between two messages.
    passes(&fleet, 2);
    told("fleetd is up: 1 running").await;
    assert_eq!((stops(&fleet).len(), fleet.status().stops_at), (1, None), "it stopped again at once");
    assert!(!fleet.transcript("ann").contains("Look after the build."));
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_that_fails_is_told_and_not_tried_again_at_every_tick_and_a_restart_calls_one_off() {
    let mut fleet = fleet("echo tried >> \"$(dirname \"$0\")/stopped\"; echo 'not allowed' >&2; exit 3");
    let mut moved = up_at_ten(&mut fleet).await;
    moved += 31 * MINUTE;
    fleet.move_clock(moved);
    announced(&fleet, true).await;
    fleet.kill();
    fleet.start().await;
    announced(&fleet, false).await;
    assert!(fleet.log().contains("fleetd was started again"));
    fleet.until_state("ann", "idle").await;
    moved += 31 * MINUTE;
    fleet.move_clock(moved);
    announced(&fleet, true).await;
    moved += 6 * MINUTE;
    fleet.move_clock(moved);
    until("the stop fails", async || fleet.log().contains("could not stop itself").then_some(())).await;
    assert!(fleet.log().contains("not allowed"), "why was not told");
    // The next announcement stands for the ticks in between: none of them tried again.
    moved += 31 * MINUTE;
    fleet.move_clock(moved);
    announced(&fleet, true).await;
    assert_eq!(stops(&fleet), ["tried"]);
}

#[tokio::test]
async fn a_prompt_that_comes_while_the_last_look_at_the_panes_is_taken_keeps_the_box_up() {
    let mut fleet = fleet("echo \"$@\" >> \"$(dirname \"$0\")/stopped\"");
    let mut moved = up_at_ten(&mut fleet).await;
    moved += 31 * MINUTE;
    fleet.move_clock(moved);
    announced(&fleet, true).await;
    let looks = |fleet: &Fleet| fleet.log().matches("looks into every pane").count();
    let server = fleet.tmux(&["display-message", "-p", "#{pid}"]).parse().ok().and_then(Pid::from_raw).unwrap();
    let before = looks(&fleet);
    kill_process(server, Signal::STOP).unwrap();
    moved += 6 * MINUTE;
    fleet.move_clock(moved);
    until("the last look begins", async || (looks(&fleet) > before).then_some(())).await;
    let id = fleet.fleet(&["send", "ann", "--no-wait", "one more thing"]);
    kill_process(server, Signal::CONT).unwrap();
    announced(&fleet, false).await;
    fleet.until_prompt(&id, "done", |state| matches!(state, PromptState::Done { .. })).await;
    assert_eq!(stops(&fleet), Vec::<String>::new(), "it stopped with a prompt in the queue");
}

#[tokio::test]
async fn a_retired_agent_in_its_last_turn_keeps_the_box_up() {
    let mut fleet = Fleet::new("");
    let both = |agents: String| agents + "idleStop: {after: 30m, command: [\"true\"]}\n";
    let bob = Fleet::practice("bob") + "    env: {FLEET_PRACTICE_GATE: gate}\n";
    fleet.configure(&both(Fleet::practice("ann") + &bob));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    fleet.until_state("bob", "idle").await;
    fleet.fleet(&["send", "bob", "--no-wait", "build it\npractice: hold"]);
    fleet.until_state("bob", "busy").await;
    fleet.configure(&both(Fleet::practice("ann")));
    until("bob is retired", async || fleet.log().contains("retired: its session is held").then_some(())).await;
    fleet.move_clock(31 * MINUTE);
    until("the box is in use", async || fleet.log().contains("the box is in use: bob is busy").then_some(())).await;
    assert_eq!(fleet.status().stops_at, None, "it would stop in the middle of a turn");
}
