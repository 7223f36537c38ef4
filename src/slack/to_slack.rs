//! What an agent did → what is to be said in Slack. Pure.
//!
//! A turn that a person's message opened is answered in that message's thread. Every other job has a root message of ours in
//! the agent's channel, opened by the first row of it that is read; a turn with which the fleet goes on with a job keeps that
//! job's root. What a turn is doing is one message of its thread that is edited and folded into a line at the turn's end; a
//! turn that only answers has none. Nothing is ever said in another agent's channel, and what a person does in the pane by
//! hand stays there.

use super::from_slack::thread_of_people;
use super::markdown::{self, Piece};
use super::progress::{Ending, Progress, shows};
use super::question;
use super::wording::{self, RootState};
use crate::model::{Fact, FeedRow, Outcome, Prompt, Source, Work};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread};

/// What is to be stored for one row of the feed: the threads that may be new, and what to say in each, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// A thread with what is said there.
    pub(super) threads: Vec<(Thread, Vec<NewOutboxRow>)>,
}

impl Plan {
    /// Whether nothing follows.
    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }
}

/// Where a turn is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Home {
    /// In the thread that asked.
    Asked(Thread),
    /// Below the root message of the job that it belongs to: its own, or the one that it goes on with.
    Opened {
        /// The thread.
        thread: Thread,
        /// The prompt that the root message shows.
        job: Box<Prompt>,
    },
    /// Nowhere yet: a root message is due in this channel, the agent's own.
    Unopened {
        /// The channel's id.
        channel: String,
    },
    /// Nowhere: the agent has no channel that is known.
    Nowhere,
}

/// What is known of where a turn may be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The thread at the prompt's place.
    pub(super) at_place: Option<Thread>,
    /// The prompt whose root message heads that thread, where it is one of ours.
    pub(super) job: Option<Prompt>,
    /// The thread that was opened for the turn.
    pub(super) of_turn: Option<Thread>,
    /// The agent's channel.
    pub(super) channel: Option<String>,
}

/// Where a turn is told.
pub(super) fn home(prompt: &Prompt, known: Known) -> Home {
    match (&prompt.place, known) {
        // Only the fleet itself goes on with a job; what a person says below it is a turn of its own.
        (Some(_), Known { at_place: Some(thread), job: Some(job), .. }) if prompt.source == Source::Resume => {
            Home::Opened { thread, job: Box::new(job) }
        }
        // A place that the table forgot is a thread of the agent's all the same.
        (Some(place), Known { at_place, .. }) => Home::Asked(
            at_place.unwrap_or_else(|| thread_of_people(&place.channel, &place.thread, Some(&prompt.agent))),
        ),
        (None, Known { of_turn: Some(thread), .. }) => Home::Opened { thread, job: Box::new(prompt.clone()) },
        (None, Known { channel: Some(channel), .. }) => Home::Unopened { channel },
        (None, _) => Home::Nowhere,
    }
}

/// What one row of the feed adds. `before` is how far its turn was; `earlier` are the ends of the job's turns before this one.
pub(super) fn plan(row: &FeedRow, prompt: &Prompt, home: Home, before: &Progress, earlier: &[Ending]) -> Plan {
    let after = before.clone().with(&row.fact);
    let words = told(&row.fact, prompt, &home, before, &after, earlier);
    let mut plan = say(&format!("feed/{}", row.seq), prompt, home, words);
    if matches!(row.fact, Fact::Asked { .. }) {
        // One message, which its buttons and its end are put into later.
        plan.threads.iter_mut().for_each(|(_, rows)| question::keep(rows, row.seq));
    }
    plan
}

