//! From a command line to a running fleet: every check whose failure makes the rest pointless, in the order of their cost.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::deaths::Deaths;
use super::event::Event;
use super::fleet::{Roster, Running};
use super::news::FirstTries;
use super::offline;
use super::places::Places;
use super::post::AgentPost;
use super::pulse::Pulse;
use super::secrets;
use crate::config::{self, Agent, Environment, Fleet, StateDir};
use crate::delivery::Delivery;
use crate::files::{create_private_dir, link_to};
use crate::git::Git;
use crate::mirror::Mirror;
use crate::model::Clock;
use crate::redact::Redaction;
use crate::runtime::{self, AgentSetup};
use crate::schedule::Stamps;
use crate::store::Store;
use crate::supervisor::{Supervisor, TAG_AGENT, TAG_FLEET};
use crate::tmux::{Scope, Server, ServerOptions};

/// How long any one call of tmux may take.
const TMUX_PATIENCE: Duration = Duration::from_secs(5);

/// How long any one run of git may take: a first clone of a large repository over a slow line.
const GIT_PATIENCE: Duration = Duration::from_secs(1800);

/// The note that names this fleet.
const FLEET_ID: &str = "fleet.id";

/// What the daemon is started with.
pub struct Options {
    /// agents.yaml.
    pub config: PathBuf,
    /// Where everything is kept.
    pub state: StateDir,
    /// The process's surroundings.
    pub environment: Environment,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Our own executable, which the panes run.
    pub executable: PathBuf,
    /// What is known to be secret; what the agents hold is added.
    pub redaction: Redaction,
}

/// What makes a fleet of an agents.yaml, at the start and whenever it changes.
pub struct Loader {
    /// agents.yaml.
    pub path: PathBuf,
    /// The process's surroundings.
    pub environment: Environment,
    executable: PathBuf,
}

/// A fleet that is ready to run.
pub struct Booted {
    /// Everything that runs.
    pub running: Arc<Running>,
    /// Where the local API listens.
    pub socket: PathBuf,
    /// The days' stamps.
    pub stamps: Stamps,
}

/// Boots.
pub async fn boot(options: Options, events: mpsc::UnboundedSender<Event>) -> anyhow::Result<Booted> {
    let Options { config, state, environment, clock, executable, redaction } = options;
    config::arm_crash(&environment)?;
    let fleet = config::load(&config, &environment)?;
    create_private_dir(state.root()).with_context(|| {
        format!("can't create the state directory {}; choose another with --state", state.root().display())
    })?;
    let lock = lock(&state).await?;
    let executable = program(&state, executable);
    let store = Store::open(&state.database()).await?;
    let id = fleet_id(&store).await?;
    let tmux = tmux(&fleet, &state, &environment);
    tmux.version().await?;
    create_private_dir(&state.root().join("tmux")).context("can't create the directory of tmux's files")?;
    offline::take_in(&state, &store, clock.now()).await?;

    let git_environment = config::plain_environment(&environment);
    let git = Git::new(&config::git_remote(&environment), GIT_PATIENCE, git_environment);
    let places = Places::new(git.clone());
    let supervisor = Supervisor::new(store.clone(), tmux.clone(), git, Arc::clone(&clock), id, fleet.repos_dir.clone());
    supervisor.set_launch_stagger(fleet.launch_stagger);
    let loader = Loader { path: config, environment, executable };
    let setups = fleet.agents.iter().map(|agent| loader.setup(agent, &fleet, &state));
    let setups = setups.collect::<anyhow::Result<Vec<_>>>()?;
    redaction.learn(secrets::of_agents(&setups))?;
    let agents = setups.into_iter().map(|setup| Arc::new(AgentPost::new(setup))).collect();
    let (socket, stamps) = (state.socket(), Stamps::new(state.clone()));
    let running = Running {
        since: clock.now(),
        places,
        supervisor,
        delivery: Delivery::new(store.clone(), tmux.clone(), Arc::clone(&clock)),
        mirror: Mirror::new(store.clone(), Arc::clone(&clock)),
        roster: watch::Sender::new(Arc::new(Roster { fleet, agents, retired: Vec::new() })),
        events,
        state,
        news: watch::Sender::new(0),
        stop: watch::Sender::new(false),
        loader,
        config: Notify::new(),
        deaths: Deaths::default(),
        pulse: Pulse::default(),
        supervise: Notify::new(),
        idle: Notify::new(),
        acted: AtomicI64::new(clock.now().as_microsecond()),
        first_tries: FirstTries::default(),
        schedule: Notify::new(),
        slack: Arc::new(Notify::new()),
        bridge: watch::Sender::new(None),
        problems: Mutex::new(HashMap::new()),
        redaction,
        clock,
        store,
        tmux,
        _lock: lock,
    };
    Ok(Booted { running: Arc::new(running), socket, stamps })
}

