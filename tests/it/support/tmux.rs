//! A real tmux server on a private socket, in a private directory, gone when the test is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fleetd::tmux::{NewSession, Pane, Server, ServerOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait::until;

/// The socket's name; its directory is the test's own.
const SOCKET: &str = "fleet-test";

/// The private directory and what runs in it.
pub struct Tmux {
    directory: TempDir,
}

impl Tmux {
    /// A place for a server; none runs yet.
    pub fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("ft").tempdir_in("/tmp").unwrap() }
    }

    /// A started server and the door to it.
    pub async fn started() -> (Self, Server) {
        let tmux = Self::new();
        let server = tmux.server();
        server.start().await.unwrap();
        (tmux, server)
    }

    /// A further door, as another process of ours would have it.
    pub fn server(&self) -> Server {
        self.server_within(Duration::from_secs(10))
    }

    /// One with another timeout.
    pub fn server_within(&self, timeout: Duration) -> Server {
        Server::new(ServerOptions {
            socket: SOCKET.to_owned(),
            directory: self.path().join("state"),
            timeout,
            environment: self.environment(),
            tags: vec!["@fleet_slug".to_owned(), "@fleet_owner".to_owned()],
            scope: None,
        })
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        environment.insert("TMUX_TMPDIR".into(), self.path().into());
        // What a bare container has: the door must not depend on the locale.
        environment.insert("LC_ALL".into(), "C".into());
        environment
    }

    /// The test's own directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The socket's file.
    pub fn socket(&self) -> PathBuf {
        let user = rustix::process::getuid().as_raw();
        self.path().join(format!("tmux-{user}")).join(SOCKET)
    }

    /// What a person's own tmux command prints.
    pub fn by_hand(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-N", "-L", SOCKET])
            .args(args)
            .env("TMUX_TMPDIR", self.path())
            .env_remove("TMUX")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A control client of somebody else's, attached to the keeper session.
    pub fn control_client(&self) -> Child {
        let attach = ["-C", "-u", "-N", "-L", SOCKET, "attach-session", "-t", "=_fleet", "-f", "ignore-size,no-output"];
        let mut client = Command::new("tmux");
        client.args(attach).env("TMUX_TMPDIR", self.path()).env_remove("TMUX");
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// The server's pid.
    pub fn pid(&self) -> u32 {
        self.by_hand(&["display-message", "-p", "#{pid}"]).parse().unwrap()
    }

    /// The pid that the door has noted.
    pub fn noted_pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.path().join("state/tmux.pid")).ok()?;
        text.split(' ').next()?.parse().ok()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let noted = self.noted_pid();
        self.by_hand(&["kill-server"]);
        // A test that failed half-way may have left a server that no longer listens.
        if let Some(pid) = noted
            && std::fs::read_to_string(format!("/proc/{pid}/environ"))
                .is_ok_and(|text| text.contains(&*self.path().to_string_lossy()))
        {
            signal(pid, Signal::KILL);
        }
    }
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // The process may have ended, which is what a signal is for here.
    kill_process(pid, signal).ok();
}

/// A session that runs `script` in `sh`.
pub fn session(name: &str, cwd: &Path, script: &str) -> NewSession {
    NewSession {
        name: name.to_owned(),
        cwd: cwd.to_path_buf(),
        argv: ["sh", "-c", script].map(OsString::from).into(),
        tags: BTreeMap::from([
            ("@fleet_slug".to_owned(), name.to_owned()),
            ("@fleet_owner".to_owned(), "ann; $HOME 'x' ü".to_owned()),
        ]),
        width: 200,
        height: 50,
    }
}

/// Waits until the pane's screen shows `text`.
pub async fn shown(server: &Server, pane: &Pane, text: &str) {
    until(&format!("the screen shows {text:?}"), async || {
        let screen = server.capture(&pane.id).await.unwrap();
        screen.rows.iter().any(|row| row.text.contains(text)).then_some(())
    })
    .await;
}
