//! A control client that a daemon left behind when it was killed.
//!
//! tmux 3.3a keeps a control client whose output was still pending attached for ever once its reader is gone (measured: 1 of
//! some 25 kills under load), and a server with such a client never exits on `kill-server`. So each daemon notes its client,
//! and the next one ends it, by pid and start time, and only if the daemon that it belonged to is gone.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use super::end::signal;
use super::occupant::{ProcessMark, ProcessStatus};
use super::server::ServerOptions;
use super::start::write_if_other;

fn note(options: &ServerOptions) -> PathBuf {
    options.directory.join("control.pid")
}

/// Notes the control client that this daemon has started. Without the note the client would merely stay behind.
pub(super) fn remember(options: &ServerOptions, client: u32) {
    let owner = ProcessMark::of_this_process().ok();
    let client = ProcessStatus::read(client).map(|status| status.mark(client));
    if let (Some(owner), Some(client)) = (owner, client) {
        let noted = write_if_other(&note(options), &format!("{client}\n{owner}\n"));
        if let Err(error) = noted {
            tracing::debug!(%error, "can't note the tmux control client");
        }
    }
}

/// Ends the control client of a daemon that is gone.
pub(super) fn end(options: &ServerOptions) {
    let Ok(text) = fs::read_to_string(note(options)) else { return };
    let mut marks = text.lines().map(str::parse::<ProcessMark>);
    let (Some(Ok(client)), Some(Ok(owner))) = (marks.next(), marks.next()) else { return };
    if owner.status().is_none()
        && let Err(error) = signal(client, Signal::KILL)
    {
        tracing::debug!(%error, "the tmux control client of an earlier daemon can't be ended");
    }
}
