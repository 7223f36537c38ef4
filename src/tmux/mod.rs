//! The one door to tmux. It knows panes, keys and screens; it must never know an agent's CLI or Slack, and no caller's text
//! may ever stand on a command line.
//!
//! Every call goes through one persistent control-mode client (`control`); when that is down, the same commands go through
//! one exec of tmux (`exec`). A call that types is never repeated on its own: where its answer was lost, the caller is told
//! so and looks at the pane.

mod command;
mod control;
mod end;
mod error;
mod exec;
mod inspect;
mod key;
mod kin;
mod leftover;
mod memory;
mod occupant;
mod pane;
mod parse;
mod process;
mod reap;
mod screen;
mod server;
mod start;
mod verbs;

pub use error::TmuxError;
pub use exec::{Scope, Version};
pub use key::Key;
pub use kin::{all_end_within, end_families, orphans, runs, started_with};
pub use memory::memory;
pub use occupant::{LONGEST_LINE, ProcessMark, ProcessStatus, family, reads_whole_lines};
pub use pane::{Death, Pane, PaneId};
pub use parse::Notice;
pub use process::wait_for_exit;
pub use screen::{Row, Screen};
pub use server::{Server, ServerOptions};
pub use verbs::NewSession;

/// The crate's word for "or a tmux error".
pub type Result<T> = std::result::Result<T, TmuxError>;
