//! Says what is in the outbox: in order within a thread, no faster than Slack allows, and never twice.
//!
//! A row is `sending` on the disk before its call begins. Where the answer is lost, or the daemon died meanwhile, the
//! thread is read for the row's own id before anything is posted again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bridge;
use super::amend::{Remedy, remedy};
use super::find::Wanted;
use super::pace::{Bucket, Pacer, Rank, backoff, random};
use super::upload::{NewFile, unmistakable};
use super::web::CallError;
use super::{news, question};
use crate::model::blocks::Block;
use crate::store::slack::{OutboxAction, OutboxRow, OutboxState};

/// The most calls at once.
const MOST_CALLS: usize = 8;
/// How many of them progress leaves to others.
const KEPT_FREE: usize = 3;
/// The least time between two edits of one message that tells how far an agent is.
const BETWEEN_EDITS: SignedDuration = SignedDuration::from_secs(3);
/// What could not be said for this long is given up: nobody waits for it any more.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far the box's clock may be ahead of Slack's.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What is done about a row next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Make its call.
    Call,
    /// Look whether its call was made.
    Look,
    /// Nothing yet: it stands below what is to be said before it.
    Wait,
    /// Give it up.
    Drop(&'static str),
}

/// What goes out in order, one after the other: a lane, and apart from it each message of the lane that is replaced.
type Strand = (String, Option<String>);

