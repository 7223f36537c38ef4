//! agents.yaml while the fleet runs: read again on SIGHUP and when its directory changes, compared, taken or refused.
//!
//! A file with a mistake changes nothing. What is taken becomes the new roster in one step; every pass that begins later
//! works by it. No session is started or ended here: the supervisor's pass does that, from what it finds.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use jiff::Timestamp;
use notify::{RecursiveMode, Watcher as _};
use tokio::task::JoinSet;

use super::event::Event;
use super::fleet::{Roster, Running};
use super::post::AgentPost;
use super::protocol::{ChangeKind, PlannedChange};
use super::restart::Urgency;
use super::secrets;
use super::watch::Watcher;
use super::worker;
use crate::config::{self, Change, Fleet};
use crate::model::text::count;
use crate::model::{Notice, Slug};
use crate::runtime::AgentSetup;
use crate::schedule;
use crate::tmux::ProcessMark;

/// For how long the file must have stayed as it is: editors and `cp` write it in parts.
const SETTLES: Duration = Duration::from_millis(300);

/// For how long a file must have stayed as it is that drops agents: one that is written slowly may be valid when half of it
/// is there, and nobody is to be told that half of the fleet is gone.
const DROPS: Duration = Duration::from_secs(5);

/// Who holds a retired agent.
pub const HOLDER: &str = "agents.yaml";

/// Gives every agent its worker, and takes changed files, until the daemon stops or a worker ends before its time.
pub async fn run(running: Arc<Running>, watcher: Arc<Watcher>) {
    let mut stop = running.stop.subscribe();
    let mut staff = Staff { workers: JoinSet::new(), posts: HashMap::new(), watcher };
    staff.hire(&running, &running.roster().agents);
    // Without the watch a change is taken on SIGHUP, and that is said.
    let watch = watch(&running, &running.loader.path);
    running.set_problem("agents.yaml's watch", watch.as_ref().err().map(|error| format!("{error:#}")));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = running.config.notified() => {}
            _ = staff.workers.join_next() => return tracing::error!("an agent's task ended before its time"),
        }
        for settles in [SETTLES, DROPS] {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = settle(&running.loader.path, settles) => {}
            }
            match take(&running, &mut staff, settles).await {
                Ok(Taken::TooSoon) => {}
                Ok(Taken::Seen) => break,
                Err(error) => {
                    running.set_problem("agents.yaml", Some(format!("can't take a changed agents.yaml: {error:#}")));
                    break;
                }
            }
        }
    }
}

/// The agents' tasks. A task outlives its agent's retirement: named again, the agent is served by the same one, so that no
/// two ever type for it.
struct Staff {
    workers: JoinSet<()>,
    posts: HashMap<Slug, Arc<AgentPost>>,
    watcher: Arc<Watcher>,
}

impl Staff {
    fn hire(&mut self, running: &Arc<Running>, posts: &[Arc<AgentPost>]) {
        for post in posts {
            if self.posts.insert(post.slug().clone(), Arc::clone(post)).is_none() {
                self.watcher.watch(post, &[]);
                let task = worker::agent(Arc::clone(running), Arc::clone(post), Arc::clone(&self.watcher));
                self.workers.spawn(task);
            }
        }
    }
}

/// Watches the file's directory: editors replace the file, and a watch on it would die with it.
fn watch(running: &Arc<Running>, path: &Path) -> anyhow::Result<impl Sized + use<>> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(ToOwned::to_owned);
    let weak = Arc::downgrade(running);
    let tell = move |happened: notify::Result<notify::Event>| {
        let (Ok(happened), Some(running)) = (happened, weak.upgrade()) else { return };
        // A link into a directory that is swapped as a whole, as mounted configurations are, shows as other names.
        let ours = happened.paths.iter().any(|path| {
            path.file_name() == name.as_deref()
                || path.file_name().is_some_and(|other| other.as_encoded_bytes().starts_with(b".."))
        });
        if ours && !matches!(happened.kind, notify::EventKind::Access(_)) {
            running.tell(Event::Config);
        }
    };
    let told = || {
        format!("can't watch {}: a changed agents.yaml is taken on `systemctl reload fleetd` only", directory.display())
    };
    let mut watcher = notify::recommended_watcher(tell).with_context(told)?;
    watcher.watch(directory, RecursiveMode::NonRecursive).with_context(told)?;
    Ok(watcher)
}

