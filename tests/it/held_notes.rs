//! Whoever waits for an agent is told what for, where they asked, and once.

use fleetd::daemon::protocol::AgentState;
use std::time::Duration;

use crate::support::fleet::{Fleet, seconds_to_next_nine};
use crate::support::slack::{BOT_USER, FakeSlack, Posted};
use crate::support::wait::until;

const CHANNEL: &str = "C00000001";

async fn started(slack: &FakeSlack, more: &str) -> Fleet {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + "    slackChannel: \"#agent-ann\"\n" + more));
    fleet.on_slack(slack);
    fleet.start().await;
    up(&fleet).await;
    fleet
}

async fn up(fleet: &Fleet) {
    until("the agent rests", async || {
        let rests = |state: &AgentState| matches!(state, AgentState::Idle | AgentState::Paused { .. });
        fleet.status().agents.iter().all(|agent| rests(&agent.state)).then_some(())
    })
    .await;
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
}

/// How many times the bot said in a thread that something waits.
fn notes(slack: &FakeSlack, thread: &str) -> usize {
    let below = slack.messages_in(CHANNEL, Some(thread));
    below.iter().filter(|post| post.user == BOT_USER && post.text.contains("Still waiting")).count()
}

async fn queued(fleet: &Fleet, count: usize) {
    until(&format!("{count} prompts wait"), async || (fleet.status().agents[0].queued == count).then_some(())).await;
}

#[tokio::test]
async fn whoever_waits_for_over_a_minute_is_told_once_in_their_own_thread_what_for_and_not_again_after_a_restart() {
    let slack = FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await;
    let mut fleet = started(&slack, "").await;
    fleet.fleet(&["pause", "ann"]);
    let one = slack.human_says(CHANNEL, None, "UANN", "fix the build");
    let other = slack.human_says(CHANNEL, None, "UBOB", "and the docs");
    slack.human_says(CHANNEL, Some(&other), "UBOB", "no hurry");
    queued(&fleet, 3).await;
    assert_eq!((notes(&slack, &one), notes(&slack, &other)), (0, 0), "told before the minute was over");
    fleet.move_clock(70);
    for thread in [&one, &other] {
        let told = |post: &Posted| post.thread.as_ref() == Some(thread) && post.text.contains("ann holds it");
        slack.wait_message("the author is told what holds it back", told).await;
    }
    fleet.kill();
    fleet.start().await;
    up(&fleet).await;
    // What comes later passes through the same lanes: once it is told, a second note would stand there too.
    let third = slack.human_says(CHANNEL, None, "UANN", "one more");
    queued(&fleet, 4).await;
    fleet.move_clock(140);
    let told = |post: &Posted| post.thread.as_ref() == Some(&third) && post.text.contains("Still waiting");
    slack.wait_message("the last author is told too", told).await;
    assert_eq!((notes(&slack, &one), notes(&slack, &other)), (1, 1));
    fleet.fleet(&["resume", "ann"]);
    queued(&fleet, 0).await;
    assert_eq!(slack.violations(), Vec::<String>::new());
}

/// Ann is held by a person when her nudge is due, which waits; and when, in seconds from now, it was nine.
async fn paused_at_nine() -> (FakeSlack, Fleet, i64) {
    let slack = FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await;
    let nine = seconds_to_next_nine();
    let daily = "    schedule: \"Mon..Sun 09:00 Europe/Berlin\"\n    dailyPrompt: Look after the build.\n";
    let fleet = started(&slack, daily).await;
    fleet.fleet(&["pause", "ann"]);
    fleet.move_clock(nine + 1);
    queued(&fleet, 1).await;
    (slack, fleet, nine)
}

/// The nudge's message, once it says that the nudge waits.
async fn waiting_nudge(slack: &FakeSlack) -> Posted {
    let waits = |post: &Posted| post.user == BOT_USER && post.text.contains("_waiting: ann holds it");
    slack.wait_message("the nudge's message says that it waits", waits).await
}

#[tokio::test]
async fn a_nudge_that_cannot_be_given_says_so_in_its_channel_and_goes_on_in_the_same_thread() {
    let (slack, fleet, nine) = paused_at_nine().await;
    fleet.move_clock(nine + 75);
    let root = waiting_nudge(&slack).await;
    assert!(root.text.contains("Look after the build."), "{root:?}");
    fleet.fleet(&["resume", "ann"]);
    let done = |post: &Posted| post.ts == root.ts && post.text.contains("done");
    slack.wait_message("the same message says that it is done", done).await;
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_nudge_is_never_given_on_another_day_and_its_channel_is_told() {
    let (slack, fleet, nine) = paused_at_nine().await;
    // A quarter of an hour before midnight it is good still, as the note that it waits shows: a pass has looked at it.
    fleet.move_clock(nine + 15 * 3600 - 900);
    let root = waiting_nudge(&slack).await;
    queued(&fleet, 1).await;
    fleet.move_clock(nine + 15 * 3600 + 1);
    let over = |post: &Posted| post.ts == root.ts && post.text.contains("not delivered");
    slack.wait_message("its day is over", over).await;
    fleet.fleet(&["resume", "ann"]);
    fleet.fleet(&["send", "ann", "--reply", "good night"]);
    assert!(!fleet.transcript("ann").contains("Look after the build."));
}
