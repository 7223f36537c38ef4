//! What the lines of an agent's record say, whichever CLI wrote them.

use jiff::Timestamp;

use crate::model::{Doing, Dollars, Outcome, PullRequest, Todo, TodoState, Usage};

/// What a line of a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The conversation that runs from here on.
    Conversation {
        /// Its id.
        id: String,
    },
    /// The agent took a prompt.
    Prompt {
        /// Its whole text.
        text: String,
    },
    /// The agent took a text: into the turn that runs, where one does, else as the prompt of a new one.
    Taken {
        /// Its whole text.
        text: String,
    },
    /// The agent holds a text in a queue of its own: it was submitted while a turn ran, and is not taken yet.
    Queued {
        /// Its whole text.
        text: String,
    },
    /// The agent gave a text that it held back into its input box, where a person may change it; it was not taken.
    GivenBack {
        /// Its whole text.
        text: String,
    },
    /// The agent said something, in Markdown.
    Said {
        /// One whole block.
        text: String,
    },
    /// The agent used a tool.
    UsedTool {
        /// Its name.
        tool: String,
        /// What with, in one line.
        detail: String,
        /// What kind of thing it does with it.
        doing: Doing,
    },
    /// A command that the agent ran printed the addresses of pull requests.
    Printed {
        /// Which.
        pull_requests: Vec<PullRequest>,
    },
    /// The agent changed its own to-do list.
    Todos(TodoChange),
    /// The agent waits for a person.
    Asked {
        /// What it asks.
        question: String,
        /// What would be done, in full, where it asks for leave and the record tells.
        run: Option<String>,
    },
    /// Tokens of one message; a repeated `message` replaces, a new one adds.
    Usage {
        /// The message's id.
        message: String,
        /// What it cost.
        usage: Usage,
    },
    /// Money that the turn cost, by the agent's own word.
    Cost {
        /// How much.
        dollars: Dollars,
    },
    /// How full the model's context is, and when a limit ends; what is not told stays as it was told before.
    Measured {
        /// Tokens in the context.
        used: Option<u64>,
        /// Tokens that fit.
        window: Option<u64>,
        /// When the limit that is used up now ends.
        limited_until: Option<Timestamp>,
    },
    /// The CLI took the command to compact the conversation.
    Compacting,
    /// The conversation was compacted.
    Compacted {
        /// Tokens that are left, where it tells.
        left: Option<u64>,
    },
    /// The turn ended.
    TurnEnded {
        /// How.
        outcome: Outcome,
        /// The agent's last words, where the record repeats them: the transcript must show them before the turn is closed.
        last_words: Option<String>,
    },
}

/// What becomes of an agent's own to-do list. Some CLIs tell the whole list each time, some tell of one thing on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TodoChange {
    /// This is the whole list.
    All(Vec<Todo>),
    /// One more thing, at the list's end.
    Added {
        /// Its name in the CLI.
        id: String,
        /// What.
        text: String,
    },
    /// One thing changed; what is none stayed.
    Changed {
        /// Its name in the CLI.
        id: String,
        /// What it is now.
        text: Option<String>,
        /// How far it is now.
        state: Option<TodoState>,
    },
    /// One thing is no longer on the list.
    Removed {
        /// Its name in the CLI.
        id: String,
    },
}

impl Record {
    /// The text that the agent took, where the line tells of one.
    pub fn taken(&self) -> Option<&str> {
        match self {
            Self::Prompt { text } | Self::Taken { text } => Some(text),
            _ => None,
        }
    }

    /// As [`Record::taken`], or the text that the agent holds in a queue of its own, or held there.
    pub fn given(&self) -> Option<&str> {
        match self {
            Self::Queued { text } | Self::GivenBack { text } => Some(text),
            _ => self.taken(),
        }
    }
}
