//! What people are, asked of Slack and kept: and so the one answer to whether somebody may do something now.
//!
//! Fails closed. An answer counts for five minutes; while Slack can't be asked, one of the last day counts; whoever is not
//! known then waits, and what they did is neither acted on nor lost. Nobody is refused by an old answer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

use super::Bridge;
use super::authority::{Act, Actor, Permit, Refusal, Standing, groups, may, standing};
use super::web::{CallError, Identity};
use crate::config::Rights;
use crate::model::Slug;

/// How long an answer counts without being asked again.
const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// How old an answer may be by which somebody is refused.
const JUST_NOW: SignedDuration = SignedDuration::from_secs(30);
/// How long an answer counts while Slack can't be asked.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// The most that one question may hold up everybody's words.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a question without an answer nobody is asked for this long.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// Whether somebody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They may.
    Permitted(Permit),
    /// They may not.
    Refused(Refusal),
    /// It can't be told now.
    Waits,
}

/// The rights of every agent of the fleet.
pub type FleetRights = Vec<(Slug, Rights)>;

/// What is kept between two questions.
#[derive(Debug, Default)]
pub(super) struct People {
    own: OnceCell<Identity>,
    away_until: Mutex<Option<Instant>>,
}

/// How old an answer may be.
#[derive(Clone, Copy)]
struct Age {
    /// So that nobody is asked.
    fresh: SignedDuration,
    /// So that it counts where Slack can't be asked.
    stale: SignedDuration,
}

const USUAL: Age = Age { fresh: FRESH, stale: KEPT };
const STRICT: Age = Age { fresh: JUST_NOW, stale: JUST_NOW };

/// Somebody, and whether all that was to be known of them is.
struct Found {
    actor: Actor,
    complete: bool,
}

/// Whether `user` may do that with `agent` now.
pub(super) async fn check(bridge: &Bridge, user: &str, act: Act, agent: &Slug) -> anyhow::Result<Verdict> {
    let rights = bridge.rights();
    let Some((_, rights)) = rights.iter().find(|(slug, _)| slug == agent) else {
        // agents.yaml has just dropped it: the bridge is about to begin again without its channel.
        return Ok(Verdict::Waits);
    };
    let groups = groups(act, rights);
    let usual = look(bridge, user, &groups, USUAL).await?;
    if let Some(found) = &usual
        && let Ok(permit) = may(&found.actor, act, agent, rights)
    {
        return Ok(Verdict::Permitted(permit));
    }
    if usual.is_none() {
        return Ok(Verdict::Waits);
    }
    let Some(found) = look(bridge, user, &groups, STRICT).await? else { return Ok(Verdict::Waits) };
    Ok(match may(&found.actor, act, agent, rights) {
        Ok(permit) => Verdict::Permitted(permit),
        Err(refusal) if found.complete => Verdict::Refused(refusal),
        Err(_) => Verdict::Waits,
    })
}

/// The agents that `user` may see; none where that can't be told now.
pub(super) async fn visible(bridge: &Bridge, user: &str) -> anyhow::Result<Option<BTreeSet<Slug>>> {
    let rights = bridge.rights();
    let all: BTreeSet<&str> = rights.iter().flat_map(|(_, rights)| groups(Act::See, rights)).collect();
    let all: Vec<&str> = all.into_iter().collect();
    for age in [USUAL, STRICT] {
        let Some(found) = look(bridge, user, &all, age).await? else { return Ok(None) };
        let seen = rights.iter().filter(|(slug, rights)| may(&found.actor, Act::See, slug, rights).is_ok());
        let seen: BTreeSet<Slug> = seen.map(|(slug, _)| slug.clone()).collect();
        if !seen.is_empty() {
            return Ok(Some(seen));
        }
        if !found.complete {
            return Ok(None);
        }
    }
    Ok(Some(BTreeSet::new()))
}

