//! What `fleet doctor` says, as data. Programs read it: a name here never changes its meaning.

use serde::{Deserialize, Serialize};

use crate::model::Slug;
use crate::model::text::printable;

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this program.
    pub version: String,
    /// What `--fix` did, in order.
    pub fixed: Vec<Fixed>,
    /// What was found, in the order of [`Check`].
    pub lines: Vec<Line>,
}

/// One mend of `--fix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixed {
    /// What was done, to what.
    pub what: String,
    /// Why it could not be done.
    pub error: Option<String>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What was looked at.
    pub check: Check,
    /// Which agents it is about; none where it is about the box.
    pub agents: Vec<Slug>,
    /// How it is.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was found, for people.
    pub found: String,
}

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or will, but somebody should look.
    Warn {
        /// How to mend it.
        mend: String,
    },
    /// Something of the fleet does not work.
    Fail {
        /// How to mend it.
        mend: String,
    },
}

impl Verdict {
    /// The word in front of a line.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn { .. } => "warn",
            Self::Fail { .. } => "fail",
        }
    }
}

/// What is looked at, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// agents.yaml.
    Config,
    /// The installed tmux and its socket's directory.
    Tmux,
    /// The tmux server that runs on the fleet's socket.
    TmuxServer,
    /// A prompt to a practice agent, through a daemon of its own.
    SelfTest,
    /// An agent's program.
    Program,
    /// A start of it that types nothing.
    Start,
    /// Its login.
    Login,
    /// Its trust in the agent's directory.
    Trust,
    /// Slack's bot token.
    SlackBot,
    /// Its scopes.
    SlackScopes,
    /// Slack's app token.
    SlackApp,
    /// An agent's channel.
    SlackChannel,
    /// git.
    Git,
    /// A repository's clone.
    Clone,
    /// An agent's worktree.
    Worktree,
    /// Room on a disk.
    Disk,
    /// How many files may be open.
    OpenFiles,
    /// How many processes may run.
    Processes,
    /// How many files and directories may be watched.
    Inotify,
    /// The time zone.
    Zone,
    /// The system's clock.
    Clock,
    /// The systemd unit.
    Unit,
    /// The state directory.
    State,
    /// The database.
    Database,
    /// The daemon.
    Daemon,
}

impl Check {
    /// Its name, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Tmux => "tmux",
            Self::TmuxServer => "tmux-server",
            Self::SelfTest => "self-test",
            Self::Program => "program",
            Self::Start => "start",
            Self::Login => "login",
            Self::Trust => "trust",
            Self::SlackBot => "slack-bot",
            Self::SlackScopes => "slack-scopes",
            Self::SlackApp => "slack-app",
            Self::SlackChannel => "slack-channel",
            Self::Git => "git",
            Self::Clone => "clone",
            Self::Worktree => "worktree",
            Self::Disk => "disk",
            Self::OpenFiles => "open-files",
            Self::Processes => "processes",
            Self::Inotify => "inotify",
            Self::Zone => "zone",
            Self::Clock => "clock",
            Self::Unit => "unit",
            Self::State => "state",
            Self::Database => "database",
            Self::Daemon => "daemon",
        }
    }
}

impl Line {
    pub(super) fn ok(check: Check, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, found)
    }

    pub(super) fn warn(check: Check, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn { mend: one_line(&mend.into()) }, found)
    }

    pub(super) fn fail(check: Check, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail { mend: one_line(&mend.into()) }, found)
    }

    pub(super) fn of(mut self, agent: &Slug) -> Self {
        self.agents.push(agent.clone());
        self
    }

    fn new(check: Check, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { check, agents: Vec::new(), verdict, found: one_line(&found.into()) }
    }
}

/// Words of other programs stand in a finding: nothing of them may drive a terminal or break a line.
fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The findings in the order of their checks; the same finding about several agents is told once.
pub(super) fn in_order(lines: Vec<Line>) -> Vec<Line> {
    let mut told: Vec<Line> = Vec::new();
    for line in lines {
        let same = |other: &&mut Line| {
            !line.agents.is_empty()
                && !other.agents.is_empty()
                && (other.check, &other.verdict, &other.found) == (line.check, &line.verdict, &line.found)
        };
        match told.iter_mut().find(same) {
            Some(other) => other.agents.extend(line.agents),
            None => told.push(line),
        }
    }
    // Stable: within a check the order stays.
    told.sort_by_key(|line| line.check);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_about_every_agent_is_told_once_and_in_a_fixed_place() {
        let slug = |text: &str| text.parse::<Slug>().unwrap();
        let login = |agent: &str| Line::fail(Check::Login, "not logged in", "log in").of(&slug(agent));
        let lines = in_order(vec![
            Line::ok(Check::Daemon, "it runs"),
            login("ann"),
            Line::ok(Check::Login, "by $X").of(&slug("bob")),
            login("carol"),
            Line::ok(Check::Config, "good"),
        ]);
        let shown: Vec<_> = lines.iter().map(|line| (line.check.name(), line.agents.len())).collect();
        assert_eq!(shown, [("config", 0), ("login", 2), ("login", 1), ("daemon", 0)]);
    }

    #[test]
    fn another_program_s_words_cannot_drive_the_terminal() {
        assert_eq!(Line::ok(Check::Git, "a\u{1b}[31m\r\nb\tc").found, "a[31m b c");
    }

    #[test]
    fn a_check_has_one_name_everywhere() {
        for check in
            [Check::Config, Check::TmuxServer, Check::SelfTest, Check::SlackScopes, Check::OpenFiles, Check::Daemon]
        {
            assert_eq!(serde_json::to_value(check).unwrap(), check.name());
        }
    }
}
