//! Prompts of agents that agents.yaml does not name any more: no pass delivers them, so their time is watched here.
//!
//! They wait, because the agent may be named again, and `fleet queue` shows them. When their time is over they say so where
//! they came from; none may wait unseen for ever.

use jiff::Timestamp;

use super::event::Event;
use super::fleet::Running;
use crate::model::{Evidence, Prompt, PromptState};

/// Ends the prompts of such agents whose time is over.
pub async fn expire(running: &Running) -> anyhow::Result<()> {
    let now = running.clock.now();
    for prompt in running.store.waiting_prompts(None).await? {
        if running.agent(&prompt.agent).is_some() {
            continue;
        }
        let Some((state, cause)) = over(&prompt, now) else { continue };
        if running.store.advance(&prompt, &state, cause, now).await? {
            tracing::warn!(agent = %prompt.agent, prompt = %prompt.id, "{cause}");
            running.tell(Event::Progress(prompt.agent.clone()));
        }
    }
    Ok(())
}

/// What becomes of a prompt that nobody will see to any more; none while its time lasts.
fn over(prompt: &Prompt, now: Timestamp) -> Option<(PromptState, &'static str)> {
    if prompt.expires.is_none_or(|expires| expires > now) {
        return None;
    }
    match prompt.state {
        PromptState::Queued | PromptState::Deferred { .. } => {
            Some((PromptState::Expired, "its time is over; agents.yaml does not name its agent any more"))
        }
        PromptState::Typing { .. } | PromptState::Submitted { .. } | PromptState::Confirmed { by: Evidence::Queue } => {
            let seen = "agents.yaml does not name its agent any more, so nobody looked whether it took it";
            Some((PromptState::Uncertain { seen: seen.to_owned() }, seen))
        }
        // It was taken; only its turn's end was not seen.
        PromptState::Confirmed { by } => Some((
            PromptState::Done { by },
            "agents.yaml does not name its agent any more; its turn's end was not seen",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mode, PromptId, Source, StateName};

    #[test]
    fn every_prompt_that_no_pass_sees_to_settles_when_its_time_is_over_and_none_before() {
        let by = Evidence::Hook;
        for (state, then) in [
            (PromptState::Queued, Some(StateName::Expired)),
            (PromptState::Deferred { reason: String::new() }, Some(StateName::Expired)),
            (PromptState::Typing { attempt: 1, steering: false }, Some(StateName::Uncertain)),
            (PromptState::Submitted { attempt: 1, steering: false }, Some(StateName::Uncertain)),
            (PromptState::Confirmed { by: Evidence::Queue }, Some(StateName::Uncertain)),
            (PromptState::Confirmed { by }, Some(StateName::Done)),
            (PromptState::Uncertain { seen: String::new() }, None),
        ] {
            let now = Timestamp::UNIX_EPOCH;
            let mut prompt = Prompt {
                id: PromptId::random(),
                agent: "gone".parse().unwrap(),
                source: Source::Cli,
                who: "ann".into(),
                body: "x".into(),
                place: None,
                created: now,
                expires: Some(now),
                mode: Mode::Queue,
                lead: None,
                state,
                since: now,
            };
            assert_eq!(over(&prompt, now).map(|(state, _)| state.name()), then, "{:?}", prompt.state);
            prompt.expires = Some(Timestamp::from_second(1).unwrap());
            assert_eq!(over(&prompt, now), None);
        }
    }
}
