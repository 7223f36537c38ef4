//! The time zone that schedules are read in, and whether the system's clock is kept right.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::command::Program;
use super::house::House;
use super::report::{Check, Line};

/// Looks. Whether the clock is kept right is asked of systemd, which changes nothing by answering.
pub async fn check(house: &House) -> Vec<Line> {
    let asked = Program::new("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
    let synchronized = match asked.run(&house.environment).await {
        Ok(done) if done.success => yes_or_no(&done.stdout),
        _ => None,
    };
    let zone = house.fleet.as_ref().map(|fleet| fleet.timezone.clone());
    vec![judge_zone(zone, TimeZone::try_system().ok(), Timestamp::now()), judge_clock(synchronized)]
}

fn yes_or_no(printed: &str) -> Option<bool> {
    match printed.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn judge_zone(fleet: Option<TimeZone>, system: Option<TimeZone>, now: Timestamp) -> Line {
    let system = system.filter(|zone| !zone.is_unknown());
    let shown = |zone: &TimeZone| {
        let name = zone.iana_name().map_or_else(|| "a zone without a name".to_owned(), str::to_owned);
        format!("{name}, where it is {}", now.to_zoned(zone.clone()).strftime("%a %H:%M"))
    };
    match (fleet, system) {
        (None, Some(system)) => Line::ok(Check::Zone, format!("the machine's zone is {}", shown(&system))),
        // Without `timezone:` and without a zone of the machine's, UTC is what remains.
        (Some(fleet), None) if fleet == TimeZone::UTC => Line::warn(
            Check::Zone,
            "schedules are read as UTC: this machine names no time zone",
            "write `timezone: Europe/Berlin` (or yours) into agents.yaml, or set the machine's: `timedatectl set-timezone`",
        ),
        (Some(fleet), _) => Line::ok(Check::Zone, format!("schedules that name no zone are read in {}", shown(&fleet))),
        (None, None) => {
            Line::warn(Check::Zone, "this machine names no time zone", "write `timezone:` into agents.yaml")
        }
    }
}

fn judge_clock(synchronized: Option<bool>) -> Line {
    match synchronized {
        Some(true) => Line::ok(Check::Clock, "the system's clock is synchronised"),
        Some(false) => Line::warn(
            Check::Clock,
            "the system's clock is not synchronised: nudges may come at a wrong time",
            "`timedatectl set-ntp true`, or install chrony",
        ),
        None => Line::ok(Check::Clock, "whether the clock is synchronised can't be told here (no systemd answers)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn a_schedule_that_is_silently_read_as_utc_is_told() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let at = Timestamp::from_second(1_780_000_000).unwrap();
        let good = judge_zone(Some(berlin.clone()), None, at);
        assert!(good.verdict == Verdict::Ok && good.found.contains("Europe/Berlin"), "{good:?}");
        assert!(matches!(judge_zone(Some(TimeZone::UTC), None, at).verdict, Verdict::Warn { .. }));
        assert!(matches!(judge_zone(Some(TimeZone::UTC), Some(TimeZone::unknown()), at).verdict, Verdict::Warn { .. }));
        assert_eq!(judge_zone(Some(TimeZone::UTC), Some(TimeZone::UTC), at).verdict, Verdict::Ok);
        assert!(judge_zone(None, Some(berlin), at).found.contains("Europe/Berlin"));
    }

    #[test]
    fn a_clock_that_nobody_keeps_right_is_told_and_an_unknown_one_is_not_called_wrong() {
        for (printed, ok) in [("yes\n", true), ("no\n", false), ("", true), ("Failed\n", true)] {
            assert_eq!(judge_clock(yes_or_no(printed)).verdict == Verdict::Ok, ok, "{printed:?}");
        }
    }
}
