//! A prompt through the real path: a daemon of this very program, with a state, an agents.yaml and a tmux server of its own,
//! a practice agent, `fleet send`. What it shows of this machine it shows of the fleet; the fleet itself is not touched.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

use super::command;
use super::house::House;
use super::report::{Check, Line};
use super::scratch::Scratch;
use crate::cli::client::Client;
use crate::config;
use crate::daemon::protocol::Status;

/// What is left of the time for the end of everything.
const TIDY: Duration = Duration::from_secs(2);

/// Tries it, within `limit`.
pub async fn check(house: &House, limit: Duration) -> Vec<Line> {
    vec![judge(attempt(house, limit).await)]
}

fn judge(tried: anyhow::Result<Duration>) -> Line {
    match tried {
        Ok(took) => Line::ok(
            Check::SelfTest,
            format!(
                "a practice agent in tmux took a prompt, confirmed in {:.1} s from the start of a daemon",
                took.as_secs_f64()
            ),
        ),
        Err(error) => Line::fail(
            Check::SelfTest,
            format!("a practice agent did not take a prompt: {error:#}"),
            "mend what else is told of tmux and of this machine's limits; then `make demo` shows the same with more words",
        ),
    }
}

async fn attempt(house: &House, limit: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let deadline = begun + limit.saturating_sub(TIDY);
    // Dropped last, whatever happens from here on: it ends what was started.
    let scratch = Scratch::new(&house.environment)?;
    let trial = Trial::prepare(house, &scratch)?;
    let tried = tokio::time::timeout_at(deadline.into(), trial.run(deadline)).await;
    let done = tried.unwrap_or_else(|_| Err(anyhow::anyhow!("it was not through after {} s", limit.as_secs())));
    match done {
        Ok(()) => Ok(begun.elapsed()),
        Err(error) => Err(match trial.last_words() {
            Some(words) => anyhow::anyhow!("{error:#}; its daemon's last words: {words}"),
            None => error,
        }),
    }
}

/// A daemon that is to be tried.
struct Trial {
    executable: PathBuf,
    config: PathBuf,
    state: PathBuf,
    log: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl Trial {
    fn prepare(house: &House, scratch: &Scratch) -> anyhow::Result<Self> {
        let root = scratch.path();
        let path = |name: &str| root.join(name);
        let state = scratch.directory("state")?;
        let agent = serde_json::json!({
            "slug": "practice", "runtime": "command", "prompt": "❯",
            "command": [house.executable, "practice-agent", "--speed", "0"],
        });
        // JSON is YAML, and quotes any path.
        let fleet = serde_json::json!({
            "timezone": "UTC", "reposDir": path("repos"), "workspacesDir": path("work"),
            "tmux": {"socket": "fleet-doctor"}, "agents": [agent],
        });
        let config = path("agents.yaml");
        std::fs::write(&config, fleet.to_string()).with_context(|| format!("can't write {}", config.display()))?;
        let mut variables = config::plain_environment(&house.environment);
        // All of it stays in the directory: tmux's socket, whatever anybody writes into a home.
        for name in ["TMUX_TMPDIR", "TMPDIR", "HOME"] {
            variables.insert(name.into(), root.into());
        }
        variables.insert("RUST_LOG".into(), "info".into());
        let executable = house.executable.clone();
        Ok(Self { executable, config, state, log: path("log"), variables: variables.into_iter().collect() })
    }

    async fn run(&self, deadline: Instant) -> anyhow::Result<()> {
        let mut daemon = self.daemon()?;
        self.until_up(&mut daemon).await?;
        let left = deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
        let send = ["send", "practice", "practice: a prompt of fleet doctor", "--timeout", &format!("{left}s")];
        let argv: Vec<OsString> = std::iter::once(self.executable.clone().into_os_string())
            .chain(self.places())
            .chain(send.map(OsString::from))
            .collect();
        let sent =
            command::run(&argv, self.variables.clone(), Path::new("/")).await.context("can't start `fleet send`")?;
        if !sent.success {
            bail!("{} {}", sent.stdout.trim(), sent.stderr.trim());
        }
        Ok(())
    }

    fn places(&self) -> [OsString; 4] {
        ["--config".into(), self.config.clone().into(), "--state".into(), self.state.clone().into()]
    }

    fn daemon(&self) -> anyhow::Result<Child> {
        let log = std::fs::File::create(&self.log).context("can't write its log")?;
        let mut daemon = Command::new(&self.executable);
        daemon.args(self.places()).arg("daemon").env_clear().envs(self.variables.clone()).current_dir("/");
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(true);
        daemon.spawn().with_context(|| format!("can't start {}", self.executable.display()))
    }

    async fn until_up(&self, daemon: &mut Child) -> anyhow::Result<()> {
        let client = Client::new(&self.state.join("fleetd.sock"));
        while client.get::<Status>("/v1/status").await.is_err() {
            if let Some(status) = daemon.try_wait().context("can't look at the daemon")? {
                bail!("its daemon ended at once ({status})");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }

    /// The last line of the daemon's log that tells of something wrong, else its last line.
    fn last_words(&self) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let wrong = log.lines().rfind(|line| line.contains("ERROR") || line.contains("WARN"));
        wrong.or(log.lines().last()).map(|line| line.chars().take(400).collect())
    }
}
