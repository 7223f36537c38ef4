//! Says what is in the outbox: in order within a thread, no faster than Slack allows, and never twice.
//!
//! A row is `sending` on the disk before its call begins. Where the answer is lost, or the daemon died meanwhile, the
//! thread is read for the row's own id before anything is posted again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bridge;
use super::news;
use super::pace::{Bucket, Pacer, backoff, random};
use super::web::CallError;
use crate::store::slack::{OutboxAction, OutboxRow, OutboxState};

/// The most calls at once.
const MOST_CALLS: usize = 8;
/// How far the box's clock may be ahead of Slack's.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What is done about a row next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Make its call.
    Call,
    /// Look whether its call was made.
    Look,
    /// Give it up: the thread it belongs to was never opened.
    Orphan,
}

/// How a job went.
#[derive(Debug)]
enum Answer {
    Called(Result<String, CallError>),
    Looked(Result<Option<String>, CallError>),
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settled {
    state: OutboxState,
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The lane goes on.
    GoOn,
    /// The lane tries again, ever more slowly.
    Again,
    /// The lane goes on after a moment.
    Soon,
    /// This kind of call waits for as long as Slack asked.
    Pause(Duration),
    /// Everything waits until a person has changed the token.
    Stop,
}

fn job(row: &OutboxRow) -> Job {
    let (in_thread, repeatable) = match row.action {
        OutboxAction::Open { .. } => (false, false),
        OutboxAction::Reply { .. } => (true, false),
        OutboxAction::EditRoot { .. } => (true, true),
        OutboxAction::React { .. } => (false, true),
    };
    match &row.state {
        _ if in_thread && row.thread.is_none() => Job::Orphan,
        OutboxState::Sending | OutboxState::Ambiguous if !repeatable => Job::Look,
        _ => Job::Call,
    }
}

fn bucket(row: &OutboxRow, job: Job) -> Bucket {
    match (job, &row.action) {
        (Job::Look, _) => Bucket::Read,
        (_, OutboxAction::Open { .. } | OutboxAction::Reply { .. }) => Bucket::Post { channel: row.channel.clone() },
        (_, OutboxAction::EditRoot { .. }) => Bucket::Update,
        (_, OutboxAction::React { .. }) => Bucket::React,
    }
}

/// What follows from an answer. The states are the whole protection against a second post: only `Queued` is ever posted.
fn settle(row: &OutboxRow, answer: Answer) -> Settled {
    let (before, error) = match answer {
        Answer::Called(Ok(ts)) | Answer::Looked(Ok(Some(ts))) => {
            return Settled { state: OutboxState::Sent { ts }, then: Then::GoOn };
        }
        Answer::Looked(Ok(None)) => return Settled { state: OutboxState::Queued, then: Then::GoOn },
        Answer::Called(Err(error)) => (OutboxState::Queued, error),
        Answer::Looked(Err(error)) => (OutboxState::Ambiguous, error),
    };
    let looked = before == OutboxState::Ambiguous;
    match error {
        CallError::RateLimited { wait, .. } => Settled { state: before, then: Then::Pause(wait) },
        CallError::Unreachable { .. } => Settled { state: before, then: Then::Again },
        CallError::Lost { .. } if looked => Settled { state: before, then: Then::Again },
        CallError::Lost { .. } => match row.action {
            OutboxAction::Open { .. } | OutboxAction::Reply { .. } => {
                Settled { state: OutboxState::Ambiguous, then: Then::Soon }
            }
            OutboxAction::EditRoot { .. } | OutboxAction::React { .. } => {
                Settled { state: OutboxState::Queued, then: Then::Again }
            }
        },
        CallError::Token { .. } => Settled { state: before, then: Then::Stop },
        CallError::Refused { .. } => {
            Settled { state: OutboxState::Failed { reason: error.to_string() }, then: Then::GoOn }
        }
    }
}

/// Says what is in the outbox, for ever.
pub(super) async fn deliver(bridge: Arc<Bridge>) {
    let mut sender = Sender {
        bridge,
        pacer: Pacer::default(),
        calls: JoinSet::new(),
        busy: HashSet::new(),
        held: HashMap::new(),
        stopped: None,
    };
    loop {
        let wait = match sender.start().await {
            Ok(wait) => wait,
            Err(error) => sender.trouble(&error),
        };
        tokio::select! {
            Some(done) = sender.calls.join_next() => {
                // A task that panicked or was aborted left its row `sending`: it is looked up like after a crash.
                let Ok((row, job, answer)) = done else {
                    sender.busy.clear();
                    continue;
                };
                if let Err(error) = sender.finish(&row, job, answer).await {
                    let wait = sender.trouble(&error);
                    tokio::time::sleep(wait).await;
                }
                sender.busy.remove(&row.lane);
            }
            () = sender.bridge.queued.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Sender {
    bridge: Arc<Bridge>,
    pacer: Pacer,
    calls: JoinSet<(OutboxRow, Job, Answer)>,
    /// Lanes with a call under way.
    busy: HashSet<String>,
    /// Lanes that wait, with the number of failures in a row.
    held: HashMap<String, (u32, Instant)>,
    /// Nothing is sent before: the token was refused.
    stopped: Option<Instant>,
}

impl Sender {
    /// Starts every call that may be started; the time after which to look again.
    async fn start(&mut self) -> anyhow::Result<Duration> {
        let mut next = Duration::from_secs(3600);
        if let Some(until) = self.stopped {
            if until > Instant::now() {
                return Ok(until - Instant::now());
            }
            self.stopped = None;
        }
        for row in self.bridge.store.outbox_heads().await? {
            if self.busy.contains(&row.lane) || self.calls.len() >= MOST_CALLS {
                continue;
            }
            let held = self.held.get(&row.lane).map(|(_, until)| until.saturating_duration_since(Instant::now()));
            if let Some(wait) = held.filter(|wait| !wait.is_zero()) {
                next = next.min(wait);
                continue;
            }
            let job = job(&row);
            let now = self.bridge.clock.now();
            if job == Job::Orphan {
                let reason = "its thread was never opened, because the root message was refused".to_owned();
                self.bridge.store.move_outbox(&row, &OutboxState::Failed { reason }, now).await?;
                next = Duration::ZERO;
                continue;
            }
            if let Err(wait) = self.pacer.admit(&bucket(&row, job), now) {
                next = next.min(wait);
                continue;
            }
            if job == Job::Call && !self.bridge.store.move_outbox(&row, &OutboxState::Sending, now).await? {
                // Replaced since it was read.
                next = Duration::ZERO;
                continue;
            }
            self.busy.insert(row.lane.clone());
            self.calls.spawn(perform(Arc::clone(&self.bridge), row, job));
        }
        Ok(next)
    }

    async fn finish(&mut self, row: &OutboxRow, job: Job, answer: Answer) -> anyhow::Result<()> {
        let error = match &answer {
            Answer::Called(Err(error)) | Answer::Looked(Err(error)) => Some(error.clone()),
            _ => None,
        };
        let settled = settle(row, answer);
        let now = self.bridge.clock.now();
        self.bridge.store.move_outbox(row, &settled.state, now).await?;
        self.report(row, error.as_ref(), &settled.state);
        let failures = self.held.get(&row.lane).map_or(0, |(failures, _)| *failures) + 1;
        match settled.then {
            Then::GoOn => {
                self.held.remove(&row.lane);
            }
            Then::Again => self.hold(row, failures, backoff(failures, random())),
            Then::Soon => self.hold(row, failures, self.bridge.timing.look),
            Then::Pause(wait) => self.pacer.pause(&bucket(row, job), wait, now),
            Then::Stop => self.stopped = Some(Instant::now() + self.bridge.timing.refused),
        }
        Ok(())
    }

    fn hold(&mut self, row: &OutboxRow, failures: u32, wait: Duration) {
        self.held.insert(row.lane.clone(), (failures, Instant::now() + wait));
    }

    /// Tells people of what went wrong, and that it is over.
    fn report(&self, row: &OutboxRow, error: Option<&CallError>, state: &OutboxState) {
        let board = &self.bridge.board;
        let directory = self.bridge.directory.borrow().clone();
        let news = row.lane == news::LANE;
        let agents = directory.iter().flat_map(|directory| &directory.channels).filter(|(_, id)| *id == row.channel);
        match error {
            None | Some(CallError::RateLimited { .. }) => board.web(None),
            Some(error @ (CallError::Unreachable { .. } | CallError::Token { .. })) => {
                board.web(Some(error.to_string()))
            }
            Some(CallError::Lost { .. } | CallError::Refused { .. }) => {}
        }
        match (error, state) {
            (Some(CallError::Refused { code, .. }), OutboxState::Failed { reason }) => {
                tracing::warn!("a message to slack channel {} will not be sent: {reason}", row.channel);
                if matches!(code.as_str(), "channel_not_found" | "not_in_channel" | "is_archived" | "missing_scope") {
                    if news {
                        board.status_channel(Some(reason.clone()));
                    }
                    agents.for_each(|(agent, _)| board.channel(agent, Some(reason.clone())));
                }
            }
            (_, OutboxState::Sent { .. }) => {
                if news {
                    board.status_channel(None);
                }
                agents.for_each(|(agent, _)| board.channel(agent, None));
            }
            _ => {}
        }
    }

    fn trouble(&self, error: &anyhow::Error) -> Duration {
        self.bridge.board.store(Some(format!("{error:#}")));
        Duration::from_secs(1)
    }
}

async fn perform(bridge: Arc<Bridge>, row: OutboxRow, job: Job) -> (OutboxRow, Job, Answer) {
    let answer = match job {
        Job::Look => {
            let oldest = row.since.checked_sub(SKEW).unwrap_or(row.since).as_second().max(0);
            // A root message is looked for among the channel's roots, a reply in its thread.
            let thread = row.thread.as_deref().filter(|_| !matches!(row.action, OutboxAction::Open { .. }));
            Answer::Looked(bridge.web.find_message(&row.channel, thread, &format!("{oldest}.000000"), &row.id).await)
        }
        Job::Call | Job::Orphan => Answer::Called(call(&bridge, &row).await),
    };
    (row, job, answer)
}

async fn call(bridge: &Bridge, row: &OutboxRow) -> Result<String, CallError> {
    let (web, channel) = (&bridge.web, row.channel.as_str());
    match &row.action {
        OutboxAction::Open { text } => web.post_message(channel, None, text, &row.id).await,
        OutboxAction::Reply { text } => web.post_message(channel, row.thread.as_deref(), text, &row.id).await,
        OutboxAction::EditRoot { text } => {
            let ts = row.thread.clone().unwrap_or_default();
            web.update_message(channel, &ts, text, &row.id).await.map(|()| ts)
        }
        OutboxAction::React { ts, emoji } => web.add_reaction(channel, ts, emoji).await.map(|()| ts.clone()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn row(action: OutboxAction, state: OutboxState, thread: Option<&str>) -> OutboxRow {
        OutboxRow {
            seq: 1,
            id: "id".into(),
            lane: "lane".into(),
            channel: "C1".into(),
            thread: thread.map(str::to_owned),
            action,
            state,
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn open() -> OutboxAction {
        OutboxAction::Open { text: "t".into() }
    }

    fn reply() -> OutboxAction {
        OutboxAction::Reply { text: "t".into() }
    }

    fn edit() -> OutboxAction {
        OutboxAction::EditRoot { text: "t".into() }
    }

    fn react() -> OutboxAction {
        OutboxAction::React { ts: "1.0".into(), emoji: "eyes".into() }
    }

    #[test]
    fn what_may_have_been_posted_is_looked_for_and_only_what_can_be_repeated_is_repeated() {
        use OutboxState::{Ambiguous, Queued, Sending};
        let rows = [
            (open(), Queued, None, Job::Call),
            (open(), Sending, None, Job::Look),
            (open(), Ambiguous, None, Job::Look),
            (reply(), Queued, Some("1.0"), Job::Call),
            (reply(), Sending, Some("1.0"), Job::Look),
            (reply(), Ambiguous, Some("1.0"), Job::Look),
            (reply(), Queued, None, Job::Orphan),
            (edit(), Sending, Some("1.0"), Job::Call),
            (edit(), Queued, None, Job::Orphan),
            (react(), Sending, None, Job::Call),
        ];
        for (action, state, thread, expected) in rows {
            let row = row(action, state, thread);
            assert_eq!(job(&row), expected, "{row:?}");
        }
    }

    #[test]
    fn each_answer_has_the_one_right_consequence() {
        use OutboxState::{Ambiguous, Queued};
        let method = "chat.postMessage";
        let lost = || CallError::Lost { method, what: "w".into() };
        let away = || CallError::Unreachable { method, what: "w".into() };
        let wait = Duration::from_secs(9);
        let limited = || CallError::RateLimited { method, wait };
        let token = || CallError::Token { method, code: "token_revoked".into() };
        let rows = [
            (reply(), Answer::Called(Err(lost())), Ambiguous, Then::Soon),
            (open(), Answer::Called(Err(lost())), Ambiguous, Then::Soon),
            (edit(), Answer::Called(Err(lost())), Queued, Then::Again),
            (react(), Answer::Called(Err(lost())), Queued, Then::Again),
            (reply(), Answer::Called(Err(away())), Queued, Then::Again),
            (reply(), Answer::Called(Err(limited())), Queued, Then::Pause(wait)),
            (reply(), Answer::Called(Err(token())), Queued, Then::Stop),
            (reply(), Answer::Called(Ok("2.0".into())), OutboxState::Sent { ts: "2.0".into() }, Then::GoOn),
            (reply(), Answer::Looked(Ok(Some("2.0".into()))), OutboxState::Sent { ts: "2.0".into() }, Then::GoOn),
            (reply(), Answer::Looked(Ok(None)), Queued, Then::GoOn),
            (reply(), Answer::Looked(Err(lost())), Ambiguous, Then::Again),
            (reply(), Answer::Looked(Err(away())), Ambiguous, Then::Again),
            (reply(), Answer::Looked(Err(limited())), Ambiguous, Then::Pause(wait)),
            (reply(), Answer::Looked(Err(token())), Ambiguous, Then::Stop),
        ];
        for (action, answer, state, then) in rows {
            let told = format!("{action:?} {answer:?}");
            assert_eq!(
                settle(&row(action, OutboxState::Sending, Some("1.0")), answer),
                Settled { state, then },
                "{told}"
            );
        }
        let refused = Answer::Called(Err(CallError::Refused { method, code: "not_in_channel".into() }));
        let settled = settle(&row(reply(), OutboxState::Sending, Some("1.0")), refused);
        let OutboxState::Failed { reason } = settled.state else { panic!("{settled:?}") };
        assert!(reason.contains("not_in_channel") && reason.contains("/invite"), "{reason}");
    }
}
