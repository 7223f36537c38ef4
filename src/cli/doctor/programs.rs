//! The agents' own programs: found, started for a moment, logged in, trusted.
//!
//! The start is the agent's own command line with `--version` at its end, in an empty home and without any key: it can't cost
//! a token, begin a session or write into the user's files. It shows that the program runs here and takes the arguments; that
//! its login is accepted it does not show. Codex judges every argument before that; Claude Code judges values and files, and
//! passes over an unknown flag (measured with 0.169.0 and 2.1.197).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::command::{Ended, find, run};
use super::detached;
use super::house::House;
use super::report::{Check, Line};
use super::scratch::Scratch;
use crate::config::{self, Agent, RuntimeConfig};
use crate::runtime::{self, Account, Conversation, FileText, LaunchContext, Login, Seed, Trust};

/// How many programs are started at once.
const STARTS_AT_ONCE: usize = 2;

/// Variables that a login could stand in: a start for a look sees none of them.
const KEYS: [&str; 6] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "OPENAI_API_KEY",
    "CODEX_API_KEY",
    "AWS_BEARER_TOKEN_BEDROCK",
];

/// What was found of one agent.
#[derive(Debug, Clone)]
struct Found {
    agent: Agent,
    program: String,
    path: Option<PathBuf>,
    start: Start,
    account: Option<Account>,
}

/// How a start for a look went.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    /// Not tried: there is no program, or nobody knows what `--version` would do to it.
    NotTried,
    /// It printed this.
    Printed(String),
    /// It complained.
    Failed(String),
}

/// Looks.
pub async fn check(house: &House) -> Vec<Line> {
    let Some(fleet) = &house.fleet else { return Vec::new() };
    let starts = Starts::new(house);
    let found = join_all(fleet.agents.iter().map(|agent| look(house, agent, &starts))).await;
    found.iter().flat_map(judge).collect()
}

async fn look(house: &House, agent: &Agent, starts: &Starts<'_>) -> Found {
    let environment = config::agent_environment(&house.environment, agent);
    let program = agent.runtime.command().first().cloned().unwrap_or_default();
    let path = find(&program, environment.get(OsStr::new("PATH")).map(OsString::as_os_str));
    let start = match (&path, &agent.runtime) {
        (Some(_), RuntimeConfig::Claude { .. } | RuntimeConfig::Codex { .. }) => starts.of(agent, &environment).await,
        _ => Start::NotTried,
    };
    let account = account(house, agent, &environment).await;
    Found { agent: agent.clone(), program, path, start, account }
}

async fn account(house: &House, agent: &Agent, environment: &BTreeMap<OsString, OsString>) -> Option<Account> {
    let cwd = house.fleet.as_ref()?.workspaces_dir.join(agent.slug.as_str());
    let cwd = cwd.canonicalize().unwrap_or(cwd);
    let conversation = Conversation::New { id: String::new() };
    let state = house.state.agent(&agent.slug);
    let context = context(house, agent, &cwd, &state, environment, &conversation);
    let paths = runtime::account_files(&context);
    let read = |path: PathBuf| {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => FileText::Text(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileText::Missing,
            Err(error) => FileText::Unreadable(error.to_string()),
        };
        (path, text)
    };
    let files = detached(move || paths.into_iter().map(read).collect()).await;
    runtime::account(&context, &files, Timestamp::now())
}

fn context<'a>(
    house: &'a House,
    agent: &'a Agent,
    cwd: &'a Path,
    state: &'a Path,
    environment: &'a BTreeMap<OsString, OsString>,
    conversation: &'a Conversation,
) -> LaunchContext<'a> {
    let root = rustix::process::geteuid().is_root();
    LaunchContext { agent, cwd, state, fleetd: &house.executable, environment, conversation, root }
}

/// The starts, one for all agents that are started alike.
struct Starts<'a> {
    house: &'a House,
    slots: Semaphore,
    done: tokio::sync::Mutex<Vec<(Key, Start)>>,
}

/// What makes two starts the same.
#[derive(PartialEq, Eq)]
struct Key {
    runtime: RuntimeConfig,
    args: Vec<String>,
    model: Option<String>,
    permissions: config::Permissions,
    environment: BTreeMap<OsString, OsString>,
}

impl<'a> Starts<'a> {
    fn new(house: &'a House) -> Self {
        Self { house, slots: Semaphore::new(STARTS_AT_ONCE), done: tokio::sync::Mutex::default() }
    }

