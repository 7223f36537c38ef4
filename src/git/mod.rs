//! The door to the `git` command: canonical clones, and one worktree per agent and repository.
//!
//! It adds; it must never reset, clean, delete or overwrite what an agent or a person has made, and never ask anybody for a
//! password. The one thing that it removes, on a person's word, is a worktree in which nobody's work is left.

mod books;
mod command;
mod facts;
mod layout;
mod refusal;
mod remote;
mod repository;
mod spare;

pub use command::{Git, GitError};
pub use facts::{Freed, Outside, Spare, Standing, WorktreeFacts};
pub use layout::{branch, owned_by, owner_and_name, worktree_path};
pub use refusal::Refusal;
pub use remote::Tips;
pub use repository::Worktree;
pub use spare::{Verdict, judge};
