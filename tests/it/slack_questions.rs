//! What an agent asks in a dialog, answered from Slack: one key for the answer that counts, and none for any other.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetd::model::{Answer, QuestionState};
use fleetd::store::{Answered, Store, answer_question};
use serde_json::{Value, json};

use crate::support::agents::Cli;
use crate::support::fleet::Fleet;
use crate::support::model::FakeModel;
use crate::support::slack::{FakeSlack, Posted};
use crate::support::wait::until;

const CHANNEL: &str = "C0000000A";
const BOSS: &str = "U00BOSS01";
const CHIEF: &str = "U0CHIEF01";

/// Who may approve, in the words of agents.yaml.
const RIGHTS: &str = "    slack: {approve: [U00BOSS01, U0CHIEF01]}\n";

async fn slack() -> FakeSlack {
    let slack = FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await;
    slack.person(BOSS, "Bo", json!({}));
    slack.person(CHIEF, "Chi", json!({}));
    slack
}

async fn up(fleet: &mut Fleet, slack: &FakeSlack) {
    fleet.on_slack(slack);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    until("the bridge is up", async || fleet.status().slack?.connected.then_some(())).await;
}

async fn practice(slack: &FakeSlack) -> Fleet {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + "    slackChannel: \"#agent-ann\"\n" + RIGHTS));
    up(&mut fleet, slack).await;
    fleet
}

/// The message that offers an answer now, but for those that were seen.
async fn asked(slack: &FakeSlack, seen: &[&Posted]) -> Posted {
    until("a message with buttons", async || {
        let offers = |message: &Posted| slack.offers(CHANNEL, &message.ts);
        let mut messages = slack.everything_in(CHANNEL).into_iter();
        messages.find(|message| offers(message) && seen.iter().all(|other| other.ts != message.ts))
    })
    .await
}

/// Waits until a question's message says that, and checks that it offers nothing more.
async fn says(slack: &FakeSlack, question: &Posted, words: &str) {
    let same = |message: &Posted| message.ts == question.ts && message.text.contains(words);
    slack.wait_message(words, same).await;
    assert!(!slack.offers(CHANNEL, &question.ts));
}

/// What the practice agent was told, in order.
fn decisions(fleet: &Fleet) -> Vec<String> {
    let record = fleet.transcript("ann");
    let lines = record.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let details = lines.filter_map(|line| line["detail"].as_str().map(str::to_owned));
    details.filter_map(|detail| detail.strip_prefix("make test: ").map(str::to_owned)).collect()
}

