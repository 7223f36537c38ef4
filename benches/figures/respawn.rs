//! From the death of an idle agent to its next process: kill -9 by a stranger, then nobody asks for anything.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::Daemon;
use crate::support::fleet::Fleet;
use crate::table::{Row, Samples};

const SAMPLES: usize = 30;

/// Others that are well, as in a fleet.
const NEIGHBOURS: usize = 11;

/// How soon it is looked again for the new process.
const LOOK: Duration = Duration::from_micros(500);

/// Kills the process `pid` and answers how long it took until the file by which a launch notes itself named another one.
async fn back(note: &std::path::Path) -> Duration {
    let before = std::fs::read_to_string(note).unwrap();
    let pid = before.split(' ').next().unwrap().parse().unwrap();
    let killed = Instant::now();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    while std::fs::read_to_string(note).is_ok_and(|now| now == before) {
        tokio::time::sleep(LOOK).await;
        assert!(killed.elapsed() < Duration::from_secs(20), "it did not come back");
    }
    killed.elapsed()
}

/// One exec that starts a program in a dead pane.
fn by_hand(fleet: &Fleet) -> Duration {
    let started = Instant::now();
    fleet.tmux(&["respawn-pane", "-k", "-t", "=raw:", "sleep", "1000"]);
    started.elapsed()
}

/// Measures, both in turn for every sample.
pub async fn measure() -> Vec<Row> {
    let names: Vec<String> = (0..=NEIGHBOURS).map(|number| format!("agent-{number}")).collect();
    let fleet = Fleet::new(&names.iter().map(|name| Fleet::practice(name)).collect::<String>());
    let _daemon = Daemon::start(&fleet, &names).await;
    fleet.tmux(&["new-session", "-d", "-s", "raw", "sleep", "1000"]);
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    // Each agent a few times at most: one that dies over and over is made to wait.
    for sample in 0..SAMPLES {
        let name = &names[sample % names.len()];
        fleet.until_state(name, "idle").await;
        if sample >= names.len() {
            // Past the pause after its last start.
            tokio::time::sleep(Duration::from_millis(2500)).await;
        }
        ours.add(back(&fleet.state().join("agents").join(name).join("process")).await);
        floor.add(by_hand(&fleet));
    }
    let reached = ours.median() < Duration::from_millis(50);
    vec![
        Row::beside("an agent's death to its next process", &ours, "exec of tmux respawn-pane", &floor)
            .reaching("50 ms", reached),
    ]
}
