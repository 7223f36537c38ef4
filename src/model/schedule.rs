//! When an agent's daily prompt is due, as data. `config/` parses it, `schedule/` judges it.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

/// Once a day, at a local time, on some weekdays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The local time it is due at, to the minute.
    pub time: Time,
    /// On which days of the week.
    pub weekdays: WeekdaySet,
    /// On which days of the month and in which months; all, unless a cron expression narrows them.
    pub dates: DateFilter,
    /// In which zone.
    pub zone: TimeZone,
}

/// Which days of the month and which months of the year count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateFilter {
    /// Bit `n` set: day `n` (1..=31) counts.
    pub days: u32,
    /// Bit `n` set: month `n` (1..=12) counts.
    pub months: u16,
}

impl DateFilter {
    /// Every date.
    pub const ALL: Self = Self { days: 0xffff_fffe, months: 0x1ffe };
}

/// A set of weekdays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WeekdaySet(u8);

impl WeekdaySet {
    /// Monday to Friday.
    pub const WORKDAYS: Self = Self(0b001_1111);
    /// All seven.
    pub const ALL: Self = Self(0b111_1111);

    /// This set and `day`.
    #[must_use]
    pub fn with(self, day: Weekday) -> Self {
        Self(self.0 | 1 << day.to_monday_zero_offset())
    }

    /// Whether `day` is in it.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & 1 << day.to_monday_zero_offset() != 0
    }

    /// Whether no day is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
