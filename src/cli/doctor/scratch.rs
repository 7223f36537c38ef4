//! A directory for what a check must try out, with everything that was started in it. Gone with the value, however its check
//! ends: files, sockets, and every process that was told of the directory, a tmux server among them.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::config::Environment;
use crate::files::pids;

/// A longer directory would make the paths of the sockets in it too long (108 bytes at most).
const LONGEST_BASE: usize = 40;

/// How long what was started may take to die of SIGKILL.
const DEATH: Duration = Duration::from_secs(3);

/// So many looks in a row must find nothing: a process in the middle of its exec has no environment for a moment.
const QUIET: u32 = 3;

/// The directory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new one, ours alone, in `$TMPDIR` or `/tmp`.
    pub fn new(environment: &Environment) -> anyhow::Result<Self> {
        let base = environment.get("TMPDIR").filter(|base| base.len() <= LONGEST_BASE).unwrap_or("/tmp");
        let unique = Uuid::new_v4().simple().to_string();
        let path = Path::new(base).join(format!("fleet-doctor-{}", &unique[..12]));
        // Not recursive: it must be a new directory, which nobody else has put there.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("can't create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is. Whatever is started for it must have this in its environment, or it is not found again.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new private directory in it.
    pub fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("can't create {}", path.display()))?;
        Ok(path)
    }

    /// The living processes that were told of it.
    fn processes(&self) -> Vec<Pid> {
        let needle = self.path.as_os_str().as_encoded_bytes();
        let own = std::process::id();
        pids()
            .into_iter()
            .filter(|pid| *pid != own)
            .filter(|pid| {
                // Another user's can't be read, and isn't ours.
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.windows(needle.len()).any(|window| window == needle)
            })
            .filter_map(|pid| Pid::from_raw(pid.cast_signed()))
            .collect()
    }

    fn end_processes(&self) {
        let begun = Instant::now();
        let mut quiet = 0;
        while quiet < QUIET && begun.elapsed() <= DEATH {
            let living = self.processes();
            quiet = if living.is_empty() { quiet + 1 } else { 0 };
            for pid in living {
                // It may have ended in this very moment.
                kill_process(pid, Signal::KILL).ok();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.end_processes();
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a directory of the doctor's could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn nothing_outlives_the_scratch_directory_not_even_what_forked_away() {
        let scratch = Scratch::new(&Environment::default()).unwrap();
        let path = scratch.path().to_owned();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP TERM; touch made; setsid sleep 1000 & echo $!; exec sleep 1000"]);
        let mut child = command.current_dir(&path).env("TOLD", &path).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        // One that is in the middle of its exec shows no environment.
        let begun = std::time::Instant::now();
        while scratch.processes().len() < 2 {
            assert!(begun.elapsed().as_secs() < 30, "both processes are never seen");
            std::thread::yield_now();
        }
        drop(scratch);
        assert!(!path.exists());
        assert!(!child.wait().unwrap().success());
        let forked = format!("/proc/{}/status", line.trim());
        assert!(fs::read_to_string(forked).map_or(true, |status| status.contains("State:\tZ")));
    }

    #[test]
    fn a_long_temporary_directory_does_not_make_its_sockets_impossible() {
        let long = format!("/tmp/{}", "x".repeat(60));
        let scratch = Scratch::new(&Environment::from_pairs([("TMPDIR", long)])).unwrap();
        assert!(scratch.path().as_os_str().len() < 50);
    }
}