/// What is added by a prompt that was taken into a turn that ran, or began together with it: who steered it, for those who
/// follow it there, and where the answer will be, for who steered it. What was said in that very thread needs no second
/// telling. `opener` opened the turn, `there` is where it is told, `home` where the prompt's own turn would be.
pub(super) fn steered(row: &FeedRow, by: &Prompt, home: Home, opener: &Prompt, there: Home) -> Plan {
    let key = format!("feed/{}", row.seq);
    let place = |home: &Home| match home {
        Home::Asked(thread) | Home::Opened { thread, .. } => thread.place(),
        Home::Unopened { .. } | Home::Nowhere => None,
    };
    if by.place.is_some() && by.place == place(&there) {
        return Plan::default();
    }
    let replies = said(markdown::split(&wording::steered(by)));
    let mut plan = say(&key, opener, there, Words { replies, ..Words::default() });
    let own = match &home {
        Home::Asked(_) => Words { replies: said([wording::joined()]), ..Words::default() },
        // It waited for so long that it has a root message, which must not say so for ever.
        Home::Opened { .. } => Words { root: Some(RootState::Joined), ..Words::default() },
        Home::Unopened { .. } | Home::Nowhere => Words::default(),
    };
    plan.threads.extend(say(&format!("{key}/by"), by, home, own).threads);
    plan
}

/// What is added where a turn is over and no record will tell so: `gone` says that the agent is, too.
pub(super) fn left_over(prompt: &Prompt, home: Home, progress: &Progress, gone: bool) -> Plan {
    let ending = Ending { outcome: Outcome::Interrupted, usage: None, work: Work::default() };
    let line = if gone { wording::outcome(&ending) } else { wording::over() };
    let state = if gone { RootState::Ended(ending) } else { RootState::Over };
    let words = Words {
        root: Some(state).filter(|_| matches!(home, Home::Opened { .. })),
        replies: Vec::new(),
        progress: progress.is_shown().then_some(line),
    };
    say(&format!("over/{}", prompt.id), prompt, home, words)
}

/// What there is to say of one turn.
#[derive(Debug, Default)]
struct Words<'a> {
    /// The state that the root message gets.
    root: Option<RootState<'a>>,
    /// What is appended.
    replies: Vec<OutboxAction>,
    /// What the progress message becomes.
    progress: Option<String>,
}

/// The rows that say it, under keys that begin with `key`.
fn say(key: &str, prompt: &Prompt, home: Home, words: Words<'_>) -> Plan {
    let Words { root, replies, progress } = words;
    if root.is_none() && replies.is_empty() && progress.is_none() {
        return Plan::default();
    }
    let (thread, mut actions) = match home {
        Home::Nowhere => return Plan::default(),
        // Stored also where it is known: a place that the table forgot is a thread of the agent's all the same.
        Home::Asked(thread) => (thread, Vec::new()),
        Home::Opened { thread, job } => {
            let edit = root.map(|state| OutboxAction::EditRoot { said: Said::text(wording::root(&job, state)) });
            (thread, edit.into_iter().collect())
        }
        Home::Unopened { channel } => {
            let thread = Thread { lane: prompt.id.to_string(), agent: Some(prompt.agent.clone()), channel, ts: None };
            let text = wording::root(prompt, root.unwrap_or(RootState::Running));
            (thread, vec![OutboxAction::Open { said: Said::text(text) }])
        }
    };
    actions.extend(replies);
    actions.extend(progress.map(|text| OutboxAction::Keyed { key: progress_key(prompt), said: Said::text(text) }));
    let rows = actions.into_iter().enumerate().map(|(index, action)| NewOutboxRow {
        dedup_key: format!("{key}/{index}"),
        lane: thread.lane.clone(),
        channel: thread.channel.clone(),
        action,
    });
    let rows = rows.collect();
    Plan { threads: vec![(thread, rows)] }
}

/// Sentences of ours, each a message.
fn said(texts: impl IntoIterator<Item = String>) -> Vec<OutboxAction> {
    texts.into_iter().map(|text| OutboxAction::Reply { said: Said::text(text) }).collect()
}

/// What an agent said.
fn answer(text: &str) -> Vec<OutboxAction> {
    let posted = |piece| match piece {
        Piece::Message { text, blocks } => OutboxAction::Reply { said: Said { text, blocks } },
        Piece::File { name, content, summary } => {
            OutboxAction::Upload { title: name.clone(), name, content, said: Said::text(summary) }
        }
    };
    markdown::render(text).into_iter().map(posted).collect()
}

