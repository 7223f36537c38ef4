//! Who sits in a pane: the process by pid and start time, and whether it owns the terminal. From `/proc`, see proc(5).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A process for all time: a pid is used again, together with its start time it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessMark {
    /// Its pid.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start: u64,
}

impl ProcessMark {
    /// The file in an agent's directory that its process writes at its start.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join("process")
    }

    /// The mark in an agent's directory; none where there is none that can be read.
    pub fn read(directory: &Path) -> Option<Self> {
        std::fs::read_to_string(Self::path(directory)).ok()?.trim().parse().ok()
    }

    /// The mark in an agent's directory, where that very process lives.
    pub fn read_live(directory: &Path) -> Option<Self> {
        Self::read(directory).filter(|mark| mark.status().is_some())
    }

    /// The mark of this very process; it stays true over an exec.
    pub fn of_this_process() -> io::Result<Self> {
        let pid = std::process::id();
        let status = ProcessStatus::read(pid).ok_or_else(|| io::Error::other("can't read /proc/self/stat"))?;
        Ok(status.mark(pid))
    }

    /// What it does now; none where it has ended, whatever runs under its pid by now.
    pub fn status(self) -> Option<ProcessStatus> {
        ProcessStatus::read(self.pid).filter(|status| status.start == self.start)
    }
}

impl fmt::Display for ProcessMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.pid, self.start)
    }
}

impl FromStr for ProcessMark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, start) = text.split_once(' ').ok_or(())?;
        Ok(Self { pid: pid.parse().map_err(|_| ())?, start: start.parse().map_err(|_| ())? })
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Its start time in clock ticks since boot.
    pub start: u64,
    /// Its parent's pid.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Whether its process group is the one in its terminal's foreground.
    pub foreground: bool,
    /// Whether it has a terminal: one whose terminal was hung up has none any more.
    pub terminal: bool,
}

impl ProcessStatus {
    /// The status of a live process; none where it is gone or a zombie.
    pub fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Its mark for all time.
    pub fn mark(self, pid: u32) -> ProcessMark {
        ProcessMark { pid, start: self.start }
    }

    /// Field 2, the name, may hold spaces and parentheses: the rest begins behind the last one.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let [state, parent, group, _session, terminal, foreground, ..] = fields.as_slice() else { return None };
        if matches!(*state, "Z" | "X") {
            return None;
        }
        Some(Self {
            start: fields.get(19)?.parse().ok()?,
            parent: parent.parse().ok()?,
            group: group.parse().ok()?,
            foreground: group == foreground,
            terminal: *terminal != "0",
        })
    }
}

/// Whether a process reads its terminal line by line (the terminal's canonical mode): a pasted text is then handed over a
/// line at a time, and what a line has beyond [`LONGEST_LINE`] is cut off. False where that can't be told.
pub fn reads_whole_lines(pid: u32) -> bool {
    // Not to become our own terminal, and never to wait for one.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
    let opened = rustix::fs::open(format!("/proc/{pid}/fd/0"), flags, rustix::fs::Mode::empty());
    let modes = opened.and_then(rustix::termios::tcgetattr);
    modes.is_ok_and(|modes| modes.local_modes.contains(rustix::termios::LocalModes::ICANON))
}

/// The longest line, in bytes and without its end, that a terminal hands over whole (`N_TTY_BUF_SIZE` is 4,096).
pub const LONGEST_LINE: usize = 4095;

/// A process and all that descend from it, itself first: CLIs installed from npm run behind a wrapper.
pub fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        next += 1;
        family.extend(children(parent));
    }
    family
}

/// The children of a process.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let pids = |list: String| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>();
    lists.flat_map(pids).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b) S 1 42 42 34816 FG 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";

    #[test]
    fn a_name_with_parentheses_does_not_make_a_stranger_pass_for_the_agent() {
        let read = |foreground| ProcessStatus::parse(&STAT.replace("FG", foreground));
        let agent = ProcessStatus { start: 777, parent: 1, group: 42, foreground: true, terminal: true };
        assert_eq!(read("42"), Some(agent));
        assert_eq!(read("43"), Some(ProcessStatus { foreground: false, ..agent }));
        assert_eq!(ProcessStatus::parse(&STAT.replace(" S ", " Z ")), None);
        assert_eq!(ProcessStatus::parse("junk"), None);
        let hung_up = ProcessStatus::parse(&STAT.replace(" 34816 FG", " 0 -1")).unwrap();
        assert!(!hung_up.terminal && !hung_up.foreground);
    }

    #[test]
    fn a_mark_survives_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let mark = ProcessMark::of_this_process().unwrap();
        std::fs::write(ProcessMark::path(directory.path()), mark.to_string()).unwrap();
        assert_eq!(ProcessMark::read(directory.path()), Some(mark));
    }
}
