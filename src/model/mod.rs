//! The words that every room shares: who an agent is, what a prompt is and how far it has come, what an agent did.
//!
//! Plain data and pure functions. This room must never open a file, read the environment or ask for the time: a [`Clock`]
//! is passed in by whoever owns one.

mod blocked;
pub mod blocks;
mod clock;
mod feed;
pub mod launch;
mod notice;
mod prompt;
mod question;
mod schedule;
mod slug;
pub mod text;
mod transcript;
mod verdict;
mod work;

pub use blocked::{Blocked, ContextUse, DialogKind};
pub use clock::{Clock, SystemClock};
pub use feed::{Fact, FeedRow, Outcome, Usage};
pub use launch::{LaunchFile, LaunchFileError};
pub use notice::{Notice, size};
pub use prompt::{
    Evidence, Mode, NewPrompt, Place, Prompt, PromptId, PromptState, Rank, Source, StateName, TIME_TO_LIVE, Transition,
};
pub use question::{Answer, AnswerKey, Choice, Dialog, Question, QuestionEnd, QuestionState};
pub use schedule::{DateFilter, Schedule, WeekdaySet};
pub use slug::{Slug, SlugError};
pub use transcript::{TranscriptEntry, TranscriptLine};
pub use verdict::Verdict;
pub use work::{Doing, Dollars, PullRequest, Todo, TodoState, Work};
