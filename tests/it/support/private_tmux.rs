//! A tmux server of a test's own: private socket, no user configuration, killed with the value.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::wait::until;

/// A private tmux server and a directory for whatever the test needs.
pub struct PrivateTmux {
    socket: String,
    pub directory: tempfile::TempDir,
}

/// One pane, as a test sees it.
pub struct Pane<'a> {
    tmux: &'a PrivateTmux,
    id: String,
}

impl PrivateTmux {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Set before the first pane: a process that ends at once would take the server with it.
        std::fs::write(directory.path().join("tmux.conf"), "set-option -g remain-on-exit on\n").unwrap();
        Self { socket: format!("fleet-test-{}", uuid::Uuid::new_v4()), directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts `argv` as the pane's own command, with nothing of a shell beneath.
    pub fn start<S: AsRef<OsStr>>(&self, env: &[(&str, &Path)], argv: &[S]) -> Pane<'_> {
        let mut command = self.command();
        command.args(["new-session", "-d", "-x", "100", "-y", "30", "-P", "-F", "#{pane_id}"]);
        for (key, value) in env {
            command.arg("-e").arg(format!("{key}={}", value.display()));
        }
        // An `env` in front keeps tmux from handing a lone word to a shell.
        command.args(["env", "--"]).args(argv);
        let id = text(&command.output().unwrap());
        Pane { tmux: self, id }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.socket, "-f"]).arg(self.path("tmux.conf")).env_remove("TMUX");
        command
    }

    fn run(&self, args: &[&str]) -> String {
        text(&self.command().args(args).output().unwrap())
    }
}

impl Drop for PrivateTmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}

impl Pane<'_> {
    /// Types a text as the fleet does: bracketed paste from a buffer, no line end translated.
    pub fn paste(&self, text: &str) {
        let mut load = self.tmux.command();
        let mut child = load.args(["load-buffer", "-b", "t", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        self.tmux.run(&["paste-buffer", "-p", "-r", "-d", "-b", "t", "-t", &self.id]);
    }

    pub fn key(&self, key: &str) {
        self.tmux.run(&["send-keys", "-t", &self.id, key]);
    }

    pub fn send(&self, text: &str) {
        self.paste(text);
        self.key("Enter");
    }

    pub fn resize(&self, columns: usize, rows: usize) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux.run(&["resize-window", "-t", &self.id, "-x", &columns, "-y", &rows]);
    }

    pub fn screen(&self) -> String {
        self.tmux.run(&["capture-pane", "-p", "-t", &self.id])
    }

    pub fn format(&self, format: &str) -> String {
        self.tmux.run(&["display-message", "-p", "-t", &self.id, format])
    }

    pub fn pid(&self) -> u32 {
        self.format("#{pane_pid}").parse().unwrap()
    }

    pub async fn shows(&self, what: &str) -> String {
        until(&format!("the screen shows {what:?}"), async || {
            Some(self.screen()).filter(|screen| screen.contains(what))
        })
        .await
    }

    pub async fn is_dead(&self) -> String {
        // tmux 3.3a may call a pane dead at the terminal's end and never reap its process, which would tell the exit code;
        // the end of any other child makes it look again.
        until("the pane's process has ended", async || {
            if self.format("#{pane_dead}") != "1" {
                return None;
            }
            let status = self.format("#{pane_dead_status}");
            if status.is_empty() {
                self.tmux.run(&["run-shell", "-b", "true"]);
            }
            Some(status).filter(|status| !status.is_empty())
        })
        .await
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim_end().to_owned()
}
