//! What is due now. A day is the agent's local day; its nudge is due once, at the schedule's local time in the schedule's
//! zone: at the gap's end where clocks jump over that time, at the first of two where they are set back over it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::AmbiguousOffset;
use jiff::{SignedDuration, Timestamp};

use crate::model::{Schedule, Slug};

/// How late a nudge may be. What is later was missed, and is skipped.
pub const LATEST: SignedDuration = SignedDuration::from_mins(2);

/// How far back missed nudges are told, in days: after a month's holiday nobody needs a list of thirty.
const DAYS_BACK: i64 = 7;

/// How far ahead a next nudge is looked for, in days: 29 February is up to eight years away.
const DAYS_AHEAD: usize = 8 * 366 + 1;

/// An agent with a schedule.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The agent.
    pub slug: &'a Slug,
    /// When its nudge is due.
    pub schedule: &'a Schedule,
}

/// One look at the clock.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The present instant.
    pub now: Timestamp,
    /// The pass before this one, over restarts too; none where there was none. What fell due since then and is late now was
    /// missed; what was late already then has been told, or belongs to an agent that is new in the file.
    pub last: Option<Timestamp>,
    /// Agents due at the same instant start this far apart.
    pub stagger: Duration,
    /// The agents with a schedule, in file order: it decides who of those due at one instant goes first.
    pub agents: &'a [Candidate<'a>],
}

/// What is known of an agent's local day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Nothing yet.
    No,
    /// The day is stamped, its nudge is in the inbox in whatever state, or its skip has been told.
    Yes,
    /// It can't be told, for example because the stamp can't be read.
    Unknown {
        /// The reason, for people.
        why: String,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Put the day's nudge into the inbox.
    Nudge {
        /// The agent.
        slug: Slug,
        /// Its local day, which the stamp names.
        day: Date,
        /// When it was due, staggered.
        due_at: Timestamp,
    },
    /// Tell that the day's nudge was missed. It is never given later.
    Skip {
        /// The agent.
        slug: Slug,
        /// Its local day.
        day: Date,
        /// When it was due, staggered.
        due_at: Timestamp,
        /// The reason, for people.
        why: String,
    },
    /// Tell that the day's nudge is held back, since it can't be known whether it was given.
    Withhold {
        /// The agent.
        slug: Slug,
        /// Its local day.
        day: Date,
        /// When it was due, staggered.
        due_at: Timestamp,
        /// The reason, for people.
        why: String,
    },
}

/// What is due at `pass.now`, in the order in which it fell due. `settled` is asked only about days whose time has come.
pub fn due(pass: &Pass<'_>, mut settled: impl FnMut(&Slug, Date) -> Settled) -> Vec<Step> {
    let oldest = oldest(pass);
    let mut steps = Vec::new();
    for (due_at, agent, day) in instants(pass, oldest) {
        if due_at < oldest || due_at > pass.now {
            continue;
        }
        let late = pass.now.duration_since(due_at);
        let missed = late > LATEST;
        // What had passed its time at the last look already was judged then.
        if missed && pass.last.is_none_or(|last| last.duration_since(due_at) > LATEST) {
            continue;
        }
        let slug = agent.slug.clone();
        match settled(agent.slug, day) {
            Settled::Yes => {}
            Settled::Unknown { why } => steps.push(Step::Withhold { slug, day, due_at, why }),
            Settled::No if missed => steps.push(Step::Skip { slug, day, due_at, why: why_skipped(late) }),
            Settled::No => steps.push(Step::Nudge { slug, day, due_at }),
        }
    }
    steps
}

/// The next instant after `now` at which a nudge is due, before any stagger. None where no date passes.
pub fn next(now: Timestamp, schedule: &Schedule) -> Option<Timestamp> {
    let today = schedule.zone.to_datetime(now).date();
    // Yesterday's nudge may still come where a gap took it over midnight.
    let first = today.yesterday().unwrap_or(today);
    first
        .series(jiff::Span::new().days(1))
        .take(DAYS_AHEAD)
        .filter(|day| falls_on(schedule, *day))
        .filter_map(|day| instant_of(schedule, day))
        .find(|instant| *instant > now)
}

