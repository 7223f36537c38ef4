//! What the tests stand on. Nothing here may weaken what a test claims: a fake is as strict as the real thing.

#[allow(dead_code, reason = "which helpers a test needs differs by room")]
pub mod bridge;
#[allow(dead_code, reason = "which helpers a test needs differs by room")]
pub mod slack;
#[allow(dead_code, reason = "which helpers a test needs differs by room")]
pub mod wait;
