//! What follows from an agent's state: a table from state and facts to answers, and nothing else.
//!
//! A state is derived afresh whenever somebody asks and never stored; what was answered is remembered by the store under a
//! key that names the occurrence, so that no answer is given twice. This room must never look at anything itself, and never
//! decide by what it decided before.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::{Blocked, ContextUse, DialogKind};

/// How long after the first turn that a usage limit cut off the next try is, where nobody says when the limit ends.
const LIMIT_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// The same where the model takes no requests at the moment.
const RATE_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// The longest pause between two tries; each is twice the one before.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// No limit lasts longer than a month: an end that is told for later is taken for one that is not told.
const LONGEST_LIMIT: SignedDuration = SignedDuration::from_hours(32 * 24);

/// What an agent is at, by everything that is seen of it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has no session, or shows no input box yet.
    Starting,
    /// It waits for a prompt.
    Idle,
    /// A turn runs.
    Busy,
    /// It waits for a person.
    Asking {
        /// What kind of answer it waits for.
        kind: DialogKind,
        /// What it asks.
        what: String,
    },
    /// It can't go on before something else has changed.
    Blocked(Blocked),
    /// Its process ended.
    Crashed {
        /// How.
        how: String,
        /// After how many starts in a row.
        times: u32,
    },
    /// Another program has its pane.
    AtShell {
        /// Which.
        program: String,
    },
    /// A person holds it.
    Paused {
        /// Who.
        by: String,
    },
    /// It is idle, yet something of a person's stands in its pane.
    Held {
        /// What.
        why: String,
    },
    /// agents.yaml does not name it any more.
    Retiring {
        /// When its session ends.
        until: Timestamp,
    },
}

/// The last turn, where something cut it off that must change first. None once another turn has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// What cut it off.
    pub blocked: Blocked,
    /// When.
    pub at: Timestamp,
    /// How many turns in a row ended so.
    pub times: u32,
    /// Whether a login, or a start of the agent, came after it.
    pub mended: bool,
}

impl Cut {
    /// When the next try may be, where time alone mends it.
    pub fn over_at(&self) -> Option<Timestamp> {
        let (until, first) = match &self.blocked {
            Blocked::UsageLimit { until } => (*until, LIMIT_PAUSE),
            Blocked::RateLimited { until } => (*until, RATE_PAUSE),
            Blocked::Trust | Blocked::Login { .. } | Blocked::ContextFull => return None,
        };
        let until = until.filter(|until| until.duration_since(self.at) <= LONGEST_LIMIT);
        // A told time is believed once; after that the tries in vain count too.
        let tries = if until.is_some() { self.times.saturating_sub(1) } else { self.times };
        let pause = match tries {
            0 => SignedDuration::ZERO,
            tries => first.saturating_mul(1 << (tries - 1).min(16)).min(LONGEST_PAUSE),
        };
        let earliest = self.at.saturating_add(pause).unwrap_or(Timestamp::MAX);
        Some(until.map_or(earliest, |until| until.max(earliest)))
    }

    /// What still blocks the agent at `now`, with the time of the next try.
    pub fn blocks(&self, now: Timestamp) -> Option<Blocked> {
        let until = self.over_at();
        match &self.blocked {
            _ if until.is_some_and(|until| until <= now) => None,
            Blocked::UsageLimit { .. } => Some(Blocked::UsageLimit { until }),
            Blocked::RateLimited { .. } => Some(Blocked::RateLimited { until }),
            Blocked::Trust | Blocked::Login { .. } if self.mended => None,
            other => Some(other.clone()),
        }
    }
}

/// What is known besides the state.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The time.
    pub now: Timestamp,
    /// What cut the last turn off.
    pub cut: Option<&'a Cut>,
    /// Whether a prompt of ours is on its way or its turn runs.
    pub under_way: bool,
    /// How full its context is.
    pub context: Option<ContextUse>,
    /// Whether the present fill was to be compacted already, and was not.
    pub compacted_in_vain: bool,
    /// At which share it is to be compacted; none where nobody asked for that.
    pub compact_at: Option<f64>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Tell the agent to go on with the turn that was cut off.
    Resume,
    /// Have its CLI compact the conversation.
    Compact,
    /// Tell people that it needs them.
    Page {
        /// Why.
        why: String,
    },
}

