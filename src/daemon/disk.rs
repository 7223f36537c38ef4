//! Room on the disks: how much is left on ours, and how much each agent's workspace takes of what agents.yaml gives it.
//!
//! What is wrong is told once, when it begins, and again only after it had ended: a disk that is nearly full wavers. Looking
//! must never cost what it protects, so workspaces are measured rarely, one after the other, and at the lowest priority.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::TICK;
use super::fleet::Running;
use crate::files::{Measured, measure};
use crate::model::{Notice, Slug, size};

const GIB: u64 = 1 << 30;

/// How often a workspace is measured at most.
const MEASURE: SignedDuration = SignedDuration::from_hours(1);

/// The lowest priority (`setpriority(2)`).
const LOWEST: i32 = 19;

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What users other than root may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Whether a disk counts as nearly full: below 5 % or 2 GiB it begins to, above 7 % and 3 GiB it ends to. On a small one a
/// quarter, and three eighths, take the place of the gibibytes.
fn is_low(was: bool, room: Room) -> bool {
    let Room { free, total } = room;
    let (percent, bytes) = if was { (7, (3 * GIB).min(total / 8 * 3)) } else { (5, (2 * GIB).min(total / 4)) };
    // What has no size (a file system that does not tell) can't be judged.
    total > 0 && (u128::from(free) * 100 < u128::from(total) * percent || free < bytes)
}

/// Whether a workspace counts as too large: above its ceiling it begins to, below nine tenths of it it ends to.
fn is_over(was: bool, used: u64, ceiling: u64) -> bool {
    if was { u128::from(used) * 10 >= u128::from(ceiling) * 9 } else { used > ceiling }
}

/// Looks until the daemon stops.
pub async fn run(running: Arc<Running>) {
    tokio::join!(rooms(&running), ceilings(&running));
}

