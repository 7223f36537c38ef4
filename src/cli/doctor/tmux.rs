//! tmux: the one that is installed, the one that runs, the directory of its sockets.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::house::House;
use super::report::{Check, Line};
use crate::config;
use crate::tmux::{Server, ServerOptions, TmuxError, Version};

/// How long tmux may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Releases of which something is known, by the words of `tmux -V`.
const KNOWN: [(&str, &str); 1] = [(
    "3.6a",
    "its control mode can end at once (`%exit`): fleetd then runs one tmux for each call, which is sound but slower",
)];

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// What `tmux -V` printed; why it printed nothing.
    installed: Result<String, String>,
    /// The version that runs on the fleet's socket; why that can't be told.
    running: Result<Option<String>, String>,
    /// The directory of the sockets, where there is one.
    directory: Option<Directory>,
    own: u32,
    socket: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Directory {
    path: PathBuf,
    owner: u32,
    mode: u32,
}

/// Looks.
pub async fn check(house: &House) -> Vec<Line> {
    let socket = house.fleet.as_ref().map_or("fleet", |fleet| &fleet.tmux_socket).to_owned();
    let server = Server::new(ServerOptions {
        socket: socket.clone(),
        directory: house.state.root().join("tmux"),
        timeout: ANSWER,
        environment: config::plain_environment(&house.environment).into_iter().collect(),
        tags: Vec::new(),
        scope: None,
    });
    let told = |error: TmuxError| format!("{:#}", anyhow::Error::new(error));
    let installed = server.installed().await.map_err(told);
    let running = if installed.is_ok() { server.running().await.map_err(told) } else { Ok(None) };
    let own = rustix::process::geteuid().as_raw();
    let base = house.environment.get("TMUX_TMPDIR").unwrap_or("/tmp");
    let path = PathBuf::from(base).join(format!("tmux-{own}"));
    let directory = std::fs::metadata(&path).ok();
    let directory = directory.map(|found| Directory { path, owner: found.uid(), mode: found.mode() & 0o777 });
    judge(&Found { installed, running, directory, own, socket })
}

fn judge(found: &Found) -> Vec<Line> {
    let mut lines = vec![match &found.installed {
        Err(why) => Line::fail(Check::Tmux, why, "install it: `apt-get install tmux`"),
        Ok(words) => judge_version(words),
    }];
    if let Some(Directory { path, owner, mode }) = &found.directory
        && (*owner != found.own || mode & 0o007 != 0)
    {
        let told = format!("{} belongs to user {owner} with rights {mode:04o}: tmux refuses to use it", path.display());
        let mend = format!("as root: chown {} {path} && chmod 700 {path}", found.own, path = path.display());
        lines.push(Line::fail(Check::Tmux, told, mend));
    }
    lines.push(judge_running(found));
    lines
}

fn judge_version(words: &str) -> Line {
    let version = match words.parse::<Version>() {
        Err(why) => return Line::warn(Check::Tmux, why, format!("install tmux {} or newer", Version::NEEDED)),
        Ok(version) => version,
    };
    let known = KNOWN.iter().find(|(release, _)| words.trim().ends_with(&format!(" {release}")));
    match known {
        _ if version < Version::NEEDED => {
            let found = format!("{words} is too old: {} or newer is needed", Version::NEEDED);
            Line::fail(Check::Tmux, found, "upgrade it: `apt-get install tmux`, or a newer release of the system")
        }
        Some((_, what)) => Line::warn(Check::Tmux, format!("{words}: {what}"), "install another release of tmux"),
        None => Line::ok(Check::Tmux, words),
    }
}

fn judge_running(found: &Found) -> Line {
    let socket = &found.socket;
    match (&found.running, &found.installed) {
        (Err(why), _) => Line::fail(
            Check::TmuxServer,
            format!("the tmux server on the socket {socket} does not answer: {why}"),
            "look at its processor time with `top`; at a full table of open files only ending it helps: agents are resumed",
        ),
        (Ok(None), _) => {
            Line::ok(Check::TmuxServer, format!("no tmux server runs on the socket {socket}: fleetd starts it"))
        }
        (Ok(Some(running)), Ok(installed)) if !installed.trim().ends_with(&format!(" {running}")) => Line::warn(
            Check::TmuxServer,
            format!("the server on the socket {socket} is tmux {running}, the installed one {}", installed.trim()),
            format!(
                "at a quiet hour: `tmux -L {socket} kill-server`; fleetd starts the new one and resumes every agent"
            ),
        ),
        (Ok(Some(running)), _) => Line::ok(Check::TmuxServer, format!("tmux {running} runs on the socket {socket}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    fn words(installed: &str, running: Result<Option<&str>, &str>, directory: Option<(u32, u32)>) -> Vec<&'static str> {
        let found = Found {
            installed: if installed.is_empty() { Err("missing".into()) } else { Ok(installed.into()) },
            running: running.map(|found| found.map(str::to_owned)).map_err(str::to_owned),
            directory: directory.map(|(owner, mode)| Directory { path: "/tmp/tmux-7".into(), owner, mode }),
            own: 7,
            socket: "fleet".into(),
        };
        let word = |line: &Line| match line.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn { .. } => "warn",
            Verdict::Fail { .. } => "fail",
        };
        judge(&found).iter().map(word).collect()
    }

    #[test]
    fn a_tmux_that_fleetd_cannot_use_is_told_before_a_prompt_is_lost_in_it() {
        assert_eq!(words("tmux 3.3a", Ok(None), Some((7, 0o700))), ["ok", "ok"]);
        assert_eq!(words("tmux 3.3a", Ok(Some("3.3a")), None), ["ok", "ok"]);
        assert_eq!(words("tmux 3.6a", Ok(Some("3.6a")), None), ["warn", "ok"]);
        assert_eq!(words("tmux 3.6", Ok(Some("3.3a")), None), ["ok", "warn"]);
        assert_eq!(words("tmux 3.1c", Ok(None), None), ["fail", "ok"]);
        assert_eq!(words("screen", Ok(None), None), ["warn", "ok"]);
        assert_eq!(words("", Ok(None), None), ["fail", "ok"]);
        assert_eq!(words("tmux 3.3a", Err("no answer"), None), ["ok", "fail"]);
        assert_eq!(words("tmux 3.3a", Ok(None), Some((8, 0o700))), ["ok", "fail", "ok"]);
        assert_eq!(words("tmux 3.3a", Ok(None), Some((7, 0o777))), ["ok", "fail", "ok"]);
    }
}
