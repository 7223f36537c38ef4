//! Where a record that was rewritten is read on: behind what was told of it, so that nothing is told twice, and no later
//! than at the first line that is new.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::memory::Mark;
use crate::files::lines::{self, Place};

/// The offset at which the file at `path` goes on behind the place that `mark` knows. `time` reads a line's time.
///
/// Times decide, because the place itself may be gone: whatever is later than all that was told is new. Among lines as late
/// as the last told one, and where no line tells a time, the line that was read last is looked for. A record without that
/// line and without times is taken for another one, and read from its start.
pub fn resume(path: &Path, mark: Mark, time: impl Fn(&str) -> Option<Timestamp>) -> io::Result<u64> {
    let mut search = Search { mark, reached: None, told: 0, found: None };
    let mut place = Place::default();
    while let Some(reading) = lines::read(path, place)? {
        for line in &reading.lines {
            if search.is_behind(time(&line.text), line.tail, line.end) {
                return Ok(search.place());
            }
        }
        place.bytes = reading.end;
        if !reading.more {
            break;
        }
    }
    Ok(search.place())
}

/// Looks at one line after the other.
struct Search {
    mark: Mark,
    /// The latest time so far.
    reached: Option<Timestamp>,
    /// Behind the lines that are not later than what was told.
    told: u64,
    /// Behind the line that was read last.
    found: Option<u64>,
}

impl Search {
    /// Whether this line, which ends at `end`, is surely new.
    fn is_behind(&mut self, time: Option<Timestamp>, tail: u64, end: u64) -> bool {
        if self.mark.latest.is_some() && time > self.mark.latest {
            return true;
        }
        self.reached = self.reached.max(time);
        self.told = end;
        let here = self.mark.tail == Some(tail) && self.reached == self.mark.latest;
        // Lines without any time repeat: the last of them is the one. Else the first behind the latest time.
        if here && (self.found.is_none() || self.mark.latest.is_none()) {
            self.found = Some(end);
        }
        false
    }

    fn place(&self) -> u64 {
        self.found.unwrap_or(if self.mark.latest.is_some() { self.told } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line is `time text`; `-` is no time.
    fn time(line: &str) -> Option<Timestamp> {
        Timestamp::from_second(line.split(' ').next()?.parse().ok()?).ok()
    }

    /// What is read of `after` when `before` was read to its end.
    fn read_on(before: &[&str], after: &[&str]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        let whole = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        std::fs::write(&path, whole(before)).unwrap();
        let reading = lines::read(&path, Place::default()).unwrap().unwrap();
        let latest = before.iter().filter_map(|line| time(line)).max();
        let mark = Mark { tail: reading.lines.last().map(|line| line.tail), latest };
        std::fs::write(&path, whole(after)).unwrap();
        let bytes = resume(&path, mark, time).unwrap();
        let reading = lines::read(&path, Place { bytes, ..Place::default() }).unwrap().unwrap();
        reading.lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_rewritten_record_tells_what_is_new_and_nothing_that_was_told() {
        type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
        let rows: [Row; 10] = [
            ("only cut", &["1 a", "2 b", "3 c"], &["1 a"], &[]),
            ("cut and gone on", &["1 a", "2 b", "3 c"], &["1 a", "4 d"], &["4 d"]),
            ("emptied and gone on", &["1 a", "2 b"], &["3 c", "- x", "4 d"], &["3 c", "- x", "4 d"]),
            ("a line changed in the middle", &["1 a", "2 b", "3 c"], &["1 a", "2 other", "3 c", "4 d"], &["4 d"]),
            ("new at the very same time", &["1 a", "2 b"], &["0 z", "1 a", "2 b", "2 c"], &["2 c"]),
            (
                "an older time behind a later one",
                &["1 a", "3 b"],
                &["0 z", "1 a", "3 b", "2 held", "4 c"],
                &["2 held", "4 c"],
            ),
            ("read to a line without a time", &["1 a", "- m"], &["- m", "1 a", "- m", "- n"], &["- n"]),
            ("without any time", &["- a", "- b"], &["- z", "- a", "- b", "- c"], &["- c"]),
            ("without any time, and another record", &["- a", "- b"], &["- c"], &["- c"]),
            ("nothing of it left", &["5 a"], &["1 x", "2 y"], &[]),
        ];
        for (name, before, after, expected) in rows {
            assert_eq!(read_on(before, after), expected, "{name}");
        }
    }
}