    async fn of(&self, agent: &Agent, environment: &BTreeMap<OsString, OsString>) -> Start {
        // Never closed: an error can't come.
        let _slot = self.slots.acquire().await.ok();
        let key = Key {
            runtime: agent.runtime.clone(),
            args: agent.args.clone(),
            model: agent.model.clone(),
            permissions: agent.permissions,
            environment: environment.clone(),
        };
        if let Some((_, start)) = self.done.lock().await.iter().find(|(other, _)| *other == key) {
            return start.clone();
        }
        let start = match self.start(agent, environment).await {
            Ok(ended) => told(&ended),
            Err(error) => Start::Failed(format!("{error:#}")),
        };
        self.done.lock().await.push((key, start.clone()));
        start
    }

    async fn start(&self, agent: &Agent, environment: &BTreeMap<OsString, OsString>) -> anyhow::Result<Ended> {
        let scratch = Scratch::new(&self.house.environment)?;
        let (state, home) = (scratch.directory("state")?, scratch.directory("home")?);
        let conversation = Conversation::New { id: Uuid::new_v4().to_string() };
        let context = context(self.house, agent, scratch.path(), &state, environment, &conversation);
        let launch = runtime::for_agent(agent).launch(&context);
        for seed in &launch.seeds {
            // Only what lies in the scratch directory; the user's own files are not touched.
            if let Seed::Own { path, content } = seed {
                std::fs::write(path, content)?;
            }
        }
        let mut variables = environment.clone();
        variables.extend(launch.env);
        KEYS.iter().for_each(|name| drop(variables.remove(OsStr::new(name))));
        for name in ["CLAUDE_CONFIG_DIR", "CODEX_HOME"] {
            variables.insert(name.into(), home.clone().into());
        }
        variables.insert("DISABLE_AUTOUPDATER".into(), "1".into());
        Ok(run(&arguments(agent, launch.argv), variables, scratch.path()).await?)
    }
}

/// The start's command line. Behind a `--` of the agent's own, `--version` would be a prompt: then it stands alone.
fn arguments(agent: &Agent, argv: Vec<OsString>) -> Vec<OsString> {
    let words = agent.args.iter().chain(agent.runtime.command()).any(|word| word == "--");
    let argv = if words { argv.into_iter().take(1).collect() } else { argv };
    argv.into_iter().chain(["--version".into()]).collect()
}

fn told(ended: &Ended) -> Start {
    let versioned = ended.stdout.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
    match versioned {
        Some(line) if ended.success => Start::Printed(line.trim().to_owned()),
        _ => {
            let said = || ended.stderr.lines().chain(ended.stdout.lines()).filter(|line| !line.trim().is_empty());
            let error = said().find(|line| line.to_lowercase().starts_with("error")).or(said().next_back());
            Start::Failed(error.unwrap_or("it said nothing").chars().take(300).collect())
        }
    }
}

fn judge(found: &Found) -> Vec<Line> {
    let slug = &found.agent.slug;
    let lines = [Some(judge_program(found)), judge_start(found), judge_login(found), judge_trust(found)];
    lines.into_iter().flatten().map(|line| line.of(slug)).collect()
}

fn judge_program(found: &Found) -> Line {
    let program = &found.program;
    let install = match found.agent.runtime {
        RuntimeConfig::Claude { .. } => "`npm install --global @anthropic-ai/claude-code`, or name it by `command:`",
        RuntimeConfig::Codex { .. } => "`npm install --global @openai/codex`, or name it by `command:`",
        RuntimeConfig::Command { .. } => "install it, or mend `command:`",
    };
    match (&found.path, &found.agent.runtime) {
        (None, _) if program.contains('/') => {
            Line::fail(Check::Program, format!("{program} is no program that can be run"), install)
        }
        (None, _) => Line::fail(Check::Program, format!("{program} is not on the agent's PATH"), install),
        (Some(path), RuntimeConfig::Command { .. }) => {
            Line::ok(Check::Program, format!("{} (not started: nobody knows what it does)", path.display()))
        }
        (Some(path), _) => Line::ok(Check::Program, path.display().to_string()),
    }
}

fn judge_start(found: &Found) -> Option<Line> {
    let word = found.agent.runtime.word();
    // What a start with `--version` can't show is not to be read into it.
    let unjudged = if word == "claude" { ", of which it passes over unknown flags" } else { "" };
    match &found.start {
        Start::NotTried => None,
        Start::Printed(version) => Some(Line::ok(
            Check::Start,
            format!("{version}: starts with the agent's arguments{unjudged} (no login used, nothing typed)"),
        )),
        Start::Failed(why) => Some(Line::fail(
            Check::Start,
            format!("{word} with the agent's arguments and --version: {why}"),
            "look at the agent's `args`, `model`, `permissions` and `command` in agents.yaml, and at the program's release",
        )),
    }
}

