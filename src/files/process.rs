//! The processes of this machine, by `/proc`: who works where.

use std::fs;
use std::path::PathBuf;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name, at most 15 characters.
    pub name: String,
    /// Its working directory; none where this user may not see it.
    pub cwd: Option<PathBuf>,
    /// Its command line, the words ended by zero bytes.
    pub command: Vec<u8>,
}

/// Every process but this one. One that ends meanwhile is left out.
pub fn processes() -> Vec<Process> {
    pids().into_iter().filter(|pid| *pid != std::process::id()).filter_map(look).collect()
}

/// The ids of all processes, this one among them; none where `/proc` can't be read.
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn look(pid: u32) -> Option<Process> {
    let at = PathBuf::from(format!("/proc/{pid}"));
    let name = fs::read_to_string(at.join("comm")).ok()?.trim_end().to_owned();
    let cwd = fs::read_link(at.join("cwd")).ok();
    Some(Process { pid, name, cwd, command: fs::read(at.join("cmdline")).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_works_in_a_directory_is_seen_there() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap();
        let mut worker = std::process::Command::new("cat")
            .current_dir(place.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let seen = processes().into_iter().find(|process| process.pid == worker.id());
        drop(worker.stdin.take());
        worker.wait().unwrap();
        assert_eq!(seen.and_then(|process| process.cwd), Some(real));
    }
}
