//! A hundred sessions made at once, as at a boot: through the control client, beside a fork with a terminal of its own for each,
//! and beside a script that runs tmux once a session.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleetd::supervisor::{TAG_AGENT, TAG_FLEET};
use fleetd::tmux::NewSession;
use futures_util::future::join_all;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::house::{FLEET, House};
use crate::table::{Row, Samples};

const SESSIONS: usize = 100;

/// How often all of it is done.
const ROUNDS: usize = 5;

/// Through our door, all asked for before the first answer is awaited.
async fn ours(house: &House) -> Duration {
    let new = |number: usize| NewSession {
        name: format!("ours-{number}"),
        cwd: house.path().to_owned(),
        argv: ["sleep", "infinity"].map(Into::into).into(),
        tags: BTreeMap::from([(TAG_AGENT.to_owned(), "x".to_owned()), (TAG_FLEET.to_owned(), FLEET.to_owned())]),
        width: 200,
        height: 50,
    };
    let sessions: Vec<NewSession> = (0..SESSIONS).map(new).collect();
    let started = Instant::now();
    let panes = join_all(sessions.iter().map(|new| house.server.create(new))).await;
    let took = started.elapsed();
    for pane in panes {
        house.server.kill_session(&pane.unwrap().id).await.unwrap();
    }
    took
}

/// One exec of tmux for each.
fn script(house: &House) -> Duration {
    let started = Instant::now();
    for number in 0..SESSIONS {
        house.raw(&["new-session", "-d", "-s", &format!("raw-{number}"), "-x", "200", "-y", "50", "sleep", "infinity"]);
    }
    let took = started.elapsed();
    for number in 0..SESSIONS {
        house.raw(&["kill-session", "-t", &format!("=raw-{number}")]);
    }
    took
}

/// A terminal and a process on it.
fn fork() -> (OwnedFd, Child) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let open = || std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = Command::new("sleep");
    command.arg("infinity").stdin(Stdio::from(open())).stdout(Stdio::from(open())).stderr(Stdio::from(open()));
    let child = command.spawn().unwrap();
    (master, child)
}

fn forks() -> Duration {
    let started = Instant::now();
    let made: Vec<_> = (0..SESSIONS).map(|_| fork()).collect();
    let took = started.elapsed();
    for (_master, mut child) in made {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    took
}

/// Measures, all three in turn for every round.
pub async fn measure() -> Vec<Row> {
    let house = House::new(&[("agent".to_owned(), "[sleep, infinity]".to_owned())]).await;
    // A server without a session ends itself.
    house.raw(&["new-session", "-d", "-s", "keeps", "sleep", "infinity"]);
    let (mut through, mut by_script, mut floor) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        through.add(ours(&house).await);
        by_script.add(script(&house));
        floor.add(forks());
    }
    let ratio = |to: &Samples| through.median().as_secs_f64() / to.median().as_secs_f64();
    let (to_floor, to_script) = (ratio(&floor), ratio(&by_script));
    let name = format!("{SESSIONS} sessions made");
    vec![
        Row::beside(&name, &through, "a fork with a terminal each", &floor).reaching("3.5", to_floor <= 3.5),
        Row::beside(&name, &through, "one exec of tmux each", &by_script).reaching("0.5", to_script <= 0.5),
    ]
}