fn judge_login(found: &Found) -> Option<Line> {
    let (program, word) = (&found.program, found.agent.runtime.word());
    let mend =
        format!("as the user that runs fleetd, start `{program}` once and log in; or give the agent a key by `env:`");
    Some(match &found.account.as_ref()?.login {
        Login::By(what) => {
            Line::ok(Check::Login, format!("{word} logs in by {what} (whether it is accepted was not asked)"))
        }
        Login::Expired(what) => {
            Line::fail(Check::Login, format!("{what} of {word} is over and can't renew itself"), mend)
        }
        Login::Missing => Line::fail(Check::Login, format!("{word} has no login"), mend),
        Login::Unclear(why) => {
            Line::warn(Check::Login, format!("whether {word} is logged in can't be told: {why}"), mend)
        }
    })
}

fn judge_trust(found: &Found) -> Option<Line> {
    let word = found.agent.runtime.word();
    Some(match &found.account.as_ref()?.trust {
        Trust::Given => Line::ok(Check::Trust, format!("{word} trusts the agent's directory")),
        Trust::AtStart => Line::ok(Check::Trust, format!("every start tells {word} to trust the agent's directory")),
        Trust::Dialog(why) => Line::fail(
            Check::Trust,
            format!("{word} would stop at a dialog: {why}"),
            "mend the file by hand, or start the program once as that user and answer the dialog",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;
    use crate::config::Environment;

    fn agent(entry: &str) -> Agent {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agents.yaml");
        std::fs::write(&path, format!("- slug: ann\n{entry}")).unwrap();
        config::load(&path, &Environment::default()).unwrap().agents.remove(0)
    }

    fn words(argv: &[&str]) -> Vec<OsString> {
        argv.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_start_for_a_look_can_never_become_a_prompt() {
        let argv = words(&["claude", "--name", "ann"]);
        assert_eq!(arguments(&agent(""), argv.clone()).last(), Some(&"--version".into()));
        let hidden = agent("  args: [--, hello]\n");
        assert_eq!(arguments(&hidden, argv), words(&["claude", "--version"]));
    }

    #[test]
    fn what_a_program_says_of_a_wrong_argument_reaches_the_reader() {
        let ended = |success, stdout: &str, stderr: &str| {
            told(&Ended { success, stdout: stdout.into(), stderr: stderr.into() })
        };
        assert_eq!(
            ended(true, "2.1.197 (Claude Code)\n", "WARNING: x"),
            Start::Printed("2.1.197 (Claude Code)".into())
        );
        let wrong = ended(false, "", "WARNING: no aliases 1\nerror: unexpected argument '--x' found\n\nUsage: codex");
        assert_eq!(wrong, Start::Failed("error: unexpected argument '--x' found".into()));
        assert_eq!(ended(true, "", ""), Start::Failed("it said nothing".into()));
        assert_eq!(ended(false, "node: not found\n", ""), Start::Failed("node: not found".into()));
    }

    #[test]
    fn every_way_an_agent_cannot_come_up_is_a_fail_with_its_mend() {
        let found = |entry: &str, start, login, trust| Found {
            agent: agent(entry),
            program: "claude".into(),
            path: Some("/bin/claude".into()),
            start,
            account: Some(Account { login, trust }),
        };
        let shown = |found: &Found| {
            let word = |line: Line| match line.verdict {
                Verdict::Ok => "ok",
                Verdict::Warn { .. } => "warn",
                Verdict::Fail { .. } => "fail",
            };
            judge(found).into_iter().map(word).collect::<Vec<_>>()
        };
        let good = found("", Start::Printed("2".into()), Login::By("$X".into()), Trust::AtStart);
        assert_eq!(shown(&good), ["ok"; 4]);
        let bad = found("", Start::Failed("x".into()), Login::Missing, Trust::Dialog("x".into()));
        assert_eq!(shown(&bad), ["ok", "fail", "fail", "fail"]);
        let gone = Found { path: None, start: Start::NotTried, ..good.clone() };
        assert_eq!(shown(&gone), ["fail", "ok", "ok"]);
        let unclear = found("", Start::NotTried, Login::Unclear("x".into()), Trust::Given);
        assert_eq!(shown(&unclear), ["ok", "warn", "ok"]);
        let other = Found {
            account: None,
            start: Start::NotTried,
            ..found("  runtime: command\n  command: [x]\n", Start::NotTried, Login::Missing, Trust::Given)
        };
        assert_eq!(shown(&other), ["ok"]);
    }
}
