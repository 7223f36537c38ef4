//! The local API's whole language, its version first. HTTP/1.1 with JSON over the unix socket `fleetd.sock`.
//!
//! Client and daemon are one binary, yet an upgrade may leave an old client beside a new daemon: both send
//! [`VERSION_HEADER`], and a mismatch is an error that says so.

mod house;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Blocked, DialogKind, FeedRow, Mode, PromptId, Slug, Source, Transition, Verdict};

pub use house::{
    Awake, ChangeKind, Gc, GcItem, GcKind, GcOutcome, GcReport, KeepAwake, Plan, PlanQuestion, PlannedChange,
};

/// The version of everything below. A changed meaning is a new version.
pub const VERSION: &str = "1";
/// The header that carries it, both ways.
pub const VERSION_HEADER: &str = "fleet-protocol";

/// `POST /v1/prompts`: keep a prompt. Answered by [`Kept`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Chosen by the client, so that asking twice is asking once. Also the content of an offline prompt's file.
    pub id: PromptId,
    /// For whom.
    pub agent: Slug,
    /// Who means it.
    pub who: String,
    /// The text.
    pub body: String,
    /// When it may be typed.
    #[serde(default)]
    pub mode: Mode,
}

/// The prompt is in the inbox. Also the answer to `POST /v1/agents/<slug>/nudge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its id.
    pub id: PromptId,
}

/// `GET /v1/prompts/<id>?until=<confirmed|done>&seconds=<n>`: a prompt's life so far, once it is settled that far or the
/// time is over. Answered by [`PromptView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How far to wait; without it, the answer comes at once.
    pub until: Option<Until>,
    /// For how long at most.
    #[serde(default)]
    pub seconds: u64,
}

/// How far a prompt is waited for. `failed` and `uncertain` end every wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The agent's own record holds it.
    Confirmed,
    /// Its turn ended.
    Done,
}

/// A prompt's whole life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptView {
    /// Its id.
    pub id: PromptId,
    /// For whom.
    pub agent: Slug,
    /// Where it came from.
    pub source: Source,
    /// Who meant it.
    pub who: String,
    /// Its text.
    pub body: String,
    /// When it may be typed.
    #[serde(default)]
    pub mode: Mode,
    /// The prompt at whose head it was typed, where several went as one message.
    #[serde(default)]
    pub lead: Option<PromptId>,
    /// Every step, the first is its arrival, the last its present state.
    pub steps: Vec<Transition>,
    /// What holds it back now, for people.
    pub held: Option<String>,
    /// What the agent did in its turn, in order.
    pub turn: Vec<FeedRow>,
    /// What people think of how it went, first come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
}

/// `GET /v1/queue?agent=<slug>`: what waits, is under way or is uncertain, first come first. Answered by [`Queue`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueQuery {
    /// Only this agent's.
    pub agent: Option<Slug>,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// First come first.
    pub prompts: Vec<QueuedPrompt>,
}

/// One prompt that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedPrompt {
    /// Its id.
    pub id: PromptId,
    /// For whom.
    pub agent: Slug,
    /// Where it came from.
    pub source: Source,
    /// Who meant it.
    pub who: String,
    /// When it came.
    pub at: Timestamp,
    /// When its time is over.
    pub expires: Option<Timestamp>,
    /// When it may be typed.
    #[serde(default)]
    pub mode: Mode,
    /// How far it has come.
    pub state: String,
    /// What holds it back, for people.
    pub held: Option<String>,
    /// Its first line.
    pub text: String,
}

/// `POST /v1/prompts/<id>/cancel`, `POST /v1/agents/<slug>/pause`, `/resume`: on whose word. Answered by [`Done`].
/// `POST /v1/prompts/<id>/retry`: the same, answered by [`Kept`]: a new id where something of the prompt was typed before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnWordOf {
    /// Who.
    pub who: String,
}

/// `POST /v1/stop`: hold agents and interrupt their turns. Answered by [`Stopped`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Which agents; every one where none is named.
    pub agents: Vec<Slug>,
    /// On whose word.
    pub who: String,
}

/// What became of each agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// In the order of the question, or of the file.
    pub agents: Vec<StoppedAgent>,
}

/// What became of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedAgent {
    /// Its name.
    pub agent: Slug,
    /// What happened, for people.
    pub outcome: String,
}

