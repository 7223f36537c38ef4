//! Processes by their pid: whether a pane's or a server's process has ended.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns when the process `pid` has ended, at once where there is none. Told by a pidfd: tmux's own `pane-died` hook came
/// only 3 times of 8 on 3.3a, this 12 of 12 within a millisecond.
pub async fn wait_for_exit(pid: u32) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        other => other?,
    };
    #[expect(
        deprecated,
        reason = "an OwnedFd stays the same open file; the replacement is unsafe, which this crate forbids"
    )]
    let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
    descriptor.readable().await?.retain_ready();
    Ok(())
}

/// A process told apart from a later one of the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessId {
    pub(super) pid: u32,
    /// Its start, in clock ticks since boot.
    started: u64,
}

impl ProcessId {
    /// The tmux server that runs under `pid` now, if one does.
    pub(super) fn of_tmux_server(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may itself hold blanks and parentheses.
        let (name, rest) = (stat.split_once('(')?.1.rsplit_once(')')?.0, stat.rsplit_once(')')?.1);
        let mut fields = rest.split_whitespace();
        let alive = fields.next()? != "Z";
        let started = fields.nth(18)?.parse().ok()?;
        (alive && name.starts_with("tmux")).then_some(Self { pid, started })
    }

    /// Whether the same process is still there.
    pub(super) fn is_alive(self) -> bool {
        Self::of_tmux_server(self.pid) == Some(self)
    }
}

impl std::fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.pid, self.started)
    }
}

impl std::str::FromStr for ProcessId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.trim().split_once(' ').ok_or(())?;
        Ok(Self { pid: pid.parse().map_err(|_| ())?, started: started.parse().map_err(|_| ())? })
    }
}
