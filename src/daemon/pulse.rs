//! Whether the daemon still does its work, for systemd's watchdog: a loop that turns while every pass hangs looks well and
//! does nothing, and only a restart mends it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a pass may take before it counts as hanging: three ticks. Each of its calls of tmux is given up after seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The passes that the fleet can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The supervisor's.
    Supervisor,
    /// The schedule's.
    Schedule,
}

/// When each of them ended last.
pub struct Pulse {
    since: Instant,
    /// By [`Beat`], in milliseconds from then on.
    ended: [AtomicU64; 2],
}

impl Default for Pulse {
    fn default() -> Self {
        Self { since: Instant::now(), ended: Default::default() }
    }
}

impl Pulse {
    /// A pass has ended, well or not.
    pub fn beat(&self, pass: Beat) {
        self.ended[pass as usize].store(self.now(), Ordering::Relaxed);
    }

    /// The passes that hang.
    pub fn missing(&self) -> Vec<Beat> {
        missing(self.now(), &self.ended.each_ref().map(|ended| ended.load(Ordering::Relaxed)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn missing(now: u64, ended: &[u64; 2]) -> Vec<Beat> {
    let hangs = |pass: &Beat| now.saturating_sub(ended[*pass as usize]) > PATIENCE.as_millis() as u64;
    [Beat::Supervisor, Beat::Schedule].into_iter().filter(hangs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_whose_passes_hang_is_not_called_well() {
        for (now, ended, hanging) in [
            (0, [0, 0], vec![]),
            (30_000, [0, 0], vec![]),
            (30_001, [10_000, 0], vec![Beat::Schedule]),
            (70_000, [39_000, 65_000], vec![Beat::Supervisor]),
            (70_000, [0, 0], vec![Beat::Supervisor, Beat::Schedule]),
        ] {
            assert_eq!(missing(now, &ended), hanging, "{now} {ended:?}");
        }
    }
}
