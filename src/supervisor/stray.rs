//! Children that a dead agent left behind: a Bash tool's child survives when its agent is killed, and holds ports, files and
//! memory that the next life wants. They are known by the variables of their launch and by their parent's end, and are ended
//! in the background: none of them can write to the conversation, so nobody waits for them.

use crate::model::launch::{AGENT_VARIABLE, FLEET_VARIABLE, LAUNCH_VARIABLE};
use crate::tmux::{ProcessMark, ProcessStatus, family, orphans, started_with};

/// A process of this fleet whose parent has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Which process.
    pub mark: ProcessMark,
    /// Whose, by its own word.
    pub agent: String,
    /// In which of the agent's lives it was started.
    pub launch: i64,
    /// It, or one of those that descend from it, has a terminal: somebody works there, as in a tmux server of theirs.
    pub terminal: bool,
}

/// An agent's life at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The number of its last launch.
    pub launch: i64,
    /// Its process lives, or is being started.
    pub alive: bool,
}

/// The strays there are. `server` is the tmux server's process.
pub fn find(fleet: &str, server: Option<u32>) -> Vec<Stray> {
    let stray = |pid: u32| {
        if started_with(pid, FLEET_VARIABLE)? != fleet {
            return None;
        }
        let status = ProcessStatus::read(pid)?;
        Some(Stray {
            mark: status.mark(pid),
            agent: started_with(pid, AGENT_VARIABLE)?,
            launch: started_with(pid, LAUNCH_VARIABLE)?.parse().ok()?,
            terminal: has_terminal(pid),
        })
    };
    orphans(server).into_iter().filter_map(stray).collect()
}

/// A terminal that was hung up is none any more: what a dead agent ran in one of its own has none.
fn has_terminal(pid: u32) -> bool {
    family(pid).into_iter().any(|pid| ProcessStatus::read(pid).is_some_and(|status| status.terminal))
}

/// Whether a stray was left behind. What the living agent itself put into the background is its own affair.
pub fn left_behind(stray: &Stray, life: Option<Life>) -> bool {
    let of_an_earlier_life = life.is_some_and(|life| !life.alive || stray.launch < life.launch);
    of_an_earlier_life && !stray.terminal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_below_a_process_makes_it_somebody_s_and_no_terminal_makes_it_nobody_s() {
        use std::process::{Command, Stdio};
        // script(1) gives its child a terminal and, begun in a session of its own, has none itself: as a tmux server has.
        let mut server = Command::new("setsid")
            .args(["script", "-qc", "echo up; exec sleep 1000", "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 2];
        std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut up).unwrap();
        assert!(!ProcessStatus::read(server.id()).unwrap().terminal && has_terminal(server.id()));
        for pid in family(server.id()).into_iter().rev() {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(),
                rustix::process::Signal::KILL,
            )
            .ok();
        }
        server.wait().unwrap();
        let mut alone = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
        while ProcessStatus::read(alone.id()).is_some_and(|status| status.terminal) {
            std::thread::yield_now();
        }
        assert!(!has_terminal(alone.id()));
        alone.kill().unwrap();
        alone.wait().unwrap();
    }

    #[test]
    fn only_what_a_dead_life_left_behind_is_ended_and_never_what_the_living_agent_runs() {
        let stray =
            |launch, terminal| Stray { mark: ProcessMark { pid: 7, start: 7 }, agent: "ann".into(), launch, terminal };
        let life = |launch, alive| Some(Life { launch, alive });
        for (name, stray, life, ended) in [
            ("a child of the life before", stray(3, false), life(4, true), true),
            ("a server that the living agent runs in the background", stray(4, false), life(4, true), false),
            ("a child of a life that ended and has no successor yet", stray(4, false), life(4, false), true),
            ("one of an agent that nobody knows", stray(1, false), None, false),
            ("one in somebody's terminal", stray(3, true), life(4, true), false),
            ("a launch that is not counted yet", stray(5, false), life(4, true), false),
        ] {
            assert_eq!(left_behind(&stray, life), ended, "{name}");
        }
    }
}
