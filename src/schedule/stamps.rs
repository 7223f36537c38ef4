//! One small file per agent and local day, written once the day's nudge was confirmed. It outlives the database, and a
//! person can read it, or delete it to have the day again.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::config::StateDir;
use crate::files::{create_private_dir, write_private};
use crate::model::{PromptId, Slug};

/// The stamps of a state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamps {
    state: StateDir,
}

impl Stamps {
    /// Those in `state`.
    pub fn new(state: StateDir) -> Self {
        Self { state }
    }

    /// Whether the agent's local day is stamped.
    ///
    /// # Errors
    /// Whatever keeps this from being known. Never to be taken for "not stamped": that would type a prompt twice.
    pub fn exists(&self, slug: &Slug, day: Date) -> Result<bool> {
        let path = self.state.stamp(slug, day);
        let told = || format!("can't tell whether {slug} had its nudge of {day}: look at {}", path.display());
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => Ok(true),
            Ok(_) => Err(anyhow::anyhow!("it is no file; take it away")).with_context(told),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(told),
        }
    }

    /// Stamps the agent's local day: `id` was confirmed at `at`. The file is there whole or not at all, and a day that is
    /// stamped already keeps its first stamp.
    pub fn write(&self, slug: &Slug, day: Date, id: &PromptId, at: Timestamp) -> Result<()> {
        let path = self.state.stamp(slug, day);
        if self.exists(slug, day)? {
            return Ok(());
        }
        let told =
            || format!("can't stamp {day} for {slug} in {}: check its rights and the disk's space", path.display());
        let Some(directory) = path.parent() else { bail!("{} has no directory", path.display()) };
        create_private_dir(directory).with_context(told)?;
        let content = format!("{{\"prompt\":\"{id}\",\"confirmed\":\"{at}\"}}\n");
        write_private(&path, content.as_bytes()).with_context(told)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use jiff::civil::date;

    use super::*;
    use crate::config::Environment;

    fn stamps(root: &Path) -> Stamps {
        Stamps::new(StateDir::choose(Some(root.to_owned()), &Environment::default()))
    }

    #[test]
    fn a_stamped_day_stays_stamped_with_its_first_prompt_and_for_its_user_alone() {
        let root = tempfile::tempdir().unwrap();
        let (stamps, slug, day) = (stamps(&root.path().join("state")), "pr".parse().unwrap(), date(2026, 11, 20));
        assert!(!stamps.exists(&slug, day).unwrap());
        stamps.write(&slug, day, &"0123456789ab".parse().unwrap(), Timestamp::UNIX_EPOCH).unwrap();
        stamps.write(&slug, day, &"ba9876543210".parse().unwrap(), Timestamp::UNIX_EPOCH).unwrap();
        assert!(stamps.exists(&slug, day).unwrap());
        assert!(!stamps.exists(&slug, day.tomorrow().unwrap()).unwrap());
        assert!(!stamps.exists(&"pr-reviewer".parse().unwrap(), day).unwrap());
        let path = root.path().join("state/stamps/pr/2026-11-20");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"prompt\":\"0123456789ab\",\"confirmed\":\"1970-01-01T00:00:00Z\"}\n"
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn a_stamp_that_can_t_be_read_is_never_taken_for_a_missing_one() {
        let root = tempfile::tempdir().unwrap();
        let (stamps, slug, day) = (stamps(root.path()), "pr".parse().unwrap(), date(2026, 11, 20));
        fs::create_dir_all(root.path().join("stamps/pr/2026-11-20")).unwrap();
        assert!(format!("{:#}", stamps.exists(&slug, day).unwrap_err()).contains("stamps/pr/2026-11-20"));
        assert!(stamps.write(&slug, day, &"0123456789ab".parse().unwrap(), Timestamp::UNIX_EPOCH).is_err());
        fs::remove_dir_all(root.path().join("stamps/pr")).unwrap();
        fs::write(root.path().join("stamps/pr"), "").unwrap();
        assert!(stamps.exists(&slug, day).is_err());
    }
}