#[tokio::test]
async fn of_all_who_press_the_first_who_may_decides_by_one_key_and_the_message_says_who() {
    let slack = slack().await;
    let fleet = practice(&slack).await;
    let root = slack.human_says(CHANNEL, None, "UANN", "practice: dialog");
    let question = asked(&slack, &[]).await;
    assert_eq!(question.thread.as_deref(), Some(root.as_str()));
    assert!(question.text.contains("make test"), "{question:?}");
    slack.choose("UANN", CHANNEL, &question.ts, "Yes");
    until("the refusal is told", || async { (slack.whispers("UANN").len() == 1).then_some(()) }).await;
    assert!(slack.offers(CHANNEL, &question.ts) && decisions(&fleet).is_empty());

    let late = slack.press_of(CHIEF, CHANNEL, &question.ts, "Yes");
    let first = slack.choose(BOSS, CHANNEL, &question.ts, "Always");
    slack.again(&late);
    slack.again(&first);
    says(&slack, &question, "<@U00BOSS01> chose *Always*").await;
    until("the second is told", || async { (slack.whispers(CHIEF).len() == 1).then_some(()) }).await;
    assert!(slack.whispers(CHIEF)[0].text.contains("<@U00BOSS01> answered before you"));
    slack.again(&slack.press_again(&first));
    slack.wait_acked().await;
    slack.wait_message("the answer", |message| message.text.contains("Done with prompt 1")).await;
    assert_eq!((decisions(&fleet), slack.whispers(BOSS).len()), (vec!["always".to_owned()], 0));
    let messages = slack.messages_in(CHANNEL, Some(&root));
    assert_eq!(messages.iter().filter(|message| message.text.contains("The agent asks")).count(), 1);
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_button_of_a_dialog_that_was_answered_in_the_pane_never_answers_the_next_that_looks_alike() {
    let slack = slack().await;
    let fleet = practice(&slack).await;
    slack.human_says(CHANNEL, None, "UANN", "practice: dialog\npractice: dialog");
    let first = asked(&slack, &[]).await;
    let press = slack.press_of(BOSS, CHANNEL, &first.ts, "Yes");
    fleet.tmux(&["send-keys", "-t", "=ann:", "3"]);
    let second = asked(&slack, &[&first]).await;
    says(&slack, &first, "Answered in its pane").await;
    slack.again(&press);
    until("the late one is told", || async { (slack.whispers(BOSS).len() == 1).then_some(()) }).await;
    assert!(slack.whispers(BOSS)[0].text.contains("no longer asked"));
    assert_eq!(decisions(&fleet), ["no"]);
    slack.choose(CHIEF, CHANNEL, &second.ts, "Yes");
    says(&slack, &second, "<@U0CHIEF01> chose *Yes*").await;
    slack.wait_message("the answer", |message| message.text.contains("Done with prompt 1")).await;
    assert_eq!(decisions(&fleet), ["no", "yes"]);
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_outlives_fleetd_and_a_key_that_may_have_been_pressed_is_not_pressed_again() {
    let slack = slack().await;
    let mut fleet = practice(&slack).await;
    let ann = "ann".parse().unwrap();
    slack.human_says(CHANNEL, None, "UANN", "practice: dialog\npractice: dialog");
    let first = asked(&slack, &[]).await;
    fleet.kill();
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let open = store.open_question(&ann).await.unwrap().unwrap();
    let answer = Answer { user: BOSS.into(), option: 0, text: None };
    let mut write = store.write().await.unwrap();
    assert_eq!(answer_question(&mut write, open.seq, &ann, &answer).await.unwrap(), Answered::Taken);
    write.commit().await.unwrap();
    store.close().await;
    fleet.start().await;
    says(&slack, &first, "<@U00BOSS01> chose *Yes*").await;
    let second = asked(&slack, &[&first]).await;
    assert_eq!(decisions(&fleet), ["yes"]);

    // It died with its finger on the key.
    fleet.kill();
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let open = store.open_question(&ann).await.unwrap().unwrap();
    assert!(store.move_question(&open, &QuestionState::Pressing { answer }).await.unwrap());
    store.close().await;
    fleet.start().await;
    says(&slack, &second, "It is not typed again").await;
    let third = asked(&slack, &[&first, &second]).await;
    assert_eq!(decisions(&fleet), ["yes"], "nobody guesses");
    slack.choose(BOSS, CHANNEL, &third.ts, "No");
    says(&slack, &third, "chose *No*").await;
    until("it was typed", async || (decisions(&fleet) == ["yes", "no"]).then_some(())).await;
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_question_that_nobody_answers_for_an_hour_is_told_to_people_once() {
    let slack = slack().await;
    let mut fleet = practice(&slack).await;
    slack.human_says(CHANNEL, None, "UANN", "practice: dialog");
    asked(&slack, &[]).await;
    let told = |fleet: &Fleet| fleet.log().matches("nobody has answered *ann* for an hour").count();
    assert_eq!(told(&fleet), 0);
    fleet.move_clock(3_700);
    until("it is told", async || (told(&fleet) > 0).then_some(())).await;
    fleet.kill();
    fleet.start().await;
    fleet.move_clock(7_400);
    fleet.tmux(&["send-keys", "-t", "=ann:", "3"]);
    fleet.until_state("ann", "idle").await;
    assert_eq!(told(&fleet), 1);
}

/// A real CLI asks before it runs a command; an approver says yes.
async fn runs_by_leave(cli: Cli, request: &str, yes: &str) {
    let (slack, model) = (slack().await, FakeModel::start());
    let extra = format!("    permissions: ask\n{RIGHTS}");
    let mut fleet = Fleet::real(&model, &[("ann", cli)], &extra);
    up(&mut fleet, &slack).await;
    let made = fleet.path("made");
    slack.human_says(CHANNEL, None, "UANN", &format!("{request} touch {}", made.display()));
    let question = asked(&slack, &[]).await;
    let shown = slack.blocks_of(CHANNEL, &question.ts).to_string();
    assert!(shown.contains(&format!("touch {}", made.display())), "{shown}");
    slack.choose("UANN", CHANNEL, &question.ts, yes);
    until("the refusal is told", || async { (slack.whispers("UANN").len() == 1).then_some(()) }).await;
    assert!(!made.exists());
    let press = slack.choose(BOSS, CHANNEL, &question.ts, yes);
    slack.again(&press);
    says(&slack, &question, &format!("<@U00BOSS01> chose *{yes}*")).await;
    slack.wait_message("the answer", |message| message.text.contains("The tool has run")).await;
    assert!(made.exists());
    let seen: BTreeSet<String> = slack.everything_in(CHANNEL).into_iter().map(|message| message.ts).collect();
    assert!(seen.iter().all(|ts| !slack.offers(CHANNEL, ts)), "one question, and it is over");
    assert_eq!((slack.violations(), model.violations()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_claude_that_asks_for_leave_gets_it_from_slack_by_its_own_key() {
    runs_by_leave(Cli::Claude, "tool", "Yes").await;
}

#[tokio::test]
async fn a_codex_that_asks_for_leave_gets_it_from_slack_by_its_own_key() {
    runs_by_leave(Cli::Codex, "ask", "Yes, proceed").await;
}

#[tokio::test]
async fn what_claude_wants_to_know_any_member_may_answer_by_a_button() {
    let (slack, model) = (slack().await, FakeModel::start());
    let mut fleet = Fleet::real(&model, &[("ann", Cli::Claude)], RIGHTS);
    up(&mut fleet, &slack).await;
    slack.human_says(CHANNEL, None, "UANN", "question");
    let question = asked(&slack, &[]).await;
    assert!(question.text.contains("Which colour?"), "{question:?}");
    slack.choose("UANN", CHANNEL, &question.ts, "Blue like the sea");
    says(&slack, &question, "<@UANN> chose *Blue like the sea*").await;
    slack.wait_message("the answer", |message| message.text.contains("The tool has run")).await;
    assert_eq!((slack.violations(), model.violations()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_reply_below_claude_s_question_answers_it_in_one_s_own_words_and_later_ones_are_prompts() {
    let (slack, model) = (slack().await, FakeModel::start());
    let mut fleet = Fleet::real(&model, &[("ann", Cli::Claude)], RIGHTS);
    up(&mut fleet, &slack).await;
    let root = slack.human_says(CHANNEL, None, "UANN", "question");
    let question = asked(&slack, &[]).await;
    slack.human_says(CHANNEL, Some(&root), "UANN", "1. green,\n2 of a kind");
    says(&slack, &question, "<@UANN> answered *1. green, 2 of a kind*").await;
    slack.wait_message("the answer", |message| message.text.contains("The tool has run")).await;
    assert!(fleet.screen("ann").contains("→ 1. green, 2 of a kind"), "{}", fleet.screen("ann"));
    slack.human_says(CHANNEL, Some(&root), "UANN", "and a prompt");
    slack.wait_message("its answer", |message| message.text.contains("Done")).await;
    assert!(model.request_for("and a prompt").is_some());
    assert_eq!((slack.violations(), model.violations()), (Vec::new(), Vec::new()));
}
