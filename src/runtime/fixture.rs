//! What the tests of this room share: a setting to launch in, and screens and records that real CLIs left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Conversation, Launch, LaunchContext, Record, RecordKind, Runtime};
use crate::config::{Agent, Permissions, RuntimeConfig};
use crate::tmux::Screen;

/// What a launch depends on, owned.
pub(super) struct Setting {
    pub(super) agent: Agent,
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) fleetd: PathBuf,
    pub(super) root: bool,
}

impl Setting {
    /// The agent `ann` in `/srv/agent`, whose CLI is called by its usual name.
    pub(super) fn new(program: &str, variables: &[(&str, &str)]) -> Self {
        let command = vec![program.to_owned()];
        let runtime =
            if program == "codex" { RuntimeConfig::Codex { command } } else { RuntimeConfig::Claude { command } };
        let agent = Agent {
            slug: "ann".parse().unwrap(),
            runtime,
            args: Vec::new(),
            env: BTreeMap::new(),
            repos: Vec::new(),
            model: None,
            permissions: Permissions::Bypass,
            compact_at: None,
            memory: None,
            disk: None,
            slack_channel: None,
            slack: Default::default(),
            schedule: None,
            daily_prompt: None,
            init_prompt: None,
        };
        let environment = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        Self { agent, environment, fleetd: "/usr/bin/fleetd".into(), root: false }
    }

    pub(super) fn context<'a>(&'a self, conversation: &'a Conversation) -> LaunchContext<'a> {
        LaunchContext {
            agent: &self.agent,
            cwd: Path::new("/srv/agent"),
            state: Path::new("/state"),
            fleetd: &self.fleetd,
            environment: &self.environment,
            conversation,
            root: self.root,
        }
    }
}

/// A launch's arguments in one line.
pub(super) fn words(launch: &Launch) -> String {
    launch.argv.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// The lines of a frozen record of a real run.
pub(super) fn lines(version: &str, name: &str) -> Vec<String> {
    let path = format!("{}/tests/fixtures/records/{version}/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(str::to_owned).collect()
}

/// Every measure that such a record tells, one line each.
pub(super) fn measured(runtime: &dyn Runtime, kind: RecordKind, version: &str, name: &str) -> String {
    let lines = lines(version, name);
    let records = lines.iter().flat_map(|line| runtime.read_record(kind, line));
    let records = records.filter(|record| matches!(record, Record::Measured { .. }));
    records.map(|record| format!("{record:?}\n")).collect()
}

/// Everything that such a record says but for its measures, one line each.
pub(super) fn told(runtime: &dyn Runtime, kind: RecordKind, version: &str, name: &str) -> String {
    let lines = lines(version, name);
    let records = lines.iter().flat_map(|line| runtime.read_record(kind, line));
    let records = records.filter(|record| !matches!(record, Record::Measured { .. }));
    records.map(|record| format!("{record:?}\n")).collect()
}

/// A screen as `tmux capture-pane -p -e` printed it, with its cursor (`column row`) in the file beside it.
pub(super) fn screen(version: &str, name: &str) -> Screen {
    let base = format!("{}/tests/fixtures/screens/{version}/{name}", env!("CARGO_MANIFEST_DIR"));
    let read = |suffix: &str| {
        std::fs::read_to_string(format!("{base}.{suffix}")).unwrap_or_else(|error| panic!("{base}.{suffix}: {error}"))
    };
    let cursor: Vec<usize> = read("cursor").split_whitespace().map(|number| number.parse().unwrap()).collect();
    Screen::parse(read("ansi").lines(), cursor[0], cursor[1])
}
