//! What an agent asks a person in a dialog of its CLI, and how far the answer has come.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DialogKind, Slug};

/// A dialog as its screen shows it. Two looks at one dialog are equal, wherever its mark stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// What kind.
    pub kind: DialogKind,
    /// All that stands above its options: what it asks, and what would be done.
    pub text: String,
    /// Whether the screen shows that text from its beginning on.
    pub whole: bool,
    /// What can be chosen, in order.
    pub options: Vec<Choice>,
}

impl Dialog {
    /// Whether it asks the same, whatever a person has begun to write into it.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        (self.kind, &self.text, self.options.len()) == (other.kind, &other.text, other.options.len())
    }
}

/// One option of a dialog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The key that takes it.
    pub key: AnswerKey,
    /// What it says.
    pub label: String,
    /// Whether it only opens a line for an answer in one's own words.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub typed: bool,
}

/// A key that takes an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKey {
    /// A digit or a letter.
    Char(char),
    /// Escape.
    Escape,
}

/// A question that was put to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The row of the feed that tells of it; what makes it another one than a later question in the same words.
    pub seq: i64,
    /// Who asks.
    pub agent: Slug,
    /// The dialog.
    pub dialog: Dialog,
    /// What would be done, in full, by the agent's own record; none where only the screen tells.
    pub run: Option<String>,
    /// When it was seen.
    pub asked: Timestamp,
    /// How far its answer has come.
    pub state: QuestionState,
    /// Whether people were told that nobody answers.
    pub overdue: bool,
}

impl Question {
    /// Whether all that would be done can be shown to whoever decides.
    pub fn is_whole(&self) -> bool {
        self.dialog.whole || self.run.is_some()
    }

    /// The place of the option that takes an answer in one's own words, where it is no leave that is asked for.
    pub fn own_words(&self) -> Option<usize> {
        self.dialog.options.iter().position(|option| option.typed).filter(|_| !self.asks_leave())
    }

    /// Whether it asks for leave, and not only for an opinion.
    pub fn asks_leave(&self) -> bool {
        self.dialog.kind != DialogKind::Question || self.run.is_some()
    }
}

/// How far the answer to a question has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum QuestionState {
    /// Nobody has answered.
    Open,
    /// Somebody has; nothing was pressed yet.
    Answered {
        /// What.
        answer: Answer,
    },
    /// The answer's key is about to be pressed, or was.
    Pressing {
        /// What.
        answer: Answer,
    },
    /// It is over.
    Settled {
        /// How.
        end: QuestionEnd,
    },
}

impl QuestionState {
    /// The word under which it is stored.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered { .. } => "answered",
            Self::Pressing { .. } => "pressing",
            Self::Settled { .. } => "settled",
        }
    }
}

/// Somebody's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whose, by the id in Slack.
    pub user: String,
    /// The place of the option in the dialog.
    pub option: usize,
    /// What is typed, in one line, where that option is an answer in one's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum QuestionEnd {
    /// The answer was typed and the dialog closed.
    Given {
        /// What.
        answer: Answer,
    },
    /// The dialog closed without us: somebody answered in the pane, or the agent went on.
    Elsewhere,
    /// Somebody answered, and the dialog was closed already. Nothing was typed.
    TooLate {
        /// What.
        answer: Answer,
    },
    /// The agent was started anew.
    Restarted,
    /// The key may have been pressed, and it can't be told what came of it. It is not pressed again.
    Unsure {
        /// What.
        answer: Answer,
        /// Whether the dialog is still there.
        open: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_question_stays_readable() {
        let dialog = Dialog {
            kind: DialogKind::Permission,
            text: "Do you want to proceed?".into(),
            whole: true,
            options: vec![
                Choice { key: AnswerKey::Char('1'), label: "Yes".into(), typed: false },
                Choice { key: AnswerKey::Escape, label: "Type".into(), typed: true },
            ],
        };
        let stored = r#"{"kind":"permission","text":"Do you want to proceed?","whole":true,"options":[{"key":{"char":"1"},"label":"Yes"},{"key":"escape","label":"Type","typed":true}]}"#;
        assert_eq!(serde_json::to_string(&dialog).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Dialog>(stored).unwrap(), dialog);
        let answer = Answer { user: "U1".into(), option: 0, text: None };
        let settled = |end| QuestionState::Settled { end };
        for (state, stored) in [
            (QuestionState::Open, r#"{"state":"open"}"#.to_owned()),
            (
                QuestionState::Answered { answer: answer.clone() },
                r#"{"state":"answered","answer":{"user":"U1","option":0}}"#.into(),
            ),
            (
                QuestionState::Pressing { answer: answer.clone() },
                r#"{"state":"pressing","answer":{"user":"U1","option":0}}"#.into(),
            ),
            (
                settled(QuestionEnd::Given { answer: answer.clone() }),
                r#"{"state":"settled","end":{"end":"given","answer":{"user":"U1","option":0}}}"#.into(),
            ),
            (settled(QuestionEnd::Elsewhere), r#"{"state":"settled","end":{"end":"elsewhere"}}"#.into()),
            (settled(QuestionEnd::Restarted), r#"{"state":"settled","end":{"end":"restarted"}}"#.into()),
            (
                settled(QuestionEnd::TooLate { answer: answer.clone() }),
                r#"{"state":"settled","end":{"end":"too_late","answer":{"user":"U1","option":0}}}"#.into(),
            ),
            (
                settled(QuestionEnd::Unsure { answer, open: true }),
                r#"{"state":"settled","end":{"end":"unsure","answer":{"user":"U1","option":0},"open":true}}"#.into(),
            ),
        ] {
            assert_eq!(serde_json::to_string(&state).unwrap(), stored);
            assert_eq!(serde_json::from_str::<QuestionState>(&stored).unwrap(), state);
        }
    }
}
