//! Reads what was said while nobody listened, and finds out whether somebody listens: after every start and every new socket
//! all of it, and between those a look at one channel after the other. What the sockets brought and what the history tells is
//! one; a message that only a look found never came, so a socket is deaf.
//!
//! How far was read is stored together with what was read, never before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use super::Bridge;
use super::arrival::{Callback, Edited, Post};
use super::from_slack::Directory;
use super::pace::{Bucket, Pacer, Rank, backoff, random};
use super::web::CallError;
use crate::store::slack_in::{NewEnvelope, Told, Watermark};

/// Nothing older is ever read: Slack's event names are kept for as long, so nothing of it can come twice.
const HORIZON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A thread in which nobody asked for longer is not read for replies.
const LIVE: SignedDuration = SignedDuration::from_hours(3 * 24);

/// The most threads of one channel that are read at once.
const MOST_THREADS: usize = 20;

/// A channel in which somebody was active so lately is looked at before the others.
const LATELY: Duration = Duration::from_secs(600);

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// All that was said since the last time.
    Whole,
    /// What should have come by now, with the liveliest of the older threads.
    Look,
}

/// Why a channel could not be read.
enum Failure {
    Call(CallError),
    Store(anyhow::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Store(error)
    }
}

/// Reads, for ever.
pub(super) async fn keep_up(bridge: Arc<Bridge>) {
    let mut reader = Reader { bridge, history: Pacer::default(), replies: Pacer::default() };
    let mut due: VecDeque<String> = reader.bridge.directory().await.all_channels().into();
    let mut looked: HashMap<String, Instant> = HashMap::new();
    let mut failures = 0;
    loop {
        let directory = reader.bridge.directory().await;
        let channels = reader.bridge.away.present(&directory.all_channels());
        let next = match due.front() {
            Some(channel) => Next::Read(channel.clone(), Depth::Whole),
            None => {
                let heard = reader.bridge.heard();
                next_look(&channels, &looked, &heard, Instant::now(), reader.bridge.timing.look_around)
            }
        };
        let (channel, depth) = match next {
            Next::Read(channel, depth) => (channel, depth),
            Next::Wait(wait) => {
                if timeout(wait, reader.bridge.reconnected.notified()).await.is_ok() {
                    due = reader.bridge.away.present(&reader.bridge.directory().await.all_channels()).into();
                }
                continue;
            }
        };
        let read = reader.read(&directory, &channel, depth).await;
        looked.insert(channel.clone(), Instant::now());
        let wait = match read {
            Ok(()) => None,
            Err(failure) => {
                failures += 1;
                reader.trouble(&channel, failure, failures).await
            }
        };
        match wait {
            None => {
                if failures > 0 {
                    reader.bridge.board.web(None);
                    reader.bridge.board.store(None);
                }
                failures = 0;
                due.retain(|other| *other != channel);
            }
            Some(wait) => sleep(wait).await,
        }
    }
}

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Read(String, Depth),
    Wait(Duration),
}

/// The channel that is looked at next: one whose turn it is, lately active ones first, else the one that waited longest.
fn next_look(
    channels: &[String],
    looked: &HashMap<String, Instant>,
    heard: &HashMap<String, Instant>,
    now: Instant,
    every: Duration,
) -> Next {
    let waited = |channel: &String| looked.get(channel).map_or(every, |at| now.duration_since(*at));
    let active = |channel: &String| heard.get(channel).is_some_and(|at| now.duration_since(*at) < LATELY);
    let first = channels
        .iter()
        .filter(|channel| waited(channel) >= every)
        .max_by_key(|channel| (active(channel), waited(channel)));
    match first {
        Some(channel) => Next::Read(channel.clone(), Depth::Look),
        None => Next::Wait(channels.iter().map(|channel| every - waited(channel)).min().unwrap_or(every)),
    }
}

struct Reader {
    bridge: Arc<Bridge>,
    /// Each of the two methods has a limit of its own.
    history: Pacer,
    replies: Pacer,
}

