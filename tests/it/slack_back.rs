//! What was said while nobody listened: read back, answered once, oldest first; and sockets on which nothing comes.

use std::sync::Arc;
use std::time::Duration;

use fleetd::daemon::MovedClock;
use fleetd::model::{Clock, Prompt};

use crate::support::bridge::{House, NOBODYS, PR, REVIEWER, Running, slug};
use crate::support::slack::{BOT_USER, Script};
use crate::support::wait::until;

/// A clock that is ahead by so many seconds.
fn ahead(directory: &tempfile::TempDir, seconds: u32) -> Arc<dyn Clock> {
    let file = directory.path().join("clock");
    std::fs::write(&file, seconds.to_string()).unwrap();
    Arc::new(MovedClock::new(file))
}

/// A bridge that has read its channels once and is gone again.
async fn been_there(house: &House) -> Running {
    let bridge = house.started().await;
    for channel in [PR, REVIEWER] {
        until("the channel was read", || async { house.store.watermark(channel, None).await.unwrap() }).await;
    }
    bridge
}

async fn back(house: &House, clock: Arc<dyn Clock>) -> Running {
    let mut bridge = house.start_at(clock);
    bridge.wait_status("the bridge is connected", |status| status.connected).await;
    bridge
}

fn bodies(prompts: &[Prompt]) -> Vec<&str> {
    prompts.iter().map(|prompt| prompt.body.as_str()).collect()
}

#[tokio::test]
async fn what_was_said_in_an_hour_of_downtime_is_answered_once_and_oldest_first() {
    let house = House::new().await;
    let mut bridge = been_there(&house).await;
    let live = house.slack.human_says(PR, None, "UANN", "before");
    bridge.prompted().await;
    bridge.kill().await;
    house.slack.human_says(PR, None, "UANN", "first");
    house.slack.human_says(PR, Some(&live), "UANN", "in the live thread");
    let begun = house.slack.human_says(PR, None, "UANN", "a new thread");
    house.slack.human_says(PR, Some(&begun), "UANN", "and its reply");
    house.slack.human_says(REVIEWER, None, "UANN", "to another");
    let edited = house.slack.human_says(PR, None, "UANN", "edtied");
    house.slack.human_edits(PR, &edited, "edited");
    house.slack.human_says(NOBODYS, None, "UANN", "to nobody");
    house.slack.mention(PR, None, "UANN", "last");
    // Nobody acked in time: Slack will not tell it again.
    house.slack.give_up();
    let moved = tempfile::tempdir().unwrap();
    let mut bridge = back(&house, ahead(&moved, 3600)).await;
    for _ in 0..7 {
        bridge.prompted().await;
    }
    let expected = ["before", "first", "in the live thread", "a new thread", "and its reply", "edited", "last"];
    assert_eq!(bodies(&house.open("pr").await), expected);
    assert_eq!(bodies(&house.open("pr-reviewer").await), ["to another"]);
    // Once more, and nothing of it is said again.
    house.slack.drop_sockets();
    house.slack.human_says(PR, None, "UANN", "after");
    bridge.prompted().await;
    assert_eq!(house.open("pr").await.len(), expected.len() + 1);
    house.assert_clean();
}

#[tokio::test]
async fn what_a_socket_and_the_history_tell_is_one() {
    let house = House::new().await;
    let bridge = been_there(&house).await;
    bridge.kill().await;
    // Of these Slack tells again as soon as somebody listens, and the history tells them too.
    for number in 0..20 {
        house.slack.mention(PR, None, "UANN", &number.to_string());
    }
    let mut bridge = back(&house, Arc::new(fleetd::model::SystemClock)).await;
    for _ in 0..20 {
        bridge.prompted().await;
    }
    house.slack.wait_acked().await;
    until("all is acted on", || async { house.store.open_envelopes(1).await.unwrap().is_empty().then_some(()) }).await;
    assert_eq!(house.open("pr").await.len(), 20);
    house.assert_clean();
}

#[tokio::test]
async fn what_is_too_old_gets_one_answer_in_its_thread_and_runs_nothing() {
    let house = House::new().await;
    let bridge = been_there(&house).await;
    bridge.kill().await;
    let old = house.slack.human_says(PR, None, "UANN", "too old");
    house.slack.human_says(PR, Some(&old), "UANN", "old too");
    house.slack.give_up();
    let moved = tempfile::tempdir().unwrap();
    let mut bridge = back(&house, ahead(&moved, 13 * 3600)).await;
    let answer = house.slack.wait_message("the answer", |m| m.thread.as_deref() == Some(&old)).await;
    assert!(answer.text.contains("12 h"), "{}", answer.text);
    // What comes now is judged by nobody's clock.
    house.slack.human_says(PR, None, "UANN", "now");
    bridge.prompted().await;
    assert_eq!(bodies(&house.open("pr").await), ["now"]);
    let replies = house.slack.messages_in(PR, Some(&old));
    assert_eq!(replies.iter().filter(|reply| reply.user == BOT_USER).count(), 1, "{replies:?}");
    house.assert_clean();
}

#[tokio::test]
async fn at_the_first_start_ever_nothing_of_the_past_is_answered() {
    let house = House::new().await;
    house.slack.human_says(PR, None, "UANN", "long ago");
    house.slack.give_up();
    let mut bridge = been_there(&house).await;
    house.slack.human_says(PR, None, "UANN", "now");
    bridge.prompted().await;
    assert_eq!(bodies(&house.open("pr").await), ["now"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_deaf_socket_is_found_out_by_what_the_history_shows_and_is_replaced() {
    let mut house = House::new().await;
    (house.options.timing.look_around, house.options.timing.grace) =
        (Duration::from_secs(2), Duration::from_millis(500));
    let mut bridge = been_there(&house).await;
    house.slack.wait_sockets(2).await;
    // By then whatever a start and two new sockets bring with them is read.
    let reads = house.slack.count("conversations.history");
    until("a few looks", || async { (house.slack.count("conversations.history") > reads + 4).then_some(()) }).await;
    let opened = house.slack.count("apps.connections.open");
    house.slack.deafen(true);
    house.slack.human_says(PR, None, "UANN", "can you hear me?");
    assert_eq!(bridge.prompted().await, slug("pr"));
    until("another socket is opened", || async { (house.slack.count("apps.connections.open") > opened).then_some(()) })
        .await;
    house.slack.deafen(false);
    house.slack.human_says(PR, None, "UANN", "and now?");
    bridge.prompted().await;
    assert_eq!(bodies(&house.open("pr").await), ["can you hear me?", "and now?"]);
    house.assert_clean();
}

#[tokio::test]
async fn what_slack_asks_to_wait_holds_the_reading_up_and_loses_nothing() {
    let house = House::new().await;
    let bridge = been_there(&house).await;
    bridge.kill().await;
    house.slack.human_says(PR, None, "UANN", "meanwhile");
    house.slack.give_up();
    house.slack.script("conversations.history", &[Script::RateLimit(1), Script::Status(500)]);
    let mut bridge = back(&house, Arc::new(fleetd::model::SystemClock)).await;
    bridge.prompted().await;
    assert_eq!(bodies(&house.open("pr").await), ["meanwhile"]);
    house.assert_clean();
}
