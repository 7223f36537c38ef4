//! Whole lines out of a file that grows, in bounded memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A longer line is passed over: it counts as read, and the lines after it are not lost.
pub const LONGEST_LINE: usize = 32 * 1024 * 1024;

/// At most this many bytes are taken in one reading, so that a long backlog does not fill the memory.
const READING: usize = 4 * 1024 * 1024;

/// One line and the offset at which the next one starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its text, without the newline; broken UTF-8 is replaced.
    pub text: String,
    /// Bytes of the file up to and including its newline.
    pub end: u64,
}

/// What a reading found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whole lines, in order. A last line without its newline is left for the next reading.
    pub lines: Vec<Line>,
    /// Bytes read, at the start of a line.
    pub end: u64,
    /// The file's inode.
    pub inode: u64,
    /// Whether more whole lines may wait already.
    pub more: bool,
}

/// Reads the whole lines of the file at `path` after `start`; none where there is no such file. Another file at the same
/// path (`inode` tells), or one that became shorter, is read from its beginning.
pub fn read(path: &Path, start: u64, inode: Option<u64>) -> io::Result<Option<Reading>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let same = inode.is_none_or(|inode| inode == metadata.ino()) && metadata.len() >= start;
    let start = if same { start } else { 0 };
    let mut reading = Reading { lines: Vec::new(), end: start, inode: metadata.ino(), more: false };
    if metadata.len() == start {
        return Ok(Some(reading));
    }
    file.seek(SeekFrom::Start(start))?;
    read_from(&mut file, &mut reading)?;
    Ok(Some(reading))
}

fn read_from(source: &mut impl Read, reading: &mut Reading) -> io::Result<()> {
    let mut held: Vec<u8> = Vec::new();
    let mut overlong = 0;
    let mut chunk = vec![0; 256 * 1024];
    let mut taken = 0;
    loop {
        let count = match source.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            return Ok(());
        }
        taken += count;
        let mut rest = &chunk[..count];
        while let Some(newline) = rest.iter().position(|byte| *byte == b'\n') {
            held.extend_from_slice(&rest[..newline]);
            rest = &rest[newline + 1..];
            reading.end += (overlong + held.len() + 1) as u64;
            if overlong == 0 {
                reading.lines.push(Line { text: String::from_utf8_lossy(&held).into_owned(), end: reading.end });
            }
            overlong = 0;
            held.clear();
        }
        held.extend_from_slice(rest);
        if overlong > 0 || held.len() > LONGEST_LINE {
            overlong += held.len();
            held.clear();
        }
        if taken >= READING && held.is_empty() && overlong == 0 || taken >= READING && !reading.lines.is_empty() {
            reading.more = true;
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn texts(reading: &Reading) -> Vec<&str> {
        reading.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_half_written_line_waits_until_it_is_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\ntw").unwrap();
        let first = read(file.path(), 0, None).unwrap().unwrap();
        assert_eq!((texts(&first), first.end), (vec!["one"], 4));
        file.write_all(b"o\nthree").unwrap();
        let second = read(file.path(), first.end, Some(first.inode)).unwrap().unwrap();
        assert_eq!((texts(&second), second.end), (vec!["two"], 8));
    }

    #[test]
    fn a_file_that_was_replaced_is_read_from_its_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        std::fs::write(&path, "old line\n").unwrap();
        let first = read(&path, 0, None).unwrap().unwrap();
        std::fs::write(directory.path().join("new"), "new\n").unwrap();
        std::fs::rename(directory.path().join("new"), &path).unwrap();
        assert_eq!(texts(&read(&path, first.end, Some(first.inode)).unwrap().unwrap()), ["new"]);
    }

    #[test]
    fn a_line_too_long_for_memory_does_not_hide_the_lines_after_it() {
        let mut source = io::repeat(b'x').take(LONGEST_LINE as u64 + 600_000).chain(&b"\nnext\n"[..]);
        let mut reading = Reading::default();
        read_from(&mut source, &mut reading).unwrap();
        assert_eq!(texts(&reading), ["next"]);
        assert_eq!(reading.end, LONGEST_LINE as u64 + 600_000 + 6);
    }

    #[test]
    fn a_long_backlog_is_read_in_portions_that_lose_nothing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let line = format!("{}\n", "y".repeat(999));
        for _ in 0..10_000 {
            file.write_all(line.as_bytes()).unwrap();
        }
        let (mut start, mut count, mut portions) = (0, 0, 0);
        loop {
            let reading = read(file.path(), start, None).unwrap().unwrap();
            count += reading.lines.len();
            portions += 1;
            start = reading.end;
            if !reading.more {
                break;
            }
        }
        assert_eq!((count, start), (10_000, 10_000_000));
        assert!(portions > 1);
    }
}
