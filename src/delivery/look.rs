//! One look at an agent: its pane, its screen, its process and its state file, taken together and at once.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::guard::{Occupant, Sight};
use crate::model::{LaunchFile, text};
use crate::runtime::{LaunchContext, Runtime};
use crate::tmux::{PaneId, ProcessMark, ProcessStatus, Screen, Server, reads_whole_lines};

/// When an agent's screen last changed, as far as it was looked at.
#[derive(Debug, Clone, Copy)]
pub struct Stillness {
    screen: [u8; 32],
    since: Timestamp,
}

/// For so many seconds after a person's last key, nothing is typed under their hands.
const PERSON_PAUSES: u64 = 5;

/// Looks; none where the pane is gone.
pub async fn look(
    tmux: &Server,
    runtime: &Arc<dyn Runtime>,
    context: &LaunchContext<'_>,
    pane: &PaneId,
    stillness: &mut Option<Stillness>,
    now: Timestamp,
) -> anyhow::Result<Option<Sight>> {
    let looked = tmux.look(pane).await.with_context(|| format!("can't look at the pane of {}", context.agent.slug))?;
    let Some((pane, screen)) = looked else { return Ok(None) };
    let state_file = runtime.state_file(context, pane.pid);
    // A missing or half-written state file tells nothing; the screen does.
    let told =
        state_file.and_then(|path| std::fs::read_to_string(path).ok()).and_then(|text| runtime.read_state_file(&text));
    Ok(Some(Sight {
        occupant: occupant(context.state, pane.pid),
        told,
        whole_lines: reads_whole_lines(pane.pid),
        still: still_for(stillness, &screen, now),
        person_types: pane.attached > 0 && now.as_second().abs_diff(pane.typed_at) < PERSON_PAUSES,
        headers: screen.rows.iter().filter_map(|row| text::header_id(&row.text)).collect(),
        screen: runtime.read_screen(&screen),
        dialog: runtime.read_dialog(&screen),
        pane,
    }))
}

/// Whether the process of the pane is the one that wrote the mark when we started it.
fn occupant(state: &Path, pid: u32) -> Occupant {
    match (ProcessMark::read(state), ProcessStatus::read(pid)) {
        (Some(mark), Some(status)) if mark == status.mark(pid) => {
            if status.foreground {
                Occupant::Agent
            } else {
                Occupant::Behind
            }
        }
        _ if is_launcher(state, pid) => Occupant::Launching,
        _ => Occupant::Stranger,
    }
}

/// Whether a process is our launcher with this agent's file, or has no command line: it is about to get another one.
fn is_launcher(state: &Path, pid: u32) -> bool {
    let Ok(command) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let file = LaunchFile::path(state);
    match words[..] {
        [_, b"launch", path, ..] => path == file.as_os_str().as_bytes(),
        [b""] => ProcessStatus::read(pid).is_some(),
        _ => false,
    }
}

fn still_for(stillness: &mut Option<Stillness>, screen: &Screen, now: Timestamp) -> Duration {
    let mut hasher = Sha256::new();
    for row in &screen.rows {
        hasher.update(&row.text);
        hasher.update([b'\n']);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    match stillness {
        // A clock that was set back must not make a still screen look restless until it is there again.
        Some(known) if known.screen == hash && known.since <= now => {
            Duration::try_from(now.duration_since(known.since)).unwrap_or_default()
        }
        other => {
            *other = Some(Stillness { screen: hash, since: now });
            Duration::ZERO
        }
    }
}
