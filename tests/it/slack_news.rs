//! The status channel: news of the box are told there in order, once, and not more often than people can bear.

use std::sync::Arc;

use fleetd::model::{Clock, Notice};
use jiff::SignedDuration;

use crate::support::bridge::{House, Moved, NOBODYS, PR, Running};
use crate::support::slack::Script;
use crate::support::wait::until;

struct Box {
    house: House,
    clock: Arc<Moved>,
}

impl Box {
    /// `#general` is the status channel, and no agent's.
    async fn new() -> Self {
        let mut house = House::new().await;
        house.options.status_channel = Some("#general".into());
        Self { house, clock: Arc::default() }
    }

    async fn started(&self) -> Running {
        let bridge = self.house.start_at(Arc::clone(&self.clock) as Arc<dyn Clock>);
        until("the bridge knows where it reads on", || async { self.house.store.news_place().await.unwrap() }).await;
        bridge
    }

    async fn happens(&self, what: &str, bridge: &Running) {
        let notice = Notice::Problem { what: what.into() };
        assert!(self.house.store.tell_box(what, &notice, self.clock.now()).await.unwrap());
        bridge.wake.notify_one();
    }

    /// A minute and a second pass.
    fn minute(&self, bridge: &Running) {
        *self.clock.0.lock().unwrap() += SignedDuration::from_secs(61);
        bridge.wake.notify_one();
    }

    fn told(&self) -> Vec<String> {
        self.house.slack.messages_in(NOBODYS, None).into_iter().map(|message| message.text).collect()
    }

    async fn until_told(&self, text: &str) {
        self.house.slack.wait_message(text, |message| message.text == text).await;
        self.settled().await;
    }

    async fn settled(&self) {
        until("the outbox is empty", || async {
            self.house.store.outbox_heads().await.unwrap().is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn news_that_come_within_a_minute_are_one_message_a_minute_later_in_their_order() {
    let b = Box::new().await;
    assert!(b.house.store.tell_box("old", &Notice::Problem { what: "old".into() }, b.clock.now()).await.unwrap());
    let bridge = b.started().await;
    b.happens("one", &bridge).await;
    b.until_told("one").await;
    for what in ["two", "three", "four"] {
        b.happens(what, &bridge).await;
    }
    // What is told elsewhere afterwards shows that these are held back, and were not only slow.
    b.house.slack.mention(NOBODYS, None, "UANN", "hello?");
    b.house.slack.wait_message("the mention is answered", |message| message.text.contains("No agent")).await;
    assert_eq!(b.told().len(), 2, "{:?}", b.told());
    b.minute(&bridge);
    b.until_told("• two\n• three\n• four").await;
    assert_eq!(b.told().iter().filter(|text| text.contains("old")).count(), 0, "history was told");
    b.house.assert_clean();
}

#[tokio::test]
async fn hours_without_slack_end_in_one_message_that_tells_everything_once() {
    let b = Box::new().await;
    let bridge = b.started().await;
    b.house.slack.script("chat.postMessage", &[Script::Status(503), Script::Status(503), Script::RateLimit(3)]);
    b.happens("one", &bridge).await;
    until("the first try failed", || async { (b.house.slack.count("chat.postMessage") >= 1).then_some(()) }).await;
    for what in ["two", "three"] {
        b.minute(&bridge);
        b.happens(what, &bridge).await;
    }
    b.until_told("• one\n• two\n• three").await;
    assert_eq!(b.told().len(), 1, "{:?}", b.told());
    b.house.assert_clean();
}

#[tokio::test]
async fn whenever_the_daemon_dies_each_piece_of_news_is_told_once() {
    for moment in ["before the call", "the call is under way", "the answer was lost", "it was told"] {
        let mut b = Box::new().await;
        let bridge = b.started().await;
        match moment {
            "before the call" => b.house.slack.script("chat.postMessage", &[Script::RateLimit(30)]),
            "the call is under way" => b.house.slack.hold("chat.postMessage", true),
            "the answer was lost" => b.house.slack.script("chat.postMessage", &[Script::LoseAnswer]),
            _ => {}
        }
        b.happens("one", &bridge).await;
        until("the call is made", || async { (b.house.slack.count("chat.postMessage") >= 1).then_some(()) }).await;
        if moment == "it was told" {
            b.until_told("one").await;
        }
        bridge.kill().await;
        b.house.slack.hold("chat.postMessage", false);
        b.house.reopened().await;
        let bridge = b.started().await;
        b.house.slack.wait_message("it is told", |message| message.text.contains("one")).await;
        b.settled().await;
        b.minute(&bridge);
        b.happens("two", &bridge).await;
        b.house.slack.wait_message("what comes later is told", |message| message.text.contains("two")).await;
        b.settled().await;
        let all = b.told().concat();
        assert_eq!((all.matches("one").count(), all.matches("two").count()), (1, 1), "{moment}: {:?}", b.told());
        b.house.assert_clean();
    }
}

#[tokio::test]
async fn a_status_channel_that_cannot_be_used_is_named_and_costs_the_agents_nothing() {
    let b = Box::new().await;
    b.house.slack.leave(NOBODYS);
    let mut bridge = b.started().await;
    let status = bridge.wait_status("the problem is shown", |status| status.status_channel.is_some()).await;
    assert!(status.status_channel.unwrap().contains("/invite") && status.channels.is_empty());
    b.happens("one", &bridge).await;
    b.house.slack.human_says(PR, None, "UANN", "fix it");
    assert_eq!(bridge.prompted().await.as_str(), "pr");
    assert_eq!(b.told(), Vec::<String>::new());
}

#[tokio::test]
async fn what_people_say_in_the_status_channel_is_nobody_s_prompt() {
    let b = Box::new().await;
    let mut bridge = b.started().await;
    b.happens("one", &bridge).await;
    b.until_told("one").await;
    let root = b.house.slack.messages_in(NOBODYS, None).remove(0).ts;
    b.house.slack.human_says(NOBODYS, Some(&root), "UANN", "who did that?");
    b.house.slack.human_says(NOBODYS, None, "UANN", "hello");
    b.house.slack.human_says(PR, None, "UANN", "fix it");
    assert_eq!(bridge.prompted().await.as_str(), "pr");
    assert_eq!(b.house.open("pr").await.len() + b.house.open("pr-reviewer").await.len(), 1);
    b.house.assert_clean();
}
