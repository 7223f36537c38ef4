//! Which agents.yaml counts, and reading it.

use std::io;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::check::{self, Context};
use super::{Environment, Fleet, Mistake};

/// The largest agents.yaml that is read, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read {}: {error}; check the path and its rights", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The file was read and is wrong. In the file's order, at least one.
    #[error("{}", all(.0))]
    Mistakes(Vec<Mistake>),
}

fn all(mistakes: &[Mistake]) -> String {
    let text: String = mistakes.iter().map(|mistake| format!("{mistake}\n\n")).collect();
    let file = mistakes.first().map(|mistake| mistake.file.display().to_string()).unwrap_or_default();
    let count = if mistakes.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", mistakes.len()) };
    text + &format!("{count} in {file}: no fleet until it is right")
}

/// No file stands at any place that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no agents.yaml at {}; write one there (agents.yaml.example shows every key), or name it by --config", places(.looked_at))]
pub struct NotFound {
    /// Where it was looked for, in this order.
    pub looked_at: Vec<PathBuf>,
}

fn places(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The agents.yaml that counts: `--config`, else `$FLEET_CONFIG`, else the first that exists of `./agents.yaml`,
/// `~/.config/fleet/agents.yaml` and `/etc/fleet/agents.yaml`. A file that was named is never passed over for another.
pub fn find(flag: Option<&Path>, environment: &Environment, cwd: &Path) -> Result<PathBuf, NotFound> {
    if let Some(named) = flag.or_else(|| environment.get("FLEET_CONFIG").map(Path::new)) {
        return Ok(cwd.join(named));
    }
    let looked_at = vec![
        cwd.join("agents.yaml"),
        environment.home().join(".config/fleet/agents.yaml"),
        PathBuf::from("/etc/fleet/agents.yaml"),
    ];
    // A file that exists and can't be looked at still counts: reading it tells why.
    let found = looked_at.iter().find(|path| !matches!(path.try_exists(), Ok(false))).cloned();
    found.ok_or(NotFound { looked_at })
}

/// The fleet in that file.
pub fn load(path: &Path, environment: &Environment) -> Result<Fleet, ConfigError> {
    read(&text(path)?, path, environment)
}

fn text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST {
        return Err(unreadable(io::Error::other(format!("{size} bytes are too many for an agents.yaml"))));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The fleet that a text means, if it stands in that file.
pub fn read(text: &str, path: &Path, environment: &Environment) -> Result<Fleet, ConfigError> {
    read_at(text, path, path, environment)
}

/// As [`read`], for a text that stands in the file `shown` and is asked about as if it stood in `path`.
pub fn read_at(text: &str, shown: &Path, path: &Path, environment: &Environment) -> Result<Fleet, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let home = environment.home();
    let directory = absolute.parent().unwrap_or(Path::new("/"));
    let context = Context { file: shown, directory, home: &home, zone: system_zone() };
    check::check(text, &context).map_err(ConfigError::Mistakes)
}

/// The machine's zone; where it tells none, UTC.
fn system_zone() -> TimeZone {
    match TimeZone::try_system() {
        Ok(zone) if !zone.is_unknown() => zone,
        Ok(_) => TimeZone::UTC,
        Err(error) => {
            tracing::warn!(%error, "this machine names no time zone: schedules without one are read as UTC; write `timezone:` into agents.yaml");
            TimeZone::UTC
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_named_is_never_passed_over_for_another() {
        let root = tempfile::tempdir().unwrap();
        let (cwd, home) = (root.path().join("cwd"), root.path().join("home"));
        std::fs::create_dir_all(home.join(".config/fleet")).unwrap();
        std::fs::create_dir(&cwd).unwrap();
        let environment = Environment::from_pairs([("HOME", &home)]);
        let none = find(None, &environment, &cwd).unwrap_err();
        assert_eq!(none.looked_at.len(), 3);
        assert!(none.to_string().contains("/etc/fleet/agents.yaml"), "{none}");
        std::fs::write(home.join(".config/fleet/agents.yaml"), "- slug: a\n").unwrap();
        assert_eq!(find(None, &environment, &cwd), Ok(home.join(".config/fleet/agents.yaml")));
        std::fs::write(cwd.join("agents.yaml"), "- slug: a\n").unwrap();
        assert_eq!(find(None, &environment, &cwd), Ok(cwd.join("agents.yaml")));
        let named = Environment::from_pairs([("FLEET_CONFIG", "/nowhere.yaml")]);
        assert_eq!(find(None, &named, &cwd), Ok(PathBuf::from("/nowhere.yaml")));
        assert_eq!(find(Some(Path::new("x.yaml")), &named, &cwd), Ok(cwd.join("x.yaml")));
        let missing = load(Path::new("/nowhere.yaml"), &named).unwrap_err();
        assert!(missing.to_string().starts_with("can't read /nowhere.yaml"), "{missing}");
        std::fs::write(cwd.join("agents.yaml"), "- slg: a\n- slug: A\n").unwrap();
        let wrong = load(&cwd.join("agents.yaml"), &environment).unwrap_err().to_string();
        assert!(
            wrong.ends_with("agents.yaml: no fleet until it is right") && wrong.contains("2 mistakes in"),
            "{wrong}"
        );
    }
}