/// How long the lock of a daemon that was killed may live on: in a child of its that was just being started, until its exec.
const LOCK_LIVES: Duration = Duration::from_secs(2);

/// Keeps a second daemon out of this state directory for as long as the file is open.
async fn lock(state: &StateDir) -> anyhow::Result<File> {
    let path = state.lock();
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(false), 0o600);
    let told = || format!("can't write in the state directory {}; choose another with --state", state.root().display());
    let file = options.open(&path).with_context(told)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_LIVES => sleep(Duration::from_millis(50)).await,
            Err(fs::TryLockError::WouldBlock) => bail!(
                "another fleetd runs on {}: stop it first (`systemctl stop fleetd`), or give this one another --state",
                state.root().display()
            ),
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("can't lock {}", path.display()));
            }
        }
    }
}

/// What agents know us by: a link that stays where it is, whatever release it leads to.
fn program(state: &StateDir, executable: PathBuf) -> PathBuf {
    let link = state.program();
    match link_to(&link, &executable).and_then(|()| state.root().canonicalize()) {
        Ok(root) => link.file_name().map_or(executable, |name| root.join(name)),
        Err(error) => {
            // A full disk must not keep the fleet down: only an upgrade to another place would be missed by the agents.
            tracing::warn!(link = %link.display(), "agents call this release by its own path: {error}");
            executable
        }
    }
}

async fn fleet_id(store: &Store) -> anyhow::Result<String> {
    if let Some(id) = store.note(FLEET_ID).await? {
        return Ok(id);
    }
    let id = Uuid::new_v4().simple().to_string();
    store.set_note(FLEET_ID, &id).await?;
    Ok(id)
}

fn tmux(fleet: &Fleet, state: &StateDir, environment: &Environment) -> Server {
    Server::new(ServerOptions {
        socket: fleet.tmux_socket.clone(),
        directory: state.root().join("tmux"),
        timeout: TMUX_PATIENCE,
        environment: config::plain_environment(environment).into_iter().collect(),
        tags: vec![TAG_AGENT.to_owned(), TAG_FLEET.to_owned()],
        scope: scope(environment),
    })
}

/// As a service we start the tmux server outside of our own control group.
fn scope(environment: &Environment) -> Option<Scope> {
    environment.get("INVOCATION_ID")?;
    Some(if rustix::process::geteuid().is_root() { Scope::System } else { Scope::User })
}

impl Loader {
    /// An agent's setup.
    pub fn setup(&self, agent: &Agent, fleet: &Fleet, state: &StateDir) -> anyhow::Result<AgentSetup> {
        let cwd = fleet.workspaces_dir.join(agent.slug.as_str());
        // What can't be made here is this agent's problem, which its start will tell; the others run.
        let made = fs::create_dir_all(&cwd).and_then(|()| cwd.canonicalize());
        let cwd = made.unwrap_or(cwd);
        let own = state.agent(&agent.slug);
        create_private_dir(&own).with_context(|| format!("can't create {}", own.display()))?;
        let own = own.canonicalize().with_context(|| format!("can't find the real path of {}", own.display()))?;
        Ok(AgentSetup {
            runtime: runtime::for_agent(agent),
            cwd,
            state: own,
            fleetd: self.executable.clone(),
            environment: config::agent_environment(&self.environment, agent),
            rule: fleet.rule.clone(),
            root: rustix::process::geteuid().is_root(),
            agent: agent.clone(),
        })
    }
}
