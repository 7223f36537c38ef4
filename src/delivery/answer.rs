//! What an agent without any record answered, read off its screen: pure.
//!
//! Such an agent's screen is the only evidence that a prompt arrived, and so the only place where its answer stands. This is
//! not the mirror's work: a screen tells no times, may have been cleared or may have forgotten its first lines. It is told
//! at the one moment at which it is whole, when the agent waits again, and stored together with the prompt's end.

use crate::model::text;
use crate::model::{Fact, Outcome, Prompt, Work};

/// How many lines that scrolled away are searched; as many as the fleet's tmux keeps.
pub const HISTORY: u32 = 2000;

/// The longest answer, in characters. Of a longer one the end counts.
const LONGEST: usize = 16_000;

/// The facts of a turn that only the screen tells of. `lines` are the pane's, scrolled ones first, wrapped ones whole; `typed`
/// is what was typed for the prompt; `pattern` is the start of the line at which the program waits, where it has one.
pub fn facts(lines: &[String], prompt: &Prompt, typed: &str, pattern: Option<&str>) -> Vec<Fact> {
    let mut facts = vec![Fact::TurnStarted { summary: text::first_line(&prompt.body, 120) }];
    let outcome = match answer(lines, prompt, typed, pattern) {
        Some(answer) => {
            facts.extend((!answer.is_empty()).then_some(Fact::Said { text: answer }));
            Outcome::Completed
        }
        None => Outcome::Failed {
            reason: format!(
                "the screen does not show the prompt any more, so its answer can't be told; look with `fleet attach {}`",
                prompt.agent
            ),
            blocked: None,
        },
    };
    facts.push(Fact::TurnEnded { outcome, usage: None, work: Work::default() });
    facts
}

/// The facts of a turn in which the program ended: what stands on the screen is not its answer.
pub fn cut_off(prompt: &Prompt) -> Vec<Fact> {
    let started = Fact::TurnStarted { summary: text::first_line(&prompt.body, 120) };
    vec![started, Fact::TurnEnded { outcome: Outcome::Interrupted, usage: None, work: Work::default() }]
}

/// What stands below the prompt, without the prompt's own lines and without the next input line; none where it can't be told,
/// because the program cleared its screen or was started anew.
fn answer(lines: &[String], prompt: &Prompt, typed: &str, pattern: Option<&str>) -> Option<String> {
    let pattern = pattern.map(str::trim_end).filter(|pattern| !pattern.is_empty());
    let header = lines.iter().position(|line| text::header_id(line).as_ref() == Some(&prompt.id));
    let below = match header {
        Some(header) => &lines[header + 1..],
        // The answer was so long that the prompt itself is forgotten: all that is left is answer.
        None if lines.len() > HISTORY as usize => lines,
        None => return None,
    };
    let below = &below[..input_line(below, pattern)];
    let mut echo = Echo::of(typed);
    let mut kept = Vec::new();
    for line in below {
        match echo.without(after_pattern(line, pattern)) {
            Shown::Output(line) => kept.push(line.trim_end()),
            Shown::OutputBehindEcho(rest) => kept.push(after_pattern(rest, pattern).trim_end()),
            Shown::Echo => {}
        }
    }
    let text = text::printable(&kept.join("\n"));
    let text = text.trim_matches('\n');
    let surplus = text.chars().count().saturating_sub(LONGEST);
    if surplus == 0 {
        return Some(text.to_owned());
    }
    Some(format!("…\n{}", text.chars().skip(surplus).collect::<String>()))
}

/// The terminal's echo of the lines after the header: each is taken out once, in their order, wherever output came between.
struct Echo<'a> {
    lines: Vec<&'a str>,
    taken: usize,
}

impl<'a> Echo<'a> {
    fn of(typed: &'a str) -> Self {
        Self { lines: typed.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()).collect(), taken: 0 }
    }

    fn without<'l>(&mut self, line: &'l str) -> Shown<'l> {
        let Some(expected) = self.lines.get(self.taken) else { return Shown::Output(line) };
        // A pasted text ends without a line's end, so that output may stand right behind it.
        let last = self.taken + 1 == self.lines.len();
        let Some(rest) = line.trim().strip_prefix(expected).filter(|rest| last || rest.is_empty()) else {
            return Shown::Output(line);
        };
        self.taken += 1;
        if rest.is_empty() { Shown::Echo } else { Shown::OutputBehindEcho(rest) }
    }
}

