//! Does for the Slack bridge what only the daemon can do.

use std::sync::Arc;

use super::fleet::Running;
use crate::delivery::Interrupt;
use crate::model::{Evidence, Place, PromptState, Slug, StateName};
use crate::slack::{Ask, Interrupted};

/// Does it and answers.
pub async fn answer(running: Arc<Running>, ask: Ask) {
    match ask {
        Ask::Interrupt { agent, place, answer } => {
            let done = interrupt(&running, &agent, &place).await;
            // Whoever asked is gone only while the bridge goes down; its next start asks again.
            answer.send(done.unwrap_or_else(|error| Interrupted::Failed(format!("{error:#}")))).ok();
        }
    }
}

async fn interrupt(running: &Running, agent: &Slug, place: &Place) -> anyhow::Result<Interrupted> {
    let Some(post) = running.agent(agent) else {
        return Ok(Interrupted::Failed(format!("agents.yaml does not name {agent} any more")));
    };
    if !runs_there(running, agent, place).await? {
        return Ok(Interrupted::NotThere);
    }
    let (setup, conversation) = (post.setup_of_process(), running.conversation(agent).await?);
    Ok(match running.delivery.interrupt(&running.target(&post, &setup, &conversation)).await? {
        Interrupt::Pressed => Interrupted::Pressed,
        Interrupt::Idle => Interrupted::NotThere,
        Interrupt::Unknown => {
            Interrupted::Failed(format!("its screen does not tell whether a turn runs (`fleet attach {agent}`)"))
        }
        Interrupt::NotReached(hold) => Interrupted::Failed(hold.to_string()),
    })
}

/// Whether a prompt of that thread was taken by the agent and its turn has not ended. What the agent only holds in its own
/// queue is not yet a turn: Escape would break off another's.
async fn runs_there(running: &Running, agent: &Slug, place: &Place) -> anyhow::Result<bool> {
    let queued = PromptState::Confirmed { by: Evidence::Queue };
    for prompt in running.store.open_prompts(agent).await? {
        if prompt.state.name() != StateName::Confirmed || prompt.state == queued {
            continue;
        }
        let told = match &prompt.place {
            Some(told) => Some(told.clone()),
            None => running.store.place_of_turn(&prompt.id).await?,
        };
        if told.as_ref() == Some(place) {
            return Ok(true);
        }
    }
    Ok(false)
}
