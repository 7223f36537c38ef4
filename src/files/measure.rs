//! What a directory holds: its size on the disk, and the git repositories in it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The unit of `st_blocks`, whatever the file system's own is (`stat(2)`).
const BLOCK: u64 = 512;

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measured {
    /// Bytes on the disk; a file with several names counts once.
    pub bytes: u64,
    /// Git repositories below the directory, not itself, relative to it.
    pub repositories: Vec<PathBuf>,
    /// How many directories and entries could not be looked at.
    pub unreadable: usize,
}

/// Measures everything at and below `root` on its own file system. No symbolic link is followed, `root` itself neither.
pub fn measure(root: &Path) -> Measured {
    let mut measured = Measured::default();
    let Ok(found) = fs::symlink_metadata(root) else {
        measured.unreadable = 1;
        return measured;
    };
    measured.bytes = found.blocks() * BLOCK;
    let device = found.dev();
    let mut several_names = HashSet::new();
    let mut open = if found.is_dir() { vec![root.to_path_buf()] } else { Vec::new() };
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            measured.unreadable += 1;
            continue;
        };
        let mut parts = BarePart::default();
        for entry in entries {
            // Of an entry that vanished meanwhile nothing is to be known: it is told as one that can't be looked at.
            let Ok((entry, found)) = entry.and_then(|entry| entry.metadata().map(|found| (entry, found))) else {
                measured.unreadable += 1;
                continue;
            };
            parts.meet(&entry.file_name());
            if found.dev() != device {
                continue;
            }
            if found.is_dir() {
                open.push(entry.path());
            } else if found.nlink() > 1 && !several_names.insert(found.ino()) {
                continue;
            }
            measured.bytes += found.blocks() * BLOCK;
        }
        let inside = directory.strip_prefix(root).unwrap_or(&directory);
        if !inside.as_os_str().is_empty() && parts.is_repository() && inside.file_name() != Some(OsStr::new(".git")) {
            measured.repositories.push(inside.to_path_buf());
        }
    }
    measured.repositories.sort();
    measured
}

/// The parts by which a directory is known as a repository.
#[derive(Default)]
struct BarePart {
    git: bool,
    head: bool,
    objects: bool,
    refs: bool,
}

impl BarePart {
    fn meet(&mut self, name: &OsStr) {
        match name.to_str() {
            Some(".git") => self.git = true,
            Some("HEAD") => self.head = true,
            Some("objects") => self.objects = true,
            Some("refs") => self.refs = true,
            _ => {}
        }
    }

    fn is_repository(&self) -> bool {
        self.git || (self.head && self.objects && self.refs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_names_counts_once_and_nothing_behind_a_link_counts() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("work");
        fs::create_dir_all(root.join("a")).unwrap();
        let empty = measure(&root).bytes;
        fs::write(root.join("a/big"), vec![7; 1 << 20]).unwrap();
        let one = measure(&root).bytes - empty;
        assert!(((1 << 20)..(1 << 20) + 65_536).contains(&one), "{one}");
        fs::hard_link(root.join("a/big"), root.join("again")).unwrap();
        fs::write(place.path().join("elsewhere"), vec![7; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(place.path().join("elsewhere"), root.join("link")).unwrap();
        std::os::unix::fs::symlink(place.path(), root.join("loop")).unwrap();
        let more = measure(&root).bytes - empty;
        assert!(more < one + 65_536, "{more}");
        std::os::unix::fs::symlink(&root, place.path().join("way")).unwrap();
        assert!(measure(&place.path().join("way")).bytes < 65_536);
        assert_eq!(measure(&place.path().join("nothing")).unreadable, 1);
    }

    #[test]
    fn a_repository_that_hides_in_a_worktree_is_found_in_whatever_form() {
        let root = tempfile::tempdir().unwrap();
        for path in [".git", "target/vendored/.git", "target/mirror/objects", "target/mirror/refs", "notes"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        fs::write(root.path().join("target/mirror/HEAD"), "").unwrap();
        fs::create_dir_all(root.path().join("sub")).unwrap();
        fs::write(root.path().join("sub/.git"), "gitdir: elsewhere").unwrap();
        assert_eq!(measure(root.path()).repositories, ["sub", "target/mirror", "target/vendored"].map(PathBuf::from));
    }
}
