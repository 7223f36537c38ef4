//! What is to be said in Slack is said once and whole, whatever Slack does with it.

use std::time::{Duration, Instant};

use fleetd::model::Clock;
use fleetd::model::blocks::{Block, Button, Text};
use fleetd::model::{Fact, PromptId, SystemClock};
use fleetd::store::slack::{NewOutboxRow, OutboxAction, Said, Thread, insert_outbox, insert_thread};

use crate::support::bridge::{House, PR, REVIEWER, Running, said, started};
use crate::support::slack::Script;
use crate::support::wait::until;

fn reply(text: &str) -> OutboxAction {
    OutboxAction::Reply { said: Said::text(text) }
}

fn keyed(text: &str) -> OutboxAction {
    OutboxAction::Keyed { key: "progress".into(), said: Said::text(text) }
}

fn upload(content: &str) -> OutboxAction {
    let said = Said::text("the whole answer");
    OutboxAction::Upload { name: "answer.md".into(), title: "Answer".into(), content: content.into(), said }
}

impl House {
    /// A person's thread, in which something is to be said.
    fn thread(&self, channel: &str) -> String {
        self.slack.human_says(channel, None, "UANN", "hello")
    }

    /// Queues what is to be said in a thread; the bridge notices at its start, or when something else wakes it.
    async fn queue(&self, channel: &str, thread: &str, actions: &[OutboxAction]) {
        let lane = format!("{channel}/{thread}");
        let mut write = self.store.write().await.unwrap();
        let known = Thread { lane: lane.clone(), agent: None, channel: channel.into(), ts: Some(thread.into()) };
        insert_thread(&mut write, &known).await.unwrap();
        for action in actions {
            let id = PromptId::random().to_string();
            let (lane, channel) = (lane.clone(), channel.to_owned());
            let row = NewOutboxRow { dedup_key: id.clone(), lane, channel, action: action.clone() };
            insert_outbox(&mut write, &id, &row, SystemClock.now()).await.unwrap();
        }
        write.commit().await.unwrap();
    }

    fn told(&self, channel: &str, thread: &str) -> Vec<String> {
        self.slack.messages_in(channel, Some(thread)).into_iter().map(|message| message.text).collect()
    }

    /// Wakes the outbox, as anything that a person says does.
    async fn stir(&self, bridge: &mut Running) {
        self.slack.human_says(REVIEWER, None, "UANN", "look again");
        bridge.prompted().await;
    }
}

#[tokio::test]
async fn whatever_answer_is_lost_on_its_way_each_thing_stands_there_once() {
    let house = House::new().await;
    let thread = house.thread(PR);
    let whisper = OutboxAction::Whisper { user: "UANN".into(), thread: None, said: Said::text("not you") };
    let react = OutboxAction::React { ts: thread.clone(), emoji: "tada".into() };
    let unreact = OutboxAction::Unreact { ts: thread.clone(), emoji: "tada".into() };
    for method in [
        "chat.postMessage",
        "chat.postEphemeral",
        "chat.update",
        "files.completeUploadExternal",
        "files.getUploadURLExternal",
        "reactions.add",
        "reactions.remove",
    ] {
        house.slack.script(method, &[Script::LoseAnswer]);
    }
    house.queue(PR, &thread, &[keyed("half"), reply("one"), upload("word for word"), whisper, react, unreact]).await;
    let mut bridge = house.started().await;
    house.all_said().await;
    house.queue(PR, &thread, &[keyed("whole")]).await;
    house.stir(&mut bridge).await;
    house.slack.wait_message("the edit", |message| message.text == "whole").await;
    house.all_said().await;
    let mut told = house.told(PR, &thread);
    told.sort();
    assert_eq!(told, ["one", "the whole answer", "whole"]);
    let shown: Vec<_> = house.slack.files().into_iter().filter(|file| !file.shown.is_empty()).collect();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].content.as_deref(), shown[0].shown.len()), (Some("word for word"), 1));
    // Nobody can look for what one person was told: twice is better than never.
    assert!(!house.slack.whispers("UANN").is_empty());
    house.assert_clean();
}

