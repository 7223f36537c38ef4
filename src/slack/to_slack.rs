//! What an agent did → what is to be said in Slack. Pure.
//!
//! A turn that a person's message opened is answered in that message's thread. Every other turn has a root message of
//! ours in the agent's channel, opened by the first row of it that is read. Nothing is ever said in another agent's
//! channel, and what a person does in the pane by hand stays there.

use super::from_slack::thread_of_people;
use super::markdown;
use super::wording::{self, RootState};
use crate::model::{Fact, FeedRow, Outcome, Prompt, Source};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread};

/// What is to be stored for one row of the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// A thread that is new.
    pub(super) thread: Option<Thread>,
    /// What to say, in order.
    pub(super) rows: Vec<NewOutboxRow>,
}

/// Where a turn is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Home {
    /// In the thread that asked.
    Asked(Thread),
    /// Below the root message that was opened for it.
    Opened(Thread),
    /// Nowhere yet: a root message is due in this channel, the agent's own.
    Unopened {
        /// The channel's id.
        channel: String,
    },
    /// Nowhere: the agent has no channel that is known.
    Nowhere,
}

/// Where a turn is told, from what is known: the thread at the prompt's place (or of it, where the place is new to us), the
/// thread opened for the turn, the agent's channel.
pub(super) fn home(prompt: &Prompt, at_place: Option<Thread>, of_turn: Option<Thread>, channel: Option<&str>) -> Home {
    match (&prompt.place, of_turn, channel) {
        (Some(place), _, _) => Home::Asked(
            at_place.unwrap_or_else(|| thread_of_people(&place.channel, &place.thread, Some(&prompt.agent))),
        ),
        (None, Some(thread), _) => Home::Opened(thread),
        (None, None, Some(channel)) => Home::Unopened { channel: channel.to_owned() },
        (None, None, None) => Home::Nowhere,
    }
}

/// What one row of the feed adds.
pub(super) fn plan(row: &FeedRow, prompt: &Prompt, home: Home) -> Plan {
    let (root, replies) = told(&row.fact, prompt, matches!(home, Home::Asked(_)));
    say(row, prompt, home, root, replies)
}

/// What is added where a turn is told by a prompt that was taken into it: who steered it, for those who follow it there.
/// What was said in that very thread needs no second telling. `opener` opened the turn, `home` is where it is told.
pub(super) fn steered(row: &FeedRow, by: &Prompt, opener: &Prompt, home: Home) -> Plan {
    let there = match &home {
        Home::Asked(thread) | Home::Opened(thread) => thread.place(),
        Home::Unopened { .. } | Home::Nowhere => None,
    };
    if by.place.is_some() && by.place == there {
        return Plan::default();
    }
    say(row, opener, home, None, markdown::split(&wording::steered(by)))
}

/// The rows that say it.
fn say(row: &FeedRow, prompt: &Prompt, home: Home, root: Option<RootState<'_>>, replies: Vec<String>) -> Plan {
    if root.is_none() && replies.is_empty() {
        return Plan::default();
    }
    let (thread, mut actions) = match home {
        Home::Nowhere => return Plan::default(),
        // Stored also where it is known: a place that the table forgot is a thread of the agent's all the same.
        Home::Asked(thread) => (thread, Vec::new()),
        Home::Opened(thread) => {
            let edit = root.map(|state| OutboxAction::EditRoot { said: Said::text(wording::root(prompt, state)) });
            (thread, edit.into_iter().collect())
        }
        Home::Unopened { channel } => {
            let thread = Thread { lane: prompt.id.to_string(), agent: Some(prompt.agent.clone()), channel, ts: None };
            let text = wording::root(prompt, root.unwrap_or(RootState::Running));
            (thread, vec![OutboxAction::Open { said: Said::text(text) }])
        }
    };
    actions.extend(replies.into_iter().map(|text| OutboxAction::Reply { said: Said::text(text) }));
    let rows = actions.into_iter().enumerate().map(|(index, action)| NewOutboxRow {
        dedup_key: format!("feed/{}/{index}", row.seq),
        lane: thread.lane.clone(),
        channel: thread.channel.clone(),
        action,
    });
    Plan { rows: rows.collect(), thread: Some(thread) }
}

