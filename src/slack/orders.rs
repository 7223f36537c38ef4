//! Carries out `/fleet`: by the same ways as the verbs of the CLI, and answered to whoever typed it alone.
//!
//! A command stays open until it is answered. What a death in between repeats is harmless by then: a prompt has its key, a
//! stop holds who is held already, and an answer is read twice by one person.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use url::Url;

use super::arrival::Command;
use super::authority::{Act, Permit};
use super::command::{COMMAND, Order, read};
use super::people::{PAUSE, Verdict, check, visible};
use super::plain::plain;
use super::web::https;
use super::{Ask, Bridge, wording_fleet as wording};
use crate::model::{Mode, NewPrompt, PromptId, Slug, Source};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said};
use crate::store::slack_in::close_envelope;

/// Slack takes answers at a command's own address for half an hour.
const ANSWERABLE: SignedDuration = SignedDuration::from_mins(25);
/// A stop or a nudge that is older was meant for another moment.
const MEANT: SignedDuration = SignedDuration::from_mins(10);
/// The most that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The commands that are being carried out, by their places in the order of arrival.
#[derive(Debug)]
pub(super) struct Orders {
    under_way: Mutex<HashSet<i64>>,
    new: mpsc::UnboundedSender<(i64, Command)>,
}

impl Orders {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<(i64, Command)>) {
        let (new, taken) = mpsc::unbounded_channel();
        (Self { under_way: Mutex::default(), new }, taken)
    }

    /// Hands a stored command on, once.
    pub(super) fn take(&self, seq: i64, command: &Command) {
        if self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(seq) {
            // Gone only while the bridge goes down; the command is open, and the next start takes it.
            self.new.send((seq, command.clone())).ok();
        }
    }

    fn done(&self, seq: i64) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&seq);
    }
}

/// Carries out what is taken, each beside the others, for ever.
pub(super) async fn carry_out(bridge: Arc<Bridge>, mut taken: mpsc::UnboundedReceiver<(i64, Command)>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some((seq, command)) = taken.recv() => {
                let bridge = Arc::clone(&bridge);
                tasks.spawn(async move {
                    let settled = one(&bridge, seq, &command).await.unwrap_or_else(|error| {
                        bridge.board.store(Some(format!("{error:#}")));
                        false
                    });
                    if !settled {
                        tokio::time::sleep(PAUSE).await;
                    }
                    bridge.orders.done(seq);
                    if !settled {
                        bridge.arrived.notify_one();
                    }
                });
            }
            Some(_) = tasks.join_next() => {}
            else => return,
        }
    }
}

/// Carries one out and answers it; false where it has to be tried again.
async fn one(bridge: &Bridge, seq: i64, command: &Command) -> anyhow::Result<bool> {
    let directory = bridge.directory().await;
    let rights = bridge.rights();
    let known: Vec<&Slug> = rights.iter().map(|(slug, _)| slug).collect();
    let here = directory.channels.iter().filter(|(_, id)| *id == command.channel_id).map(|(slug, _)| slug);
    let here: Vec<&Slug> = here.collect();
    let received = bridge.store.envelope_received(seq).await?.unwrap_or(Timestamp::MIN);
    let age = bridge.clock.now().duration_since(received);
    let answer = if command.command == COMMAND {
        match read(&command.text, &here, &known) {
            Ok(order) => match perform(bridge, command, order, age).await? {
                Some(answer) => answer,
                None => return Ok(false),
            },
            Err(what) => wording::misunderstood(&what),
        }
    } else {
        wording::misunderstood(&format!("there is no {}", command.command))
    };
    let answer = bridge.clean(&answer)?;
    let heard = age < ANSWERABLE && respond(bridge, command, &answer).await;
    let mut write = bridge.store.write_durably().await?;
    if !heard && !command.channel_id.is_empty() {
        let row = NewOutboxRow {
            dedup_key: format!("command/{seq}"),
            lane: format!("whisper/{}", command.user_id),
            channel: command.channel_id.clone(),
            action: OutboxAction::Whisper { user: command.user_id.clone(), thread: None, said: Said::text(answer) },
        };
        bridge.queue(&mut write, &row, bridge.clock.now()).await?;
    }
    close_envelope(&mut write, seq, bridge.clock.now()).await?;
    write.commit().await?;
    bridge.queued.notify_one();
    Ok(true)
}

/// Does what is meant, and answers what to say; none where it has to be tried again.
async fn perform(
    bridge: &Bridge,
    command: &Command,
    order: Order,
    age: SignedDuration,
) -> anyhow::Result<Option<String>> {
    let (act, agent) = match &order {
        Order::Help => return Ok(Some(wording::help())),
        Order::Status { agent } => return look(bridge, command, agent.as_ref()).await,
        Order::Queue { agents } => return queue(bridge, command, agents).await,
        Order::Send { agent, .. } | Order::Nudge { agent } => (Act::Steer, agent),
        Order::Stop { agent } => (Act::Stop, agent),
    };
    let permit = match check(bridge, &command.user_id, act, agent).await? {
        Verdict::Permitted(permit) => permit,
        Verdict::Refused(refusal) => {
            refusal.log("a command");
            return Ok(Some(wording::refused(&refusal)));
        }
        Verdict::Waits => return Ok(None),
    };
    let who = name(bridge, &command.user_id).await;
    match order {
        Order::Send { text, .. } => send(bridge, command, &permit, who, &text).await.map(Some),
        Order::Stop { .. } | Order::Nudge { .. } if age > MEANT => Ok(Some(wording::too_late())),
        Order::Stop { .. } => {
            let agent = permit.agent().clone();
            let stopped = ask(bridge, |answer| Ask::Stop { agent: agent.clone(), who, answer }).await;
            Ok(stopped.map(|outcome| told(outcome, |outcome| wording::stopped(&agent, &outcome))))
        }
        _ => {
            let (agent, key) = (permit.agent().clone(), key(command));
            let nudged = ask(bridge, |answer| Ask::Nudge { agent: agent.clone(), who, key, answer }).await;
            Ok(nudged.map(|id| told(id, |id| wording::sent(&agent, &id))))
        }
    }
}

