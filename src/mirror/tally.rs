//! What the turn that runs has come to so far, and the agent's own to-do list: pure, stored with the open turn.
//!
//! The list is the agent's, not the turn's: a task that one turn wrote down is ticked off in a later one. A list of which
//! everything is done is over with its turn.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::text::first_line;
use crate::model::{Dollars, Fact, PullRequest, Todo, TodoState, Work};
use crate::runtime::{Record, TodoChange};

/// The most things on a list that are remembered; people read no more.
const MOST_TODOS: usize = 30;

/// The most characters of one of them.
const LONGEST_TODO: usize = 160;

/// What one turn has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// When the turn began; none of a turn that an older fleetd saw begin.
    began: Option<Timestamp>,
    tools: u32,
    cost: Option<Dollars>,
    /// What the agent named, and what its commands printed, each in order.
    named: Vec<PullRequest>,
    printed: Vec<PullRequest>,
}

impl Tally {
    /// A turn begins.
    pub fn begin(at: Timestamp) -> Self {
        Self { began: Some(at), ..Self::default() }
    }

    /// Counts a record of the turn in.
    pub fn count(&mut self, record: &Record) {
        match record {
            Record::UsedTool { .. } => self.tools = self.tools.saturating_add(1),
            Record::Said { text } => keep(&mut self.named, &PullRequest::all_in(text)),
            Record::Printed { pull_requests } => keep(&mut self.printed, pull_requests),
            Record::Cost { dollars } => self.cost = Some(self.cost.unwrap_or_default().plus(*dollars)),
            _ => {}
        }
    }

    /// The turn is over. What the agent named comes first: what its commands printed may be others' work.
    pub fn end(&mut self, at: Timestamp) -> Work {
        let Self { began, tools, cost, named: mut pull_requests, printed } = std::mem::take(self);
        keep(&mut pull_requests, &printed);
        // A clock that was set back meanwhile tells nothing.
        let seconds = began.and_then(|began| u64::try_from(at.duration_since(began).as_secs()).ok());
        Work { seconds, tools, cost, pull_requests }
    }
}

fn keep(known: &mut Vec<PullRequest>, more: &[PullRequest]) {
    for one in more {
        if known.len() < Work::MOST_PULL_REQUESTS && !known.contains(one) {
            known.push(one.clone());
        }
    }
}

/// An agent's own to-do list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Todos(Vec<Item>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    /// Its name in the CLI, where the CLI gives one.
    id: Option<String>,
    #[serde(flatten)]
    todo: Todo,
}

impl Todos {
    /// Changes the list; the fact that tells of it, where it is another one now.
    pub fn change(&mut self, change: &TodoChange) -> Option<Fact> {
        let before = self.0.clone();
        match change {
            TodoChange::All(items) => {
                self.0 = items.iter().map(|todo| Item { id: None, todo: todo.clone() }).collect();
            }
            // A task of that name that is known is told twice, or of a list that began anew.
            TodoChange::Added { id, text } => {
                self.0.retain(|item| item.id.as_ref() != Some(id));
                let todo = Todo { text: text.clone(), state: TodoState::Pending };
                self.0.push(Item { id: Some(id.clone()), todo });
            }
            TodoChange::Changed { id, text, state } => {
                if let Some(item) = self.0.iter_mut().find(|item| item.id.as_ref() == Some(id)) {
                    item.todo.text = text.clone().unwrap_or_else(|| item.todo.text.clone());
                    item.todo.state = state.unwrap_or(item.todo.state);
                }
            }
            TodoChange::Removed { id } => self.0.retain(|item| item.id.as_ref() != Some(id)),
        }
        self.0.truncate(MOST_TODOS);
        for item in &mut self.0 {
            item.todo.text = first_line(&item.todo.text, LONGEST_TODO);
        }
        let items = || self.0.iter().map(|item| item.todo.clone()).collect();
        (self.0 != before).then(|| Fact::Todos { items: items() })
    }

    /// A turn has ended.
    pub fn turn_ended(&mut self) {
        if self.0.iter().all(|item| item.todo.state == TodoState::Done) {
            self.0.clear();
        }
    }

    /// Another conversation began: its tasks are its own.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(fact: Option<Fact>) -> String {
        let Some(Fact::Todos { items }) = fact else { return "-".to_owned() };
        let mark = |state| match state {
            TodoState::Pending => ' ',
            TodoState::Active => '>',
            TodoState::Done => 'x',
        };
        items.iter().map(|todo| format!("{}{};", mark(todo.state), todo.text)).collect()
    }

    fn added(id: &str, text: &str) -> TodoChange {
        TodoChange::Added { id: id.into(), text: text.into() }
    }

    fn moved(id: &str, state: TodoState) -> TodoChange {
        TodoChange::Changed { id: id.into(), text: None, state: Some(state) }
    }

    #[test]
    fn a_list_told_thing_by_thing_is_the_list_that_the_agent_keeps_over_its_turns() {
        let mut todos = Todos::default();
        let renamed = TodoChange::Changed { id: "2".into(), text: Some("mend\nit".into()), state: None };
        for (change, expected) in [
            (added("1", "read"), " read;"),
            (added("2", "fix"), " read; fix;"),
            (moved("1", TodoState::Active), ">read; fix;"),
            (moved("1", TodoState::Active), "-"),
            (moved("9", TodoState::Done), "-"),
            (moved("1", TodoState::Done), "xread; fix;"),
            (renamed, "xread; mend;"),
            (TodoChange::Removed { id: "2".into() }, "xread;"),
        ] {
            assert_eq!(shown(todos.change(&change)), expected, "{change:?}");
        }
        todos.turn_ended();
        assert_eq!(shown(todos.change(&added("3", "next"))), " next;", "a list that is done is over");
        todos.turn_ended();
        assert_eq!(shown(todos.change(&moved("3", TodoState::Done))), "xnext;", "a list that is not goes on");
        let whole = TodoChange::All(vec![Todo { text: "x".repeat(999), state: TodoState::Pending }; 99]);
        let Some(Fact::Todos { items }) = todos.change(&whole) else { panic!("no list") };
        assert_eq!((items.len(), items[0].text.chars().count()), (MOST_TODOS, LONGEST_TODO));
    }

    #[test]
    fn the_pull_request_that_the_agent_names_is_not_crowded_out_by_those_that_its_commands_printed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let addresses = |numbers: std::ops::Range<u32>| -> String {
            numbers.map(|number| format!("https://github.com/a/b/pull/{number} ")).collect()
        };
        let mut tally = Tally::begin(at(10));
        tally.count(&Record::Printed { pull_requests: PullRequest::all_in(&addresses(1..20)) });
        tally.count(&Record::Said { text: addresses(77..78) });
        tally.count(&Record::Said { text: addresses(2..3) });
        for cents in [40, 2] {
            tally.count(&Record::Cost { dollars: Dollars::cents(cents) });
        }
        let work = tally.end(at(250));
        let numbers: Vec<u32> = work.pull_requests.iter().map(|one| one.number).collect();
        assert_eq!((numbers, work.seconds, work.cost), (vec![77, 2, 1, 3, 4], Some(240), Some(Dollars::cents(42))));
        assert_eq!(Tally::begin(at(10)).end(at(3)).seconds, None);
    }
}
