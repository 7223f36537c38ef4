//! A signal to a process that is told apart from a later one of the same pid, and its end.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::occupant::ProcessMark;
use super::process::wait_for_exit;

/// Sends a signal to exactly that process, if it still lives. The descriptor is opened before the look at who it means: no
/// later process of the same pid can take its place in between.
pub(super) fn signal(mark: ProcessMark, signal: Signal) -> io::Result<()> {
    let Some(pid) = i32::try_from(mark.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|descriptor| match mark.status() {
        Some(_) => pidfd_send_signal(&descriptor, signal),
        None => Ok(()),
    });
    match sent {
        Err(Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// Waits until that very process has ended.
pub(super) async fn ends(mark: ProcessMark) -> io::Result<()> {
    if mark.status().is_some() { wait_for_exit(mark.pid).await } else { Ok(()) }
}
