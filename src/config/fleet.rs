//! The checked fleet: what the rest of the house reads. Every value here has been judged; nothing downstream checks again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::SecretString;

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
    /// Its channel, as written: `#name` or an id.
    pub slack_channel: Option<String>,
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
