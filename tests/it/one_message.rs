//! What waits in one thread goes as one message: each part keeps a life of its own, and the answer stands in the thread once.

use std::path::Path;
use std::time::Duration;

use fleetd::model::{Mode, NewPrompt, Place, PromptId, PromptState, Source, StateName};
use fleetd::store::Store;
use jiff::Timestamp;

use crate::support::fleet::Fleet;
use crate::support::slack::FakeSlack;
use crate::support::wait::until;

const CHANNEL: &str = "C00000001";

/// Stores what three people said in one thread, as the Slack bridge does; no daemon runs.
pub async fn said_in_a_thread(fleet: &Fleet, slug: &str, thread: &str, bodies: &[&str]) -> Vec<PromptId> {
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let mut ids = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        let id = PromptId::random();
        let new = NewPrompt {
            id: id.clone(),
            agent: slug.parse().unwrap(),
            source: Source::Slack,
            who: format!("person{number}"),
            dedup_key: format!("slack/{CHANNEL}/{id}"),
            body: (*body).to_owned(),
            place: Some(Place { channel: CHANNEL.into(), thread: thread.into() }),
            expires: None,
            mode: Mode::Thread,
        };
        store.insert_prompt(&new, Timestamp::now()).await.unwrap();
        ids.push(id);
    }
    store.close().await;
    ids
}

async fn all_done(fleet: &Fleet, ids: &[PromptId]) {
    for id in ids {
        let view = fleet.until_prompt(id.as_str(), "done", |state| state.name() == StateName::Done).await;
        let names: Vec<StateName> = view.steps.iter().map(|step| step.state.name()).collect();
        let wanted =
            [StateName::Queued, StateName::Typing, StateName::Submitted, StateName::Confirmed, StateName::Done];
        let own: Vec<StateName> = names.into_iter().filter(|name| *name != StateName::Deferred).collect();
        assert_eq!(own, wanted, "{:?}", view.steps);
    }
}

async fn on_slack(gate: &Path, slack: &FakeSlack) -> Fleet {
    let mut fleet = Fleet::new(&(Fleet::gated("ann", gate) + "    slackChannel: \"#agent-ann\"\n"));
    fleet.on_slack(slack);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
    fleet
}

#[tokio::test]
async fn what_waits_in_one_thread_arrives_as_one_message_and_is_answered_there_once() {
    let slack = FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await;
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("open");
    let fleet = on_slack(&gate, &slack).await;
    fleet.fleet(&["send", "ann", "practice: hold"]);
    let root = slack.human_says(CHANNEL, None, "UANN", "fix the build");
    slack.human_says(CHANNEL, Some(&root), "UBOB", "and the docs");
    slack.human_says(CHANNEL, Some(&root), "UANN", "no hurry");
    let elsewhere = slack.human_says(CHANNEL, None, "UBOB", "another thing");
    let mut ids = until("all four wait", async || {
        let queue: fleetd::daemon::protocol::Queue =
            serde_json::from_str(&fleet.fleet(&["queue", "ann", "--json"])).unwrap();
        let waiting = queue.prompts.into_iter().filter(|prompt| prompt.state != "confirmed");
        let ids: Vec<PromptId> = waiting.map(|prompt| prompt.id).collect();
        (ids.len() == 4).then_some(ids)
    })
    .await;
    assert!(fleet.fleet(&["queue", "ann"]).contains(ids[1].as_str()));
    std::fs::write(&gate, "").unwrap();
    all_done(&fleet, &ids).await;
    ids.truncate(3);
    let taken = fleet.taken("ann");
    assert_eq!(taken.len(), 3, "{taken:?}");
    let lines: Vec<&str> = taken[1].lines().collect();
    let place = |text: &str| lines.iter().position(|line| *line == text).unwrap_or_else(|| panic!("{text}: {lines:?}"));
    let places = ["fix the build", "and the docs", "no hurry"].map(place);
    assert!(places.is_sorted());
    for (number, (id, place)) in ids.iter().zip(places).enumerate() {
        let above = lines[place - 1];
        assert!(above.starts_with(&format!("{}. ", number + 1)) && above.ends_with(id.as_str()), "{lines:?}");
        assert!(!fleet.trace(id.as_str()).turn.is_empty(), "its trace does not show the answer");
    }
    let answers = || {
        slack
            .messages_in(CHANNEL, Some(&root))
            .into_iter()
            .filter(|post| post.user == crate::support::slack::BOT_USER)
            .count()
    };
    until("the answer stands in the thread", async || (answers() > 0).then_some(())).await;
    until("the other thread is answered, too", async || {
        (!slack.messages_in(CHANNEL, Some(&elsewhere)).is_empty()).then_some(())
    })
    .await;
    assert_eq!(answers(), 1, "{:?}", slack.messages_in(CHANNEL, Some(&root)));
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_without_a_record_gets_one_message_too_and_nobody_is_told_that_a_part_of_it_is_uncertain() {
    let script = r#"printf "> "; while read -r line; do echo "heard: $line"; printf "> "; done"#;
    let entry = format!("  - slug: ann\n    runtime: command\n    command: [sh, -c, '{script}']\n    prompt: \"> \"\n");
    let mut fleet = Fleet::running(&entry).await;
    fleet.kill();
    let ids = said_in_a_thread(&fleet, "ann", "1.0", &["one", "two", "three"]).await;
    fleet.start().await;
    all_done(&fleet, &ids).await;
    let told: Vec<String> = fleet.feed().iter().map(|row| format!("{:?}", row.fact)).collect();
    let answers = told.iter().filter(|fact| fact.contains("heard: ")).count();
    assert_eq!(answers, 1, "the answer was told again for each of them: {told:#?}");
}

#[tokio::test]
async fn a_line_that_a_terminal_would_cut_off_is_refused_alone_and_the_rest_of_its_thread_arrives() {
    let script = r#"printf "> "; while read -r line; do echo "heard: ${#line}"; printf "> "; done"#;
    let entry = format!("  - slug: ann\n    runtime: command\n    command: [sh, -c, '{script}']\n    prompt: \"> \"\n");
    let mut fleet = Fleet::running(&entry).await;
    fleet.kill();
    let ids = said_in_a_thread(&fleet, "ann", "1.0", &["one", &"x".repeat(5000), "three"]).await;
    fleet.start().await;
    let view = fleet.until_prompt(ids[1].as_str(), "failed", |state| state.name() == StateName::Failed).await;
    assert!(matches!(&view.steps.last().unwrap().state, PromptState::Failed { reason } if reason.contains("bytes")));
    assert_eq!(view.steps.iter().filter(|step| step.state.name() == StateName::Typing).count(), 0);
    for id in [&ids[0], &ids[2]] {
        fleet.until_prompt(id.as_str(), "done", |state| state.name() == StateName::Done).await;
    }
}
