//! The checked fleet: what the rest of the house reads. Every value here has been judged; nothing downstream checks again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::SecretString;

use super::rights::SlackLists;
use crate::model::{Schedule, Slug};

/// The whole agents.yaml, checked.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The zone of schedules that name none.
    pub timezone: TimeZone,
    /// Canonical clones live here, `<repos_dir>/<owner>/<name>`. Absolute.
    pub repos_dir: PathBuf,
    /// An agent works in `<workspaces_dir>/<slug>`. Absolute.
    pub workspaces_dir: PathBuf,
    /// Agents due at the same minute start this far apart, in file order.
    pub stagger: Duration,
    /// Sessions that are launched at once start this far apart; 20 s after the first where they share an OAuth login.
    pub launch_stagger: Duration,
    /// An agent that agents.yaml does not name any more keeps its session this long.
    pub retire_after: Duration,
    /// What was said in Slack while nobody listened is passed on for so long.
    pub catch_up: Duration,
    /// The channel of the box's own news, as written: `#name` or an id.
    pub status_channel: Option<String>,
    /// Who may do what from Slack, where an agent says nothing else.
    pub slack: SlackLists,
    /// Whether, when and how the box stops itself.
    pub idle_stop: Option<IdleStop>,
    /// The rule typed below every prompt; none where the file says `rule: false`.
    pub rule: Option<String>,
    /// The tmux server's socket name, `fleet` unless told otherwise; `default` is the user's own server.
    pub tmux_socket: String,
    /// The agents, in file order.
    pub agents: Vec<Agent>,
}

impl Fleet {
    /// The agent of that name.
    pub fn agent(&self, slug: &Slug) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.slug == *slug)
    }
}

/// How a box that has nothing to do stops itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleStop {
    /// How long nothing may have happened.
    pub after: Duration,
    /// The program and its arguments; never read by a shell.
    pub command: Vec<String>,
}

/// One agent, checked.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its name.
    pub slug: Slug,
    /// Which CLI runs in its session.
    pub runtime: RuntimeConfig,
    /// Further arguments, passed as they are.
    pub args: Vec<String>,
    /// Variables added to the daemon's own environment. Values may be secrets.
    pub env: BTreeMap<String, SecretString>,
    /// The repositories it works in.
    pub repos: Vec<Repo>,
    /// The model, by the CLI's own name for it.
    pub model: Option<String>,
    /// What the CLI may do without asking.
    pub permissions: Permissions,
    /// At which share of its model's context, of 1, it is told to compact it; none where nobody asked for that.
    pub compact_at: Option<f64>,
    /// The most memory, in bytes, that all its processes may hold together.
    pub memory: Option<u64>,
    /// The most disk, in bytes, that its workspace may take.
    pub disk: Option<u64>,
    /// Its channel, as written: `#name` or an id.
    pub slack_channel: Option<String>,
    /// Who may do what with it from Slack, where that differs from the fleet's.
    pub slack: SlackLists,
    /// When its daily prompt is due. Some only where `daily_prompt` is.
    pub schedule: Option<Schedule>,
    /// The daily prompt.
    pub daily_prompt: Option<String>,
    /// Sent once, after the very first launch.
    pub init_prompt: Option<String>,
}

/// Which CLI, and what only that CLI needs to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeConfig {
    /// Claude Code; `command` replaces `claude`.
    Claude {
        /// The program and its first arguments.
        command: Vec<String>,
    },
    /// Codex; `command` replaces `codex`.
    Codex {
        /// The program and its first arguments.
        command: Vec<String>,
    },
    /// Any TUI or line program.
    Command {
        /// The program and its first arguments, at least the program.
        command: Vec<String>,
        /// The start of the line at which it waits for input, where it has one. Without it, silence means idle.
        prompt: Option<String>,
    },
}

impl RuntimeConfig {
    /// The word in agents.yaml.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Claude { .. } => "claude",
            Self::Codex { .. } => "codex",
            Self::Command { .. } => "command",
        }
    }

    /// The program and its first arguments.
    pub fn command(&self) -> &[String] {
        match self {
            Self::Claude { command } | Self::Codex { command } | Self::Command { command, .. } => command,
        }
    }
}

/// What an agent may do without asking a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permissions {
    /// Everything its user may: what an unattended fleet runs today.
    #[default]
    Bypass,
    /// The CLI's own questions.
    Ask,
    /// Edits of files without asking, the rest with.
    AcceptEdits,
}

/// `owner/name` on the forge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repo {
    /// The user or organisation.
    pub owner: String,
    /// The repository.
    pub name: String,
}

impl std::fmt::Display for Repo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}