/// Names the one progress message of a turn.
fn progress_key(prompt: &Prompt) -> String {
    format!("progress/{}", prompt.id)
}

/// What a fact gives the root message, what it says below it, and what it makes of the progress message.
fn told<'a>(
    fact: &'a Fact,
    prompt: &Prompt,
    home: &Home,
    before: &Progress,
    after: &Progress,
    earlier: &[Ending],
) -> Words<'a> {
    let asked_in_slack = matches!(home, Home::Asked(_));
    let root = |state| Some(state).filter(|_| !asked_in_slack);
    // Whatever it does after a question, it does because somebody answered.
    let goes_on = root(RootState::Running).filter(|_| before.asking.is_some());
    let progress = (shows(fact) && after.is_shown()).then(|| wording::progress(after));
    let words = Words { root: goes_on, replies: Vec::new(), progress };
    match fact {
        Fact::TurnStarted { .. } => Words { root: root(RootState::Running), ..words },
        Fact::Said { text } => Words { replies: answer(text), ..words },
        Fact::UsedTool { .. } | Fact::Todos { .. } => words,
        Fact::Asked { question, .. } => Words {
            root: root(RootState::Asking(question)),
            replies: said(markdown::split(&wording::asked(&prompt.agent, question))),
            ..words
        },
        // Whoever sent it from a shell sees it there.
        Fact::Held { .. } if prompt.source == Source::Cli => Words::default(),
        Fact::Held { why, .. } if asked_in_slack => Words { replies: said([wording::held(why)]), ..Words::default() },
        Fact::Held { why, .. } => Words { root: Some(RootState::Waiting(why)), ..Words::default() },
        // Told where the turn is told that took it in.
        Fact::Steered { .. } => Words::default(),
        Fact::Undelivered { uncertain, why } => Words {
            root: Some(if *uncertain { RootState::Unsure } else { RootState::NotDelivered }),
            replies: said(markdown::split(&wording::undelivered(*uncertain, why))),
            progress: None,
        },
        // A second word of the same end is no news.
        Fact::TurnEnded { .. } if before.ended.is_some() => Words::default(),
        Fact::TurnEnded { .. } => match Ending::of(fact) {
            Some(ending) if asked_in_slack => end_of_asked(&ending, before),
            Some(ending) => end_of_job(ending, before, earlier),
            None => Words::default(),
        },
    }
}

/// The root tells what became of the whole job, the progress message what this turn of it took.
fn end_of_job(ending: Ending, before: &Progress, earlier: &[Ending]) -> Words<'static> {
    let progress = before.is_shown().then(|| wording::outcome(&ending));
    Words { root: Some(RootState::Ended(ending.after(earlier))), replies: Vec::new(), progress }
}

