//! Buttons, pickers and dialogs: the answer that a press gives, and the leave that it takes.

use super::arrival::Interaction;
use super::authority::Act;
use super::effects::Effect;
use super::from_slack::Directory;
use super::leave::Deed;
use super::{Bridge, question};
use crate::model::Answer;

/// What somebody means to do by a press, and what follows where they may; none where it is no answer to a question.
pub(super) async fn judge(
    bridge: &Bridge,
    directory: &Directory,
    interaction: &Interaction,
) -> anyhow::Result<Option<(Deed, Effect)>> {
    let Some((seq, option)) = interaction.actions.iter().find_map(|pressed| {
        let value = pressed.value.as_deref()?;
        question::pressed(&pressed.action_id, value)
    }) else {
        return Ok(None);
    };
    let Some(question) = bridge.store.question(seq).await? else { return Ok(None) };
    let Some(channel) = interaction.channel.as_ref().map(|channel| channel.id.clone()) else { return Ok(None) };
    // The place is the authority: a button counts in its agent's own channel.
    if directory.channel_of(&question.agent) != Some(channel.as_str()) {
        return Ok(None);
    }
    let act = if question.asks_leave() { Act::Approve } else { Act::Steer };
    let deed = Deed::new(act, &question.agent);
    let thread = interaction.message.as_ref().and_then(|message| message.thread_ts.clone());
    let answer = Answer { user: interaction.user.id.clone(), option, text: None };
    Ok(Some((deed, Effect::Answer { seq, act, agent: question.agent, answer, channel, thread, otherwise: None })))
}
