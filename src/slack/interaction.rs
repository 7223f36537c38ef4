//! Buttons, pickers and dialogs. Pure.

use super::arrival::Interaction;
use super::effects::Effect;

/// What follows from a press.
pub(super) fn plan(interaction: &Interaction) -> Vec<Effect> {
    for pressed in &interaction.actions {
        tracing::info!(
            kind = interaction.kind,
            action = pressed.action_id,
            "somebody pressed what is nobody's in slack"
        );
    }
    Vec::new()
}
