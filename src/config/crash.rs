//! Crashes on demand: `$FLEET_CRASH_AT` names a step between two of fleetd's lasting effects, and the daemon kills itself
//! there (SIGKILL: nothing is cleaned up). So a test can stop the daemon between any two lines that matter. Not set, a step
//! costs one load of an atomic.

use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Result, bail};
use rustix::process::{Signal, getpid, kill_process};

use super::Environment;

static ARMED: OnceLock<CrashPoint> = OnceLock::new();

/// A step at which the daemon can be made to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// A prompt of an offline file is stored, its file is still there.
    OfflineStored,
    /// An agent's first prompt is stored, its launch not counted.
    InitStored,
    /// A launch is counted, nothing runs yet.
    LaunchCounted,
    /// The agent's process was started.
    Launched,
    /// A prompt is stored as being typed, nothing was typed.
    TypingStored,
    /// The paste was sent.
    Pasted,
    /// The input box shows the paste.
    PasteShown,
    /// Enter was pressed, which is not stored.
    EnterPressed,
    /// The press of Enter is stored.
    Submitted,
    /// Records were read, nothing of them is stored.
    RecordsRead,
    /// Some of what records told is written, nothing is committed.
    RecordsHalfStored,
    /// What records told is committed.
    RecordsStored,
    /// A prompt is stored as confirmed.
    Confirmed,
    /// A prompt is stored as done.
    Done,
}

impl CrashPoint {
    /// All of them, in the order of a prompt's life.
    pub const ALL: [Self; 14] = [
        Self::OfflineStored,
        Self::InitStored,
        Self::LaunchCounted,
        Self::Launched,
        Self::TypingStored,
        Self::Pasted,
        Self::PasteShown,
        Self::EnterPressed,
        Self::Submitted,
        Self::RecordsRead,
        Self::RecordsHalfStored,
        Self::RecordsStored,
        Self::Confirmed,
        Self::Done,
    ];

    /// Its name in `$FLEET_CRASH_AT`.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Dies here, if this is the step that was named.
    pub fn pass(self) {
        if ARMED.get() == Some(&self) {
            // It can't fail, and if it did the test that named the step would say so.
            kill_process(getpid(), Signal::KILL).ok();
        }
    }
}

impl FromStr for CrashPoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|point| point.name() == text) {
            Some(point) => Ok(point),
            None => bail!("$FLEET_CRASH_AT names no step: {text:?}"),
        }
    }
}

/// Reads `$FLEET_CRASH_AT`, once.
///
/// # Errors
/// A name that is no step's.
pub fn arm_crash(environment: &Environment) -> Result<()> {
    if let Some(name) = environment.get("FLEET_CRASH_AT") {
        // Set before only where one process runs two daemons; the first one's step stays.
        ARMED.set(name.parse()?).ok();
    }
    Ok(())
}
