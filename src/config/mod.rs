//! agents.yaml, from text to a checked [`Fleet`], and where everything of fleetd's lives.
//!
//! The only room that reads the environment (once, into [`Environment`]) and the config file. It must never yield half a
//! fleet: a file with one mistake is no fleet at all, and every mistake is told at once.

mod environment;
mod fleet;

pub use environment::{Environment, StateDir};
pub use fleet::{Agent, Fleet, Permissions, Repo, RuntimeConfig};
