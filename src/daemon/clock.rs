//! A clock that a file moves, so that a test of the whole program can meet a nudge's hour without waiting for it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::{Clock, SystemClock};

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

    fn moved(&self) -> i64 {
        std::fs::read_to_string(&self.file).unwrap_or_default().trim().parse().unwrap_or(0)
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(SignedDuration::from_secs(self.moved())).unwrap_or(Timestamp::MAX)
    }

    /// Moved too, as if so much time had passed: a test that sets the wall clock alone is one of the pure judgement.
    fn steady(&self) -> Duration {
        let moved = Duration::from_secs(u64::try_from(self.moved()).unwrap_or(0));
        SystemClock.steady().saturating_add(moved)
    }
}
