//! A reaction on the message that tells how a turn went: what it says of the outcome, and what the agent is told of it.
//!
//! It changes nothing but what is known and said: nobody's pull request is ever merged or closed by it.

use super::Bridge;
use super::arrival::Reaction;
use super::authority::Act;
use super::effects::Effect;
use super::from_slack::Directory;
use super::leave::Deed;
use crate::model::{Mode, NewPrompt, PromptId, Source, Verdict};
use crate::store::slack::Thread;
use crate::store::{OutcomeMessage, VerdictMark};

/// What somebody means by a reaction and what follows; none where it is no verdict.
pub(super) async fn judge(
    bridge: &Bridge,
    directory: &Directory,
    reaction: &Reaction,
) -> anyhow::Result<Option<(Option<Deed>, Effect)>> {
    let Some(good) = Verdict::of_emoji(&reaction.reaction) else { return Ok(None) };
    if reaction.user.is_empty() || reaction.user == directory.bot_user {
        return Ok(None);
    }
    let mark = VerdictMark {
        channel: reaction.item.channel.clone(),
        ts: reaction.item.ts.clone(),
        person: reaction.user.clone(),
        emoji: reaction.reaction.clone(),
    };
    if reaction.kind == "reaction_removed" {
        // It takes no right to take one's own word back.
        return Ok(Some((None, Effect::Withdraw { mark })));
    }
    let Some(outcome) = bridge.store.outcome_message(&mark.channel, &mark.ts).await? else { return Ok(None) };
    if directory.channel_of(&outcome.agent) != Some(mark.channel.as_str()) {
        return Ok(None);
    }
    let told = match good {
        true => None,
        false => {
            let names = bridge.names.of(bridge, std::slice::from_ref(&mark.person)).await;
            let who = names.get(&mark.person).unwrap_or(&mark.person);
            Some((objection(&mark, &outcome, who), thread(&outcome)))
        }
    };
    let deed = Deed::new(Act::Approve, &outcome.agent);
    Ok(Some((Some(deed), Effect::Verdict { mark, good, outcome, told })))
}

/// What the agent is told of an outcome that somebody does not accept: once for each person and message.
fn objection(mark: &VerdictMark, outcome: &OutcomeMessage, who: &str) -> NewPrompt {
    let mut body =
        format!("{who} does not accept the outcome of the turn `{}` (:{}: in Slack).", outcome.turn, mark.emoji);
    if !outcome.pull_requests.is_empty() {
        body += &format!("\nIts pull requests: {}", outcome.pull_requests.join(", "));
    }
    body += "\nLook at it again, with what was said of it here, and say what you find wrong with it and what you would change.";
    NewPrompt {
        id: PromptId::random(),
        agent: outcome.agent.clone(),
        source: Source::Slack,
        who: who.to_owned(),
        dedup_key: format!("verdict/{}/{}/{}", mark.channel, mark.ts, mark.person),
        body,
        place: Some(outcome.place.clone()),
        expires: None,
        mode: Mode::Thread,
    }
}

fn thread(outcome: &OutcomeMessage) -> Thread {
    Thread {
        lane: outcome.lane.clone(),
        agent: Some(outcome.agent.clone()),
        channel: outcome.place.channel.clone(),
        ts: Some(outcome.place.thread.clone()),
    }
}
