//! What the practice agent answers: a pure function of the prompt and of how many prompts it remembers.
//!
//! A line of the prompt that begins with `practice:` asks for what a real agent does now and then: `practice: dialog`,
//! `practice: hold`, `practice: crash`, `practice: fail <reason>`, `practice: long <kilobytes>`,
//! `practice: allocate <megabytes>`, `practice: tool <command>`, `practice: tools <count>`, `practice: todo x read | > fix | test`
//! (its whole to-do list; `x` is done, `>` begun), `practice: cost <dollars>`, `practice: quiet` (not a word). They happen mid-turn, in the order in which they stand.

use std::collections::VecDeque;

use crate::model::{Dollars, Todo, TodoState, text};

/// The most that `practice: long` yields, in kilobytes.
const LONGEST: usize = 4096;

/// The most that `practice: allocate` takes, in megabytes.
const LARGEST: usize = 4096;

/// The most that `practice: tools` uses.
const MOST_TOOLS: usize = 10_000;

/// One step of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Streams some text.
    Say(String),
    /// Opens a dialog that asks whether a command may run.
    Dialog,
    /// Stays busy until the gate opens.
    Hold,
    /// Ends the process.
    Crash,
    /// Ends the turn in an error.
    Fail(String),
    /// Holds so many megabytes more until the process ends.
    Allocate(usize),
    /// Uses a shell for that command, so to speak.
    Tool(String),
    /// Writes its to-do list.
    Todos(Vec<Todo>),
    /// Has spent that money.
    Cost(Dollars),
}

/// The steps of the turn that answers `prompt`, the `number`-th of its conversation.
pub fn script(prompt: &str, number: usize) -> VecDeque<Step> {
    let id = text::header_id(prompt);
    let body = match &id {
        Some(_) => prompt.split_once('\n').map_or("", |(_, body)| body),
        None => prompt,
    };
    let named = id.map(|id| format!(" (`{id}`)")).unwrap_or_default();
    let about = text::first_line(body, 100);
    let opening = format!("This is **prompt {number} of this conversation**{named}:\n\n> {about}\n\n");
    let mut steps: VecDeque<Step> = chunks(&opening).collect();
    for line in body.lines() {
        if let Some(request) = line.trim().strip_prefix("practice:") {
            steps.extend(requested(request.trim()));
        }
    }
    steps.extend(chunks(&plan(number)));
    if body.lines().any(|line| line.trim() == "practice: quiet") {
        steps.retain(|step| !matches!(step, Step::Say(_)));
    }
    steps
}

fn plan(number: usize) -> String {
    let memory = match number {
        1 => "nothing came before it".to_owned(),
        _ => format!("I remember {} before it", if number == 2 { "one".to_owned() } else { (number - 1).to_string() }),
    };
    format!(
        "My plan:\n\n- **read** the request; {memory}\n- *practise* the answer, in Markdown\n- touch nothing\n\n\
         ```sh\n# what a real agent would run here\nmake test\n```\n\nDone with prompt {number}."
    )
}

fn requested(request: &str) -> Vec<Step> {
    let (word, rest) = request.split_once(char::is_whitespace).unwrap_or((request, ""));
    match word {
        "dialog" => vec![Step::Dialog],
        "hold" => vec![Step::Hold],
        "crash" => vec![Step::Crash],
        "fail" => vec![Step::Fail(if rest.is_empty() { "as requested".into() } else { rest.trim().into() })],
        "allocate" => vec![Step::Allocate(rest.trim().parse::<usize>().unwrap_or(1).min(LARGEST))],
        "tool" => vec![Step::Tool(rest.trim().to_owned())],
        "tools" => {
            let count = rest.trim().parse::<usize>().unwrap_or(1).min(MOST_TOOLS);
            (1..=count).map(|number| Step::Tool(format!("make step-{number}"))).collect()
        }
        "todo" => vec![Step::Todos(rest.split('|').map(todo).collect())],
        "cost" => rest
            .trim()
            .parse::<f64>()
            .ok()
            .and_then(|cost| Dollars::try_from(cost).ok())
            .map(Step::Cost)
            .into_iter()
            .collect(),
        "quiet" => Vec::new(),
        "long" => {
            let kilobytes = rest.trim().parse::<usize>().unwrap_or(1).min(LONGEST);
            let line = "All work and no play makes a dull agent, which is what practice is.";
            let paragraph: String = (0..16).map(|at| format!("{at:02}. {line:<75}\n")).collect();
            // 16 lines of 80 bytes are 1,280: four fifths of them are a kilobyte.
            let one = paragraph.get(..1023).unwrap_or(&paragraph);
            (0..kilobytes).map(|_| Step::Say(format!("{one}\n"))).collect()
        }
        _ => vec![Step::Say(format!("(I don't know the request `{}`.)\n\n", text::first_line(request, 40)))],
    }
}

fn todo(item: &str) -> Todo {
    let item = item.trim();
    let (state, text) = match (item.strip_prefix("x "), item.strip_prefix("> ")) {
        (Some(text), _) => (TodoState::Done, text),
        (_, Some(text)) => (TodoState::Active, text),
        _ => (TodoState::Pending, item),
    };
    Todo { text: text.to_owned(), state }
}

/// A text in pieces of about three words, white space kept.
fn chunks(text: &str) -> impl Iterator<Item = Step> {
    let mut pieces = vec![String::new()];
    for word in text.split_inclusive(char::is_whitespace) {
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(word);
            if piece.len() > 16 {
                pieces.push(String::new());
            }
        }
    }
    pieces.into_iter().filter(|piece| !piece.is_empty()).map(Step::Say)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(steps: &VecDeque<Step>) -> String {
        steps.iter().map(|step| if let Step::Say(text) = step { text.as_str() } else { "" }).collect()
    }

    #[test]
    fn an_answer_names_its_prompt_and_what_it_remembers_in_real_markdown() {
        let answer = said(&script("[fleet · cli · ann · 0123456789ab]\nfix the build\n\nnever merge", 3));
        for part in [
            "**prompt 3 of this conversation** (`0123456789ab`)",
            "> fix the build\n",
            "I remember 2",
            "\n- ",
            "```sh\n",
        ] {
            assert!(answer.contains(part), "{part:?} in {answer}");
        }
        assert!(said(&script("hello", 1)).contains("> hello\n"));
    }

    #[test]
    fn what_a_prompt_asks_for_happens_mid_turn_and_in_order() {
        let steps = script("do\npractice: hold\n practice: dialog\npractice: fail out of luck\npractice: crash", 1);
        let special: Vec<&Step> = steps.iter().filter(|step| !matches!(step, Step::Say(_))).collect();
        assert_eq!(special, [&Step::Hold, &Step::Dialog, &Step::Fail("out of luck".into()), &Step::Crash]);
        assert!(matches!((steps.front(), steps.back()), (Some(Step::Say(_)), Some(Step::Say(_)))));
        let long = said(&script("practice: long 8", 1)).len() - said(&script("practice: long 0", 1)).len();
        assert_eq!(long, 8 * 1024);
    }
}