/// Whose nudge falls due within `span` after `pass.now`, staggered as [`due`] has it; also one that has just fallen due and
/// may still wait for something. The first, if any.
pub fn soon<'a>(pass: &Pass<'a>, span: SignedDuration) -> Option<&'a Slug> {
    let from = pass.now.saturating_sub(LATEST).unwrap_or(pass.now);
    let until = pass.now.saturating_add(span).unwrap_or(Timestamp::MAX);
    let ahead = Pass { now: until, ..*pass };
    let near = instants(&ahead, from).into_iter().find(|(due_at, ..)| (from..=until).contains(due_at));
    near.map(|(_, agent, _)| agent.slug)
}

fn why_skipped(late: SignedDuration) -> String {
    let minutes = late.as_mins();
    let late = if minutes < 120 { format!("{minutes} minutes") } else { format!("{} hours", minutes / 60) };
    format!("noticed {late} late: the machine slept or fleetd was down")
}

/// The oldest due instant that can still matter.
fn oldest(pass: &Pass<'_>) -> Timestamp {
    let window = pass.now.saturating_sub(LATEST).unwrap_or(pass.now);
    let Some(last) = pass.last else { return window };
    let week = pass.now.saturating_sub(SignedDuration::from_hours(24 * DAYS_BACK)).unwrap_or(pass.now);
    let last = last.saturating_sub(LATEST).unwrap_or(last);
    last.max(week).min(window)
}

/// Every staggered instant from about `oldest` to about now, in its order.
fn instants<'a>(pass: &Pass<'a>, oldest: Timestamp) -> Vec<(Timestamp, Candidate<'a>, Date)> {
    // The last of a group that is due at one instant comes this much later.
    let span = pass.stagger.saturating_mul(u32::try_from(pass.agents.len()).unwrap_or(u32::MAX));
    let earliest =
        oldest.saturating_sub(SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)).unwrap_or(oldest);
    let mut groups: BTreeMap<Timestamp, Vec<(Candidate<'a>, Date)>> = BTreeMap::new();
    for agent in pass.agents {
        let zone = &agent.schedule.zone;
        let (from, to) = (zone.to_datetime(earliest).date(), zone.to_datetime(pass.now).date());
        // A day more, since a gap can take a nudge over midnight.
        for day in from.yesterday().unwrap_or(from).series(jiff::Span::new().days(1)).take_while(|day| *day <= to) {
            if falls_on(agent.schedule, day)
                && let Some(instant) = instant_of(agent.schedule, day)
            {
                groups.entry(instant).or_default().push((*agent, day));
            }
        }
    }
    let mut instants: Vec<_> =
        groups.into_iter().flat_map(|(instant, group)| staggered(instant, group, pass.stagger)).collect();
    instants.sort_by_key(|(due_at, ..)| *due_at);
    instants
}

fn staggered<'a>(
    instant: Timestamp,
    group: Vec<(Candidate<'a>, Date)>,
    stagger: Duration,
) -> impl Iterator<Item = (Timestamp, Candidate<'a>, Date)> {
    group.into_iter().zip(0_u32..).filter_map(move |((agent, day), place)| {
        let due_at = instant.checked_add(stagger.checked_mul(place)?).ok()?;
        Some((due_at, agent, day))
    })
}

fn falls_on(schedule: &Schedule, day: Date) -> bool {
    schedule.weekdays.contains(day.weekday())
        && schedule.dates.days >> day.day() & 1 == 1
        && schedule.dates.months >> day.month() & 1 == 1
}

/// When the nudge of a local day is due. None for a day that the zone left out (Samoa had no 30 December 2011).
fn instant_of(schedule: &Schedule, day: Date) -> Option<Timestamp> {
    let ambiguous = schedule.zone.to_ambiguous_timestamp(day.to_datetime(schedule.time));
    let AmbiguousOffset::Gap { before, after } = ambiguous.offset() else {
        // Where the time comes twice, the first counts.
        return ambiguous.earlier().ok();
    };
    // Read with the offset after the gap, the missing time lies before it: the next transition is the gap itself.
    let just_before = ambiguous.earlier().ok()?;
    let gap = schedule.zone.following(just_before).next()?.timestamp();
    let (last, first) = (before.to_datetime(gap), after.to_datetime(gap));
    let began = last > day.to_datetime(jiff::civil::Time::MIN);
    let goes_on = first.date() == day;
    (began || goes_on).then_some(gap)
}

#[cfg(test)]
mod tests;
