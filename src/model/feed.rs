//! What an agent did, as facts that were read from its own records. The feed only grows; each reader keeps its own cursor.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Blocked, Doing, PromptId, Slug, Todo, Work};

/// One row of the feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedRow {
    /// Its place in the feed, rising by at least one.
    pub seq: i64,
    /// When the agent did it, by the agent's record where that tells, else when it was read.
    pub at: Timestamp,
    /// Whose doing it was.
    pub agent: Slug,
    /// The prompt that opened the turn; none where a person typed into the pane.
    pub turn: Option<PromptId>,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// A thing an agent did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The agent took a prompt and a turn runs.
    TurnStarted {
        /// The first line of what it was asked, for people.
        summary: String,
    },
    /// It said something, in Markdown.
    Said {
        /// One whole block of its text.
        text: String,
    },
    /// It used a tool.
    UsedTool {
        /// The tool's name.
        tool: String,
        /// What with, in one line.
        detail: String,
        /// What kind of thing it does with it.
        #[serde(default, skip_serializing_if = "Doing::is_other")]
        doing: Doing,
    },
    /// It changed its own to-do list.
    Todos {
        /// The whole list as it is now, in its order.
        items: Vec<Todo>,
    },
    /// It waits for a person.
    Asked {
        /// What it asked.
        question: String,
        /// What would be done, in full, where it asked for leave and its record tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
    },
    /// A prompt was not taken, or it can't be told whether it was; the row's `turn` names it. Not the agent's doing, yet
    /// the prompt's author must read it where the answer would have stood.
    Undelivered {
        /// True where it may have been taken all the same.
        uncertain: bool,
        /// What happened, for people.
        why: String,
    },
    /// A prompt waits for longer than a minute; the row's `turn` names it. Not the agent's doing either.
    Held {
        /// What kind of thing holds it back, in one word.
        by: String,
        /// What, for people.
        why: String,
    },
    /// The agent took a prompt, the row's `turn`, into a turn that ran already.
    Steered {
        /// The prompt that opened that turn; what the agent says from here on belongs to it still.
        into: PromptId,
    },
    /// The turn ended.
    TurnEnded {
        /// How.
        outcome: Outcome,
        /// The tokens it took, where the record tells.
        usage: Option<Usage>,
        /// What else it came to.
        #[serde(default, skip_serializing_if = "Work::is_empty")]
        work: Work,
    },
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished.
    Completed,
    /// A person, or the agent's death, cut it short.
    Interrupted,
    /// The model's API or the agent failed.
    Failed {
        /// The agent's own words.
        reason: String,
        /// What must change before it can go on, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocked: Option<Blocked>,
    },
}

/// Tokens of one turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { input: self.input.saturating_add(other.input), output: self.output.saturating_add(other.output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_fleetd_stored_of_a_turn_is_read_as_it_was_and_stored_alike() {
        for old in [
            r#"{"fact":"used_tool","tool":"Bash","detail":"ls"}"#,
            r#"{"fact":"turn_ended","outcome":{"outcome":"completed"},"usage":null}"#,
            r#"{"fact":"turn_ended","outcome":{"outcome":"interrupted"},"usage":{"input":1,"output":2}}"#,
        ] {
            let fact: Fact = serde_json::from_str(old).unwrap();
            assert_eq!(serde_json::to_string(&fact).unwrap(), old);
        }
    }

    #[test]
    fn what_is_stored_of_a_turn_now_stays_readable() {
        for stored in [
            r#"{"fact":"used_tool","tool":"Bash","detail":"make test","doing":"testing"}"#,
            r#"{"fact":"todos","items":[{"text":"read","state":"done"},{"text":"fix","state":"active"},{"text":"test","state":"pending"}]}"#,
            r#"{"fact":"turn_ended","outcome":{"outcome":"completed"},"usage":null,"work":{"seconds":240,"tools":31,"cost":0.42,"pull_requests":[{"owner":"a","repo":"b","number":7}]}}"#,
        ] {
            let fact: Fact = serde_json::from_str(stored).unwrap();
            assert_eq!(serde_json::to_string(&fact).unwrap(), stored);
        }
    }
}
