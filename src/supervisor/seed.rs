//! Files that must be in place before an agent starts, so that nobody has to press a key.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde_json::Value;

use crate::files::{create_private_dir, write_private};
use crate::runtime::{Seed, merged};

/// Puts a seed in place. A user's file that can't be read as JSON is left alone: the CLI itself will say what is wrong.
pub fn plant(seed: &Seed) -> anyhow::Result<()> {
    match seed {
        Seed::Directory { path } => {
            create_private_dir(path).with_context(|| format!("can't create {}", path.display()))
        }
        Seed::Own { path, content } => {
            if let Some(directory) = path.parent() {
                create_private_dir(directory).with_context(|| format!("can't create {}", directory.display()))?;
            }
            write_private(path, content.as_bytes()).with_context(|| format!("can't write {}", path.display()))
        }
        Seed::MergeJson { path, patch } => merge(path, patch),
    }
}

fn merge(path: &Path, patch: &Value) -> anyhow::Result<()> {
    // Agents that start at once share one home: who read before another wrote would take its patch out again.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    let Some(after) = merged(before.as_deref(), patch) else { return Ok(()) };
    if let Some(directory) = path.parent() {
        create_private_dir(directory).with_context(|| format!("can't create {}", directory.display()))?;
    }
    write_private(path, after.as_bytes()).with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_s_settings_keep_everything_they_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.json");
        std::fs::write(&path, r#"{"theme":"dark","keys":{"approved":["a"]},"trusted":false}"#).unwrap();
        let patch = json!({"keys": {"approved": ["a", "b"]}, "trusted": true, "new": {"x": 1}});
        plant(&Seed::MergeJson { path: path.clone(), patch: patch.clone() }).unwrap();
        let expected = json!({"theme": "dark", "keys": {"approved": ["a", "b"]}, "trusted": true, "new": {"x": 1}});
        let read = |path: &Path| serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(read(&path), expected);
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        plant(&Seed::MergeJson { path: path.clone(), patch }).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before, "written though nothing was missing");
    }

    #[test]
    fn agents_that_start_at_once_do_not_take_each_other_s_trust_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.json");
        std::thread::scope(|scope| {
            for agent in 0..16 {
                let path = path.clone();
                scope.spawn(move || {
                    plant(&Seed::MergeJson { path, patch: json!({"trusted": {agent.to_string(): true}}) }).unwrap();
                });
            }
        });
        let read: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(read["trusted"].as_object().unwrap().len(), 16);
    }

    #[test]
    fn a_user_s_settings_that_cannot_be_read_are_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.json");
        for broken in ["{\"half\": ", "[1]"] {
            std::fs::write(&path, broken).unwrap();
            plant(&Seed::MergeJson { path: path.clone(), patch: json!({"a": 1}) }).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), broken);
        }
    }
}
