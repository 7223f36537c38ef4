//! The faces on a terminal, one verb per file.
//!
//! `hook` and `launch` run beneath every agent and many times an hour: they start no async runtime, read no config and go
//! through no argument parser. No verb may touch the store: they speak to the daemon through its local API.
//! `doctor`, which is asked most where no daemon comes up, may ask whether the database is sound, and nothing else of it.

mod append;
mod attach;
mod check;
mod client;
mod daemon;
pub mod doctor;
mod exit;
mod gc;
mod hold;
pub mod hook;
mod keep_awake;
pub mod launch;
mod nudge;
mod papers;
mod plan;
pub mod practice_agent;
mod queue;
mod reconcile;
mod send;
mod show;
mod status;
mod surroundings;
mod tail;
mod trace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use jiff::SignedDuration;

use crate::redact::Redaction;
use surroundings::Surroundings;

pub use exit::{Exit, of as exit_of};

/// Run a team's fleet of background coding agents: one tmux session and one Slack channel each.
///
/// Without a verb, `fleetd` runs the daemon in the foreground; `fleet` is the same program as a client.
#[derive(Debug, Parser)]
#[command(name = "fleet", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// agents.yaml [default: ./agents.yaml, ~/.config/fleet/agents.yaml, /etc/fleet/agents.yaml].
    #[arg(long, global = true, env = "FLEET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The state directory [default: $STATE_DIRECTORY, ~/.local/state/fleet].
    #[arg(long, global = true, env = "FLEET_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon in the foreground
    Daemon,
    /// Check agents.yaml and name every mistake
    Check(check::CheckArgs),
    /// Print the JSON Schema of agents.yaml
    Schema,
    Send(send::SendArgs),
    /// Show every agent: what it does, its last prompt, its next nudge
    Status(status::StatusArgs),
    /// Follow what the agents do
    Tail(tail::TailArgs),
    /// Attach this terminal to an agent's session
    Attach(attach::AttachArgs),
    /// Give an agent its daily prompt now, beside the day's own
    Nudge(nudge::NudgeArgs),
    /// Show what waits for the agents
    Queue(queue::QueueArgs),
    /// Take a prompt back that has not been typed
    Cancel(queue::PromptArgs),
    /// Give a prompt again that failed, expired, was cancelled or is uncertain
    Retry(queue::PromptArgs),
    /// Keep the box up that would stop itself
    KeepAwake(keep_awake::KeepAwakeArgs),
    /// Hold an agent: what is queued for it waits
    Pause(hold::HoldArgs),
    /// Hold agents and interrupt their turns
    Stop(hold::StopArgs),
    /// Let an agent go that was held
    Resume(hold::HoldArgs),
    /// Look at every session now and mend what is missing
    Reconcile(reconcile::ReconcileArgs),
    /// Say what a changed agents.yaml would do
    Plan(plan::PlanArgs),
    /// Show which worktrees nobody needs any more, and free what is safe
    Gc(gc::GcArgs),
    /// Show a prompt's whole life
    Trace(trace::TraceArgs),
    /// Tell what is wrong with this box, and how to mend it
    Doctor(doctor::DoctorArgs),
    /// Print completions for a shell
    Completions(papers::CompletionsArgs),
    /// Write the man pages into a directory
    Man(papers::ManArgs),
    /// Run the practice agent: a small agent that costs no model
    PracticeAgent(practice_agent::PracticeArgs),
}

/// Parses a command line, its first word being the program's name: `fleetd` alone runs the daemon, `fleet` alone helps.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = arguments.first().map(PathBuf::from).unwrap_or_default();
    let mut cli = Cli::try_parse_from(&arguments)?;
    if cli.verb.is_none() {
        if program.file_stem().is_some_and(|name| name == "fleet") {
            return Err(Cli::try_parse_from(["fleet", "--help"])
                .err()
                .unwrap_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingSubcommand)));
        }
        cli.verb = Some(Verb::Daemon);
    }
    Ok(cli)
}

