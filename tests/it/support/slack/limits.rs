//! Slack's own limits: who exceeds them is told to wait, and who does not wait is found out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleetd::model::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};

/// What was already on its way when Slack asked to wait is no violation.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// How fast each method may be called: at once, and in a minute. Not measured are those whose calls the bridge does not pace,
/// because it makes few.
const RATES: [(&str, f64, f64); 12] = [
    ("chat.postMessage", 5.0, 60.0),
    ("chat.update", 20.0, 50.0),
    ("chat.postEphemeral", 30.0, 100.0),
    ("reactions.add", 20.0, 50.0),
    ("reactions.remove", 10.0, 20.0),
    ("conversations.history", 20.0, 50.0),
    ("conversations.replies", 20.0, 50.0),
    ("users.info", 100.0, 100.0),
    ("usergroups.users.list", 10.0, 20.0),
    ("views.publish", 30.0, 100.0),
    ("files.getUploadURLExternal", 30.0, 100.0),
    ("files.completeUploadExternal", 30.0, 100.0),
];

/// How full each bucket is.
pub(super) struct Limits {
    clock: Arc<dyn Clock>,
    levels: HashMap<(String, String), (f64, Timestamp)>,
    closed: HashMap<(String, String), (Timestamp, Instant)>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), levels: HashMap::new(), closed: HashMap::new() }
    }
}

/// A call that came too early.
pub(super) struct TooMany {
    /// After how many seconds it may come again.
    pub(super) wait: u64,
    /// Whether it came although Slack had asked to wait.
    pub(super) deaf: bool,
}

impl Limits {
    /// The clock by which a minute is a minute.
    pub(super) fn measure_by(&mut self, clock: Arc<dyn Clock>) {
        self.clock = clock;
        self.levels.clear();
        self.closed.clear();
    }

    /// Counts a call.
    pub(super) fn take(&mut self, method: &str, channel: &str) -> Result<(), TooMany> {
        let Some((_, most, minute)) = RATES.into_iter().find(|(name, ..)| *name == method) else { return Ok(()) };
        let (bucket, now) = (bucket(method, channel), self.clock.now());
        if let Some((until, told)) = self.closed.get(&bucket)
            && now < *until
        {
            let wait = whole(until.duration_since(now));
            return Err(TooMany { wait, deaf: told.elapsed() > UNDER_WAY });
        }
        let (tokens, since) = self.levels.get(&bucket).copied().unwrap_or((most, now));
        let passed = now.duration_since(since).as_secs_f64().max(0.0);
        let tokens = (tokens + passed * minute / 60.0).min(most);
        if tokens < 1.0 {
            let wait = whole(SignedDuration::from_secs_f64((1.0 - tokens) * 60.0 / minute));
            self.close(method, channel, wait);
            return Err(TooMany { wait, deaf: false });
        }
        self.levels.insert(bucket, (tokens - 1.0, now));
        Ok(())
    }

    /// Asks to wait for so many seconds.
    pub(super) fn close(&mut self, method: &str, channel: &str, seconds: u64) {
        let until = self.clock.now() + Duration::from_secs(seconds);
        self.closed.insert(bucket(method, channel), (until, Instant::now()));
    }
}

/// Messages are counted channel by channel, everything else together.
fn bucket(method: &str, channel: &str) -> (String, String) {
    let channel = if method == "chat.postMessage" { channel } else { "" };
    (method.to_owned(), channel.to_owned())
}

fn whole(wait: SignedDuration) -> u64 {
    (wait.as_secs_f64().ceil() as u64).max(1)
}
