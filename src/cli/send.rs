//! `fleet send`: gives an agent a prompt, and says "confirmed" only when the agent's own record holds it.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;

use super::client::{Client, ClientError};
use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{duration, print, show};
use crate::daemon::protocol::{Keep, Kept, PromptView, Until};
use crate::files::{create_private_dir, write_private};
use crate::model::{Fact, Mode, PromptId, PromptState, Slug, StateName};

/// How long one question waits in the daemon.
const QUESTION: Duration = Duration::from_secs(20);

/// How often a prompt is handed in again where the answer got lost.
const HAND_IN_AGAIN: u32 = 10;

/// Give an agent a prompt and wait until it has verifiably taken it.
///
/// Exit codes: 0 confirmed, 2 usage or no such agent, 3 failed, 4 uncertain, 5 fleetd is not running (the prompt is kept
/// and delivered at its next start), 6 timed out (the prompt still waits).
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The agent.
    pub agent: String,
    /// The prompt; `-` reads it from standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Read the prompt from a file.
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// When to type it: once the agent is idle, into the turn that runs, or after breaking that off.
    #[arg(long, value_enum, default_value_t)]
    pub mode: SendMode,
    /// Queue it, print its id and don't wait.
    #[arg(long, conflicts_with = "reply")]
    pub no_wait: bool,
    /// Wait for the end of the turn and print the agent's last text.
    #[arg(long)]
    pub reply: bool,
    /// How long to wait, for example 30s, 10m or 2h [default: 2m, with --reply 1h].
    #[arg(long, value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Print the prompt's whole life as JSON.
    #[arg(long)]
    pub json: bool,
}

/// When a prompt is typed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum SendMode {
    /// Once the agent is idle.
    #[default]
    Queue,
    /// Into the turn that runs, if one does and the agent takes text meanwhile; else once it is idle.
    Steer,
    /// At once: the turn that runs is interrupted.
    Interrupt,
}

impl From<SendMode> for Mode {
    fn from(mode: SendMode) -> Self {
        match mode {
            SendMode::Queue => Self::Queue,
            SendMode::Steer => Self::Steer,
            SendMode::Interrupt => Self::Interrupt,
        }
    }
}

/// Runs it.
pub async fn run(args: SendArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let Ok(agent) = args.agent.parse::<Slug>() else {
        // Said by the daemon or the config with the nearest name, where one of them is at hand.
        return Err(ClientError::Refused(surroundings.unknown_agent(&args.agent).await).into());
    };
    let keep =
        Keep { id: PromptId::random(), agent, who: surroundings.who(), body: body(&args)?, mode: args.mode.into() };
    let client = surroundings.client();
    let id = match hand_in(&client, &keep).await {
        Ok(kept) => kept.id,
        // Where it has stored the prompt already, the same id makes the kept one harmless.
        Err(ClientError::NotRunning(_) | ClientError::Ended(_)) => return keep_offline(&keep, surroundings).await,
        Err(error) => return Err(error.into()),
    };
    if args.no_wait {
        print(&id.to_string())?;
        return Ok(Exit::Success);
    }
    let until = if args.reply { Until::Done } else { Until::Confirmed };
    let patience = args.timeout.unwrap_or(Duration::from_secs(if args.reply { 3600 } else { 120 }));
    let view = wait(&client, &id, until, started + patience).await?;
    if args.json {
        print(&serde_json::to_string_pretty(&view).context("can't write JSON")?)?;
    }
    tell(&view, &args, started.elapsed())
}

fn body(args: &SendArgs) -> anyhow::Result<String> {
    match (&args.file, args.prompt.as_deref()) {
        (Some(path), _) => std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display())),
        (None, Some("-")) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("can't read standard input")?;
            Ok(text)
        }
        (None, prompt) => Ok(prompt.unwrap_or_default().to_owned()),
    }
}

