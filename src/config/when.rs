//! The text of a `schedule:` as a [`Schedule`]: a time with weekdays and a zone, or a cron expression that comes once a day.

use std::ops::Range;

use jiff::civil::{Time, Weekday};
use jiff::tz::{self, TimeZone};

use super::mistake::nearest;
use crate::model::{DateFilter, Schedule, WeekdaySet};

/// Why a text is no schedule, which part of it is meant (in bytes), and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unclear {
    pub(super) part: Range<usize>,
    pub(super) what: String,
    pub(super) instead: String,
}

type Judged<T> = Result<T, Unclear>;

fn unclear<T>(part: &Word<'_>, what: impl Into<String>, instead: impl Into<String>) -> Judged<T> {
    Err(Unclear { part: part.at..part.at + part.text.len(), what: what.into(), instead: instead.into() })
}

/// A piece of a text that knows where it began.
#[derive(Debug, Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Word<'t> {
    fn split(self, separator: impl Fn(char) -> bool + Copy) -> impl Iterator<Item = Self> {
        let mut at = self.at;
        self.text.split(separator).map(move |text| {
            let word = Self { text, at };
            at += text.len() + 1;
            word
        })
    }

    fn number(self) -> Option<u8> {
        let digits =
            !self.text.is_empty() && self.text.len() <= 2 && self.text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { self.text.parse().ok() } else { None }
    }
}

fn words(text: &str) -> Vec<Word<'_>> {
    Word { text, at: 0 }.split(|c: char| c == ' ' || c == '\t').filter(|word| !word.text.is_empty()).collect()
}

/// `[weekdays] [*-*-*] HH:MM[:00] [zone]`. A time alone means Monday to Friday; a date of `*-*-*` alone means every day,
/// as it does to systemd.
pub(super) fn calendar(text: &str, zone: &TimeZone) -> Judged<Schedule> {
    let mut rest = words(text).into_iter().peekable();
    let is_time = |word: &Word<'_>| word.text.contains(':') || word.text.starts_with(|c: char| c.is_ascii_digit());
    let is_date = |word: &Word<'_>| word.text.contains('*') || word.text.matches('-').count() == 2;
    let weekdays = match rest.next_if(|word| !is_time(word) && !is_date(word)) {
        Some(word) => Some(weekdays(word)?),
        None => None,
    };
    let date = rest.next_if(|word| is_date(word));
    if let Some(date) = date.filter(|date| date.text != "*-*-*") {
        let instead = "write `*-*-*` for every date, or pick dates with `{cron: \"0 9 1 * *\"}`";
        return unclear(&date, format!("dates such as `{}` are not understood here", date.text), instead);
    }
    let Some(word) = rest.next() else {
        let all = Word { text, at: 0 };
        return unclear(
            &all,
            format!("`{text}` names no time"),
            "write a 24-hour time, for example \"09:00\" or \"Mon,Wed 09:00\"",
        );
    };
    let time = time(word)?;
    let zone = rest.next().map_or(Ok(zone.clone()), zone_word)?;
    if let Some(extra) = rest.next() {
        let instead = "write weekdays, time and zone once each: \"Mon..Fri 09:00 Europe/Berlin\"";
        return unclear(&extra, format!("`{}` is one word too many", extra.text), instead);
    }
    let usual = if date.is_some() { WeekdaySet::ALL } else { WeekdaySet::WORKDAYS };
    Ok(Schedule { time, weekdays: weekdays.unwrap_or(usual), dates: DateFilter::ALL, zone })
}

fn time(word: Word<'_>) -> Judged<Time> {
    let parts: Vec<Word<'_>> = word.split(|c| c == ':').collect();
    let numbers: Option<Vec<u8>> = parts.iter().map(|part| part.number()).collect();
    let what = format!("`{}` is not a time of day", word.text);
    match numbers.as_deref() {
        Some([hour @ 0..=23, minute @ 0..=59]) | Some([hour @ 0..=23, minute @ 0..=59, 0]) => {
            if parts.iter().any(|part| part.text.len() != 2) {
                return unclear(&word, what, format!("write \"{hour:02}:{minute:02}\""));
            }
            Ok(Time::constant(hour.cast_signed(), minute.cast_signed(), 0, 0))
        }
        Some([hour @ 0..=23, minute @ 0..=59, 1..=59]) => {
            unclear(&word, "a schedule is to the minute", format!("write \"{hour:02}:{minute:02}\""))
        }
        Some([24, 0, ..]) => unclear(&word, what, "midnight is \"00:00\", of the day that begins then"),
        _ => unclear(&word, what, "write a 24-hour time from \"00:00\" to \"23:59\", for example \"09:00\""),
    }
}