/// It is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Whether anything changed by it.
    pub changed: bool,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Since when it runs.
    pub since: Timestamp,
    /// The agents, in file order.
    pub agents: Vec<AgentStatus>,
    /// The agents that agents.yaml does not name any more and whose sessions are held.
    #[serde(default)]
    pub retired: Vec<AgentStatus>,
    /// The Slack bridge; none where no tokens are set.
    pub slack: Option<SlackStatus>,
    /// What is wrong with the fleet as a whole, for people.
    pub problems: Vec<String>,
    /// When the box stops itself, as far as that is announced.
    #[serde(default)]
    pub stops_at: Option<Timestamp>,
    /// Until when somebody keeps the box up.
    #[serde(default)]
    pub awake_until: Option<Timestamp>,
}

/// One agent's line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its name.
    pub agent: Slug,
    /// Its CLI.
    pub runtime: String,
    /// What it does.
    pub state: AgentState,
    /// Since when, as far as its record tells.
    pub since: Option<Timestamp>,
    /// Its latest prompt.
    pub last: Option<LastPrompt>,
    /// When its next nudge is due.
    pub next_nudge: Option<Timestamp>,
    /// How many prompts wait.
    pub queued: usize,
    /// What holds the next one back, for people.
    pub held: Option<String>,
    /// Who holds the agent (`fleet pause`, `fleet stop`); none where nobody does.
    pub held_by: Option<String>,
    /// How many people are attached to its session.
    pub attached: u32,
    /// What is wrong with it, for people.
    pub problem: Option<String>,
    /// What people think of its last turns, the latest first; what was taken back is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
}

/// What an agent does, derived from what is seen at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum AgentState {
    /// It has no session, or shows no input box yet.
    Starting,
    /// It waits for a prompt.
    Idle,
    /// A turn runs.
    Busy,
    /// It waits for a person.
    Asking {
        /// What kind of answer it waits for; none where that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<DialogKind>,
        /// What it asks.
        what: String,
    },
    /// It can't go on before something else has changed.
    Blocked {
        /// What, and when that is, where a time is known.
        why: Blocked,
    },
    /// A person holds it (`fleet pause`, `fleet stop`), and no turn runs.
    Paused {
        /// Who.
        by: String,
    },
    /// It is idle, but something of a person's stands in its pane.
    Held {
        /// What.
        why: String,
    },
    /// agents.yaml does not name it any more.
    Retiring {
        /// When its session ends.
        until: Timestamp,
    },
    /// Its process ended; the next pass resumes it.
    Ended {
        /// How, where that is known.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        how: String,
        /// How many starts in a row ended soon.
        #[serde(default, skip_serializing_if = "is_zero")]
        times: u32,
    },
    /// Another program sits in its pane.
    Elsewhere {
        /// Which.
        program: String,
    },
    /// It can't be started; `problem` says why.
    Failed,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl AgentState {
    /// The word in tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Asking { .. } => "asking",
            Self::Blocked { .. } => "blocked",
            Self::Paused { .. } => "paused",
            Self::Held { .. } => "held",
            Self::Retiring { .. } => "retiring",
            Self::Ended { .. } => "ended",
            Self::Elsewhere { .. } => "elsewhere",
            Self::Failed => "failed",
        }
    }
}

/// An agent's latest prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPrompt {
    /// Its id.
    pub id: PromptId,
    /// Where it came from.
    pub source: Source,
    /// Who meant it.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// How far it has come.
    pub state: String,
}

/// The Slack bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlackStatus {
    /// Whether messages come in.
    pub connected: bool,
    /// What is wrong, for people.
    pub problems: Vec<String>,
}

/// `GET /v1/feed?after=<seq>&agents=<slug,slug>&seconds=<n>`: the rows after `after`, waited for where there are none.
/// Without `after`, only the feed's end is answered. Answered by [`FeedPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedQuery {
    /// The last row already known.
    pub after: Option<i64>,
    /// Only these agents, separated by commas; all where it is missing.
    pub agents: Option<String>,
    /// For how long to wait for a row at most.
    #[serde(default)]
    pub seconds: u64,
}

/// A stretch of the feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedPage {
    /// The rows, in order.
    pub rows: Vec<FeedRow>,
    /// The `after` of the next question.
    pub next: i64,
}

/// `POST /v1/reconcile`: a pass now. Answered by [`Reconciled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// Only plan.
    pub dry_run: bool,
}

/// What a pass planned and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciled {
    /// One line for each agent, in file order.
    pub steps: Vec<ReconciledStep>,
}

/// One agent's step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconciledStep {
    /// What was planned, for people.
    pub plan: String,
    /// How it went: nothing where all was well or nothing was done.
    pub error: Option<String>,
    /// Whether it was done.
    pub done: bool,
}

/// Every error's body, with status 400 (the question is wrong), 404 (no such agent or prompt) or 500.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What happened and what to do.
    pub error: String,
}
