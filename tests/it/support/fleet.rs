//! A whole fleet: the real program in a directory of its own, with a tmux server of its own. Both end with the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use fleetd::daemon::protocol::{PromptView, Status};
use fleetd::model::{FeedRow, PromptState};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::agents::Cli;
use super::model::FakeModel;
use super::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};
use super::wait::until;

/// The program under test.
pub const FLEETD: &str = env!("CARGO_BIN_EXE_fleetd");

/// A fleet.
pub struct Fleet {
    directory: TempDir,
    socket: String,
    environment: BTreeMap<String, String>,
    program: PathBuf,
    daemon: Option<Child>,
}

impl Fleet {
    /// A fleet of these agents, in the words of agents.yaml (a list, indented by two); not started.
    pub fn new(agents: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::Builder::new().prefix("ft").tempdir_in("/tmp").unwrap();
        let socket = format!("fleet-test-{}-{number}", std::process::id());
        let fleet = Self { directory, socket, environment: BTreeMap::new(), program: FLEETD.into(), daemon: None };
        fleet.configure(agents);
        fleet
    }

    /// A fleet of one real CLI for each of `agents`, in homes that hold nothing, each with its channel; not started.
    pub fn real(model: &FakeModel, agents: &[(&str, Cli)], extra: &str) -> Self {
        let fleet = Self::new("");
        let mut yaml = String::new();
        for (slug, cli) in agents {
            let runtime = format!("{cli:?}").to_lowercase();
            let program = cli.program();
            yaml +=
                &format!("  - slug: {slug}\n    runtime: {runtime}\n    command: {}\n    env:\n", program.display());
            for (name, value) in cli.environment(&fleet.path(&format!("home-{slug}")), model) {
                yaml += &format!("      {name}: {value:?}\n");
            }
            yaml += &format!("    slackChannel: \"#agent-{slug}\"\n");
            yaml += extra;
        }
        fleet.configure(&yaml);
        fleet
    }

    /// Another fleet, of these agents, on the same tmux socket; not started.
    pub fn beside(other: &Self, agents: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("ft").tempdir_in("/tmp").unwrap();
        let socket = other.socket.clone();
        let fleet = Self { directory, socket, environment: BTreeMap::new(), program: FLEETD.into(), daemon: None };
        fleet.configure(agents);
        fleet
    }

    /// Lets the next daemon talk to this Slack.
    pub fn on_slack(&mut self, slack: &FakeSlack) {
        self.set("SLACK_API_URL", slack.api_url());
        self.set("SLACK_BOT_TOKEN", BOT_TOKEN);
        self.set("SLACK_APP_TOKEN", APP_TOKEN);
    }

    /// What a person types to attach to an agent's session.
    pub fn attach(&self, slug: &str) -> Vec<String> {
        let session = format!("={slug}");
        ["env", "-u", "TMUX", "tmux", "-u", "-L", &self.socket, "attach-session", "-t", &session]
            .map(str::to_owned)
            .into()
    }

    /// One practice agent's entry.
    pub fn practice(slug: &str) -> String {
        format!(
            "  - slug: {slug}\n    runtime: command\n    command: [{FLEETD}, practice-agent, --speed, \"0\"]\n    prompt: \"❯\"\n"
        )
    }

    /// Writes agents.yaml anew.
    pub fn configure(&self, agents: &str) {
        let yaml = format!(
            "timezone: Europe/Berlin\nreposDir: {0}/repos\nworkspacesDir: {0}/work\nlaunchStagger: 0s\ntmux: {{socket: {1}}}\nagents:\n{agents}",
            self.path("").display(),
            self.socket
        );
        std::fs::write(self.path("agents.yaml"), yaml).unwrap();
    }

