//! fleetd: runs a team's fleet of background coding agents.
//!
//! The map of the house, top floor first. A room may use any lower floor, never a higher one and never a neighbour;
//! `tests/it/tidy.rs` reads the `use crate::` lines and fails on any other arrow.
//!
//! | floor | rooms |
//! |---|---|
//! | 5 | `cli`: one verb per file; speaks to the daemon through its local API |
//! | 4 | `daemon`: boot, wiring, the event loop, the local API, reload, shutdown |
//! | 3 | `supervisor`, `delivery`, `mirror`, `schedule`, `slack`: one job each; they meet only in the store |
//! | 2 | `store`: inbox, feed, threads. `runtime`: what each agent CLI needs and shows, without I/O |
//! | 1 | `tmux`, `git`, `files`: thin doors to outside programs and the disk |
//! | 0 | `model`, `config`: words, the checked agents.yaml. `policy`: what follows from an agent's state. `redact`: secrets |

#![warn(missing_docs)]

pub mod cli;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod files;
pub mod git;
pub mod mirror;
pub mod model;
pub mod policy;
pub mod redact;
pub mod runtime;
pub mod schedule;
pub mod slack;
pub mod store;
pub mod supervisor;
pub mod tmux;
