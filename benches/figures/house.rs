//! The rooms without a daemon around them: a private tmux server, a database, a supervisor, and agents' setups.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fleetd::config::{self, Environment};
use fleetd::git::Git;
use fleetd::model::{Clock, Slug, SystemClock};
use fleetd::runtime::{self, AgentSetup};
use fleetd::store::Store;
use fleetd::supervisor::{Supervisor, TAG_AGENT, TAG_FLEET};
use fleetd::tmux::{Server, ServerOptions};
use tempfile::TempDir;

use crate::support::fleet::FLEETD;

pub const SOCKET: &str = "fleet-bench";
pub const FLEET: &str = "bench";

/// Everything, in a directory of its own; dropping it ends the tmux server.
pub struct House {
    directory: TempDir,
    pub server: Server,
    pub store: Store,
    pub supervisor: Supervisor,
    pub setups: Vec<AgentSetup>,
}

impl House {
    /// A house for agents with these commands.
    pub async fn new(agents: &[(String, String)]) -> Self {
        let directory = tempfile::Builder::new().prefix("fb").tempdir_in("/tmp").unwrap();
        let path = directory.path();
        let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        environment.insert("TMUX_TMPDIR".into(), path.into());
        let server = Server::new(ServerOptions {
            socket: SOCKET.to_owned(),
            directory: path.join("tmux"),
            timeout: Duration::from_secs(10),
            environment: environment.clone(),
            tags: vec![TAG_AGENT.to_owned(), TAG_FLEET.to_owned()],
            scope: None,
        });
        server.start().await.unwrap();
        let store = Store::open(&path.join("fleet.db")).await.unwrap();
        let git = Git::new("https://example.invalid", Duration::from_secs(1), BTreeMap::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let supervisor =
            Supervisor::new(store.clone(), server.clone(), git, clock, FLEET.to_owned(), path.join("repos"));
        let setups = setups(path, agents, &environment);
        Self { directory, server, store, supervisor, setups }
    }

    /// The agents' names.
    pub fn slugs(&self) -> Vec<Slug> {
        self.setups.iter().map(|setup| setup.agent.slug.clone()).collect()
    }

    /// The house's own directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// One exec of tmux on the same server, as a script would do it.
    pub fn raw(&self, args: &[&str]) {
        raw(SOCKET, Some(self.path()), args);
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.raw(&["kill-server"]);
    }
}

/// One exec of tmux, waited for.
pub fn raw(socket: &str, directory: Option<&Path>, args: &[&str]) {
    let mut command = Command::new("tmux");
    if let Some(directory) = directory {
        command.env("TMUX_TMPDIR", directory);
    }
    command.args(["-L", socket]).args(args).env_remove("TMUX").stdin(Stdio::null()).stdout(Stdio::null());
    assert!(command.status().unwrap().success(), "tmux {args:?}");
}

/// The command of a practice agent, as YAML.
pub fn practice() -> String {
    format!("[{FLEETD}, practice-agent, --speed, \"0\"]\n    prompt: \"❯\"")
}

fn setups(path: &Path, agents: &[(String, String)], environment: &BTreeMap<OsString, OsString>) -> Vec<AgentSetup> {
    let mut yaml = "agents:\n".to_owned();
    for (slug, command) in agents {
        yaml += &format!("  - slug: {slug}\n    runtime: command\n    command: {command}\n");
    }
    let file = path.join("agents.yaml");
    std::fs::write(&file, yaml).unwrap();
    let fleet = config::load(&file, &Environment::from_pairs(environment.clone())).unwrap();
    let setup = |agent: config::Agent| {
        let (cwd, state) = (path.join("work").join(agent.slug.as_str()), path.join("agents").join(agent.slug.as_str()));
        std::fs::create_dir_all(&cwd).unwrap();
        std::fs::create_dir_all(&state).unwrap();
        AgentSetup {
            runtime: runtime::for_agent(&agent),
            cwd,
            state,
            fleetd: FLEETD.into(),
            environment: environment.clone(),
            rule: None,
            root: true,
            agent,
        }
    };
    fleet.agents.into_iter().map(setup).collect()
}
