//! What a changed agents.yaml changes, as data: pure. What follows from it is for whoever runs the fleet.

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::{Agent, Fleet, RuntimeConfig};
use crate::model::Slug;

/// One difference between two fleets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An agent is new: it is launched.
    Launch {
        /// Whose.
        agent: Slug,
    },
    /// An agent is gone: its session is held, and later ended.
    Retire {
        /// Whose.
        agent: Slug,
    },
    /// Only a new start of its process makes the agent what the file says: it is restarted once it is idle, and resumed.
    Restart {
        /// Whose.
        agent: Slug,
        /// The keys that differ.
        keys: Vec<&'static str>,
    },
    /// An agent's daily prompt comes at another time.
    Reschedule {
        /// Whose.
        agent: Slug,
    },
    /// What takes effect by itself, with the agent's next prompt or look.
    Update {
        /// Whose.
        agent: Slug,
        /// The keys that differ.
        keys: Vec<&'static str>,
    },
    /// A key of the whole fleet that takes effect at once.
    Fleet {
        /// Which.
        key: &'static str,
    },
    /// A key of the whole fleet that the running fleetd can't take: sessions, clones or workspaces would be elsewhere.
    NextStart {
        /// Which.
        key: &'static str,
    },
}

/// Everything that differs, fleet first, then the agents in the order of `to`, then those that are gone.
pub fn changes(from: &Fleet, to: &Fleet) -> Vec<Change> {
    let mut changes = Vec::new();
    for (key, differs) in [
        ("reposDir", from.repos_dir != to.repos_dir),
        ("workspacesDir", from.workspaces_dir != to.workspaces_dir),
        ("tmux", from.tmux_socket != to.tmux_socket),
    ] {
        changes.extend(differs.then_some(Change::NextStart { key }));
    }
    for (key, differs) in [
        ("stagger", from.stagger != to.stagger),
        ("launchStagger", from.launch_stagger != to.launch_stagger),
        ("retireAfter", from.retire_after != to.retire_after),
        ("catchUp", from.catch_up != to.catch_up),
        ("statusChannel", from.status_channel != to.status_channel),
        ("slack", from.slack != to.slack),
        ("idleStop", from.idle_stop != to.idle_stop),
        ("rule", from.rule != to.rule),
    ] {
        changes.extend(differs.then_some(Change::Fleet { key }));
    }
    for agent in &to.agents {
        match from.agent(&agent.slug) {
            None => changes.push(Change::Launch { agent: agent.slug.clone() }),
            Some(before) => changes.extend(of_agent(before, agent)),
        }
    }
    let gone = from.agents.iter().filter(|agent| to.agent(&agent.slug).is_none());
    changes.extend(gone.map(|agent| Change::Retire { agent: agent.slug.clone() }));
    changes
}