/// What a line below the prompt's header is.
enum Shown<'a> {
    Echo,
    Output(&'a str),
    OutputBehindEcho(&'a str),
}

/// Where the line begins at which the program waits again, a box's upper edge with it.
fn input_line(lines: &[String], pattern: Option<&str>) -> usize {
    let waits = |line: &String| {
        let inner = line.trim_matches(|c: char| c.is_whitespace() || is_edge(c));
        // Once for each line that it was given ahead.
        let repeated = || pattern.is_some_and(|pattern| inner.split(' ').all(|word| word == pattern));
        Some(inner) == pattern || repeated()
    };
    let input = lines.iter().rposition(waits).unwrap_or(lines.len());
    let edge = |line: &String| !line.trim().is_empty() && line.trim().chars().all(is_edge);
    if input > 0 && edge(&lines[input - 1]) { input - 1 } else { input }
}

fn is_edge(c: char) -> bool {
    ('\u{2500}'..='\u{257f}').contains(&c)
}

/// A line without the pattern in front: text that was typed ahead leaves the next line's prompt in front of the output.
fn after_pattern<'a>(line: &'a str, pattern: Option<&str>) -> &'a str {
    let stripped = pattern.and_then(|pattern| line.strip_prefix(pattern)).and_then(|rest| rest.strip_prefix(' '));
    stripped.unwrap_or(line)
}

#[cfg(test)]
mod tests {

    use super::*;

    const HEADER: &str = "[fleet · cli · ann · 0123456789ab]";

    fn prompt() -> Prompt {
        Prompt { body: "one\ntwo".into(), ..Prompt::example() }
    }

    fn read(pattern: Option<&str>, screen: &str) -> Option<String> {
        let lines: Vec<String> = screen.lines().map(str::to_owned).collect();
        answer(&lines, &prompt(), &format!("{HEADER}\none\ntwo\n\nrule"), pattern)
    }

    #[test]
    fn only_what_the_program_printed_after_the_prompt_is_its_answer() {
        let echo = "one\ntwo\n\nrule";
        let rows = [
            (
                "typed ahead",
                Some("> "),
                format!("> {HEADER}\n{echo}\nheard: a\n> heard: b\n>\n\n"),
                "heard: a\nheard: b",
            ),
            (
                "output between the echo",
                None,
                format!("{HEADER}\none\nheard 1\ntwo\n\nrule\nheard 2\n"),
                "heard 1\n\nheard 2",
            ),
            (
                "an echo of its own",
                None,
                format!("{HEADER}\n{echo}\n{HEADER}\none\ntwo\n"),
                &*format!("{HEADER}\none\ntwo"),
            ),
            ("an earlier answer above", Some("$"), format!("$ x\nold\n$ {HEADER}\n{echo}\nnew\n$"), "new"),
            (
                "a box",
                Some("❯"),
                format!("❯ {HEADER}\n  one\n  two\n\n  rule\n● ok\n────────\n❯\n────────\n ready"),
                "● ok",
            ),
            ("output behind the echo", Some("> "), format!("> {HEADER}\n{echo}> 1\n2\n>"), "1\n2"),
            (
                "a line editor",
                Some(">>> "),
                format!(">>> {HEADER}\n>>> one\nno\n>>> two\n>>> rule\nyes\n>>>"),
                "no\nyes",
            ),
            ("several prompts on a row", Some("> "), format!("> {HEADER}\n{echo}> 1\n2\n> > >"), "1\n2"),
            ("nothing printed", Some("> "), format!("> {HEADER}\n{echo}\n>"), ""),
        ];
        for (name, pattern, screen, expected) in rows {
            assert_eq!(read(pattern, &screen).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_screen_that_was_cleared_is_never_told_as_a_finished_turn_without_an_answer() {
        let lines = ["something else".to_owned(), ">".to_owned()];
        let facts = facts(&lines, &prompt(), HEADER, Some("> "));
        assert!(matches!(facts.last(), Some(Fact::TurnEnded { outcome: Outcome::Failed { .. }, .. })), "{facts:?}");
    }

    #[test]
    fn an_answer_longer_than_the_history_is_told_from_where_it_is_remembered() {
        let screen: String = (0..3000).map(|line| format!("line {line} of a long answer\n")).collect();
        let told = read(Some("> "), &(screen + ">")).unwrap();
        assert!(told.starts_with("…\n") && told.ends_with("line 2999 of a long answer"), "{told:.40}");
        assert!(told.chars().count() <= LONGEST + 2);
    }
}
