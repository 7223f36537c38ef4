//! Thin door to the disk: private files written whole, lines out of files that grow, record files found by their names,
//! directories measured.
//!
//! Everything of ours is 0600 in directories of 0700. A file is replaced by a rename, so that a reader, or a crash, meets
//! the old content or the new one and never half of it.

mod find;
pub mod lines;
mod measure;
mod process;
mod write;

pub use find::{newest_below, open_files_in};
pub use measure::{Measured, measure};
pub use process::{Process, pids, processes};
pub use write::{create_beside, create_private_dir, link_to, write_private};
