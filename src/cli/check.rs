//! `fleet check`: every mistake in agents.yaml at once.

use clap::Args;

use super::exit::Exit;
use super::print;
use super::surroundings::Surroundings;
use crate::config;

/// Check agents.yaml.
#[derive(Debug, Args)]
pub struct CheckArgs {}

/// Runs it.
pub fn run(_args: &CheckArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let path = surroundings.config_path()?;
    let fleet = config::load(&path, &surroundings.environment)?;
    let count = fleet.agents.len();
    print(&format!("{}: {count} {}, no mistakes", path.display(), if count == 1 { "agent" } else { "agents" }))?;
    Ok(Exit::Success)
}
