//! Waiting on a named event. A test never sleeps and hopes: it says what it waits for, and fails by that name.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long any single event may take before the test fails by its name. Generous: machines here are noisy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` yields something, and panics with `event` where it does not in [`PATIENCE`].
pub async fn until<T, F>(event: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {event}");
    }
}