fn of_agent(from: &Agent, to: &Agent) -> Vec<Change> {
    let agent = || to.slug.clone();
    let pick = |keys: Vec<(&'static str, bool)>| -> Vec<&'static str> {
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    };
    // How a line program's prompt looks is read off its screen, not told to it.
    let restarts = pick(vec![
        ("runtime", from.runtime.word() != to.runtime.word()),
        ("command", from.runtime.command() != to.runtime.command()),
        ("args", from.args != to.args),
        ("env", env(from) != env(to)),
        ("model", from.model != to.model),
        ("permissions", from.permissions != to.permissions),
    ]);
    let updates = pick(vec![
        ("prompt", line_prompt(&from.runtime) != line_prompt(&to.runtime)),
        ("repos", from.repos != to.repos),
        ("context", from.compact_at != to.compact_at),
        ("memory", from.memory != to.memory),
        ("disk", from.disk != to.disk),
        ("slackChannel", from.slack_channel != to.slack_channel),
        ("slack", from.slack != to.slack),
        ("dailyPrompt", from.daily_prompt != to.daily_prompt),
        ("initPrompt", from.init_prompt != to.init_prompt),
    ]);
    let mut changes = Vec::new();
    if !restarts.is_empty() {
        changes.push(Change::Restart { agent: agent(), keys: restarts });
    }
    if from.schedule != to.schedule {
        changes.push(Change::Reschedule { agent: agent() });
    }
    if !updates.is_empty() {
        changes.push(Change::Update { agent: agent(), keys: updates });
    }
    changes
}

fn line_prompt(runtime: &RuntimeConfig) -> Option<&str> {
    match runtime {
        RuntimeConfig::Command { prompt, .. } => prompt.as_deref(),
        RuntimeConfig::Claude { .. } | RuntimeConfig::Codex { .. } => None,
    }
}

fn env(agent: &Agent) -> Vec<(&str, &str)> {
    agent.env.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect()
}

impl Agent {
    /// What a process notes of its start: the word of its runtime and, behind a space, [`Agent::launch_fingerprint`].
    pub fn launch_note(&self) -> String {
        format!("{} {}", self.runtime.word(), self.launch_fingerprint())
    }

    /// What only a new start of the agent's process can change, as a hash: two agents of one hash run alike. Of `env` nothing
    /// but the hash leaves this room.
    pub fn launch_fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut take = |text: &str| {
            // The length in front keeps two neighbours from being read as one.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        take(self.runtime.word());
        for list in [self.runtime.command(), self.args.as_slice()] {
            take(&list.len().to_string());
            list.iter().for_each(|word| take(word));
        }
        for (name, value) in env(self) {
            take(name);
            take(value);
        }
        take(self.model.as_deref().unwrap_or_default());
        take(match self.permissions {
            super::Permissions::Bypass => "bypass",
            super::Permissions::AcceptEdits => "acceptEdits",
            super::Permissions::Ask => "ask",
        });
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, read};

    fn fleet(text: &str) -> Fleet {
        let environment = Environment::from_pairs([("HOME", "/home/ann")]);
        read(text, Path::new("/etc/fleet/agents.yaml"), &environment).unwrap()
    }

    fn told(from: &str, to: &str) -> Vec<String> {
        let line = |change: &Change| match change {
            Change::Launch { agent } => format!("launch {agent}"),
            Change::Retire { agent } => format!("retire {agent}"),
            Change::Restart { agent, keys } => format!("restart {agent} {}", keys.join(" ")),
            Change::Reschedule { agent } => format!("reschedule {agent}"),
            Change::Update { agent, keys } => format!("update {agent} {}", keys.join(" ")),
            Change::Fleet { key } => format!("fleet {key}"),
            Change::NextStart { key } => format!("next start {key}"),
        };
        changes(&fleet(from), &fleet(to)).iter().map(line).collect()
    }

    #[test]
    fn every_key_of_an_agent_has_its_consequence_and_a_new_prompt_or_schedule_restarts_nothing() {
        let base = "[{slug: a, runtime: command, command: [x], dailyPrompt: p, schedule: \"09:00\"}]";
        let with = |more: &str| base.replace("}]", &format!(", {more}}}]"));
        assert_eq!(told(base, base), [] as [&str; 0]);
        for (more, expected) in [
            ("args: [-v]", "restart a args"),
            ("env: {A: b}", "restart a env"),
            ("model: m", "restart a model"),
            ("permissions: ask", "restart a permissions"),
            ("prompt: '> '", "update a prompt"),
            ("repos: [a/b]", "update a repos"),
            ("context: {compactAt: 0.5}", "update a context"),
            ("memory: 4G", "update a memory"),
            ("disk: 4G", "update a disk"),
            ("slackChannel: '#a'", "update a slackChannel"),
            ("slack: {steer: []}", "update a slack"),
            ("initPrompt: i", "update a initPrompt"),
        ] {
            assert_eq!(told(base, &with(more)), [expected], "{more}");
            let same = fleet(base).agents[0].launch_fingerprint() == fleet(&with(more)).agents[0].launch_fingerprint();
            assert_eq!(same, !expected.starts_with("restart"), "{more}");
        }
        assert_eq!(told(base, &base.replace("09:00", "10:00")), ["reschedule a"]);
        assert_eq!(told(base, &base.replace("dailyPrompt: p", "dailyPrompt: q")), ["update a dailyPrompt"]);
        assert_eq!(told(base, &base.replace("[x]", "[y]")), ["restart a command"]);
        assert_eq!(told(base, &base.replace("command, command: [x]", "codex")), ["restart a runtime command"]);
    }

    #[test]
    fn agents_come_and_go_and_what_the_running_fleet_cannot_take_waits_for_the_next_start() {
        assert_eq!(told("[{slug: a}, {slug: b}]", "[{slug: c}, {slug: a}]"), ["launch c", "retire b"]);
        for (top, expected) in [
            ("reposDir: /x", "next start reposDir"),
            ("workspacesDir: /x", "next start workspacesDir"),
            ("tmux: {socket: x}", "next start tmux"),
            ("stagger: 1m", "fleet stagger"),
            ("launchStagger: 1m", "fleet launchStagger"),
            ("retireAfter: 1d", "fleet retireAfter"),
            ("catchUp: 1h", "fleet catchUp"),
            ("statusChannel: '#x'", "fleet statusChannel"),
            ("idleStop: {command: [x]}", "fleet idleStop"),
            ("slack: {steer: []}", "fleet slack"),
            ("rule: false", "fleet rule"),
        ] {
            assert_eq!(told("agents: [{slug: a}]", &format!("{top}\nagents: [{{slug: a}}]")), [expected]);
        }
    }

    #[test]
    fn two_agents_that_differ_only_in_where_a_word_ends_are_not_taken_for_one() {
        let of = |args: &str| fleet(&format!("[{{slug: a, args: {args}}}]")).agents[0].launch_fingerprint();
        assert_ne!(of("[ab, c]"), of("[a, bc]"));
        assert_ne!(of("[a]"), of("[a, '']"));
    }
}
