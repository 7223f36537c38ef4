//! Everything at once: people write, sockets break, answers are lost, the daemon dies, and every word stands there once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fleetd::model::{Clock, Outcome};
use jiff::{SignedDuration, Timestamp};

use crate::support::bridge::{House, PR, REVIEWER, ended, said, started};
use crate::support::slack::Script;
use crate::support::wait::until;

/// A clock that runs a thousand times as fast, so that a test need not wait for Slack's limits.
struct FastClock(Timestamp, Instant);

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        self.0 + SignedDuration::try_from(self.1.elapsed() * 1000).unwrap()
    }
}

#[tokio::test]
async fn through_broken_sockets_lost_answers_and_deaths_every_word_arrives_once_and_in_order() {
    let mut house = House::new().await;
    let clock = Arc::new(FastClock(Timestamp::now() - SignedDuration::from_hours(24 * 365), Instant::now()));
    let mut asked = BTreeMap::new();
    let mut answered = 0;
    for round in 0..5 {
        let mut bridge = house.start_at(Arc::clone(&clock) as Arc<dyn Clock>);
        bridge.wait_status("the bridge is connected", |status| status.connected).await;
        for number in 0..4 {
            let channel = if number % 2 == 0 { PR } else { REVIEWER };
            let text = format!("question {round}.{number}");
            asked.insert(house.slack.human_says(channel, None, "UANN", &text), (channel, text));
            match number {
                0 => house.slack.drop_sockets(),
                1 => house.slack.refresh(),
                2 => house.slack.script("chat.postMessage", &[Script::LoseAnswer, Script::Status(500)]),
                _ => house.slack.script("reactions.add", &[Script::Status(502)]),
            }
        }
        until("every question is a prompt", || async {
            (house.open("pr").await.len() + house.open("pr-reviewer").await.len() == asked.len()).then_some(())
        })
        .await;
        for agent in ["pr", "pr-reviewer"] {
            for prompt in house.open(agent).await.iter().skip(round * 2) {
                let parts = ["one", "two"].map(|part| said(&format!("{part}: {}", prompt.body)));
                house.did(agent, Some(&prompt.id), [started()].into_iter().chain(parts)).await;
                house.did(agent, Some(&prompt.id), [ended(Outcome::Completed)]).await;
                answered += 2;
            }
        }
        bridge.wake.notify_one();
        let some = answered - 3;
        until("most answers are posted", || async { (house.answers() >= some).then_some(()) }).await;
        bridge.kill().await;
        house.reopened().await;
    }
    let _bridge = house.start_at(clock);
    until("every answer is posted", || async { (house.answers() >= answered).then_some(()) }).await;
    until("the outbox is empty", || async { house.store.outbox_heads().await.unwrap().is_empty().then_some(()) }).await;
    for (ts, (channel, text)) in &asked {
        let thread = house.slack.messages_in(channel, Some(ts));
        let told: Vec<_> = thread.into_iter().map(|message| message.text).filter(|text| is_answer(text)).collect();
        assert_eq!(told, [format!("one: {text}"), format!("two: {text}")]);
        house.slack.wait_reaction(channel, ts, "eyes").await;
    }
    assert_eq!(house.answers(), answered);
    house.assert_clean();
}

/// Whether it is neither a question nor tells where one stands in the queue.
fn is_answer(text: &str) -> bool {
    text.starts_with("one: ") || text.starts_with("two: ")
}

impl House {
    /// How many answers the bot has posted.
    fn answers(&self) -> usize {
        let of = |channel| self.slack.everything_in(channel).iter().filter(|m| is_answer(&m.text)).count();
        of(PR) + of(REVIEWER)
    }
}
