//! What the machine gives a fleet: room on its disks, open files, processes, watches.

use std::path::{Path, PathBuf};

use super::detached;
use super::house::House;
use super::report::{Check, Line};

const GIB: u64 = 1 << 30;

/// Below the first, work stops soon; below the second, somebody should look.
const ROOM: (u64, u64) = (GIB / 2, 5 * GIB);

/// Open files that the tmux server should be able to have: with a full table it spins, and every new call hangs
/// (measured with 3.3a).
const OPEN_FILES: u64 = 65_536;

/// What an agent takes at work, roughly: its CLI with its threads, a build, language servers. Threads count.
const PROCESSES_PER_AGENT: u64 = 256;

/// inotify instances and watches that an agent's CLI takes; fleetd itself takes one instance.
const INSTANCES_PER_AGENT: u64 = 8;
const WATCHES: u64 = 65_536;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Machine {
    agents: u64,
    disks: Vec<Disk>,
    /// The hard limits of the daemon, or of this process; none where there is none.
    open_files: Option<u64>,
    processes: Option<u64>,
    /// The most processes in the control group.
    group: Option<u64>,
    instances: Option<u64>,
    watches: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    what: &'static str,
    path: PathBuf,
    room: Result<Room, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: u64,
    total: u64,
    /// Files that can still be made, and all; no limit on some file systems, which say 0 of 0.
    files: (u64, u64),
}

/// Looks.
pub async fn check(house: &House) -> Vec<Line> {
    let mut places = vec![("the state directory", house.state.root().to_owned())];
    if let Some(fleet) = &house.fleet {
        places.push(("workspacesDir", fleet.workspaces_dir.clone()));
        places.push(("reposDir", fleet.repos_dir.clone()));
    }
    let (agents, process) = (house.agents(), house.daemon.map_or("self".to_owned(), |pid| pid.to_string()));
    judge(&detached(move || measure(agents, places, &process)).await)
}

