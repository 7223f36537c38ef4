//! What the daemon costs while its agents do nothing.

use std::fs;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::support::fleet::Fleet;
use crate::table::Row;

const AGENTS: usize = 100;

/// How long is watched.
const MINUTE: Duration = Duration::from_secs(60);

/// What the daemon forgets of its start before it is watched.
const REST: Duration = Duration::from_secs(5);

/// A process, as /proc tells.
struct Look {
    /// Time on a processor.
    ran: Duration,
    /// Page faults of children that were waited for: none means that there was no child.
    child_faults: u64,
    /// How often each thread gave its processor up by itself: its wakes.
    wakes: Vec<(String, String, u64)>,
}

impl Look {
    fn at(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let mut look = Self { ran: Duration::ZERO, child_faults: fields[8].parse().unwrap(), wakes: Vec::new() };
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let path = task.unwrap().path();
            // A thread may end between the listing and the look.
            let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
            let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            let wakes = field("voluntary_ctxt_switches:").unwrap().parse().unwrap();
            look.wakes.push((field("Pid:").unwrap(), field("Name:").unwrap(), wakes));
            let ran = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let ran = ran.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0);
            look.ran += Duration::from_nanos(ran);
        }
        look
    }
}

fn memory(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Measures.
pub async fn measure() -> Vec<Row> {
    let names: Vec<String> = (0..AGENTS).map(|number| format!("agent-{number}")).collect();
    let entry = |name: &String| Fleet::practice(name) + "    schedule: \"04:00\"\n    dailyPrompt: Good morning.\n";
    let fleet = Fleet::new(&names.iter().map(entry).collect::<String>());
    let daemon = Daemon::start(&fleet, &names).await;
    for name in &names {
        fleet.fleet(&["send", name, "--reply", "one turn each, so that there is something to remember"]);
    }
    tokio::time::sleep(REST).await;
    let before = Look::at(daemon.pid());
    tokio::time::sleep(MINUTE).await;
    let after = Look::at(daemon.pid());

    let ran = after.ran.saturating_sub(before.ran);
    let part = ran.as_secs_f64() / MINUTE.as_secs_f64() * 100.0;
    let (now, most) = (memory(daemon.pid(), "VmRSS:"), memory(daemon.pid(), "VmHWM:"));
    let own = memory(daemon.pid(), "RssAnon:");
    let mut wakes: Vec<(String, f64)> = Vec::new();
    for (id, name, count) in &after.wakes {
        let known = before.wakes.iter().find(|(known, _, _)| known == id).map_or(0, |(_, _, count)| *count);
        wakes.push((name.clone(), (count - known) as f64 / MINUTE.as_secs_f64()));
    }
    wakes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = wakes.iter().map(|(_, rate)| rate).sum();
    let by: Vec<String> =
        wakes.iter().filter(|(_, rate)| *rate >= 0.05).map(|(name, rate)| format!("{name} {rate:.1}")).collect();
    let children = if after.child_faults == before.child_faults { "none" } else { "some" };
    vec![
        Row::alone(&format!("idle with {AGENTS} agents: processor"), format!("{part:.2} % of a core"))
            .reaching("0.5 %", part < 0.5),
        Row::alone(
            &format!("idle with {AGENTS} agents: memory"),
            format!("{now:.1} MB (own {own:.1}, most {most:.1})"),
        )
        .reaching("60 MB", now <= 60.0),
        Row::alone("idle: wakes a second", format!("{total:.1} ({})", by.join(", "))),
        Row::alone("idle: processes started", children.to_owned()),
    ]
}
