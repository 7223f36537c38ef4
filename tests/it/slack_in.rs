//! What people say in Slack becomes prompts: once, for the right agent, and also over a crash.

use fleetd::model::{Outcome, Place, Source};
use fleetd::store::slack::OutboxAction;
use serde_json::json;

use crate::support::bridge::{House, NOBODYS, PR, REVIEWER, ended, said, slug, started};
use crate::support::slack::{BOT_USER, Script};
use crate::support::wait::until;

#[tokio::test]
async fn a_person_s_message_becomes_one_prompt_with_name_and_place_and_is_acked_with_eyes() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let ts = house.slack.human_says(PR, None, "UANN", "a &lt;b&gt; see <https://a.b|docs>");
    assert_eq!(bridge.prompted().await, slug("pr"));
    let prompts = house.open("pr").await;
    assert_eq!(prompts.len(), 1);
    let prompt = &prompts[0];
    assert_eq!((prompt.body.as_str(), prompt.who.as_str()), ("a <b> see docs (https://a.b)", "Ann"));
    assert_eq!(
        (&prompt.source, &prompt.place),
        (&Source::Slack, &Some(Place { channel: PR.into(), thread: ts.clone() }))
    );
    house.slack.wait_reaction(PR, &ts, "eyes").await;
    house.assert_clean();
}

#[tokio::test]
async fn a_mention_that_comes_as_two_events_and_again_is_one_prompt() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let ts = house.slack.mention(PR, None, "UANN", "do it");
    bridge.prompted().await;
    let again = house.slack.payload_of(PR, "UANN", "twice");
    house.slack.redeliver_last(again.clone());
    house.slack.redeliver_last(again);
    bridge.prompted().await;
    house.slack.wait_acked().await;
    until("every event is acted on", || async {
        house.store.open_envelopes(9).await.unwrap().is_empty().then_some(())
    })
    .await;
    let bodies: Vec<_> = house.open("pr").await.into_iter().map(|prompt| prompt.body).collect();
    assert_eq!(bodies, ["do it", "twice"]);
    house.slack.wait_reaction(PR, &ts, "eyes").await;
    house.assert_clean();
}

#[tokio::test]
async fn an_event_that_was_acked_before_a_crash_is_acted_on_once_after_it() {
    let mut house = House::new().await;
    // It can't act before it knows who it is; storing and acking need no such thing.
    house.slack.hold("auth.test", true);
    let mut bridge = house.start();
    bridge.wait_status("the bridge is connected", |status| status.connected).await;
    house.slack.human_says(PR, None, "UANN", "remember me");
    house.slack.wait_acked().await;
    assert_eq!(house.open("pr").await.len(), 0);
    bridge.kill().await;
    house.slack.hold("auth.test", false);
    house.reopened().await;
    let mut bridge = house.started().await;
    assert_eq!(bridge.prompted().await, slug("pr"));
    bridge.stop().await;
    let _bridge = house.started().await;
    assert_eq!(house.open("pr").await.len(), 1);
    assert!(house.store.open_envelopes(9).await.unwrap().is_empty());
    house.assert_clean();
}

#[tokio::test]
async fn a_reply_in_an_agent_s_thread_reaches_it_and_a_thread_among_people_does_not() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let theirs = house.slack.human_says(PR, None, "UANN", "first");
    bridge.prompted().await;
    house.slack.human_says(PR, Some(&theirs), "UBOB", "a reply");
    bridge.prompted().await;
    // A root of ours.
    let turn = house.cli_prompt("pr", "by hand").await;
    house.did("pr", Some(&turn), [started()]).await;
    bridge.wake.notify_one();
    let root = house.slack.wait_message("the root message", |message| message.text.contains("by hand")).await;
    house.slack.human_says(PR, Some(&root.ts), "UANN", "to our root");
    bridge.prompted().await;
    // A thread that the agent has nothing to do with, until it is called in.
    let people = house.slack.payload_of(PR, "UBOB", "never delivered");
    let people = people["event"]["ts"].as_str().unwrap();
    house.slack.human_says(PR, Some(people), "UBOB", "among us");
    house.slack.mention(PR, Some(people), "UANN", "come here");
    bridge.prompted().await;
    let prompts = house.open("pr").await;
    let from_slack: Vec<_> = prompts.iter().filter(|prompt| prompt.source == Source::Slack).collect();
    let told: Vec<_> =
        from_slack.iter().map(|p| (p.body.as_str(), p.place.as_ref().unwrap().thread.as_str())).collect();
    let expected = [("first", theirs.as_str()), ("a reply", &theirs), ("to our root", &root.ts), ("come here", people)];
    assert_eq!(told, expected);
    assert_eq!(from_slack[1].who, "UBOB", "a name that can't be had must not hold up a prompt");
    house.assert_clean();
}

