//! Why an agent can't go on though nothing is wrong with its process.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an agent waits for: a person, or a certain time. Told by the end of a turn in its record, or by its screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Blocked {
    /// Its CLI asks whether to trust the directory it works in.
    Trust,
    /// Its model does not know it (any more).
    Login {
        /// What is to be done, in the CLI's words.
        what: String,
    },
    /// What its account may use is used up.
    UsageLimit {
        /// When there is more, where the record tells; never before that.
        until: Option<Timestamp>,
    },
    /// The conversation does not fit into its model's context any more.
    ContextFull,
    /// Its model takes no requests at the moment.
    RateLimited {
        /// When it takes some again, where the record tells.
        until: Option<Timestamp>,
    },
}

impl fmt::Display for Blocked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trust => formatter.write_str("its CLI asks whether to trust its directory"),
            Self::Login { what } => write!(formatter, "its login is over: {what}"),
            Self::UsageLimit { until: Some(until) } => write!(formatter, "its usage limit is reached until {until}"),
            Self::UsageLimit { until: None } => formatter.write_str("its usage limit is reached"),
            Self::ContextFull => formatter.write_str("its context is full"),
            Self::RateLimited { until: Some(until) } => write!(formatter, "its model takes no requests until {until}"),
            Self::RateLimited { until: None } => formatter.write_str("its model takes no requests at the moment"),
        }
    }
}

/// What kind of dialog is open in an agent's pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialogKind {
    /// Whether the agent may do something.
    Permission,
    /// The agent itself asks.
    Question,
    /// Whether its directory is to be trusted.
    Trust,
    /// It is not logged in.
    Login,
    /// Only news of a limit: Escape closes it, and nothing is chosen by that.
    Limit,
    /// Another one.
    Other,
}

/// How full a model's context is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextUse {
    /// Tokens in it, by the latest answer of the model or what a compaction left.
    pub used: u64,
    /// Tokens that fit.
    pub window: u64,
    /// How often it was emptied before, in this agent's life: names the present fill.
    pub fill: u32,
    /// Tokens that were in it when the present fill began; 0 for the first.
    pub left: u64,
}

impl ContextUse {
    /// The share in use, of 1.
    #[expect(clippy::cast_precision_loss, reason = "no context has 2^52 tokens")]
    pub fn share(&self) -> f64 {
        self.used as f64 / self.window.max(1) as f64
    }

    /// Whether the share in use is at least `at`, and the context has grown by a twentieth of the window since it was emptied
    /// last: what one compaction leaves, the next one leaves too.
    pub fn is_worth_compacting(&self, at: f64) -> bool {
        self.share() >= at && self.used.saturating_sub(self.left) >= self.window / 20
    }
}