/// Whether a file was dealt with.
enum Taken {
    /// It was taken, refused, or says what was known.
    Seen,
    /// It drops agents, and has not stayed as it is for long enough.
    TooSoon,
}

async fn settle(path: &Path, settles: Duration) {
    let mark = || std::fs::metadata(path).ok().map(|found| (found.modified().ok(), found.len()));
    let mut before: Option<(Option<SystemTime>, u64)> = mark();
    loop {
        tokio::time::sleep(settles).await;
        let now = mark();
        if now == before {
            return;
        }
        before = now;
    }
}

async fn take(running: &Arc<Running>, staff: &mut Staff, settled: Duration) -> anyhow::Result<Taken> {
    let before = running.roster();
    let mut fleet = match config::load(&running.loader.path, &running.loader.environment) {
        Ok(fleet) => fleet,
        Err(error) => {
            refuse(running, &running.loader.path, &error.to_string()).await?;
            return Ok(Taken::Seen);
        }
    };
    let changes = config::changes(&before.fleet, &fleet);
    if settled < DROPS && changes.iter().any(|change| matches!(change, Change::Retire { .. })) {
        tracing::debug!("agents.yaml drops agents: taken once it has stayed as it is for {DROPS:?}");
        return Ok(Taken::TooSoon);
    }
    let later: Vec<&str> = changes
        .iter()
        .filter_map(|change| if let Change::NextStart { key } = change { Some(*key) } else { None })
        .collect();
    let problem = (!later.is_empty())
        .then(|| format!("agents.yaml has another {}: that is taken when fleetd is started again", later.join(", ")));
    running.set_problem("agents.yaml", problem);
    if changes.is_empty() {
        tracing::info!("agents.yaml was read again and says what it said");
    }
    if later.len() == changes.len() {
        return Ok(Taken::Seen);
    }
    let lines = describe(running, &before.fleet, &fleet, &changes).await?;
    fleet.repos_dir.clone_from(&before.fleet.repos_dir);
    fleet.workspaces_dir.clone_from(&before.fleet.workspaces_dir);
    fleet.tmux_socket.clone_from(&before.fleet.tmux_socket);
    // All of them or none: a setup that can't be made must not leave a file taken by halves.
    let setups = fleet.agents.iter().map(|agent| running.loader.setup(agent, &fleet, &running.state));
    let setups = setups.collect::<anyhow::Result<Vec<_>>>()?;
    running.redaction.learn(secrets::of_agents(&setups))?;
    let post = |setup: AgentSetup| match staff.posts.get(&setup.agent.slug) {
        Some(post) => {
            post.set_setup(setup);
            Arc::clone(post)
        }
        None => Arc::new(AgentPost::new(setup)),
    };
    let agents: Vec<_> = setups.into_iter().map(post).collect();
    let served = staff.posts.values().filter(|post| fleet.agent(post.slug()).is_none()).cloned().collect();
    running.supervisor.set_launch_stagger(fleet.launch_stagger);
    running.roster.send_replace(Arc::new(Roster { fleet, agents, retired: served }));
    staff.hire(running, &running.roster().agents);
    // What waits for the next start was not taken, and would be told again with every change.
    let taken = lines.into_iter().filter(|line| line.kind != ChangeKind::NextStart);
    let lines: Vec<String> = taken.map(|line| line.text).collect();
    tracing::info!("agents.yaml was taken: {}", lines.join("; "));
    let now = running.clock.now();
    running.store.tell_box(&format!("config/taken/{now}"), &Notice::ConfigTaken { changes: lines }, now).await?;
    running.tell(Event::Tick);
    Ok(Taken::Seen)
}

/// What a changed agents.yaml's restarts are about.
const ABOUT: &str = "agents.yaml";

/// Wishes that an agent be started anew whose process, `pid`, was launched by what agents.yaml does not say any more. By the
/// process's own note: what was to be launched last says nothing of what runs.
pub fn compare(post: &AgentPost, pid: Option<u32>) {
    let setup = post.setup();
    let Some(pid) = pid.filter(|pid| !post.is_compared(*pid, &setup)) else { return };
    if ProcessMark::read(post.state()).is_none_or(|mark| mark.pid != pid) {
        return;
    }
    post.set_compared(pid, &setup);
    // An earlier release noted nothing: an upgrade restarts nobody.
    if post.launched().is_none_or(|launched| launched.fingerprint == setup.agent.launch_fingerprint()) {
        post.restart.withdraw(ABOUT);
    } else {
        post.want_restart(ABOUT, Urgency::WhenIdle, "agents.yaml has changed how it is started".to_owned());
    }
}