/// The table.
pub fn answer(state: &State, facts: Facts<'_>) -> Vec<Answer> {
    let resumes = || facts.cut.and_then(Cut::over_at).is_some_and(|at| at <= facts.now);
    let full = || facts.compact_at.zip(facts.context).is_some_and(|(at, context)| context.is_worth_compacting(at));
    match state {
        State::Idle if facts.under_way => Vec::new(),
        State::Idle if resumes() => vec![Answer::Resume],
        State::Idle if full() => vec![Answer::Compact],
        State::Blocked(Blocked::ContextFull) if facts.compacted_in_vain => {
            vec![Answer::Page {
                why: "its context is full, and it can't be compacted: begin anew with /clear".to_owned(),
            }]
        }
        State::Blocked(Blocked::ContextFull) if !facts.under_way => vec![Answer::Compact],
        State::Blocked(why @ (Blocked::Login { .. } | Blocked::Trust)) => vec![Answer::Page { why: why.to_string() }],
        // Whoever starts an agent again and again tells of it.
        State::Idle
        | State::Starting
        | State::Busy
        | State::Asking { .. }
        | State::Blocked(_)
        | State::Crashed { .. }
        | State::AtShell { .. }
        | State::Paused { .. }
        | State::Held { .. }
        | State::Retiring { .. } => Vec::new(),
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => formatter.write_str("starting"),
            Self::Idle => formatter.write_str("idle"),
            Self::Busy => formatter.write_str("busy"),
            Self::Asking { what, .. } => write!(formatter, "asking: {what}"),
            Self::Blocked(why) => write!(formatter, "blocked: {why}"),
            Self::Crashed { how, times } => write!(formatter, "crashed ({times} times): {how}"),
            Self::AtShell { program } => write!(formatter, "at a shell: {program}"),
            Self::Paused { by } => write!(formatter, "paused by {by}"),
            Self::Held { why } => write!(formatter, "held: {why}"),
            Self::Retiring { until } => write!(formatter, "retiring until {until}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cut(blocked: Blocked, times: u32) -> Cut {
        Cut { blocked, at: at(0), times, mended: false }
    }

    fn limit(until: Option<i64>) -> Blocked {
        Blocked::UsageLimit { until: until.map(at) }
    }

    fn facts(now: i64, cut: Option<&Cut>) -> Facts<'_> {
        Facts { now: at(now), cut, under_way: false, context: None, compacted_in_vain: false, compact_at: None }
    }

    #[test]
    fn a_turn_that_a_limit_cut_off_goes_on_when_the_limit_is_over_and_not_a_second_before() {
        let cut = cut(limit(Some(7200)), 1);
        assert_eq!(cut.blocks(at(7199)), Some(limit(Some(7200))));
        assert_eq!(cut.blocks(at(7200)), None);
        for (state, now, under_way, expected) in [
            (State::Idle, 7199, false, vec![]),
            (State::Idle, 7200, false, vec![Answer::Resume]),
            (State::Idle, 7200, true, vec![]),
            (State::Busy, 7200, false, vec![]),
            (State::Blocked(limit(Some(7200))), 7199, false, vec![]),
            (State::Paused { by: "ann".into() }, 7200, false, vec![]),
            (State::Held { why: "a draft".into() }, 7200, false, vec![]),
            (State::AtShell { program: "bash".into() }, 7200, false, vec![]),
        ] {
            let facts = Facts { under_way, ..facts(now, Some(&cut)) };
            assert_eq!(answer(&state, facts), expected, "{state} at {now}");
        }
        assert_eq!(answer(&State::Idle, facts(7200, None)), vec![], "another turn has begun since");
    }

    #[test]
    fn a_limit_whose_end_nobody_tells_is_tried_after_growing_pauses_and_at_least_hourly() {
        let pauses = |blocked: fn() -> Blocked| {
            [1, 2, 3, 4, 5, 6, 7, 8, 40].map(|times| cut(blocked(), times).over_at().unwrap().as_second() / 60)
        };
        assert_eq!(pauses(|| limit(None)), [10, 20, 40, 60, 60, 60, 60, 60, 60]);
        assert_eq!(pauses(|| Blocked::RateLimited { until: None }), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let day = 86_400;
        for (days, minutes) in [(31, 31 * 24 * 60), (365, 10)] {
            let told = cut(limit(Some(days * day)), 1).over_at().unwrap().as_second() / 60;
            assert_eq!(told, minutes, "an agent waits for {days} days");
        }
        // A time that lies in the past, told again and again, makes no storm of tries.
        assert_eq!(pauses(|| limit(Some(-60))), [0, 10, 20, 40, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn a_context_is_compacted_only_when_it_is_full_enough_and_the_agent_rests() {
        let of = |used| Some(ContextUse { used, window: 200_000, fill: 0, left: 0 });
        for (state, used, compact_at, under_way, expected) in [
            (State::Idle, 160_000, Some(0.8), false, vec![Answer::Compact]),
            (State::Idle, 159_999, Some(0.8), false, vec![]),
            (State::Idle, 199_999, None, false, vec![]),
            (State::Idle, 160_000, Some(0.8), true, vec![]),
            (State::Busy, 160_000, Some(0.8), false, vec![]),
            (State::Asking { kind: DialogKind::Question, what: "?".into() }, 160_000, Some(0.8), false, vec![]),
            (State::Blocked(Blocked::ContextFull), 0, None, false, vec![Answer::Compact]),
            (State::Blocked(Blocked::ContextFull), 0, None, true, vec![]),
        ] {
            let facts = Facts { context: of(used), compact_at, under_way, ..facts(0, None) };
            assert_eq!(answer(&state, facts), expected, "{state} with {used}");
        }
        let in_vain = Facts { compacted_in_vain: true, ..facts(0, None) };
        let told = answer(&State::Blocked(Blocked::ContextFull), in_vain);
        assert!(matches!(&told[..], [Answer::Page { why }] if why.contains("/clear")), "{told:?}");
        let cut = cut(limit(Some(10)), 1);
        let both = Facts { context: of(190_000), compact_at: Some(0.8), ..facts(10, Some(&cut)) };
        assert_eq!(answer(&State::Idle, both), vec![Answer::Resume], "one thing at a time");
    }

    #[test]
    fn only_what_people_must_mend_calls_for_them_and_a_login_ends_it() {
        let login = Blocked::Login { what: "run /login".into() };
        for (blocked, paged) in [
            (login.clone(), true),
            (Blocked::Trust, true),
            (limit(Some(10)), false),
            (Blocked::RateLimited { until: None }, false),
        ] {
            let pages = matches!(
                &answer(&State::Blocked(blocked.clone()), facts(0, None))[..],
                [Answer::Page { why }] if *why == blocked.to_string()
            );
            assert_eq!(pages, paged, "{blocked}");
        }
        let over = Cut { mended: true, ..cut(login.clone(), 1) };
        assert_eq!((cut(login.clone(), 1).blocks(at(99_999_999)), over.blocks(at(0))), (Some(login), None));
        assert_eq!(over.over_at(), None, "a turn that a login cut off is not resumed by the clock");
    }
}