#[tokio::test]
async fn bots_edits_and_deletions_never_become_a_prompt() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    for event in [
        json!({"type": "message", "subtype": "bot_message", "channel": PR, "bot_id": "B9", "text": "a", "ts": "1.1"}),
        json!({"type": "message", "channel": PR, "user": "UX", "bot_id": "B9", "text": "a", "ts": "1.2"}),
        json!({"type": "message", "channel": PR, "user": BOT_USER, "text": "a", "ts": "1.3"}),
        json!({"type": "message", "subtype": "message_changed", "channel": PR, "ts": "1.4",
               "message": {"user": "UANN", "text": "a", "ts": "1.0"}}),
        json!({"type": "message", "subtype": "message_deleted", "channel": PR, "ts": "1.5", "deleted_ts": "1.0"}),
        json!({"type": "something_new", "x": 1}),
        json!("not even an object"),
    ] {
        house.slack.raw_event(event);
    }
    house.slack.human_says(PR, None, "UANN", "a person");
    bridge.prompted().await;
    let bodies: Vec<_> = house.open("pr").await.into_iter().map(|prompt| prompt.body).collect();
    assert_eq!(bodies, ["a person"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_channel_of_nobody_s_gets_one_plain_answer_a_thread_and_nothing_runs() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let ts = house.slack.mention(NOBODYS, None, "UANN", "anybody?");
    let answer = house.slack.wait_message("the answer", |m| m.thread.as_deref() == Some(&ts)).await;
    assert!(answer.text.contains("No agent"), "{}", answer.text);
    house.slack.mention(NOBODYS, Some(&ts), "UANN", "really?");
    house.slack.human_says(NOBODYS, Some(&ts), "UANN", "hm");
    house.slack.human_says(PR, None, "UANN", "here then");
    assert_eq!(bridge.prompted().await, slug("pr"));
    let replies = house.slack.messages_in(NOBODYS, Some(&ts));
    assert_eq!(replies.iter().filter(|message| message.user == BOT_USER).count(), 1);
    assert_eq!(house.open("pr").await.len() + house.open("pr-reviewer").await.len(), 1);
    house.assert_clean();
}

#[tokio::test]
async fn two_agents_whose_names_begin_alike_never_get_each_other_s_words() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    let to_pr = house.slack.human_says(PR, None, "UANN", "for pr");
    let to_reviewer = house.slack.human_says(REVIEWER, None, "UANN", "for the reviewer");
    for _ in 0..2 {
        bridge.prompted().await;
    }
    for (agent, body, channel, ts) in
        [("pr", "for pr", PR, &to_pr), ("pr-reviewer", "for the reviewer", REVIEWER, &to_reviewer)]
    {
        let prompts = house.open(agent).await;
        assert_eq!(prompts.iter().map(|prompt| prompt.body.as_str()).collect::<Vec<_>>(), [body]);
        let answer = format!("answer of {agent}");
        house.did(agent, Some(&prompts[0].id), [started(), said(&answer), ended(Outcome::Completed)]).await;
        bridge.wake.notify_one();
        house.slack.wait_message("the answer", |message| message.text == answer).await;
        let there: Vec<_> = house.slack.messages_in(channel, Some(ts)).into_iter().map(|m| m.text).collect();
        assert_eq!(there, [answer]);
        assert_eq!(house.slack.messages_in(channel, None).len(), 1, "no root message beside a person's own");
    }
    house.assert_clean();
}

#[tokio::test]
async fn an_ack_that_slack_did_not_take_is_set_after_a_restart() {
    let mut house = House::new().await;
    house.slack.script("reactions.add", &[Script::Status(500)]);
    house.slack.hold("reactions.add", true);
    let mut bridge = house.started().await;
    let ts = house.slack.human_says(PR, None, "UANN", "hello");
    bridge.prompted().await;
    until("the reaction is under way", || async { (house.slack.count("reactions.add") > 0).then_some(()) }).await;
    bridge.kill().await;
    house.slack.hold("reactions.add", false);
    house.reopened().await;
    let heads = house.store.outbox_heads().await.unwrap();
    assert!(matches!(&heads[0].action, OutboxAction::React { ts: of, .. } if *of == ts));
    let _bridge = house.started().await;
    house.slack.wait_reaction(PR, &ts, "eyes").await;
    house.assert_clean();
}
