//! The process's surroundings, read once at start and passed on as plain data.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::{PromptId, Slug};

/// A copy of the environment at start. Nothing else in the house asks the process for a variable.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// An environment made by hand.
    pub fn from_pairs<K: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { variables: pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// A variable that is set, not empty and readable as text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(std::ffi::OsStr::new(name))?.to_str().filter(|value| !value.is_empty())
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }

    /// The user's home.
    pub fn home(&self) -> PathBuf {
        self.get("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from)
    }
}

/// Where the daemon keeps what must survive it: `--state`, else `$FLEET_STATE`, else `$STATE_DIRECTORY`, else
/// `~/.local/state/fleet`. Directories are 0700, files 0600.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// By the rule above.
    pub fn choose(flag: Option<PathBuf>, environment: &Environment) -> Self {
        let root = flag
            .or_else(|| environment.get("FLEET_STATE").map(PathBuf::from))
            .or_else(|| environment.get("STATE_DIRECTORY").map(PathBuf::from))
            .unwrap_or_else(|| environment.home().join(".local/state/fleet"));
        Self { root }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("fleet.db")
    }

    /// The local API's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.root.join("fleetd.sock")
    }

    /// The lock that keeps a second daemon out.
    pub fn lock(&self) -> PathBuf {
        self.root.join("fleetd.lock")
    }

    /// A link to the executable of the daemon that runs. Agents outlive the daemon, and their hooks call this: a release that
    /// lies somewhere else must be found by those that an earlier one started.
    pub fn program(&self) -> PathBuf {
        self.root.join("fleetd")
    }

    /// Prompts that `fleet send` kept while no daemon ran, one file each.
    pub fn offline(&self) -> PathBuf {
        self.root.join("offline")
    }

    /// The file that `fleet send` keeps one such prompt in.
    pub fn offline_prompt(&self, id: &PromptId) -> PathBuf {
        self.offline().join(format!("{id}.json"))
    }

    /// What belongs to one agent: launch file, settings, hook spool, transcript.
    pub fn agent(&self, slug: &Slug) -> PathBuf {
        self.root.join("agents").join(slug.as_str())
    }

    /// The stamp of the day on which an agent's nudge was confirmed.
    pub fn stamp(&self, slug: &Slug, day: jiff::civil::Date) -> PathBuf {
        self.root.join("stamps").join(slug.as_str()).join(day.to_string())
    }
}
