//! Codex (facts measured with 0.169.0).
//!
//! It chooses its conversation's id itself and holds a lock file of that name open; it reads what we need to say from its
//! command line, so that the user's `config.toml` stays theirs. It must never start its background server: that would outlive
//! the pane.

mod record;
mod screen;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    Conversation, DraftKeys, Holding, Identity, Launch, LaunchContext, OpenDialog, Record, RecordKeeping, RecordKind,
    RecordSource, Runtime, ScreenReading, Seed,
};
use crate::config::Permissions;
use crate::tmux::{Key, Screen};

/// Where the locks of the conversations lie that a process has open.
const LOCKS: &str = "thread-writer-locks";

/// The runtime `codex`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Codex;

impl Codex {
    /// The one there is.
    pub fn new() -> Self {
        Self
    }
}

impl Runtime for Codex {
    fn launch(&self, context: &LaunchContext<'_>) -> Launch {
        // Codex makes everything in its home but the home itself.
        let seeds = home(context).map(|path| Seed::Directory { path }).into_iter().collect();
        Launch { argv: argv(context), env: BTreeMap::new(), seeds }
    }

    fn records(&self, context: &LaunchContext<'_>) -> Vec<RecordSource> {
        let root = home(context).map(|home| home.join("sessions"));
        let source = root.map(|root| RecordSource::Below {
            root,
            depth: 3,
            suffix: format!("-{}.jsonl", context.conversation.id()),
            kind: RecordKind::Transcript,
        });
        source.into_iter().collect()
    }

    fn read_record(&self, kind: RecordKind, line: &str) -> Vec<Record> {
        match kind {
            RecordKind::Transcript => record::rollout(line),
            RecordKind::Hooks => Vec::new(),
        }
    }

    fn read_screen(&self, screen: &Screen) -> ScreenReading {
        screen::read(screen)
    }

    fn read_dialog(&self, screen: &Screen) -> Option<OpenDialog> {
        screen::dialog(screen)
    }

    /// Ctrl-Y brings back only what the last Ctrl-U has cut (measured). Ctrl-C would empty the box too, and ends Codex where it
    /// is empty already.
    fn draft_keys(&self) -> Option<DraftKeys> {
        Some(DraftKeys { cut: Key::Control('u'), restore: None })
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

    /// The directory also holds `.coordination.lock`, which is no conversation's.
    fn identity(&self) -> Identity {
        Identity::LockFile { directory: LOCKS }
    }

    fn holding(&self, context: &LaunchContext<'_>) -> Holding {
        let lock = format!("{}.lock", context.conversation.id());
        home(context).map_or(Holding::Untold, |home| Holding::OpenFile { path: home.join(LOCKS).join(lock) })
    }
}

fn home(context: &LaunchContext<'_>) -> Option<PathBuf> {
    context.directory("CODEX_HOME", ".codex")
}

/// `permissions` in Codex's words: who is asked, and what its sandbox lets a command do without asking.
fn permission_flags(permissions: Permissions) -> [&'static str; 4] {
    match permissions {
        Permissions::Bypass => ["-a", "never", "-s", "danger-full-access"],
        Permissions::AcceptEdits => ["-a", "on-request", "-s", "workspace-write"],
        Permissions::Ask => ["-a", "on-request", "-s", "read-only"],
    }
}

fn argv(context: &LaunchContext<'_>) -> Vec<OsString> {
    let agent = context.agent;
    let mut argv: Vec<OsString> = agent.runtime.command().iter().map(OsString::from).collect();
    if argv.is_empty() {
        argv.push("codex".into());
    }
    if let Conversation::Resume { id } = context.conversation {
        argv.extend(["resume".into(), id.into()]);
    }
    argv.push("--no-daemon".into());
    argv.extend(permission_flags(agent.permissions).map(OsString::from));
    // Named, because a conversation that began elsewhere would open a menu.
    argv.extend(["-C".into(), context.cwd.into()]);
    argv.push("--dangerously-bypass-hook-trust".into());
    for setting in ["check_for_update_on_startup=false", "features.daemon_auto_start=false", &trust(context.cwd)] {
        argv.extend(["-c".into(), setting.into()]);
    }
    if let Some(model) = &agent.model {
        argv.extend(["-m".into(), model.into()]);
    }
    argv.extend(agent.args.iter().map(OsString::from));
    argv
}

/// Trust in the working directory, as TOML: Codex asks for it even where it may do everything.
fn trust(cwd: &Path) -> String {
    // A JSON string is a TOML string.
    format!("projects={{{}={{trust_level=\"trusted\"}}}}", serde_json::Value::from(cwd.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture::{Setting, words};

    const COMMON: &str = "-C /srv/agent --dangerously-bypass-hook-trust -c check_for_update_on_startup=false \
-c features.daemon_auto_start=false -c projects={\"/srv/agent\"={trust_level=\"trusted\"}}";

    #[test]
    fn a_conversation_is_resumed_by_its_own_id_and_nothing_is_left_to_a_menu() {
        let mut setting = Setting::new("codex", &[]);
        let new = Conversation::New { id: "ours".into() };
        assert_eq!(
            words(&Codex.launch(&setting.context(&new))),
            format!("codex --no-daemon -a never -s danger-full-access {COMMON}")
        );
        setting.agent.model = Some("gpt-5".into());
        setting.agent.args = vec!["--search".into()];
        let known = Conversation::Resume { id: "theirs".into() };
        assert_eq!(
            words(&Codex.launch(&setting.context(&known))),
            format!("codex resume theirs --no-daemon -a never -s danger-full-access {COMMON} -m gpt-5 --search")
        );
    }

    #[test]
    fn an_agent_that_shall_ask_is_never_started_with_full_access() {
        let mut setting = Setting::new("codex", &[]);
        let new = Conversation::New { id: "ours".into() };
        for (permissions, flags) in [
            (Permissions::Ask, "-a on-request -s read-only"),
            (Permissions::AcceptEdits, "-a on-request -s workspace-write"),
        ] {
            setting.agent.permissions = permissions;
            let line = words(&Codex.launch(&setting.context(&new)));
            assert!(line.contains(flags) && !line.contains("danger-full-access") && !line.contains("never"), "{line}");
        }
    }

    #[test]
    fn a_directory_s_odd_name_stays_a_name() {
        assert_eq!(trust(Path::new("/a\"b\\c")), r#"projects={"/a\"b\\c"={trust_level="trusted"}}"#);
    }

    #[test]
    fn its_home_is_there_before_it_starts_and_its_records_are_looked_for_in_it() {
        let known = Conversation::Resume { id: "u".into() };
        for (variables, home) in
            [(vec![("HOME", "/h")], "/h/.codex"), (vec![("HOME", "/h"), ("CODEX_HOME", "/c")], "/c")]
        {
            let setting = Setting::new("codex", &variables);
            let context = setting.context(&known);
            assert_eq!(Codex.launch(&context).seeds, [Seed::Directory { path: home.into() }]);
            let root = Path::new(home).join("sessions");
            let source =
                RecordSource::Below { root, depth: 3, suffix: "-u.jsonl".into(), kind: RecordKind::Transcript };
            assert_eq!(Codex.records(&context), [source]);
        }
    }
}
