//! What hostile records may not do to the feed: backlogs, people who type into a running turn, conversations that change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetd::mirror::Mirror;
use fleetd::model::{Fact, NewPrompt, Outcome, Prompt, PromptId, PromptState, Slug, Source, SystemClock, text};
use fleetd::runtime::{Claude, Codex, RecordKind, RecordSource, Runtime};
use fleetd::store::Store;
use jiff::Timestamp;
use serde_json::json;

/// A store, a mirror into it and the two record files of one agent.
struct Records {
    directory: tempfile::TempDir,
    store: Store,
    mirror: Mirror,
    agent: Slug,
}

impl Records {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
        let mirror = Mirror::new(store.clone(), Arc::new(SystemClock));
        Self { directory, store, mirror, agent: "ann".parse().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A prompt that was typed; its id and the text that stands in the agent's record.
    async fn typed(&self, body: &str) -> (PromptId, String) {
        let new = NewPrompt {
            id: PromptId::random(),
            agent: self.agent.clone(),
            source: Source::Cli,
            who: "ann".into(),
            dedup_key: body.into(),
            body: body.into(),
            place: None,
            expires: None,
            mode: fleetd::model::Mode::Queue,
        };
        self.store.insert_prompt(&new, Timestamp::now()).await.unwrap();
        let prompt = self.store.prompt(&new.id).await.unwrap().unwrap();
        let typed = text::compose(&prompt, &[], None);
        let state = PromptState::Submitted { attempt: 1, steering: false };
        assert!(self.store.begin_typing(&prompt, &[], &state, "test", &typed, Timestamp::now()).await.unwrap());
        let _: Prompt = prompt;
        (new.id, typed)
    }

    /// Mirrors until nothing is left to read.
    async fn read(&self, runtime: Arc<dyn Runtime>) {
        let source = |name: &str, kind| RecordSource::File { path: self.file(name), kind };
        let sources = || vec![source("hooks", RecordKind::Hooks), source("transcript", RecordKind::Transcript)];
        while self.mirror.pass(&self.agent, &runtime, sources()).await.unwrap().again {}
    }

    /// The feed in short form: `P` where a fact belongs to `prompt`, `-` where it belongs to nobody's.
    async fn told(&self, prompt: &PromptId) -> Vec<String> {
        let short = |row: fleetd::model::FeedRow| {
            let turn = if row.turn.as_ref() == Some(prompt) { "P" } else { "-" };
            match row.fact {
                Fact::TurnStarted { summary } => format!("{turn} start {summary:.20}"),
                Fact::Said { text } => format!("{turn} said {text:.20}"),
                Fact::TurnEnded { outcome: Outcome::Completed, .. } => format!("{turn} end"),
                Fact::TurnEnded { outcome, .. } => format!("{turn} {outcome:?}"),
                Fact::UsedTool { tool, .. } => format!("{turn} tool {tool}"),
                other => format!("{turn} {other:?}"),
            }
        };
        self.store.feed_after(0, 500).await.unwrap().into_iter().map(short).collect()
    }
}

fn append(path: &Path, lines: &[String]) {
    let mut text = std::fs::read_to_string(path).unwrap_or_default();
    text += &lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(path, text).unwrap();
}

fn at(second: i64) -> String {
    Timestamp::from_second(1_700_000_000 + second).unwrap().to_string()
}

fn user(second: i64, text: &str) -> String {
    json!({"type": "user", "timestamp": at(second), "message": {"role": "user", "content": text}}).to_string()
}

fn said(second: i64, text: &str) -> String {
    let content = json!([{"type": "text", "text": text}]);
    json!({"type": "assistant", "timestamp": at(second), "message": {"model": "m", "content": content}}).to_string()
}

fn submit_hook(second: i64, text: &str) -> String {
    json!({"fleet_at": at(second), "hook_event_name": "UserPromptSubmit", "prompt": text}).to_string()
}

fn stop_hook(second: i64, words: &str) -> String {
    json!({"fleet_at": at(second), "hook_event_name": "Stop", "last_assistant_message": words}).to_string()
}

#[tokio::test]
async fn an_answer_in_a_long_backlog_goes_to_the_prompt_that_asked_for_it() {
    let records = Records::new().await;
    let (id, typed) = records.typed("the question").await;
    let tool = json!({"type": "user", "timestamp": at(3), "toolUseResult": "x".repeat(6 << 20)}).to_string();
    append(
        &records.file("transcript"),
        &[user(1, "by hand"), said(2, "to the hand"), tool, user(5, &typed), said(6, "one"), said(7, "two")],
    );
    append(
        &records.file("hooks"),
        &[submit_hook(1, "by hand"), stop_hook(4, "to the hand"), submit_hook(5, &typed), stop_hook(8, "two")],
    );
    records.read(Arc::new(Claude::new())).await;
    let expected =
        ["- start by hand", "- said to the hand", "- end", "P start the question", "P said one", "P said two", "P end"];
    assert_eq!(records.told(&id).await, expected);
}

#[tokio::test]
async fn what_a_person_types_into_a_running_turn_does_not_take_the_answer_from_its_author() {
    let records = Records::new().await;
    let (id, typed) = records.typed("the question").await;
    let queued = json!({"type": "attachment", "timestamp": at(3),
        "attachment": {"type": "queued_command", "prompt": "and mind the tests", "commandMode": "prompt"}});
    append(&records.file("transcript"), &[user(1, &typed), said(2, "one"), queued.to_string(), said(4, "two")]);
    append(&records.file("hooks"), &[submit_hook(1, &typed), stop_hook(5, "two")]);
    records.read(Arc::new(Claude::new())).await;
    assert_eq!(records.told(&id).await, ["P start the question", "P said one", "P said two", "P end"]);
}

#[tokio::test]
async fn what_a_person_types_into_a_running_turn_of_codex_does_not_take_the_answer_either() {
    let records = Records::new().await;
    let (id, typed) = records.typed("the question").await;
    let item = |second, kind: &str, text: &str| {
        let item = json!({"type": kind, "id": "i", "content": [{"type": "text", "text": text}]});
        json!({"type": "event_msg", "timestamp": at(second), "payload": {"type": "item_completed", "item": item}})
            .to_string()
    };
    let end = json!({"type": "event_msg", "timestamp": at(5), "payload": {"type": "task_complete"}}).to_string();
    append(
        &records.file("transcript"),
        &[
            item(1, "UserMessage", &typed),
            item(2, "AgentMessage", "one"),
            item(3, "UserMessage", "and mind the tests"),
            item(4, "AgentMessage", "two"),
            end,
        ],
    );
    records.read(Arc::new(Codex::new())).await;
    assert_eq!(records.told(&id).await, ["P start the question", "P said one", "P said two", "P end"]);
}

#[tokio::test]
async fn an_open_turn_that_cannot_be_read_does_not_silence_its_agent_for_ever() {
    let records = Records::new().await;
    let batch = fleetd::store::RecordBatch { open_turn: "{\"running\":\"perhaps\"}".into(), ..Default::default() };
    records.store.append_records(&records.agent, &batch, Timestamp::now()).await.unwrap();
    let (id, typed) = records.typed("the question").await;
    append(&records.file("transcript"), &[user(1, &typed), said(2, "one")]);
    records.read(Arc::new(Claude::new())).await;
    assert_eq!(records.told(&id).await, ["P start the question", "P said one"]);
}
