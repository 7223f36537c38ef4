//! agents.yaml, from text to a checked [`Fleet`], and where everything of fleetd's lives.
//!
//! The only room that reads the environment (once, into [`Environment`]) and the config file. It must never yield half a
//! fleet: a file with one mistake is no fleet at all, and every mistake is told at once. It must never let a secret into a
//! message: what stands beneath an `env:` is not shown.

mod amount;
mod change;
mod check;
mod check_agent;
mod crash;
mod environment;
mod fleet;
mod judge;
mod load;
mod mistake;
mod rights;
mod shape;
mod surroundings;
mod tree;
mod when;

pub use change::{Change, changes};
pub use crash::{CrashPoint, arm_crash};
pub use environment::{Environment, StateDir};
pub use fleet::{Agent, Fleet, IdleStop, Permissions, Repo, RuntimeConfig};
pub use load::{ConfigError, NotFound, find, load, read, read_at};
pub use mistake::{Mistake, Snippet};
pub use rights::{Grantee, Rights, SlackLists};
pub use shape::schema;
pub use surroundings::{Hosts, agent_environment, git_remote, plain_environment, secret};

#[cfg(test)]
mod tests;