/// Hands the prompt in. A daemon that dies over it leaves open whether it is stored: it is handed in again under the same id,
/// which makes it one prompt, so that nobody has to send it twice.
async fn hand_in(client: &Client, keep: &Keep) -> Result<Kept, ClientError> {
    let mut left = HAND_IN_AGAIN;
    loop {
        match client.post::<Kept>("/v1/prompts", keep).await {
            Err(ClientError::Ended(_) | ClientError::Other(_)) if left > 0 => {
                left -= 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            other => return other,
        }
    }
}

/// Asks again and again until the prompt is settled or the time is over; a daemon that restarts meanwhile is waited for.
async fn wait(client: &Client, id: &PromptId, until: Until, deadline: Instant) -> anyhow::Result<PromptView> {
    let word = if until == Until::Done { "done" } else { "confirmed" };
    let progress = ProgressBar::new_spinner();
    if std::io::stderr().is_terminal() {
        // Else nobody would see it turn, and it has a thread of its own.
        progress.enable_steady_tick(Duration::from_millis(120));
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let seconds = left.min(QUESTION).as_secs_f64().ceil();
        let asked = client.get::<PromptView>(&format!("/v1/prompts/{id}?until={word}&seconds={seconds}")).await;
        let over = Instant::now() >= deadline;
        match asked {
            Ok(view) if over || settled(&view, until) => {
                progress.finish_and_clear();
                return Ok(view);
            }
            Ok(view) => progress.set_message(show::waiting(&view)),
            Err(ClientError::NotRunning(_) | ClientError::Ended(_) | ClientError::Other(_)) if !over => {
                progress.set_message("fleetd is restarting");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn settled(view: &PromptView, until: Until) -> bool {
    match show::state(view).map(PromptState::name) {
        Some(StateName::Confirmed) => until == Until::Confirmed,
        Some(state) => state.is_given_up() || state == StateName::Done,
        None => false,
    }
}

fn tell(view: &PromptView, args: &SendArgs, took: Duration) -> anyhow::Result<Exit> {
    let agent = &view.agent;
    let (line, exit) = match show::state(view) {
        Some(PromptState::Done { .. }) if args.reply => {
            let said = |row: &crate::model::FeedRow| match &row.fact {
                Fact::Said { text } => Some(text.clone()),
                _ => None,
            };
            (view.turn.iter().rev().find_map(said).unwrap_or_default(), Exit::Success)
        }
        Some(PromptState::Confirmed { .. }) if args.reply => {
            (format!("{agent}: confirmed; its turn still runs (`fleet trace {}`)", view.id), Exit::TimedOut)
        }
        Some(PromptState::Confirmed { by } | PromptState::Done { by }) => {
            let by = if *by == crate::model::Evidence::Screen { " by screen" } else { "" };
            (format!("{agent}: confirmed{by} in {:.1} s", took.as_secs_f64()), Exit::Success)
        }
        Some(PromptState::Failed { reason }) => (format!("{agent}: failed: {reason}"), Exit::Failed),
        Some(PromptState::Cancelled { by }) => (format!("{agent}: {by} cancelled it"), Exit::Failed),
        Some(PromptState::Expired) => (format!("{agent}: expired: the agent could not take it in time"), Exit::Failed),
        Some(PromptState::Uncertain { seen }) => {
            let line =
                format!("{agent}: uncertain: {seen}. Look with `fleet attach {agent}` before you send it again.");
            (line, Exit::Uncertain)
        }
        _ => (format!("{agent}: {} (`fleet trace {}`)", show::waiting(view), view.id), Exit::TimedOut),
    };
    if !args.json {
        print(&line)?;
    }
    Ok(exit)
}

/// Keeps a prompt in a file that the daemon takes in at its next start.
async fn keep_offline(keep: &Keep, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    if let Some(unknown) = surroundings.unknown_in_config(keep.agent.as_str()) {
        return Err(ClientError::Refused(unknown).into());
    }
    if keep.body.trim().is_empty() {
        return Err(ClientError::Refused("the prompt is empty".to_owned()).into());
    }
    let path = surroundings.state.offline_prompt(&keep.id);
    let json = serde_json::to_vec(keep).context("can't write JSON")?;
    create_private_dir(&surroundings.state.offline())
        .and_then(|()| write_private(&path, &json))
        .with_context(|| format!("fleetd is not running, and the prompt can't be kept in {}", path.display()))?;
    print(&format!(
        "{}: fleetd is not running; the prompt is kept as {} and delivered at its next start",
        keep.agent, keep.id
    ))?;
    Ok(Exit::NotRunning)
}
