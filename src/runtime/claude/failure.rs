//! What cut a turn of Claude's off: the kind that its hook names, and the CLI's own words (texts of 2.1.197).

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

use crate::model::Blocked;

/// How the words of a used-up allowance begin; any other `rate_limit` is a moment's.
const USED_UP: [&str; 3] = ["You've hit your", "You've reached your", "You're out of usage credits"];

/// The words for a conversation that the model's context can't hold.
const TOO_LONG: &str = "Prompt is too long";

/// The CLI tells the minute in which the limit ends, and not the second.
const WHOLE_MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// What must change before the agent can go on; none where the failure says nothing of that. `at` is when it failed.
pub(super) fn blocked(kind: Option<&str>, words: &str, at: Option<Timestamp>) -> Option<Blocked> {
    if words == TOO_LONG {
        return Some(Blocked::ContextFull);
    }
    match kind? {
        "rate_limit" if USED_UP.iter().any(|start| words.starts_with(start)) => {
            Some(Blocked::UsageLimit { until: at.and_then(|at| resets(words, at)) })
        }
        "billing_error" => Some(Blocked::UsageLimit { until: None }),
        "rate_limit" | "overloaded" => Some(Blocked::RateLimited { until: None }),
        "server_error" if words.contains("529") => Some(Blocked::RateLimited { until: None }),
        "authentication_failed" | "oauth_org_not_allowed" => Some(Blocked::Login { what: words.to_owned() }),
        _ => None,
    }
}

/// `… · resets 3:30pm (Europe/Berlin)`, with `Nov 21, ` or `Nov 21, 2027, ` in front of an hour that is further away.
fn resets(words: &str, at: Timestamp) -> Option<Timestamp> {
    let (_, told) = words.split_once("resets ")?;
    let (told, zone) = told.split_once(" (")?;
    let now = at.to_zoned(TimeZone::get(zone.split(')').next()?).ok()?);
    let (date, hour) = match told.rsplit_once(", ") {
        Some((date, hour)) => (Some(date), hour),
        None => (None, told),
    };
    let time = time(hour)?;
    let zoned = match date {
        Some(date) => dated(date, time, &now)?,
        None => {
            let today = now.with().time(time).build().ok()?;
            let over = today.timestamp().saturating_add(WHOLE_MINUTE).ok()? <= at;
            if over { today.checked_add(1.day()).ok()? } else { today }
        }
    };
    zoned.timestamp().saturating_add(WHOLE_MINUTE).ok()
}

/// `3pm`, `3:30pm`.
fn time(told: &str) -> Option<Time> {
    let (digits, afternoon) = match (told.strip_suffix("am"), told.strip_suffix("pm")) {
        (Some(digits), _) => (digits, 0),
        (_, Some(digits)) => (digits, 12),
        _ => return None,
    };
    let (hour, minute) = digits.split_once(':').unwrap_or((digits, "0"));
    let hour: i8 = hour.parse().ok().filter(|hour| (1..=12).contains(hour))?;
    Time::new(hour % 12 + afternoon, minute.parse().ok()?, 0, 0).ok()
}

/// `Nov 21` or `Nov 21, 2027`; without a year the next such day.
fn dated(date: &str, time: Time, now: &Zoned) -> Option<Zoned> {
    let (day, year) = match date.split_once(", ") {
        Some((day, year)) => (day, year.parse().ok()?),
        None => (date, now.year()),
    };
    let date = jiff::civil::Date::strptime("%b %d %Y", format!("{day} {year}")).ok()?;
    let zoned = DateTime::from_parts(date, time).to_zoned(now.time_zone().clone()).ok()?;
    if zoned.timestamp() < now.timestamp() { zoned.checked_add(1.year()).ok() } else { Some(zoned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_end_of_a_limit_is_read_from_the_real_words_and_never_too_early() {
        let failed = at("2026-11-20T21:00:55Z");
        for (words, until) in [
            ("You've hit your session limit · resets 12am (Europe/Berlin)", Some("2026-11-20T23:01:00Z")),
            ("You've hit your session limit · resets 10:30pm (UTC)", Some("2026-11-20T22:31:00Z")),
            ("You've hit your session limit · resets 9pm (UTC)", Some("2026-11-20T21:01:00Z")),
            ("You've hit your session limit · resets 8:59pm (UTC)", Some("2026-11-21T21:00:00Z")),
            ("You've hit your session limit · resets 12:05pm (UTC)", Some("2026-11-21T12:06:00Z")),
            ("You've hit your weekly limit · resets Nov 24, 3pm (Europe/Berlin)", Some("2026-11-24T14:01:00Z")),
            ("You've hit your weekly limit · resets Jan 2, 2027, 3:15pm (UTC)", Some("2027-01-02T15:16:00Z")),
            ("You've hit your weekly limit · resets Jan 2, 3am (UTC)", Some("2027-01-02T03:01:00Z")),
            ("You've hit your usage limit", None),
            ("You've hit your usage limit · resets soon (UTC)", None),
            ("You've hit your usage limit · resets 3pm (Nowhere/At all)", None),
            ("You've hit your usage limit · resets 13pm (UTC)", None),
        ] {
            let read = blocked(Some("rate_limit"), words, Some(failed));
            assert_eq!(read, Some(Blocked::UsageLimit { until: until.map(at) }), "{words}");
        }
    }

    #[test]
    fn what_only_looks_like_a_limit_is_not_waited_for() {
        for (kind, words, expected) in [
            (Some("rate_limit"), "API Error: Request rejected (429) · x", Some(Blocked::RateLimited { until: None })),
            (Some("overloaded"), "Repeated 529 Overloaded errors", Some(Blocked::RateLimited { until: None })),
            (Some("billing_error"), "Credit balance is too low", Some(Blocked::UsageLimit { until: None })),
            (Some("authentication_failed"), "run /login", Some(Blocked::Login { what: "run /login".into() })),
            (Some("invalid_request"), TOO_LONG, Some(Blocked::ContextFull)),
            (Some("invalid_request"), "API Error: 400 You've hit your nose", None),
            (Some("unknown"), "You've hit your session limit", None),
            (None, "anything", None),
        ] {
            assert_eq!(blocked(kind, words, None), expected, "{kind:?} {words}");
        }
    }
}
