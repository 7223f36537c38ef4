//! From what an agent's records say to facts of the feed: pure, and the same whatever portion the records come in.
//!
//! Two streams tell of one agent: its transcript, whose order is the truth of what was said, and the hooks, which tell
//! sooner that a prompt was taken and that a turn ended. A turn must never be closed before its last words were read, and
//! no turn may be opened twice because both streams told of it.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::gauge::Gauge;
use super::spoken::{Early, Spoken};
use super::tally::{Tally, Todos};
use crate::model::{Evidence, Fact, Outcome, PromptId, Usage, text};
use crate::runtime::{Record, RecordKind};
use crate::store::EvidenceRow;

/// How long the hook that ends a turn waits for the transcript to show the turn's last words (measured: they appear about
/// 100 ms after they were said).
const LAST_WORDS_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// How many of our prompts are remembered as taken, so that the other stream's word of one is no news.
const REMEMBERED: usize = 64;

/// Prompts that an agent held while a turn ran begin the next turn together, one right behind the other (measured: their
/// records lie 50 ms apart). None of them cuts the other short.
const TOGETHER: SignedDuration = SignedDuration::from_secs(2);

/// What must be remembered of the turn that runs. Stored with the offsets, so that a restart goes on where it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenTurn {
    /// Whether a turn runs.
    pub running: bool,
    /// The prompt that opened it, or the first of ours that it took in; none where there are only a person's words.
    pub prompt: Option<PromptId>,
    /// What it asks a person and waits for, as far as its records tell.
    pub asking: Option<String>,
    /// What outlives it: how full the context is.
    pub gauge: Gauge,
    /// The same: the agent's own to-do list.
    pub todos: Todos,
    /// What it came to so far.
    tally: Tally,
    /// At which launch of the agent it began.
    launch: i64,
    /// The text that opened it, hashed, and when.
    opened_by: u64,
    opened_at: Timestamp,
    /// Whether only a hook told of it so far: what the transcript shows then may be of the turn before.
    ahead: bool,
    /// The prompt whose answer was told last in the turn before.
    before: Option<PromptId>,
    /// The prompts of ours that were taken lately, hashed, in this turn or before.
    taken: VecDeque<u64>,
    /// What it cost so far, and the message that the last part of it stands for.
    usage: Usage,
    message: Option<(String, Usage)>,
    /// What was said in this turn, and whether anything was done in it.
    spoken: Spoken,
    acted: bool,
    /// What was said by a hook ahead of the transcript.
    early: Option<Early>,
}

/// A fact with its time and its turn.
pub type Told = (Timestamp, Option<PromptId>, Fact);

/// One record with its time and the stream it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// By the record, or the time of reading.
    pub at: Timestamp,
    /// Which stream.
    pub kind: RecordKind,
    /// What it says.
    pub record: Record,
}

/// What one record leads to.
#[derive(Debug, Default, PartialEq)]
pub struct Yield {
    /// Facts for the feed, with their turn.
    pub facts: Vec<Told>,
    /// A prompt that the record holds.
    pub evidence: Option<(PromptId, EvidenceRow)>,
    /// The conversation that runs from here on, and since when.
    pub conversation: Option<(String, Timestamp)>,
}

/// What to do with a record.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It is used up.
    Taken(Yield),
    /// It can't be judged before the other stream was read further; it stays unread.
    NotYet,
}

