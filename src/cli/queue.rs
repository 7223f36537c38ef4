//! `fleet queue`, `fleet cancel`, `fleet retry`: what waits, and what to do about it.

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{print, show};
use crate::daemon::protocol::{Done, Kept, OnWordOf, Queue};
use crate::model::{PromptId, Slug};

/// Show what waits, is under way or is uncertain.
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// Only this agent's.
    pub agent: Option<Slug>,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// One prompt.
#[derive(Debug, Args)]
pub struct PromptArgs {
    /// The prompt's id, as `fleet queue` shows it.
    pub prompt: PromptId,
}

/// Shows the queue.
pub async fn run(args: &QueueArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let only = args.agent.as_ref().map_or_else(String::new, |agent| format!("?agent={agent}"));
    let queue: Queue = surroundings.client().get(&format!("/v1/queue{only}")).await?;
    if args.json {
        print(&serde_json::to_string_pretty(&queue).context("can't write JSON")?)?;
        return Ok(Exit::Success);
    }
    let now = Timestamp::now();
    for prompt in &queue.prompts {
        let held = prompt.held.as_ref().map_or_else(String::new, |held| format!(": {held}"));
        let head = format!("{}  {} {}{held}", prompt.id, prompt.agent, prompt.state);
        print(&format!(
            "{head}\n    {} by {}, {} ago: {}",
            prompt.source.word(),
            prompt.who,
            show::ago(prompt.at, now),
            prompt.text
        ))?;
    }
    if queue.prompts.is_empty() {
        print("nothing waits")?;
    }
    Ok(Exit::Success)
}

/// Takes a prompt back.
pub async fn cancel(args: &PromptArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    ask::<Done>(args, surroundings, "cancel").await?;
    print(&format!("{}: cancelled", args.prompt))?;
    Ok(Exit::Success)
}

/// Gives a prompt again.
pub async fn retry(args: &PromptArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let id = ask::<Kept>(args, surroundings, "retry").await?.id;
    print(&format!("{}: queued again (`fleet trace {id}`)", args.prompt))?;
    Ok(Exit::Success)
}

async fn ask<T: DeserializeOwned>(args: &PromptArgs, surroundings: &Surroundings, what: &str) -> anyhow::Result<T> {
    let word = OnWordOf { who: surroundings.who() };
    Ok(surroundings.client().post(&format!("/v1/prompts/{}/{what}", args.prompt), &word).await?)
}
