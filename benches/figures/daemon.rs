//! The daemon as its users run it: the program itself, with no debug log and no movable clock.

use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::fleet::Fleet;
use crate::support::wait::until;

/// A running daemon; dropping it stops it.
pub struct Daemon {
    process: Child,
}

impl Daemon {
    /// Starts the daemon of `fleet` and waits until all its agents are idle.
    pub async fn start(fleet: &Fleet, agents: &[String]) -> Self {
        std::fs::create_dir_all(fleet.path("home")).unwrap();
        let log = std::fs::File::create(fleet.path("log")).unwrap();
        let mut command = fleet.command(&[]);
        command.env_remove("FLEET_CLOCK_FILE").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = Self { process: command.spawn().unwrap() };
        until("the daemon answers", async || fleet.run(&["status"]).status.success().then_some(())).await;
        for agent in agents {
            fleet.until_state(agent, "idle").await;
        }
        daemon
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).ok();
        self.process.wait().ok();
    }
}
