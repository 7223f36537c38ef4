//! What every runtime must do, whichever CLI it knows: one set of checks, passed through the trait alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetd::config::{Agent, Permissions, RuntimeConfig};
use fleetd::model::{PromptId, Source, TranscriptEntry, TranscriptLine, text};
use fleetd::runtime::{
    Activity, Conversation, InputBox, LaunchContext, Record, RecordKind, Runtime, ScreenReading, for_agent,
};
use fleetd::tmux::Screen;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

const SECRET: &str = "sk-secret-0123456789abcdefghij";
const WORDS: &str = "a caller's very own words";

/// A runtime under test, with what real runs of its CLI left.
struct Candidate {
    name: &'static str,
    agent: Agent,
    runtime: Arc<dyn Runtime>,
    /// The directory of its frozen screens.
    screens: PathBuf,
    /// Lines that hold a prompt, with the prompt's text.
    prompts: Vec<(RecordKind, Value, String)>,
    /// Every frozen line.
    lines: Vec<String>,
}

fn fixtures(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

fn candidate(name: &'static str, runtime: RuntimeConfig, version: &str) -> Candidate {
    let agent = Agent {
        slug: "ann".parse().unwrap(),
        runtime,
        args: Vec::new(),
        env: BTreeMap::from([("ANTHROPIC_API_KEY".into(), SECRET.into())]),
        repos: Vec::new(),
        model: Some("model-1".into()),
        permissions: Permissions::Bypass,
        compact_at: None,
        memory: None,
        disk: None,
        slack_channel: None,
        slack: Default::default(),
        schedule: None,
        daily_prompt: Some(WORDS.into()),
        init_prompt: Some(WORDS.into()),
    };
    let runtime = for_agent(&agent);
    let mut prompts = Vec::new();
    let mut lines = Vec::new();
    for entry in fs::read_dir(fixtures(&format!("records/{version}"))).into_iter().flatten() {
        let path = entry.unwrap().path();
        let hooks = path.file_stem().unwrap().to_string_lossy().starts_with("hooks");
        let kind = if hooks { RecordKind::Hooks } else { RecordKind::Transcript };
        for line in fs::read_to_string(&path).unwrap().lines() {
            lines.push(line.to_owned());
            for record in runtime.read_record(kind, line) {
                let Some(text) = record.taken() else { continue };
                prompts.push((kind, serde_json::from_str(line).unwrap(), text.to_owned()));
            }
        }
    }
    if version.starts_with("practice") || version.starts_with("line") {
        let entry = TranscriptEntry::Prompt { text: WORDS.into() };
        let line = TranscriptLine { at: Timestamp::UNIX_EPOCH, entry }.to_json().unwrap();
        prompts.push((RecordKind::Transcript, serde_json::from_str(&line).unwrap(), WORDS.into()));
        lines.push(line);
    }
    Candidate { name, agent, runtime, screens: fixtures(&format!("screens/{version}")), prompts, lines }
}

fn candidates() -> Vec<Candidate> {
    let command =
        |prompt: &str| RuntimeConfig::Command { command: vec!["program".into()], prompt: Some(prompt.into()) };
    vec![
        candidate("claude", RuntimeConfig::Claude { command: vec!["claude".into()] }, "claude-2.1.197"),
        candidate("codex", RuntimeConfig::Codex { command: vec!["codex".into()] }, "codex-0.169.0"),
        candidate("command with the practice agent", command("❯"), "practice-agent"),
        candidate("command with a line program", command("> "), "line-program"),
    ]
}

impl Candidate {
    fn with_context<T>(&self, conversation: &Conversation, use_it: impl FnOnce(&LaunchContext<'_>) -> T) -> T {
        let environment = [("HOME", "/home/ann"), ("ANTHROPIC_API_KEY", SECRET), ("OPENAI_API_KEY", SECRET)];
        let environment = environment.map(|(name, value)| (OsString::from(name), OsString::from(value))).into();
        use_it(&LaunchContext {
            agent: &self.agent,
            cwd: Path::new("/srv/agent"),
            state: Path::new("/state"),
            fleetd: Path::new("/usr/bin/fleetd"),
            environment: &environment,
            conversation,
            root: false,
        })
    }

    fn screen(&self, path: &Path) -> Screen {
        let cursor = fs::read_to_string(path.with_extension("cursor")).unwrap();
        let cursor: Vec<usize> = cursor.split_whitespace().map(|number| number.parse().unwrap()).collect();
        Screen::parse(fs::read_to_string(path).unwrap().lines(), cursor[0], cursor[1])
    }

    /// The frozen screens whose names begin so; each CLI must have some.
    fn screens(&self, start: &str) -> Vec<(String, Screen)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.screens).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if name.starts_with(start) && path.extension().is_some_and(|extension| extension == "ansi") {
                found.push((format!("{}: {name}", self.name), self.screen(&path)));
            }
        }
        assert!(!found.is_empty(), "{} has no frozen screen {start}*", self.name);
        found
    }
}

fn new() -> Conversation {
    Conversation::New { id: "6f1c0000-0000-4000-8000-000000000001".into() }
}

fn resumed() -> Conversation {
    Conversation::Resume { id: new().id().to_owned() }
}

