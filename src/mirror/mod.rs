//! From an agent's own records to the feed and to the evidence that a prompt arrived.
//!
//! One pass reads whatever is new in an agent's transcript and hook spool and stores facts, evidence and offsets in one
//! transaction: killed at any moment, nothing is lost and nothing is told twice. This room must never type, and must never
//! take a screen for a record: what an agent without any record answered is told by `delivery`, for which its screen is the
//! only evidence anyway.

mod compaction;
mod find;
mod fold;
mod gauge;
mod memory;
mod resume;
mod spoken;
mod tally;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;

use crate::config::CrashPoint;
use crate::files::lines::{self, Place};
use crate::model::{Clock, ContextUse, DialogKind, PromptId, Slug, text};
use crate::runtime::{Activity, RecordKind, RecordSource, Runtime};
use crate::store::{Offset, RecordBatch, Store};

use find::Finder;
use fold::{Limits, OpenTurn, Seen};
use memory::{Mark, Memory};
use resume::resume;

/// Reads agents' records into the store. Cheap to clone.
#[derive(Clone)]
pub struct Mirror {
    store: Store,
    clock: Arc<dyn Clock>,
    finder: Arc<Finder>,
}

/// What one pass over one agent found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the feed grew.
    pub facts: bool,
    /// Whether evidence for a prompt came in.
    pub evidence: bool,
    /// Whether something waits to be read again soon: a turn's last words, or a backlog.
    pub again: bool,
    /// Whether records wait that this pass could not take in at once: what they hold is not known yet.
    pub backlog: bool,
    /// What the agent does, as far as its records tell.
    pub activity: Option<Activity>,
    /// How full its context is, as far as its records tell.
    pub context: Option<ContextUse>,
    /// The record files that exist, for whoever watches them.
    pub files: Vec<PathBuf>,
}

/// The new lines of one file, as records.
struct Stream {
    path: PathBuf,
    /// Where it was read from, and by what that place was known.
    start: u64,
    known: Mark,
    /// Whether the file was rewritten since: its place is another one then.
    rewritten: bool,
    inode: u64,
    more: bool,
    /// The offset after the line of each record.
    ends: Vec<u64>,
    /// The offset after the last line, where no record waits.
    end: u64,
    /// By what the place after each line is known.
    marks: Vec<(u64, Mark)>,
    seen: Vec<Seen>,
}

impl Stream {
    /// How far it is read when that many of its records are used up.
    fn place(&self, used: usize) -> u64 {
        match used {
            used if used == self.seen.len() => self.end,
            0 => self.start,
            used => self.ends[used - 1],
        }
    }

    /// By what that place will be known again.
    fn mark(&self, bytes: u64) -> Mark {
        let before = self.marks.partition_point(|(end, _)| *end <= bytes);
        before.checked_sub(1).map_or(self.known, |last| {
            let (end, mark) = self.marks[last];
            // Behind an overlong line nothing is known of the place but its number.
            if end == bytes { mark } else { Mark { tail: None, ..mark } }
        })
    }
}