/// Runs a verb.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    let surroundings = Surroundings::new(cli.config, cli.state);
    match cli.verb.unwrap_or(Verb::Daemon) {
        Verb::Daemon => daemon::run(&surroundings),
        Verb::Check(args) => check::run(&args, &surroundings),
        Verb::Schema => print(&crate::config::schema()).map(|()| Exit::Success),
        Verb::Attach(args) => attach::run(&args, &surroundings),
        Verb::Completions(args) => papers::completions(&args),
        Verb::Man(args) => papers::man(&args),
        Verb::PracticeAgent(args) => practice_agent::run(args).map(|()| Exit::Success),
        Verb::Send(args) => client(send::run(args, &surroundings)),
        Verb::Status(args) => client(status::run(&args, &surroundings)),
        Verb::Tail(args) => client(tail::run(&args, &surroundings)),
        Verb::Nudge(args) => client(nudge::run(&args, &surroundings)),
        Verb::Queue(args) => client(queue::run(&args, &surroundings)),
        Verb::Cancel(args) => client(queue::cancel(&args, &surroundings)),
        Verb::Retry(args) => client(queue::retry(&args, &surroundings)),
        Verb::Pause(args) => client(hold::pause(&args, &surroundings)),
        Verb::Stop(args) => client(hold::stop(&args, &surroundings)),
        Verb::Resume(args) => client(hold::resume(&args, &surroundings)),
        Verb::KeepAwake(args) => client(keep_awake::run(&args, &surroundings)),
        Verb::Reconcile(args) => client(reconcile::run(&args, &surroundings)),
        Verb::Plan(args) => client(plan::run(&args, &surroundings)),
        Verb::Gc(args) => client(gc::run(&args, &surroundings)),
        Verb::Doctor(args) => {
            redaction()?.learn(crate::daemon::held_by_process(&surroundings.environment))?;
            client(doctor::run(&args, &surroundings))
        }
        Verb::Trace(args) => client(trace::run(&args, &surroundings)),
    }
}

/// Runs a verb that speaks to the daemon: one thread is enough, and starts sooner.
fn client(verb: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("can't start the async runtime")?.block_on(verb)
}

/// What this process may not show. A verb that learns of secrets adds them; the daemon's answers come without them.
static REDACTION: OnceLock<Redaction> = OnceLock::new();

fn redaction() -> anyhow::Result<Redaction> {
    match REDACTION.get() {
        Some(redaction) => Ok(redaction.clone()),
        None => {
            let made = Redaction::new()?;
            Ok(REDACTION.get_or_init(|| made).clone())
        }
    }
}

/// An error as people may read it.
pub fn told(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    // Without the filter it is better to be silent than to tell a secret.
    redaction().map_or_else(|_| "fleetd failed, and can't tell of it".to_owned(), |redaction| redaction.text(&text))
}

/// Prints a line. A reader that went away (`fleet tail | head`) ends the program quietly, as any filter would.
fn print(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let line = redaction()?.text(line);
    match writeln!(anstream::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(anyhow::Error::new(error)),
        other => other.context("can't write to standard output"),
    }
}

/// Reads a duration such as `30s`, `10m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} is no duration; write for example 30s, 10m or 2h");
    let duration: SignedDuration = text.parse().map_err(|_| wanted())?;
    Duration::try_from(duration).map_err(|_| wanted())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn fleetd_alone_is_the_daemon_and_fleet_alone_never_starts_one() {
        assert!(matches!(parse(words("/usr/bin/fleetd")).unwrap().verb, Some(Verb::Daemon)));
        assert!(matches!(parse(words("fleetd --config x")).unwrap().verb, Some(Verb::Daemon)));
        assert!(parse(words("/usr/bin/fleet")).is_err());
    }

    #[test]
    fn a_prompt_that_looks_like_an_option_is_a_prompt() {
        let Some(Verb::Send(args)) = parse(words("fleet send a -x")).unwrap().verb else { panic!("no send") };
        assert_eq!(args.prompt.as_deref(), Some("-x"));
    }
}