fn strand(row: &OutboxRow) -> Strand {
    (row.lane.clone(), row.action.key().map(str::to_owned))
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

fn job(row: &OutboxRow, now: Timestamp) -> Job {
    let untouched = row.state == OutboxState::Queued;
    match &row.state {
        OutboxState::Queued if row.behind && row.posted.is_none() => Job::Wait,
        _ if nature(row).0 && row.thread.is_none() => {
            Job::Drop("its thread was never opened, because the root message was refused")
        }
        _ if untouched && now.duration_since(row.since) > LONGEST_WAIT => Job::Drop("it could not be said for a week"),
        OutboxState::Sending | OutboxState::Ambiguous if !repeatable(row) => Job::Look,
        _ => Job::Call,
    }
}

/// Who gives way to whom. What has buttons is a question.
fn rank(row: &OutboxRow) -> Rank {
    let buttons = |block: &Block| matches!(block, Block::Actions { .. });
    match &row.action {
        OutboxAction::React { .. } | OutboxAction::Unreact { .. } | OutboxAction::Whisper { .. } => Rank::Question,
        action if action.said().is_some_and(|said| said.blocks.iter().any(buttons)) => Rank::Question,
        OutboxAction::Keyed { key, .. } if question::is_key(key) => Rank::Question,
        OutboxAction::Keyed { .. } => Rank::Progress,
        _ => Rank::Answer,
    }
}

/// Whether doing it twice is the same as once.
fn repeatable(row: &OutboxRow) -> bool {
    nature(row).1
}

/// Whether it stands in a thread, and whether doing it twice is the same as once.
fn nature(row: &OutboxRow) -> (bool, bool) {
    match row.action {
        OutboxAction::Open { .. } => (false, false),
        OutboxAction::Reply { .. } | OutboxAction::Upload { .. } => (true, false),
        OutboxAction::Keyed { .. } => (true, row.posted.is_some()),
        OutboxAction::EditRoot { .. } => (true, true),
        // Nobody can look for what one person was told: told again is better than not told.
        OutboxAction::Whisper { .. } | OutboxAction::React { .. } | OutboxAction::Unreact { .. } => (false, true),
    }
}

fn bucket(row: &OutboxRow, job: Job) -> Bucket {
    match (job, &row.action) {
        (Job::Look, _) => Bucket::Read,
        (_, OutboxAction::EditRoot { .. }) => Bucket::Update,
        (_, OutboxAction::Keyed { .. }) if row.posted.is_some() => Bucket::Update,
        (_, OutboxAction::Open { .. } | OutboxAction::Reply { .. } | OutboxAction::Keyed { .. }) => {
            Bucket::Post { channel: row.channel.clone() }
        }
        (_, OutboxAction::Whisper { .. }) => Bucket::Whisper,
        (_, OutboxAction::Upload { .. }) => Bucket::Upload,
        (_, OutboxAction::React { .. }) => Bucket::React,
        (_, OutboxAction::Unreact { .. }) => Bucket::Unreact,
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
        CallError::Lost { .. } => match repeatable(row) {
            false => Settled { state: OutboxState::Ambiguous, then: Then::Soon },
            true => Settled { state: OutboxState::Queued, then: Then::Again },
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
        edited: HashMap::new(),
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
                sender.busy.remove(&strand(&row));
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
    /// Strands with a call under way.
    busy: HashSet<Strand>,
    /// Strands that wait, with the number of failures in a row.
    held: HashMap<Strand, (u32, Instant)>,
    /// When the messages that tell of progress were edited last.
    edited: HashMap<Strand, Timestamp>,
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
        let mut heads = self.bridge.store.outbox_heads().await?;
        heads.sort_by_key(|row| (rank(row), row.seq));
        for row in heads {
            // What is to be said in a channel that is away waits until it is back.
            if self.bridge.away.has(&row.channel) {
                continue;
            }
            let (strand, rank) = (strand(&row), rank(&row));
            let most = if rank == Rank::Progress { MOST_CALLS - KEPT_FREE } else { MOST_CALLS };
            if self.busy.contains(&strand) || self.calls.len() >= most {
                continue;
            }
            let now = self.bridge.clock.now();
            if let Some(wait) = self.held_back(&strand, rank, now) {
                next = next.min(wait);
                continue;
            }
            let job = job(&row, now);
            match job {
                Job::Wait => continue,
                Job::Drop(why) => {
                    self.drop_row(&row, why, now).await?;
                    next = Duration::ZERO;
                    continue;
                }
                Job::Call | Job::Look => {}
            }
            if let Err(wait) = self.pacer.admit(&bucket(&row, job), rank, now) {
                next = next.min(wait);
                continue;
            }
            if job == Job::Call && !self.bridge.store.move_outbox(&row, &OutboxState::Sending, now).await? {
                // Replaced since it was read.
                next = Duration::ZERO;
                continue;
            }
            if rank == Rank::Progress {
                self.edited.retain(|_, at| now.duration_since(*at).abs() < BETWEEN_EDITS);
                self.edited.insert(strand.clone(), now);
            }
            self.busy.insert(strand);
            self.calls.spawn(perform(Arc::clone(&self.bridge), row, job));
        }
        Ok(next)
    }

    /// How long a strand still waits after a failure, or after its last edit.
    fn held_back(&self, strand: &Strand, rank: Rank, now: Timestamp) -> Option<Duration> {
        let failed = self.held.get(strand).map(|(_, until)| until.saturating_duration_since(Instant::now()));
        let edited = self.edited.get(strand).filter(|_| rank == Rank::Progress).map(|at| now.duration_since(*at));
        // A clock that was set back holds nothing up.
        let edited = edited.filter(|passed| !passed.is_negative()).map(|passed| BETWEEN_EDITS - passed);
        let edited = edited.and_then(|wait| Duration::try_from(wait).ok());
        failed.max(edited).filter(|wait| !wait.is_zero())
    }

    async fn drop_row(&self, row: &OutboxRow, why: &str, now: Timestamp) -> anyhow::Result<()> {
        tracing::warn!("a message to slack channel {} will not be sent: {why}", row.channel);
        self.bridge.store.move_outbox(row, &OutboxState::Failed { reason: why.to_owned() }, now).await?;
        Ok(())
    }

    /// Does about a refusal what can be done; says whether the row goes on.
    async fn remedied(&self, row: &OutboxRow, code: &str, now: Timestamp) -> anyhow::Result<bool> {
        let store = &self.bridge.store;
        match (remedy(row, code), row.action.key()) {
            (Some(Remedy::Say(actions)), _) => {
                tracing::info!(
                    "slack refused a message to channel {} ({code}): it is said in another form",
                    row.channel
                );
                store.amend_outbox(row, &actions, now).await?;
                Ok(true)
            }
            (Some(Remedy::Anew), Some(key)) if store.forget_keyed(&row.lane, key).await? => {
                tracing::info!("a message in slack channel {} was deleted: it is posted anew", row.channel);
                store.move_outbox(row, &OutboxState::Queued, now).await
            }
            _ => Ok(false),
        }
    }

    async fn finish(&mut self, row: &OutboxRow, job: Job, answer: Answer) -> anyhow::Result<()> {
        let error = match &answer {
            Answer::Called(Err(error)) | Answer::Looked(Err(error)) => Some(error.clone()),
            _ => None,
        };
        let now = self.bridge.clock.now();
        if let Some(CallError::Refused { code, .. }) = &error
            && row.lane != news::LANE
            && self.bridge.refused_in(&row.channel, code).await
        {
            // Nothing was done: it waits for its channel.
            self.bridge.store.move_outbox(row, &OutboxState::Queued, now).await?;
            self.held.remove(&strand(row));
            return Ok(());
        }
        if let (Job::Call, Some(CallError::Refused { code, .. })) = (job, &error)
            && self.remedied(row, code, now).await?
        {
            self.held.remove(&strand(row));
            return Ok(());
        }
        let settled = settle(row, answer);
        self.bridge.store.move_outbox(row, &settled.state, now).await?;
        self.report(row, error.as_ref(), &settled.state);
        let failures = self.held.get(&strand(row)).map_or(0, |(failures, _)| *failures) + 1;
        match settled.then {
            Then::GoOn => {
                self.held.remove(&strand(row));
            }
            Then::Again => self.hold(row, failures, backoff(failures, random())),
            // Slack shows a file a while after it was asked to.
            Then::Soon if matches!(row.action, OutboxAction::Upload { .. }) => {
                self.hold(row, failures, self.bridge.timing.look * 10)
            }
            Then::Soon => self.hold(row, failures, self.bridge.timing.look),
            Then::Pause(wait) => self.pacer.pause(&bucket(row, job), wait, now),
            Then::Stop => self.stopped = Some(Instant::now() + self.bridge.timing.refused),
        }
        Ok(())
    }

    fn hold(&mut self, row: &OutboxRow, failures: u32, wait: Duration) {
        self.held.insert(strand(row), (failures, Instant::now() + wait));
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
            let file = file_name(&row);
            let wanted = file.as_deref().map_or(Wanted::Id(&row.id), Wanted::File);
            Answer::Looked(bridge.web.find_message(&row.channel, thread, &format!("{oldest}.000000"), wanted).await)
        }
        Job::Call | Job::Wait | Job::Drop(_) => Answer::Called(call(&bridge, &row).await),
    };
    (row, job, answer)
}

/// The name under which a row's file is found again.
fn file_name(row: &OutboxRow) -> Option<String> {
    match &row.action {
        OutboxAction::Upload { name, .. } => Some(unmistakable(name, &row.id)),
        _ => None,
    }
}

async fn call(bridge: &Bridge, row: &OutboxRow) -> Result<String, CallError> {
    let (web, channel) = (&bridge.web, row.channel.as_str());
    match &row.action {
        OutboxAction::Open { said } => web.post_message(channel, None, said, &row.id).await,
        OutboxAction::EditRoot { said } => {
            let ts = row.thread.clone().unwrap_or_default();
            web.update_message(channel, &ts, said, &row.id).await.map(|()| ts)
        }
        OutboxAction::Reply { said } | OutboxAction::Keyed { said, .. } => match &row.posted {
            Some(ts) => web.update_message(channel, ts, said, &row.id).await.map(|()| ts.clone()),
            None => web.post_message(channel, row.thread.as_deref(), said, &row.id).await,
        },
        OutboxAction::Whisper { user, thread, said } => web.whisper(channel, user, thread.as_deref(), said).await,
        OutboxAction::Upload { title, content, said, .. } => {
            let name = file_name(row).unwrap_or_default();
            let file = NewFile { name: &name, title, content, comment: &said.text };
            web.upload(channel, row.thread.as_deref(), file).await
        }
        OutboxAction::React { ts, emoji } => web.add_reaction(channel, ts, emoji).await.map(|()| ts.clone()),
        OutboxAction::Unreact { ts, emoji } => web.remove_reaction(channel, ts, emoji).await.map(|()| ts.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::blocks::{Button, Text};
    use crate::store::slack::Said;

    fn row(action: OutboxAction, state: OutboxState, thread: Option<&str>) -> OutboxRow {
        OutboxRow {
            seq: 1,
            id: "id".into(),
            lane: "lane".into(),
            channel: "C1".into(),
            thread: thread.map(str::to_owned),
            posted: None,
            behind: false,
            action,
            state,
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn open() -> OutboxAction {
        OutboxAction::Open { said: Said::text("t") }
    }

    fn reply() -> OutboxAction {
        OutboxAction::Reply { said: Said::text("t") }
    }

    fn edit() -> OutboxAction {
        OutboxAction::EditRoot { said: Said::text("t") }
    }

    fn react() -> OutboxAction {
        OutboxAction::React { ts: "1.0".into(), emoji: "eyes".into() }
    }

    fn keyed() -> OutboxAction {
        OutboxAction::Keyed { key: "k".into(), said: Said::text("t") }
    }

    fn upload() -> OutboxAction {
        OutboxAction::Upload { name: "a.md".into(), title: "A".into(), content: "c".into(), said: Said::text("t") }
    }

    fn whisper() -> OutboxAction {
        OutboxAction::Whisper { user: "U1".into(), thread: None, said: Said::text("t") }
    }

    fn unreact() -> OutboxAction {
        OutboxAction::Unreact { ts: "1.0".into(), emoji: "eyes".into() }
    }

    const ORPHAN: Job = Job::Drop("its thread was never opened, because the root message was refused");

    #[test]
    fn a_question_comes_before_an_answer_and_an_answer_before_progress() {
        let button =
            Button { action_id: "a".into(), text: Text::plain("A"), value: String::new(), style: None, confirm: None };
        let asked = Said { text: "May I?".into(), blocks: vec![Block::Actions { elements: vec![button] }] };
        for (action, expected) in [
            (OutboxAction::Keyed { key: "q".into(), said: asked }, Rank::Question),
            (OutboxAction::Keyed { key: "question/7".into(), said: Said::text("In its pane.") }, Rank::Question),
            (react(), Rank::Question),
            (unreact(), Rank::Question),
            (whisper(), Rank::Question),
            (open(), Rank::Answer),
            (reply(), Rank::Answer),
            (edit(), Rank::Answer),
            (upload(), Rank::Answer),
            (keyed(), Rank::Progress),
        ] {
            let row = row(action, OutboxState::Queued, Some("1.0"));
            assert_eq!(rank(&row), expected, "{row:?}");
        }
    }

    #[test]
    fn progress_waits_for_its_place_once_and_is_an_edit_that_may_be_repeated_ever_after() {
        let now = Timestamp::UNIX_EPOCH;
        let first = OutboxRow { behind: true, ..row(keyed(), OutboxState::Queued, None) };
        assert_eq!(job(&first, now), Job::Wait, "its root is not posted yet");
        let posted = Some("2.0".to_owned());
        let later = OutboxRow { posted, behind: true, ..row(keyed(), OutboxState::Sending, Some("1.0")) };
        assert_eq!((job(&later, now), bucket(&later, Job::Call)), (Job::Call, Bucket::Update));
        let lost = Answer::Called(Err(CallError::Lost { method: "chat.update", what: "w".into() }));
        assert_eq!(settle(&later, lost), Settled { state: OutboxState::Queued, then: Then::Again });
    }

    #[test]
    fn what_nobody_can_be_told_for_a_week_is_given_up_and_not_what_may_have_been_said() {
        let week = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(7 * 24);
        let second = SignedDuration::from_secs(1);
        let waiting = row(reply(), OutboxState::Queued, Some("1.0"));
        assert_eq!(job(&waiting, week), Job::Call);
        assert!(matches!(job(&waiting, week + second), Job::Drop(_)));
        assert_eq!(job(&row(reply(), OutboxState::Sending, Some("1.0")), week + second), Job::Look);
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
            (reply(), Queued, None, ORPHAN),
            (edit(), Sending, Some("1.0"), Job::Call),
            (edit(), Queued, None, ORPHAN),
            (upload(), Ambiguous, Some("1.0"), Job::Look),
            (keyed(), Sending, Some("1.0"), Job::Look),
            (whisper(), Sending, None, Job::Call),
            (unreact(), Ambiguous, None, Job::Call),
            (react(), Sending, None, Job::Call),
        ];
        for (action, state, thread, expected) in rows {
            let row = row(action, state, thread);
            assert_eq!(job(&row, Timestamp::UNIX_EPOCH), expected, "{row:?}");
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
