//! `fleet reconcile`: a pass now.

use anyhow::Context;
use clap::Args;

use super::exit::Exit;
use super::print;
use super::surroundings::Surroundings;
use crate::daemon::protocol::{Reconcile, Reconciled};

/// Look at every session now, mend what is missing, and say what was planned and done.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub async fn run(args: &ReconcileArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let done: Reconciled = surroundings.client().post("/v1/reconcile", &Reconcile { dry_run: args.dry_run }).await?;
    if args.json {
        print(&serde_json::to_string_pretty(&done).context("can't write JSON")?)?;
    } else {
        for step in &done.steps {
            let outcome = match (&step.error, step.done) {
                (Some(error), _) => format!(": failed: {error}"),
                (None, true) => ": done".to_owned(),
                (None, false) => String::new(),
            };
            print(&format!("{}{outcome}", step.plan))?;
        }
    }
    let failed = done.steps.iter().any(|step| step.error.is_some());
    Ok(if failed { Exit::Failure } else { Exit::Success })
}
