//! `fleet attach`: becomes a tmux client of an agent's session.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use clap::Args;

use super::client::ClientError;
use super::exit::Exit;
use super::surroundings::Surroundings;
use crate::config;
use crate::model::Slug;

/// Attach this terminal to an agent's session; detach again with Ctrl-b d.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The agent.
    pub agent: String,
}

/// Runs it: on success this process becomes tmux and doesn't return. It needs no daemon, only agents.yaml for the socket.
pub fn run(args: &AttachArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let fleet = config::load(&surroundings.config_path()?, &surroundings.environment)?;
    let known = args.agent.parse::<Slug>().ok().and_then(|slug| fleet.agent(&slug));
    let Some(agent) = known else {
        let known = fleet.agents.iter().map(|agent| agent.slug.as_str());
        return Err(ClientError::Refused(crate::model::text::unknown_agent(&args.agent, known)).into());
    };
    let mut tmux = Command::new("tmux");
    // From within another tmux, it would refuse to nest.
    tmux.args(["-u", "-L", &fleet.tmux_socket, "attach", "-t"]).arg(format!("={}", agent.slug)).env_remove("TMUX");
    Err(tmux.exec()).context("can't run tmux: install it, for example with `apt-get install tmux`")
}
