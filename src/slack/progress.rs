//! How far a turn is, for its root message and for its one progress message. Pure: a fold over the feed's rows of the turn,
//! so that a restart comes to the same.

use crate::model::{Doing, Fact, FeedRow, Outcome, Todo, Usage, Work};

/// What is known of a turn so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The agent's own to-do list, as far as it touched it in this turn.
    pub(super) todos: Vec<Todo>,
    /// What it did last.
    pub(super) doing: Option<Step>,
    /// How many times it used a tool.
    pub(super) tools: u32,
    /// What it asked and waits for.
    pub(super) asking: Option<String>,
    /// Whether it said anything.
    pub(super) spoke: bool,
    /// How it ended.
    pub(super) ended: Option<Ending>,
}

/// The use of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) doing: Doing,
    pub(super) tool: String,
    pub(super) detail: String,
}

/// How a turn ended, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) usage: Option<Usage>,
    pub(super) work: Work,
}

impl Ending {
    /// The end that a fact tells.
    pub(super) fn of(fact: &Fact) -> Option<Self> {
        let Fact::TurnEnded { outcome, usage, work } = fact else { return None };
        Some(Self { outcome: outcome.clone(), usage: *usage, work: work.clone() })
    }

    /// The end of a job whose turns before this one ended so.
    pub(super) fn after(self, earlier: &[Self]) -> Self {
        earlier.iter().fold(self, |ending, before| Self {
            usage: match (ending.usage, before.usage) {
                (Some(one), Some(other)) => Some(one.plus(other)),
                (one, other) => one.or(other),
            },
            work: ending.work.after(&before.work),
            outcome: ending.outcome,
        })
    }
}

impl Progress {
    /// What is known with these rows of the turn.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a FeedRow>) -> Self {
        rows.into_iter().fold(Self::default(), |progress, row| progress.with(&row.fact))
    }

    /// What is known with one fact more.
    #[must_use]
    pub(super) fn with(mut self, fact: &Fact) -> Self {
        if matches!(fact, Fact::Said { .. } | Fact::UsedTool { .. } | Fact::Todos { .. } | Fact::TurnEnded { .. }) {
            self.asking = None;
        }
        match fact {
            // What comes after an end was told anew: another life of the same prompt.
            Fact::TurnStarted { .. } => return Self::default(),
            Fact::Said { .. } => self.spoke = true,
            Fact::UsedTool { tool, detail, doing } => {
                self.tools = self.tools.saturating_add(1);
                self.doing = Some(Step { doing: *doing, tool: tool.clone(), detail: detail.clone() });
            }
            Fact::Todos { items } => self.todos.clone_from(items),
            Fact::Asked { question, .. } => self.asking = Some(question.clone()),
            Fact::TurnEnded { .. } => self.ended = Ending::of(fact),
            Fact::Undelivered { .. } | Fact::Held { .. } | Fact::Steered { .. } => {}
        }
        self
    }

    /// Whether there is something to show while it runs.
    pub(super) fn is_shown(&self) -> bool {
        self.tools > 0 || !self.todos.is_empty()
    }
}

/// Whether a fact changes what the progress message shows.
pub(super) fn shows(fact: &Fact) -> bool {
    matches!(fact, Fact::UsedTool { .. } | Fact::Todos { .. } | Fact::TurnEnded { .. })
}

/// Whether all that follows from a fact is another progress message. `before` is how far the turn was.
pub(super) fn is_progress_only(fact: &Fact, before: &Progress) -> bool {
    matches!(fact, Fact::UsedTool { .. } | Fact::Todos { .. }) && before.asking.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_open_until_the_agent_goes_on() {
        let asked = || Progress::default().with(&Fact::Asked { question: "May I?".into(), run: None });
        let tool = Fact::UsedTool { tool: "Bash".into(), detail: "ls".into(), doing: Doing::Running };
        assert_eq!(asked().asking.as_deref(), Some("May I?"));
        for (fact, open) in [
            (Fact::Held { by: "busy".into(), why: "it is busy".into() }, true),
            (Fact::Said { text: "on".into() }, false),
            (tool, false),
            (Fact::Todos { items: Vec::new() }, false),
            (Fact::TurnEnded { outcome: Outcome::Completed, usage: None, work: Work::default() }, false),
        ] {
            assert_eq!(asked().with(&fact).asking.is_some(), open, "{fact:?}");
        }
    }

    #[test]
    fn a_turn_that_only_answers_has_nothing_to_show_and_one_that_works_has_what_it_does_last() {
        let talks = Progress::default().with(&Fact::Said { text: "4".into() });
        assert!(talks.spoke && !talks.is_shown());
        let tool = |detail: &str| Fact::UsedTool { tool: "Bash".into(), detail: detail.into(), doing: Doing::Running };
        let works = Progress::default().with(&tool("ls")).with(&tool("make"));
        assert_eq!((works.tools, works.doing.unwrap().detail.as_str()), (2, "make"));
    }
}
