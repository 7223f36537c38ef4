//! `fleetd launch <launch.json>`: the command of an agent's pane. It becomes the agent: no shell stands beneath that could
//! run a prompt, no parent whose pid the pane would show, and no secret stands on a command line.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::files::write_private;
use crate::model::LaunchFile;
use crate::tmux::ProcessMark;

/// The exit code where the agent can't be started, as shells use it.
pub const CANNOT_START: u8 = 127;

/// What only the pane can tell the agent; the file's values of these names are not taken.
const OF_THE_PANE: [&str; 3] = ["TMUX", "TMUX_PANE", "TERM"];

/// Runs the verb with the arguments after `launch`. Returns only if the agent could not be started.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Err(error) = become_agent(arguments);
    // The pane is the only place to say it; where that is gone, the exit code says enough. The empty line comes first
    // because tmux scrolls a dead pane by one row to write its own message below.
    let _ = writeln!(std::io::stderr(), "\nfleetd launch: {error:#}");
    ExitCode::from(CANNOT_START)
}

fn become_agent(arguments: impl IntoIterator<Item = OsString>) -> Result<std::convert::Infallible> {
    let mut arguments = arguments.into_iter();
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        bail!("it takes one argument, the launch file that the daemon wrote");
    };
    let file = read(Path::new(&path))?;
    std::env::set_current_dir(&file.cwd)
        .with_context(|| format!("could not enter the agent's directory {}", file.cwd.display()))?;
    if let Some(most) = file.nofile {
        let limit = Rlimit { current: Some(most), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit)
            .with_context(|| format!("could not set the limit of open files to {most}"))?;
    }
    let Some((program, rest)) = file.argv.split_first() else { bail!("the launch file names no program") };
    let mut command = Command::new(program);
    command.args(rest).env_clear();
    command.envs(file.env.iter().map(|(key, value)| (key, value)));
    for name in OF_THE_PANE {
        match std::env::var_os(name) {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    mark(Path::new(&path), &file)?;
    let error = command.exec();
    Err(error).with_context(|| {
        format!("could not start {}: is it installed, and on the agent's PATH?", Path::new(program).display())
    })
}

/// Notes beside the launch file who we are. Pid and start time stay the same over the exec, so the daemon knows the agent
/// from whatever a person may start in the pane later.
fn mark(launch_file: &Path, file: &LaunchFile) -> Result<()> {
    let directory = launch_file.parent().unwrap_or(Path::new("."));
    let launched = LaunchFile::noted(directory);
    // First: a mark without it would make the process look like one of an earlier agents.yaml.
    write_private(&launched, file.fingerprint.as_deref().unwrap_or_default().as_bytes())
        .with_context(|| format!("could not write {}", launched.display()))?;
    let path = ProcessMark::path(directory);
    let mark = ProcessMark::of_this_process().context("could not read this process's start time")?;
    write_private(&path, mark.to_string().as_bytes()).with_context(|| format!("could not write {}", path.display()))
}

fn read(path: &Path) -> Result<LaunchFile> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {shown}"))?;
    LaunchFile::from_json(&text).with_context(|| format!("could not use {shown}"))
}
