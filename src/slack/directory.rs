//! Who we are, which channel is whose, and what people are called.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::Bridge;
use super::from_slack::Directory;
use super::pace::{backoff, random};
use super::web::{CallError, Channel, Identity};

/// A name that could not be had is asked for again after this long.
const NAMELESS: Duration = Duration::from_secs(300);

/// Finds out who we are and which channel is whose; looks again while a channel is missing, and whenever Slack says that
/// channels have changed.
pub(super) async fn keep_known(bridge: Arc<Bridge>) {
    let mut failures = 0;
    let mut waited = false;
    loop {
        match resolve(&bridge, waited).await {
            Ok(complete) => {
                bridge.board.web(None);
                failures = 0;
                // While all is well, only Slack's word that something changed is worth another look.
                let pause = if complete { Duration::MAX } else { bridge.timing.refused };
                waited = timeout(pause, bridge.look_around.notified()).await.is_err();
            }
            Err(Unresolved { what, wait }) => {
                bridge.board.web(Some(what));
                failures += 1;
                sleep(wait.unwrap_or_else(|| backoff(failures, random()))).await;
            }
        }
    }
}

struct Unresolved {
    what: String,
    wait: Option<Duration>,
}

/// Resolves everything once; says whether every agent has its channel. `returns`: whether a channel that is away may be found
/// to be back. Only after a wait: what Slack lists may contradict what it refuses.
async fn resolve(bridge: &Bridge, returns: bool) -> Result<bool, Unresolved> {
    let unresolved = |error: CallError| Unresolved {
        what: error.to_string(),
        wait: match error {
            CallError::RateLimited { wait, .. } => Some(wait),
            CallError::Token { .. } | CallError::Refused { .. } => Some(bridge.timing.refused),
            CallError::Unreachable { .. } | CallError::Lost { .. } => None,
        },
    };
    let of_store = |error: anyhow::Error| Unresolved { what: format!("{error:#}"), wait: None };
    let Identity { user_id: bot_user, team_id: team } = bridge.web.identity().await.map_err(unresolved)?;
    bridge.read_away().await.map_err(of_store)?;
    let named = !bridge.away.is_empty()
        || bridge.status_channel.is_some()
        || bridge.agents.iter().any(|(_, written)| !is_id(written));
    let listed = if named { bridge.web.channels().await.map_err(unresolved)? } else { Vec::new() };
    let mut directory = Directory { bot_user, team, channels: Vec::new(), status: None };
    for (agent, written) in &bridge.agents {
        let cached = bridge.store.slack_channel(written).await.map_err(of_store)?;
        // A channel that is archived is not listed, and is still the agent's.
        let kept = cached.clone().filter(|id| bridge.away.has(id));
        match find(written, &listed, cached.as_deref()).or(kept) {
            Some(id) => {
                bridge.store.set_slack_channel(written, &id).await.map_err(of_store)?;
                directory.channels.push((agent.clone(), id));
            }
            None => bridge.board.channel(
                agent,
                Some(format!(
                    "there is no channel {written} that the app can see: create it, or /invite the app there"
                )),
            ),
        }
    }
    if let Some(written) = &bridge.status_channel {
        let cached = bridge.store.slack_channel(written).await.map_err(of_store)?;
        let found = status_channel(written, &listed, cached.as_deref());
        bridge.board.status_channel(found.as_ref().err().cloned());
        directory.status = found.ok();
        if let Some(id) = &directory.status {
            bridge.store.set_slack_channel(written, id).await.map_err(of_store)?;
        }
    }
    if returns {
        bridge.see_returns(&listed, &directory).await.map_err(of_store)?;
    }
    for (agent, id) in &directory.channels {
        bridge.board.channel(agent, bridge.away.why(id));
    }
    let complete = bridge.away.is_empty()
        && directory.channels.len() == bridge.agents.len()
        && directory.status.is_some() == bridge.status_channel.is_some();
    bridge.directory.send_replace(Some(Arc::new(directory)));
    Ok(complete)
}

