//! Claude Code (facts measured with 2.1.197).
//!
//! Its conversation gets its id from us, our hooks come in by a settings file of our own, and the user's settings are never
//! touched. A prompt must never stand on its command line, and no hook runs per tool call: each costs a process.

mod failure;
mod record;
mod screen;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Activity, Conversation, DraftKeys, Holding, Identity, Launch, LaunchContext, OpenDialog, Record, RecordKeeping,
    RecordKind, RecordSource, Runtime, ScreenReading, Seed,
};
use crate::config::Permissions;
use crate::model::DialogKind;
use crate::tmux::{Key, Screen};

/// The hooks that are asked for. `PreToolUse` and `PostToolUse` are not: the transcript tells the same without a process.
const HOOKS: [&str; 9] = [
    "SessionStart",
    "SessionEnd",
    "UserPromptSubmit",
    "PermissionRequest",
    "Notification",
    "Stop",
    "StopFailure",
    "PreCompact",
    "PostCompact",
];

/// How many characters of a key, from its end, Claude remembers as approved.
pub(super) const APPROVED_KEY_LENGTH: usize = 20;

/// The runtime `claude`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claude;

impl Claude {
    /// The one there is.
    pub fn new() -> Self {
        Self
    }
}

impl Runtime for Claude {
    fn launch(&self, context: &LaunchContext<'_>) -> Launch {
        let settings = context.state.join("claude-settings.json");
        let mut seeds = vec![Seed::Own { path: settings.clone(), content: settings_json(context) }];
        // Beside the directory where that is the default, inside it where it is named.
        if let Some(path) = context.directory("CLAUDE_CONFIG_DIR", "").map(|home| home.join(".claude.json")) {
            seeds.push(Seed::MergeJson { path, patch: consent(context) });
        }
        let mut env = BTreeMap::new();
        if context.root && context.agent.permissions == Permissions::Bypass {
            env.insert("IS_SANDBOX".into(), "1".into());
        }
        Launch { argv: argv(context, &settings), env, seeds }
    }

    fn records(&self, context: &LaunchContext<'_>) -> Vec<RecordSource> {
        let mut sources = vec![RecordSource::File { path: spool(context), kind: RecordKind::Hooks }];
        if let Some(root) = config_directory(context).map(|directory| directory.join("projects")) {
            let suffix = format!("{}.jsonl", context.conversation.id());
            sources.push(RecordSource::Below { root, depth: 1, suffix, kind: RecordKind::Transcript });
        }
        sources
    }

    fn read_record(&self, kind: RecordKind, line: &str) -> Vec<Record> {
        match kind {
            RecordKind::Hooks => record::hook(line),
            RecordKind::Transcript => record::transcript(line),
        }
    }

    fn read_screen(&self, screen: &Screen) -> ScreenReading {
        screen::read(screen)
    }

    fn read_dialog(&self, screen: &Screen) -> Option<OpenDialog> {
        screen::dialog(screen)
    }

    fn records_questions(&self) -> bool {
        true
    }

    fn state_file(&self, context: &LaunchContext<'_>, pid: u32) -> Option<PathBuf> {
        Some(config_directory(context)?.join("sessions").join(format!("{pid}.json")))
    }

    fn holding(&self, context: &LaunchContext<'_>) -> Holding {
        let sessions = config_directory(context).map(|directory| directory.join("sessions"));
        sessions.map_or(Holding::Untold, |directory| Holding::StateFiles { directory })
    }

    fn held_conversation(&self, content: &str) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct State {
            session_id: String,
        }
        serde_json::from_str::<State>(content).ok().map(|state| state.session_id)
    }

    fn read_state_file(&self, content: &str) -> Option<Activity> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct State {
            status: String,
            waiting_for: Option<String>,
        }
        let state: State = serde_json::from_str(content).ok()?;
        match state.status.as_str() {
            "idle" => Some(Activity::Idle),
            "busy" => Some(Activity::Busy),
            "waiting" => {
                let what = state.waiting_for.unwrap_or_else(|| "a dialog".into());
                let kind = if what == "permission prompt" { DialogKind::Permission } else { DialogKind::Other };
                Some(Activity::Dialog { kind, what })
            }
            _ => None,
        }
    }

    /// Behind a `\` at its end Enter would be a new line. A blank behind it prevents that, and Claude cuts it off
    /// itself, but for a paste so long that the box folds it: there the blank stays. A tab it makes four blanks, and
    /// letters with combining marks it composes (NFC; both measured): done beforehand, its record holds exactly what was
    /// typed.
    fn typed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text);
        let end = if text.ends_with('\\') { " " } else { "" };
        if end.is_empty() && !text.contains('\t') {
            return composed;
        }
        Cow::Owned(composed.replace('\t', "    ") + end)
    }

    /// Ctrl-Y brings back all that Ctrl-U has cut, line by line, the text behind a placeholder too (measured).
    fn draft_keys(&self) -> Option<DraftKeys> {
        Some(DraftKeys { cut: Key::Control('u'), restore: Some(Key::Control('y')) })
    }

    fn takes_text_while_busy(&self) -> bool {
        true
    }

    fn compact_command(&self) -> Option<&'static str> {
        Some("/compact")
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(200)
    }

    fn keeps_record(&self) -> RecordKeeping {
        RecordKeeping::Always
    }

    fn identity(&self) -> Identity {
        Identity::Preset
    }
}