/// The state that a fact gives the root message, and what it says below it.
fn told<'a>(fact: &'a Fact, prompt: &Prompt, asked_in_slack: bool) -> (Option<RootState<'a>>, Vec<String>) {
    match fact {
        Fact::TurnStarted { .. } if asked_in_slack => (None, Vec::new()),
        Fact::TurnStarted { .. } => (Some(RootState::Running), Vec::new()),
        Fact::Said { text } => (None, markdown::render(text)),
        Fact::UsedTool { .. } => (None, Vec::new()),
        Fact::Asked { question } => (None, markdown::split(&wording::asked(&prompt.agent, question))),
        // Whoever sent it from a shell sees it there.
        Fact::Held { .. } if prompt.source == Source::Cli => (None, Vec::new()),
        Fact::Held { why, .. } if asked_in_slack => (None, vec![wording::held(why)]),
        Fact::Held { why, .. } => (Some(RootState::Waiting(why)), Vec::new()),
        // Told where the turn is told that took it in.
        Fact::Steered { .. } => (None, Vec::new()),
        Fact::Undelivered { uncertain, why } => {
            let state = if *uncertain { RootState::Unsure } else { RootState::NotTaken };
            (Some(state), markdown::split(&wording::undelivered(*uncertain, why)))
        }
        Fact::TurnEnded { outcome, .. } => {
            let (state, words) = match outcome {
                Outcome::Completed => (RootState::Done, None),
                Outcome::Interrupted => (RootState::Interrupted, Some(wording::turn_interrupted())),
                Outcome::Failed { reason, .. } => (RootState::Failed(reason), Some(wording::turn_failed(reason))),
            };
            if asked_in_slack { (None, words.into_iter().collect()) } else { (Some(state), Vec::new()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Place, Source};

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

    fn planned(fact: Fact, home: Home) -> Vec<String> {
        let place = matches!(home, Home::Asked(_)).then(|| Place { channel: "C1".into(), thread: "1.0".into() });
        let row = FeedRow { seq: 7, at: Timestamp::UNIX_EPOCH, agent: "ann".parse().unwrap(), turn: None, fact };
        let rows = plan(&row, &prompt(place), home).rows;
        rows.iter()
            .map(|row| match &row.action {
                OutboxAction::Open { said: Said { text, .. } } => format!("{} {} open {text}", row.lane, row.dedup_key),
                OutboxAction::Reply { said: Said { text, .. } } => {
                    format!("{} {} reply {text}", row.lane, row.dedup_key)
                }
                OutboxAction::EditRoot { said: Said { text, .. } } => {
                    format!("{} {} edit {text}", row.lane, row.dedup_key)
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    const ROOT: &str = ":keyboard: *cli* by bob: fix &lt;it&gt;";

    #[test]
    fn a_turn_that_did_not_come_from_slack_gets_a_root_message_that_keeps_its_first_line() {
        let unopened = || Home::Unopened { channel: "C1".into() };
        let opened = || Home::Opened(thread("0123456789ab"));
        let started = Fact::TurnStarted { summary: "s".into() };
        assert_eq!(planned(started, unopened()), [format!("0123456789ab feed/7/0 open {ROOT}\n_running_")]);
        let said = || Fact::Said { text: "**hi**".into() };
        assert_eq!(planned(said(), opened()), ["0123456789ab feed/7/0 reply *hi*"]);
        assert_eq!(
            planned(said(), unopened()),
            [format!("0123456789ab feed/7/0 open {ROOT}\n_running_"), "0123456789ab feed/7/1 reply *hi*".into()]
        );
        for (outcome, state) in [
            (Outcome::Completed, ":heavy_check_mark: done"),
            (Outcome::Interrupted, ":black_square_for_stop: interrupted"),
            (Outcome::Failed { reason: "API <500>".into(), blocked: None }, ":warning: failed: API &lt;500&gt;"),
        ] {
            let ended = planned(Fact::TurnEnded { outcome, usage: None }, opened());
            assert_eq!(ended, [format!("0123456789ab feed/7/0 edit {ROOT}\n{state}")]);
        }
        let undelivered = planned(Fact::Undelivered { uncertain: false, why: "gone".into() }, unopened());
        assert_eq!(undelivered[0], format!("0123456789ab feed/7/0 open {ROOT}\n:warning: not delivered"));
        assert!(undelivered[1].contains("reply :warning: The agent did not get this prompt: gone"), "{undelivered:?}");
    }

    #[test]
    fn a_turn_from_slack_is_answered_in_its_own_thread_and_opens_no_other() {
        let asked = || Home::Asked(thread("C1/1.0"));
        assert!(planned(Fact::TurnStarted { summary: "s".into() }, asked()).is_empty());
        assert_eq!(planned(Fact::Said { text: "hi".into() }, asked()), ["C1/1.0 feed/7/0 reply hi"]);
        assert!(planned(Fact::TurnEnded { outcome: Outcome::Completed, usage: None }, asked()).is_empty());
        let failed = Outcome::Failed { reason: "no credit".into(), blocked: None };
        let failed = planned(Fact::TurnEnded { outcome: failed, usage: None }, asked());
        assert_eq!(failed, ["C1/1.0 feed/7/0 reply :warning: The turn failed: no credit"]);
    }

    #[test]
    fn a_question_says_where_it_can_be_answered_and_tools_stay_silent() {
        let asked = planned(Fact::Asked { question: "Run <rm>?".into() }, Home::Opened(thread("x")));
        assert!(asked[0].contains("> Run &lt;rm&gt;?") && asked[0].contains("fleet attach ann"), "{asked:?}");
        let tool = Fact::UsedTool { tool: "Bash".into(), detail: "ls".into() };
        assert!(planned(tool, Home::Unopened { channel: "C1".into() }).is_empty());
        assert!(planned(Fact::Said { text: "hi".into() }, Home::Nowhere).is_empty());
    }
}
