//! `fleet nudge`: the daily prompt now, beside the day's own.

use clap::Args;

use super::exit::Exit;
use super::print;
use super::surroundings::Surroundings;
use crate::daemon::protocol::Kept;

/// Give an agent its daily prompt now. The day's own nudge stays due.
#[derive(Debug, Args)]
pub struct NudgeArgs {
    /// The agent.
    pub agent: String,
}

/// Runs it.
pub async fn run(args: &NudgeArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let Ok(agent) = args.agent.parse::<crate::model::Slug>() else {
        let unknown = surroundings.unknown_agent(&args.agent).await;
        return Err(super::client::ClientError::Refused(unknown).into());
    };
    let kept: Kept = surroundings.client().post(&format!("/v1/agents/{agent}/nudge"), &()).await?;
    print(&format!("{agent}: nudge queued as {} (`fleet trace {}`)", kept.id, kept.id))?;
    Ok(Exit::Success)
}
