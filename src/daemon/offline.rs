//! Prompts that `fleet send` kept in files while no daemon ran: taken in at the start, each once.

use std::fs;

use anyhow::Context;
use jiff::Timestamp;

use super::api::from_shell;
use super::protocol::Keep;
use crate::config::StateDir;
use crate::store::Store;

/// Takes them in, oldest first. A file goes only after its prompt is stored; its id makes a second taking harmless.
pub async fn take_in(state: &StateDir, store: &Store, now: Timestamp) -> anyhow::Result<()> {
    let directory = state.offline();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", directory.display())),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("can't read {}", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push((fs::metadata(&path).and_then(|metadata| metadata.modified()).ok(), path));
        }
    }
    files.sort();
    for (_, path) in files {
        let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        match serde_json::from_str::<Keep>(&text) {
            Ok(keep) => {
                store.insert_prompt(&from_shell(keep), now).await?;
                fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
            }
            // Left where it is: somebody's words must not be lost over a reading error.
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "can't read a prompt that was kept while fleetd was down")
            }
        }
    }
    Ok(())
}
