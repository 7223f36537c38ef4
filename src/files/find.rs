//! Files found by their names, and by who holds them open.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The newest file whose name ends in `suffix`, at most `depth` directories below `root`. What can't be read is passed
/// over: whoever looks looks again in the next pass.
pub fn newest_below(root: &Path, depth: usize, suffix: &str) -> Option<PathBuf> {
    newest(root, depth, suffix).map(|(_, path)| path)
}

fn newest(root: &Path, depth: usize, suffix: &str) -> Option<(SystemTime, PathBuf)> {
    let mut newest_yet = None;
    for entry in fs::read_dir(root).ok()?.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let candidate = if kind.is_dir() && depth > 0 {
            newest(&entry.path(), depth - 1, suffix)
        } else if kind.is_file() && entry.file_name().to_string_lossy().ends_with(suffix) {
            entry.metadata().and_then(|metadata| metadata.modified()).ok().map(|modified| (modified, entry.path()))
        } else {
            None
        };
        newest_yet = newest_yet.max(candidate);
    }
    newest_yet
}

/// The files that `pids` hold open in a directory called `directory`, by `/proc/<pid>/fd`.
pub fn open_files_in(pids: &[u32], directory: &str) -> Vec<PathBuf> {
    let held = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    let paths = held.flat_map(|fds| fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()));
    paths.filter(|path| path.parent().and_then(Path::file_name).is_some_and(|name| name == directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_found_wherever_the_cli_put_it_and_not_deeper() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("p/q")).unwrap();
        fs::write(root.path().join("p/abc.jsonl"), "").unwrap();
        fs::write(root.path().join("p/q/deep.jsonl"), "").unwrap();
        assert_eq!(newest_below(root.path(), 1, "abc.jsonl"), Some(root.path().join("p/abc.jsonl")));
        assert_eq!(newest_below(root.path(), 1, "deep.jsonl"), None);
        assert_eq!(newest_below(root.path(), 0, "abc.jsonl"), None);
    }

    #[test]
    fn an_open_lock_file_tells_its_holder_s_conversation() {
        let root = tempfile::tempdir().unwrap();
        let locks = root.path().join("locks");
        fs::create_dir(&locks).unwrap();
        let held = fs::File::create(locks.join("id.lock")).unwrap();
        let pid = std::process::id();
        assert_eq!(open_files_in(&[pid], "locks"), [locks.canonicalize().unwrap().join("id.lock")]);
        drop(held);
        assert!(open_files_in(&[pid], "locks").is_empty());
    }
}