#[tokio::test]
async fn a_storm_of_refusals_stops_one_channel_alone_and_is_waited_out_to_the_second() {
    let house = House::new().await;
    let (here, there) = (house.thread(PR), house.thread(REVIEWER));
    house.slack.script("chat.postMessage", &[Script::RateLimit(3)]);
    house.queue(PR, &here, &[reply("one"), reply("two")]).await;
    let mut bridge = house.started().await;
    until("the first is refused", || async { (house.slack.count("chat.postMessage") > 0).then_some(()) }).await;
    house.queue(REVIEWER, &there, &[reply("other")]).await;
    house.stir(&mut bridge).await;
    house.slack.wait_message("the other channel's", |message| message.text == "other").await;
    assert!(house.told(PR, &here).is_empty(), "it waits as it was asked to");
    house.all_said().await;
    assert_eq!(house.told(PR, &here), ["one", "two"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_revoked_token_is_named_and_what_was_said_meanwhile_is_said_after() {
    let house = House::new().await;
    let thread = house.thread(PR);
    let mut bridge = house.started().await;
    bridge.prompted().await;
    house.slack.revoke_tokens(true);
    house.queue(PR, &thread, &[reply("one"), keyed("half"), reply("two")]).await;
    bridge.wake.notify_one();
    house.did("pr", Some(&house.cli_prompt("pr", "wake").await), [started()]).await;
    bridge.wake.notify_one();
    let status = bridge.wait_status("the refusal is told", |status| status.problem.is_some()).await;
    let problem = status.problem.unwrap();
    assert!(problem.contains("token_revoked") && problem.contains("SLACK_BOT_TOKEN"), "{problem}");
    house.slack.revoke_tokens(false);
    house.all_said().await;
    let mut told = house.told(PR, &thread);
    told.sort();
    assert_eq!(told, ["half", "one", "two"]);
    bridge.wait_status("it is over", |status| status.problem.is_none()).await;
    house.assert_clean();
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named_and_holds_up_nothing_else() {
    let house = House::new().await;
    let thread = house.thread(PR);
    house.slack.script("files.getUploadURLExternal", &[Script::Error("missing_scope")]);
    house.queue(PR, &thread, &[upload("x"), reply("one")]).await;
    let _bridge = house.started().await;
    house.all_said().await;
    assert_eq!(house.told(PR, &thread), ["one"]);
    let (_, reason) = house.store.failed_outbox(9).await.unwrap().remove(0);
    assert!(reason.contains("files:write") && reason.contains("slack-manifest.yaml"), "{reason}");
}

#[tokio::test]
async fn what_slack_calls_too_long_is_cut_and_goes_on_before_what_was_said_next() {
    let house = House::new().await;
    let thread = house.thread(PR);
    house.slack.script("chat.postMessage", &[Script::Error("msg_too_long")]);
    let long: Vec<String> = (0..300).map(|number| format!("word{number}")).collect();
    house.queue(PR, &thread, &[reply(&long.join(" ")), reply("next")]).await;
    let _bridge = house.started().await;
    house.all_said().await;
    let told = house.told(PR, &thread);
    assert_eq!((told.len(), told.join(" ")), (3, format!("{} next", long.join(" "))));
    house.assert_clean();
}

#[tokio::test]
async fn a_message_with_blocks_that_slack_will_not_have_is_said_in_plain_text() {
    let house = House::new().await;
    let thread = house.thread(PR);
    let button =
        Button { action_id: "a".into(), text: Text::plain("A"), value: "v".into(), style: None, confirm: None };
    let blocks = vec![Block::Section { text: Text::mrkdwn("*May I?*") }, Block::Actions { elements: vec![button] }];
    house
        .queue(PR, &thread, &[OutboxAction::Reply { said: Said { text: "May I?".into(), blocks: blocks.clone() } }])
        .await;
    let bridge = house.started().await;
    house.all_said().await;
    bridge.stop().await;
    let first = house.slack.messages_in(PR, Some(&thread)).remove(0);
    assert_eq!(house.slack.blocks_of(PR, &first.ts), serde_json::to_value(&blocks).unwrap());
    house.slack.script("chat.postMessage", &[Script::Error("invalid_blocks")]);
    house.queue(PR, &thread, &[OutboxAction::Reply { said: Said { text: "short".into(), blocks } }]).await;
    let _bridge = house.started().await;
    house.all_said().await;
    assert_eq!(house.told(PR, &thread), ["May I?", "*May I?*"]);
    house.assert_clean();
}

#[tokio::test]
async fn a_message_that_a_person_deleted_comes_back_once_and_not_again() {
    let house = House::new().await;
    let thread = house.thread(PR);
    for (text, there) in [("one", true), ("two", true), ("three", false)] {
        house.queue(PR, &thread, &[keyed(text)]).await;
        let bridge = house.started().await;
        house.all_said().await;
        bridge.stop().await;
        let told = house.slack.messages_in(PR, Some(&thread));
        assert_eq!(
            told.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(),
            if there { vec![text] } else { vec![] }
        );
        told.iter().for_each(|message| house.slack.delete(PR, &message.ts));
    }
    assert_eq!(house.store.failed_outbox(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_hundred_steps_of_progress_are_few_edits_of_one_message_and_hold_no_answer_up() {
    let house = House::new().await;
    let thread = house.thread(PR);
    house.queue(PR, &thread, &[keyed("0")]).await;
    let mut bridge = house.started().await;
    bridge.prompted().await;
    house.all_said().await;
    let start = Instant::now();
    for step in 1..=100 {
        house.queue(PR, &thread, &[keyed(&step.to_string())]).await;
        if step % 20 == 0 {
            house.stir(&mut bridge).await;
        }
    }
    house.queue(PR, &thread, &[reply("an answer")]).await;
    house.stir(&mut bridge).await;
    house.slack.wait_message("the answer", |message| message.text == "an answer").await;
    house.slack.wait_message("the last step", |message| message.text == "100").await;
    house.all_said().await;
    let mut told = house.told(PR, &thread);
    told.sort();
    assert_eq!(told, ["100", "an answer"]);
    let edits = house.slack.called_at("chat.update");
    let most = 2 + start.elapsed().as_secs() / 3;
    assert!(edits.len() as u64 <= most, "{} of {most}", edits.len());
    assert!(edits.windows(2).all(|pair| pair[1] - pair[0] > Duration::from_secs(2)), "{edits:?}");
    house.assert_clean();
}

#[tokio::test]
async fn a_thread_shows_that_its_agent_works_and_an_app_that_can_not_show_it_loses_nothing() {
    let house = House::new().await;
    let thread = house.thread(PR);
    let mut bridge = house.started().await;
    bridge.prompted().await;
    let id = house.open("pr").await[0].id.clone();
    let tool = || Fact::UsedTool { tool: "Bash".into(), detail: "ls".into(), doing: fleetd::model::Doing::Running };
    house.did("pr", Some(&id), [started(), tool(), tool()]).await;
    bridge.wake.notify_one();
    let shown = until("it is shown", || async { house.slack.statuses().first().cloned() }).await;
    assert_eq!(shown, (PR.to_owned(), thread.clone(), "is working…".to_owned()));
    house.slack.script("assistant.threads.setStatus", &[Script::Error("unknown_method")]);
    house.did("pr", Some(&id), [Fact::Asked { question: "May I?".into(), run: None }, tool(), said("done")]).await;
    bridge.wake.notify_one();
    house.slack.wait_message("the answer", |message| message.text == "done").await;
    until("it was refused", || async { (house.slack.count("assistant.threads.setStatus") >= 2).then_some(()) }).await;
    assert_eq!(bridge.status.borrow().problem, None);
    house.assert_clean();
}
