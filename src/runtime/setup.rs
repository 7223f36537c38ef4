//! An agent with everything about it that stays the same from launch to launch.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Conversation, LaunchContext, Runtime};
use crate::config::Agent;

/// An agent, the knowledge of its CLI, and its surroundings.
pub struct AgentSetup {
    /// The agent, as agents.yaml has it.
    pub agent: Agent,
    /// The knowledge of its CLI.
    pub runtime: Arc<dyn Runtime>,
    /// Its working directory, by its real path.
    pub cwd: PathBuf,
    /// Its own directory in the state directory.
    pub state: PathBuf,
    /// Our own executable.
    pub fleetd: PathBuf,
    /// The environment it sees, `env:` merged in.
    pub environment: BTreeMap<OsString, OsString>,
    /// The rule below every prompt; none where the fleet has none.
    pub rule: Option<String>,
    /// Whether it runs as root.
    pub root: bool,
}

impl AgentSetup {
    /// What a launch as `conversation` may depend on.
    pub fn context<'a>(&'a self, conversation: &'a Conversation) -> LaunchContext<'a> {
        LaunchContext {
            agent: &self.agent,
            cwd: &self.cwd,
            state: &self.state,
            fleetd: &self.fleetd,
            environment: &self.environment,
            conversation,
            root: self.root,
        }
    }
}
