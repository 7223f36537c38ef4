//! `fleet tail`: follows what the agents do.

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::client::ClientError;
use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{print, show};
use crate::daemon::protocol::FeedPage;
use crate::model::Slug;

/// Follow what the agents do.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only these agents.
    pub agents: Vec<Slug>,
    /// Begin with everything that the feed still holds.
    #[arg(long)]
    pub all: bool,
    /// Print what is there and don't follow.
    #[arg(long, requires = "all")]
    pub no_follow: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Runs it until it is interrupted. A daemon that restarts meanwhile is waited for: nothing is left out.
pub async fn run(args: &TailArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let client = surroundings.client();
    let agents = args.agents.iter().map(Slug::as_str).collect::<Vec<_>>().join(",");
    let mut next = match args.all {
        true => 0,
        false => client.get::<FeedPage>(&format!("/v1/feed?agents={agents}")).await?.next,
    };
    let seconds = if args.no_follow { 0 } else { 30 };
    let mut reached = args.all;
    loop {
        let path = format!("/v1/feed?after={next}&agents={agents}&seconds={seconds}");
        let page = match client.get::<FeedPage>(&path).await {
            Ok(page) => page,
            Err(ClientError::NotRunning(_) | ClientError::Ended(_) | ClientError::Other(_))
                if reached && !args.no_follow =>
            {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        reached = true;
        next = page.next;
        for row in &page.rows {
            let line = match args.json {
                true => serde_json::to_string(row).context("can't write JSON")?,
                false => show::row(row),
            };
            print(&line)?;
        }
        if args.no_follow && page.rows.is_empty() {
            return Ok(Exit::Success);
        }
    }
}
