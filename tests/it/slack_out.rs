//! What agents do is told in Slack: in order, whole, once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetd::model::{Clock, Fact, Outcome, PromptId};
use jiff::{SignedDuration, Timestamp};

use crate::support::bridge::{House, PR, Running, ended, said, slug, started};
use crate::support::slack::{Posted, Script};
use crate::support::wait::until;

/// A turn that `fleet send` opened.
async fn turn(house: &House, bridge: &Running, facts: Vec<Fact>) -> PromptId {
    let id = house.cli_prompt("pr", "fix <it>\nand more").await;
    house.did("pr", Some(&id), facts).await;
    bridge.wake.notify_one();
    id
}

async fn texts_below_root(house: &House) -> Vec<String> {
    let root = house.slack.messages_in(PR, None).pop().unwrap();
    house.slack.messages_in(PR, Some(&root.ts)).into_iter().map(|message| message.text).collect()
}

/// What people see of a message.
fn shown(house: &House, post: &Posted) -> String {
    let blocks = house.slack.blocks_of(PR, &post.ts);
    let texts = blocks.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str());
    let texts: Vec<&str> = texts.collect();
    if texts.is_empty() { post.text.clone() } else { texts.join("\n") }
}

#[tokio::test]
async fn a_turn_that_did_not_come_from_slack_is_told_below_one_root_that_ends_as_the_turn_ended() {
    let house = House::new().await;
    let bridge = house.started().await;
    turn(
        &house,
        &bridge,
        vec![
            started(),
            said("**one**"),
            Fact::UsedTool { tool: "Bash".into(), detail: "ls".into(), doing: fleetd::model::Doing::Running },
        ],
    )
    .await;
    house.slack.wait_message("the answer", |message| message.text == "*one*").await;
    let before = house.slack.messages_in(PR, None).pop().unwrap();
    let first_line = ":keyboard: *cli* by bob: fix &lt;it&gt;";
    assert_eq!(before.text, format!("{first_line}\n_running_"));
    let id = house.open("pr").await[0].id.clone();
    let failed = Outcome::Failed { reason: "API error 529".into(), blocked: None };
    house
        .did("pr", Some(&id), [Fact::Asked { question: "May I?".into(), run: None }, said("two"), ended(failed)])
        .await;
    bridge.wake.notify_one();
    let ends = |message: &Posted| message.ts == before.ts && message.text.contains("failed");
    let root = house.slack.wait_message("the root's end", ends).await;
    assert_eq!(root.text, format!("{first_line}\n:warning: failed: API error 529"));
    // It goes before what waits, and stands where it was when it is told how it ended.
    let asked = house.slack.wait_message("the question", |message| message.text.contains("May I?")).await;
    assert!(asked.text.contains("fleet attach pr"), "{asked:?}");
    let folded = |message: &Posted| message.thread.is_some() && message.text.contains(":warning: failed");
    house.slack.wait_message("the progress is folded", folded).await;
    let mut told = texts_below_root(&house).await;
    told.retain(|text| !text.starts_with(":warning: failed") && !text.contains("May I?"));
    assert_eq!(told, ["*one*", "two"]);
    house.assert_clean();
}

