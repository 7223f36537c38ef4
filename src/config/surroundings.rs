//! What comes from the environment rather than from agents.yaml: secrets, hosts, and what of it an agent may see.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Agent, Environment};

/// The largest secret that is read from a file, in bytes.
const LARGEST_SECRET: u64 = 64 * 1024;

/// A secret by its name, for example `SLACK_BOT_TOKEN`: the variable itself, else the file that `<name>_FILE` names, else
/// the file of that name in systemd's `$CREDENTIALS_DIRECTORY`. None where no place has it.
///
/// # Errors
/// A file that was named and can't be read, is empty, or holds more than one line. The message never holds the secret.
pub fn secret(environment: &Environment, name: &str) -> Result<Option<SecretString>> {
    if let Some(value) = environment.get(name) {
        return one_line(value).with_context(|| format!("${name} is no token")).map(Some);
    }
    let file_variable = format!("{name}_FILE");
    if let Some(path) = environment.get(&file_variable) {
        return secret_file(Path::new(path))
            .with_context(|| format!("${file_variable} names no usable file"))
            .map(Some);
    }
    let Some(directory) = environment.get("CREDENTIALS_DIRECTORY") else { return Ok(None) };
    let path = Path::new(directory).join(name);
    if !path.try_exists().with_context(|| format!("can't look for {}", path.display()))? {
        return Ok(None);
    }
    secret_file(&path).map(Some)
}

fn secret_file(path: &Path) -> Result<SecretString> {
    let told = || format!("can't read the secret in {}", path.display());
    let size = std::fs::metadata(path).with_context(told)?.len();
    if size > LARGEST_SECRET {
        bail!("{} holds {size} bytes: too many for a token", path.display());
    }
    let text = std::fs::read_to_string(path).map(SecretString::from).with_context(told)?;
    one_line(text.expose_secret()).with_context(told)
}

fn one_line(text: &str) -> Result<SecretString> {
    let text = text.trim();
    if text.is_empty() {
        bail!("it is empty; write the token into it");
    }
    if text.contains(char::is_control) {
        bail!("it holds more than one line; a token is one line");
    }
    Ok(SecretString::from(text.to_owned()))
}

/// Where the services are. Never with a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Slack's Web API, `https://slack.com/api` unless `$SLACK_API_URL` says otherwise.
    pub slack_api: String,
    /// GitHub's REST API, `https://api.github.com` unless `$GITHUB_API_URL` says otherwise.
    pub github_api: String,
}

impl Hosts {
    /// By the environment. An address that is no http(s) URL is an error that names the variable.
    pub fn from_environment(environment: &Environment) -> Result<Self> {
        Ok(Self {
            slack_api: host(environment, "SLACK_API_URL", "https://slack.com/api")?,
            github_api: host(environment, "GITHUB_API_URL", "https://api.github.com")?,
        })
    }
}

fn host(environment: &Environment, name: &str, usual: &str) -> Result<String> {
    let text = environment.get(name).unwrap_or(usual).trim().trim_end_matches('/');
    // The address itself may hold a password: it is never repeated.
    let url = Url::parse(text).with_context(|| format!("${name} is no URL; write for example {usual}"))?;
    if !matches!(url.scheme(), "http" | "https")
        || url.host().is_none()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        bail!("${name} must be an http or https address without query; write for example {usual}");
    }
    Ok(text.to_owned())
}

/// The environment an agent is started with: the daemon's own, less its secrets and its plumbing, plus the agent's `env:`.
pub fn agent_environment(environment: &Environment, agent: &Agent) -> BTreeMap<OsString, OsString> {
    let own = agent.env.iter().map(|(name, value)| (name.into(), value.expose_secret().into()));
    plain_environment(environment).into_iter().chain(own).collect()
}

