//! The program `fleetd`: picks the verb, runs it, sets the exit code.

use std::process::ExitCode;

use clap::{Args, FromArgMatches};
use fleetd::cli::{hook, launch, practice_agent};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_default();
    match verb.to_str() {
        Some("hook") => {
            hook::run(arguments);
            ExitCode::SUCCESS
        }
        Some("launch") => launch::run(arguments),
        Some("practice-agent") => {
            let command = practice_agent::PracticeArgs::augment_args(clap::Command::new("fleetd practice-agent"));
            let matches = command.get_matches_from(std::env::args_os().skip(1));
            let outcome = practice_agent::PracticeArgs::from_arg_matches(&matches)
                .map_err(anyhow::Error::from)
                .and_then(practice_agent::run);
            outcome.map_or_else(complain, |()| ExitCode::SUCCESS)
        }
        _ => complain(anyhow::anyhow!("the verbs are hook, launch and practice-agent")),
    }
}

fn complain(error: anyhow::Error) -> ExitCode {
    use std::io::Write;
    // Where stderr is gone, the exit code says enough.
    let _ = writeln!(std::io::stderr(), "fleetd: {error:#}");
    ExitCode::FAILURE
}
