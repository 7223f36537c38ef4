//! `fleet keep-awake`: a box that would stop itself stays up.

use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{print, show};
use crate::daemon::protocol::{Awake, KeepAwake};

/// How long.
#[derive(Debug, Args)]
pub struct KeepAwakeArgs {
    /// For how long from now, for example 2h or 90m.
    #[arg(value_name = "TIME", required_unless_present = "off", conflicts_with = "off")]
    pub time: Option<SignedDuration>,
    /// No longer.
    #[arg(long)]
    pub off: bool,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub async fn run(args: &KeepAwakeArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let seconds = args.time.map(|time| time.as_secs());
    let awake: Awake = surroundings.client().post("/v1/keep-awake", &KeepAwake { seconds }).await?;
    let text = match awake.until {
        _ if args.json => serde_json::to_string_pretty(&awake).context("can't write JSON")?,
        Some(until) => format!("this box stays up until {}", show::time(until, Timestamp::now())),
        None => "nobody keeps this box up any more".to_owned(),
    };
    print(&text)?;
    Ok(Exit::Success)
}