/// Whether agents.yaml gives an id rather than a name: names are in lower case.
pub(super) fn is_id(written: &str) -> bool {
    written.len() >= 9
        && written.starts_with(['C', 'G'])
        && written.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// The id of a channel as written: by its name, else by the id under which that name was last known (it was renamed). An id
/// that Slack has replaced is known by the one that replaced it.
fn find(written: &str, listed: &[Channel], cached: Option<&str>) -> Option<String> {
    if is_id(written) {
        return Some(cached.unwrap_or(written).to_owned());
    }
    let name = written.trim_start_matches('#');
    let by_name = listed.iter().find(|channel| channel.name == name);
    by_name.or_else(|| listed.iter().find(|channel| Some(channel.id.as_str()) == cached)).map(|found| found.id.clone())
}

/// The status channel's id, or what is wrong with it. Asked for in advance: a message that is refused is lost.
fn status_channel(written: &str, listed: &[Channel], cached: Option<&str>) -> Result<String, String> {
    let invite = "/invite the app there";
    let Some(id) = find(written, listed, cached) else {
        return Err(format!("there is no channel {written} that the app can see: create it, or {invite}"));
    };
    match listed.iter().find(|channel| channel.id == id) {
        None => Err(format!("there is no channel {written} that the app can see: {invite}")),
        Some(channel) if channel.is_member == Some(false) => Err(format!("the app is not in {written}: {invite}")),
        Some(_) => Ok(id),
    }
}

/// What people are called, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Mutex<HashMap<String, (Option<String>, Instant)>>,
}

impl Names {
    /// The display names of `users`, as far as they can be had within a moment.
    pub(super) async fn of(&self, bridge: &Bridge, users: &[String]) -> BTreeMap<String, String> {
        let fresh = |user: &&String| {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(*user).is_none_or(|(name, at)| name.is_none() && at.elapsed() > NAMELESS)
        };
        let missing: Vec<&String> = users.iter().filter(fresh).collect();
        let asked = join_all(missing.iter().map(|user| async {
            // Late, or refused: the id stands for the name, and it is asked for again later.
            timeout(bridge.timing.name, bridge.web.display_name(user)).await.ok().and_then(Result::ok)
        }));
        let asked = asked.await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (user, name) in missing.into_iter().zip(asked) {
            known.insert(user.clone(), (name, Instant::now()));
        }
        let name = |user: &String| known.get(user).and_then(|(name, _)| name.clone()).map(|name| (user.clone(), name));
        users.iter().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_channel_in_which_nothing_could_be_posted_is_a_problem_before_anything_is_lost() {
        let channel = |id: &str, name: &str, is_member| Channel { id: id.into(), name: name.into(), is_member };
        let listed = [
            channel("C00000001", "in", Some(true)),
            channel("C00000002", "out", Some(false)),
            channel("C00000003", "untold", None),
        ];
        for (written, expected) in [
            ("#in", Some("C00000001")),
            ("#out", None),
            ("#untold", Some("C00000003")),
            ("#nothing", None),
            ("C00000001", Some("C00000001")),
            ("C00000009", None),
        ] {
            let found = status_channel(written, &listed, None);
            assert_eq!(found.as_deref().ok(), expected, "{written}");
            assert!(found.is_ok() || found.is_err_and(|why| why.contains("/invite")), "{written}");
        }
    }

    #[test]
    fn a_channel_is_found_by_name_or_id_and_followed_when_it_is_renamed() {
        let channel = |id: &str, name: &str| Channel { id: id.into(), name: name.into(), is_member: None };
        let listed = [channel("C00000001", "agent-pr"), channel("C00000002", "pr")];
        for (written, cached, expected) in [
            ("#pr", None, Some("C00000002")),
            ("pr", None, Some("C00000002")),
            ("#agent-pr", Some("C00000002"), Some("C00000001")),
            ("#old-name", Some("C00000002"), Some("C00000002")),
            ("#old-name", Some("C00000009"), None),
            ("#nothing", None, None),
            ("C00000007", None, Some("C00000007")),
            ("C00000007", Some("C00000008"), Some("C00000008")),
            ("G00000007", None, Some("G00000007")),
        ] {
            assert_eq!(find(written, &listed, cached).as_deref(), expected, "{written}");
        }
    }
}
