//! Ends a process that is told apart from a later one of the same pid: politely first, by force after its grace.

use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::occupant::{ProcessMark, ProcessStatus};
use super::process::wait_for_exit;

/// Sends SIGTERM, and SIGKILL to what still lives after `grace`; returns once the process has ended, at once where it had.
pub async fn end_process(mark: ProcessMark, grace: Duration) -> io::Result<()> {
    let Some(process) = open(mark)? else { return Ok(()) };
    signal(&process, Signal::TERM)?;
    if let Ok(ended) = tokio::time::timeout(grace, wait_for_exit(mark.pid)).await {
        return ended;
    }
    signal(&process, Signal::KILL)?;
    wait_for_exit(mark.pid).await
}

/// A descriptor of that very process, which no later process of the same pid can take the place of.
fn open(mark: ProcessMark) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(mark.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(None),
        other => other?,
    };
    // Looked at after it was opened: what has the mark now is what the descriptor means.
    let lives = ProcessStatus::read(mark.pid).is_some_and(|status| status.mark(mark.pid) == mark);
    Ok(lives.then_some(descriptor))
}

fn signal(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(process, signal) {
        Err(Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

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
