//! The program `fleetd`, also called `fleet`: parses, runs, sets the exit code.

use std::io::Write;
use std::process::ExitCode;

use fleetd::cli::{self, Exit, hook, launch};

fn main() -> ExitCode {
    // These two run beneath every agent: straight to the point.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|verb| verb.to_str()) {
        Some("hook") => {
            hook::run(arguments);
            return ExitCode::SUCCESS;
        }
        Some("launch") => return launch::run(arguments),
        _ => {}
    }
    // Set once, before anything speaks TLS; a second provider can't be there.
    rustls::crypto::ring::default_provider().install_default().ok();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Where the terminal is gone, the exit code says enough.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match cli::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => complain(&error),
    }
}

fn complain(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    // Where stderr is gone, the exit code says enough.
    writeln!(anstream::stderr(), "{}", cli::told(error)).ok();
    cli::exit_of(error).into()
}
