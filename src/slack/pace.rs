//! How fast: token buckets for Slack's limits, and the wait before another try. Pure: time comes in as an argument.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// What a limit is counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Bucket {
    /// New messages of one channel: one a second, short bursts allowed.
    Post {
        /// The channel's id.
        channel: String,
    },
    /// Edits of the whole app: 50 a minute.
    Update,
    /// Reactions of the whole app: 50 a minute.
    React,
    /// Reactions of the whole app that are taken off: 20 a minute.
    Unreact,
    /// Words to one person alone, of the whole app: 100 a minute.
    Whisper,
    /// Files of the whole app: 100 calls a minute, of which each takes one of every method.
    Upload,
    /// Readings of threads of the whole app: 50 a minute.
    Read,
}

/// Who gives way where not everything can be said at once; the first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A question that an agent waits for, or a word that something was heard.
    Question,
    /// What an agent said.
    Answer,
    /// How far an agent has come: the latest counts.
    Progress,
}

impl Bucket {
    /// How many calls may come at once, and the time after which one more may: 80 % of Slack's rate.
    fn allowance(&self) -> (f64, f64) {
        match self {
            Self::Post { .. } => (3.0, 1.25),
            Self::Update | Self::React | Self::Read => (10.0, 1.5),
            Self::Unreact => (4.0, 3.75),
            Self::Whisper | Self::Upload => (10.0, 0.75),
        }
    }

    /// What progress leaves in it for those before whom it gives way.
    fn reserve(&self, rank: Rank) -> f64 {
        match (rank, self) {
            (Rank::Question | Rank::Answer, _) => 0.0,
            (Rank::Progress, Self::Post { .. }) => 1.0,
            (Rank::Progress, _) => 4.0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Timestamp,
    /// Nothing before this time: Slack said so.
    not_before: Timestamp,
}

/// The buckets that were ever used.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    levels: HashMap<Bucket, Level>,
}

impl Pacer {
    /// Takes one call out of a bucket, or says how long to wait for it.
    pub(super) fn admit(&mut self, bucket: &Bucket, rank: Rank, now: Timestamp) -> Result<(), Duration> {
        let (most, seconds) = bucket.allowance();
        let needed = 1.0 + bucket.reserve(rank);
        let level = self.level(bucket, now);
        if level.not_before > now {
            return Err(duration(level.not_before, now));
        }
        // A clock that was set back must neither fill nor lock a bucket.
        let passed = duration(now, level.at).as_secs_f64();
        level.tokens = (level.tokens + passed / seconds).min(most);
        level.at = now;
        if level.tokens < needed {
            return Err(Duration::from_secs_f64((needed - level.tokens) * seconds));
        }
        level.tokens -= 1.0;
        Ok(())
    }

    /// Closes a bucket for as long as Slack asked, and leaves the others alone.
    pub(super) fn pause(&mut self, bucket: &Bucket, wait: Duration, now: Timestamp) {
        let until = now.saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX));
        let level = self.level(bucket, now);
        level.not_before = until.unwrap_or(Timestamp::MAX);
        level.tokens = level.tokens.min(1.0);
    }

    fn level(&mut self, bucket: &Bucket, now: Timestamp) -> &mut Level {
        let full = Level { tokens: bucket.allowance().0, at: now, not_before: Timestamp::MIN };
        self.levels.entry(bucket.clone()).or_insert(full)
    }
}

fn duration(later: Timestamp, earlier: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// The wait before another try: it doubles from half a second up to a minute, and is drawn from its upper half, so that
/// many daemons that lost the same server don't come back at once. `random` is in 0..1.
pub(super) fn backoff(failures: u32, random: f64) -> Duration {
    let whole = 0.5 * f64::from(2_u32.saturating_pow(failures.saturating_sub(1).min(7)));
    Duration::from_secs_f64(whole.min(60.0) * (0.5 + random.clamp(0.0, 1.0) / 2.0))
}

/// A number in 0..1 for [`backoff`].
pub(super) fn random() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn post(channel: &str) -> Bucket {
        Bucket::Post { channel: channel.into() }
    }

    #[test]
    fn a_channel_gets_a_short_burst_and_then_less_than_one_message_a_second() {
        let mut pacer = Pacer::default();
        for _ in 0..3 {
            assert_eq!(pacer.admit(&post("C1"), Rank::Answer, at(0)), Ok(()));
        }
        assert_eq!(pacer.admit(&post("C1"), Rank::Answer, at(0)), Err(Duration::from_millis(1250)));
        assert_eq!(pacer.admit(&post("C2"), Rank::Answer, at(0)), Ok(()), "another channel is not held up");
        assert_eq!(pacer.admit(&post("C1"), Rank::Answer, at(1250)), Ok(()));
        let sent = (0..60_000).filter(|now| pacer.admit(&post("C1"), Rank::Answer, at(1250 + now)).is_ok()).count();
        assert!((46..=48).contains(&sent), "{sent}");
    }

    #[test]
    fn slack_s_retry_after_is_kept_to_and_stops_only_its_own_bucket() {
        let mut pacer = Pacer::default();
        pacer.pause(&post("C1"), Duration::from_secs(7), at(0));
        assert_eq!(pacer.admit(&post("C1"), Rank::Answer, at(6_000)), Err(Duration::from_secs(1)));
        assert_eq!(pacer.admit(&Bucket::React, Rank::Answer, at(0)), Ok(()));
        assert_eq!(pacer.admit(&post("C1"), Rank::Answer, at(7_000)), Ok(()));
    }

    #[test]
    fn progress_leaves_room_for_the_answers_that_come_meanwhile() {
        let mut pacer = Pacer::default();
        let progress = (0..20).filter(|_| pacer.admit(&Bucket::Update, Rank::Progress, at(0)).is_ok()).count();
        let answers = (0..20).filter(|_| pacer.admit(&Bucket::Update, Rank::Answer, at(0)).is_ok()).count();
        assert_eq!((progress, answers), (6, 4));
        assert_eq!(pacer.admit(&Bucket::Update, Rank::Progress, at(0)), Err(Duration::from_millis(7_500)));
        assert_eq!(pacer.admit(&Bucket::Update, Rank::Question, at(1_500)), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nothing() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.admit(&post("C1"), Rank::Answer, at(1_000_000)), Ok(()));
        assert_eq!(pacer.admit(&post("C1"), Rank::Answer, at(0)), Ok(()));
    }

    #[test]
    fn tries_come_ever_slower_and_never_slower_than_a_minute() {
        let waits: Vec<f64> = (1..=10).map(|failures| backoff(failures, 1.0).as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
        assert_eq!(backoff(1, 0.0), Duration::from_millis(250));
        assert!((0..1000).all(|_| (0.0..=1.0).contains(&random())));
    }
}
