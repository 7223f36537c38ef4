//! A prompt and its life, from the moment somebody meant it until the agent's turn ended.
//!
//! The word "sent" does not exist here: a prompt is `confirmed` only when the agent's own record holds it.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Slug;

/// Names a prompt for ever: 12 characters of Crockford's base 32 (60 random bits), printed in the header line that is typed
/// above the prompt, and so found again in the agent's own record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PromptId(String);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl PromptId {
    /// Characters in an id.
    pub const LENGTH: usize = 12;

    /// A new id.
    pub fn random() -> Self {
        let bits = Uuid::new_v4().as_u128();
        // A version 4 UUID fixes bits 76..80 and 62..64; the low 60 are all random.
        let digit = |place: usize| ALPHABET[((bits >> (5 * place)) & 31) as usize] as char;
        Self((0..Self::LENGTH).map(digit).collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PromptId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == Self::LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not a prompt id: it has {} letters and digits, as `fleet send --no-wait` prints it",
                Self::LENGTH
            ))
        }
    }
}

impl TryFrom<String> for PromptId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PromptId> for String {
    fn from(id: PromptId) -> Self {
        id.0
    }
}

impl fmt::Display for PromptId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Where a prompt came from. It decides the words of the header, the order in the queue and where the answer goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// The daily prompt of that local day.
    Nudge {
        /// The agent's local day.
        day: Date,
    },
    /// `fleet nudge`: the daily prompt by hand, beside the day's stamp.
    NudgeByHand,
    /// `initPrompt`, once after the very first launch.
    Init,
    /// `fleet send`.
    Cli,
    /// A person's message in Slack.
    Slack,
    /// The fleet itself: a turn that a limit cut off goes on.
    Resume,
    /// The fleet itself: the agent's CLI shall compact the conversation. The one prompt that is typed as it stands, because
    /// its body is a command of the CLI.
    Compact,
}

impl Source {
    /// The word in the header line and in tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nudge { .. } | Self::NudgeByHand => "nudge",
            Self::Init => "init",
            Self::Cli => "cli",
            Self::Slack => "slack",
            Self::Resume => "resume",
            Self::Compact => "compact",
        }
    }

    /// Whose prompts go first: a person who waits, before what a clock or a watcher sent.
    pub fn rank(&self) -> Rank {
        match self {
            Self::Cli | Self::Slack | Self::NudgeByHand | Self::Init => Rank::Person,
            Self::Nudge { .. } => Rank::Nudge,
            Self::Resume | Self::Compact => Rank::Fleet,
        }
    }

    /// Whether the prompt is typed as it stands: no header in front, no rule below.
    pub fn is_raw(&self) -> bool {
        matches!(self, Self::Compact)
    }
}

/// Whose prompts go first, first one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The conversation needs it before anything else.
    Fleet,
    /// A person waits for it.
    Person,
    /// The schedule sent it.
    Nudge,
}

/// When a prompt may be typed. What it comes to for one look at the agent is decided anew at every pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Once the agent is idle.
    #[default]
    Queue,
    /// Into the turn that runs, where one runs and the agent's CLI takes text meanwhile; else once it is idle.
    Steer,
    /// At once: the turn that runs is broken off first.
    Interrupt,
    /// As [`Mode::Steer`] where it stands in the thread of the turn that runs, else as [`Mode::Queue`].
    Thread,
}

impl Mode {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Steer => "steer",
            Self::Interrupt => "interrupt",
            Self::Thread => "thread",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let modes = [Self::Queue, Self::Steer, Self::Interrupt, Self::Thread];
        let mode = modes.into_iter().find(|mode| mode.as_str() == text);
        mode.ok_or_else(|| format!("{text:?} is not a mode: queue, steer or interrupt"))
    }
}

/// A Slack thread: the channel's id and the timestamp of its first message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Slack's channel id (`C…`), never its name.
    pub channel: String,
    /// The root message's `ts`, which is the thread's name within the channel.
    pub thread: String,
}

/// What a source hands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrompt {
    /// The prompt's name; a source that may be asked twice (an offline queue) sets it beforehand.
    pub id: PromptId,
    /// For whom it is.
    pub agent: Slug,
    /// Where it came from.
    pub source: Source,
    /// Who meant it, as people know them: a login name, a Slack display name, `schedule`.
    pub who: String,
    /// The same key twice is the same prompt.
    pub dedup_key: String,
    /// The text as its author wrote it.
    pub body: String,
    /// The thread that gets the answer, where it came from one.
    pub place: Option<Place>,
    /// When it is too late to give it to the agent; [`TIME_TO_LIVE`] after it was stored where there is none.
    pub expires: Option<Timestamp>,
    /// When it may be typed.
    pub mode: Mode,
}

/// How long a prompt waits for its agent before it is given up, where its source says nothing else: what somebody wrote
/// yesterday may be wrong today.
pub const TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(24);

