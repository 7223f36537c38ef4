//! The part of the local API's language that is about the box and its agents.yaml, not about one agent's work.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::Slug;

/// `POST /v1/plan`: what would follow if this text stood in the fleet's agents.yaml. Answered by [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanQuestion {
    /// The text.
    pub text: String,
    /// The file it came from, by which its mistakes are told.
    pub path: PathBuf,
}

/// What a changed agents.yaml would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The fleet's own changes first, then the agents' in file order, then those that are gone.
    pub changes: Vec<PlannedChange>,
}

/// One consequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// Of which kind.
    pub kind: ChangeKind,
    /// Whose; none for the whole fleet.
    pub agent: Option<Slug>,
    /// For people.
    pub text: String,
}

/// The kinds of consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// An agent is launched or taken back.
    Launch,
    /// An agent's session is held, and later ended.
    Retire,
    /// An agent is restarted once it is idle.
    Restart,
    /// A daily prompt comes at another time.
    Reschedule,
    /// It takes effect without a restart.
    Update,
    /// It takes effect when fleetd is started again.
    NextStart,
}

/// `POST /v1/gc`: what may go of the agents' places to work, and why the rest stays. Answered by [`GcReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gc {
    /// Free what may go.
    pub free: bool,
}

/// What may go, or went, and what stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Whether what may go was to go.
    pub freed: bool,
    /// What lies there unneeded, in the order of its paths.
    pub items: Vec<GcItem>,
    /// The bytes of what may go, or went.
    pub bytes: u64,
}

/// One thing that nobody seems to need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcItem {
    /// What it is.
    pub kind: GcKind,
    /// Where it is.
    pub path: String,
    /// In whose workspace.
    pub agent: Option<Slug>,
    /// `owner/name` of its repository.
    pub repo: Option<String>,
    /// Its size on the disk.
    pub bytes: u64,
    /// What becomes of it.
    pub outcome: GcOutcome,
}

/// What lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GcKind {
    /// A git worktree.
    Worktree,
    /// A clone that never became whole.
    HalfClone,
    /// Other files in the workspace of an agent that is gone.
    Files,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum GcOutcome {
    /// It may go.
    Free {
        /// Ignored build output that goes with it.
        along: Vec<String>,
    },
    /// It went.
    Freed {
        /// Why its branch is still in the clone; none where it went too.
        branch_kept: Option<String>,
    },
    /// It stays.
    Kept {
        /// Every reason, for people.
        why: Vec<String>,
    },
    /// It was to go, and something went wrong.
    Failed {
        /// What.
        error: String,
    },
}

/// `POST /v1/keep-awake`: keep the box up, for so long from now; without that, no longer. Answered by [`Awake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepAwake {
    /// For how long.
    pub seconds: Option<i64>,
}

/// Until when the box is kept up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awake {
    /// Until then; none where nobody keeps it up.
    pub until: Option<Timestamp>,
}
