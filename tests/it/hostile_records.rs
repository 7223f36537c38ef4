//! What hostile records may not do to the feed: backlogs, people who type into a running turn, conversations that change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetd::mirror::Mirror;
use fleetd::model::{Fact, NewPrompt, Outcome, PromptId, PromptState, Slug, Source, SystemClock, text};
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
        let id = PromptId::random();
        let typed = self.typed_with(id.clone(), body, None).await;
        (id, typed)
    }

    async fn typed_with(&self, id: PromptId, body: &str, text: Option<&str>) -> String {
        let new = NewPrompt {
            id,
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
        let typed = text.map_or_else(|| text::compose(&prompt, &[], None), str::to_owned);
        let state = PromptState::Submitted { attempt: 1, steering: false };
        assert!(self.store.begin_typing(&prompt, &[], &state, "test", &typed, Timestamp::now()).await.unwrap());
        typed
    }

    /// Prompts that were typed exactly as they stand in the real record `lines`.
    async fn typed_as_recorded(&self, runtime: &dyn Runtime, kind: RecordKind, lines: &[&str]) -> Vec<PromptId> {
        let mut ids = Vec::new();
        for record in lines.iter().flat_map(|line| runtime.read_record(kind, line)) {
            let Some(text) = record.taken() else { continue };
            let id = text::header_id(text).unwrap();
            if ids.contains(&id) {
                continue;
            }
            self.typed_with(id.clone(), &id.to_string(), Some(text)).await;
            ids.push(id);
        }
        ids
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

/// A real run in which prompts were typed while turns ran, streamed text and tools, and Escape was pressed.
const STEERED: [(&str, &str); 2] = [
    ("transcript", include_str!("../fixtures/records/claude-2.1.197/transcript-steered.jsonl")),
    ("hooks", include_str!("../fixtures/records/claude-2.1.197/hooks-steered.jsonl")),
];

/// How often each prompt's turn was begun, and how it ended, in order.
async fn turns(records: &Records) -> BTreeMap<String, Vec<String>> {
    let mut turns = BTreeMap::<String, Vec<String>>::new();
    for row in records.store.feed_after(0, 500).await.unwrap() {
        let told = match row.fact {
            Fact::TurnStarted { .. } => "start".to_owned(),
            Fact::Steered { into } => format!("into {into}"),
            Fact::TurnEnded { outcome, .. } => format!("{outcome:?}"),
            _ => continue,
        };
        turns.entry(row.turn.expect("every prompt was ours").to_string()).or_default().push(told);
    }
    turns
}

#[tokio::test]
async fn prompts_that_the_real_claude_took_together_are_each_answered_once_and_none_is_called_interrupted() {
    let claude: Arc<dyn Runtime> = Arc::new(Claude::new());
    // In one reading, and line by line as the records grow, in the order of the clock.
    for portions in [false, true] {
        let records = Records::new().await;
        let transcript: Vec<&str> = STEERED[0].1.lines().collect();
        let ids = records.typed_as_recorded(&*claude, RecordKind::Transcript, &transcript).await;
        assert!(ids.len() > 9, "{ids:?}");
        let mut lines: Vec<(Option<Timestamp>, &str, &str)> = Vec::new();
        for (name, text) in STEERED {
            let mut latest = None;
            for line in text.lines() {
                latest = latest.max(claude.record_time(line));
                lines.push((latest, name, line));
            }
        }
        lines.sort_by_key(|(at, ..)| *at);
        for (_, name, line) in lines {
            append(&records.file(name), &[line.to_owned()]);
            if portions {
                records.read(Arc::clone(&claude)).await;
            }
        }
        records.read(Arc::clone(&claude)).await;
        let turns = turns(&records).await;
        for id in &ids {
            let cut = ["0123456789bc", "0123456789bd"].contains(&id.as_str());
            let expected: &[&str] = match id.as_str() {
                // The last turn of the capture still ran.
                "0123456789be" => &["start"],
                "0123456789c2" => &["into 0123456789c1"],
                "0123456789c3" => &["into 0123456789bb"],
                "0123456789c5" => &["into 0123456789c4"],
                _ if cut => &["start", "Interrupted"],
                _ => &["start", "Completed"],
            };
            assert_eq!(turns[id.as_str()], expected, "{id} in portions: {portions}; {turns:#?}");
        }
        let said: Vec<String> = records
            .store
            .feed_after(0, 500)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|row| if let Fact::Said { text } = row.fact { Some(text) } else { None })
            .collect();
        let mut once = said.clone();
        once.dedup();
        assert_eq!(said, once);
    }
}

#[tokio::test]
async fn a_prompt_that_steered_a_real_codex_is_answered_in_the_turn_it_steered() {
    let codex: Arc<dyn Runtime> = Arc::new(Codex::new());
    let records = Records::new().await;
    let rollout = include_str!("../fixtures/records/codex-0.169.0/rollout-steered-while-talking.jsonl");
    let lines: Vec<&str> = rollout.lines().collect();
    let ids = records.typed_as_recorded(&*codex, RecordKind::Transcript, &lines).await;
    std::fs::write(records.file("transcript"), rollout).unwrap();
    records.read(codex).await;
    let turns = turns(&records).await;
    for id in ids {
        let expected: &[&str] = match id.as_str() {
            "0123456789bd" | "0123456789be" => &["start", "Interrupted"],
            "0123456789c1" => &["into 0123456789ba"],
            "0123456789c3" => &["into 0123456789bb"],
            _ => &["start", "Completed"],
        };
        assert_eq!(turns[id.as_str()], expected, "{id}");
    }
}

#[tokio::test]
async fn a_record_that_was_rewritten_is_told_neither_twice_nor_with_a_gap() {
    type Rewrite = fn(&Path);
    let rows: [(&str, Rewrite); 5] = [
        ("restored from a copy of before", |path| {
            let text = std::fs::read_to_string(path).unwrap();
            let first = text.lines().next().unwrap();
            std::fs::write(path, format!("{first}\n")).unwrap();
        }),
        ("emptied", |path| std::fs::write(path, "").unwrap()),
        ("replaced by the same", |path| {
            std::fs::copy(path, path.with_extension("new")).unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("with more in front", |path| {
            let text = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, format!("{}\n{text}", said(0, "older"))).unwrap();
        }),
        ("the same length, another word", |path| {
            let text = std::fs::read_to_string(path).unwrap();
            std::fs::write(path, text.replace("\"one\"", "\"eno\"")).unwrap();
        }),
    ];
    for (name, rewrite) in rows {
        let records = Records::new().await;
        let (id, typed) = records.typed("the question").await;
        let path = records.file("transcript");
        append(&path, &[user(1, &typed), said(2, "one")]);
        records.read(Arc::new(Claude::new())).await;
        rewrite(&path);
        // Once before anything is new, and once after.
        records.read(Arc::new(Claude::new())).await;
        append(&path, &[said(3, "two")]);
        append(&records.file("hooks"), &[stop_hook(4, "two")]);
        records.read(Arc::new(Claude::new())).await;
        let expected = ["P start the question", "P said one", "P said two", "P end"];
        assert_eq!(records.told(&id).await, expected, "{name}");
    }
}

#[tokio::test]
async fn last_words_in_several_blocks_are_told_once_and_the_same_words_of_the_next_turn_are_told_too() {
    let records = Records::new().await;
    let (id, typed) = records.typed("the question").await;
    append(&records.file("transcript"), &[user(1, &typed), said(2, "one"), said(3, "two")]);
    append(&records.file("hooks"), &[submit_hook(1, &typed), stop_hook(4, "one\n\ntwo"), stop_hook(5, "late")]);
    records.read(Arc::new(Claude::new())).await;
    assert_eq!(records.told(&id).await, ["P start the question", "P said one", "P said two", "P end"]);
    // This turn's words never come into the transcript; the next one's are the same.
    let (second, typed) = records.typed("the second").await;
    append(&records.file("hooks"), &[submit_hook(6, &typed), stop_hook(7, "Done.")]);
    append(&records.file("transcript"), &[user(6, &typed)]);
    records.read(Arc::new(Claude::new())).await;
    let (third, typed) = records.typed("the third").await;
    append(&records.file("hooks"), &[submit_hook(8, &typed)]);
    append(&records.file("transcript"), &[user(8, &typed), said(9, "Done.")]);
    append(&records.file("hooks"), &[stop_hook(10, "Done.")]);
    records.read(Arc::new(Claude::new())).await;
    for (id, body) in [(&second, "the second"), (&third, "the third")] {
        let own: Vec<String> = records.told(id).await.into_iter().filter(|line| line.starts_with('P')).collect();
        assert_eq!(own, [format!("P start {body}"), "P said Done.".to_owned(), "P end".to_owned()]);
    }
}