async fn rooms(running: &Running) {
    let mut stop = running.stop.subscribe();
    let mut low = Troubles::new("disk.low");
    loop {
        let looked = look_at_rooms(running, &mut low).await;
        running.set_problem("disk", looked.unwrap_or_else(|error| Some(format!("{error:#}"))));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// One look at every disk of ours; answers what is wrong, for people.
async fn look_at_rooms(running: &Running, low: &mut Troubles) -> anyhow::Result<Option<String>> {
    let roster = running.roster();
    let fleet = &roster.fleet;
    let places = [running.state.root(), &fleet.workspaces_dir, &fleet.repos_dir].map(Path::to_path_buf);
    // A network file system may let this hang; then it hangs alone.
    let rooms = tokio::task::spawn_blocking(move || places.iter().map(|path| room(path)).collect::<Vec<_>>());
    let mut by_disk = BTreeMap::new();
    for (device, path, room) in rooms.await.context("a look at the disks failed")?.into_iter().flatten() {
        by_disk.entry(device).or_insert((path, room));
    }
    let mut told = Vec::new();
    for (path, room) in by_disk.into_values() {
        let shown = path.display().to_string();
        let was = low.is_on(running, &shown).await?;
        let is = is_low(was, room);
        let notice = is.then(|| Notice::LowDisk { path: shown.clone(), free: room.free });
        told.extend(notice.as_ref().map(Notice::to_string));
        low.set(running, &shown, notice.as_ref()).await?;
    }
    Ok((!told.is_empty()).then(|| told.join("; ")))
}

/// The disk on which a directory is, or is to be made. One that can't be asked is passed over: its user will tell.
fn room(path: &Path) -> Option<(u64, PathBuf, Room)> {
    let there = path.ancestors().find(|path| path.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let room = Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) };
    Some((there.metadata().ok()?.dev(), path.to_path_buf(), room))
}

async fn ceilings(running: &Running) {
    let mut stop = running.stop.subscribe();
    let mut over = Troubles::new("disk.over");
    let mut measured = HashMap::new();
    loop {
        let looked = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            looked = look_at_ceilings(running, &mut over, &mut measured) => looked,
        };
        running.set_problem("workspaces", looked.err().map(|error| format!("{error:#}")));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

async fn look_at_ceilings(
    running: &Running,
    over: &mut Troubles,
    measured: &mut HashMap<Slug, Timestamp>,
) -> anyhow::Result<()> {
    let now = running.clock.now();
    let roster = running.roster();
    let fleet = &roster.fleet;
    for agent in &fleet.agents {
        let Some(ceiling) = agent.disk else {
            // Set again later, it is measured at once, and what is too much then is told.
            measured.remove(&agent.slug);
            over.set(running, agent.slug.as_str(), None).await?;
            continue;
        };
        if measured.get(&agent.slug).is_some_and(|at| now.duration_since(*at).abs() < MEASURE) {
            continue;
        }
        measured.insert(agent.slug.clone(), now);
        let used = measure_gently(fleet.workspaces_dir.join(agent.slug.as_str())).await?.bytes;
        let was = over.is_on(running, agent.slug.as_str()).await?;
        let what = || {
            format!(
                "takes {} of disk in its workspace, its ceiling is {}: build output and old worktrees can go",
                size(used),
                size(ceiling)
            )
        };
        let is = is_over(was, used, ceiling);
        let notice = is.then(|| Notice::OverCeiling { agent: agent.slug.clone(), what: what() });
        over.set(running, agent.slug.as_str(), notice.as_ref()).await?;
    }
    Ok(())
}

/// Measures a directory on a thread of its own, whose priority is the lowest: those of the pool are everybody's.
pub async fn measure_gently(path: PathBuf) -> anyhow::Result<Measured> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let measuring = move || {
        // On Linux this is the thread's own; where it is refused the measuring is merely less gentle.
        rustix::process::setpriority_process(None, LOWEST).ok();
        // Nobody waits any more: the daemon stops.
        sender.send(measure(&path)).ok();
    };
    std::thread::Builder::new().name("measure".to_owned()).spawn(measuring).context("can't start a thread")?;
    receiver.await.context("a measuring ended early")
}

/// Troubles that come and go, each told once from its beginning to its end. A note in the store holds since when each is
/// there, so that a restart tells nothing twice and forgets nothing.
struct Troubles {
    name: &'static str,
    known: HashMap<String, bool>,
}

impl Troubles {
    fn new(name: &'static str) -> Self {
        Self { name, known: HashMap::new() }
    }

    /// Whether `of` is in trouble, as far as the last look told.
    async fn is_on(&self, running: &Running, of: &str) -> anyhow::Result<bool> {
        match self.known.get(of) {
            Some(known) => Ok(*known),
            None => Ok(self.since(running, of).await?.is_some()),
        }
    }

    /// Notes whether `of` is in trouble now, which `notice` tells, and tells people where that begins.
    async fn set(&mut self, running: &Running, of: &str, notice: Option<&Notice>) -> anyhow::Result<()> {
        let is = notice.is_some();
        if self.known.get(of) == Some(&is) {
            return Ok(());
        }
        let (store, now) = (&running.store, running.clock.now());
        let note = self.note(of);
        match (self.since(running, of).await?, notice) {
            (None, None) => {}
            (Some(_), None) => store.set_note(&note, "").await?,
            (since, Some(notice)) => {
                let since = since.unwrap_or_else(|| now.to_string());
                // Noted first: a crash in between leaves a trouble that is told at the next look, under the same key.
                store.set_note(&note, &since).await?;
                if store.tell_box(&format!("{note}/{since}"), notice, now).await? {
                    tracing::warn!("{notice}");
                }
            }
        }
        self.known.insert(of.to_owned(), is);
        Ok(())
    }

    async fn since(&self, running: &Running, of: &str) -> anyhow::Result<Option<String>> {
        Ok(running.store.note(&self.note(of)).await?.filter(|since| !since.is_empty()))
    }

    fn note(&self, of: &str) -> String {
        format!("{}/{of}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_wavers_at_the_edge_is_told_once() {
        let large = |free: u64| Room { free: free * GIB / 10, total: 30 * GIB };
        let small = |free: u64| Room { free: free << 20, total: 64 << 20 };
        for (was, room, is) in [
            (false, large(20), false),
            (false, large(19), true),
            (true, large(21), true),
            (true, large(29), true),
            (true, large(30), false),
            // A large disk by its share.
            (false, Room { free: 99 * GIB, total: 2_000 * GIB }, true),
            (false, Room { free: 100 * GIB, total: 2_000 * GIB }, false),
            (true, Room { free: 139 * GIB, total: 2_000 * GIB }, true),
            (true, Room { free: 140 * GIB, total: 2_000 * GIB }, false),
            // A small one is not low for ever.
            (false, small(16), false),
            (false, small(15), true),
            (true, small(23), true),
            (true, small(24), false),
            (false, Room { free: 0, total: 0 }, false),
            (true, Room { free: u64::MAX, total: u64::MAX }, false),
        ] {
            assert_eq!(is_low(was, room), is, "{was} {room:?}");
        }
    }

    #[test]
    fn a_workspace_at_its_ceiling_is_told_once_until_it_has_shrunk_well_below() {
        for (was, used, is) in
            [(false, 100, false), (false, 101, true), (true, 101, true), (true, 90, true), (true, 89, false)]
        {
            assert_eq!(is_over(was, used, 100), is, "{was} {used}");
        }
        assert!(is_over(true, u64::MAX, u64::MAX));
    }

    #[test]
    fn the_room_of_a_directory_that_is_yet_to_be_made_is_its_parent_s() {
        let place = tempfile::tempdir().unwrap();
        let (device, path, room) = room(&place.path().join("a/b")).unwrap();
        assert_eq!((device, path), (place.path().metadata().unwrap().dev(), place.path().join("a/b")));
        assert!(room.total > 0 && room.free <= room.total);
    }
}
