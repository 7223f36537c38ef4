//! The faces on a terminal, one verb per file.
//!
//! `hook` and `launch` run beneath every agent and many times an hour: they start no async runtime, read no config and go
//! through no argument parser. No verb may touch the store: they speak to the daemon through its local API.

mod append;
pub mod hook;
pub mod launch;
pub mod practice_agent;