    /// A variable for every program of this fleet that is started from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// Another file of the program, for everything that is started from now on.
    pub fn use_program(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// A path in the fleet's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Moves the daemon's clock by this many seconds.
    pub fn move_clock(&self, seconds: i64) {
        std::fs::write(self.path("clock"), seconds.to_string()).unwrap();
    }

    /// A run of the program with the fleet's surroundings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.path(""));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("USER", "ann");
        command.env("FLEET_STATE", self.state()).env("FLEET_CONFIG", self.path("agents.yaml"));
        command.env("FLEET_CLOCK_FILE", self.path("clock")).env("TZ", "Europe/Berlin");
        command.envs(&self.environment).stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a verb that must succeed, and answers what it printed.
    pub fn fleet(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        assert!(output.status.success(), "fleet {args:?}: {output:?}\n{}", self.log());
        text(&output.stdout)
    }

    /// Starts the daemon and waits until it answers.
    pub async fn start(&mut self) {
        self.launch();
        until("the daemon answers", async || self.run(&["status"]).status.success().then_some(())).await;
    }

    /// Starts the daemon.
    pub fn launch(&mut self) {
        std::fs::create_dir_all(self.path("home")).unwrap();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command(&[]);
        command.env("RUST_LOG", "fleetd=debug").stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Kills the daemon as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Stops the daemon as systemd would (SIGTERM) and answers its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
        daemon.wait().unwrap().code()
    }

    /// Whether the daemon has died by itself; then another can be launched.
    pub fn died(&mut self) -> bool {
        let died = self.daemon.as_mut().is_none_or(|daemon| daemon.try_wait().unwrap().is_some());
        if died {
            self.daemon = None;
        }
        died
    }

    /// Takes a variable back.
    pub fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A call of tmux on the fleet's server.
    pub fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").args(["-u", "-L", &self.socket]).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The pid in an agent's pane.
    pub fn agent_pid(&self, slug: &str) -> u32 {
        self.tmux(&["display-message", "-p", "-t", &format!("={slug}:"), "#{pane_pid}"]).parse().unwrap()
    }

    /// What an agent's pane shows.
    pub fn screen(&self, slug: &str) -> String {
        self.tmux(&["capture-pane", "-p", "-t", &format!("={slug}:")])
    }

    /// `fleet status --json`.
    pub fn status(&self) -> Status {
        serde_json::from_str(&self.fleet(&["status", "--json"])).unwrap()
    }

    /// Waits until an agent is in a state, by the word of `fleet status`.
    pub async fn until_state(&self, slug: &str, state: &str) {
        let shows = async || {
            let status = self.status();
            let agent = status.agents.iter().find(|agent| agent.agent.as_str() == slug)?;
            (agent.state.word() == state).then_some(())
        };
        until(&format!("{slug} is {state}"), shows).await;
    }

    /// `fleet trace --json`.
    pub fn trace(&self, id: &str) -> PromptView {
        serde_json::from_str(&self.fleet(&["trace", id, "--json"])).unwrap()
    }

    /// Waits until a prompt's state satisfies `is`.
    pub async fn until_prompt(&self, id: &str, event: &str, is: impl Fn(&PromptState) -> bool) -> PromptView {
        let shows = async || {
            // The daemon may be on its way up.
            let output = self.run(&["trace", id, "--json"]);
            let view: PromptView = serde_json::from_slice(&output.stdout).ok()?;
            is(&view.steps.last()?.state).then_some(view)
        };
        until(&format!("prompt {id} is {event}"), shows).await
    }

    /// The whole feed.
    pub fn feed(&self) -> Vec<FeedRow> {
        let lines = self.fleet(&["tail", "--all", "--no-follow", "--json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// An agent's own record, for agents that keep one by `$FLEET_TRANSCRIPT`.
    pub fn transcript(&self, slug: &str) -> String {
        std::fs::read_to_string(self.state().join("agents").join(slug).join("transcript.jsonl")).unwrap_or_default()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!(
                "---- log of fleetd\n{}\n---- sessions\n{}",
                tail(&self.log(), 12_000),
                self.tmux(&["list-panes", "-a"])
            );
            for slug in self.tmux(&["list-sessions", "-F", "#{session_name}"]).lines() {
                eprintln!("---- pane of {slug}\n{}", self.screen(slug));
            }
        }
        self.tmux(&["kill-server"]);
        end_all_of(&self.socket);
        remove_socket(&self.socket);
    }
}

/// Seconds from now to the next 09:00 in Berlin that is at least five minutes away.
pub fn seconds_to_next_nine() -> i64 {
    let now = jiff::Zoned::now().in_tz("Europe/Berlin").unwrap();
    let nine = now.date().at(9, 0, 0, 0).in_tz("Europe/Berlin").unwrap();
    let to = |nine: &jiff::Zoned| nine.timestamp().duration_since(now.timestamp()).as_secs();
    if to(&nine) > 300 { to(&nine) } else { to(&nine.tomorrow().unwrap()) }
}

/// Ends what `kill-server` left, by its pid: tmux 3.3a does not exit while a control client of a killed daemon is attached.
/// The socket's name is this test's alone, and stands on the command line of each.
fn end_all_of(socket: &str) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if command.split(|byte| *byte == 0).any(|word| word == socket.as_bytes()) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// tmux leaves the file of its socket behind.
fn remove_socket(name: &str) {
    let directory = std::env::var_os("TMUX_TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let file = Path::new(&directory).join(format!("tmux-{}", rustix::process::geteuid().as_raw())).join(name);
    std::fs::remove_file(file).ok();
}

fn tail(text: &str, most: usize) -> &str {
    let start = text.len().saturating_sub(most);
    let start = (start..text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(text.len());
    &text[start..]
}
