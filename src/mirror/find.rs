//! Where a record file lies, remembered once found.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::runtime::{RecordKind, RecordSource};

/// Finds record files and remembers them.
#[derive(Debug, Default)]
pub struct Finder {
    found: Mutex<HashMap<(PathBuf, String), PathBuf>>,
}

impl Finder {
    /// The file of a source, where there is one. Files move with their directory names only by the CLI's own doing, so a
    /// remembered one that is gone is looked for again.
    pub fn locate(&self, source: &RecordSource) -> Option<(PathBuf, RecordKind)> {
        match source {
            RecordSource::File { path, kind } => Some((path.clone(), *kind)),
            RecordSource::Below { root, depth, suffix, kind } => {
                let key = (root.clone(), suffix.clone());
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(path) = found.get(&key).filter(|path| path.exists()) {
                    return Some((path.clone(), *kind));
                }
                let path = newest_below(root, *depth, suffix)?.1;
                found.insert(key, path.clone());
                Some((path, *kind))
            }
        }
    }
}

/// The newest file that ends in `suffix`, at most `depth` directories below `root`. What can't be read is passed over: it
/// is looked for again in the next pass.
fn newest_below(root: &Path, depth: usize, suffix: &str) -> Option<(SystemTime, PathBuf)> {
    let mut newest = None;
    for entry in std::fs::read_dir(root).ok()?.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        let candidate = if kind.is_dir() && depth > 0 {
            newest_below(&entry.path(), depth - 1, suffix)
        } else if kind.is_file() && entry.file_name().to_string_lossy().ends_with(suffix) {
            entry.metadata().and_then(|metadata| metadata.modified()).ok().map(|modified| (modified, entry.path()))
        } else {
            None
        };
        newest = newest.max(candidate);
    }
    newest
}
