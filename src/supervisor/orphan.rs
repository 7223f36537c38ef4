//! An agent's process that outlived its pane: one that ignores its terminal's end lives on where nobody can reach it. Started
//! beside it, a second one would go on with the same conversation, and both would write into the same record.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::tmux::{ProcessMark, ProcessStatus, wait_for_exit};

/// How long a process whose pane is gone may take to end by itself: the CLIs tidy up first.
const BY_ITSELF: Duration = Duration::from_secs(3);

/// How long it may take once it was told to.
const ONCE_TOLD: Duration = Duration::from_secs(3);

/// Sees to it that the process that was started last for the agent with the directory `state` has ended. None of its panes
/// lives. Only one without a terminal is told to end (SIGTERM); one that has a terminal is somebody's.
pub async fn end(state: &Path) -> anyhow::Result<()> {
    let Some(mark) = ProcessMark::read(state) else { return Ok(()) };
    let Some(pid) = lives(mark).and_then(|_| Pid::from_raw(mark.pid.cast_signed())) else { return Ok(()) };
    if ends_within(mark, BY_ITSELF).await? {
        return Ok(());
    }
    if lives(mark).is_some_and(|status| !status.terminal) {
        tracing::warn!(pid = mark.pid, "an agent's process outlived its terminal and is told to end");
        kill_process(pid, Signal::TERM).context("can't end a process that outlived its terminal")?;
        if ends_within(mark, ONCE_TOLD).await? {
            return Ok(());
        }
    }
    bail!(
        "its earlier process {0} still runs outside its pane, and a second one would go on with the same conversation: \
         end it (`kill {0}`, or `kill -9 {0}` where it ignores that)",
        mark.pid
    )
}

fn lives(mark: ProcessMark) -> Option<ProcessStatus> {
    ProcessStatus::read(mark.pid).filter(|status| status.mark(mark.pid) == mark)
}

async fn ends_within(mark: ProcessMark, patience: Duration) -> anyhow::Result<bool> {
    match tokio::time::timeout(patience, wait_for_exit(mark.pid)).await {
        Ok(ended) => ended.map(|()| true).context("can't wait for a process's end"),
        Err(_elapsed) => Ok(lives(mark).is_none()),
    }
}
