//! Everything at once, at random: agents, the tmux server and fleetd are killed, files are left half written, the disk is full,
//! the clock steps over the end of winter time. At the end every agent is who it was, every prompt is told right and was taken
//! at most once, and no process is left over.
//!
//! Some seconds in `make test`; `make soak` asks for ten minutes of thirty agents by `FLEET_CHAOS=<seconds>`. `FLEET_SEED`
//! repeats a run's choices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fleetd::daemon::protocol::AgentStatus;
use fleetd::model::{StateName, text};
use fleetd::tmux::family;
use rustix::process::{Pid, Signal, kill_process};

use crate::real_fleet::BOTH;
use crate::support::fleet::Fleet;
use crate::support::model::FakeModel;
use crate::support::wait::{PATIENCE, until};

/// How long a round waits for a prompt to settle before the next blow falls.
const ROUND: Duration = Duration::from_millis(1500);

/// Choices that a seed repeats: xorshift64.
struct Dice(u64);

impl Dice {
    fn thrown() -> Self {
        let seed = std::env::var("FLEET_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| jiff::Timestamp::now().as_nanosecond() as u64 | 1);
        println!("FLEET_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// A small disk for the state directory. Where none may be mounted, the disk is never full.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn below(path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs"]).arg(&path).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }

    fn fill(&self) {
        // As much as goes; that it ends with an error is the point.
        std::fs::write(self.0.join("ballast"), vec![0_u8; 24 << 20]).ok();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).ok();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// What is done to the fleet in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Agent,
    TmuxServer,
    SocketFile,
    Daemon,
    DaemonPolitely,
    HalfConfig,
    HalfLaunchFile,
    HalfMark,
    FullDisk,
    Clock,
}

/// The frequent ones stand several times.
const BLOWS: [Blow; 16] = [
    Blow::Agent,
    Blow::Agent,
    Blow::Agent,
    Blow::Agent,
    Blow::TmuxServer,
    Blow::SocketFile,
    Blow::Daemon,
    Blow::Daemon,
    Blow::Daemon,
    Blow::DaemonPolitely,
    Blow::HalfConfig,
    Blow::HalfLaunchFile,
    Blow::HalfMark,
    Blow::FullDisk,
    Blow::Clock,
    Blow::Clock,
];

struct Chaos {
    fleet: Fleet,
    dice: Dice,
    slugs: Vec<String>,
    disk: Option<SmallDisk>,
    /// Prompts that were accepted, and those of which nobody knows whether they were.
    sent: Vec<(String, String)>,
    /// How far the clock is ahead, in seconds.
    ahead: i64,
    struck: BTreeMap<Blow, usize>,
    prompts: usize,
}

