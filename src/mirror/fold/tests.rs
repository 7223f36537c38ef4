//! Turns as two streams tell them, in every order and portion.

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
    let transcript =
        [seen(1, T, prompt("by hand")), seen(4, T, said("half")), seen(5, T, cut.clone()), seen(5, T, prompt(TYPED))];
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
    let asked = Record::Asked { question: "run?".into(), run: None };
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
    let usage = |message: &str, output| Record::Usage { message: message.into(), usage: Usage { input: 10, output } };
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
