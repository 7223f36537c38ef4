//! News of the box itself, for the status channel: what no agent's own thread would tell.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Slug;

/// How many agents one piece of news names.
const NAMED: usize = 20;

/// One piece of news. Its text is [`fmt::Display`]'s, one line of Slack's own Markdown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// The daemon has come up and looked at every agent.
    Booted {
        /// Agents that ran already and were left alone.
        running: u32,
        /// Agents that were resumed as the conversation they were.
        resumed: u32,
        /// Agents that began a new conversation.
        fresh: u32,
        /// Agents that could not be started.
        failed: Vec<Slug>,
    },
    /// An agent ended soon after each of its last starts.
    Crashed {
        /// Whose.
        agent: Slug,
        /// How it ended, with its last words.
        how: String,
        /// How many starts in a row.
        times: u32,
    },
    /// An agent can't go on without a person, or before a certain time.
    Blocked {
        /// Whose.
        agent: Slug,
        /// By what, and what to do.
        why: String,
    },
    /// A blocked agent goes on.
    Unblocked {
        /// Whose.
        agent: Slug,
    },
    /// Nobody has answered what an agent asks.
    Unanswered {
        /// Whose question.
        agent: Slug,
        /// What it asks.
        question: String,
    },
    /// A daily prompt was not given.
    NudgeSkipped {
        /// Whose.
        agent: Slug,
        /// The local day.
        day: Date,
        /// Why.
        why: String,
    },
    /// A changed agents.yaml was not taken; the fleet runs on as it was.
    ConfigRefused {
        /// The mistakes.
        why: String,
    },
    /// A changed agents.yaml was taken.
    ConfigTaken {
        /// What it changed, a line each.
        changes: Vec<String>,
    },
    /// An agent was taken out of agents.yaml.
    Retired {
        /// Whose.
        agent: Slug,
        /// When its session ends.
        until: Timestamp,
    },
    /// A retired agent's session has ended.
    Ended {
        /// Whose.
        agent: Slug,
    },
    /// A disk is nearly full.
    LowDisk {
        /// A directory of ours on it.
        path: String,
        /// What is left, in bytes.
        free: u64,
    },
    /// An agent holds more memory or disk than agents.yaml gives it.
    OverCeiling {
        /// Whose.
        agent: Slug,
        /// Of what, how much, and what follows.
        what: String,
    },
    /// The box will stop itself.
    StopAhead {
        /// When.
        at: Timestamp,
    },
    /// The box was about to stop itself, and does not.
    StopCalledOff {
        /// Why.
        why: String,
    },
    /// Something about the box, in its own words.
    Problem {
        /// What.
        what: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted { running, resumed, fresh, failed } => {
                write!(
                    f,
                    "fleetd is up: {running} running, {resumed} resumed, {fresh} fresh, {} failed",
                    failed.len()
                )?;
                if failed.is_empty() { Ok(()) } else { write!(f, " ({})", names(failed)) }
            }
            Self::Crashed { agent, how, times } => {
                write!(
                    f,
                    "*{agent}* ended soon after each of its last {times} starts: {how}. It is tried again after growing pauses; `fleet reconcile` tries at once"
                )
            }
            Self::Blocked { agent, why } => write!(f, "*{agent}* is blocked: {why}"),
            Self::Unblocked { agent } => write!(f, "*{agent}* goes on"),
            Self::Unanswered { agent, question } => {
                write!(
                    f,
                    "nobody has answered *{agent}* for an hour: {question} (in its channel, or `fleet attach {agent}`)"
                )
            }
            Self::NudgeSkipped { agent, day, why } => write!(f, "*{agent}* got no daily prompt on {day}: {why}"),
            Self::ConfigRefused { why } => {
                write!(f, "a changed agents.yaml was not taken, the fleet runs on as it was: {why}")
            }
            Self::ConfigTaken { changes } => write!(f, "a changed agents.yaml was taken: {}", changes.join("; ")),
            Self::Retired { agent, until } => {
                write!(
                    f,
                    "*{agent}* is not in agents.yaml any more: it gets no prompts, and its session ends {}",
                    slack_time(*until)
                )
            }
            Self::Ended { agent } => write!(
                f,
                "the session of *{agent}*, which was taken out of agents.yaml, has ended; `fleet gc` shows what it left"
            ),
            Self::LowDisk { path, free } => write!(f, "the disk of {path} is nearly full: {} left", size(*free)),
            Self::OverCeiling { agent, what } => write!(f, "*{agent}* {what}"),
            Self::StopAhead { at } => {
                write!(
                    f,
                    "nothing is to be done: this box stops itself {}. `fleet keep-awake 2h` keeps it up",
                    slack_time(*at)
                )
            }
            Self::StopCalledOff { why } => write!(f, "this box stays up: {why}"),
            Self::Problem { what } => f.write_str(what),
        }
    }
}

fn names(agents: &[Slug]) -> String {
    let more = agents.len().saturating_sub(NAMED);
    let named = agents.iter().take(NAMED).map(Slug::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// Slack shows it in each reader's own zone: <https://docs.slack.dev/messaging/formatting-message-text#date-formatting>.
fn slack_time(at: Timestamp) -> String {
    format!("<!date^{}^{{date_short_pretty}} at {{time}}|{}>", at.as_second(), at.strftime("%F %H:%M UTC"))
}

/// A number of bytes for people: `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut number = bytes as f64;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{number:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_the_unit_that_people_think_in() {
        for (bytes, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536 << 20, "1.5 GiB"), (3 << 40, "3.0 TiB")] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_boot_names_whom_it_could_not_bring_back() {
        let boot = |failed: &[&str]| {
            let failed = failed.iter().map(|slug| slug.parse().unwrap()).collect();
            Notice::Booted { running: 1, resumed: 2, fresh: 3, failed }.to_string()
        };
        assert_eq!(boot(&[]), "fleetd is up: 1 running, 2 resumed, 3 fresh, 0 failed");
        assert_eq!(boot(&["a", "b"]), "fleetd is up: 1 running, 2 resumed, 3 fresh, 2 failed (a, b)");
    }
}