#[test]
fn no_secret_and_no_caller_s_text_ever_stands_on_a_command_line() {
    for candidate in candidates() {
        for conversation in [new(), resumed()] {
            let launch = candidate.with_context(&conversation, |context| candidate.runtime.launch(context));
            let argv: Vec<Cow<'_, str>> = launch.argv.iter().map(|word| word.to_string_lossy()).collect();
            assert!(!argv.is_empty() && !argv[0].is_empty(), "{}: nothing to start", candidate.name);
            for word in argv {
                assert!(!word.contains(SECRET) && !word.contains(WORDS), "{}: {word}", candidate.name);
            }
        }
    }
}

#[test]
fn the_same_launch_and_the_same_conversation_s_records_are_the_same_every_time() {
    for candidate in candidates() {
        let records =
            |conversation| candidate.with_context(&conversation, |context| candidate.runtime.records(context));
        let launch = || candidate.with_context(&resumed(), |context| candidate.runtime.launch(context));
        assert_eq!(launch(), launch(), "{}", candidate.name);
        assert_eq!(records(new()), records(resumed()), "{}: a resumed agent's record would be lost", candidate.name);
        assert!(!records(new()).is_empty(), "{}: it has no place for a record", candidate.name);
    }
}

#[test]
fn an_agent_that_waits_is_given_its_prompt_and_a_suggestion_is_no_draft() {
    for candidate in candidates() {
        for (name, screen) in candidate.screens("idle") {
            let expected = ScreenReading { activity: Some(Activity::Idle), input: InputBox::Empty };
            assert_eq!(candidate.runtime.read_screen(&screen), expected, "{name}");
        }
    }
    let dim = |screen: &Screen| screen.rows.iter().any(|row| !row.dim.is_empty());
    for candidate in candidates().iter().take(3) {
        assert!(candidate.screens("idle").iter().any(|(_, screen)| dim(screen)), "{}: no suggestion", candidate.name);
    }
}

#[test]
fn an_agent_at_work_is_never_taken_for_one_that_waits() {
    for candidate in candidates() {
        for (name, screen) in candidate.screens("busy") {
            assert_ne!(candidate.runtime.read_screen(&screen).activity, Some(Activity::Idle), "{name}");
        }
    }
}

#[test]
fn a_dialog_is_never_taken_for_a_place_to_type() {
    for candidate in candidates().iter().take(3) {
        for (name, screen) in candidate.screens("dialog") {
            let ScreenReading { activity, input } = candidate.runtime.read_screen(&screen);
            assert!(activity != Some(Activity::Idle) || input != InputBox::Empty, "{name}: a prompt would answer it");
        }
    }
}

#[test]
fn a_person_s_draft_is_seen() {
    for candidate in candidates() {
        for (name, screen) in candidate.screens("draft") {
            let input = candidate.runtime.read_screen(&screen).input;
            assert!(matches!(input, InputBox::Holds(_)), "{name}: {input:?}");
        }
    }
}

/// Every text in `value` that is `old` becomes `new`.
fn replace(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) if text == old => new.clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, old, new)),
        Value::Object(values) => values.values_mut().for_each(|value| replace(value, old, new)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_prompt_is_found_again_in_the_record_exactly_as_it_was_typed(
        body in prop_oneof![".{0,80}", "[!/\\\\a-z \n\t🦀ä`$\"';<>]{0,80}"]
    ) {
        let id = PromptId::random();
        let composed = format!("{}\n{}", text::header(&Source::Cli, "ann", &id), text::printable(&body).trim_end());
        for candidate in candidates() {
            prop_assert!(!candidate.prompts.is_empty(), "{}: no frozen prompt", candidate.name);
            let typed = candidate.runtime.typed(&composed);
            prop_assert!(!typed.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
            prop_assert_eq!(text::header_id(&typed), Some(id.clone()), "{}", candidate.name);
            for (kind, line, old) in &candidate.prompts {
                let mut line = line.clone();
                replace(&mut line, old, &typed);
                let found: Vec<Record> = candidate.runtime.read_record(*kind, &line.to_string());
                let prompts: Vec<&str> = found
                    .iter()
                    .filter_map(|record| Some(record.taken()?.trim_end()))
                    .collect();
                prop_assert_eq!(prompts, vec![typed.trim_end()], "{}: {}", candidate.name, line);
            }
        }
    }

    #[test]
    fn junk_in_a_record_says_nothing_and_brings_nobody_down(
        junk in prop_oneof![".{0,60}", "[\\[\\]{}\":,a-z0-9]{0,60}"],
        which in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for candidate in candidates() {
            let whole = which.get(&candidate.lines);
            let half: String = whole.chars().take(cut.index(whole.chars().count())).collect();
            for line in [&junk, &half] {
                for kind in [RecordKind::Hooks, RecordKind::Transcript] {
                    prop_assert_eq!(candidate.runtime.read_record(kind, line), Vec::new(), "{}: {}", candidate.name, line);
                    candidate.runtime.record_time(line);
                    candidate.runtime.read_state_file(line);
                }
            }
        }
    }

    #[test]
    fn a_screen_of_junk_never_brings_a_runtime_down(
        lines in prop::collection::vec("[❯›>$─│ a-z\u{a0}\u{1b}\\[0-9;m]{0,40}", 0..12),
        column in 0usize..300,
        row in 0usize..80,
    ) {
        let screen = Screen::parse(lines.iter().map(String::as_str), column, row);
        for candidate in candidates() {
            candidate.runtime.read_screen(&screen);
        }
    }
}