impl Mirror {
    /// A mirror into `store`.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, finder: Arc::default() }
    }

    /// Reads what is new in the records of `agent`.
    pub async fn pass(
        &self,
        agent: &Slug,
        runtime: &Arc<dyn Runtime>,
        sources: Vec<RecordSource>,
    ) -> anyhow::Result<Progress> {
        let now = self.clock.now();
        let offsets = self.store.offsets(agent).await?;
        let stored = self.store.open_turn(agent).await?;
        let before: Memory = match stored.as_deref().map(serde_json::from_str) {
            Some(Ok(memory)) => memory,
            Some(Err(error)) => {
                // Another release's word, or a damaged one: the turn's end loses its thread, the agent goes on.
                tracing::error!(%agent, %error, "can't read the open turn; it is begun anew");
                Memory::default()
            }
            None => Memory::default(),
        };
        let streams = self.read(Arc::clone(runtime), sources, offsets, before.clone(), now).await?;
        let (conversation, launch) =
            self.store.conversation(agent).await?.map_or_else(Default::default, |row| (row.id, row.launches));
        let typed = self.typed_texts(agent, &streams).await?;

        let mut turn = before.turn.clone();
        let seen: Vec<Vec<Seen>> = streams.iter().map(|stream| stream.seen.clone()).collect();
        let unfinished: Vec<bool> = streams.iter().map(|stream| stream.more).collect();
        let limits = Limits { unfinished: &unfinished, conversation: &conversation };
        let (yields, used) = fold::fold_all(&mut turn, &seen, limits, launch, &typed, now);
        CrashPoint::RecordsRead.pass();
        let mut batch = RecordBatch::default();
        for yielded in yields {
            batch.facts.extend(yielded.facts);
            batch.evidence.extend(yielded.evidence);
            batch.conversation = yielded.conversation.or(batch.conversation);
        }
        if batch.conversation.as_ref().is_some_and(|(id, _)| *id != conversation) {
            turn.gauge.emptied(0);
            turn.todos.forget();
        }
        compaction::tell(&self.store, agent, &streams, &used, &mut batch).await?;
        let mut again = false;
        let mut marks = BTreeMap::new();
        for (stream, used) in streams.iter().zip(&used) {
            again |= stream.more || *used < stream.seen.len();
            let (bytes, path) = (stream.place(*used), stream.path.to_string_lossy().into_owned());
            marks.insert(path.clone(), stream.mark(bytes));
            batch.offsets.push(Offset { path, inode: stream.inode.cast_signed(), bytes: bytes.cast_signed() });
        }
        if !again {
            batch.facts.extend(turn.agent_restarted(launch, now));
        }
        let progress = Progress {
            facts: !batch.facts.is_empty(),
            evidence: !batch.evidence.is_empty(),
            again,
            backlog: streams.iter().any(|stream| stream.more),
            activity: Some(activity(&turn)),
            context: turn.gauge.context(),
            files: streams.iter().map(|stream| stream.path.clone()).collect(),
        };
        let moved = streams
            .iter()
            .zip(&batch.offsets)
            .any(|(stream, offset)| stream.rewritten || stream.start.cast_signed() != offset.bytes);
        let after = Memory { turn, marks };
        if moved || progress.facts || after.turn != before.turn {
            batch.open_turn = serde_json::to_string(&after).context("can't write the open turn as JSON")?;
            self.store.append_records(agent, &batch, now).await?;
            CrashPoint::RecordsStored.pass();
        }
        Ok(progress)
    }

    async fn read(
        &self,
        runtime: Arc<dyn Runtime>,
        sources: Vec<RecordSource>,
        offsets: Vec<Offset>,
        memory: Memory,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Stream>> {
        let finder = Arc::clone(&self.finder);
        let read = move || {
            let mut streams = Vec::new();
            for source in &sources {
                let Some((path, kind)) = finder.locate(source) else { continue };
                let name = path.to_string_lossy();
                let known = offsets.iter().find(|offset| offset.path == name);
                let mark = memory.marks.get(&*name).copied().unwrap_or_default();
                streams.extend(read_stream(&*runtime, path, kind, known, mark, now)?);
            }
            Ok(streams)
        };
        tokio::task::spawn_blocking(read).await.context("the reader of the records ended early")?
    }

    /// The texts that were typed for the prompts whose headers stand in the new records of this agent.
    async fn typed_texts(&self, agent: &Slug, streams: &[Stream]) -> anyhow::Result<HashMap<PromptId, String>> {
        let mut typed = HashMap::new();
        for seen in streams.iter().flat_map(|stream| &stream.seen) {
            let Some(id) = seen.record.given().and_then(text::header_id) else { continue };
            let ours = self.store.prompt(&id).await?.is_some_and(|prompt| prompt.agent == *agent);
            if ours && let Some(text) = self.store.typed_text(&id).await? {
                typed.insert(id, text);
            }
        }
        Ok(typed)
    }
}

fn activity(turn: &OpenTurn) -> Activity {
    match (&turn.asking, turn.running) {
        (Some(question), true) => Activity::Dialog { kind: DialogKind::Question, what: question.clone() },
        (None, true) => Activity::Busy,
        (_, false) => Activity::Idle,
    }
}

fn read_stream(
    runtime: &dyn Runtime,
    path: PathBuf,
    kind: RecordKind,
    known: Option<&Offset>,
    mark: Mark,
    now: Timestamp,
) -> anyhow::Result<Option<Stream>> {
    let unreadable = || format!("can't read {}", path.display());
    let mut place = Place {
        bytes: known.map_or(0, |offset| offset.bytes.cast_unsigned()),
        inode: known.map(|offset| offset.inode.cast_unsigned()),
        tail: mark.tail,
    };
    let Some(mut reading) = lines::read(&path, place).with_context(unreadable)? else { return Ok(None) };
    let rewritten = reading.rewritten;
    if rewritten {
        let bytes = resume(&path, mark, |line| runtime.record_time(line)).with_context(unreadable)?;
        tracing::warn!(path = %path.display(), was = place.bytes, now = bytes, "a record was rewritten; it is read on behind what was told of it");
        place = Place { bytes, ..Place::default() };
        let Some(again) = lines::read(&path, place).with_context(unreadable)? else { return Ok(None) };
        reading = again;
    }
    let (mut seen, mut ends, mut marks) = (Vec::new(), Vec::new(), Vec::with_capacity(reading.lines.len()));
    let (mut last, mut latest) = (None, mark.latest);
    for line in &reading.lines {
        let dated = runtime.record_time(&line.text);
        latest = latest.max(dated);
        marks.push((line.end, Mark { tail: Some(line.tail), latest }));
        // A line without a time of its own happened no earlier than the one before it.
        let at = dated.or(last).unwrap_or(now);
        last = Some(at);
        for record in runtime.read_record(kind, &line.text) {
            seen.push(Seen { at, kind, record });
            ends.push(line.end);
        }
    }
    let known = if rewritten { Mark { tail: None, ..mark } } else { mark };
    let (start, end) = (place.bytes, reading.end);
    Ok(Some(Stream { path, start, known, rewritten, inode: reading.inode, more: reading.more, ends, end, marks, seen }))
}
