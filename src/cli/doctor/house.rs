//! What every check starts from: the fleet as far as agents.yaml tells it, and whose environment counts.
//!
//! A service sees another environment than the shell in which somebody asks the doctor. While the daemon runs, its own
//! counts: its PATH, its tokens, its home. Where the state directory is another user's, root may ask too, but nothing that
//! user could have put on a PATH or into a file must ever run as root.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::report::{Check, Line};
use crate::cli::surroundings::Surroundings;
use crate::config::{self, ConfigError, Environment, Fleet, StateDir};

/// Where the checks look.
pub struct House {
    /// The state directory.
    pub state: StateDir,
    /// The daemon's environment, else this process's.
    pub environment: Environment,
    /// Whether the state directory is another user's: then no program is run and no environment of theirs is taken.
    pub foreign: bool,
    /// The daemon that holds the lock, by its pid.
    pub daemon: Option<u32>,
    /// The fleet; none where agents.yaml has mistakes.
    pub fleet: Option<Fleet>,
    /// What was found of agents.yaml.
    pub config: Vec<Line>,
    /// This very program.
    pub executable: PathBuf,
}

impl House {
    /// Looks around.
    pub fn look(surroundings: &Surroundings) -> Self {
        let state = surroundings.state.clone();
        let daemon = lock_holder(&state.lock());
        let own = rustix::process::geteuid().as_raw();
        let foreign = std::fs::metadata(state.root()).is_ok_and(|found| found.uid() != own);
        let environment =
            daemon.filter(|_| !foreign).and_then(environment_of).unwrap_or_else(|| surroundings.environment.clone());
        let (fleet, config) = match surroundings.config_path() {
            Err(error) => (None, vec![Line::fail(Check::Config, "there is no agents.yaml", error.to_string())]),
            Ok(path) => judge_config(&path, config::load(&path, &environment)),
        };
        let executable = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        Self { state, environment, foreign, daemon, fleet, config, executable }
    }

    /// How many agents there are.
    pub fn agents(&self) -> u64 {
        self.fleet.as_ref().map_or(0, |fleet| fleet.agents.len() as u64)
    }
}

fn judge_config(path: &Path, loaded: Result<Fleet, ConfigError>) -> (Option<Fleet>, Vec<Line>) {
    let shown = path.display();
    let fleet = match loaded {
        Ok(fleet) => fleet,
        Err(ConfigError::Mistakes(mistakes)) => {
            let told = mistakes.iter().map(|mistake| {
                let place = format!("{}:{}:{}", mistake.file.display(), mistake.line, mistake.column);
                Line::fail(Check::Config, format!("{place}: {}", mistake.what), &*mistake.instead)
            });
            let unseen = "programs, logins, channels, clones and worktrees were not looked at: no agent is known";
            let rest = Line::warn(Check::Config, unseen, "mend agents.yaml, then ask again");
            return (None, told.chain([rest]).collect());
        }
        Err(error @ ConfigError::Unreadable { .. }) => {
            return (None, vec![Line::fail(Check::Config, error.to_string(), "check the path and its rights")]);
        }
    };
    let mut lines = Vec::new();
    let secrets = fleet.agents.iter().any(|agent| !agent.env.is_empty());
    let open = std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0);
    if secrets && open {
        let found = format!("{shown} holds agents' variables, and everybody on this machine may read it");
        lines.push(Line::warn(Check::Config, found, format!("chmod o-rwx {shown}")));
    }
    let count = fleet.agents.len();
    if count == 0 {
        lines.push(Line::warn(Check::Config, format!("{shown} names no agent"), "write one beneath `agents:`"));
    } else {
        let word = if count == 1 { "agent" } else { "agents" };
        lines.push(Line::ok(Check::Config, format!("{shown}: {count} {word}, no mistakes")));
    }
    (Some(fleet), lines)
}

/// The process that holds the lock, by `/proc/locks`: to try the lock would keep a daemon from starting.
fn lock_holder(lock: &Path) -> Option<u32> {
    let found = std::fs::metadata(lock).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    holders(&locks, found.ino()).find(|pid| has_open(*pid, (found.dev(), found.ino())))
}

/// `1: FLOCK  ADVISORY  WRITE 7715 fe:00:10143261 0 EOF`. Devices are not compared: overlays name another than stat does.
fn holders(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    locks.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ["FLOCK", _, "WRITE", pid, file, ..] = fields.get(1..)? else { return None };
        let same = file.rsplit(':').next()?.parse() == Ok(inode);
        pid.parse().ok().filter(|_| same)
    })
}

/// Whether a process has this very file open: another disk's file may have the same number. Of a process that may not be
/// looked at, it is believed.
fn has_open(pid: u32, file: (u64, u64)) -> bool {
    match std::fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(files) => files
            .flatten()
            .filter_map(|open| std::fs::metadata(open.path()).ok())
            .any(|open| (open.dev(), open.ino()) == file),
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// The environment that a process was started with; none where it may not be read.
fn environment_of(pid: u32) -> Option<Environment> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).ok().filter(|bytes| !bytes.is_empty())?;
    let pair = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| -> OsString { OsStr::from_bytes(bytes).to_owned() };
        Some((text(&entry[..at]), text(&entry[at + 1..])))
    };
    Some(Environment::from_pairs(bytes.split(|byte| *byte == 0).filter_map(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn the_daemon_is_found_by_its_lock_without_touching_the_lock() {
        let locks = "1: POSIX  ADVISORY  WRITE 5 fe:00:77 0 EOF\n2: FLOCK  ADVISORY  READ 6 fe:00:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 8 fe:00:77 0 EOF\n3: FLOCK  ADVISORY  WRITE 7 00:2f:77 0 EOF\n";
        assert_eq!(holders(locks, 77).collect::<Vec<_>>(), [7]);
        assert_eq!(holders(locks, 7).count(), 0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let file = std::fs::File::create(&path).unwrap();
        assert_eq!(lock_holder(&path), None);
        file.lock().unwrap();
        assert_eq!(lock_holder(&path), Some(std::process::id()));
        assert!(!has_open(std::process::id(), (0, 77)), "another disk's file is taken for the lock");
        assert!(environment_of(std::process::id()).unwrap().get("PATH").is_some());
    }

    #[test]
    fn every_mistake_is_a_line_of_its_own_with_its_mend() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agents.yaml");
        std::fs::write(&path, "- slg: a\n- slug: A\n").unwrap();
        let (fleet, lines) = judge_config(&path, config::load(&path, &Environment::default()));
        assert!(fleet.is_none());
        let fails = lines.iter().filter(|line| matches!(line.verdict, Verdict::Fail { .. }));
        assert!(fails.clone().count() >= 2, "{lines:?}");
        assert!(fails.clone().all(|line| line.found.contains("agents.yaml:")), "{lines:?}");
        std::fs::write(&path, "- slug: a\n  env: {KEY: s3cret}\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let (fleet, lines) = judge_config(&path, config::load(&path, &Environment::default()));
        let told = format!("{lines:?}");
        assert!(fleet.is_some() && told.contains("chmod o-rwx") && !told.contains("s3cret"), "{told}");
    }
}
