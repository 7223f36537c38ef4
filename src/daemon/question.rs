//! What an agent asks of people, in its pass: put to them, answered, and told where nobody answers.

use super::fleet::Running;
use super::post::AgentPost;
use crate::delivery::Asking;
use crate::model::Notice;
use crate::runtime::{AgentSetup, Conversation};

/// Moves on what the agent asks. Its records must have been read before.
pub async fn pass(
    running: &Running,
    post: &AgentPost,
    setup: &AgentSetup,
    conversation: &Conversation,
) -> anyhow::Result<Asking> {
    let target = running.target(post, setup, conversation);
    let asking = running.delivery.question_pass(&target, post.seen().activity.as_ref()).await?;
    if let Some(question) = &asking.overdue {
        let agent = post.slug();
        let notice = Notice::Unanswered { agent: agent.clone(), question: question.dialog.text.clone() };
        // By its key it is told once, whenever we die.
        if running.store.tell_box(&format!("unanswered/{agent}/{}", question.seq), &notice, running.clock.now()).await?
        {
            tracing::warn!("{notice}");
        }
        running.store.question_overdue(question.seq).await?;
    }
    Ok(Asking { moved: asking.moved || asking.overdue.is_some(), ..asking })
}