const WEEKDAYS: [(&str, &str); 7] = [
    ("Mon", "Monday"),
    ("Tue", "Tuesday"),
    ("Wed", "Wednesday"),
    ("Thu", "Thursday"),
    ("Fri", "Friday"),
    ("Sat", "Saturday"),
    ("Sun", "Sunday"),
];

fn weekdays(word: Word<'_>) -> Judged<WeekdaySet> {
    let mut set = WeekdaySet::default();
    for item in word.split(|c| c == ',') {
        let (first, last) = match item.text.split_once("..") {
            Some((first, last)) => {
                let last = Word { text: last, at: item.at + first.len() + 2 };
                (weekday(Word { text: first, at: item.at })?, weekday(last)?)
            }
            None => (weekday(item)?, weekday(item)?),
        };
        if first > last {
            let instead = "a week begins on Monday: name the days, for example `Fri,Sat,Sun,Mon`";
            return unclear(&item, format!("`{}` ends before it begins", item.text), instead);
        }
        set = (first..=last).fold(set, with_weekday);
    }
    Ok(set)
}

fn with_weekday(set: WeekdaySet, monday_based: i8) -> WeekdaySet {
    Weekday::from_monday_zero_offset(monday_based).map_or(set, |day| set.with(day))
}

/// From 0 for Monday.
fn weekday(word: Word<'_>) -> Judged<i8> {
    let same = |name: &str| name.eq_ignore_ascii_case(word.text);
    if let Some(at) = WEEKDAYS.iter().position(|(short, long)| same(short) || same(long)) {
        return Ok(i8::try_from(at).unwrap_or_default());
    }
    let instead = match word.text.split_once('-') {
        Some((first, last)) => format!("a range is written `{first}..{last}`"),
        None => match nearest(word.text, WEEKDAYS.iter().flat_map(|(short, long)| [*short, *long])) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the weekdays are `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat`, `Sun`".to_owned(),
        },
    };
    unclear(&word, format!("`{}` is not a weekday", word.text), instead)
}

fn zone_word(word: Word<'_>) -> Judged<TimeZone> {
    zone(word.text).map_err(|(what, instead)| Unclear { part: word.at..word.at + word.text.len(), what, instead })
}

/// The zone of that IANA name, or what is wrong and what to write instead.
pub(super) fn zone(name: &str) -> Result<TimeZone, (String, String)> {
    if name.contains('/') || name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        if let Ok(zone) = TimeZone::get(name)
            && !zone.is_unknown()
        {
            return Ok(zone);
        }
    } else {
        let what = format!("`{name}` is not a time zone");
        return Err((what, "name a place, for example `Europe/Berlin`: an offset knows no summer time".to_owned()));
    }
    let known: Vec<tz::TimeZoneName<'_>> = tz::db().available().collect();
    let what = format!("unknown time zone `{name}`");
    if known.len() < 2 {
        return Err((what, "this machine has no time zone database: install the package `tzdata`".to_owned()));
    }
    Err((
        what,
        match nearest_zone(name, known.iter().map(|name| name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write an IANA name, for example `Europe/Berlin` or `America/New_York`".to_owned(),
        },
    ))
}

/// A city alone is enough to know what was meant.
fn nearest_zone<'z>(name: &str, known: impl Iterator<Item = &'z str> + Clone) -> Option<&'z str> {
    let city = |zone: &'z str| zone.rsplit_once('/').map(|(_, city)| city);
    let wanted = name.replace(' ', "_");
    known
        .clone()
        .find(|zone| city(zone).is_some_and(|city| city.eq_ignore_ascii_case(&wanted)))
        .or_else(|| nearest(&wanted, known))
}