impl OpenTurn {
    /// Folds one record in. `typed` is the text that was typed for the prompt whose header `record` holds, if any.
    pub fn fold(&mut self, seen: &Seen, launch: i64, typed: Option<&str>, now: Timestamp) -> Verdict {
        let mut yielded = Yield::default();
        self.gauge.read(&seen.record);
        match &seen.record {
            Record::Asked { question, .. } => self.asking = Some(question.clone()),
            // It goes on, so somebody answered.
            Record::Said { .. } | Record::UsedTool { .. } | Record::Todos(_) => self.asking = None,
            _ => {}
        }
        self.tally.count(&seen.record);
        match &seen.record {
            Record::Conversation { id } => yielded.conversation = Some((id.clone(), seen.at)),
            // A person's words in a turn that runs: it stays its author's, and so does the rest of its answer.
            Record::Taken { .. } if self.running && typed.is_none() => {}
            // It is not taken yet; taken, it is told again.
            Record::Queued { text } => {
                proven(Evidence::Queue, text, typed, &mut yielded);
            }
            // What it held is no longer what was typed: a person has it in the box, and may change it.
            Record::GivenBack { text } => {
                proven(Evidence::Queue, text, typed, &mut yielded);
                if let Some((_, row)) = &mut yielded.evidence {
                    row.exact = false;
                }
            }
            Record::Prompt { text } | Record::Taken { text } => self.prompted(seen, text, launch, typed, &mut yielded),
            Record::Said { text } => {
                if self.early.as_mut().is_some_and(|early| early.repeats(text)) {
                    return Verdict::Taken(yielded);
                }
                if self.is_of_the_turn_before(seen, SignedDuration::ZERO) {
                    yielded.facts.push((seen.at, self.before.clone(), Fact::Said { text: text.clone() }));
                } else {
                    self.say(seen.at, text, &mut yielded);
                }
            }
            Record::UsedTool { tool, detail, doing } => {
                self.acted = true;
                let fact = Fact::UsedTool { tool: tool.clone(), detail: detail.clone(), doing: *doing };
                yielded.facts.push((seen.at, self.prompt.clone(), fact));
            }
            Record::Todos(change) => {
                self.acted = true;
                let fact = self.todos.change(change);
                yielded.facts.extend(fact.map(|fact| (seen.at, self.prompt.clone(), fact)));
            }
            Record::Asked { question, run } => {
                let fact = Fact::Asked { question: question.clone(), run: run.clone() };
                yielded.facts.push((seen.at, self.prompt.clone(), fact));
            }
            Record::Usage { message, usage } => self.count(message, *usage),
            Record::Printed { .. } | Record::Cost { .. } => {}
            Record::Measured { .. } | Record::Compacting | Record::Compacted { .. } => {}
            Record::TurnEnded { outcome, last_words } => {
                if !self.running || self.is_of_the_turn_before(seen, TOGETHER) {
                    return Verdict::Taken(yielded);
                }
                if let (Some(words), RecordKind::Hooks) = (last_words, seen.kind) {
                    let untold = self.spoken.untold(words).trim();
                    // A time far ahead is a clock that was set back meanwhile.
                    if !untold.is_empty() && now.duration_since(seen.at).abs() < LAST_WORDS_WAIT {
                        return Verdict::NotYet;
                    }
                    if !untold.is_empty() {
                        self.say(seen.at, untold, &mut yielded);
                        self.early = Some(Early::new(untold, seen.at));
                    }
                }
                let outcome = self.gauge.completed(outcome);
                yielded.facts.push(self.end(seen.at, outcome));
            }
        }
        Verdict::Taken(yielded)
    }

    /// Ends a turn whose agent was started anew meanwhile: no record of its own will ever end it.
    pub fn agent_restarted(&mut self, launch: i64, now: Timestamp) -> Option<Told> {
        (self.running && launch > self.launch).then(|| self.end(now, Outcome::Interrupted))
    }

    fn prompted(&mut self, seen: &Seen, text: &str, launch: i64, typed: Option<&str>, yielded: &mut Yield) {
        let kind = match seen.kind {
            RecordKind::Hooks => Evidence::Hook,
            RecordKind::Transcript => Evidence::Transcript,
        };
        let prompt = proven(kind, text, typed, yielded);
        // The transcript is in order: behind another prompt nothing of an earlier turn comes any more.
        if seen.kind == RecordKind::Transcript && self.early.as_ref().is_some_and(|early| early.at < seen.at) {
            self.early = None;
        }
        if seen.kind == RecordKind::Transcript {
            self.ahead = false;
        }
        let hash = hash(text);
        if self.running && self.opened_by == hash || prompt.is_some() && self.taken.contains(&hash) {
            return;
        }
        if prompt.is_some() {
            self.remember(hash);
        }
        let shown = if prompt.is_some() { text.split_once('\n').map_or(text, |(_header, rest)| rest) } else { text };
        let started = Fact::TurnStarted { summary: text::first_line(shown, 120) };
        let steers = matches!(seen.record, Record::Taken { .. });
        let together = !self.acted && seen.at.duration_since(self.opened_at).abs() < TOGETHER;
        if self.running && launch == self.launch && (steers || together) {
            self.opened_at = seen.at;
            let Some(id) = prompt else { return };
            yielded.facts.push(match &self.prompt {
                Some(into) => (seen.at, Some(id), Fact::Steered { into: into.clone() }),
                // A person's own turn: what is said from here on answers the prompt, and is told where that came from.
                None => (seen.at, self.prompt.insert(id).clone().into(), started),
            });
            return;
        }
        if self.running {
            // The record of its end never came: the agent's API failed, or a person interrupted it.
            yielded.facts.push(self.end(seen.at, Outcome::Interrupted));
        }
        *self = Self {
            running: true,
            prompt: prompt.clone(),
            launch,
            opened_by: hash,
            opened_at: seen.at,
            ahead: seen.kind == RecordKind::Hooks,
            before: self.before.take(),
            taken: std::mem::take(&mut self.taken),
            early: self.early.take(),
            gauge: std::mem::take(&mut self.gauge),
            todos: std::mem::take(&mut self.todos),
            tally: Tally::begin(seen.at),
            ..Self::default()
        };
        yielded.facts.push((seen.at, prompt, started));
    }

