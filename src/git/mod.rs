//! The door to the `git` command: canonical clones, and one worktree per agent and repository.
//!
//! It only ever adds: it must never reset, clean, delete or overwrite what an agent or a person has made, and never ask
//! anybody for a password.

mod command;
mod layout;
mod repository;

pub use command::{Git, GitError};
pub use layout::{branch, owned_by, worktree_path};
pub use repository::Worktree;
