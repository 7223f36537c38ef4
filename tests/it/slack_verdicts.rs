//! What people think of an outcome, said by a reaction: kept, taken back, and told to the agent where it is bad.

use std::sync::Arc;

use fleetd::config::{Grantee, Rights};
use fleetd::model::{Outcome, Source, Verdict};
use fleetd::store::Store;
use fleetd::store::slack::{NewOutboxRow, OutboxAction, Said};
use serde_json::json;

use crate::support::bridge::{House, PR, Running, ended, said, slug, started};
use crate::support::slack::BOT_USER;
use crate::support::wait::until;

const BOSS: &str = "U00BOSS01";

impl House {
    /// Nobody else may approve.
    fn approver(&self, user: &str) {
        let rights = Rights { approve: vec![Grantee::User(user.to_owned())], ..Rights::default() };
        self.rights.send_replace(Arc::new(vec![(slug("pr"), rights)]));
    }

    fn react(&self, kind: &str, user: &str, emoji: &str, ts: &str) {
        self.slack.raw_event(json!({"type": kind, "user": user, "reaction": emoji, "item_user": BOT_USER,
            "item": {"type": "message", "channel": PR, "ts": ts}, "event_ts": ts}));
    }

    async fn all_settled(&self) {
        self.slack.wait_acked().await;
        until("everything that arrived is settled", || async {
            self.store.open_envelopes(9).await.unwrap().is_empty().then_some(())
        })
        .await;
    }
}

async fn standing(store: &Store) -> Vec<(String, bool)> {
    let verdicts: Vec<Verdict> = store.latest_verdicts(&slug("pr"), 9).await.unwrap();
    verdicts.into_iter().map(|verdict| (verdict.person, verdict.good)).collect()
}

/// A job of the CLI's that has ended, its root message in the channel.
async fn job(house: &House, bridge: &mut Running) -> (fleetd::model::PromptId, String) {
    let id = house.cli_prompt("pr", "fix the build").await;
    house.did("pr", Some(&id), [started(), said("fixed"), ended(Outcome::Completed)]).await;
    bridge.wake.notify_one();
    let root =
        house.slack.wait_message("the root", |message| message.thread.is_none() && message.text.contains("done")).await;
    (id, root.ts)
}

#[tokio::test]
async fn an_approver_s_verdict_is_kept_with_its_turn_taken_back_with_the_reaction_and_nobody_else_s_counts() {
    let house = House::new().await;
    house.slack.person(BOSS, "Bo", json!({}));
    house.approver(BOSS);
    let mut bridge = house.started().await;
    let (id, root) = job(&house, &mut bridge).await;
    for user in ["UANN", BOT_USER] {
        house.react("reaction_added", user, "white_check_mark", &root);
    }
    house.react("reaction_added", BOSS, "eyes", &root);
    house.all_settled().await;
    assert_eq!(standing(&house.store).await, []);
    assert_eq!(house.slack.whispers("UANN").len(), 1);

    house.react("reaction_added", BOSS, "heavy_check_mark", &root);
    house.all_settled().await;
    assert_eq!(standing(&house.store).await, [(BOSS.to_owned(), true)]);
    let verdict = house.store.verdicts_of(&id).await.unwrap().remove(0);
    assert_eq!((verdict.turn, verdict.withdrawn), (id.clone(), None));
    assert!(house.open("pr").await.iter().all(|prompt| prompt.id == id), "good news is no prompt");

    house.react("reaction_removed", "UANN", "heavy_check_mark", &root);
    house.all_settled().await;
    assert_eq!(standing(&house.store).await.len(), 1, "another's word");
    house.react("reaction_removed", BOSS, "heavy_check_mark", &root);
    house.all_settled().await;
    assert_eq!(standing(&house.store).await, []);
    assert!(house.store.verdicts_of(&id).await.unwrap()[0].withdrawn.is_some());
    house.assert_clean();
}

#[tokio::test]
async fn an_objection_reaches_the_agent_once_in_the_thread_of_its_outcome_however_often_it_is_set() {
    let house = House::new().await;
    house.slack.person(BOSS, "Bo", json!({}));
    house.approver(BOSS);
    let mut bridge = house.started().await;
    let (id, root) = job(&house, &mut bridge).await;
    for kind in ["reaction_added", "reaction_removed", "reaction_added"] {
        house.react(kind, BOSS, "x", &root);
        house.all_settled().await;
    }
    house.react("reaction_added", BOSS, "heavy_multiplication_x", &root);
    house.all_settled().await;
    assert_eq!(bridge.prompted().await, slug("pr"));
    let told: Vec<_> = house.open("pr").await.into_iter().filter(|prompt| prompt.id != id).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].source.clone(), told[0].who.as_str()), (Source::Slack, "Bo"));
    assert!(told[0].body.contains("does not accept the outcome") && told[0].body.contains(id.as_str()), "{told:?}");
    let place = told[0].place.clone().unwrap();
    assert_eq!((place.channel.as_str(), place.thread), (PR, root));
    house.assert_clean();
}

#[tokio::test]
async fn the_line_that_a_turn_in_a_thread_is_folded_into_takes_verdicts_and_an_answer_does_not() {
    let house = House::new().await;
    house.slack.person(BOSS, "Bo", json!({}));
    house.approver(BOSS);
    let mut bridge = house.started().await;
    let asked = house.slack.human_says(PR, None, "UANN", "fix the build");
    bridge.prompted().await;
    let prompt = house.open("pr").await.remove(0);
    house.did("pr", Some(&prompt.id), [started(), said("fixed it"), ended(Outcome::Completed)]).await;
    let line = NewOutboxRow {
        dedup_key: "folded".into(),
        lane: format!("{PR}/{asked}"),
        channel: PR.into(),
        action: OutboxAction::Keyed { key: format!("progress/{}", prompt.id), said: Said::text("folded line") },
    };
    let mut write = house.store.write().await.unwrap();
    fleetd::store::slack::insert_outbox(&mut write, "folded", &line, jiff::Timestamp::now()).await.unwrap();
    write.commit().await.unwrap();
    bridge.wake.notify_one();
    let answer = house.slack.wait_message("the answer", |message| message.text == "fixed it").await;
    let folded = house.slack.wait_message("the line", |message| message.text == "folded line").await;
    until("both are known to be said", || async { house.store.outbox_heads().await.unwrap().is_empty().then_some(()) })
        .await;
    for ts in [&answer.ts, &asked] {
        house.react("reaction_added", BOSS, "x", ts);
    }
    house.all_settled().await;
    assert_eq!(standing(&house.store).await, []);
    house.react("reaction_added", BOSS, "white_check_mark", &folded.ts);
    house.all_settled().await;
    assert_eq!(house.store.verdicts_of(&prompt.id).await.unwrap().len(), 1);
    house.assert_clean();
}
