//! `fleet trace`: a prompt's whole life.

use anyhow::Context;
use clap::Args;

use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{print, show};
use crate::daemon::protocol::PromptView;
use crate::model::PromptId;
use crate::model::text::first_line;

/// Show every step of a prompt's life with its time and cause, and what the agent did in its turn.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The prompt's id, as `fleet send --no-wait` and the header line show it.
    pub prompt: PromptId,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub async fn run(args: &TraceArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let view: PromptView = surroundings.client().get(&format!("/v1/prompts/{}", args.prompt)).await?;
    if args.json {
        print(&serde_json::to_string_pretty(&view).context("can't write JSON")?)?;
        return Ok(Exit::Success);
    }
    print(&format!(
        "{} for {}: {} by {}: {}",
        view.id,
        view.agent,
        view.source.word(),
        view.who,
        first_line(&view.body, 100)
    ))?;
    let mut before = None;
    for step in &view.steps {
        let took = before
            .map_or_else(String::new, |before| format!(" (+{:.3} s)", step.at.duration_since(before).as_secs_f64()));
        print(&format!("{}  {:<22} {}{took}", show::exact(step.at), show::step(&step.state), step.cause))?;
        before = Some(step.at);
    }
    if let Some(held) = &view.held {
        print(&format!("held back: {held}"))?;
    }
    for row in &view.turn {
        print(&show::row(row))?;
    }
    for verdict in &view.verdicts {
        print(&show::verdict(verdict))?;
    }
    Ok(Exit::Success)
}
