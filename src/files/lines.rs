//! Whole lines out of a file that grows, in bounded memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

/// A longer line is passed over: it counts as read, and the lines after it are not lost.
pub const LONGEST_LINE: usize = 32 * 1024 * 1024;

/// At most this many bytes are taken in one reading, so that a long backlog does not fill the memory.
const READING: usize = 4 * 1024 * 1024;

/// So much of a line's end stands for it when a file is looked at again.
const TAIL: usize = 256;

/// How far a file was read, and by what it is known to be the same still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes read, at the start of a line.
    pub bytes: u64,
    /// The file's inode, where it is known.
    pub inode: Option<u64>,
    /// The [`Line::tail`] of the last line that was read, where it is known.
    pub tail: Option<u64>,
}

/// One line and the offset at which the next one starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its text, without the newline; broken UTF-8 is replaced.
    pub text: String,
    /// Bytes of the file up to and including its newline.
    pub end: u64,
    /// Its end, hashed: a file that holds something else at this place was rewritten.
    pub tail: u64,
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
    /// Whether the file is not the one that was read up to `place`: another inode, shorter, or other content there. Then
    /// nothing was read.
    pub rewritten: bool,
}

/// Reads the whole lines of the file at `path` behind `place`; none where there is no such file.
pub fn read(path: &Path, place: Place) -> io::Result<Option<Reading>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let grew = place.inode.is_none_or(|inode| inode == metadata.ino())
        && metadata.len() >= place.bytes
        && place.tail.is_none_or(|tail| tail_before(&file, place.bytes).is_ok_and(|there| there == Some(tail)));
    let mut reading = Reading { end: place.bytes, inode: metadata.ino(), rewritten: !grew, ..Reading::default() };
    if !grew || metadata.len() == place.bytes {
        return Ok(Some(reading));
    }
    file.seek(SeekFrom::Start(place.bytes))?;
    read_from(&mut file, &mut reading)?;
    Ok(Some(reading))
}

/// The tail of the line that ends before `bytes`; none where none ends there.
fn tail_before(file: &File, bytes: u64) -> io::Result<Option<u64>> {
    let count = bytes.min(TAIL as u64);
    let mut window = vec![0; usize::try_from(count).unwrap_or(TAIL)];
    file.read_exact_at(&mut window, bytes - count)?;
    Ok(window.ends_with(b"\n").then(|| tail_of(&window)))
}

/// `line` ends in its newline, and may begin with the end of the line before it.
fn tail_of(line: &[u8]) -> u64 {
    let start = line[..line.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    let line = &line[start.max(line.len().saturating_sub(TAIL))..];
    let digest = Sha256::digest(line);
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
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
                let text = String::from_utf8_lossy(&held).into_owned();
                held.push(b'\n');
                reading.lines.push(Line { text, end: reading.end, tail: tail_of(&held) });
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
        let first = read(file.path(), Place::default()).unwrap().unwrap();
        assert_eq!((texts(&first), first.end), (vec!["one"], 4));
        file.write_all(b"o\nthree").unwrap();
        let second = read(file.path(), behind(&first)).unwrap().unwrap();
        assert_eq!((texts(&second), second.end), (vec!["two"], 8));
    }

    /// Where the next reading goes on.
    fn behind(reading: &Reading) -> Place {
        let tail = reading.lines.last().map(|line| line.tail);
        Place { bytes: reading.end, inode: Some(reading.inode), tail }
    }

    #[test]
    fn a_file_that_was_replaced_cut_or_rewritten_in_place_is_never_taken_for_one_that_grew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        let long = format!("{}\n", "y".repeat(2 * TAIL));
        type Change = fn(&Path);
        let rows: [(&str, Change, bool); 6] = [
            ("untouched", |_| {}, false),
            ("grown", |path| append(path, "more\n"), false),
            ("cut", |path| std::fs::write(path, "first\n").unwrap(), true),
            (
                "other content of the same length",
                |path| {
                    let text = std::fs::read_to_string(path).unwrap();
                    std::fs::write(path, text.replace("last", "lost")).unwrap();
                },
                true,
            ),
            (
                "a line put in",
                |path| {
                    let text = std::fs::read_to_string(path).unwrap();
                    std::fs::write(path, "zeroth\n".to_owned() + &text).unwrap();
                },
                true,
            ),
            (
                "replaced",
                |path| {
                    std::fs::copy(path, path.with_extension("new")).unwrap();
                    std::fs::rename(path.with_extension("new"), path).unwrap();
                },
                true,
            ),
        ];
        for start in
            ["first\nlast\n".to_owned(), format!("first\n{long}last\n"), format!("first\n{}last\n", long.trim())]
        {
            for (name, change, rewritten) in rows {
                std::fs::write(&path, &start).unwrap();
                let place = behind(&read(&path, Place::default()).unwrap().unwrap());
                change(&path);
                let again = read(&path, place).unwrap().unwrap();
                assert_eq!(again.rewritten, rewritten, "{name}");
                assert_eq!(texts(&again).len(), usize::from(name == "grown"), "{name}");
            }
        }
    }

    fn append(path: &Path, text: &str) {
        File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
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
            let reading = read(file.path(), Place { bytes: start, ..Place::default() }).unwrap().unwrap();
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
