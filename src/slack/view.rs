//! The fleet as people are shown it in Slack: plain data that the daemon fills in.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::{PromptId, Slug};

/// The whole fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetView {
    /// The agents, in file order.
    pub agents: Vec<AgentView>,
    /// What is wrong with the fleet as a whole.
    pub problems: Vec<String>,
    /// When the box stops itself, as far as that is announced.
    pub stops_at: Option<Timestamp>,
}

impl FleetView {
    /// Leaves what somebody may see who may see these agents. The box's own affairs are for those who see all of them.
    pub(super) fn narrow(&mut self, seen: &BTreeSet<Slug>) {
        let all = self.agents.len();
        self.agents.retain(|agent| seen.contains(&agent.agent));
        if self.agents.len() < all {
            self.problems.clear();
            self.stops_at = None;
        }
    }
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// Its name.
    pub agent: Slug,
    /// What it does, in one word.
    pub state: &'static str,
    /// More about that: what it asks, by what it is blocked.
    pub detail: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Who holds it.
    pub held_by: Option<String>,
    /// How many prompts wait.
    pub queued: usize,
    /// What holds the next one back.
    pub held: Option<String>,
    /// Its latest prompt.
    pub last: Option<LastView>,
    /// When its next nudge is due.
    pub next_nudge: Option<Timestamp>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// An agent's latest prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastView {
    /// Where it came from, in one word.
    pub source: &'static str,
    /// Who meant it.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// How far it has come.
    pub state: String,
}

/// A prompt that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedView {
    /// Its id.
    pub id: PromptId,
    /// For whom.
    pub agent: Slug,
    /// Where it came from, in one word.
    pub source: &'static str,
    /// Who meant it.
    pub who: String,
    /// When it came.
    pub at: Timestamp,
    /// How far it has come.
    pub state: String,
    /// What holds it back.
    pub held: Option<String>,
    /// Its first line.
    pub text: String,
}
