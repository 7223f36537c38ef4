//! Private files and directories.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Creates a directory, and whatever is missing above it, that only we may enter; one that is there is left as it is.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file whole: beside it, to the disk, then renamed over it. It becomes 0600, or keeps the rights of the file that
/// it replaces. A link is followed, so that a user's linked settings stay a link.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = beside(&path)?;
    let written = write_new(&beside, content, fs::metadata(&path).ok().map(|old| old.permissions().mode()));
    let renamed = written.and_then(|()| fs::rename(&beside, &path));
    if renamed.is_err() {
        // The first error is the one to tell; what is left beside the file is only litter.
        fs::remove_file(&beside).ok();
    }
    renamed?;
    // So that the rename itself survives a power cut.
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Creates an empty file of that name in a directory, 0600; where the name is taken, with the lowest number that is free in
/// front of its ending. Nothing is ever overwritten.
pub fn create_beside(directory: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    for number in 1..10_000 {
        let path = match number {
            1 => directory.join(name),
            _ => directory.join(format!("{stem}-{number}{ending}")),
        };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("every name for it is taken"))
}

/// Makes `link` a link to `target`, wherever it led before; a reader meets the old one or the new one. What stands there and
/// is no link is left as it is: it may be the target itself.
pub fn link_to(link: &Path, target: &Path) -> io::Result<()> {
    match fs::read_link(link) {
        Ok(found) if found == target => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let beside = beside(link)?;
    symlink(target, &beside)?;
    fs::rename(&beside, link).inspect_err(|_| {
        // The first error is the one to tell; what is left beside the link is only litter.
        fs::remove_file(&beside).ok();
    })
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("a file needs a name"))?;
    Ok(path.with_file_name(format!(".{}.{}", name.to_string_lossy(), Uuid::new_v4().simple())))
}

fn write_new(path: &Path, content: &[u8], mode: Option<u32>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    if let Some(mode) = mode {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_can_read_what_fleetd_writes() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        create_private_dir(&inner).unwrap();
        let path = inner.join("secret");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }

    #[test]
    fn a_link_leads_where_it_was_last_told_to_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        for target in ["/old", "/new", "/new"] {
            link_to(&link, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let program = directory.path().join("program");
        fs::write(&program, "ours").unwrap();
        assert!(link_to(&program, &program).is_err());
        assert_eq!(fs::read(&program).unwrap(), b"ours");
    }

    #[test]
    fn a_user_s_linked_settings_stay_a_link_and_keep_their_rights() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        write_private(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
