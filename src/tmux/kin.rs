//! Processes that outlived what started them, and their end. A process is known by pid and start time, never by its name, and
//! as ours by the variables that its launch gave it. From `/proc`, see proc(5).

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, kill_process_group};
use tokio::time::timeout;

use super::end;
use super::occupant::{ProcessMark, ProcessStatus, family};

/// How long a process may take to end once it was told to: the CLIs tidy up first.
const GRACE: Duration = Duration::from_secs(10);

/// How long the kernel may take to end one that was killed.
const ONCE_KILLED: Duration = Duration::from_secs(3);

/// A variable of a process's environment, as it was when its program was started; none where it has none or can't be seen.
pub fn started_with(pid: u32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

/// Whether one of a process's first words names `program`: what runs it may stand before it.
pub fn runs(pid: u32, program: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).take(3);
    words.filter_map(|word| std::str::from_utf8(word).ok()).any(|word| word.rsplit('/').next() == Some(program))
}

/// The processes whose parent has ended: the kernel gives them to the first process, or to the one that adopts in its place,
/// as it gave it the tmux server (`server`).
pub fn orphans(server: Option<u32>) -> Vec<u32> {
    let adopter = server.and_then(ProcessStatus::read).map(|status| status.parent);
    let adopters: HashSet<u32> = [Some(1), adopter].into_iter().flatten().filter(|pid| *pid > 0).collect();
    let own = std::process::id();
    let children = adopters.into_iter().flat_map(super::occupant::children);
    children.filter(|pid| *pid != own && Some(*pid) != server).collect()
}

/// Ends processes, with all that descends from them and their process groups: told first, killed after ten seconds. Answers
/// which of them live on all the same.
pub async fn end_families(roots: &[ProcessMark]) -> Vec<ProcessMark> {
    let told = signal_all(roots, Signal::TERM);
    if all_end_within(&told, GRACE).await {
        return Vec::new();
    }
    let killed = signal_all(&told, Signal::KILL);
    all_end_within(&killed, ONCE_KILLED).await;
    killed.into_iter().filter(|mark| mark.status().is_some()).collect()
}

/// Sends a signal to the live ones of `roots` and to their kin; answers all of them.
fn signal_all(roots: &[ProcessMark], signal: Signal) -> Vec<ProcessMark> {
    let mut all: Vec<ProcessMark> = Vec::new();
    let mut groups = HashSet::new();
    for root in roots.iter().filter(|root| root.status().is_some()) {
        for pid in family(root.pid) {
            let Some(status) = ProcessStatus::read(pid) else { continue };
            groups.insert(status.group);
            if !all.contains(&status.mark(pid)) {
                all.push(status.mark(pid));
            }
        }
    }
    // A group whose leader lives and is none of them is somebody else's job, which one of them merely runs in.
    let foreign = |group: &u32| ProcessStatus::read(*group).is_some_and(|leader| !all.contains(&leader.mark(*group)));
    groups.retain(|group| !foreign(group));
    // The groups of a launch are its own: tmux begins a session for each. Ours would end us too.
    let ours = getpgrp().as_raw_nonzero().get().cast_unsigned();
    for group in groups.into_iter().filter(|group| *group > 1 && *group != ours) {
        if let Some(group) = Pid::from_raw(group.cast_signed()) {
            // It may have ended by itself in this very moment.
            kill_process_group(group, signal).ok();
        }
    }
    for mark in &all {
        if let Err(error) = end::signal(*mark, signal) {
            tracing::debug!(pid = mark.pid, %error, "a process could not be told to end");
        }
    }
    all
}

/// Waits until none of them lives; says whether that came in time.
pub async fn all_end_within(marks: &[ProcessMark], patience: Duration) -> bool {
    let ends = async {
        for mark in marks {
            // Where it can't be waited for, the look below tells.
            end::ends(*mark).await.ok();
        }
    };
    timeout(patience, ends).await.ok();
    marks.iter().all(|mark| mark.status().is_none())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn mark(pid: u32) -> ProcessMark {
        ProcessStatus::read(pid).unwrap().mark(pid)
    }

    #[tokio::test]
    async fn the_job_of_somebody_else_that_a_process_merely_runs_in_is_not_ended_with_it() {
        use std::os::unix::process::CommandExt;
        // One group: its leader, and a child that is ended.
        let mut leader = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; sleep 1000; true"])
            .process_group(0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(leader.stdout.as_mut().unwrap()), &mut line).unwrap();
        let child = mark(line.trim().parse().unwrap());
        assert!(end_families(&[child]).await.is_empty());
        assert!(
            leader.try_wait().unwrap().is_none() && mark(leader.id()).status().is_some(),
            "its leader was ended too"
        );
        end_families(&[mark(leader.id())]).await;
        leader.wait().unwrap();
    }

    #[tokio::test]
    async fn what_is_ended_leaves_no_child_behind_and_a_later_process_of_its_pid_is_left_alone() {
        use std::os::unix::process::CommandExt;
        let script = "setsid sleep 1000 & sleep 1000 & trap '' TERM; echo; wait; sleep 1000";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .env("MINE", "ann")
            .process_group(0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let root = mark(child.id());
        assert_eq!(started_with(root.pid, "MINE").as_deref(), Some("ann"));
        assert_eq!(started_with(root.pid, "MIN"), None);
        assert!(runs(root.pid, "sh") && !runs(root.pid, "s"));
        let later = ProcessMark { start: root.start + 1, ..root };
        assert!(end_families(&[later]).await.is_empty() && root.status().is_some());
        let all: Vec<ProcessMark> = family(root.pid).into_iter().map(mark).collect();
        assert!(all.len() >= 3, "{all:?}");
        let waited = tokio::task::spawn_blocking(move || child.wait().unwrap());
        assert!(end_families(&[root]).await.is_empty());
        waited.await.unwrap();
        assert!(all.iter().all(|mark| mark.status().is_none()), "{all:?}");
    }
}