async fn look(bridge: &Bridge, user: &str, groups: &[&str], age: Age) -> anyhow::Result<Option<Found>> {
    let asked = known::<Standing>(bridge, &format!("user/{user}"), age, ask_standing(bridge, user)).await?;
    let Some(standing) = asked else { return Ok(None) };
    let mut found = Found { actor: Actor { id: user.to_owned(), standing, groups: BTreeSet::new() }, complete: true };
    for group in groups {
        match known::<Vec<String>>(bridge, &format!("group/{group}"), age, ask_group(bridge, group)).await? {
            Some(users) if users.iter().any(|known| known == user) => {
                found.actor.groups.insert((*group).to_owned());
            }
            Some(_) => {}
            None => found.complete = false,
        }
    }
    Ok(Some(found))
}

async fn ask_standing(bridge: &Bridge, user: &str) -> Result<Standing, CallError> {
    let own = bridge.people.own.get_or_try_init(|| bridge.web.identity()).await?;
    match bridge.web.account(user).await {
        Ok(account) => Ok(standing(&account, &own.team_id, &own.user_id)),
        // Whom our workspace does not know is none of it.
        Err(CallError::Refused { code, .. }) if matches!(code.as_str(), "user_not_found" | "user_not_visible") => {
            Ok(Standing::Outsider)
        }
        Err(error) => Err(error),
    }
}

async fn ask_group(bridge: &Bridge, group: &str) -> Result<Vec<String>, CallError> {
    match bridge.web.group_users(group).await {
        Err(CallError::Refused { code, .. }) if matches!(code.as_str(), "no_such_subteam" | "subteam_not_found") => {
            tracing::warn!(group, "agents.yaml lists a user group that slack does not know: nobody is in it");
            Ok(Vec::new())
        }
        users => users,
    }
}

/// What is known under `key`: from the store where that is young enough, else asked, else from the store while that counts.
async fn known<T: DeserializeOwned + Serialize>(
    bridge: &Bridge,
    key: &str,
    age: Age,
    ask: impl Future<Output = Result<T, CallError>>,
) -> anyhow::Result<Option<T>> {
    let now = bridge.clock.now();
    let stored = bridge.store.slack_known(key).await?;
    // A clock that was set back makes an answer no younger.
    let within = |limit| stored.as_ref().is_some_and(|(_, at)| now.duration_since(*at).abs() < limit);
    // What an earlier version wrote and we can't read is asked anew.
    let value = || stored.as_ref().and_then(|(value, _)| serde_json::from_str::<T>(value).ok());
    if within(age.fresh)
        && let Some(value) = value()
    {
        return Ok(Some(value));
    }
    let stale = within(age.stale).then(value).flatten();
    if bridge.people.is_away() {
        return Ok(stale);
    }
    let asked = timeout(PATIENCE, ask).await;
    let (wait, why) = match asked {
        Ok(Ok(value)) => {
            bridge.board.rights(None);
            bridge.store.set_slack_known(key, &serde_json::to_string(&value)?, now).await?;
            return Ok(Some(value));
        }
        Ok(Err(error @ CallError::RateLimited { wait, .. })) => (wait, error.to_string()),
        Ok(Err(error)) => (PAUSE, error.to_string()),
        Err(_) => (PAUSE, format!("slack did not answer in {} s", PATIENCE.as_secs())),
    };
    bridge.people.away(wait);
    bridge.board.rights(Some(format!("can't ask slack who somebody is: {why}; the words of those not known wait")));
    Ok(stale)
}

impl Refusal {
    /// Says so in the log: by ids alone.
    pub(super) fn log(&self, way: &str) {
        let Self { act, agent, user, why } = self;
        tracing::warn!(user, %agent, act = act.word(), way, "refused from slack: {}", why.word());
    }
}

impl People {
    fn is_away(&self) -> bool {
        let until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until > Instant::now())
    }

    fn away(&self, wait: Duration) {
        let until = Instant::now() + wait.min(Duration::from_secs(60));
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

impl Bridge {
    /// Everybody's rights as agents.yaml has them now.
    pub(super) fn rights(&self) -> Arc<FleetRights> {
        Arc::clone(&self.rights.borrow())
    }
}