/// Nobody is told of a message that is edited: what went wrong is said anew. A turn that only answered needs no line more,
/// one that said nothing must not look as if it went on.
fn end_of_asked(ending: &Ending, before: &Progress) -> Words<'static> {
    let wrong = match &ending.outcome {
        Outcome::Completed => None,
        Outcome::Interrupted => Some(wording::turn_interrupted()),
        Outcome::Failed { reason, .. } => Some(wording::turn_failed(reason)),
    };
    let silent = wrong.is_none() && (!before.spoke || !ending.work.pull_requests.is_empty());
    let progress = (before.is_shown() || silent).then(|| wording::outcome(ending));
    Words { root: None, replies: said(wrong), progress }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Doing, Place, PullRequest, Source, Todo, TodoState};

    fn prompt(place: Option<Place>) -> Prompt {
        Prompt {
            agent: "ann".parse().unwrap(),
            source: if place.is_some() { Source::Slack } else { Source::Cli },
            who: "bob".into(),
            body: "fix <it>\nplease".into(),
            place,
            ..Prompt::example()
        }
    }

    fn thread(lane: &str) -> Thread {
        Thread { lane: lane.into(), agent: None, channel: "C1".into(), ts: Some("1.0".into()) }
    }

    fn unopened() -> Home {
        Home::Unopened { channel: "C1".into() }
    }

    fn opened() -> Home {
        Home::Opened { thread: thread("0123456789ab"), job: Box::new(prompt(None)) }
    }

    fn asked() -> Home {
        Home::Asked(thread("C1/1.0"))
    }

    fn row(fact: Fact) -> FeedRow {
        FeedRow { seq: 7, at: Timestamp::UNIX_EPOCH, agent: "ann".parse().unwrap(), turn: None, fact }
    }

    fn shown(plan: &Plan) -> Vec<String> {
        let rows = plan.threads.iter().flat_map(|(_, rows)| rows);
        rows.map(|row| {
            let action = match &row.action {
                OutboxAction::Open { said: Said { text, .. } } => format!("open {text}"),
                OutboxAction::Reply { said: Said { text, .. } } => format!("reply {text}"),
                OutboxAction::EditRoot { said: Said { text, .. } } => format!("edit {text}"),
                OutboxAction::Keyed { key, said: Said { text, .. } } => format!("keep {key}: {text}"),
                other => format!("{other:?}"),
            };
            format!("{} {} {action}", row.lane, row.dedup_key)
        })
        .collect()
    }

    fn planned_after(before: &Progress, fact: Fact, home: Home) -> Vec<String> {
        let place = matches!(home, Home::Asked(_)).then(|| Place { channel: "C1".into(), thread: "1.0".into() });
        shown(&plan(&row(fact), &prompt(place), home, before, &[]))
    }

    fn planned(fact: Fact, home: Home) -> Vec<String> {
        planned_after(&Progress::default(), fact, home)
    }

    fn ended(outcome: Outcome) -> Fact {
        Fact::TurnEnded { outcome, usage: None, work: Work::default() }
    }

    fn tool(detail: &str) -> Fact {
        Fact::UsedTool { tool: "Bash".into(), detail: detail.into(), doing: Doing::Running }
    }

    fn said(text: &str) -> Fact {
        Fact::Said { text: text.into() }
    }

    const ROOT: &str = ":keyboard: *cli* by bob: fix &lt;it&gt;";

    #[test]
    fn a_turn_that_did_not_come_from_slack_gets_a_root_message_that_keeps_its_first_line() {
        let started = Fact::TurnStarted { summary: "s".into() };
        assert_eq!(planned(started, unopened()), [format!("0123456789ab feed/7/0 open {ROOT}\n_running_")]);
        assert_eq!(planned(said("**hi**"), opened()), ["0123456789ab feed/7/0 reply *hi*"]);
        assert_eq!(
            planned(said("**hi**"), unopened()),
            [format!("0123456789ab feed/7/0 open {ROOT}\n_running_"), "0123456789ab feed/7/1 reply *hi*".into()]
        );
        for (outcome, state) in [
            (Outcome::Completed, ":heavy_check_mark: done"),
            (Outcome::Interrupted, ":black_square_for_stop: interrupted"),
            (Outcome::Failed { reason: "API <500>".into(), blocked: None }, ":warning: failed: API &lt;500&gt;"),
        ] {
            assert_eq!(planned(ended(outcome), opened()), [format!("0123456789ab feed/7/0 edit {ROOT}\n{state}")]);
        }
        let undelivered = planned(Fact::Undelivered { uncertain: false, why: "gone".into() }, unopened());
        assert_eq!(undelivered[0], format!("0123456789ab feed/7/0 open {ROOT}\n:warning: not delivered"));
        assert!(undelivered[1].contains("reply :warning: The agent did not get this prompt: gone"), "{undelivered:?}");
    }

    #[test]
    fn a_turn_from_slack_is_answered_in_its_own_thread_and_opens_no_other() {
        assert!(planned(Fact::TurnStarted { summary: "s".into() }, asked()).is_empty());
        assert_eq!(planned(said("hi"), asked()), ["C1/1.0 feed/7/0 reply hi"]);
        let spoke = Progress::default().with(&said("hi"));
        assert!(planned_after(&spoke, ended(Outcome::Completed), asked()).is_empty());
        let failed = planned(ended(Outcome::Failed { reason: "no credit".into(), blocked: None }), asked());
        assert_eq!(failed, ["C1/1.0 feed/7/0 reply :warning: The turn failed: no credit"]);
    }

    #[test]
    fn a_question_says_where_it_can_be_answered_and_the_root_goes_on_once_it_is() {
        let question = Fact::Asked { question: "Run <rm>?".into(), run: None };
        let told = planned(question.clone(), opened());
        assert_eq!(told[0], format!("0123456789ab feed/7/0 edit {ROOT}\n:raised_hand: asking: Run &lt;rm&gt;?"));
        assert!(told[1].contains("> Run &lt;rm&gt;?") && told[1].contains("fleet attach ann"), "{told:?}");
        let before = Progress::default().with(&question);
        let goes_on = planned_after(&before, said("on"), opened());
        assert_eq!(goes_on[0], format!("0123456789ab feed/7/0 edit {ROOT}\n_running_"));
        assert_eq!(planned_after(&before, said("on"), asked()), ["C1/1.0 feed/7/0 reply on"]);
        assert!(planned(said("hi"), Home::Nowhere).is_empty());
    }

    #[test]
    fn what_a_turn_does_is_one_message_that_is_folded_into_a_line_at_its_end_whoever_asked() {
        let keep = "keep progress/0123456789ab:";
        let running = ":hourglass_flowing_sand: running";
        for (home, lane) in [(opened(), "0123456789ab"), (asked(), "C1/1.0")] {
            assert_eq!(planned(tool("ls"), home.clone()), [format!("{lane} feed/7/0 {keep} {running} `ls`")]);
            let todos = Fact::Todos { items: vec![Todo { text: "fix".into(), state: TodoState::Active }] };
            let before = Progress::default().with(&tool("ls"));
            let list = format!("{lane} feed/7/0 {keep} :arrow_forward: fix\n{running} `ls`");
            assert_eq!(planned_after(&before, todos, home.clone()), [list]);
            let end = planned_after(&before, ended(Outcome::Completed), home.clone());
            assert!(end.last().unwrap().ends_with(&format!("{keep} :heavy_check_mark: done")), "{end:?}");
            let again = before.with(&ended(Outcome::Completed));
            assert!(planned_after(&again, ended(Outcome::Interrupted), home).is_empty(), "an end told twice");
        }
    }

    #[test]
    fn a_turn_asked_in_slack_that_ends_without_a_word_or_with_a_pull_request_says_so() {
        let keep = "C1/1.0 feed/7/0 keep progress/0123456789ab:";
        assert_eq!(planned(ended(Outcome::Completed), asked()), [format!("{keep} :heavy_check_mark: done")]);
        let pull_requests = PullRequest::all_in("https://github.com/a/b/pull/7");
        let work = Work { pull_requests, ..Work::default() };
        let spoke = Progress::default().with(&said("hi"));
        let end = Fact::TurnEnded { outcome: Outcome::Completed, usage: None, work };
        assert_eq!(
            planned_after(&spoke, end, asked()),
            [format!("{keep} :heavy_check_mark: done · <https://github.com/a/b/pull/7|a/b#7>")]
        );
        let failed = Outcome::Failed { reason: "x".into(), blocked: None };
        let told = planned_after(&Progress::default().with(&tool("ls")), ended(failed), asked());
        assert_eq!(told.len(), 2, "said anew, and the progress is folded: {told:?}");
    }

    #[test]
    fn a_job_that_a_limit_cut_off_goes_on_in_its_own_root_and_tells_the_whole_of_it_at_its_end() {
        let job = prompt(None);
        let place = Some(Place { channel: "C1".into(), thread: "1.0".into() });
        let resume = Prompt { source: Source::Resume, id: "abcdefghjkmn".parse().unwrap(), place, ..prompt(None) };
        let known = |prompt: &Prompt| {
            let known = Known {
                at_place: Some(thread("0123456789ab")),
                job: Some(job.clone()),
                of_turn: None,
                channel: Some("C1".into()),
            };
            home(prompt, known)
        };
        let person = Prompt { source: Source::Slack, ..resume.clone() };
        assert_eq!(known(&person), Home::Asked(thread("0123456789ab")), "a person's word below it is its own turn");
        let started = Fact::TurnStarted { summary: "s".into() };
        let told = shown(&plan(&row(started), &resume, known(&resume), &Progress::default(), &[]));
        assert_eq!(told, [format!("0123456789ab feed/7/0 edit {ROOT}\n_running_")]);
        let work = |seconds, tools| Work { seconds: Some(seconds), tools, ..Work::default() };
        let limit = Outcome::Failed { reason: "limit".into(), blocked: None };
        let earlier = Ending { outcome: limit, usage: None, work: work(3600, 30) };
        let end = Fact::TurnEnded { outcome: Outcome::Completed, usage: None, work: work(60, 1) };
        let before = Progress::default().with(&tool("ls"));
        let told = shown(&plan(&row(end), &resume, known(&resume), &before, &[earlier]));
        assert_eq!(
            told,
            [
                format!("0123456789ab feed/7/0 edit {ROOT}\n:heavy_check_mark: done in 1 h 1 min, 31 tools"),
                "0123456789ab feed/7/1 keep progress/abcdefghjkmn: :heavy_check_mark: done in 1 min, 1 tool".into(),
            ]
        );
    }

    #[test]
    fn a_prompt_that_was_taken_into_another_turn_does_not_wait_for_ever_in_its_root_or_thread() {
        let other = Prompt { id: "abcdefghjkmn".parse().unwrap(), ..prompt(None) };
        let fact = || Fact::Steered { into: other.id.clone() };
        let there = || Home::Opened {
            thread: Thread { ts: Some("2.0".into()), ..thread("abcdefghjkmn") },
            job: Box::new(other.clone()),
        };
        let told = shown(&steered(&row(fact()), &prompt(None), opened(), &other, there()));
        assert!(told[0].contains("abcdefghjkmn feed/7/0 reply") && told[0].contains("steered this turn"), "{told:?}");
        assert_eq!(
            told[1],
            format!(
                "0123456789ab feed/7/by/0 edit {ROOT}\n:heavy_check_mark: done: the agent took it into the turn that ran"
            )
        );
        let place = |ts: &str| Some(Place { channel: "C1".into(), thread: ts.into() });
        let elsewhere = shown(&steered(&row(fact()), &prompt(place("1.0")), asked(), &other, there()));
        assert!(elsewhere[1].starts_with("C1/1.0 feed/7/by/0 reply"), "{elsewhere:?}");
        let same = steered(&row(fact()), &prompt(place("2.0")), asked(), &other, there());
        assert!(same.is_empty());
    }

    #[test]
    fn a_turn_whose_end_nobody_will_tell_does_not_run_for_ever() {
        let shown_before = Progress::default().with(&tool("ls"));
        for (home, progress, gone, expected) in [
            (opened(), &shown_before, true, &["edit", "keep"][..]),
            (opened(), &Progress::default(), false, &["edit"]),
            (asked(), &shown_before, false, &["keep"]),
            (asked(), &Progress::default(), true, &[]),
        ] {
            let told = shown(&left_over(&prompt(None), home, progress, gone));
            let words: Vec<&str> = told.iter().filter_map(|row| row.split(' ').nth(2)).collect();
            assert_eq!(words, expected, "{told:?}");
            let word = if gone { "interrupted" } else { "done" };
            assert!(told.iter().all(|row| row.contains(word)), "{told:?}");
        }
    }
}