async fn send(bridge: &Bridge, command: &Command, permit: &Permit, who: String, text: &str) -> anyhow::Result<String> {
    let own = bridge.directory().await.bot_user.clone();
    let prompt = NewPrompt {
        id: PromptId::random(),
        agent: permit.agent().clone(),
        source: Source::Slack,
        who,
        dedup_key: key(command),
        body: plain(text, &own, &Default::default()),
        // Its turn gets a root message in the agent's channel: a command leaves nothing to answer below.
        place: None,
        expires: None,
        mode: Mode::Queue,
    };
    let inserted = bridge.store.insert_prompt(&prompt, bridge.clock.now()).await?;
    // Nobody listens only while the daemon goes down; its next start reads the inbox itself.
    bridge.wakes.inbox.send(prompt.agent.clone()).ok();
    Ok(wording::sent(&prompt.agent, inserted.id()))
}

async fn look(bridge: &Bridge, command: &Command, agent: Option<&Slug>) -> anyhow::Result<Option<String>> {
    let Some(seen) = visible(bridge, &command.user_id).await? else { return Ok(None) };
    if seen.is_empty() || agent.is_some_and(|agent| !seen.contains(agent)) {
        return Ok(Some(wording::nothing_to_see()));
    }
    let Some(view) = ask(bridge, |answer| Ask::Look { answer }).await else { return Ok(None) };
    let directory = bridge.directory().await;
    Ok(Some(told(view, |mut view| {
        view.narrow(&seen);
        view.agents.retain(|shown| agent.is_none_or(|agent| shown.agent == *agent));
        wording::answer(&wording::fleet(&view, |slug| directory.channel_of(slug)))
    })))
}

async fn queue(bridge: &Bridge, command: &Command, agents: &[Slug]) -> anyhow::Result<Option<String>> {
    let Some(seen) = visible(bridge, &command.user_id).await? else { return Ok(None) };
    if seen.is_empty() || (!agents.is_empty() && !agents.iter().any(|agent| seen.contains(agent))) {
        return Ok(Some(wording::nothing_to_see()));
    }
    let Some(waiting) = ask(bridge, |answer| Ask::Queue { answer }).await else { return Ok(None) };
    Ok(Some(told(waiting, |mut waiting| {
        waiting.retain(|prompt| seen.contains(&prompt.agent) && (agents.is_empty() || agents.contains(&prompt.agent)));
        wording::queue(&waiting)
    })))
}

/// What the daemon answers; none where it is going down.
pub(super) async fn ask<T>(bridge: &Bridge, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    bridge.wakes.asks.send(ask(sender)).ok()?;
    answer.await.ok()
}

fn told<T>(answer: Result<T, String>, words: impl FnOnce(T) -> String) -> String {
    answer.map_or_else(|why| wording::failed(&why), words)
}

/// The same command twice is the same prompt.
fn key(command: &Command) -> String {
    format!("slack-command/{}", command.trigger_id)
}

async fn name(bridge: &Bridge, user: &str) -> String {
    let users = [user.to_owned()];
    bridge.names.of(bridge, &users).await.remove(user).unwrap_or_else(|| user.to_owned())
}

/// Answers at the command's own address, which works in places where the app is not; says whether that was taken.
async fn respond(bridge: &Bridge, command: &Command, text: &str) -> bool {
    let Some(url) = command.response_url.as_ref().map(|address| address.0.as_str()) else {
        return false;
    };
    if !is_slack_s(url, bridge.api_url.as_deref()) {
        return false;
    }
    let body = serde_json::json!({ "response_type": "ephemeral", "text": text }).to_string();
    let Ok(connector) = https(Some(url)) else { return false };
    let request = hyper::Request::post(url)
        .header("content-type", "application/json; charset=utf-8")
        .body(Full::new(Bytes::from(body)));
    let Ok(request) = request else { return false };
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    // Why is of no use to anybody, and an error could hold the address, which is a secret.
    match tokio::time::timeout(PATIENCE, client.request(request)).await {
        Ok(Ok(response)) => response.status().is_success(),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Whether an address is one of Slack's own, or of the host that stands for it.
fn is_slack_s(url: &str, api_url: Option<&str>) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    if url.scheme() == "https" && url.host_str() == Some("hooks.slack.com") {
        return true;
    }
    let own = api_url.and_then(|api| Url::parse(api).ok());
    own.is_some_and(|own| own.origin() == url.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_no_host_but_slack_s() {
        let api = Some("http://127.0.0.1:99/api");
        for (url, expected) in [
            ("https://hooks.slack.com/commands/T1/2/x", true),
            ("http://hooks.slack.com/commands/T1/2/x", false),
            ("https://hooks.slack.com.evil.example/x", false),
            ("https://evil.example/hooks.slack.com", false),
            ("https://hooks.slack.com@evil.example/x", false),
            ("http://127.0.0.1:99/x", true),
            ("http://127.0.0.1:98/x", false),
            ("junk", false),
        ] {
            assert_eq!(is_slack_s(url, api), expected, "{url}");
        }
        assert!(!is_slack_s("http://127.0.0.1:99/x", Some("https://slack.com/api")));
    }
}
