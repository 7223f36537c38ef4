//! The judgement as tables, by stories of a clock, and over every zone and transition of twenty years.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use jiff::civil::{Time, date, time};
use jiff::tz::{Offset, TimeZone, db};

use super::*;
use crate::model::{DateFilter, WeekdaySet};

fn daily(zone: &TimeZone, time: Time) -> Schedule {
    Schedule { time, weekdays: WeekdaySet::ALL, dates: DateFilter::ALL, zone: zone.clone() }
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A daemon that notes what it did: one nudge or skip settles a day.
struct Machine {
    agents: Vec<(Slug, Schedule)>,
    stagger: Duration,
    last: Option<Timestamp>,
    settled: BTreeSet<(Slug, Date)>,
    steps: Vec<Step>,
}

impl Machine {
    fn new(agents: Vec<(&str, Schedule)>, stagger: u64) -> Self {
        let agents = agents.into_iter().map(|(slug, schedule)| (slug.parse().unwrap(), schedule)).collect();
        Self { agents, stagger: Duration::from_secs(stagger), last: None, settled: BTreeSet::new(), steps: Vec::new() }
    }

    fn tick(&mut self, now: Timestamp) -> Vec<String> {
        let agents: Vec<Candidate<'_>> =
            self.agents.iter().map(|(slug, schedule)| Candidate { slug, schedule }).collect();
        let pass = Pass { now, last: self.last, stagger: self.stagger, agents: &agents };
        let settled = &self.settled;
        let steps =
            due(&pass, |slug, day| if settled.contains(&(slug.clone(), day)) { Settled::Yes } else { Settled::No });
        self.last = Some(now);
        self.settled.extend(steps.iter().map(|step| {
            let (_, slug, day) = parts(step);
            (slug.clone(), day)
        }));
        let said = steps.iter().map(say).collect();
        self.steps.extend(steps);
        said
    }

    /// Ticks every 30 s from one instant to another, both included.
    fn run(&mut self, from: &str, to: &str) -> Vec<String> {
        let (mut now, to) = (at(from), at(to));
        let mut said = Vec::new();
        while now <= to {
            said.extend(self.tick(now).into_iter().map(|step| format!("{} {step}", now.strftime("%H:%M:%S"))));
            now += 30.seconds();
        }
        said
    }
}

fn parts(step: &Step) -> (&'static str, &Slug, Date) {
    match step {
        Step::Nudge { slug, day, .. } => ("nudge", slug, *day),
        Step::Skip { slug, day, .. } => ("skip", slug, *day),
        Step::Withhold { slug, day, .. } => ("withhold", slug, *day),
    }
}

fn say(step: &Step) -> String {
    let (word, slug, day) = parts(step);
    format!("{word} {slug} {day}")
}

fn berlin_nine() -> Schedule {
    Schedule { weekdays: WeekdaySet::WORKDAYS, ..daily(&zone("Europe/Berlin"), time(9, 0, 0, 0)) }
}

#[test]
fn nine_o_clock_stays_nine_o_clock_on_each_workday_of_a_year() {
    let mut days = Vec::new();
    let mut now = at("2026-01-01T00:00:00Z");
    while let Some(instant) = next(now, &berlin_nine()).filter(|instant| *instant < at("2027-01-01T00:00:00Z")) {
        days.push(instant.to_zoned(zone("Europe/Berlin")));
        now = instant;
    }
    assert_eq!(days.len(), 261);
    assert!(days.iter().all(|day| day.time() == time(9, 0, 0, 0) && day.weekday().to_monday_one_offset() <= 5));
}

#[test]
fn a_nudge_comes_once_and_not_at_the_weekend() {
    let mut machine = Machine::new(vec![("pr", berlin_nine())], 120);
    assert_eq!(machine.run("2026-11-20T07:00:00Z", "2026-11-22T12:00:00Z"), ["08:00:00 nudge pr 2026-11-20"]);
}

#[test]
fn agents_due_together_start_apart_in_file_order_even_over_midnight() {
    let late = daily(&TimeZone::UTC, time(23, 58, 0, 0));
    let mut machine = Machine::new(
        vec![
            ("b", late.clone()),
            ("a", late.clone()),
            ("other", daily(&TimeZone::UTC, time(23, 59, 0, 0))),
            ("c", late),
        ],
        120,
    );
    assert_eq!(
        machine.run("2026-11-20T23:50:00Z", "2026-11-21T00:10:00Z"),
        [
            "23:58:00 nudge b 2026-11-20",
            "23:59:00 nudge other 2026-11-20",
            "00:00:00 nudge a 2026-11-20",
            "00:02:00 nudge c 2026-11-20"
        ]
    );
}

#[test]
fn the_same_instant_in_two_zones_is_staggered_too() {
    let mut machine =
        Machine::new(vec![("berlin", berlin_nine()), ("utc", daily(&TimeZone::UTC, time(8, 0, 0, 0)))], 60);
    assert_eq!(
        machine.run("2026-11-20T07:59:00Z", "2026-11-20T08:05:00Z"),
        ["08:00:00 nudge berlin 2026-11-20", "08:01:00 nudge utc 2026-11-20"]
    );
}

#[test]
fn a_nudge_the_box_slept_through_is_skipped_once_and_never_replayed() {
    let mut machine = Machine::new(vec![("pr", berlin_nine())], 120);
    assert_eq!(machine.run("2026-11-20T07:50:00Z", "2026-11-20T07:59:30Z"), [""; 0]);
    assert_eq!(machine.run("2026-11-20T08:02:30Z", "2026-11-20T12:00:00Z"), ["08:02:30 skip pr 2026-11-20"]);
    assert!(matches!(&machine.steps[..], [Step::Skip { why, .. }] if why.contains("2 minutes late")));
    // A weekend and a Monday off: only the workday that was missed is told.
    assert_eq!(
        machine.run("2026-11-23T20:00:00Z", "2026-11-24T08:00:00Z"),
        ["20:00:00 skip pr 2026-11-23", "08:00:00 nudge pr 2026-11-24"]
    );
    // A month off: the last week is told.
    assert_eq!(machine.tick(at("2026-12-24T20:00:00Z")).len(), 5);
}

#[test]
fn a_restart_within_two_minutes_still_gives_the_nudge_and_gives_it_once() {
    for (start, expected) in
        [("2026-11-20T08:02:00Z", vec!["08:02:00 nudge pr 2026-11-20"]), ("2026-11-20T08:02:01Z", vec![])]
    {
        let mut machine = Machine::new(vec![("pr", berlin_nine())], 120);
        assert_eq!(machine.run(start, "2026-11-20T09:00:00Z"), expected, "first start ever");
    }
    let mut machine = Machine::new(vec![("pr", berlin_nine())], 120);
    machine.run("2026-11-20T07:00:00Z", "2026-11-20T08:00:30Z");
    machine.steps.clear();
    assert_eq!(machine.run("2026-11-20T08:01:00Z", "2026-11-20T09:00:00Z"), [""; 0], "the day is settled");
}

#[test]
fn lateness_counts_from_an_agent_s_own_staggered_instant() {
    let mut machine = Machine::new(vec![("a", berlin_nine()), ("b", berlin_nine()), ("c", berlin_nine())], 120);
    machine.tick(at("2026-11-20T07:59:50Z"));
    assert_eq!(machine.tick(at("2026-11-20T08:03:00Z")), ["skip a 2026-11-20", "nudge b 2026-11-20"]);
    assert_eq!(machine.tick(at("2026-11-20T08:04:00Z")), ["nudge c 2026-11-20"]);
}

#[test]
fn a_clock_that_is_set_back_gives_no_second_nudge() {
    let mut machine = Machine::new(vec![("pr", berlin_nine())], 120);
    assert_eq!(machine.run("2026-11-20T07:59:00Z", "2026-11-20T08:10:00Z").len(), 1);
    assert_eq!(machine.run("2026-11-20T06:00:00Z", "2026-11-20T12:00:00Z"), [""; 0]);
    // Set back before it was due: it comes when the clock gets there.
    let mut machine = Machine::new(vec![("pr", berlin_nine())], 120);
    machine.tick(at("2026-11-20T07:59:30Z"));
    assert_eq!(machine.run("2026-11-20T07:00:00Z", "2026-11-20T12:00:00Z"), ["08:00:00 nudge pr 2026-11-20"]);
}

#[test]
fn a_clock_that_jumps_over_the_hour_skips_as_a_sleep_does() {
    let mut machine = Machine::new(vec![("pr", berlin_nine())], 120);
    machine.tick(at("2026-11-20T07:59:59Z"));
    assert_eq!(machine.tick(at("2026-11-20T09:59:59Z")), ["skip pr 2026-11-20"]);
}

#[test]
fn a_day_whose_stamp_can_t_be_read_gets_no_nudge_and_says_so() {
    let slug: Slug = "pr".parse().unwrap();
    let schedule = berlin_nine();
    let agents = [Candidate { slug: &slug, schedule: &schedule }];
    for (now, last) in
        [("2026-11-20T08:00:10Z", "2026-11-20T07:59:40Z"), ("2026-11-20T10:00:00Z", "2026-11-20T07:59:40Z")]
    {
        let pass = Pass { now: at(now), last: Some(at(last)), stagger: Duration::ZERO, agents: &agents };
        let steps = due(&pass, |_, _| Settled::Unknown { why: "no rights".into() });
        let day = date(2026, 11, 20);
        assert_eq!(
            steps,
            [Step::Withhold { slug: slug.clone(), day, due_at: at("2026-11-20T08:00:00Z"), why: "no rights".into() }]
        );
    }
}

#[test]
fn an_agent_that_is_new_in_the_file_is_not_told_to_have_missed_this_morning() {
    let mut machine = Machine::new(vec![], 0);
    machine.run("2026-11-20T07:00:00Z", "2026-11-20T10:00:00Z");
    machine.agents.push(("pr".parse().unwrap(), berlin_nine()));
    assert_eq!(machine.run("2026-11-20T10:00:30Z", "2026-11-20T11:00:00Z"), [""; 0]);
}

#[test]
fn gaps_folds_and_days_that_never_were() {
    for (name, time, day, instant) in [
        // Spring: 02:30 is not, 03:00 summer time is the gap's end. Autumn: 02:30 comes twice, the first counts.
        ("Europe/Berlin", time(2, 30, 0, 0), date(2026, 3, 29), Some("2026-03-29T01:00:00Z")),
        ("Europe/Berlin", time(2, 0, 0, 0), date(2026, 3, 29), Some("2026-03-29T01:00:00Z")),
        ("Europe/Berlin", time(3, 0, 0, 0), date(2026, 3, 29), Some("2026-03-29T01:00:00Z")),
        ("Europe/Berlin", time(2, 30, 0, 0), date(2026, 10, 25), Some("2026-10-25T00:30:00Z")),
        ("Europe/Berlin", time(3, 0, 0, 0), date(2026, 10, 25), Some("2026-10-25T02:00:00Z")),
        // Half an hour only.
        ("Australia/Lord_Howe", time(2, 10, 0, 0), date(2026, 10, 4), Some("2026-10-03T15:30:00Z")),
        // Midnight itself is missing.
        ("Africa/Cairo", time(0, 0, 0, 0), date(2026, 4, 24), Some("2026-04-23T22:00:00Z")),
        // The gap reaches to midnight: the nudge of Saturday comes at Sunday's first instant.
        ("America/Nuuk", time(23, 30, 0, 0), date(2024, 3, 30), Some("2024-03-31T01:00:00Z")),
        ("Pacific/Apia", time(9, 0, 0, 0), date(2011, 12, 29), Some("2011-12-29T19:00:00Z")),
        ("Pacific/Apia", time(9, 0, 0, 0), date(2011, 12, 30), None),
        ("Pacific/Apia", time(0, 0, 0, 0), date(2011, 12, 30), None),
        ("Pacific/Apia", time(0, 0, 0, 0), date(2011, 12, 31), Some("2011-12-30T10:00:00Z")),
        ("Pacific/Kwajalein", time(9, 0, 0, 0), date(1993, 8, 21), None),
        ("Pacific/Kwajalein", time(9, 0, 0, 0), date(1993, 8, 22), Some("1993-08-21T21:00:00Z")),
    ] {
        assert_eq!(instant_of(&daily(&zone(name), time), day), instant.map(at), "{name} {day} {time}");
    }
    let leap =
        Schedule { dates: DateFilter { days: 1 << 29, months: 1 << 2 }, ..daily(&TimeZone::UTC, time(9, 0, 0, 0)) };
    assert_eq!(next(at("2096-03-01T00:00:00Z"), &leap), Some(at("2104-02-29T09:00:00Z")));
    assert_eq!(next(at("2026-03-01T00:00:00Z"), &Schedule { weekdays: WeekdaySet::default(), ..leap }), None);
}

/// A change of a zone's offset.
struct Change {
    zone: TimeZone,
    name: String,
    at: Timestamp,
    before: Offset,
    after: Offset,
}

/// Every transition of every zone from 2020 to 2040.
fn changes() -> Vec<Change> {
    let mut changes = Vec::new();
    for name in db().available() {
        let Ok(zone) = TimeZone::get(name.as_str()) else { continue };
        for transition in
            zone.following(at("2020-01-01T00:00:00Z")).take_while(|t| t.timestamp() < at("2041-01-01T00:00:00Z"))
        {
            let at = transition.timestamp();
            let before = zone.to_offset(at - 1.second());
            if before != transition.offset() {
                changes.push(Change {
                    zone: zone.clone(),
                    name: name.to_string(),
                    at,
                    before,
                    after: transition.offset(),
                });
            }
        }
    }
    changes
}

/// Local times that a change could harm: its ends, their neighbours, its middle, and some that it leaves alone.
fn risky_times(change: &Change) -> BTreeSet<Time> {
    let (last, first) = (change.before.to_datetime(change.at), change.after.to_datetime(change.at));
    let near = [-60, -1, 0, 1, 15, 30, 59, 60];
    let times = [last, first]
        .into_iter()
        .flat_map(|moment| near.map(|minutes| moment.saturating_add(minutes.minutes()).time()));
    times
        .chain([time(0, 0, 0, 0), time(9, 0, 0, 0), time(23, 59, 0, 0)])
        .map(|time| time.with().second(0).subsec_nanosecond(0).build().unwrap())
        .collect()
}

#[test]
fn in_every_zone_each_day_has_one_instant_and_its_own_wall_clock_time() {
    let changes = changes();
    assert!(changes.len() > 5_000, "only {} changes: is there a time zone database?", changes.len());
    for change in &changes {
        let Change { zone, name, at, before, .. } = change;
        let middle = before.to_datetime(*at).date();
        for time in [time(9, 0, 0, 0), time(0, 0, 0, 0)].into_iter().chain(risky_times(change).into_iter().step_by(4)) {
            let schedule = daily(zone, time);
            let mut last = Timestamp::MIN;
            for day in [middle.yesterday().unwrap(), middle, middle.tomorrow().unwrap()] {
                let instant = instant_of(&schedule, day).unwrap_or_else(|| panic!("{name}: no nudge on {day} {time}"));
                assert!(instant > last, "{name} {day} {time}");
                last = instant;
                let wall = zone.to_datetime(instant);
                let in_gap =
                    instant == *at && before.to_datetime(*at) <= day.to_datetime(time) && day.to_datetime(time) < wall;
                assert!(wall == day.to_datetime(time) || in_gap, "{name}: {day} {time} came at {wall}");
            }
        }
    }
}

#[test]
fn ticking_through_every_kind_of_change_gives_one_nudge_a_day_when_the_wall_clock_says_so() {
    // Zones that change alike, at one local time and by as far, are one kind; each year's, which takes minutes, in `make soak`.
    let every_year = std::env::var_os("FLEET_EVERY_YEAR").is_some();
    let kind = |change: &Change| {
        let local = change.before.to_datetime(change.at);
        (every_year.then_some(local.date()), local.time(), change.before.seconds(), change.after.seconds())
    };
    let kinds: BTreeMap<_, Change> = changes().into_iter().map(|change| (kind(&change), change)).collect();
    assert!(kinds.len() > 30, "{}", kinds.len());
    tick_through(kinds.into_values());
}

fn tick_through(changes: impl Iterator<Item = Change>) {
    for change in changes {
        let times: Vec<Time> = risky_times(&change).into_iter().collect();
        let names: Vec<String> = (0..times.len()).map(|n| format!("a{n}")).collect();
        let agents =
            names.iter().map(String::as_str).zip(times.iter().map(|time| daily(&change.zone, *time))).collect();
        let mut machine = Machine::new(agents, 0);
        let mut told = BTreeSet::new();
        for now in ticks(&change, &times) {
            for step in machine.tick(now) {
                assert!(told.insert((now, step)));
            }
        }
        assert_eq!(told, by_the_wall_clock(&change, &times), "{} at {}", change.name, change.at);
    }
}

/// What somebody who only looks at the wall clock would do: act at the first tick of a day at which it has reached the time.
fn by_the_wall_clock(change: &Change, times: &[Time]) -> BTreeSet<(Timestamp, String)> {
    let mut previous = change.zone.to_datetime(change.at - 26.hours() - LATEST - 1.second());
    let mut done = BTreeSet::new();
    let mut expected = BTreeSet::new();
    for now in ticks(change, times) {
        let wall = change.zone.to_datetime(now);
        for (n, time) in times.iter().enumerate() {
            for day in BTreeSet::from([previous.date(), wall.date()]) {
                let due = day.to_datetime(*time);
                if previous < due && due <= wall && done.insert((n, day)) {
                    expected.insert((now, format!("nudge a{n} {day}")));
                }
            }
        }
        previous = wall;
    }
    expected
}

/// Every 30 s around the change and around each of the times; in the hours between, where nothing is due, every 10 minutes.
fn ticks(change: &Change, times: &[Time]) -> Vec<Timestamp> {
    let minutes = |time: Time| i32::from(time.hour()) * 60 + i32::from(time.minute());
    let mut ticks = vec![change.at - 26.hours()];
    while let Some(now) = ticks.last().copied().filter(|now| *now < change.at + 26.hours()) {
        let wall = minutes(change.zone.to_datetime(now).time());
        let near = times.iter().any(|time| !(12..=1436).contains(&(minutes(*time) - wall).rem_euclid(1440)));
        let close = now.duration_since(change.at).abs() < SignedDuration::from_mins(12);
        ticks.push(now + if near || close { 30.seconds() } else { 600.seconds() });
    }
    ticks
}

#[test]
fn a_nudge_that_is_staggered_past_its_hour_is_still_to_come_for_a_box_that_wants_to_stop() {
    let berlin = daily(&zone("Europe/Berlin"), time(9, 0, 0, 0));
    let tokyo = daily(&zone("Asia/Tokyo"), time(17, 29, 0, 0));
    let agents: Vec<(Slug, Schedule)> = [("ann", &berlin), ("bob", &berlin), ("kei", &tokyo)]
        .map(|(slug, one)| (slug.parse().unwrap(), one.clone()))
        .into();
    let candidates: Vec<Candidate<'_>> = agents.iter().map(|(slug, schedule)| Candidate { slug, schedule }).collect();
    let span = SignedDuration::from_mins(30);
    for (now, expected) in [
        // 08:29 in Berlin is 16:29 in Tokyo in winter; kei's nudge is due at 09:29 Berlin's time.
        ("2026-01-05T07:29:59Z", None),
        ("2026-01-05T07:30:00Z", Some("ann")),
        ("2026-01-05T08:01:59Z", Some("ann")),
        ("2026-01-05T08:10:00Z", Some("kei")),
        ("2026-01-05T08:35:00Z", Some("bob")),
        ("2026-01-05T08:41:59Z", Some("bob")),
        ("2026-01-05T08:42:01Z", None),
    ] {
        let pass = Pass { now: at(now), last: None, stagger: Duration::from_secs(40 * 60), agents: &candidates };
        assert_eq!(soon(&pass, span).map(Slug::as_str), expected, "{now}");
    }
}
