//! Watches the directories in which agents' records grow. A missed or doubled event is harmless: it only wakes a pass.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::event::Event;
use super::fleet::Running;
use super::post::AgentPost;

/// Watches directories, never single files: a watch on a file dies when the file is replaced.
pub struct Watcher {
    inner: Mutex<Inner>,
}

struct Inner {
    watcher: RecommendedWatcher,
    directories: HashSet<PathBuf>,
}

impl Watcher {
    /// A watcher that tells `running` once that is set.
    pub fn new(running: Arc<OnceLock<Weak<Running>>>) -> anyhow::Result<Self> {
        let tell = move |happened: notify::Result<notify::Event>| {
            // An error of the watch itself loses hints, not truth: the next tick looks at everything.
            let Ok(happened) = happened else { return };
            if matches!(happened.kind, notify::EventKind::Access(_)) {
                return;
            }
            let Some(running) = running.get().and_then(Weak::upgrade) else { return };
            let directories: HashSet<&Path> = happened.paths.iter().filter_map(|path| path.parent()).collect();
            for agent in directories.into_iter().flat_map(|directory| running.agents_with_records_in(directory)) {
                running.tell(Event::Records(agent));
            }
        };
        let watcher = notify::recommended_watcher(tell).context("can't watch files (inotify)")?;
        Ok(Self { inner: Mutex::new(Inner { watcher, directories: HashSet::new() }) })
    }

    /// Watches an agent's own directory and those of its record files.
    pub fn watch(&self, post: &AgentPost, files: &[PathBuf]) {
        let directories = files.iter().filter_map(|file| file.parent()).chain([post.state()]);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in directories {
            if inner.directories.contains(directory) {
                continue;
            }
            match inner.watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(inner.directories.insert(directory.to_owned())),
                Err(error) => {
                    // Without the watch the record is read at the next tick.
                    tracing::warn!(directory = %directory.display(), %error, "can't watch a directory of records");
                }
            }
        }
    }
}
