//! What a person thinks of how a turn went.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PromptId;

/// One person's word on a turn's outcome, set as a reaction on the message that tells it. Nothing is merged by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The prompt that opened the turn.
    pub turn: PromptId,
    /// Who, by their id in Slack.
    pub person: String,
    /// Whether they accept it.
    pub good: bool,
    /// The addresses of the pull requests that the turn's work names.
    pub pull_requests: Vec<String>,
    /// When.
    pub since: Timestamp,
    /// When they took it back; none while it stands.
    pub withdrawn: Option<Timestamp>,
}

impl Verdict {
    /// What a reaction says of an outcome, by the emoji's name; none where it says nothing.
    pub fn of_emoji(name: &str) -> Option<bool> {
        match name {
            "white_check_mark" | "heavy_check_mark" => Some(true),
            "x" | "heavy_multiplication_x" => Some(false),
            _ => None,
        }
    }
}
