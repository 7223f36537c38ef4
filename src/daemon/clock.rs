//! A clock that a file moves, so that a test of the whole program can meet a nudge's hour without waiting for it.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::model::Clock;

/// The machine's clock plus the seconds that stand in a file. Never used unless `$FLEET_CLOCK_FILE` names one.
#[derive(Debug, Clone)]
pub struct MovedClock {
    file: PathBuf,
}

impl MovedClock {
    /// A clock moved by the content of `file`.
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let moved = SignedDuration::from_secs(text.trim().parse().unwrap_or(0));
        Timestamp::now().saturating_add(moved).unwrap_or(Timestamp::MAX)
    }
}
