//! `fleet pause`, `fleet stop` and `fleet resume`: hold an agent's queue, interrupt its turn, let it go.

use clap::Args;

use super::client::ClientError;
use super::exit::Exit;
use super::print;
use super::surroundings::Surroundings;
use crate::daemon::protocol::{Done, OnWordOf, Stop, Stopped};
use crate::model::Slug;

/// One agent.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The agent.
    pub agent: String,
}

/// Which agents.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The agents.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub agents: Vec<Slug>,
    /// The whole fleet, in one step.
    #[arg(long)]
    pub all: bool,
}

/// Holds agents and interrupts their turns.
pub async fn stop(args: &StopArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let question = Stop { agents: args.agents.clone(), who: surroundings.who() };
    let stopped: Stopped = surroundings.client().post("/v1/stop", &question).await?;
    for agent in &stopped.agents {
        print(&format!("{}: {}", agent.agent, agent.outcome))?;
    }
    Ok(Exit::Success)
}

/// Holds an agent. Its turn, if one runs, goes on.
pub async fn pause(args: &HoldArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    ask(args, surroundings, "pause").await?;
    print(&format!("{}: held; what is sent to it waits for `fleet resume {}`, a day at most", args.agent, args.agent))?;
    Ok(Exit::Success)
}

/// Lets an agent go.
pub async fn resume(args: &HoldArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let done = ask(args, surroundings, "resume").await?;
    print(&format!("{}: {}", args.agent, if done.changed { "goes on" } else { "nobody held it" }))?;
    Ok(Exit::Success)
}

async fn ask(args: &HoldArgs, surroundings: &Surroundings, what: &str) -> anyhow::Result<Done> {
    let Ok(agent) = args.agent.parse::<Slug>() else {
        return Err(ClientError::Refused(surroundings.unknown_agent(&args.agent).await).into());
    };
    let word = OnWordOf { who: surroundings.who() };
    Ok(surroundings.client().post(&format!("/v1/agents/{agent}/{what}"), &word).await?)
}
