//! Where a record file lies, remembered once found: a search walks directories, and a pass runs often.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::files::newest_below;
use crate::runtime::{RecordKind, RecordSource};

/// Finds record files and remembers them.
#[derive(Debug, Default)]
pub struct Finder {
    found: Mutex<HashMap<(PathBuf, String), PathBuf>>,
}

impl Finder {
    /// The file of a source, where there is one. One that is gone is looked for again.
    pub fn locate(&self, source: &RecordSource) -> Option<(PathBuf, RecordKind)> {
        match source {
            RecordSource::File { path, kind } => Some((path.clone(), *kind)),
            RecordSource::Below { root, depth, suffix, kind } => {
                let key = (root.clone(), suffix.clone());
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(path) = found.get(&key).filter(|path| path.exists()) {
                    return Some((path.clone(), *kind));
                }
                let path = newest_below(root, *depth, suffix)?;
                found.insert(key, path.clone());
                Some((path, *kind))
            }
        }
    }
}