fn argv(context: &LaunchContext<'_>, settings: &Path) -> Vec<OsString> {
    let agent = context.agent;
    let mut argv: Vec<OsString> = agent.runtime.command().iter().map(OsString::from).collect();
    if argv.is_empty() {
        argv.push("claude".into());
    }
    let (flag, id) = match context.conversation {
        Conversation::New { id } => ("--session-id", id),
        Conversation::Resume { id } => ("--resume", id),
    };
    argv.extend([flag.into(), id.into(), "--name".into(), agent.slug.as_str().into()]);
    argv.extend(["--settings".into(), settings.into()]);
    if let Some(model) = &agent.model {
        argv.extend(["--model".into(), model.into()]);
    }
    match agent.permissions {
        Permissions::Bypass => argv.push("--dangerously-skip-permissions".into()),
        Permissions::AcceptEdits => argv.extend(["--permission-mode".into(), "acceptEdits".into()]),
        Permissions::Ask => {}
    }
    argv.extend(agent.args.iter().map(OsString::from));
    argv
}

fn config_directory(context: &LaunchContext<'_>) -> Option<PathBuf> {
    context.directory("CLAUDE_CONFIG_DIR", ".claude")
}

fn spool(context: &LaunchContext<'_>) -> PathBuf {
    context.state.join("hooks.jsonl")
}

/// Our settings: the hooks, and no warning about a mode that agents.yaml asked for.
fn settings_json(context: &LaunchContext<'_>) -> String {
    let command = format!("{} hook --spool {}", quoted(context.fleetd), quoted(&spool(context)));
    let entry = json!([{"hooks": [{"type": "command", "command": command}]}]);
    let hooks: serde_json::Map<String, Value> = HOOKS.iter().map(|hook| ((*hook).to_owned(), entry.clone())).collect();
    format!("{:#}\n", json!({"skipDangerousModePermissionPrompt": true, "hooks": hooks}))
}

