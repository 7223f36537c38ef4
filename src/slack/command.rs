//! Slash commands. Pure.

use super::arrival::Command;
use super::inbox::Effect;

/// What follows from a command.
pub(super) fn plan(command: &Command) -> Vec<Effect> {
    tracing::info!(command = command.command, "a slash command that is not known was typed in slack");
    Vec::new()
}
