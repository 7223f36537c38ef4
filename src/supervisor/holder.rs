//! Who holds a conversation. An agent that ignores its terminal's end lives on where nobody can reach it; started beside it,
//! a second one would go on with the same conversation, and both would write into the same record.
//!
//! Nobody's process is ended for its name, and none that has a terminal: that is somebody's.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::files::{pids, write_private};
use crate::model::Slug;
use crate::model::launch::{AGENT_VARIABLE, FLEET_VARIABLE};
use crate::runtime::{AgentSetup, Conversation, Holding};
use crate::tmux::{ProcessMark, ProcessStatus, all_end_within, end_families, runs, started_with};

/// How long a process whose pane is gone may take to end by itself: the CLIs tidy up first.
const BY_ITSELF: Duration = Duration::from_secs(3);

/// Sees to it that no process goes on with the agent's conversation `id`. None of its panes lives. One without a terminal is
/// waited for, told to end and at last killed; one that has a terminal is an error.
pub async fn end_all(setup: &AgentSetup, fleet: &str, id: &str) -> anyhow::Result<()> {
    let found = find(setup, fleet, id);
    if found.is_empty() || all_end_within(&found, BY_ITSELF).await {
        return Ok(());
    }
    let still: Vec<ProcessMark> = found.into_iter().filter(|mark| mark.status().is_some()).collect();
    let seated = still.iter().find(|mark| mark.status().is_some_and(|status| status.terminal));
    if let Some(mark) = seated {
        bail!(
            "process {0} in another terminal goes on with the same conversation: end it there, or `kill {0}`, and it is \
             resumed here",
            mark.pid
        );
    }
    tracing::warn!(agent = %setup.agent.slug, ?still, "an agent's process outlived its terminal and is told to end");
    match end_families(&still).await.first() {
        None => Ok(()),
        Some(mark) => bail!(
            "its earlier process {0} still runs outside its pane though it was killed, and a second one would go on with \
             the same conversation: end it (`kill -9 {0}`)",
            mark.pid
        ),
    }
}

/// The processes that go on with it: the one that was started last, and what the CLI's own evidence names.
fn find(setup: &AgentSetup, fleet: &str, id: &str) -> Vec<ProcessMark> {
    let mut found: HashSet<ProcessMark> = ProcessMark::read_live(&setup.state).into_iter().collect();
    if !id.is_empty() {
        let conversation = Conversation::Resume { id: id.to_owned() };
        found.extend(match setup.runtime.holding(&setup.context(&conversation)) {
            Holding::Untold => Vec::new(),
            Holding::StateFiles { directory } => by_state_file(setup, fleet, &directory, id),
            Holding::OpenFile { path } => by_open_file(&path),
        });
    }
    found.into_iter().collect()
}

/// Writes an agent's mark anew where it was lost, by a full disk or a power cut: without it the agent would be taken for a
/// stranger in its own pane. Only for the pane's own process, and only if its launch gave it our variables; a program that a
/// person started in the pane has none of them.
pub fn mend_mark(state: &Path, agent: &Slug, fleet: &str, pid: u32) -> anyhow::Result<()> {
    if ProcessMark::read_live(state).is_some() {
        return Ok(());
    }
    let ours = started_with(pid, AGENT_VARIABLE).is_some_and(|found| found == agent.as_str())
        && started_with(pid, FLEET_VARIABLE).is_some_and(|found| found == fleet);
    let Some(status) = ProcessStatus::read(pid).filter(|_| ours) else { return Ok(()) };
    let path = ProcessMark::path(state);
    write_private(&path, status.mark(pid).to_string().as_bytes())
        .with_context(|| format!("can't write {}", path.display()))?;
    tracing::warn!(%agent, pid, "the note of its process was lost, and is written anew");
    Ok(())
}

/// By `<pid>.json` files, which a killed process leaves behind: another one may have its pid since.
fn by_state_file(setup: &AgentSetup, fleet: &str, directory: &Path, id: &str) -> Vec<ProcessMark> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let holder = |path: &Path| {
        let pid = path.file_stem()?.to_str()?.parse().ok()?;
        let mark = ProcessStatus::read(pid)?.mark(pid);
        let held = setup.runtime.held_conversation(&std::fs::read_to_string(path).ok()?)?;
        (held == id && is_its_cli(setup, fleet, pid)).then_some(mark)
    };
    entries.flatten().filter_map(|entry| holder(&entry.path())).collect()
}

/// Whether a process is the agent's CLI: as we started it, or as a person did.
fn is_its_cli(setup: &AgentSetup, fleet: &str, pid: u32) -> bool {
    let slug = setup.agent.slug.as_str();
    match (started_with(pid, AGENT_VARIABLE), started_with(pid, FLEET_VARIABLE)) {
        (Some(agent), Some(owner)) => agent == slug && owner == fleet,
        _ => {
            let program = setup.agent.runtime.command().first().map(Path::new).and_then(Path::file_name);
            program.and_then(|program| program.to_str()).is_some_and(|program| runs(pid, program))
        }
    }
}

/// By a file that is held open for as long as the process lives.
fn by_open_file(path: &Path) -> Vec<ProcessMark> {
    let Ok(path) = path.canonicalize() else { return Vec::new() };
    let holds = |pid: &u32| {
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path))
    };
    pids().into_iter().filter(holds).filter_map(|pid| Some(ProcessStatus::read(pid)?.mark(pid))).collect()
}
