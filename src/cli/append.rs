//! Appending to a file of lines that another process reads while it grows: whole lines only, whoever else writes.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

/// Appends a line by one write. A half line that a full disk or a kill left behind is ended first, so that it spoils only
/// itself. The lock makes the look and the write one step among hooks that run at once.
pub fn append_line(path: &Path, line: &str) -> Result<()> {
    let shown = path.display();
    let mut file: File = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("could not open {shown}"))?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("could not lock {shown}"))?;
    let mut bytes = Vec::with_capacity(line.len() + 2);
    if !ends_whole(&file).with_context(|| format!("could not read the end of {shown}"))? {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    let written = file.write(&bytes).with_context(|| format!("could not write {shown}"))?;
    ensure!(written == bytes.len(), "wrote {written} of {} bytes to {shown}: is the disk full?", bytes.len());
    Ok(())
}

fn ends_whole(file: &File) -> std::io::Result<bool> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_line_left_by_a_full_disk_spoils_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("spool");
        std::fs::write(&spool, "{\"half").unwrap();
        append_line(&spool, "{}").unwrap();
        append_line(&spool, "{\"b\":1}").unwrap();
        assert_eq!(std::fs::read_to_string(&spool).unwrap(), "{\"half\n{}\n{\"b\":1}\n");
    }
}