/// One field of a cron expression.
struct CronField {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MINUTE: CronField = CronField { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: CronField = CronField { name: "hour", least: 0, most: 23, names: &[] };
const DAY: CronField = CronField { name: "day of the month", least: 1, most: 31, names: &[] };
const MONTH: CronField = CronField { name: "month", least: 1, most: 12, names: &MONTHS };
/// 7 is Sunday too.
const WEEKDAY: CronField = CronField { name: "day of the week", least: 0, most: 7, names: &DAYS };

/// Five fields: minute and hour one number each, since a nudge comes once a day; then dates and weekdays.
pub(super) fn cron(text: &str, zone: &TimeZone) -> Judged<Schedule> {
    let fields = words(text);
    let [minute, hour, day, month, weekday] = fields[..] else {
        let all = Word { text, at: 0 };
        let what = format!("a cron expression has five fields, this one has {}", fields.len());
        return unclear(&all, what, "write minute, hour, day of the month, month, day of the week: \"0 9 * * 1-5\"");
    };
    let time = Time::constant(once(hour, &HOUR)?.cast_signed(), once(minute, &MINUTE)?.cast_signed(), 0, 0);
    let (days, months, weekdays) = (set(day, &DAY)?, set(month, &MONTH)?, set(weekday, &WEEKDAY)?);
    if day.text != "*" && weekday.text != "*" {
        let what = "day of the month and day of the week are both restricted: cron would take either, people mean both";
        return unclear(
            &day,
            what,
            format!("leave one of them `*`: \"{} {} * * {}\"", minute.text, hour.text, weekday.text),
        );
    }
    let dates =
        DateFilter { days: u32::try_from(days).unwrap_or_default(), months: u16::try_from(months).unwrap_or_default() };
    if !exists(dates) {
        return unclear(&day, "no month has such a day: this never comes", "name a day that the month has");
    }
    let weekdays = (0..=7)
        .filter(|day| weekdays >> day & 1 == 1)
        .map(|day: i8| (day + 6) % 7)
        .fold(WeekdaySet::default(), with_weekday);
    Ok(Schedule { time, weekdays, dates, zone: zone.clone() })
}

/// Whether any date of a leap year passes.
fn exists(dates: DateFilter) -> bool {
    let longest = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let has_day = |length: u32| dates.days & (u32::MAX >> (31 - length)) & !1 != 0;
    longest.into_iter().zip(1..).any(|(length, month)| dates.months >> month & 1 == 1 && has_day(length))
}

/// The single number of a field.
fn once(word: Word<'_>, field: &CronField) -> Judged<u8> {
    match word.number() {
        Some(number) if (field.least..=field.most).contains(&number) => Ok(number),
        Some(_) => out_of_range(word, field),
        None => {
            let what = format!("the {} `{}` is not one number, and a nudge comes once a day", field.name, word.text);
            unclear(&word, what, "write one minute and one hour: \"0 9 * * 1-5\"")
        }
    }
}

/// The numbers of a field as bits: `*`, `1-5`, `*/2`, `1,15`, and names where it has them.
fn set(word: Word<'_>, field: &CronField) -> Judged<u64> {
    let mut bits = 0;
    for item in word.split(|c| c == ',') {
        let mut halves = item.split(|c| c == '/');
        let (range, step) = (halves.next().unwrap_or(item), halves.next());
        let step = match step.map(|step| (step, step.number())) {
            None => 1,
            Some((_, Some(step @ 1..))) => step,
            Some((step, _)) => {
                return unclear(&step, format!("`{}` is not a step", step.text), "write for example `*/2`");
            }
        };
        let mut ends = range.split(|c| c == '-');
        let (first, last) = match (range.text, ends.next(), ends.next()) {
            ("*", ..) => (field.least, field.most),
            (_, Some(first), Some(last)) => (number_in(first, field)?, number_in(last, field)?),
            _ => (number_in(range, field)?, number_in(range, field)?),
        };
        if first > last {
            return unclear(
                &item,
                format!("`{}` ends before it begins", item.text),
                "write the smaller number first, or list the numbers",
            );
        }
        bits = (first..=last).step_by(step.into()).fold(bits, |bits, number| bits | 1 << number);
    }
    Ok(bits)
}

fn number_in(word: Word<'_>, field: &CronField) -> Judged<u8> {
    if let Some(at) = field.names.iter().position(|name| name.eq_ignore_ascii_case(word.text)) {
        return Ok(u8::try_from(at).unwrap_or_default() + field.least);
    }
    match word.number() {
        Some(number) if (field.least..=field.most).contains(&number) => Ok(number),
        _ => out_of_range(word, field),
    }
}

fn out_of_range<T>(word: Word<'_>, field: &CronField) -> Judged<T> {
    let CronField { name, least, most, names } = field;
    let names = if names.is_empty() { String::new() } else { format!(", or a name such as {}", names[1]) };
    unclear(&word, format!("`{}` is not a {name}", word.text), format!("write a number from {least} to {most}{names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn say(schedule: &Schedule) -> String {
        let days: String = (0..7)
            .map(|day| {
                if schedule.weekdays.contains(Weekday::from_monday_zero_offset(day).unwrap()) {
                    "MTWTFSS".as_bytes()[usize::from(day.cast_unsigned())] as char
                } else {
                    '-'
                }
            })
            .collect();
        let dates = if schedule.dates == DateFilter::ALL {
            String::new()
        } else {
            format!(" {:x}/{:x}", schedule.dates.days, schedule.dates.months)
        };
        format!("{days} {}{dates} {}", schedule.time.strftime("%H:%M"), schedule.zone.iana_name().unwrap_or("?"))
    }

    #[test]
    fn every_way_to_write_a_time_means_what_it_says() {
        for (text, meant) in [
            ("09:00", "MTWTF-- 09:00 Europe/Berlin"),
            ("00:00", "MTWTF-- 00:00 Europe/Berlin"),
            ("Mon,Wed 09:00", "M-W---- 09:00 Europe/Berlin"),
            ("Mon..Fri *-*-* 09:00:00 America/New_York", "MTWTF-- 09:00 America/New_York"),
            ("Mon..Wed,Sat  23:59 UTC", "MTW--S- 23:59 UTC"),
            ("*-*-* 07:30", "MTWTFSS 07:30 Europe/Berlin"),
            ("monday,SUNDAY 07:30", "M-----S 07:30 Europe/Berlin"),
            ("09:00 Asia/Tokyo", "MTWTF-- 09:00 Asia/Tokyo"),
        ] {
            assert_eq!(calendar(text, &berlin()).as_ref().map(say), Ok(meant.to_owned()), "{text}");
        }
        for (text, meant) in [
            ("0 9 * * 1-5", "MTWTF-- 09:00 Europe/Berlin"),
            ("30 7 * * 0", "------S 07:30 Europe/Berlin"),
            ("30 7 * * 7", "------S 07:30 Europe/Berlin"),
            ("0 9 * * mon,THU", "M--T--- 09:00 Europe/Berlin"),
            ("0 9 * * 5-7", "----FSS 09:00 Europe/Berlin"),
            ("5 9 1,15 * *", "MTWTFSS 09:05 8002/1ffe Europe/Berlin"),
            ("5 9 */10 JAN-MAR *", "MTWTFSS 09:05 80200802/e Europe/Berlin"),
            ("0 9 29 2 *", "MTWTFSS 09:00 20000000/4 Europe/Berlin"),
        ] {
            assert_eq!(cron(text, &berlin()).as_ref().map(say), Ok(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_text_that_could_be_misread_is_refused_at_the_very_word() {
        type Parse = fn(&str, &TimeZone) -> Judged<Schedule>;
        for (parse, text, part) in [
            (calendar as Parse, "9:00", "9:00"),
            (calendar, "09:61", "09:61"),
            (calendar, "24:00", "24:00"),
            (calendar, "9am", "9am"),
            (calendar, "09:00:30", "09:00:30"),
            (calendar, "Mon", "Mon"),
            (calendar, "Mon, Wed 09:00", ""),
            (calendar, "Mon..Fir 09:00", "Fir"),
            (calendar, "Mon-Fri 09:00", "Mon-Fri"),
            (calendar, "Fri..Mon 09:00", "Fri..Mon"),
            (calendar, "2026-*-* 09:00", "2026-*-*"),
            (calendar, "09:00 Europe/Berln", "Europe/Berln"),
            (calendar, "09:00 +02:00", "+02:00"),
            (calendar, "09:00 UTC x", "x"),
            (cron, "0 9 * *", "0 9 * *"),
            (cron, "@daily", "@daily"),
            (cron, "*/5 9 * * *", "*/5"),
            (cron, "0 9,17 * * *", "9,17"),
            (cron, "0 25 * * *", "25"),
            (cron, "0 9 0 * *", "0"),
            (cron, "0 9 1 13 *", "13"),
            (cron, "0 9 * * 5-1", "5-1"),
            (cron, "0 9 * * */0", "0"),
            (cron, "0 9 1 * 1", "1"),
            (cron, "0 9 30 2 *", "30"),
            (cron, "0 9 ? * 1", "?"),
        ] {
            let refused = parse(text, &berlin()).expect_err(text);
            assert_eq!(&text[refused.part.clone()], part, "{text}: {refused:?}");
        }
    }

    #[test]
    fn a_misspelt_zone_is_told_its_neighbour() {
        let instead = |name| zone(name).unwrap_err().1;
        assert_eq!(instead("Europe/Berln"), "did you mean `Europe/Berlin`?");
        assert_eq!(instead("berlin"), "did you mean `Europe/Berlin`?");
        assert_eq!(instead("New York"), "did you mean `America/New_York`?");
        assert!(instead("+02:00").contains("summer time"));
        assert!(instead("Mars/Olympus_Mons").contains("IANA"));
    }
}
