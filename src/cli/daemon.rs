//! `fleetd`: the daemon in the foreground, logging to stderr.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::exit::Exit;
use super::surroundings::Surroundings;
use crate::daemon::{self, MovedClock, Options};
use crate::model::{Clock, SystemClock};
use crate::redact::{Redaction, Stream};

/// How long what was begun on threads of its own may take to end once the daemon has stopped.
const LAST_LOOKS: Duration = Duration::from_secs(1);

/// Runs it until a signal stops it.
pub fn run(surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let config = surroundings.config_path()?;
    let redaction = super::redaction()?;
    redaction.learn(daemon::held_by_process(&surroundings.environment))?;
    log(surroundings, redaction.clone());
    let options = Options {
        config,
        state: surroundings.state.clone(),
        environment: surroundings.environment.clone(),
        clock: clock(surroundings),
        executable: std::env::current_exe().context("can't find fleetd's own file")?,
        redaction,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("can't start the async runtime")?;
    let ended = runtime.block_on(daemon::run(options));
    // A look at a file system that hangs never ends; the daemon does all the same.
    runtime.shutdown_timeout(LAST_LOOKS);
    ended.map(|()| Exit::Success)
}

fn clock(surroundings: &Surroundings) -> Arc<dyn Clock> {
    match surroundings.environment.get("FLEET_CLOCK_FILE") {
        Some(file) => Arc::new(MovedClock::new(file.into())),
        None => Arc::new(SystemClock),
    }
}

/// journald adds its own times and needs no colours; `RUST_LOG` chooses what is told.
fn log(surroundings: &Surroundings, redaction: Redaction) {
    let filter = surroundings.environment.get("RUST_LOG").unwrap_or("info,tokio_cron_scheduler=warn");
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = surroundings.environment.get("JOURNAL_STREAM").is_some();
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(CleanErrors(redaction))
        .with_target(false)
        .with_ansi(terminal);
    // Set already only where somebody embeds us and logs by other means.
    if journal {
        builder.without_time().try_init().ok()
    } else {
        builder.try_init().ok()
    };
}

/// Standard error, without secrets: whatever is logged, by whichever library, goes through here.
struct CleanErrors(Redaction);

impl<'a> MakeWriter<'a> for CleanErrors {
    type Writer = CleanLine;

    fn make_writer(&'a self) -> CleanLine {
        CleanLine { stream: Some(self.0.stream()) }
    }
}

/// One event of the log, in however many pieces it is written.
struct CleanLine {
    stream: Option<Stream>,
}

impl Write for CleanLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let clean = self.stream.as_mut().map(|stream| stream.push(&String::from_utf8_lossy(bytes)));
        io::stderr().write_all(clean.unwrap_or_default().as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Drop for CleanLine {
    fn drop(&mut self) {
        let rest = self.stream.take().map(Stream::finish).unwrap_or_default();
        // Where stderr is gone, there is nobody left to tell.
        io::stderr().write_all(rest.as_bytes()).ok();
    }
}
