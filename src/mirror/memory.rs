//! What the mirror remembers of an agent between two readings, stored with the offsets as one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fold::OpenTurn;

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The turn that runs.
    #[serde(flatten)]
    pub turn: OpenTurn,
    /// By what the place that each record was read to is known again, by the file's path.
    #[serde(default)]
    pub marks: BTreeMap<String, Mark>,
}

/// By what a place in a record is known again when the file was rewritten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The [`crate::files::lines::Line::tail`] of the line before it.
    pub tail: Option<u64>,
    /// The latest time that a line before it tells.
    pub latest: Option<Timestamp>,
}
