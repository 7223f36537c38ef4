//! From an agent's own records to the feed and to the evidence that a prompt arrived.
//!
//! One pass reads whatever is new in an agent's transcript and hook spool and stores facts, evidence and offsets in one
//! transaction: killed at any moment, nothing is lost and nothing is told twice. This room must never type, and must never
//! take a screen for a record: what an agent without any record answered is told by `delivery`, for which its screen is the
//! only evidence anyway.

mod find;
mod fold;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;

use crate::config::CrashPoint;
use crate::files::lines;
use crate::model::{Clock, PromptId, Slug, text};
use crate::runtime::{Activity, RecordKind, RecordSource, Runtime};
use crate::store::{Offset, RecordBatch, Store};

use find::Finder;
use fold::{Limits, OpenTurn, Seen};

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
    /// The record files that exist, for whoever watches them.
    pub files: Vec<PathBuf>,
}

/// The new lines of one file, as records.
struct Stream {
    path: PathBuf,
    start: u64,
    inode: u64,
    more: bool,
    /// The offset after the line of each record.
    ends: Vec<u64>,
    /// The offset after the last line, where no record waits.
    end: u64,
    seen: Vec<Seen>,
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
        let streams = self.read(Arc::clone(runtime), sources, offsets, now).await?;
        let stored = self.store.open_turn(agent).await?;
        let before: OpenTurn = match stored.as_deref().map(serde_json::from_str) {
            Some(Ok(turn)) => turn,
            Some(Err(error)) => {
                // Another release's word, or a damaged one: the turn's end loses its thread, the agent goes on.
                tracing::error!(%agent, %error, "can't read the open turn; it is begun anew");
                OpenTurn::default()
            }
            None => OpenTurn::default(),
        };
        let (conversation, launch) =
            self.store.conversation(agent).await?.map_or_else(Default::default, |row| (row.id, row.launches));
        let typed = self.typed_texts(agent, &streams).await?;

        let mut turn = before.clone();
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
        let mut again = false;
        for (stream, used) in streams.iter().zip(&used) {
            let waits = *used < stream.seen.len();
            again |= stream.more || waits;
            let bytes = match used {
                _ if !waits => stream.end,
                0 => stream.start,
                used => stream.ends[used - 1],
            };
            batch.offsets.push(Offset {
                path: stream.path.to_string_lossy().into_owned(),
                inode: stream.inode.cast_signed(),
                bytes: bytes.cast_signed(),
            });
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
            files: streams.iter().map(|stream| stream.path.clone()).collect(),
        };
        let moved =
            streams.iter().zip(&batch.offsets).any(|(stream, offset)| stream.start.cast_signed() != offset.bytes);
        if moved || progress.facts || turn != before {
            batch.open_turn = serde_json::to_string(&turn).context("can't write the open turn as JSON")?;
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
        now: Timestamp,
    ) -> anyhow::Result<Vec<Stream>> {
        let finder = Arc::clone(&self.finder);
        let read = move || {
            let mut streams = Vec::new();
            for source in &sources {
                let Some((path, kind)) = finder.locate(source) else { continue };
                let name = path.to_string_lossy();
                let known = offsets.iter().find(|offset| offset.path == name);
                streams.extend(read_stream(&*runtime, path, kind, known, now)?);
            }
            Ok(streams)
        };
        tokio::task::spawn_blocking(read).await.context("the reader of the records ended early")?
    }

    /// The texts that were typed for the prompts whose headers stand in the new records of this agent.
    async fn typed_texts(&self, agent: &Slug, streams: &[Stream]) -> anyhow::Result<HashMap<PromptId, String>> {
        let mut typed = HashMap::new();
        for seen in streams.iter().flat_map(|stream| &stream.seen) {
            let Some(id) = seen.record.taken().and_then(text::header_id) else { continue };
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
        (Some(question), true) => Activity::Dialog { what: question.clone() },
        (None, true) => Activity::Busy,
        (_, false) => Activity::Idle,
    }
}

fn read_stream(
    runtime: &dyn Runtime,
    path: PathBuf,
    kind: RecordKind,
    known: Option<&Offset>,
    now: Timestamp,
) -> anyhow::Result<Option<Stream>> {
    let start = known.map_or(0, |offset| offset.bytes.cast_unsigned());
    let inode = known.map(|offset| offset.inode.cast_unsigned());
    let reading = lines::read(&path, start, inode).with_context(|| format!("can't read {}", path.display()))?;
    let Some(reading) = reading else { return Ok(None) };
    let (mut seen, mut ends) = (Vec::new(), Vec::new());
    let mut latest = None;
    for line in &reading.lines {
        // A line without a time of its own happened no earlier than the one before it.
        let at = runtime.record_time(&line.text).or(latest).unwrap_or(now);
        latest = Some(at);
        for record in runtime.read_record(kind, &line.text) {
            seen.push(Seen { at, kind, record });
            ends.push(line.end);
        }
    }
    Ok(Some(Stream { path, start, inode: reading.inode, more: reading.more, ends, end: reading.end, seen }))
}