impl Reader {
    async fn read(&mut self, directory: &Directory, channel: &str, depth: Depth) -> Result<(), Failure> {
        let (store, now) = (self.bridge.store.clone(), self.bridge.clock.now());
        let Some(known) = store.watermark(channel, None).await? else {
            // The first time ever: what was said before is nobody's to answer.
            self.admit(None).await;
            let ts = self.bridge.web.last_said(channel).await?.unwrap_or_else(|| "0".to_owned());
            store.store_told(&[], &[Watermark { channel: channel.to_owned(), thread: None, ts }], now).await?;
            return Ok(());
        };
        let until = match depth {
            Depth::Whole => None,
            Depth::Look => Some(now.saturating_sub(self.bridge.timing.grace).unwrap_or(now)),
        };
        let horizon = slack_ts(now.checked_sub(HORIZON).unwrap_or(Timestamp::UNIX_EPOCH));
        let mut posts = self.pages(channel, None, later(&known, &horizon)).await?;
        let mut marks = vec![mark(channel, None, &posts, until)];
        for thread in self.threads(channel, &posts, depth, now).await? {
            let known = store.watermark(channel, Some(&thread)).await?;
            let from = later(known.as_deref().unwrap_or(&thread), &horizon).to_owned();
            let replies = self.pages(channel, Some(&thread), &from).await?;
            marks.push(mark(channel, Some(&thread), &replies, until));
            posts.extend(replies);
        }
        let posts = to_store(posts, &directory.bot_user, until);
        let told = posts.iter().map(|post| told(&directory.team, post)).collect::<anyhow::Result<Vec<_>>>()?;
        let marks: Vec<Watermark> = marks.into_iter().flatten().collect();
        if told.is_empty() && marks.is_empty() {
            return Ok(());
        }
        let news = store.store_told(&told, &marks, now).await?;
        if told.iter().zip(&news).any(|(told, news)| *news || told.edit.is_some()) {
            self.bridge.arrived.notify_one();
        }
        let missed = posts.iter().zip(&news).filter(|(_, news)| **news).filter_map(|(post, _)| said_at(&post.ts)).max();
        let ago = missed.and_then(|said| Duration::try_from(now.duration_since(said)).ok());
        if let Some(ago) = ago.filter(|ago| *ago >= self.bridge.timing.grace) {
            tracing::info!(channel, "read in slack what no socket brought");
            // Each socket judges for itself: one that was opened later could not bring it.
            self.bridge.missed.send_replace(Instant::now().checked_sub(ago));
        }
        Ok(())
    }

    /// The threads whose replies are read.
    async fn threads(
        &self,
        channel: &str,
        posts: &[Post],
        depth: Depth,
        now: Timestamp,
    ) -> anyhow::Result<Vec<String>> {
        let (since, most) = match depth {
            Depth::Whole => (LIVE, MOST_THREADS),
            Depth::Look => (SignedDuration::try_from(LATELY)?, 1),
        };
        let since = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut threads = self.bridge.store.live_threads(channel, since, u32::try_from(most)?).await?;
        // Begun meanwhile, and answered meanwhile.
        let begun = posts.iter().filter(|post| post.reply_count.unwrap_or_default() > 0);
        for root in begun.map(|post| post.thread_ts.as_ref().unwrap_or(&post.ts)).take(MOST_THREADS) {
            if !threads.contains(root) {
                threads.push(root.clone());
            }
        }
        Ok(threads)
    }

    /// Every page of what was said after `oldest`.
    async fn pages(&mut self, channel: &str, thread: Option<&str>, oldest: &str) -> Result<Vec<Post>, Failure> {
        let (mut posts, mut from) = (Vec::new(), None::<String>);
        loop {
            self.admit(thread).await;
            let page = match self.bridge.web.said(channel, thread, oldest, from.as_deref()).await {
                // Its root is gone, and with it the thread.
                Err(CallError::Refused { code, .. }) if thread.is_some() && code == "thread_not_found" => {
                    return Ok(Vec::new());
                }
                page => page?,
            };
            posts.extend(page.posts);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(posts),
            }
        }
    }

    /// Waits until one more call of a method may be made.
    async fn admit(&mut self, thread: Option<&str>) {
        loop {
            let pacer = if thread.is_some() { &mut self.replies } else { &mut self.history };
            match pacer.admit(&Bucket::Read, Rank::Answer, self.bridge.clock.now()) {
                Ok(()) => return,
                Err(wait) => sleep(wait).await,
            }
        }
    }

    /// Tells of a failure; how long to wait before the channel is tried again, or nothing where it is not.
    async fn trouble(&self, channel: &str, failure: Failure, failures: u32) -> Option<Duration> {
        let board = &self.bridge.board;
        let error = match failure {
            Failure::Store(error) => {
                board.store(Some(format!("{error:#}")));
                return Some(Duration::from_secs(1));
            }
            Failure::Call(error) => error,
        };
        match &error {
            CallError::RateLimited { wait, .. } => Some(*wait),
            CallError::Unreachable { .. } | CallError::Lost { .. } => Some(backoff(failures, random())),
            CallError::Token { .. } => {
                board.web(Some(error.to_string()));
                Some(self.bridge.timing.refused)
            }
            CallError::Refused { code, .. } => {
                tracing::warn!(channel, "what is said in the channel can't be read back: {error}");
                self.bridge.refused_in(channel, code).await;
                None
            }
        }
    }
}

/// The later of two messages' names.
fn later<'a>(one: &'a str, other: &'a str) -> &'a str {
    if order(one) >= order(other) { one } else { other }
}

/// The order in which messages were said.
fn order(ts: &str) -> (u64, u64) {
    let (seconds, rest) = ts.split_once('.').unwrap_or((ts, "0"));
    (seconds.parse().unwrap_or_default(), rest.parse().unwrap_or_default())
}

/// When a message was said, by Slack's clock.
pub(super) fn said_at(ts: &str) -> Option<Timestamp> {
    let (seconds, micros) = order(ts);
    let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::try_from(micros).ok()?)?;
    Timestamp::from_microsecond(micros).ok()
}

