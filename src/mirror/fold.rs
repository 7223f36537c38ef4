//! From what an agent's records say to facts of the feed: pure, and the same whatever portion the records come in.
//!
//! Two streams tell of one agent: its transcript, whose order is the truth of what was said, and the hooks, which tell
//! sooner that a prompt was taken and that a turn ended. A turn must never be closed before its last words were read, and
//! no turn may be opened twice because both streams told of it.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::spoken::{Early, Spoken};
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
    /// The conversation that runs from here on.
    pub conversation: Option<String>,
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
        match &seen.record {
            Record::Asked { question } => self.asking = Some(question.clone()),
            // It goes on, so somebody answered.
            Record::Said { .. } | Record::UsedTool { .. } => self.asking = None,
            _ => {}
        }
        match &seen.record {
            Record::Conversation { id } => yielded.conversation = Some(id.clone()),
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
            Record::UsedTool { tool, detail } => {
                self.acted = true;
                let fact = Fact::UsedTool { tool: tool.clone(), detail: detail.clone() };
                yielded.facts.push((seen.at, self.prompt.clone(), fact));
            }
            Record::Asked { question } => {
                let fact = Fact::Asked { question: question.clone() };
                yielded.facts.push((seen.at, self.prompt.clone(), fact));
            }
            Record::Usage { message, usage } => self.count(message, *usage),
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
                yielded.facts.push(self.end(seen.at, outcome.clone()));
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
            self.usage = sum(self.usage, part);
        }
        let usage = (self.usage != Usage::default()).then_some(self.usage);
        self.usage = Usage::default();
        self.asking = None;
        self.running = false;
        self.before = self.prompt.take();
        (at, self.before.clone(), Fact::TurnEnded { outcome, usage })
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
                    self.usage = sum(self.usage, part);
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
                let changed = yielded.conversation.as_deref().is_some_and(|id| id != limits.conversation);
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

fn sum(one: Usage, other: Usage) -> Usage {
    Usage { input: one.input.saturating_add(other.input), output: one.output.saturating_add(other.output) }
}

