//! `fleet plan`: what a changed agents.yaml would do, before it does it.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::exit::Exit;
use super::print;
use super::surroundings::Surroundings;
use crate::daemon::protocol::{Plan, PlanQuestion};

/// Say what a changed agents.yaml would do: launch, retire, restart, reschedule. Nothing is done.
///
/// The running fleet takes a changed agents.yaml by itself: write the change into another file and ask about that.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The changed file [default: the fleet's own].
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub async fn run(args: &PlanArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let path = match &args.file {
        Some(file) => file.clone(),
        None => surroundings.config_path()?,
    };
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let plan: Plan = surroundings.client().post("/v1/plan", &PlanQuestion { text, path }).await?;
    if args.json {
        print(&serde_json::to_string_pretty(&plan).context("can't write JSON")?)?;
    } else if plan.changes.is_empty() {
        print("no changes")?;
    } else {
        plan.changes.iter().try_for_each(|change| print(&change.text))?;
    }
    Ok(Exit::Success)
}
