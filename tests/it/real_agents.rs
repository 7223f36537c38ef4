//! The launch recipes and the readers of records, proven on the real Claude Code and the real Codex in real tmux.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleetd::config::{Agent, Permissions, RuntimeConfig};
use fleetd::model::{DialogKind, Outcome};
use fleetd::runtime::{
    Activity, Claude, Codex, Conversation, Identity, InputBox, LaunchContext, Record, RecordKind, RecordSource,
    Runtime, ScreenReading,
};
use fleetd::tmux::{Row, Screen};
use uuid::Uuid;

use crate::support::agents::{Cli, sow};
use crate::support::model::FakeModel;
use crate::support::wait::until;

/// A private tmux server; it and all in it end with the test.
struct Tmux {
    socket: String,
}

impl Tmux {
    fn start() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self { socket: format!("fleet-test-agents-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)) }
    }

    fn run(&self, arguments: &[OsString]) -> String {
        let output =
            Command::new("tmux").args(["-u", "-L", &self.socket, "-f", "/dev/null"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn call(&self, words: &str) -> String {
        self.run(&words.split(' ').map(OsString::from).collect::<Vec<_>>())
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // The server may be gone already; there is nothing else to clean up then.
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
        let directory = std::env::var_os("TMUX_TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let socket = directory.join(format!("tmux-{}", rustix::process::geteuid())).join(&self.socket);
        // tmux itself leaves the file of its socket behind, or has taken it away.
        let _ = std::fs::remove_file(socket);
    }
}

/// An agent in its pane, with a home that nobody prepared.
struct Rig {
    runtime: Box<dyn Runtime>,
    cli: Cli,
    agent: Agent,
    model: FakeModel,
    tmux: Tmux,
    home: tempfile::TempDir,
    environment: BTreeMap<OsString, OsString>,
    started: bool,
}

impl Rig {
    fn new(cli: Cli, permissions: Permissions) -> Self {
        let model = FakeModel::start();
        let home = tempfile::Builder::new().prefix("fleet-agents-").tempdir().unwrap();
        for directory in ["work", "state"] {
            std::fs::create_dir(home.path().join(directory)).unwrap();
        }
        // What `fleetd hook --spool FILE` does.
        let hook = home.path().join("fleetd");
        std::fs::write(&hook, "#!/bin/sh\nexec cat >> \"$3\"\n").unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut environment: BTreeMap<OsString, OsString> = cli
            .environment(&home.path().join("home"), &model)
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        environment.insert("PATH".into(), std::env::var_os("PATH").unwrap());
        environment.insert("TERM".into(), "tmux-256color".into());
        environment.insert("LANG".into(), "C.UTF-8".into());
        let command = vec![cli.program().to_str().unwrap().to_owned()];
        let (runtime, config): (Box<dyn Runtime>, _) = match cli {
            Cli::Claude => (Box::new(Claude::new()), RuntimeConfig::Claude { command }),
            Cli::Codex => (Box::new(Codex::new()), RuntimeConfig::Codex { command }),
        };
        let agent = Agent {
            slug: "ann".parse().unwrap(),
            runtime: config,
            args: Vec::new(),
            env: BTreeMap::new(),
            repos: Vec::new(),
            model: None,
            permissions,
            compact_at: None,
            memory: None,
            disk: None,
            slack_channel: None,
            slack: Default::default(),
            schedule: None,
            daily_prompt: None,
            init_prompt: None,
        };
        Self { runtime, cli, agent, model, tmux: Tmux::start(), home, environment, started: false }
    }

    fn with<T>(&self, conversation: &Conversation, act: impl FnOnce(&LaunchContext<'_>) -> T) -> T {
        let cwd = self.home.path().join("work").canonicalize().unwrap();
        act(&LaunchContext {
            agent: &self.agent,
            cwd: &cwd,
            state: &self.home.path().join("state"),
            fleetd: &self.home.path().join("fleetd"),
            environment: &self.environment,
            conversation,
            root: rustix::process::geteuid().is_root(),
        })
    }

    /// Starts the agent's process in its pane and waits until it takes prompts. Gives the conversation's id.
    async fn launch(&mut self, conversation: &Conversation) -> String {
        let launch = self.with(conversation, |context| self.runtime.launch(context));
        sow(&launch.seeds);
        let cwd = self.home.path().join("work");
        let head = if self.started { "respawn-pane -t ann:" } else { "new-session -d -s ann -x 120 -y 40" };
        let mut words: Vec<OsString> = head.split(' ').map(OsString::from).collect();
        words.extend(["-c".into(), cwd.into_os_string(), "env".into(), "-i".into()]);
        for (name, value) in self.environment.iter().chain(&launch.env) {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            words.push(pair);
        }
        words.extend(launch.argv);
        self.tmux.run(&words);
        if !self.started {
            self.tmux.call("set-option -g remain-on-exit on");
            self.started = true;
        }
        until("the agent waits for a prompt", async || {
            let idle = self.reading().activity == Some(Activity::Idle);
            (idle && self.state().is_none_or(|state| state == Activity::Idle)).then_some(())
        })
        .await;
        until("the conversation has an id", async || self.conversation_id(conversation)).await
    }

    fn pid(&self) -> u32 {
        self.tmux.call("display-message -p -t ann: #{pane_pid}").trim().parse().unwrap()
    }

    /// What the live process says of itself; none where this CLI keeps no such file. A missing file is a busy start.
    fn state(&self) -> Option<Activity> {
        let nobody = Conversation::New { id: String::new() };
        let path = self.with(&nobody, |context| self.runtime.state_file(context, self.pid()))?;
        let content = std::fs::read_to_string(path).unwrap_or_default();
        Some(self.runtime.read_state_file(&content).unwrap_or(Activity::Busy))
    }

    fn conversation_id(&self, conversation: &Conversation) -> Option<String> {
        let Identity::LockFile { directory } = self.runtime.identity() else {
            return Some(conversation.id().to_owned());
        };
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).ok()?.flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .filter(|path| path.parent().is_some_and(|parent| parent.ends_with(directory)))
            .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".lock").map(str::to_owned))
            .find(|id| Uuid::parse_str(id).is_ok())
    }

    fn reading(&self) -> ScreenReading {
        let text = self.tmux.call("capture-pane -p -t ann:");
        let rows =
            text.lines().map(|line| Row { text: line.trim_end_matches(' ').to_owned(), dim: Vec::new() }).collect();
        self.runtime.read_screen(&Screen { rows, cursor_column: 0, cursor_row: 0 })
    }

    /// Types a prompt the way delivery does: Enter only some time after the box shows the paste. A CLI that is slow to read
    /// its terminal takes an Enter that came in with the paste for a part of it.
    async fn paste(&self, text: &str) {
        let file = self.home.path().join("prompt");
        std::fs::write(&file, self.runtime.typed(text).as_bytes()).unwrap();
        let before = self.reading().input;
        self.tmux.call(&format!("load-buffer -b prompt {}", file.display()));
        self.tmux.call("paste-buffer -p -r -d -b prompt -t ann:");
        until("the box shows the paste", async || (self.reading().input != before).then_some(())).await;
        // No event shows that the paste has ended: this pause is part of what is being proven.
        tokio::time::sleep(self.runtime.settle()).await;
        self.tmux.call("send-keys -t ann: Enter");
    }

    /// What the records of `id` hold by now.
    fn records(&self, id: &str) -> Vec<(RecordKind, Record)> {
        let conversation = Conversation::Resume { id: id.to_owned() };
        let sources = self.with(&conversation, |context| self.runtime.records(context));
        let mut found = Vec::new();
        for source in sources {
            let (paths, kind) = match source {
                RecordSource::File { path, kind } => (vec![path], kind),
                RecordSource::Below { root, depth, suffix, kind } => (below(&root, depth, &suffix), kind),
            };
            for path in paths {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                found.extend(
                    whole.lines().flat_map(|line| self.runtime.read_record(kind, line)).map(|record| (kind, record)),
                );
            }
        }
        found
    }

    /// Waits until each of the CLI's records shows this prompt to the byte.
    async fn until_recorded(&self, id: &str, text: &str) {
        let kinds: &[RecordKind] = match self.cli {
            Cli::Claude => &[RecordKind::Hooks, RecordKind::Transcript],
            Cli::Codex => &[RecordKind::Transcript],
        };
        for &kind in kinds {
            until(&format!("{kind:?} holds the prompt exactly"), async || {
                self.records(id).iter().any(|(of, record)| *of == kind && record.taken() == Some(text)).then_some(())
            })
            .await;
        }
    }

    async fn until_ended(&self, id: &str, turns: usize) -> Outcome {
        until("the turn's end is recorded", async || {
            let ends = self.records(id).into_iter().filter_map(|(_, record)| match record {
                Record::TurnEnded { outcome, .. } => Some(outcome),
                _ => None,
            });
            ends.skip(turns - 1).last()
        })
        .await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.started {
            return;
        }
        if std::thread::panicking() {
            println!("the screen at the end:\n{}", self.tmux.call("capture-pane -p -t ann:"));
            println!("violations: {:?}", self.model.violations());
        }
        // An agent that outlived its home would write into it again.
        if self.tmux.call("display-message -p -t ann: #{pane_dead}").trim() == "0" {
            end(self.pid());
        }
    }
}

/// Ends a process and waits until it is gone.
fn end(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let mut gone = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut gone, Some(&patience)).unwrap(), 1, "{pid:?} does not end");
}

fn below(root: &Path, depth: usize, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() && depth > 0 {
            found.extend(below(&path, depth - 1, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

fn fresh() -> Conversation {
    Conversation::New { id: Uuid::new_v4().to_string() }
}

async fn comes_back_with_its_memory(cli: Cli) {
    let mut rig = Rig::new(cli, Permissions::Bypass);
    let id = rig.launch(&fresh()).await;
    let first = "[fleet · cli · ann · 0123456789ab]\n!echo not a command\n/clear\n-x 👩‍👩‍👧 é  two blanks  \n\na \\ and a ; at last;";
    rig.paste(first).await;
    rig.until_recorded(&id, first).await;
    assert_eq!(rig.until_ended(&id, 1).await, Outcome::Completed);
    assert!(rig.model.saw_prompt(first), "{:?}", rig.model.requests());
    let said = rig
        .records(&id)
        .into_iter()
        .filter(|(_, record)| matches!(record, Record::Said { text } if text.contains("**0123456789ab**")));
    assert_eq!(said.count(), 1);

    end(rig.pid());
    until("the pane is dead", async || {
        (rig.tmux.call("display-message -p -t ann: #{pane_dead}").trim() == "1").then_some(())
    })
    .await;

    assert_eq!(rig.launch(&Conversation::Resume { id: id.clone() }).await, id);
    let second = "[fleet · slack · bob · 0123456789ac]\nand again with a backslash at the end \\";
    rig.paste(second).await;
    rig.until_recorded(&id, second).await;
    assert_eq!(rig.until_ended(&id, 2).await, Outcome::Completed);
    let request = rig.model.request_for(second).unwrap();
    assert!(request.remembers(first), "{request:?}");
    assert_eq!(rig.model.violations(), [""; 0]);
}

#[tokio::test]
async fn claude_starts_without_a_hand_takes_a_prompt_to_the_byte_and_comes_back_with_its_memory() {
    comes_back_with_its_memory(Cli::Claude).await;
}

#[tokio::test]
async fn codex_starts_without_a_hand_takes_a_prompt_to_the_byte_and_comes_back_with_its_memory() {
    comes_back_with_its_memory(Cli::Codex).await;
}

async fn takes_a_long_prompt(cli: Cli) {
    let mut rig = Rig::new(cli, Permissions::Bypass);
    let id = rig.launch(&fresh()).await;
    let mut text = "[fleet · cli · ann · 0123456789ad]".to_owned();
    for line in 0..1500 {
        text.push_str(&format!("\n{line:06} a line of a long prompt, with an emoji 🙂 and a backslash at its end;\\"));
    }
    text.push_str("\nand its end.");
    assert!(text.len() > 100 * 1024);
    rig.paste(&text).await;
    rig.until_recorded(&id, &text).await;
    rig.until_ended(&id, 1).await;
    assert_eq!(rig.model.prompt_hashes(), [crate::support::model::sha256(&text)]);
}

#[tokio::test]
async fn claude_takes_a_hundred_kilobytes_to_the_byte() {
    takes_a_long_prompt(Cli::Claude).await;
}

#[tokio::test]
async fn codex_takes_a_hundred_kilobytes_to_the_byte() {
    takes_a_long_prompt(Cli::Codex).await;
}

async fn shows_that_it_works(cli: Cli) {
    let mut rig = Rig::new(cli, Permissions::Bypass);
    let id = rig.launch(&fresh()).await;
    rig.paste("[fleet · cli · ann · 0123456789ae]\nslow 2 gate").await;
    until("the answer waits at its gate", async || (rig.model.waiting_at("gate") == 1).then_some(())).await;
    until("the screen shows a running turn", async || (rig.reading().activity == Some(Activity::Busy)).then_some(()))
        .await;
    until("the state file tells of the turn", async || {
        rig.state().is_none_or(|state| state == Activity::Busy).then_some(())
    })
    .await;
    rig.model.release("gate", 2);
    assert_eq!(rig.until_ended(&id, 1).await, Outcome::Completed);
    until("the screen is idle again", async || (rig.reading().activity == Some(Activity::Idle)).then_some(())).await;

    rig.paste("[fleet · cli · ann · 0123456789af]\nfail 400").await;
    let Outcome::Failed { reason, .. } = rig.until_ended(&id, 2).await else { panic!("an API error is a failed turn") };
    assert!(reason.contains("the fake model was told to fail"), "{reason}");

    rig.paste("[fleet · cli · ann · 0123456789ag]\nslow 2 never").await;
    until("the answer waits at its gate", async || (rig.model.waiting_at("never") == 1).then_some(())).await;
    rig.model.release("never", 1);
    until("the first words are on the screen", async || {
        rig.tmux.call("capture-pane -p -t ann:").contains("chunk 1 of 2 for 0123456789ag").then_some(())
    })
    .await;
    rig.tmux.call("send-keys -t ann: Escape");
    assert_eq!(rig.until_ended(&id, 3).await, Outcome::Interrupted);
}

#[tokio::test]
async fn claude_shows_a_running_a_failed_and_an_interrupted_turn_as_what_they_are() {
    shows_that_it_works(Cli::Claude).await;
}

#[tokio::test]
async fn codex_shows_a_running_a_failed_and_an_interrupted_turn_as_what_they_are() {
    shows_that_it_works(Cli::Codex).await;
}

async fn asks(cli: Cli) {
    let mut rig = Rig::new(cli, Permissions::Ask);
    let id = rig.launch(&fresh()).await;
    let made = rig.home.path().join("work/made");
    rig.paste(&format!("[fleet · cli · ann · 0123456789ah]\nask touch {}", made.display())).await;
    until("the permission dialog is open", async || {
        let reading = rig.reading();
        let asks =
            reading.activity == Some(Activity::Dialog { kind: DialogKind::Permission, what: "permission".into() });
        (asks && reading.input == InputBox::Absent).then_some(())
    })
    .await;
    if cli == Cli::Claude {
        let waits = Some(Activity::Dialog { kind: DialogKind::Permission, what: "permission prompt".into() });
        until("the state file tells of the dialog", async || (rig.state() == waits).then_some(())).await;
        let question = format!("may it use Bash: touch {}", made.display());
        until("the hook tells the question", async || {
            rig.records(&id).contains(&(RecordKind::Hooks, Record::Asked { question: question.clone() })).then_some(())
        })
        .await;
    }
    assert!(!made.exists());
    rig.tmux.call("send-keys -t ann: Enter");
    assert_eq!(rig.until_ended(&id, 1).await, Outcome::Completed);
    assert!(made.exists());
}

#[tokio::test]
async fn claude_that_shall_ask_runs_nothing_before_it_was_allowed() {
    asks(Cli::Claude).await;
}

#[tokio::test]
async fn codex_that_shall_ask_runs_nothing_before_it_was_allowed() {
    asks(Cli::Codex).await;
}
