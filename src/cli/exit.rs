//! The exit codes, all of them. A script may rely on them.

use std::process::ExitCode;

use super::client::ClientError;
use crate::config::{ConfigError, NotFound};

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it says; of a prompt: confirmed.
    Success = 0,
    /// Something went wrong that the message names.
    Failure = 1,
    /// The command line or agents.yaml is wrong, or there is no such agent.
    Usage = 2,
    /// The prompt was not delivered and will not be.
    Failed = 3,
    /// Whether the prompt was delivered can't be told.
    Uncertain = 4,
    /// No daemon runs; a prompt is kept and delivered at its next start.
    NotRunning = 5,
    /// The time is over; the prompt still waits and will be delivered.
    TimedOut = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The exit code of an error.
pub fn of(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::NotRunning(_) | ClientError::Ended(_)) => Exit::NotRunning,
        Some(ClientError::Refused(_)) => Exit::Usage,
        _ if error.is::<ConfigError>() || error.is::<NotFound>() => Exit::Usage,
        _ => Exit::Failure,
    }
}