#[tokio::test]
async fn an_answer_whose_receipt_was_lost_stands_in_the_thread_once() {
    let house = House::new().await;
    let bridge = house.started().await;
    house.slack.script("chat.postMessage", &[Script::LoseAnswer, Script::LoseAnswer]);
    turn(&house, &bridge, vec![started(), said("one"), said("two"), said("three"), ended(Outcome::Completed)]).await;
    house.slack.wait_message("the end", |message| message.text.contains("done")).await;
    assert_eq!(house.slack.messages_in(PR, None).len(), 1);
    assert_eq!(texts_below_root(&house).await, ["one", "two", "three"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_call_that_failed_without_being_carried_out_is_made_again() {
    let house = House::new().await;
    let bridge = house.started().await;
    house.slack.script(
        "chat.postMessage",
        &[Script::Status(500), Script::Error("internal_error"), Script::RateLimit(1), Script::Status(503)],
    );
    turn(&house, &bridge, vec![started(), said("one")]).await;
    house.slack.wait_message("the answer", |message| message.text == "one").await;
    assert_eq!(texts_below_root(&house).await, ["one"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_death_in_the_middle_of_a_post_neither_loses_nor_doubles_it() {
    let mut house = House::new().await;
    let bridge = house.started().await;
    let id = turn(&house, &bridge, vec![started()]).await;
    house.slack.wait_message("the root", |_| true).await;
    house.all_said().await;
    bridge.stop().await;
    // Once it dies before Slack has it, once after.
    for (text, has_it) in [("lost", false), ("taken", true)] {
        if has_it {
            house.options.timing.look = Duration::from_secs(3600);
            house.slack.lose_next_answer();
        } else {
            house.slack.script("chat.postMessage", &[Script::Status(500)]);
            house.slack.hold("chat.postMessage", true);
        }
        let bridge = house.started().await;
        let calls = house.slack.count("chat.postMessage");
        house.did("pr", Some(&id), [said(text)]).await;
        bridge.wake.notify_one();
        until("the post is under way", || async { (house.slack.count("chat.postMessage") > calls).then_some(()) })
            .await;
        if has_it {
            house.slack.wait_message("the post", |message| message.text == text).await;
        }
        bridge.kill().await;
        house.slack.hold("chat.postMessage", false);
        house.reopened().await;
        house.options.timing.look = Duration::from_millis(50);
        let bridge = house.started().await;
        house.all_said().await;
        bridge.stop().await;
    }
    assert_eq!(texts_below_root(&house).await, ["lost", "taken"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_long_answer_comes_whole_in_order_with_every_fence_closed() {
    let house = House::new().await;
    let bridge = house.started().await;
    let code: String = (0..700).map(|line| format!("let line_{line} = {line} & 1;\n")).collect();
    turn(&house, &bridge, vec![said(&format!("Look:\n```rust\n{code}```\nThe end."))]).await;
    let is_last = |post: &Posted| shown(&house, post).ends_with("The end.");
    until("the end", async || house.slack.everything_in(PR).iter().any(is_last).then_some(())).await;
    let root = house.slack.messages_in(PR, None).pop().unwrap();
    let told: Vec<String> =
        house.slack.messages_in(PR, Some(&root.ts)).iter().map(|post| shown(&house, post)).collect();
    assert!(told.len() > 1 && told.last().unwrap().ends_with("The end."), "{told:?}");
    assert!(told.iter().all(|text| text.matches("```").count() % 2 == 0));
    let lines: String = told.iter().flat_map(|text| text.lines()).filter(|l| l.starts_with("let")).collect();
    assert_eq!(lines, code.replace('\n', ""));
    house.assert_clean();
}

#[tokio::test]
async fn history_does_not_flood_the_channel_at_the_first_start_and_downtime_loses_nothing() {
    let house = House::new().await;
    let old = house.cli_prompt("pr", "old").await;
    house.did("pr", Some(&old), [started(), said("old answer"), ended(Outcome::Completed)]).await;
    let bridge = house.started().await;
    bridge.stop().await;
    let new = house.cli_prompt("pr", "new").await;
    house.did("pr", None, [said("typed by hand in the pane")]).await;
    house.did("pr", Some(&new), [started(), said("while it was down"), ended(Outcome::Completed)]).await;
    let _bridge = house.started().await;
    house.slack.wait_message("the end", |message| message.text.contains("done")).await;
    let roots = house.slack.messages_in(PR, None);
    assert_eq!(roots.len(), 1);
    assert!(roots[0].text.contains("new"));
    assert_eq!(texts_below_root(&house).await, ["while it was down"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_prompt_that_was_not_delivered_is_told_where_its_answer_would_have_stood() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let ts = house.slack.human_says(PR, None, "UANN", "hello");
    bridge.prompted().await;
    let id = house.open("pr").await[0].id.clone();
    house.did("pr", Some(&id), [Fact::Undelivered { uncertain: false, why: "the pane is dead".into() }]).await;
    bridge.wake.notify_one();
    let told = house.slack.wait_message("the failure", |message| message.text.contains("the pane is dead")).await;
    assert_eq!(told.thread.as_deref(), Some(ts.as_str()));
    house.assert_clean();
}

#[tokio::test]
async fn a_channel_that_is_missing_is_that_agent_s_problem_alone() {
    let mut house = House::new().await;
    // `#general` stands on the second page of the list of channels.
    let agents = [("pr", "#agent-pr"), ("third", "#general"), ("lost", "#no-such-channel")];
    house.options.agents = agents.map(|(agent, channel)| (slug(agent), channel.into())).into();
    let mut bridge = house.started().await;
    let status = bridge.wait_status("the missing channel is told", |status| !status.channels.is_empty()).await;
    assert!(status.channels[&slug("lost")].contains("#no-such-channel"), "{status:?}");
    assert_eq!((status.channels.len(), status.problem), (1, None));
    turn(&house, &bridge, vec![said("hi")]).await;
    house.slack.wait_message("the other agent's answer", |message| message.text == "hi").await;
    house.assert_clean();
}

#[tokio::test]
async fn a_channel_the_app_is_not_in_is_named_and_what_to_do() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    house.slack.script("chat.postMessage", &[Script::Error("not_in_channel")]);
    turn(&house, &bridge, vec![said("hi")]).await;
    let status = bridge.wait_status("the refusal is told", |status| !status.channels.is_empty()).await;
    assert!(status.channels[&slug("pr")].contains("/invite"), "{status:?}");
    turn(&house, &bridge, vec![said("again")]).await;
    // Nothing is given up: what there was to say is said once the app is seen to be in it.
    for text in ["hi", "again"] {
        house.slack.wait_message("what was held back", |message| message.text == text).await;
    }
    assert_eq!(house.store.failed_outbox(9).await.unwrap(), []);
    bridge.wait_status("the problem is over", |status| status.channels.is_empty()).await;
    house.assert_clean();
}

/// A clock that only a test moves.
struct ManualClock(Mutex<Timestamp>);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_burst_is_spread_over_time_so_that_slack_has_no_reason_to_refuse() {
    let house = House::new().await;
    let clock = Arc::new(ManualClock(Mutex::new(Timestamp::now())));
    let mut bridge = house.start_at(Arc::clone(&clock) as Arc<dyn Clock>);
    bridge.wait_status("the bridge is connected", |status| status.connected).await;
    until("it reads the feed", || async { house.store.feed_cursor("slack").await.unwrap() }).await;
    turn(&house, &bridge, (0..4).map(|number| said(&number.to_string())).collect()).await;
    house.slack.wait_message("the last of the burst", |message| message.text == "1").await;
    until("the rest waits", || async { (house.store.outbox_heads().await.unwrap().len() == 1).then_some(()) }).await;
    assert_eq!(house.slack.count("chat.postMessage"), 3, "a root and two answers");
    *clock.0.lock().unwrap() += SignedDuration::from_secs(10);
    house.slack.wait_message("the rest", |message| message.text == "3").await;
    assert_eq!(texts_below_root(&house).await, ["0", "1", "2", "3"]);
    house.assert_clean();
}
