//! Time as an argument, so that a test can move it and a daemon can't disagree with itself within one pass.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Tells the time. Passed in wherever a decision depends on it.
pub trait Clock: Send + Sync + 'static {
    /// The present instant, in UTC.
    fn now(&self) -> Timestamp;

    /// The time since some moment in the past, which nobody sets and which stands still while the machine sleeps.
    fn steady(&self) -> Duration {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed()
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
