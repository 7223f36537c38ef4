//! Starts the Slack bridge where there are tokens for it. Whatever is wrong with Slack is shown in the status; agents run on.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{mpsc, watch};

use super::ask;
use super::event::Event;
use super::fleet::{Roster, Running};
use super::protocol::SlackStatus;
use crate::config::{self, Environment, Hosts};
use crate::model::Slug;
use crate::slack::{self, BridgeStatus, FleetRights, SlackOptions, Timing, Wakes};

/// The folder of an agent's workspace in which it finds the files that people share with it: beside its worktrees, where it may
/// read whatever its permissions are.
const INBOX: &str = "slack-files";

/// The tokens, or why there is no bridge: nothing to say where no token was given at all.
fn options(running: &Running, environment: &Environment) -> anyhow::Result<Option<SlackOptions>> {
    let tokens = (config::secret(environment, "SLACK_BOT_TOKEN")?, config::secret(environment, "SLACK_APP_TOKEN")?);
    let (bot_token, app_token): (SecretString, SecretString) = match tokens {
        (Some(bot), Some(app)) => (bot, app),
        (None, None) => return Ok(None),
        (Some(_), None) => anyhow::bail!("SLACK_BOT_TOKEN is set but SLACK_APP_TOKEN is not: the bridge needs both"),
        (None, Some(_)) => anyhow::bail!("SLACK_APP_TOKEN is set but SLACK_BOT_TOKEN is not: the bridge needs both"),
    };
    let rights = watch::channel(rights(&running.roster())).1;
    let (agents, status_channel, catch_up) = channels(running);
    let api_url = Some(Hosts::from_environment(environment)?.slack_api);
    let roster = running.roster();
    let inboxes = roster.agents.iter().map(|post| (post.slug().clone(), post.setup().cwd.join(INBOX))).collect();
    Ok(Some(SlackOptions {
        bot_token,
        app_token,
        api_url,
        agents,
        status_channel,
        redaction: running.redaction.clone(),
        rights,
        inboxes,
        catch_up,
        timing: Timing::default(),
    }))
}

/// Bridges until the daemon stops. Where agents.yaml gives other channels, the bridge ends and begins again: it is made for
/// that, and nothing is lost or said twice.
pub async fn run(running: Arc<Running>, environment: Environment) {
    let mut roster = running.roster.subscribe();
    let mut stop = running.stop.subscribe();
    loop {
        roster.mark_unchanged();
        let options = match options(&running, &environment) {
            Ok(Some(options)) => options,
            Ok(None) => return tracing::info!("no slack tokens: the channel is the terminal (`fleet tail`)"),
            Err(error) => return running.set_problem("slack", Some(format!("the slack bridge is off: {error:#}"))),
        };
        let channels = channels(&running);
        let ended = async {
            tokio::select! {
                // An error means that the sender is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => {}
                _ = roster.wait_for(|roster| channels_of(roster) != channels) => {}
            }
        };
        bridge(&running, options, ended).await;
        if *running.stop.borrow() {
            return;
        }
        tracing::info!("agents.yaml names other channels: the slack bridge begins again");
    }
}

/// One bridge, until `ended`.
async fn bridge(running: &Arc<Running>, mut options: SlackOptions, ended: impl Future<Output = ()>) {
    let mut roster = running.roster.subscribe();
    let rights = watch::Sender::new(rights(&roster.borrow_and_update()));
    options.rights = rights.subscribe();
    let (prompts, mut stored) = mpsc::unbounded_channel();
    let (asks, mut asked) = mpsc::unbounded_channel();
    let status = watch::Sender::new(BridgeStatus::default());
    let mut seen = status.subscribe();
    let wakes = Wakes { outbox: Arc::clone(&running.slack), inbox: prompts, asks };
    let bridge = slack::run(options, running.store.clone(), Arc::clone(&running.clock), wakes, status, ended);
    tokio::pin!(bridge);
    loop {
        running.bridge.send_replace(Some(shown(&seen.borrow_and_update())));
        tokio::select! {
            () = &mut bridge => return,
            Some(agent) = stored.recv() => running.tell(Event::Inbox(agent)),
            // On its own: a look at a pane takes its time.
            Some(ask) = asked.recv() => drop(tokio::spawn(ask::answer(Arc::clone(running), ask))),
            Ok(()) = seen.changed() => {}
            // Other rights count from the next word on.
            Ok(()) = roster.changed() => drop(rights.send_replace(self::rights(&roster.borrow_and_update()))),
        }
    }
}

fn rights(roster: &Roster) -> Arc<FleetRights> {
    Arc::new(roster.fleet.rights())
}

/// The agents that have a channel and the status channel, as agents.yaml writes them, and how old words may be.
type Channels = (Vec<(Slug, String)>, Option<String>, Duration);

fn channels(running: &Running) -> Channels {
    channels_of(&running.roster())
}

fn channels_of(roster: &Roster) -> Channels {
    let agents = roster.fleet.agents.iter();
    let agents = agents.filter_map(|agent| Some((agent.slug.clone(), agent.slack_channel.clone()?))).collect();
    (agents, roster.fleet.status_channel.clone(), roster.fleet.catch_up)
}

fn shown(status: &BridgeStatus) -> SlackStatus {
    let channels = status.channels.iter().map(|(agent, problem)| format!("{agent}: {problem}"));
    let news = status.status_channel.iter().map(|problem| format!("the status channel: {problem}"));
    SlackStatus {
        connected: status.connected,
        problems: status.problem.iter().cloned().chain(news).chain(channels).collect(),
    }
}
