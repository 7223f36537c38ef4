//! What the tests stand on. Nothing here may weaken what a test claims: a fake is as strict as the real thing.

#![allow(dead_code, reason = "which helpers a test needs differs by room")]

pub mod agents;
pub mod bridge;
pub mod fleet;
pub mod forge;
pub mod model;
pub mod private_tmux;
pub mod proof;
pub mod slack;
pub mod tmux;
pub mod wait;
