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
//! | 1 | `tmux`, `git`: thin doors to outside programs |
//! | 0 | `model`, `config`, `policy`: words, the checked agents.yaml, the rules |

#![warn(missing_docs)]

pub mod config;
pub mod model;
pub mod runtime;
pub mod slack;
pub mod store;
pub mod tmux;
