//! Whose leave the effects of an arrival have: the one place that knows both who and what, whichever way it came in.
//!
//! Must never happen here: an effect on an agent for which nobody gave leave; a refusal that anybody but the refused reads.

use jiff::{SignedDuration, Timestamp};

use super::arrival::{Arrival, Interaction};
use super::authority::{Act, Permit, Refusal, Why};
use super::effects::Effect;
use super::from_slack::Directory;
use super::people::{Verdict, check};
use super::{Bridge, wording_fleet};
use crate::model::Slug;
use crate::store::Write;
use crate::store::slack::{NewOutboxRow, OutboxAction, Said};
use crate::store::slack_people::last_outbox_key;

/// Nobody is told twice within this time, in one channel, that they may not.
const TOLD: SignedDuration = SignedDuration::from_hours(1);

/// What a person means to do with an agent, by the right that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) act: Act,
    pub(super) agent: Slug,
}

impl Deed {
    pub(super) fn new(act: Act, agent: &Slug) -> Self {
        Self { act, agent: agent.clone() }
    }
}

/// Whose leave the effects of an arrival have.
#[derive(Debug)]
pub(super) enum Leave {
    /// Nobody's: nothing is done with an agent.
    Unneeded,
    /// A person's.
    Given(Permit),
}

impl Leave {
    /// The last line: what was not judged is an error, whatever led to it.
    pub(super) fn covers(&self, act: Act, agent: &Slug) -> anyhow::Result<()> {
        match self {
            Self::Given(permit) if permit.act() == act && permit.agent() == agent => Ok(()),
            _ => anyhow::bail!("nobody gave leave to {} {agent}: nothing was done", act.word()),
        }
    }
}

/// Whether an arrival may have its effects.
pub(super) enum Answer {
    /// It may.
    Yes(Leave),
    /// It may not; what is to be said of that, if anything.
    No(Vec<Effect>),
    /// That can't be told now: it stays open.
    Later,
}

/// Whether an arrival may have the effects of that deed.
pub(super) async fn ask(bridge: &Bridge, arrival: &Arrival, deed: Option<Deed>) -> anyhow::Result<Answer> {
    let Some(deed) = deed else { return Ok(Answer::Yes(Leave::Unneeded)) };
    let Some(person) = arrival.person() else { return Ok(Answer::No(Vec::new())) };
    Ok(match check(bridge, &person.user, deed.act, &deed.agent).await? {
        Verdict::Permitted(permit) => {
            let (user, agent) = (permit.user(), permit.agent());
            tracing::debug!(user, %agent, act = permit.act().word(), way = arrival.way(), "acts from slack");
            Answer::Yes(Leave::Given(permit))
        }
        Verdict::Refused(refusal) => {
            refusal.log(arrival.way());
            // A program does not read it.
            let channel = arrival.channel().filter(|_| !matches!(refusal.why, Why::Bot | Why::Deleted));
            let told = channel.map(|channel| Effect::Refuse { channel: channel.to_owned(), refusal });
            Answer::No(told.into_iter().collect())
        }
        Verdict::Waits => Answer::Later,
    })
}

/// The agent for whom something was pressed.
pub(super) async fn pressed_for(
    bridge: &Bridge,
    directory: &Directory,
    interaction: &Interaction,
) -> anyhow::Result<Option<Slug>> {
    let Some(channel) = &interaction.channel else { return Ok(None) };
    let thread = match &interaction.message {
        Some(message) => {
            let root = message.thread_ts.as_ref().unwrap_or(&message.ts);
            bridge.store.slack_thread(&channel.id, root).await?
        }
        None => None,
    };
    Ok(directory.owner(&channel.id, thread.as_ref()).cloned())
}

/// What tells a refusal; none where the same person was told one in that channel within the hour.
pub(super) async fn refusal_row(
    write: &mut Write,
    channel: &str,
    refusal: &Refusal,
    now: Timestamp,
) -> anyhow::Result<Option<NewOutboxRow>> {
    let prefix = format!("refused/{channel}/{}/", refusal.user);
    let last = last_outbox_key(write, &prefix).await?;
    let told = last.and_then(|key| key.strip_prefix(&prefix)?.parse::<i64>().ok());
    let told = told.and_then(|second| Timestamp::from_second(second).ok());
    if told.is_some_and(|told| now.duration_since(told).abs() < TOLD) {
        return Ok(None);
    }
    Ok(Some(NewOutboxRow {
        // As many digits for every time there will be: the greatest key is the latest.
        dedup_key: format!("{prefix}{:012}", now.as_second()),
        lane: format!("whisper/{}", refusal.user),
        channel: channel.to_owned(),
        action: OutboxAction::Whisper {
            user: refusal.user.clone(),
            thread: None,
            said: Said::text(wording_fleet::refused(refusal)),
        },
    }))
}
