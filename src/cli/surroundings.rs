//! What every verb finds around it: the files that count, the daemon's address, who asks.

use std::path::PathBuf;

use super::client::Client;
use crate::config::{self, Environment, Fleet, StateDir};
use crate::daemon::protocol::Status;
use crate::model::text::unknown_agent;

/// The process's surroundings and what the command line says of them.
pub struct Surroundings {
    /// The environment.
    pub environment: Environment,
    /// Where the daemon keeps everything.
    pub state: StateDir,
    config: Option<PathBuf>,
}

impl Surroundings {
    /// By the flags `--config` and `--state`, which clap has filled from the environment where they were missing.
    pub fn new(config: Option<PathBuf>, state: Option<PathBuf>) -> Self {
        let environment = Environment::of_process();
        Self { state: StateDir::choose(state, &environment), config, environment }
    }

    /// The agents.yaml that counts.
    pub fn config_path(&self) -> Result<PathBuf, config::NotFound> {
        let cwd = std::env::current_dir().unwrap_or_default();
        config::find(self.config.as_deref(), &self.environment, &cwd)
    }

    /// The daemon.
    pub fn client(&self) -> Client {
        Client::new(&self.state.socket())
    }

    /// Who asks: the person behind sudo, too.
    pub fn who(&self) -> String {
        let names = ["SUDO_USER", "USER", "LOGNAME"];
        let named = names.iter().find_map(|name| self.environment.get(name)).map(str::to_owned);
        named.or_else(login_name).unwrap_or_else(|| "somebody".to_owned())
    }

    /// What is said of an agent's name that is none, by the daemon's list or else the file's.
    pub async fn unknown_agent(&self, name: &str) -> String {
        match self.client().get::<Status>("/v1/status").await {
            Ok(status) => unknown_agent(name, status.agents.iter().map(|agent| agent.agent.as_str())),
            Err(_) => self.unknown_in_config(name).unwrap_or_else(|| unknown_agent(name, std::iter::empty())),
        }
    }

    /// What is said of an agent that the file does not name; none where it does, or where there is no file to tell.
    pub fn unknown_in_config(&self, name: &str) -> Option<String> {
        let fleet: Fleet = config::load(&self.config_path().ok()?, &self.environment).ok()?;
        let known = || fleet.agents.iter().map(|agent| agent.slug.as_str());
        (!known().any(|slug| slug == name)).then(|| unknown_agent(name, known()))
    }
}

/// The name of the user in `/etc/passwd`, for a shell that has no `$USER` (cron, containers).
fn login_name() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|user| user.get(2) == Some(&uid.as_str())).map(|user| user[0].to_owned())
}