/// Stored, and so the same in every version of fleetd.
pub fn hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.trim());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789ab";
    const TYPED: &str = "[fleet · cli · ann · 0123456789ab]\nfix it";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seen(second: i64, kind: RecordKind, record: Record) -> Seen {
        Seen { at: at(second), kind, record }
    }

    fn prompt(text: &str) -> Record {
        Record::Prompt { text: text.into() }
    }

    fn said(text: &str) -> Record {
        Record::Said { text: text.into() }
    }

    fn stop(words: Option<&str>) -> Record {
        Record::TurnEnded { outcome: Outcome::Completed, last_words: words.map(str::to_owned) }
    }

    const WHOLE: Limits<'static> = Limits { unfinished: &[], conversation: "" };

    /// Folds, and tells the facts in short form; the second value is what each stream used up.
    fn run(turn: &mut OpenTurn, transcript: &[Seen], hooks: &[Seen], now: i64) -> (Vec<String>, Vec<usize>) {
        let typed = HashMap::from([(ID.parse().unwrap(), TYPED.to_owned())]);
        let (yields, used) = fold_all(turn, &[transcript.to_vec(), hooks.to_vec()], WHOLE, 1, &typed, at(now));
        let short = |(_, turn, fact): &(Timestamp, Option<PromptId>, Fact)| {
            let turn = if turn.is_some() { "P" } else { "-" };
            match fact {
                Fact::TurnStarted { summary } => format!("{turn} start {summary}"),
                Fact::Said { text } => format!("{turn} said {text}"),
                Fact::TurnEnded { outcome: Outcome::Completed, .. } => format!("{turn} end"),
                Fact::TurnEnded { outcome: Outcome::Interrupted, .. } => format!("{turn} cut"),
                other => format!("{turn} {other:?}"),
            }
        };
        (yields.iter().flat_map(|yielded| yielded.facts.iter().map(short)).collect(), used)
    }

    const T: RecordKind = RecordKind::Transcript;
    const H: RecordKind = RecordKind::Hooks;

    #[test]
    fn what_a_person_takes_back_out_of_the_agent_s_queue_does_not_count_as_waiting_there() {
        let (queued, back) = (Record::Queued { text: TYPED.into() }, Record::GivenBack { text: TYPED.into() });
        for (records, exact) in
            [(vec![queued.clone()], true), (vec![queued.clone(), back.clone()], false), (vec![back, queued], true)]
        {
            let records: Vec<Seen> = records.into_iter().map(|record| seen(1, T, record)).collect();
            let typed = HashMap::from([(ID.parse().unwrap(), TYPED.to_owned())]);
            let (yields, _) = fold_all(&mut OpenTurn::default(), &[records], WHOLE, 1, &typed, at(1));
            let last = yields.last().unwrap().evidence.clone().unwrap();
            assert_eq!(last, (ID.parse().unwrap(), EvidenceRow { kind: Evidence::Queue, exact }));
        }
    }

    #[test]
    fn a_turn_told_by_both_streams_is_one_turn() {
        let transcript = [seen(1, T, prompt(TYPED)), seen(3, T, said("done"))];
        let hooks = [seen(2, H, prompt(TYPED)), seen(4, H, stop(Some("done")))];
        let (facts, used) = run(&mut OpenTurn::default(), &transcript, &hooks, 4);
        assert_eq!(facts, ["P start fix it", "P said done", "P end"]);
        assert_eq!(used, [2, 2]);
    }

    #[test]
    fn a_turn_is_not_closed_before_its_last_words_were_read() {
        let mut turn = OpenTurn::default();
        let hooks = [seen(2, H, prompt(TYPED)), seen(4, H, stop(Some("done")))];
        let (facts, used) = run(&mut turn, &[seen(1, T, prompt(TYPED))], &hooks, 4);
        assert_eq!((facts, used), (vec!["P start fix it".to_owned()], vec![1, 1]));
        let (facts, used) = run(&mut turn, &[seen(4, T, said("done"))], &hooks[1..], 4);
        assert_eq!((facts, used), (vec!["P said done".to_owned(), "P end".to_owned()], vec![1, 1]));
    }

    #[test]
    fn last_words_that_the_transcript_never_shows_in_time_are_said_once_all_the_same() {
        let mut turn = OpenTurn::default();
        let hooks = [seen(2, H, prompt(TYPED)), seen(4, H, stop(Some("done")))];
        let (facts, _) = run(&mut turn, &[], &hooks, 10);
        assert_eq!(facts, ["P start fix it", "P said done", "P end"]);
        let (facts, _) = run(&mut turn, &[seen(1, T, prompt(TYPED)), seen(4, T, said("done"))], &[], 11);
        assert_eq!(facts, Vec::<String>::new());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_a_turn_open_until_it_is_there_again() {
        let hooks = [seen(9000, H, prompt(TYPED)), seen(9001, H, stop(Some("done")))];
        let (facts, _) = run(&mut OpenTurn::default(), &[], &hooks, 10);
        assert_eq!(facts, ["P start fix it", "P said done", "P end"]);
    }

    #[test]
    fn what_a_person_typed_in_the_pane_after_a_turn_is_not_told_as_its_answer() {
        let transcript = [
            seen(1, T, prompt(TYPED)),
            seen(3, T, said("answer")),
            seen(5, T, prompt("by hand")),
            seen(7, T, said("to the hand")),
        ];
        let hooks = [
            seen(2, H, prompt(TYPED)),
            seen(4, H, stop(Some("answer"))),
            seen(6, H, prompt("by hand")),
            seen(8, H, stop(Some("to the hand"))),
        ];
        let (facts, used) = run(&mut OpenTurn::default(), &transcript, &hooks, 8);
        let expected = ["P start fix it", "P said answer", "P end", "- start by hand", "- said to the hand", "- end"];
        assert_eq!(facts, expected);
        assert_eq!(used, [4, 4]);
    }

    #[test]
    fn an_interruption_that_the_transcript_tells_late_does_not_cut_the_next_turn_short() {
        let cut = Record::TurnEnded { outcome: Outcome::Interrupted, last_words: None };
        let transcript = [
            seen(1, T, prompt("by hand")),
            seen(4, T, said("half")),
            seen(5, T, cut.clone()),
            seen(5, T, prompt(TYPED)),
        ];
        let hooks = [seen(1, H, prompt("by hand")), seen(4, H, prompt(TYPED)), seen(9, H, stop(None))];
        let mut turn = OpenTurn::default();
        let (first, _) = run(&mut turn, &[], &hooks[..2], 5);
        let (rest, _) = run(&mut turn, &transcript[1..], &hooks[2..], 9);
        assert_eq!(first, ["- start by hand", "- cut", "P start fix it"]);
        assert_eq!(rest, ["- said half", "P end"]);
        // Its own is its own.
        let (facts, _) = run(&mut turn, &[seen(20, T, prompt("by hand")), seen(21, T, cut)], &[], 21);
        assert_eq!(facts, ["- start by hand", "- cut"]);
    }

    #[test]
    fn an_agent_that_waits_for_a_person_is_known_to_until_it_goes_on() {
        let mut turn = OpenTurn::default();
        let asked = Record::Asked { question: "run?".into() };
        run(&mut turn, &[seen(1, T, prompt(TYPED)), seen(2, T, asked)], &[], 2);
        assert_eq!(turn.asking.as_deref(), Some("run?"));
        run(&mut turn, &[seen(3, T, said("well"))], &[], 3);
        assert_eq!(turn.asking, None);
    }

    #[test]
    fn a_turn_whose_agent_died_ends_as_cut_short() {
        let mut turn = OpenTurn::default();
        run(&mut turn, &[seen(1, T, prompt(TYPED))], &[], 1);
        assert_eq!(turn.agent_restarted(1, at(2)), None);
        let ended = turn.agent_restarted(2, at(2)).unwrap();
        assert_eq!(ended.1, ID.parse().ok());
        assert_eq!(turn.agent_restarted(3, at(3)), None);
    }

    #[test]
    fn a_damaged_prompt_is_not_taken_for_the_one_that_was_typed() {
        let typed = HashMap::from([(ID.parse().unwrap(), TYPED.to_owned())]);
        for (text, exact) in
            [(TYPED.to_owned(), true), (format!("draft{TYPED}"), false), (TYPED[..TYPED.len() - 2].to_owned(), false)]
        {
            let stream = [vec![seen(1, T, prompt(&text))]];
            let (yields, _) = fold_all(&mut OpenTurn::default(), &stream, WHOLE, 1, &typed, at(1));
            let evidence = yields[0].evidence.clone().map(|(_, row)| row.exact);
            assert_eq!(evidence, text::header_id(&text).map(|_| exact), "{text}");
        }
    }

    #[test]
    fn a_header_of_a_prompt_that_nobody_typed_proves_nothing() {
        let stream = [vec![seen(1, T, prompt(TYPED))]];
        let (yields, _) = fold_all(&mut OpenTurn::default(), &stream, WHOLE, 1, &HashMap::new(), at(1));
        assert_eq!(yields[0].evidence, None);
        assert_eq!(yields[0].facts[0].1, None);
    }

    #[test]
    fn the_cost_of_a_message_told_block_by_block_is_counted_once() {
        let usage =
            |message: &str, output| Record::Usage { message: message.into(), usage: Usage { input: 10, output } };
        let transcript = [
            seen(1, T, prompt(TYPED)),
            seen(2, T, usage("a", 1)),
            seen(3, T, usage("a", 5)),
            seen(4, T, usage("b", 7)),
            seen(5, T, stop(None)),
        ];
        let (yields, _) = fold_all(&mut OpenTurn::default(), &[transcript.to_vec()], WHOLE, 1, &HashMap::new(), at(5));
        let Some((_, _, Fact::TurnEnded { usage, .. })) = yields[4].facts.first() else { panic!("no end") };
        assert_eq!(*usage, Some(Usage { input: 20, output: 12 }));
    }

    #[test]
    fn the_open_turn_survives_a_restart_as_it_was() {
        let mut turn = OpenTurn::default();
        run(&mut turn, &[seen(1, T, prompt(TYPED)), seen(2, T, said("a"))], &[], 2);
        let stored = serde_json::to_string(&turn).unwrap();
        assert_eq!(serde_json::from_str::<OpenTurn>(&stored).unwrap(), turn);
    }

    const OTHER_ID: &str = "abcdefghjkmn";
    const OTHER: &str = "[fleet · slack · bob · abcdefghjkmn]\nand that";

    fn told(turn: &mut OpenTurn, transcript: &[Seen], hooks: &[Seen], now: i64) -> Vec<(String, Option<String>)> {
        let typed = [(ID, TYPED), (OTHER_ID, OTHER)].map(|(id, text)| (id.parse().unwrap(), text.to_owned()));
        let streams = [transcript.to_vec(), hooks.to_vec()];
        let (yields, _) = fold_all(turn, &streams, WHOLE, 1, &HashMap::from(typed), at(now));
        let facts = yields.into_iter().flat_map(|yielded| yielded.facts);
        facts.map(|(_, turn, fact)| (format!("{fact:?}"), turn.map(|id| id.to_string()))).collect()
    }

    fn steered_into(id: &str) -> String {
        format!("{:?}", Fact::Steered { into: id.parse().unwrap() })
    }

    #[test]
    fn a_turn_that_is_steered_goes_on_and_its_answer_stays_where_it_was_asked() {
        let transcript = [
            seen(1, T, prompt(TYPED)),
            seen(2, T, said("on it")),
            seen(3, T, Record::Taken { text: OTHER.into() }),
            seen(4, T, said("both done")),
            seen(5, T, stop(None)),
        ];
        let facts = told(&mut OpenTurn::default(), &transcript, &[], 5);
        let turns: Vec<_> = facts.iter().map(|(_, turn)| turn.as_deref().unwrap()).collect();
        assert_eq!(turns, [ID, ID, OTHER_ID, ID, ID], "{facts:?}");
        assert_eq!(facts[2].0, steered_into(ID));
    }

    #[test]
    fn prompts_that_the_agent_took_at_once_are_one_turn_and_none_is_told_as_interrupted() {
        let transcript = [seen(10, T, prompt(TYPED)), seen(10, T, prompt(OTHER)), seen(12, T, said("both done"))];
        let hooks = [seen(11, H, prompt(TYPED)), seen(11, H, prompt(OTHER)), seen(13, H, stop(Some("both done")))];
        let facts = told(&mut OpenTurn::default(), &transcript, &hooks, 13);
        let turns: Vec<_> = facts.iter().map(|(_, turn)| turn.as_deref().unwrap()).collect();
        assert_eq!(turns, [ID, OTHER_ID, ID, ID], "{facts:?}");
        assert_eq!(facts[1].0, steered_into(ID));
    }

    #[test]
    fn a_prompt_long_after_one_whose_end_was_never_told_has_a_turn_of_its_own() {
        let transcript = [seen(1, T, prompt(TYPED)), seen(60, T, prompt(OTHER)), seen(61, T, said("that"))];
        let facts = told(&mut OpenTurn::default(), &transcript, &[], 61);
        let turns: Vec<_> = facts.iter().map(|(_, turn)| turn.as_deref().unwrap()).collect();
        assert_eq!(turns, [ID, ID, OTHER_ID, OTHER_ID], "{facts:?}");
    }

    #[test]
    fn what_steers_a_person_s_own_turn_gets_the_rest_of_its_answer() {
        let transcript = [
            seen(1, T, prompt("by hand")),
            seen(2, T, said("to the hand")),
            seen(3, T, Record::Taken { text: OTHER.into() }),
            seen(4, T, said("to bob")),
            seen(5, T, stop(None)),
        ];
        let facts = told(&mut OpenTurn::default(), &transcript, &[], 5);
        let turns: Vec<_> = facts.iter().map(|(_, turn)| turn.as_deref()).collect();
        assert_eq!(turns, [None, None, Some(OTHER_ID), Some(OTHER_ID), Some(OTHER_ID)], "{facts:?}");
    }
}