impl Chaos {
    async fn run(mut self, time: Duration) -> Self {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for _ in 0..=self.dice.below(3) {
                self.send();
            }
            let blow = *self.dice.of(&BLOWS);
            self.strike(blow).await;
            *self.struck.entry(blow).or_default() += 1;
            let Some((_, id)) = self.sent.last().cloned() else { continue };
            let settled = |state: &fleetd::model::PromptState| state.name() == StateName::Done;
            // It may be the one that this blow has hit: the next one comes all the same.
            tokio::time::timeout(ROUND, self.fleet.until_prompt(&id, "done", settled)).await.ok();
        }
        self
    }

    fn send(&mut self) {
        let slug = self.dice.of(&self.slugs).clone();
        self.prompts += 1;
        let body = format!("prompt {}\nand a second line", self.prompts);
        let output = self.fleet.run(&["send", &slug, "--no-wait", &body]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let id = match output.status.code() {
            Some(0) => Some(told.trim().to_owned()),
            Some(5) => told.split("kept as ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned),
            // A daemon that died before its answer, a full disk: nothing was promised.
            _ => None,
        };
        self.sent.extend(id.map(|id| (slug, id)));
    }

    fn pid_of(&mut self) -> Option<Pid> {
        let slug = self.dice.of(&self.slugs).clone();
        let shown = self.fleet.tmux(&["display-message", "-p", "-t", &format!("={slug}:"), "#{pane_pid}"]);
        shown.parse().ok().and_then(Pid::from_raw)
    }

    async fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Agent => {
                if let Some(pid) = self.pid_of() {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
            Blow::TmuxServer => {
                if let Some(pid) =
                    self.fleet.tmux(&["display-message", "-p", "#{pid}"]).parse().ok().and_then(Pid::from_raw)
                {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
            Blow::SocketFile => {
                let path = self.fleet.tmux(&["display-message", "-p", "#{socket_path}"]);
                if !path.is_empty() {
                    std::fs::remove_file(path).ok();
                }
            }
            Blow::Daemon => {
                self.fleet.kill();
                self.fleet.launch();
            }
            Blow::DaemonPolitely => {
                self.fleet.stop();
                self.fleet.launch();
            }
            Blow::HalfConfig => {
                let path = self.fleet.path("agents.yaml");
                let whole = std::fs::read(&path).unwrap();
                let end = whole.len() - self.dice.below(whole.len() / 2) - 1;
                let said = || self.fleet.log().matches("agents.yaml").count();
                let before = said();
                std::fs::write(&path, &whole[..end]).unwrap();
                let read = until("the half file is read", async || (said() > before).then_some(()));
                // A daemon that is just starting has nothing to say of it.
                tokio::time::timeout(ROUND, read).await.ok();
                std::fs::write(&path, whole).unwrap();
            }
            Blow::HalfLaunchFile | Blow::HalfMark => {
                let slug = self.dice.of(&self.slugs).clone();
                let name = if blow == Blow::HalfMark { "process" } else { "launch.json" };
                let path = self.fleet.state().join("agents").join(slug).join(name);
                if let Ok(whole) = std::fs::read(&path) {
                    std::fs::write(&path, &whole[..whole.len() / 2]).ok();
                }
            }
            Blow::FullDisk => {
                if let Some(disk) = &self.disk {
                    disk.fill();
                    self.send();
                    if let Some(disk) = &self.disk {
                        disk.free();
                    }
                }
            }
            Blow::Clock => {
                // Back and forth over the missing hour, but never a prompt's whole life ahead.
                self.ahead += *self.dice.of(&[3600, 1800, -1800, -3600, 7200, 60]);
                self.fleet.move_clock(self.ahead);
            }
        }
        if self.fleet.died() {
            // Its own end is systemd's to mend, as here: a full disk may end it.
            self.fleet.launch();
        }
    }

    /// Leaves it in peace until nothing is under way.
    async fn peace(&mut self) {
        let status = async || self.fleet.run(&["status"]).status.success().then_some(());
        until("the daemon answers", status).await;
        let mut open = usize::MAX;
        while open > 0 {
            let before = open;
            // Pauses after many deaths are long; the time for them is not.
            let (ahead, fleet) = (std::cell::Cell::new(self.ahead), &self.fleet);
            open = until("fewer prompts are under way", async || {
                ahead.set(ahead.get() + 2);
                fleet.move_clock(ahead.get());
                let agents = fleet.status().agents;
                let under_way = |agent: &AgentStatus| {
                    agent.queued + usize::from(agent.state.word() != "idle") + usize::from(is_open(agent))
                };
                let left: usize = agents.iter().map(under_way).sum();
                (left < before).then_some(left)
            })
            .await;
            self.ahead = ahead.get();
        }
    }

    /// Adds up in `states` what an agent's prompts have come to, given those that it took. Every one is told right, and none
    /// was taken twice.
    fn judge<'a>(
        &self,
        slug: &str,
        taken: impl IntoIterator<Item = &'a str>,
        states: &mut BTreeMap<&'static str, usize>,
    ) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for id in taken.into_iter().filter_map(text::header_id) {
            *counts.entry(id.to_string()).or_default() += 1;
        }
        assert!(counts.values().all(|count| *count == 1), "{slug} took a prompt twice: {counts:?}");
        for (_, id) in self.sent.iter().filter(|(whose, _)| whose == slug) {
            let view = self.fleet.trace(id);
            let steps: Vec<_> = view.steps.iter().map(|step| (step.state.name(), step.cause.as_str())).collect();
            let state = view.steps.last().unwrap().state.name();
            match state {
                StateName::Done => {
                    assert!(counts.contains_key(id), "{id} is told as done, and {slug} has no word of it: {steps:?}")
                }
                StateName::Failed => {
                    assert!(!counts.contains_key(id), "{id} is told as failed, and {slug} took it: {steps:?}")
                }
                StateName::Uncertain => println!("{id} for {slug} is uncertain: {steps:?}"),
                other => panic!("{id} for {slug} is left {}: {steps:?}", other.as_str()),
            }
            *states.entry(state.as_str()).or_default() += 1;
        }
    }

    /// Every process that works in an agent's directory belongs to an agent that lives.
    async fn no_process_is_left_over(&self) {
        let work = self.fleet.path("work");
        let left = || {
            let panes = self.fleet.tmux(&["list-panes", "-a", "-F", "#{pane_pid}"]);
            let known: Vec<u32> = panes.lines().filter_map(|pid| pid.parse().ok()).flat_map(family).collect();
            working_in(&work).into_iter().filter(|pid| !known.contains(pid)).collect::<Vec<_>>()
        };
        let gone = until("no process is left over", async || left().is_empty().then_some(()));
        // Sooner than `until` gives up, to say which.
        if tokio::time::timeout(PATIENCE * 9 / 10, gone).await.is_err() {
            panic!("left over: {:#?}", left().into_iter().map(told).collect::<Vec<_>>());
        }
    }
}

fn is_open(agent: &AgentStatus) -> bool {
    agent.last.as_ref().is_some_and(|last| !["done", "uncertain", "failed", "expired"].contains(&&*last.state))
}

/// A process for people who look for where it comes from.
fn told(pid: u32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let ours =
        read("environ").split('\0').filter(|variable| variable.starts_with("FLEET_")).collect::<Vec<_>>().join(" ");
    format!("{pid}: {}; stat {}; {ours}", read("cmdline").replace('\0', " "), read("stat"))
}

/// The processes whose working directory is below `directory`.
fn working_in(directory: &Path) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory)))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn seconds(usual: u64) -> Duration {
    let asked = std::env::var("FLEET_CHAOS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(usual))
}

fn is_long() -> bool {
    std::env::var_os("FLEET_CHAOS").is_some()
}

/// Seconds from now to a quarter to two on the day on which Berlin's summer time begins.
fn to_the_missing_hour() -> i64 {
    let before: jiff::Timestamp = "2027-03-28T00:45:00Z".parse().unwrap();
    before.duration_since(jiff::Timestamp::now()).as_secs()
}

fn report(name: &str, chaos: &Chaos, states: &BTreeMap<&str, usize>) {
    let total: usize = states.values().sum();
    println!("{name}: {:?}; {} prompts sent, {total} accepted: {states:?}", chaos.struck, chaos.prompts);
    // A prompt that was on its way into an agent that dies may have to be told as uncertain; that is rare.
    let given_up = total - states.get("done").copied().unwrap_or_default();
    assert!(total > 0 && given_up <= 2.max(total / 30), "too many were given up");
}

#[tokio::test]
async fn whatever_is_killed_and_whenever_no_prompt_is_lost_or_doubled_and_every_agent_comes_back_as_itself() {
    let count = if is_long() { 30 } else { 8 };
    let slugs: Vec<String> = (1..=count).map(|number| format!("agent-{number}")).collect();
    let nudge = "    dailyPrompt: the day's work\n    schedule: \"Mon..Sun 02:30\"\n";
    let mut fleet = Fleet::new(&slugs.iter().map(|slug| Fleet::practice(slug) + nudge).collect::<String>());
    let disk = SmallDisk::below(fleet.state());
    let ahead = to_the_missing_hour();
    fleet.move_clock(ahead);
    fleet.start().await;
    for slug in &slugs {
        fleet.fleet(&["send", slug, &format!("remember {slug}")]);
    }
    let chaos = Chaos {
        fleet,
        dice: Dice::thrown(),
        slugs,
        disk,
        sent: Vec::new(),
        ahead,
        struck: BTreeMap::new(),
        prompts: 0,
    };
    let mut chaos = chaos.run(seconds(25)).await;
    chaos.peace().await;
    let mut states = BTreeMap::new();
    for slug in &chaos.slugs {
        let taken = chaos.fleet.taken(slug);
        assert!(taken[0].contains(&format!("remember {slug}")), "{slug} is not who it was: {taken:?}");
        assert!(
            taken.iter().all(|prompt| text::header_id(prompt).is_some()),
            "{slug} took what nobody sent: {taken:?}"
        );
        chaos.judge(slug, taken.iter().map(String::as_str), &mut states);
        let nudges = taken.iter().filter(|prompt| prompt.contains("the day's work")).count();
        assert!(nudges <= 1, "{slug} had {nudges} nudges on one day");
    }
    chaos.no_process_is_left_over().await;
    report("practice agents", &chaos, &states);
}

#[tokio::test]
async fn the_real_clis_remember_everything_whatever_was_killed_around_them() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    let disk = SmallDisk::below(fleet.state());
    fleet.start().await;
    let slugs: Vec<String> = BOTH.iter().map(|(slug, _)| (*slug).to_owned()).collect();
    for slug in &slugs {
        fleet.fleet(&["send", slug, "--reply", &format!("remember {slug}")]);
    }
    let chaos = Chaos {
        fleet,
        dice: Dice::thrown(),
        slugs,
        disk,
        sent: Vec::new(),
        ahead: 0,
        struck: BTreeMap::new(),
        prompts: 0,
    };
    let mut chaos = chaos.run(seconds(30)).await;
    chaos.peace().await;
    let mut states = BTreeMap::new();
    for slug in &chaos.slugs {
        chaos.fleet.fleet(&["send", slug, "--reply", &format!("who are you, {slug}")]);
        let request = model.request_for(&format!("who are you, {slug}")).unwrap();
        assert!(request.remembers(&format!("remember {slug}")), "{slug} is not who it was");
        chaos.judge(slug, request.prompts(), &mut states);
    }
    chaos.no_process_is_left_over().await;
    report("real agents", &chaos, &states);
    assert_eq!(model.violations(), Vec::<String>::new());
}
