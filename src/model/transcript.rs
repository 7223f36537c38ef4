//! The record that an agent of runtime `command` may keep: JSON lines, appended to the file that `$FLEET_TRANSCRIPT` names.
//!
//! It is a public format: any program that appends these lines gets proof of delivery, its answers mirrored and its tokens
//! counted. The practice agent writes it. One line is one object, appended by one write, ended by a newline:
//!
//! ```json
//! {"at":"2026-11-20T09:00:00Z","type":"conversation","id":"6f1c…"}
//! {"at":"2026-11-20T09:00:01Z","type":"prompt","text":"the whole prompt, exactly as it arrived"}
//! {"at":"2026-11-20T09:00:02Z","type":"tool","tool":"shell","detail":"make test","doing":"testing"}
//! {"at":"2026-11-20T09:00:02Z","type":"todos","items":[{"text":"read","state":"done"},{"text":"fix","state":"active"}]}
//! {"at":"2026-11-20T09:00:02Z","type":"asked","question":"Do you want to run `make test`?"}
//! {"at":"2026-11-20T09:00:03Z","type":"said","text":"one whole block of Markdown"}
//! {"at":"2026-11-20T09:00:04Z","type":"turn_ended","outcome":"completed","usage":{"input":12,"output":34},"cost":0.42}
//! ```
//!
//! `doing` is `reading`, `searching`, `editing`, `running`, `testing`, `browsing` or `delegating`, and may be left out.
//! `todos` is the whole to-do list each time; a `state` is `pending`, `active` or `done`. `outcome` is `completed`,
//! `interrupted`, or `failed` with a `reason`; `usage` (tokens) and `cost` (US dollars of the turn) may be left out. Keys that
//! are not named here are ignored, and so is a line that can't be read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Doing, Dollars, Outcome, Todo, Usage};

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptLine {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub entry: TranscriptEntry,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TranscriptEntry {
    /// The conversation that runs from here on.
    Conversation {
        /// Its id, any text that is new.
        id: String,
    },
    /// A prompt was taken and a turn runs.
    Prompt {
        /// Its whole text.
        text: String,
    },
    /// The agent said something, in Markdown.
    Said {
        /// One whole block.
        text: String,
    },
    /// The agent used a tool.
    Tool {
        /// Its name.
        tool: String,
        /// What with, in one line.
        detail: String,
        /// What kind of thing it does with it.
        #[serde(default, skip_serializing_if = "Doing::is_other")]
        doing: Doing,
    },
    /// The agent changed its own to-do list.
    Todos {
        /// The whole list.
        items: Vec<Todo>,
    },
    /// The agent waits for a person.
    Asked {
        /// What it asks.
        question: String,
    },
    /// The turn ended.
    TurnEnded {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// What it cost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// The same in money.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Dollars>,
    },
}

impl TranscriptLine {
    /// The line without its newline.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads one line; none where it is broken, unfinished or of a type that is not known.
    pub fn from_json(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_written_by_anybody_to_the_documented_format_is_read_and_written_back_the_same() {
        let lines = [
            r#"{"at":"2026-11-20T09:00:00Z","type":"conversation","id":"c1"}"#,
            r#"{"at":"2026-11-20T09:00:01Z","type":"prompt","text":"a\nb 🦀"}"#,
            r#"{"at":"2026-11-20T09:00:02Z","type":"tool","tool":"shell","detail":"make test"}"#,
            r#"{"at":"2026-11-20T09:00:02Z","type":"tool","tool":"shell","detail":"make test","doing":"testing"}"#,
            r#"{"at":"2026-11-20T09:00:02Z","type":"todos","items":[{"text":"a","state":"done"},{"text":"b","state":"pending"}]}"#,
            r#"{"at":"2026-11-20T09:00:02Z","type":"asked","question":"Run?"}"#,
            r#"{"at":"2026-11-20T09:00:03Z","type":"said","text":"done"}"#,
            r#"{"at":"2026-11-20T09:00:04Z","type":"turn_ended","outcome":"completed","usage":{"input":1,"output":2}}"#,
            r#"{"at":"2026-11-20T09:00:04Z","type":"turn_ended","outcome":"completed","cost":0.42}"#,
            r#"{"at":"2026-11-20T09:00:04Z","type":"turn_ended","outcome":"interrupted"}"#,
            r#"{"at":"2026-11-20T09:00:04Z","type":"turn_ended","outcome":"failed","reason":"overloaded"}"#,
        ];
        for line in lines {
            let read = TranscriptLine::from_json(line).unwrap_or_else(|| panic!("unread: {line}"));
            assert_eq!(read.to_json().unwrap(), line);
        }
    }

    #[test]
    fn a_broken_or_unknown_line_is_no_entry() {
        for line in [
            "",
            "{",
            "[]",
            "null",
            r#"{"at":"2026-11-20T09:00:00Z","type":"prompt","te"#,
            r#"{"type":"prompt","text":"x"}"#,
        ] {
            assert_eq!(TranscriptLine::from_json(line), None, "{line}");
        }
        let future = r#"{"at":"2026-11-20T09:00:00Z","type":"dreamt","of":"sheep"}"#;
        assert_eq!(TranscriptLine::from_json(future), None);
        let more = r#"{"at":"2026-11-20T09:00:00Z","type":"prompt","text":"x","colour":"red"}"#;
        assert!(TranscriptLine::from_json(more).is_some());
    }
}
