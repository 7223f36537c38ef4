//! One exec of tmux: what starts the server, and the fallback when the control client is down.

use std::ffi::OsString;
use std::fmt;
use std::process::Stdio;
use std::str::FromStr;

use tokio::process::Command as Process;
use tokio::time::timeout;

use super::command::{Command, exec_args};
use super::server::ServerOptions;
use super::{Result, TmuxError};

/// A tmux version: `3.3a` is 3.3, since letters mark fixes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The number before the point.
    pub major: u32,
    /// The number after it.
    pub minor: u32,
}

impl Version {
    /// The oldest that has what this door uses: `copy-mode -q`, `new-session -f`, `-N`.
    pub const NEEDED: Self = Self { major: 3, minor: 2 };
    /// What a build from tmux's own repository calls itself.
    const MASTER: Self = Self { major: u32::MAX, minor: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MASTER {
            return formatter.write_str("master");
        }
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads what `tmux -V` prints: `tmux 3.3a`, `tmux next-3.6`, `tmux master`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let unknown = || format!("`tmux -V` printed {text:?}, which names no version");
        let word = text.trim().strip_prefix("tmux ").ok_or_else(unknown)?;
        if word == "master" {
            return Ok(Self::MASTER);
        }
        let word = word.strip_prefix("next-").or_else(|| word.strip_prefix("openbsd-")).unwrap_or(word);
        let (major, minor) = word.split_once('.').ok_or_else(unknown)?;
        let minor = minor.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        Ok(Self { major: major.parse().map_err(|_| unknown())?, minor: minor.parse().map_err(|_| unknown())? })
    }
}

/// Whether an exec may start the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Never,
    IfNeeded,
}

/// Which systemd is asked for a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The user's own.
    User,
    /// The machine's: only root may ask it.
    System,
}

/// The installed tmux, if it is new enough.
pub(super) async fn version(options: &ServerOptions) -> Result<Version> {
    let printed = words(options).await?;
    let found = Version::from_str(&printed).map_err(|message| TmuxError::Refused { command: "-V", message })?;
    if found < Version::NEEDED { Err(TmuxError::TooOld { found, needed: Version::NEEDED }) } else { Ok(found) }
}

/// What `tmux -V` prints.
pub(super) async fn words(options: &ServerOptions) -> Result<String> {
    let mut process = Process::new("tmux");
    surround(&mut process, options);
    process.arg("-V");
    Ok(run(process, "-V", options).await?.join("\n"))
}

/// Runs `sequence` in one exec and yields the lines it printed.
pub(super) async fn execute(
    options: &ServerOptions,
    start: Start,
    what: &'static str,
    sequence: &[Command],
) -> Result<Vec<String>> {
    let mut process = tmux(options, start, &[]);
    process.args(exec_args(sequence));
    run(process, what, options).await
}

/// Starts the server by `sequence` in a scope of its own, so that a stop of the service that we are leaves it alone, whatever
/// the unit says. Fails where systemd is not there or does not let us: then it is started as a child.
pub(super) async fn execute_in(
    scope: Scope,
    options: &ServerOptions,
    what: &'static str,
    sequence: &[Command],
) -> Result<Vec<String>> {
    let tmux = tmux(options, Start::IfNeeded, &[]);
    let mut process = Process::new("systemd-run");
    surround(&mut process, options);
    process.args(scope_args(scope, &options.socket, std::process::id())).arg(tmux.as_std().get_program());
    process.args(tmux.as_std().get_args()).args(exec_args(sequence));
    run(process, what, options).await
}

/// The arguments of `systemd-run` in front of a command. The unit's name is never one that an earlier server's agents still
/// hold.
fn scope_args(scope: Scope, socket: &str, number: u32) -> Vec<String> {
    let manager = match scope {
        Scope::User => Some("--user"),
        Scope::System => None,
    };
    let unit = format!("--unit=fleet-tmux-{socket}-{number}");
    let rest = ["--scope", "--collect", "--quiet", "--no-ask-password", &unit, "--"];
    manager.into_iter().chain(rest).map(str::to_owned).collect()
}

/// A tmux client of our server: UTF-8 whatever the locale, our own configuration if the server is to be started.
pub(super) fn tmux(options: &ServerOptions, start: Start, flags: &[&str]) -> Process {
    let mut process = Process::new("tmux");
    surround(&mut process, options);
    process.args(flags).arg("-u").arg("-L").arg(&options.socket);
    if start == Start::Never {
        process.arg("-N");
    }
    if let Some(conf) = options.conf() {
        process.arg("-f").arg(conf);
    }
    process
}

/// A process of ours is in a group of its own, so that a Ctrl-C meant for the daemon doesn't reach it.
fn surround(process: &mut Process, options: &ServerOptions) {
    process
        .env_clear()
        .envs(options.environment.iter().filter(|(name, _)| *name != "TMUX" && *name != "TMUX_PANE"))
        .current_dir("/")
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// How a failed spawn is told.
pub(super) fn spawn_error(source: std::io::Error) -> TmuxError {
    match source.kind() {
        std::io::ErrorKind::NotFound => TmuxError::Missing,
        _ => TmuxError::Io { what: "starting tmux".to_owned(), source },
    }
}

async fn run(mut process: Process, what: &'static str, options: &ServerOptions) -> Result<Vec<String>> {
    let child = process.spawn().map_err(spawn_error)?;
    let after = options.timeout;
    let output = timeout(after, child.wait_with_output())
        .await
        .map_err(|_| TmuxError::Timeout { what, after })?
        .map_err(TmuxError::io("waiting for tmux"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        return Err(TmuxError::from_message(what, &message));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.strip_suffix('\n').map_or_else(Vec::new, |text| text.split('\n').map(str::to_owned).collect()))
}

/// The environment as the options carry it.
pub(super) type Variables = std::collections::BTreeMap<OsString, OsString>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_tmux_is_told_from_a_new_one() {
        let version = |major, minor| Ok(Version { major, minor });
        for (text, expected) in [
            ("tmux 3.3a\n", version(3, 3)),
            ("tmux 3.10", version(3, 10)),
            ("tmux next-3.6", version(3, 6)),
            ("tmux 3.5-rc2", version(3, 5)),
            ("tmux openbsd-7.4", version(7, 4)),
            ("tmux master", Ok(Version::MASTER)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for junk in ["", "tmux", "tmux x", "3.3", "tmux 3"] {
            assert!(junk.parse::<Version>().is_err(), "{junk}");
        }
        assert!("tmux 2.9a".parse::<Version>().unwrap() < Version::NEEDED);
        assert!("tmux master".parse::<Version>().unwrap() > Version::NEEDED);
    }

    #[test]
    fn the_server_is_put_into_a_scope_that_outlives_the_service_and_never_asks_for_a_password() {
        let line = |scope| scope_args(scope, "fleet", 42).join(" ");
        let rest = "--scope --collect --quiet --no-ask-password --unit=fleet-tmux-fleet-42 --";
        assert_eq!(line(Scope::System), rest);
        assert_eq!(line(Scope::User), format!("--user {rest}"));
    }
}