/// The daemon's own environment less its secrets and its plumbing: what tmux and git are started with.
pub fn plain_environment(environment: &Environment) -> BTreeMap<OsString, OsString> {
    environment.iter().filter(|(name, _)| !is_ours(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Where clones come from, `<this>/<owner>/<name>.git`: `$FLEET_GIT_URL`, else GitHub over https. Another host, ssh
/// (`ssh://git@github.com`) or a directory of bare repositories serve as well.
pub fn git_remote(environment: &Environment) -> String {
    environment.get("FLEET_GIT_URL").unwrap_or("https://github.com").trim_end_matches('/').to_owned()
}

/// Variables that begin so are the daemon's own: its tokens and hosts, its settings, what systemd told it.
const OUR_PREFIXES: [&str; 6] = ["SLACK_", "GITHUB_", "LINEAR_", "FLEET_", "WATCHDOG_", "LISTEN_"];

/// Single variables of the same kind. The second part would make an agent believe that it runs inside the tmux pane or the
/// Claude Code session from which the daemon was started; what configures Claude Code (`CLAUDE_CODE_USE_BEDROCK`, …) stays.
const OURS: [&str; 28] = [
    "CREDENTIALS_DIRECTORY",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "NOTIFY_SOCKET",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "MAINPID",
    "MANAGERPID",
    "FDSTORE",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "TMUX",
    "TMUX_PANE",
    "STY",
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_PARENT_SESSION_ID",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_SESSION_ACCESS_TOKEN",
    "CLAUDE_CODE_WEBSOCKET_AUTH_FILE_DESCRIPTOR",
    "CODEX_THREAD_ID",
];

fn is_ours(name: &OsStr) -> bool {
    // A name that is no text can't be one of ours: all of ours are ASCII.
    name.to_str().is_some_and(|name| OURS.contains(&name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet_of(text: &str) -> crate::config::Fleet {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("agents.yaml");
        std::fs::write(&path, text).unwrap();
        crate::config::load(&path, &Environment::default()).unwrap()
    }

    #[test]
    fn a_token_is_found_where_it_was_put_and_never_shown() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.into_os_string()
        };
        let (file, empty, lines) =
            (write("file", "from-file\n"), write("empty", "\n"), write("lines", "s3cret\ns3cret\n"));
        write("GITHUB_TOKEN", "from-systemd\n");
        let credentials = root.path().as_os_str().to_owned();
        let ask = |pairs: &[(&str, &OsString)]| {
            let environment =
                Environment::from_pairs(pairs.iter().map(|(name, value)| (OsString::from(*name), (*value).clone())));
            let found =
                secret(&environment, "GITHUB_TOKEN").map(|found| found.map(|secret| secret.expose_secret().to_owned()));
            found.map_err(|error| format!("{error:#}"))
        };
        let direct = OsString::from("direct");
        assert_eq!(ask(&[]), Ok(None));
        assert_eq!(ask(&[("GITHUB_TOKEN", &direct), ("GITHUB_TOKEN_FILE", &file)]), Ok(Some("direct".into())));
        assert_eq!(
            ask(&[("GITHUB_TOKEN_FILE", &file), ("CREDENTIALS_DIRECTORY", &credentials)]),
            Ok(Some("from-file".into()))
        );
        assert_eq!(ask(&[("CREDENTIALS_DIRECTORY", &credentials)]), Ok(Some("from-systemd".into())));
        for bad in [&empty, &lines, &OsString::from("/nowhere")] {
            let told = ask(&[("GITHUB_TOKEN_FILE", bad)]).unwrap_err();
            assert!(
                told.contains("$GITHUB_TOKEN_FILE") && told.contains(bad.to_str().unwrap()) && !told.contains("s3cret"),
                "{told}"
            );
        }
    }

    #[test]
    fn slack_is_reached_with_and_without_a_trailing_slash() {
        for (set, meant) in [
            ("http://127.0.0.1:9/api/", "http://127.0.0.1:9/api"),
            ("http://127.0.0.1:9/api", "http://127.0.0.1:9/api"),
            ("", "https://slack.com/api"),
        ] {
            let hosts = Hosts::from_environment(&Environment::from_pairs([("SLACK_API_URL", set)])).unwrap();
            assert_eq!((hosts.slack_api.as_str(), hosts.github_api.as_str()), (meant, "https://api.github.com"));
        }
        for bad in ["slack.com", "ftp://slack.com", "https://u:s3cret@h/?q", "https://u:s3cret@h:x/"] {
            let told = format!(
                "{:#}",
                Hosts::from_environment(&Environment::from_pairs([("SLACK_API_URL", bad)])).unwrap_err()
            );
            assert!(told.contains("$SLACK_API_URL") && !told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn an_agent_never_inherits_the_daemon_s_tokens_or_its_place_in_another_session() {
        let fleet = fleet_of("- slug: a\n  env: {PATH: /agent, GITHUB_TOKEN: narrow}\n");
        let daemon = Environment::from_pairs([
            ("PATH", "/usr/bin"),
            ("HOME", "/home/ann"),
            ("ANTHROPIC_API_KEY", "k"),
            ("CLAUDE_CODE_USE_BEDROCK", "1"),
            ("GITHUB_TOKEN", "wide"),
            ("GITHUB_TOKEN_FILE", "/f"),
            ("SLACK_BOT_TOKEN", "x"),
            ("SLACK_APP_TOKEN_FILE", "x"),
            ("FLEET_STATE", "x"),
            ("CREDENTIALS_DIRECTORY", "x"),
            ("STATE_DIRECTORY", "x"),
            ("NOTIFY_SOCKET", "x"),
            ("WATCHDOG_USEC", "x"),
            ("LISTEN_FDS", "x"),
            ("INVOCATION_ID", "x"),
            ("JOURNAL_STREAM", "x"),
            ("TMUX", "x"),
            ("TMUX_PANE", "x"),
            ("CLAUDECODE", "1"),
            ("CLAUDE_CODE_SESSION_ID", "x"),
        ]);
        let seen = agent_environment(&daemon, &fleet.agents[0]);
        let seen: Vec<(&str, &str)> =
            seen.iter().map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap())).collect();
        let expected = [
            ("ANTHROPIC_API_KEY", "k"),
            ("CLAUDE_CODE_USE_BEDROCK", "1"),
            ("GITHUB_TOKEN", "narrow"),
            ("HOME", "/home/ann"),
            ("PATH", "/agent"),
        ];
        assert_eq!(seen, expected);
    }
}
