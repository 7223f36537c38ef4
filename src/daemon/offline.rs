//! Prompts that `fleet send` kept in files while it found no daemon: each taken in once, at the start and at every look of
//! the supervisor, because one may be kept in the very moment in which the daemon comes up.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;

use super::api::from_shell;
use super::protocol::Keep;
use crate::config::{CrashPoint, StateDir};
use crate::model::Slug;
use crate::store::Store;

/// Takes them in, oldest first, and answers for which agents. A file goes only after its prompt is stored; its id makes a
/// second taking harmless.
pub async fn take_in(state: &StateDir, store: &Store, now: Timestamp) -> anyhow::Result<Vec<Slug>> {
    let directory = state.offline();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", directory.display())),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("can't read {}", directory.display()))?.path();
        // What is being written has another name until it is whole.
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|extension| extension == "json") && !hidden {
            files.push((fs::metadata(&path).and_then(|metadata| metadata.modified()).ok(), path));
        }
    }
    files.sort();
    let mut agents = Vec::new();
    for (_, path) in files {
        match read(&path) {
            Ok(keep) => {
                agents.push(keep.agent.clone());
                store.insert_prompt(&from_shell(keep), now).await?;
                CrashPoint::OfflineStored.pass();
                fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
            }
            Err(error) => set_aside(&path, &error),
        }
    }
    Ok(agents)
}

fn read(path: &PathBuf) -> anyhow::Result<Keep> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no prompt", path.display()))
}

/// Somebody's words must not be lost over a reading error, nor keep everybody else's waiting: the file stays, under a name
/// that is not read again.
fn set_aside(path: &Path, error: &anyhow::Error) {
    let aside = path.with_extension("unreadable");
    tracing::error!(kept = %aside.display(), "a prompt that was kept while fleetd was down can't be read: {error:#}");
    if let Err(error) = fs::rename(path, &aside) {
        tracing::error!(path = %path.display(), %error, "it can't be set aside either");
    }
}