fn slack_ts(at: Timestamp) -> String {
    format!("{}.{:06}", at.as_second().max(0), at.subsec_microsecond().max(0))
}

/// Whether it was said by `until`.
fn said_by(post: &Post, until: Option<Timestamp>) -> bool {
    until.is_none_or(|until| said_at(&post.ts).is_some_and(|at| at <= until))
}

/// How far these posts reach.
fn mark(channel: &str, thread: Option<&str>, posts: &[Post], until: Option<Timestamp>) -> Option<Watermark> {
    let last = posts.iter().filter(|post| said_by(post, until)).max_by_key(|post| order(&post.ts))?;
    Some(Watermark { channel: channel.to_owned(), thread: thread.map(str::to_owned), ts: last.ts.clone() })
}

/// What people said, oldest first; our own words and other bots' are for nobody.
fn to_store(posts: Vec<Post>, bot_user: &str, until: Option<Timestamp>) -> Vec<Post> {
    let of_people = |post: &Post| {
        post.is_new()
            && post.bot_id.is_none()
            && post.app_id.is_none()
            && post.user.as_ref().is_some_and(|user| user != bot_user)
            && said_by(post, until)
    };
    let mut posts: Vec<Post> = posts.into_iter().filter(of_people).collect();
    posts.sort_by_key(|post| order(&post.ts));
    posts.dedup_by(|one, other| one.ts == other.ts);
    posts
}

/// A post as it is stored.
fn told(team: &str, post: &Post) -> anyhow::Result<Told> {
    let envelope = |post: &Post| -> anyhow::Result<NewEnvelope> {
        let about = post.about();
        let key = format!("history/{}", about.as_deref().unwrap_or(&post.ts));
        Ok(NewEnvelope { key, about, payload: Callback::read_back(team, post)? })
    };
    let edit = post.edited.as_ref().map(|Edited { ts }| Post {
        kind: "message".to_owned(),
        subtype: Some("message_changed".to_owned()),
        channel: post.channel.clone(),
        ts: ts.clone(),
        message: Some(Box::new(post.clone())),
        ..Post::default()
    });
    Ok(Told { post: envelope(post)?, edit: edit.as_ref().map(envelope).transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(ts: &str, user: &str) -> Post {
        Post { kind: "message".into(), channel: "C1".into(), ts: ts.into(), user: Some(user.into()), ..Post::default() }
    }

    #[test]
    fn what_people_said_is_stored_oldest_first_and_bots_words_are_not() {
        let mut of_bot = post("12.0", "U2");
        of_bot.bot_id = Some("B1".into());
        let posts =
            vec![post("100.000002", "U1"), post("99.9", "U1"), post("100.000001", "U2"), post("9.0", "UBOT"), of_bot];
        let order: Vec<String> = to_store(posts.clone(), "UBOT", None).into_iter().map(|post| post.ts).collect();
        assert_eq!(order, ["99.9", "100.000001", "100.000002"]);
        let until = Timestamp::from_second(100).ok();
        assert_eq!(to_store(posts.clone(), "UBOT", until).len(), 1, "what was just said may still come");
        assert_eq!(mark("C1", None, &posts, None).unwrap().ts, "100.000002");
        assert_eq!(mark("C1", None, &posts, until).unwrap().ts, "99.9", "never past what was not stored");
        assert_eq!(mark("C1", None, &[], None), None);
    }

    #[test]
    fn each_channel_gets_its_look_in_turn_and_lively_ones_come_first() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let channels: Vec<String> = ["A", "B", "C"].map(String::from).into();
        let every = Duration::from_secs(45);
        let looked = HashMap::from([("A".to_owned(), at(0)), ("B".to_owned(), at(1)), ("C".to_owned(), at(2))]);
        let look = |heard: &[&str], now| {
            let heard = heard.iter().map(|channel| ((*channel).to_owned(), at(0))).collect();
            next_look(&channels, &looked, &heard, at(now), every)
        };
        let read = |channel: &str| Next::Read(channel.to_owned(), Depth::Look);
        assert_eq!(look(&[], 40), Next::Wait(Duration::from_secs(5)));
        assert_eq!(look(&[], 50), read("A"), "waited longest");
        assert_eq!(look(&["C"], 50), read("C"));
        assert_eq!(look(&["C"], 46), read("A"), "its time has not come");
        assert_eq!(next_look(&[], &looked, &HashMap::new(), at(0), every), Next::Wait(every));
    }

    #[test]
    fn a_message_s_name_tells_when_it_was_said() {
        assert_eq!(said_at("1700000000.000100").map(|at| at.as_microsecond()), Some(1_700_000_000_000_100));
        assert_eq!(slack_ts(Timestamp::from_microsecond(1_700_000_000_000_100).unwrap()), "1700000000.000100");
        assert_eq!(later("999.9", "1000.1"), "1000.1");
    }
}
