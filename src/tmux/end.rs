//! Ends a process that is told apart from a later one of the same pid: politely first, by force after its grace.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::occupant::ProcessMark;
use super::process::wait_for_exit;

/// Sends SIGTERM, and SIGKILL to what still lives after `grace`; returns once the process has ended, at once where it had.
pub async fn end_process(mark: ProcessMark, grace: Duration) -> io::Result<()> {
    for (polite_or_not, patience) in [(Signal::TERM, grace), (Signal::KILL, Duration::MAX)] {
        signal(mark, polite_or_not)?;
        if let Ok(ended) = tokio::time::timeout(patience, ends(mark)).await {
            return ended;
        }
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::occupant::ProcessStatus;
    use super::*;

    #[tokio::test]
    async fn what_ignores_a_polite_word_is_ended_all_the_same_and_a_later_process_of_its_pid_is_left_alone() {
        let script = "trap '' TERM; echo up; while :; do read line; done";
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut up = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
        let mark = ProcessStatus::read(child.id()).unwrap().mark(child.id());
        let earlier = ProcessMark { start: mark.start - 1, ..mark };
        end_process(earlier, Duration::from_millis(1)).await.unwrap();
        assert!(ProcessStatus::read(child.id()).is_some(), "another process was ended");
        end_process(mark, Duration::from_millis(50)).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
        end_process(mark, Duration::from_secs(60)).await.unwrap();
    }
}
