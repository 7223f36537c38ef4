//! What can hold a prompt back, in words for people: whoever waits for it must be able to mend it.

use std::fmt;

use crate::model::{Blocked, PromptId};

/// What holds a prompt back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// A person holds the agent.
    Held(String),
    /// It is to be started anew first.
    Draining(String),
    /// The agent can't go on before something else has changed.
    Blocked(Blocked),
    /// There is no session of ours for the agent.
    NoSession,
    /// The agent's process ended.
    Dead,
    /// Another process sits in the pane.
    Stranger(String),
    /// Another program has the terminal.
    Behind(String),
    /// tmux drops what is typed there.
    InputOff,
    /// Copy mode or another mode is on.
    Mode,
    /// It reads whole lines, and no single key.
    ReadsLines,
    /// It shows no place to type yet.
    NotReady,
    /// A turn runs.
    Busy,
    /// A dialog is open.
    Dialog(String),
    /// Something stands in the input box that is not ours.
    Draft,
    /// The text of that prompt stands in the input box, and whether the agent has taken it can't be told.
    Undecided(PromptId),
    /// A person who is attached typed a moment ago.
    PersonTypes,
}

impl Hold {
    /// The kind of thing that holds a prompt back, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Draining(_) => "draining",
            Self::Blocked(_) => "blocked",
            Self::NoSession => "session",
            Self::Dead => "dead",
            Self::Stranger(_) => "stranger",
            Self::Behind(_) => "behind",
            Self::InputOff => "input",
            Self::Mode => "mode",
            Self::ReadsLines => "lines",
            Self::NotReady => "start",
            Self::Busy => "busy",
            Self::Dialog(_) => "dialog",
            Self::Draft => "draft",
            Self::Undecided(_) => "undecided",
            Self::PersonTypes => "person",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(who) => write!(formatter, "{who} holds it (`fleet resume`)"),
            Self::Draining(why) => write!(formatter, "it is started anew first: {why}"),
            Self::Blocked(why) => why.fmt(formatter),
            Self::NoSession => formatter.write_str("its session is not up"),
            Self::Dead => formatter.write_str("its process has ended"),
            Self::Stranger(program) => write!(formatter, "{program} runs in its pane instead of the agent"),
            Self::Behind(program) => write!(formatter, "{program} has its terminal"),
            Self::InputOff => formatter.write_str("input to its pane is switched off"),
            Self::Mode => formatter.write_str("its pane is in copy mode"),
            Self::ReadsLines => formatter.write_str("it reads whole lines and takes no Escape"),
            Self::NotReady => formatter.write_str("it shows no input box yet"),
            Self::Busy => formatter.write_str("it is busy"),
            Self::Dialog(what) => write!(formatter, "it waits for a person: {what}"),
            Self::Draft => formatter.write_str("somebody's text stands in its input box"),
            Self::Undecided(id) => {
                write!(formatter, "the text of {id}, which is uncertain, stands in its input box: enter it or clear it")
            }
            Self::PersonTypes => formatter.write_str("somebody types in its pane"),
        }
    }
}