/// A path for the shell that Claude runs hooks with.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// What a person would click away at a first start. Trust goes to the agent's own directory alone. Of a key, the end that
/// Claude itself notes down when a person approves it.
fn consent(context: &LaunchContext<'_>) -> Value {
    let cwd = context.cwd.to_string_lossy();
    let mut patch = json!({"hasCompletedOnboarding": true, "projects": {cwd: {"hasTrustDialogAccepted": true}}});
    if let Some(key) = context.variable("ANTHROPIC_API_KEY") {
        let start = key.char_indices().rev().nth(APPROVED_KEY_LENGTH - 1).map_or(0, |(index, _)| index);
        patch["customApiKeyResponses"] = json!({"approved": [&key[start..]], "rejected": []});
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture::{Setting, words};

    #[test]
    fn a_new_agent_gets_our_id_and_a_known_one_resumes() {
        let mut setting = Setting::new("claude", &[]);
        setting.agent.model = Some("opus".into());
        setting.agent.args = vec!["--add-dir".into(), "/srv".into()];
        let new = Conversation::New { id: "u1".into() };
        assert_eq!(
            words(&Claude.launch(&setting.context(&new))),
            "claude --session-id u1 --name ann --settings /state/claude-settings.json --model opus --dangerously-skip-permissions --add-dir /srv"
        );
        setting.agent.permissions = Permissions::AcceptEdits;
        let known = Conversation::Resume { id: "u1".into() };
        assert_eq!(
            words(&Claude.launch(&setting.context(&known))),
            "claude --resume u1 --name ann --settings /state/claude-settings.json --model opus --permission-mode acceptEdits --add-dir /srv"
        );
        setting.agent.permissions = Permissions::Ask;
        assert!(!words(&Claude.launch(&setting.context(&known))).contains("permission"));
    }

    #[test]
    fn only_root_that_skips_questions_claims_a_sandbox() {
        let conversation = Conversation::New { id: "u".into() };
        let mut setting = Setting::new("claude", &[]);
        for (root, permissions, claimed) in [
            (true, Permissions::Bypass, true),
            (false, Permissions::Bypass, false),
            (true, Permissions::Ask, false),
            (true, Permissions::AcceptEdits, false),
        ] {
            (setting.root, setting.agent.permissions) = (root, permissions);
            assert_eq!(
                Claude.launch(&setting.context(&conversation)).env.contains_key(std::ffi::OsStr::new("IS_SANDBOX")),
                claimed
            );
        }
    }

    #[test]
    fn no_more_of_a_key_is_written_down_than_claude_itself_writes() {
        let key = "sk-ant-SECRETSECRETSECRET-01234567890123456789";
        let setting = Setting::new("claude", &[("HOME", "/home/ann"), ("ANTHROPIC_API_KEY", key)]);
        let conversation = Conversation::New { id: "u".into() };
        let launch = Claude.launch(&setting.context(&conversation));
        let Some(Seed::MergeJson { path, patch }) = launch.seeds.last() else { panic!("{launch:?}") };
        assert_eq!(path, Path::new("/home/ann/.claude.json"));
        assert_eq!(patch["customApiKeyResponses"]["approved"], json!(["01234567890123456789"]));
        assert_eq!(patch["projects"]["/srv/agent"]["hasTrustDialogAccepted"], true);
        assert!(!format!("{launch:?}").contains("SECRET"));
    }

    #[test]
    fn a_prompt_that_ends_in_a_backslash_is_not_left_lying_in_the_box() {
        assert_eq!(Claude.typed("C:\\"), "C:\\ ");
        assert_eq!(Claude.typed("a \\ b"), "a \\ b");
    }

    #[test]
    fn files_are_looked_for_where_this_agent_s_claude_keeps_them() {
        let conversation = Conversation::Resume { id: "u".into() };
        let roots = |variables: &[(&str, &str)]| {
            let setting = Setting::new("claude", variables);
            let context = setting.context(&conversation);
            let transcript = Claude.records(&context).into_iter().find_map(|source| match source {
                RecordSource::Below { root, suffix, .. } => Some(format!("{} {suffix}", root.display())),
                RecordSource::File { .. } => None,
            });
            (transcript, Claude.state_file(&context, 7))
        };
        assert_eq!(
            roots(&[("HOME", "/home/ann")]),
            (Some("/home/ann/.claude/projects u.jsonl".into()), Some("/home/ann/.claude/sessions/7.json".into()))
        );
        assert_eq!(
            roots(&[("HOME", "/home/ann"), ("CLAUDE_CONFIG_DIR", "/c")]),
            (Some("/c/projects u.jsonl".into()), Some("/c/sessions/7.json".into()))
        );
        assert_eq!(roots(&[]), (None, None));
    }

    #[test]
    fn a_hook_s_command_survives_any_path() {
        let mut setting = Setting::new("claude", &[]);
        setting.fleetd = "/opt/it's $(here)/fleetd".into();
        let conversation = Conversation::New { id: "u".into() };
        let launch = Claude.launch(&setting.context(&conversation));
        let Some(Seed::Own { content, .. }) = launch.seeds.first() else { panic!("{launch:?}") };
        let settings: Value = serde_json::from_str(content).unwrap();
        assert_eq!(
            settings["hooks"]["Stop"][0]["hooks"][0]["command"],
            r"'/opt/it'\''s $(here)/fleetd' hook --spool '/state/hooks.jsonl'"
        );
        assert!(settings["hooks"].get("PreToolUse").is_none() && settings["hooks"].get("PostToolUse").is_none());
    }

    #[test]
    fn a_live_process_s_own_state_is_understood_and_an_unknown_one_says_nothing() {
        for (content, activity) in [
            (r#"{"pid":1,"status":"idle","updatedAt":1}"#, Some(Activity::Idle)),
            (r#"{"status":"busy"}"#, Some(Activity::Busy)),
            (
                r#"{"status":"waiting","waitingFor":"permission prompt"}"#,
                Some(Activity::Dialog { kind: DialogKind::Permission, what: "permission prompt".into() }),
            ),
            (r#"{"status":"waiting"}"#, Some(Activity::Dialog { kind: DialogKind::Other, what: "a dialog".into() })),
            (r#"{"status":"dreaming"}"#, None),
            (r#"{"pid":1}"#, None),
            (r#"{"status":"#, None),
            ("", None),
        ] {
            assert_eq!(Claude.read_state_file(content), activity, "{content}");
        }
    }
}