fn measure(agents: u64, places: Vec<(&'static str, PathBuf)>, process: &str) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let number = |path: &str| read(path).trim().parse().ok();
    let limits = read(&format!("/proc/{process}/limits"));
    let group = read(&format!("/proc/{process}/cgroup"));
    let group = group.lines().find_map(|line| line.strip_prefix("0::"));
    let disks = places.into_iter().map(|(what, path)| Disk { what, room: room(&path), path }).collect();
    Machine {
        agents,
        disks,
        open_files: hard_limit(&limits, "Max open files"),
        processes: hard_limit(&limits, "Max processes"),
        group: group.and_then(|group| number(&format!("/sys/fs/cgroup{group}/pids.max"))),
        instances: number("/proc/sys/fs/inotify/max_user_instances"),
        watches: number("/proc/sys/fs/inotify/max_user_watches"),
    }
}

/// The room where a directory is, or is to be made.
fn room(path: &Path) -> Result<Room, String> {
    let there = path.ancestors().find(|path| path.exists()).ok_or("there is no such path")?;
    let found = rustix::fs::statvfs(there).map_err(|error| std::io::Error::from(error).to_string())?;
    Ok(Room {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
        files: (found.f_favail, found.f_files),
    })
}

/// The hard limit of a line of `/proc/<pid>/limits`; none where it is unlimited.
fn hard_limit(limits: &str, name: &str) -> Option<u64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn judge(machine: &Machine) -> Vec<Line> {
    let disks = machine.disks.iter().map(disk);
    disks.chain([open_files(machine), processes(machine), inotify(machine)]).collect()
}

fn disk(disk: &Disk) -> Line {
    let place = format!("{} {}", disk.what, disk.path.display());
    let room = match &disk.room {
        Ok(room) => room,
        Err(why) => return Line::fail(Check::Disk, format!("{place}: {why}"), "look at the path and its disk"),
    };
    let gib = |bytes: u64| format!("{}.{}", bytes / GIB, bytes % GIB * 10 / GIB);
    let found = format!("{place}: {} of {} GiB free", gib(room.free), gib(room.total));
    let (left, all) = room.files;
    let few = all > 0 && left < all / 50;
    let mend = "make room, or move the directory: a full disk stops agents and fleetd alike";
    if room.free < ROOM.0 || (all > 0 && left == 0) {
        Line::fail(Check::Disk, found, mend)
    } else if few {
        Line::warn(Check::Disk, format!("{place}: only {left} more files fit"), "remove what is not needed: `df -i`")
    } else if room.free < ROOM.1 {
        Line::warn(Check::Disk, found, mend)
    } else {
        Line::ok(Check::Disk, found)
    }
}

fn open_files(machine: &Machine) -> Line {
    let mend =
        "raise it: LimitNOFILE=65536 in the unit (the shipped one has it), or `nofile` in /etc/security/limits.conf";
    match machine.open_files {
        Some(most) if most < 256 + 32 * machine.agents => Line::fail(
            Check::OpenFiles,
            format!("at most {most} open files: too few for {} agents", machine.agents),
            mend,
        ),
        Some(most) if most < OPEN_FILES => {
            Line::warn(Check::OpenFiles, format!("at most {most} open files; {OPEN_FILES} are wanted"), mend)
        }
        Some(most) => Line::ok(Check::OpenFiles, format!("at most {most} open files")),
        None => Line::ok(Check::OpenFiles, "no limit of open files"),
    }
}

fn processes(machine: &Machine) -> Line {
    let wanted = 512 + PROCESSES_PER_AGENT * machine.agents;
    let most = [machine.processes, machine.group].into_iter().flatten().min();
    let mend = "raise it: TasksMax= in the unit (the shipped one has it), `nproc` in /etc/security/limits.conf, or the container's limit";
    match most {
        Some(most) if most < wanted => {
            let found =
                format!("at most {most} processes and threads; {wanted} are wanted for {} agents", machine.agents);
            Line::warn(Check::Processes, found, mend)
        }
        Some(most) => Line::ok(Check::Processes, format!("at most {most} processes and threads")),
        None => Line::ok(Check::Processes, "no limit of processes"),
    }
}

fn inotify(machine: &Machine) -> Line {
    let (Some(instances), Some(watches)) = (machine.instances, machine.watches) else {
        return Line::ok(Check::Inotify, "the limits of inotify can't be read here");
    };
    let found = format!("inotify: {instances} instances and {watches} watches for each user");
    let wanted = 32 + INSTANCES_PER_AGENT * machine.agents;
    if instances >= wanted && watches >= WATCHES {
        return Line::ok(Check::Inotify, found);
    }
    let mend = format!(
        "write fs.inotify.max_user_instances={} and fs.inotify.max_user_watches={} into /etc/sysctl.d/60-fleet.conf, then \
         `sysctl --system`; without watches fleetd looks every ten seconds, and agents' own tools may fail",
        wanted.max(instances).next_power_of_two(),
        WATCHES.max(watches)
    );
    Line::warn(Check::Inotify, found, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_told_before_it_is_full_and_a_mount_that_is_gone_is_told() {
        let of = |free, files| Ok(Room { free, total: 100 * GIB, files });
        for (room, expected) in [
            (of(50 * GIB, (0, 0)), "ok"),
            (of(50 * GIB, (900, 1000)), "ok"),
            (of(50 * GIB, (10, 1000)), "warn"),
            (of(50 * GIB, (0, 1000)), "fail"),
            (of(2 * GIB, (900, 1000)), "warn"),
            (of(GIB / 4, (900, 1000)), "fail"),
            (Err("stale file handle".to_owned()), "fail"),
        ] {
            let line = disk(&Disk { what: "reposDir", path: "/r".into(), room: room.clone() });
            assert_eq!(line.verdict.word(), expected, "{room:?} {line:?}");
            assert!(line.found.contains("reposDir /r"), "{line:?}");
        }
    }

    #[test]
    fn a_limit_is_measured_against_the_number_of_agents() {
        let machine = |agents| Machine {
            agents,
            open_files: Some(4096),
            processes: None,
            group: Some(4096),
            instances: Some(128),
            watches: Some(100_000),
            disks: Vec::new(),
        };
        let words = |agents| judge(&machine(agents)).iter().map(|line| line.verdict.word()).collect::<Vec<_>>();
        assert_eq!(words(1), ["warn", "ok", "ok"]);
        assert_eq!(words(100), ["warn", "warn", "warn"]);
        assert_eq!(words(200), ["fail", "warn", "warn"]);
        let free = Machine { open_files: None, group: None, ..machine(200) };
        assert_eq!(judge(&free).iter().map(|line| line.verdict.word()).collect::<Vec<_>>(), ["ok", "ok", "warn"]);
    }

    #[test]
    fn the_limits_of_a_process_are_read_as_the_kernel_prints_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             127345               unlimited            processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!((hard_limit(limits, "Max open files"), hard_limit(limits, "Max processes")), (Some(524_288), None));
        let here = measure(1, vec![("x", "/nowhere/at/all".into())], "self");
        assert!(here.disks[0].room.is_ok(), "{here:?}");
    }
}
