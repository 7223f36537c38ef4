//! The mends that are safe: our own state directory is made where it is missing, its rights are taken from others, a socket
//! that nobody listens on is removed. Nothing is loosened, moved or deleted that holds a word of anybody's.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::report::Fixed;
use super::state::{Entry, survey};
use crate::config::StateDir;
use crate::files::create_private_dir;

/// One mend.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mend {
    /// Makes the state directory.
    Create { path: PathBuf },
    /// Takes rights away.
    Restrict { path: PathBuf, from: u32, to: u32 },
    /// Removes the file of a socket that nobody listens on.
    RemoveSocket { path: PathBuf },
}

/// Mends what is safe to mend, and says what it did.
pub fn run(state: &StateDir) -> Vec<Fixed> {
    // What can't be looked at can't be mended; the look at the state directory tells why.
    let Ok(entries) = survey(state.root()) else { return Vec::new() };
    let dead = is_dead(&state.socket()).then(|| state.socket());
    let mends = plan(state.root(), entries.as_deref(), dead, rustix::process::geteuid().as_raw());
    let done =
        |mend: Mend| Fixed { error: apply(&mend, state).err().map(|error| format!("{error:#}")), what: words(&mend) };
    mends.into_iter().map(done).collect()
}

/// The directory itself comes first: once it is ours alone, nobody can put anything else at the paths below it.
fn plan(root: &Path, entries: Option<&[Entry]>, dead_socket: Option<PathBuf>, own: u32) -> Vec<Mend> {
    let Some(entries) = entries else { return vec![Mend::Create { path: root.to_owned() }] };
    // Somebody else's directory is theirs to mend: what we make in it would not be theirs.
    if entries.first().is_none_or(|base| !base.directory || base.owner != own) {
        return Vec::new();
    }
    let restrict = |entry: &Entry| {
        let to = if entry.directory { 0o700 } else { entry.mode & 0o700 };
        let wrong = entry.is_open() || (entry.directory && entry.mode & 0o700 != 0o700);
        // A file with a second name elsewhere may be more than ours.
        let ours = entry.owner == own && entry.links == 1;
        (wrong && ours).then(|| Mend::Restrict { path: entry.path.clone(), from: entry.mode, to })
    };
    let gone = |mend: &Mend| matches!((mend, &dead_socket), (Mend::Restrict { path, .. }, Some(dead)) if path == dead);
    let restricted: Vec<Mend> = entries.iter().filter_map(restrict).filter(|mend| !gone(mend)).collect();
    restricted.into_iter().chain(dead_socket.map(|path| Mend::RemoveSocket { path })).collect()
}

fn words(mend: &Mend) -> String {
    match mend {
        Mend::Create { path } => format!("made {}", path.display()),
        Mend::Restrict { path, from, to } => format!("{}: rights {from:04o} made {to:04o}", path.display()),
        Mend::RemoveSocket { path } => format!("removed {}, on which nobody listened", path.display()),
    }
}

fn apply(mend: &Mend, state: &StateDir) -> anyhow::Result<()> {
    match mend {
        Mend::Create { path } => create_private_dir(path).with_context(|| format!("can't create {}", path.display())),
        Mend::Restrict { path, to, .. } => fs::set_permissions(path, fs::Permissions::from_mode(*to))
            .with_context(|| format!("can't change the rights of {}", path.display())),
        Mend::RemoveSocket { path } => {
            // Held while it is removed: a daemon that starts in this moment must not lose its new one.
            let lock = match fs::File::options().write(true).open(state.lock()) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error).context("can't look at the lock"),
            };
            if let Some(lock) = &lock {
                lock.try_lock().context("a daemon is starting or running: its socket is left alone")?;
            }
            if !is_dead(path) {
                return Ok(());
            }
            fs::remove_file(path).with_context(|| format!("can't remove {}", path.display()))
        }
    }
}

/// Whether a socket's file is there and nobody listens on it.
fn is_dead(socket: &Path) -> bool {
    matches!(UnixStream::connect(socket), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, directory: bool, mode: u32, owner: u32, links: u64) -> Entry {
        Entry { path: path.into(), directory, mode, owner, links }
    }

    #[test]
    fn only_rights_that_are_ours_to_take_are_taken_and_the_directory_s_first() {
        let entries = [
            entry("/s", true, 0o755, 7, 1),
            entry("/s/agents", true, 0o750, 7, 1),
            entry("/s/db", false, 0o644, 7, 1),
            entry("/s/good", false, 0o600, 7, 1),
            entry("/s/linked", false, 0o644, 7, 2),
            entry("/s/root's", false, 0o644, 0, 1),
            entry("/s/sock", false, 0o666, 7, 1),
        ];
        let sock = Some(PathBuf::from("/s/sock"));
        let restrict = |path: &str, from, to| Mend::Restrict { path: path.into(), from, to };
        assert_eq!(
            plan(Path::new("/s"), Some(&entries), sock.clone(), 7),
            [
                restrict("/s", 0o755, 0o700),
                restrict("/s/agents", 0o750, 0o700),
                restrict("/s/db", 0o644, 0o600),
                Mend::RemoveSocket { path: "/s/sock".into() }
            ]
        );
        assert_eq!(plan(Path::new("/s"), Some(&entries), sock, 0), [], "root mends nothing of another user's");
        assert_eq!(plan(Path::new("/s"), None, None, 7), [Mend::Create { path: "/s".into() }]);
        assert_eq!(plan(Path::new("/s"), Some(&entries[3..4]), None, 7), [], "it is no directory");
    }

    #[test]
    fn the_socket_of_a_daemon_that_is_starting_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::choose(Some(directory.path().to_owned()), &crate::config::Environment::default());
        let socket = state.socket();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(is_dead(&socket));
        let lock = fs::File::create(state.lock()).unwrap();
        lock.lock().unwrap();
        assert!(apply(&Mend::RemoveSocket { path: socket.clone() }, &state).is_err() && socket.exists());
        drop(lock);
        apply(&Mend::RemoveSocket { path: socket.clone() }, &state).unwrap();
        assert!(!socket.exists() && !is_dead(&socket));
    }
}