    /// Whether a line of the transcript belongs to the turn before: it stands in front of this turn's own prompt there, and
    /// was written no later than `slack` after the hook told of that prompt. What a person breaks off by typing on is marked
    /// 20 ms after that hook (measured).
    fn is_of_the_turn_before(&self, seen: &Seen, slack: SignedDuration) -> bool {
        self.ahead
            && self.running
            && seen.kind == RecordKind::Transcript
            && seen.at.duration_since(self.opened_at) <= slack
    }

    fn say(&mut self, at: Timestamp, text: &str, yielded: &mut Yield) {
        self.acted = true;
        self.spoken.add(text);
        yielded.facts.push((at, self.prompt.clone(), Fact::Said { text: text.to_owned() }));
    }

    fn end(&mut self, at: Timestamp, outcome: Outcome) -> Told {
        if let Some((_, part)) = self.message.take() {
            self.usage = self.usage.plus(part);
        }
        let usage = (self.usage != Usage::default()).then_some(self.usage);
        self.usage = Usage::default();
        self.asking = None;
        self.running = false;
        self.todos.turn_ended();
        self.before = self.prompt.take();
        (at, self.before.clone(), Fact::TurnEnded { outcome, usage, work: self.tally.end(at) })
    }

    fn remember(&mut self, hash: u64) {
        if self.taken.len() == REMEMBERED {
            self.taken.pop_front();
        }
        self.taken.push_back(hash);
    }

    /// Blocks of one message repeat its id and its usage: the last one counts.
    fn count(&mut self, message: &str, usage: Usage) {
        match &mut self.message {
            Some((id, part)) if id == message => *part = usage,
            other => {
                if let Some((_, part)) = other.replace((message.to_owned(), usage)) {
                    self.usage = self.usage.plus(part);
                }
            }
        }
    }
}

/// Where a fold must stop, because what happened next stands in lines that were not read yet.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// By stream: whether more lines follow those that were read.
    pub unfinished: &'a [bool],
    /// The conversation whose transcript was read: behind the change to another one only that one's tells the order.
    pub conversation: &'a str,
}

/// Folds the records of several streams in, in the order of their times; within one stream their order stays. Answers what
/// they led to, and how many records of each stream were used up.
pub fn fold_all(
    turn: &mut OpenTurn,
    streams: &[Vec<Seen>],
    limits: Limits<'_>,
    launch: i64,
    typed: &HashMap<PromptId, String>,
    now: Timestamp,
) -> (Vec<Yield>, Vec<usize>) {
    let mut used = vec![0; streams.len()];
    let mut waiting = vec![false; streams.len()];
    let mut yields = Vec::new();
    loop {
        let unknown = |(index, stream): (usize, &Vec<Seen>)| {
            used[index] == stream.len() && limits.unfinished.get(index).copied().unwrap_or_default()
        };
        if streams.iter().enumerate().any(unknown) {
            return (yields, used);
        }
        let heads = streams.iter().enumerate().filter(|(index, _)| !waiting[*index]);
        let earliest = heads.filter_map(|(index, stream)| Some((stream.get(used[index])?.at, index))).min();
        let Some((_, index)) = earliest else { return (yields, used) };
        let seen = &streams[index][used[index]];
        let typed = seen.record.given().and_then(text::header_id).and_then(|id| typed.get(&id));
        match turn.fold(seen, launch, typed.map(String::as_str), now) {
            Verdict::Taken(yielded) => {
                used[index] += 1;
                waiting.fill(false);
                let changed = yielded.conversation.as_ref().is_some_and(|(id, _)| id != limits.conversation);
                yields.push(yielded);
                if changed {
                    return (yields, used);
                }
            }
            Verdict::NotYet => waiting[index] = true,
        }
    }
}

/// The prompt of ours that the record's text is, and the evidence for it.
fn proven(kind: Evidence, text: &str, typed: Option<&str>, yielded: &mut Yield) -> Option<PromptId> {
    let (id, typed) = (text::header_id(text)?, typed?);
    yielded.evidence = Some((id.clone(), EvidenceRow { kind, exact: text.trim_end() == typed.trim_end() }));
    Some(id)
}

/// Stored, and so the same in every version of fleetd.
pub fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.trim());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
