//! What one prompt costs the machine beside time: processor time of the daemon, and processes started.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::Daemon;
use crate::support::fleet::Fleet;
use crate::support::wait::until;
use crate::table::Row;

const PROMPTS: u32 = 100;

/// How often the kernel counts a second in `/proc/<pid>/stat` (USER_HZ, the same on every Linux).
const TICKS: u64 = 100;

/// What a process has run on a processor, with its threads that have ended.
fn ran(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// What each thread has run, by its name.
fn threads(pid: u32) -> BTreeMap<String, Duration> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        // A thread may end between the listing and the look.
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let ran = read("schedstat").split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0);
        *threads.entry(read("comm").trim().to_owned()).or_default() += Duration::from_nanos(ran);
    }
    threads
}

/// A running strace.
struct Watch {
    strace: std::process::Child,
    notes: std::path::PathBuf,
}

impl Watch {
    /// Watches a process that runs and all that it starts; none where strace is not installed.
    async fn attach(pid: u32, notes: &Path) -> Option<Self> {
        let strace = strace(notes).arg("-p").arg(pid.to_string()).spawn().ok()?;
        until("strace has attached", async || {
            let traced = |task: std::io::Result<fs::DirEntry>| {
                let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
                (!status.contains("TracerPid:\t0")).then_some(())
            };
            fs::read_dir(format!("/proc/{pid}/task")).ok()?.map(traced).collect::<Option<Vec<()>>>()
        })
        .await;
        Some(Self { strace, notes: notes.to_owned() })
    }

    fn started(mut self) -> usize {
        kill_process(Pid::from_child(&self.strace), Signal::INT).ok();
        self.strace.wait().unwrap();
        processes(&self.notes)
    }
}

fn strace(notes: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=execve,execveat,fork,vfork,clone,clone3", "-o"]).arg(notes);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The processes that were started, by strace's notes: what was forked, and the program that strace itself started. A thread
/// is no process.
fn processes(notes: &Path) -> usize {
    let text = fs::read_to_string(notes).unwrap();
    let forks = |line: &&str| {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let fork = ["fork(", "vfork(", "clone(", "clone3("].iter().any(|name| call.starts_with(name));
        fork && !call.contains("CLONE_THREAD")
    };
    let own = text.lines().next().is_some_and(|line| line.contains("execve("));
    text.lines().filter(forks).count() + usize::from(own)
}

async fn started(fleet: &Fleet, daemon: &Daemon) -> Row {
    let figure = "one prompt: processes started by `fleet send` and the daemon together";
    let Some(watch) = Watch::attach(daemon.pid(), &fleet.path("daemon.strace")).await else {
        return Row::alone(figure, "not counted: strace is not installed".to_owned());
    };
    let notes = fleet.path("client.strace");
    let send = fleet.command(&["send", "ann", "--reply", "what is up"]);
    let mut command = strace(&notes);
    command.arg(send.get_program()).args(send.get_args()).env_clear();
    command.envs(send.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(command.status().unwrap().success());
    let (client, daemon) = (processes(&notes), watch.started());
    Row::alone(figure, format!("{client} and {daemon}")).reaching("1", client + daemon == 1)
}

/// Measures.
pub async fn measure() -> Vec<Row> {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    let daemon = Daemon::start(&fleet, &["ann".to_owned()]).await;
    let send = || fleet.fleet(&["send", "ann", "--reply", "what is up"]);
    (0..5).for_each(|_| drop(send()));
    let (before, by_thread) = (ran(daemon.pid()), threads(daemon.pid()));
    (0..PROMPTS).for_each(|_| drop(send()));
    let spent = ran(daemon.pid()).saturating_sub(before) / PROMPTS;
    let by = threads(daemon.pid()).into_iter().map(|(name, ran)| {
        let each = ran.saturating_sub(by_thread.get(&name).copied().unwrap_or_default()) / PROMPTS;
        format!("{name} {:.2}", each.as_secs_f64() * 1e3)
    });
    let value = format!("{:.2} ms ({})", spent.as_secs_f64() * 1e3, by.collect::<Vec<_>>().join(", "));
    vec![
        Row::alone("processor time of the daemon a prompt, from `fleet send` to its turn's end told", value)
            .reaching("1 ms", spent < Duration::from_millis(1)),
        started(&fleet, &daemon).await,
    ]
}
