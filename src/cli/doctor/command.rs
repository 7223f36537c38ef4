//! Other programs, run for a look: bounded by the check's time, with nothing on standard input, ended with the check.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{Access, access};
use tokio::process::Command;

use crate::config::{Environment, plain_environment};

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    argv: Vec<OsString>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whether it ended well.
    pub success: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Program {
    /// A program by its name on PATH.
    pub fn new(name: &str, args: &[&str]) -> Self {
        Self { argv: std::iter::once(&name).chain(args).map(OsString::from).collect() }
    }

    /// Runs it in the daemon's surroundings, less its secrets.
    pub async fn run(&self, environment: &Environment) -> std::io::Result<Ended> {
        run(&self.argv, plain_environment(environment), Path::new("/")).await
    }
}

/// Runs `argv` with exactly these variables.
pub async fn run(
    argv: &[OsString],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    directory: &Path,
) -> std::io::Result<Ended> {
    let Some((program, rest)) = argv.split_first() else {
        return Err(std::io::Error::other("there is no program to run"));
    };
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(variables).current_dir(directory);
    // In a group of its own, so that a Ctrl-C meant for the doctor lets it tidy up first.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let output = command.spawn()?.wait_with_output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// Where a program is found, as an exec would find it: itself where it is a path, else the first on `search`.
pub fn find(program: &str, search: Option<&OsStr>) -> Option<PathBuf> {
    let usable = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(usable);
    }
    let directories = search?.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
    directories.map(|directory| Path::new(directory).join(program)).find(usable)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_run_is_not_called_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tool");
        std::fs::write(&path, "").unwrap();
        let search = OsString::from(format!("/nowhere:{}", directory.path().display()));
        assert_eq!(find("tool", Some(&search)), None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("tool", Some(&search)), Some(path.clone()));
        assert_eq!(find(path.to_str().unwrap(), None), Some(path));
        assert_eq!(find("tool", None), None);
        assert_eq!(find("/", Some(&search)), None);
    }
}