/// Says once of each broken file that it was not taken.
async fn refuse(running: &Running, path: &Path, why: &str) -> anyhow::Result<()> {
    running.set_problem("agents.yaml", Some(format!("the changed agents.yaml was not taken: {why}")));
    let mut hash = DefaultHasher::new();
    (why, std::fs::metadata(path).and_then(|found| found.modified()).ok()).hash(&mut hash);
    let key = format!("config/refused/{:x}", hash.finish());
    let notice = Notice::ConfigRefused { why: why.to_owned() };
    running.store.tell_box(&key, &notice, running.clock.now()).await.map(drop)
}

/// What `fleet plan` shows: what would follow if `text` stood in the agents.yaml of this fleet.
pub async fn plan(running: &Running, text: &str, path: &Path) -> anyhow::Result<Vec<PlannedChange>> {
    let fleet = config::read_at(text, path, &running.loader.path, &running.loader.environment)?;
    let roster = running.roster();
    let changes = config::changes(&roster.fleet, &fleet);
    describe(running, &roster.fleet, &fleet, &changes).await
}

async fn describe(
    running: &Running,
    from: &Fleet,
    to: &Fleet,
    changes: &[Change],
) -> anyhow::Result<Vec<PlannedChange>> {
    let retired = running.store.retired_agents().await?;
    let now = running.clock.now();
    let mut lines = Vec::with_capacity(changes.len());
    for change in changes {
        let (kind, agent, text) = match change {
            Change::Launch { agent } => {
                let known = running.store.conversation(agent).await?.is_some();
                let how = if retired.iter().any(|(slug, _)| slug == agent) {
                    "take it back, as the conversation it was"
                } else if known {
                    "launch it again, as the conversation it was"
                } else {
                    "launch it, as a new conversation"
                };
                (ChangeKind::Launch, Some(agent), how.to_owned())
            }
            Change::Retire { agent } => {
                let waiting = running.store.waiting_prompts(Some(agent)).await?.len();
                let until = now.checked_add(to.retire_after).map(|until| until.strftime("%F %H:%M UTC").to_string())?;
                let rest = match waiting {
                    0 => String::new(),
                    waiting => format!("; {} for it until they expire", count(waiting, "prompt waits", "prompts wait")),
                };
                (ChangeKind::Retire, Some(agent), format!("retire it: its session is held, and ends {until}{rest}"))
            }
            Change::Restart { agent, keys } => (
                ChangeKind::Restart,
                Some(agent),
                format!("restart it once it is idle, resumed: another {}", keys.join(", ")),
            ),
            Change::Reschedule { agent } => {
                let next = |fleet: &Fleet| next(fleet, agent, now);
                (
                    ChangeKind::Reschedule,
                    Some(agent),
                    format!("its next daily prompt: {}, was {}", next(to), next(from)),
                )
            }
            Change::Update { agent, keys } => {
                (ChangeKind::Update, Some(agent), format!("another {}; nothing is restarted", keys.join(", ")))
            }
            Change::Fleet { key } => (ChangeKind::Update, None, format!("another {key}")),
            Change::NextStart { key } => {
                (ChangeKind::NextStart, None, format!("another {key}, taken only when fleetd is started again"))
            }
        };
        let text = format!("{}: {text}", agent.map_or("the fleet", Slug::as_str));
        lines.push(PlannedChange { kind, agent: agent.cloned(), text });
    }
    Ok(lines)
}

fn next(fleet: &Fleet, agent: &Slug, now: Timestamp) -> String {
    let schedule = fleet.agent(agent).and_then(|agent| agent.schedule.as_ref());
    match schedule.and_then(|schedule| Some((schedule, schedule::next(now, schedule)?))) {
        Some((schedule, next)) => next.to_zoned(schedule.zone.clone()).strftime("%a %F %H:%M %Z").to_string(),
        None => "none".to_owned(),
    }
}
