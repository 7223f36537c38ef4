//! Starts the Slack bridge where there are tokens for it. Whatever is wrong with Slack is shown in the status; agents run on.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::{mpsc, watch};

use super::event::Event;
use super::fleet::Running;
use super::protocol::SlackStatus;
use crate::config::{self, Environment, Hosts};
use crate::slack::{self, BridgeStatus, SlackOptions, Timing, Wakes};

/// The tokens, or why there is no bridge: nothing to say where no token was given at all.
fn options(running: &Running, environment: &Environment) -> anyhow::Result<Option<SlackOptions>> {
    let tokens = (config::secret(environment, "SLACK_BOT_TOKEN")?, config::secret(environment, "SLACK_APP_TOKEN")?);
    let (bot_token, app_token): (SecretString, SecretString) = match tokens {
        (Some(bot), Some(app)) => (bot, app),
        (None, None) => return Ok(None),
        (Some(_), None) => anyhow::bail!("SLACK_BOT_TOKEN is set but SLACK_APP_TOKEN is not: the bridge needs both"),
        (None, Some(_)) => anyhow::bail!("SLACK_APP_TOKEN is set but SLACK_BOT_TOKEN is not: the bridge needs both"),
    };
    let roster = running.roster();
    let channels = roster.fleet.agents.iter();
    let agents = channels.filter_map(|agent| Some((agent.slug.clone(), agent.slack_channel.clone()?))).collect();
    let api_url = Some(Hosts::from_environment(environment)?.slack_api);
    Ok(Some(SlackOptions { bot_token, app_token, api_url, agents, timing: Timing::default() }))
}

/// Bridges until the daemon stops.
pub async fn run(running: Arc<Running>, environment: Environment) {
    let options = match options(&running, &environment) {
        Ok(Some(options)) => options,
        Ok(None) => return tracing::info!("no slack tokens: the channel is the terminal (`fleet tail`)"),
        Err(error) => return running.set_problem("slack", Some(format!("the slack bridge is off: {error:#}"))),
    };
    let (prompts, mut stored) = mpsc::unbounded_channel();
    let status = watch::Sender::new(BridgeStatus::default());
    let mut seen = status.subscribe();
    let mut stop = running.stop.subscribe();
    let stopped = async move {
        // An error means that the sender is gone, which is a stop too.
        stop.wait_for(|stop| *stop).await.ok();
    };
    let wakes = Wakes { outbox: Arc::clone(&running.slack), inbox: prompts };
    let bridge = slack::run(options, running.store.clone(), Arc::clone(&running.clock), wakes, status, stopped);
    tokio::pin!(bridge);
    loop {
        running.bridge.send_replace(Some(shown(&seen.borrow_and_update())));
        tokio::select! {
            () = &mut bridge => return,
            Some(agent) = stored.recv() => running.tell(Event::Inbox(agent)),
            Ok(()) = seen.changed() => {}
        }
    }
}

fn shown(status: &BridgeStatus) -> SlackStatus {
    let channels = status.channels.iter().map(|(agent, problem)| format!("{agent}: {problem}"));
    SlackStatus { connected: status.connected, problems: status.problem.iter().cloned().chain(channels).collect() }
}