/// A prompt as the inbox holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its name.
    pub id: PromptId,
    /// For whom it is.
    pub agent: Slug,
    /// Where it came from.
    pub source: Source,
    /// Who meant it.
    pub who: String,
    /// The text as its author wrote it.
    pub body: String,
    /// The thread that gets the answer.
    pub place: Option<Place>,
    /// When it was stored.
    pub created: Timestamp,
    /// When it is too late to give it to the agent.
    pub expires: Option<Timestamp>,
    /// When it may be typed.
    pub mode: Mode,
    /// The prompt at whose head it was typed, where several went as one message; that one has none.
    pub lead: Option<PromptId>,
    /// How far it has come.
    pub state: PromptState,
    /// Since when it is in that state.
    pub since: Timestamp,
}

/// How the agent's own record showed the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A hook of the CLI (UserPromptSubmit) carried it.
    Hook,
    /// The conversation's transcript or rollout holds it.
    Transcript,
    /// The agent's record says that it waits in the agent's own queue, which dies with the agent's process.
    Queue,
    /// Only the screen shows it: an agent that keeps no record.
    Screen,
}

impl fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hook => "hook",
            Self::Transcript => "transcript",
            Self::Queue => "queue",
            Self::Screen => "screen",
        })
    }
}

/// How far a prompt has come. Each variant carries what is known in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PromptState {
    /// Stored; nothing of it was typed.
    Queued,
    /// As queued, and for a while now something holds it back.
    Deferred {
        /// What, for people.
        reason: String,
    },
    /// Some of it may be in the pane; Enter was not pressed.
    Typing {
        /// The 1-based attempt.
        attempt: u32,
        /// Whether it goes into a turn that runs.
        #[serde(default, skip_serializing_if = "is_false")]
        steering: bool,
    },
    /// Enter was pressed; the agent's record has not shown it yet.
    Submitted {
        /// The 1-based attempt.
        attempt: u32,
        /// Whether it went into a turn that ran.
        #[serde(default, skip_serializing_if = "is_false")]
        steering: bool,
    },
    /// The agent's own record holds it.
    Confirmed {
        /// Which record.
        by: Evidence,
    },
    /// The turn that took it has ended.
    Done {
        /// Which record showed that it was taken.
        by: Evidence,
    },
    /// It was not taken, and it is known not to be: nothing of it will run.
    Failed {
        /// What happened, for people.
        reason: String,
    },
    /// Whether it was taken can't be told; it is never typed again by itself.
    Uncertain {
        /// What was seen, for people.
        seen: String,
    },
    /// A person took it back before anything of it was typed, or gave up on its fate.
    Cancelled {
        /// Who.
        by: String,
    },
    /// It waited until its time was over; nothing of it was typed.
    Expired,
}

/// A state without its data: what is stored in a column and asked for in queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is described at the variant of PromptState of the same name")]
pub enum StateName {
    Queued,
    Deferred,
    Typing,
    Submitted,
    Confirmed,
    Done,
    Failed,
    Uncertain,
    Cancelled,
    Expired,
}

impl StateName {
    /// Whether nothing of the prompt was typed yet and it is still to be.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Queued | Self::Deferred)
    }

    /// Whether the agent has it or is being given it: it, or its turn, would be lost with the agent's process.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Typing | Self::Submitted | Self::Confirmed)
    }

    /// Whether the prompt's way to the agent is over: nothing but a person's `fleet retry` moves it on.
    pub fn is_given_up(self) -> bool {
        matches!(self, Self::Failed | Self::Uncertain | Self::Cancelled | Self::Expired)
    }

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Deferred => "deferred",
            Self::Typing => "typing",
            Self::Submitted => "submitted",
            Self::Confirmed => "confirmed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Uncertain => "uncertain",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

impl PromptState {
    /// The state's name.
    pub fn name(&self) -> StateName {
        match self {
            Self::Queued => StateName::Queued,
            Self::Deferred { .. } => StateName::Deferred,
            Self::Typing { .. } => StateName::Typing,
            Self::Submitted { .. } => StateName::Submitted,
            Self::Confirmed { .. } => StateName::Confirmed,
            Self::Done { .. } => StateName::Done,
            Self::Failed { .. } => StateName::Failed,
            Self::Uncertain { .. } => StateName::Uncertain,
            Self::Cancelled { .. } => StateName::Cancelled,
            Self::Expired => StateName::Expired,
        }
    }
}

/// One step of a prompt's life, as `fleet trace` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// Into which state.
    #[serde(flatten)]
    pub state: PromptState,
    /// Why, for people.
    pub cause: String,
}

#[cfg(test)]
impl Prompt {
    /// What the tests of every room begin with: ann's prompt to `a`, from a shell, waiting since 1970.
    pub(crate) fn example() -> Self {
        Self {
            id: PromptId("0123456789ab".to_owned()),
            agent: "a".parse().unwrap(),
            source: Source::Cli,
            who: "ann".into(),
            body: "x".into(),
            place: None,
            created: Timestamp::UNIX_EPOCH,
            expires: None,
            mode: Mode::Queue,
            lead: None,
            state: PromptState::Queued,
            since: Timestamp::UNIX_EPOCH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_print_and_parse_and_junk_is_refused() {
        let id = PromptId::random();
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_ne!(id, PromptId::random());
        for junk in ["", "abc", "abcdefghijkl", "ABCDEFGHJKMN", "0123456789abc"] {
            assert!(junk.parse::<PromptId>().is_err(), "{junk}");
        }
    }
}
