//! Whether a box that has nothing to do may stop itself. Pure.
//!
//! It errs towards staying up. Both clocks must agree that it has been idle for long enough: the wall clock is set, and the
//! steady one knows nothing of what was before this start. An announced stop happens only if nothing at all has happened since.

use jiff::{SignedDuration, Timestamp};

/// How long before a stop it is announced.
pub const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// No stop where a daily prompt is due so soon.
pub const NEAR: SignedDuration = SignedDuration::from_mins(30);

/// What is known of the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The wall clock.
    pub now: Timestamp,
    /// For how long nothing may have happened.
    pub after: SignedDuration,
    /// What it has to do, for people; none where there is nothing.
    pub busy: Option<String>,
    /// When something happened last, by the wall clock.
    pub last: Timestamp,
    /// For how long nothing has happened and nothing was to be done, by the steady clock.
    pub still: SignedDuration,
    /// The stop that is announced.
    pub announced: Option<Announced>,
}

/// A stop that is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// When it was told.
    pub told: Timestamp,
    /// How long ago that is by the steady clock; none where an earlier daemon told it.
    pub ago: Option<SignedDuration>,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has something to do.
    Busy(String),
    /// It has nothing to do, and not for long enough.
    Idle,
    /// The stop is to be announced for that time.
    Announce(Timestamp),
    /// The stop is announced, and its time has not come.
    Wait,
    /// What was announced does not happen, for that reason.
    CallOff(String),
    /// It is to stop now.
    StopNow,
}

/// Decides.
pub fn judge(facts: &Facts) -> Verdict {
    let Facts { now, after, busy, last, still, announced } = facts;
    let Some(announced) = announced else {
        let long = now.duration_since(*last) >= *after && still >= after;
        return match busy {
            Some(why) => Verdict::Busy(why.clone()),
            None if !long => Verdict::Idle,
            // A time that can't be told is none that can come.
            None => now.checked_add(AHEAD).map_or(Verdict::Idle, Verdict::Announce),
        };
    };
    let Some(ago) = announced.ago else {
        return Verdict::CallOff("fleetd was started again".to_owned());
    };
    if let Some(why) = busy {
        return Verdict::CallOff(why.clone());
    }
    // Stillness that began after the announcement, and a time that lies after it, both say that something happened.
    if *last > announced.told || *still < ago {
        return Verdict::CallOff("something has happened since".to_owned());
    }
    if *now < announced.told {
        return Verdict::CallOff("the clock was set back".to_owned());
    }
    let due = now.duration_since(announced.told) >= AHEAD && ago >= AHEAD;
    if due { Verdict::StopNow } else { Verdict::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: SignedDuration = SignedDuration::from_mins(30);

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + minute * 60).unwrap()
    }

    fn minutes(count: i64) -> SignedDuration {
        SignedDuration::from_mins(count)
    }

    fn facts(now: i64, last: i64, still: i64, announced: Option<(i64, Option<i64>)>) -> Facts {
        let announced = announced.map(|(told, ago)| Announced { told: at(told), ago: ago.map(minutes) });
        Facts { now: at(now), after: AFTER, busy: None, last: at(last), still: minutes(still), announced }
    }

    #[test]
    fn a_stop_is_announced_only_when_both_clocks_have_seen_nothing_for_long_enough() {
        for (what, now, last, still, expected) in [
            ("idle for long", 30, 0, 30, Verdict::Announce(at(35))),
            ("not for long", 29, 0, 29, Verdict::Idle),
            ("the wall clock was set forward by hours", 300, 0, 3, Verdict::Idle),
            ("the wall clock was set back", -60, 0, 90, Verdict::Idle),
            ("the machine slept, which the steady clock does not count", 600, 0, 5, Verdict::Idle),
        ] {
            assert_eq!(judge(&facts(now, last, still, None)), expected, "{what}");
        }
    }

    #[test]
    fn an_announced_stop_happens_after_five_quiet_minutes_and_not_otherwise() {
        let off = |why: &str| Verdict::CallOff(why.to_owned());
        for (what, facts, expected) in [
            ("quiet for five minutes", facts(35, 0, 35, Some((30, Some(5)))), Verdict::StopNow),
            ("quiet for four", facts(34, 0, 34, Some((30, Some(4)))), Verdict::Wait),
            ("the wall clock was set forward", facts(95, 0, 31, Some((30, Some(1)))), Verdict::Wait),
            ("somebody wrote", facts(35, 33, 2, Some((30, Some(5)))), off("something has happened since")),
            ("stillness began anew", facts(35, 0, 2, Some((30, Some(5)))), off("something has happened since")),
            ("an earlier daemon told it", facts(36, 0, 36, Some((30, None))), off("fleetd was started again")),
            ("the clock was set back", facts(29, 0, 35, Some((30, Some(5)))), off("the clock was set back")),
        ] {
            assert_eq!(judge(&facts), expected, "{what}");
        }
    }

    #[test]
    fn whatever_is_to_be_done_keeps_the_box_up_and_calls_an_announced_stop_off() {
        let busy = |announced| Facts { busy: Some("a turn runs".into()), ..facts(60, 0, 60, announced) };
        assert_eq!(judge(&busy(None)), Verdict::Busy("a turn runs".into()));
        assert_eq!(judge(&busy(Some((30, Some(30))))), Verdict::CallOff("a turn runs".into()));
    }
}
