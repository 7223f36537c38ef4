//! Any TUI or line program as an agent. Of such a program nothing is known but what agents.yaml says: its command and, where
//! it has one, the start of the line at which it waits (`prompt:`).
//!
//! A program that appends the lines of [`TranscriptLine`] to `$FLEET_TRANSCRIPT` gets proof by record; for all others the
//! screen is the evidence. Without a prompt pattern the screen alone never tells whether the program works or waits: then
//! [`ScreenReading::activity`] is none, and whoever watches calls it idle once two looks that are [`SILENCE`] apart show the
//! same screen.
//!
//! Where this room can't tell a draft from decoration it says "holds": a prompt that waits is shown to people, a person's
//! draft that was submitted is lost.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Identity, InputBox, Launch, LaunchContext, OpenDialog, Record, RecordKeeping, RecordKind, RecordSource, Runtime,
    ScreenReading, TodoChange,
};
use crate::model::{DialogKind, TranscriptEntry, TranscriptLine};
use crate::runtime::Activity;
use crate::runtime::dialog::{by_digits, menu, text_of};
use crate::tmux::{Row, Screen};

/// How long a screen must stay the same until a program without a prompt pattern counts as idle.
pub const SILENCE: Duration = Duration::from_secs(2);

/// The runtime `command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    prompt: Option<String>,
}

impl Command {
    /// A program that waits at a line beginning with `prompt`, where one is given: `$ `, `>>> `, `❯`. A blank at the
    /// pattern's end must be on the screen too, unless nothing follows it.
    pub fn new(prompt: Option<String>) -> Self {
        Self { prompt: prompt.filter(|pattern| !pattern.trim().is_empty()) }
    }
}

impl Runtime for Command {
    fn launch(&self, context: &LaunchContext<'_>) -> Launch {
        let agent = context.agent;
        let env = BTreeMap::from([
            ("FLEET_TRANSCRIPT".into(), transcript(context).into_os_string()),
            ("FLEET_AGENT".into(), agent.slug.as_str().into()),
        ]);
        let argv = agent.runtime.command().iter().chain(&agent.args).map(Into::into).collect();
        Launch { argv, env, seeds: Vec::new() }
    }

    fn records(&self, context: &LaunchContext<'_>) -> Vec<RecordSource> {
        vec![RecordSource::File { path: transcript(context), kind: RecordKind::Transcript }]
    }

    fn read_record(&self, kind: RecordKind, line: &str) -> Vec<Record> {
        match kind {
            RecordKind::Transcript => TranscriptLine::from_json(line).map(records_of).unwrap_or_default(),
            RecordKind::Hooks => Vec::new(),
        }
    }

    fn read_screen(&self, screen: &Screen) -> ScreenReading {
        let Some(pattern) = &self.prompt else {
            return ScreenReading { activity: None, input: without_pattern(screen) };
        };
        match boxed_draft(screen, pattern).or_else(|| draft_at_cursor(screen, pattern)) {
            Some(draft) => ScreenReading { activity: Some(Activity::Idle), input: input_box(&draft) },
            None => ScreenReading { activity: Some(Activity::Busy), input: InputBox::Absent },
        }
    }

    /// Where the box stands otherwise: a question and its options, between two rules. Whether it asks only its record tells.
    fn read_dialog(&self, screen: &Screen) -> Option<OpenDialog> {
        self.prompt.as_ref()?;
        let closing = screen.rows.iter().rposition(|row| is_rule(&row.text))?;
        let opening = screen.rows[..closing].iter().rposition(|row| is_rule(&row.text))?;
        let boxed = &screen.rows[opening + 1..closing];
        let menu = menu(boxed)?;
        let text = text_of(&boxed[..menu.first]);
        Some(by_digits(DialogKind::Permission, text, true, menu, None))
    }

    fn records_questions(&self) -> bool {
        true
    }

    /// Behind a `\` at its end Enter is a new line in many programs.
    fn typed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if text.ends_with('\\') { Cow::Owned(format!("{text} ")) } else { Cow::Borrowed(text) }
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn keeps_record(&self) -> RecordKeeping {
        RecordKeeping::IfFileExists
    }

    fn identity(&self) -> Identity {
        Identity::None
    }
}

fn transcript(context: &LaunchContext<'_>) -> std::path::PathBuf {
    context.state.join("transcript.jsonl")
}

fn records_of(TranscriptLine { at, entry }: TranscriptLine) -> Vec<Record> {
    match entry {
        TranscriptEntry::Conversation { id } => vec![Record::Conversation { id }],
        TranscriptEntry::Prompt { text } => vec![Record::Prompt { text }],
        TranscriptEntry::Said { text } => vec![Record::Said { text }],
        TranscriptEntry::Tool { tool, detail, doing } => vec![Record::UsedTool { tool, detail, doing }],
        TranscriptEntry::Todos { items } => vec![Record::Todos(TodoChange::All(items))],
        TranscriptEntry::Asked { question } => vec![Record::Asked { question, run: None }],
        TranscriptEntry::TurnEnded { outcome, usage, cost } => {
            // The line has no message id; its time is the same at every reading, and no two turns end at once.
            let usage = usage.map(|usage| Record::Usage { message: at.to_string(), usage });
            let cost = cost.map(|dollars| Record::Cost { dollars });
            usage.into_iter().chain(cost).chain([Record::TurnEnded { outcome, last_words: None }]).collect()
        }
    }
}

/// What stands at the cursor of a program that gave no pattern. Its own prompt can't be told from a draft: it holds.
fn without_pattern(screen: &Screen) -> InputBox {
    screen.rows.get(screen.cursor_row).map_or(InputBox::Empty, |row| input_box(&undimmed(row, 0)))
}

/// The draft in an input box between two horizontal rules, the lowest one on the screen. There the cursor doesn't matter:
/// many TUIs hide it and park it elsewhere.
fn boxed_draft(screen: &Screen, pattern: &str) -> Option<String> {
    let closing = screen.rows.iter().rposition(|row| is_rule(&row.text))?;
    let opening = screen.rows[..closing].iter().rposition(|row| is_rule(&row.text))?;
    let (first, more) = screen.rows[opening + 1..closing].split_first()?;
    let mut draft = after_pattern(first, pattern)?;
    for row in more {
        draft.push('\n');
        draft.push_str(without_border(&undimmed(row, 0)).trim_start());
    }
    Some(draft)
}

/// The draft at the cursor: on a line that begins with the pattern, or on lines below it that are indented as far as the
/// pattern is wide, which is how a draft of several lines is drawn. Output of a running program begins at the left edge.
fn draft_at_cursor(screen: &Screen, pattern: &str) -> Option<String> {
    let indent = pattern.trim_end().chars().count() + 1;
    let mut below: Vec<String> = Vec::new();
    // A capture may leave out blank rows at the end, the cursor's among them.
    let missing = Row::default();
    for index in (0..=screen.cursor_row).rev() {
        let row = screen.rows.get(index).unwrap_or(&missing);
        if let Some(mut draft) = after_pattern(row, pattern) {
            for line in below.iter().rev() {
                draft.push('\n');
                draft.push_str(line);
            }
            return Some(draft);
        }
        let blank = row.text.trim().is_empty();
        let at_cursor = index == screen.cursor_row;
        let continues = if blank && at_cursor {
            screen.cursor_column >= indent
        } else {
            blank || row.text.chars().take(indent).all(|c| c == ' ')
        };
        if !continues {
            return None;
        }
        below.push(undimmed(row, 0).trim().to_owned());
    }
    None
}

/// What follows the pattern on a row that begins with it, a box's left border aside.
fn after_pattern(row: &Row, pattern: &str) -> Option<String> {
    let inner = without_border(&row.text);
    let head = pattern.trim_end();
    let mut rest = inner.strip_prefix(head)?;
    // tmux cuts blanks at a row's end, so that an empty `$ ` shows as `$`.
    let blank_wanted = head.len() < pattern.len() && !rest.is_empty();
    if blank_wanted && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    // A line program that was given several lines at once prints its prompt for each, all on one row.
    while head.len() < pattern.len()
        && let Some(more) = rest.trim_start().strip_prefix(head)
        && (more.is_empty() || more.starts_with(char::is_whitespace))
    {
        rest = more;
    }
    let start = row.text.len() - rest.len();
    let kept = undimmed(row, start);
    Some(strip_right_border(&kept).trim().to_owned())
}

/// The text of a row from a byte on, without its dim parts.
fn undimmed(row: &Row, start: usize) -> String {
    let dim = |at: usize| row.dim.iter().any(|range| range.contains(&at));
    row.text.char_indices().filter(|(at, _)| *at >= start && !dim(*at)).map(|(_, c)| c).collect()
}

fn input_box(draft: &str) -> InputBox {
    let draft = draft.trim();
    if draft.is_empty() { InputBox::Empty } else { InputBox::Holds(draft.to_owned()) }
}

fn without_border(text: &str) -> &str {
    text.strip_prefix(['│', '┃', '║', '|']).map_or(text, |inner| inner.strip_prefix(' ').unwrap_or(inner))
}

fn strip_right_border(text: &str) -> &str {
    text.strip_suffix(['│', '┃', '║']).unwrap_or(text)
}

/// A row of box-drawing lines from edge to edge: `─────`, `╭───╮`.
fn is_rule(text: &str) -> bool {
    let text = text.trim();
    text.chars().count() >= 8
        && text.chars().all(|c| matches!(c, '─' | '━' | '═' | '╭' | '╮' | '╰' | '╯' | '┌' | '┐' | '└' | '┘'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(text: &str, cursor: (usize, usize)) -> Screen {
        let rows = text.lines().map(|line| Row { text: line.trim_end().to_owned(), dim: Vec::new() }).collect();
        Screen { rows, cursor_row: cursor.0, cursor_column: cursor.1 }
    }

    fn read(pattern: &str, text: &str, cursor: (usize, usize)) -> (Option<Activity>, InputBox) {
        let ScreenReading { activity, input } = Command::new(Some(pattern.into())).read_screen(&screen(text, cursor));
        (activity, input)
    }

    const RULE: &str = "────────────────────";

    #[test]
    fn a_prompt_is_typed_only_at_the_program_s_own_prompt_and_never_into_a_draft() {
        let idle = |input| (Some(Activity::Idle), input);
        let busy = || (Some(Activity::Busy), InputBox::Absent);
        let holds = |text: &str| InputBox::Holds(text.into());
        let shown = |line: &str| format!("  some output\n{RULE}\n{line}\n{RULE}\n  status");
        let table: Vec<(&str, String, (usize, usize), _)> = vec![
            ("$ ", "$".into(), (0, 2), idle(InputBox::Empty)),
            ("$ ", "$ make\nok\n$ ".into(), (2, 2), idle(InputBox::Empty)),
            ("$ ", "$ rm -rf".into(), (0, 8), idle(holds("rm -rf"))),
            ("$ ", "$ sleep 9\n".into(), (1, 0), busy()),
            ("$ ", "$ make\ncc -c a.c".into(), (1, 9), busy()),
            ("$ ", "$HOME is set".into(), (0, 12), busy()),
            ("> ", "300\n> > >".into(), (1, 6), idle(InputBox::Empty)),
            ("> ", "300\n> > rm".into(), (1, 6), idle(holds("rm"))),
            ("> ", "> >x".into(), (0, 4), idle(holds(">x"))),
            ("❯", "❯ ❯".into(), (0, 3), idle(holds("❯"))),
            (">>> ", ">>> f(1)\n1\n>>>".into(), (2, 4), idle(InputBox::Empty)),
            (">>> ", ">>> def f():\n...".into(), (1, 4), busy()),
            ("❯", shown("❯ "), (2, 2), idle(InputBox::Empty)),
            ("❯", shown("❯ half a th"), (2, 11), idle(holds("half a th"))),
            ("❯", shown("❯\u{a0}x"), (4, 0), idle(holds("x"))),
            ("❯", shown("❯ one\n\n  three"), (4, 7), idle(holds("one\n\nthree"))),
            ("❯", shown("⋯ "), (2, 2), busy()),
            ("❯", format!("{RULE}\n Run it?\n ❯ 1. Yes\n   2. No\n{RULE}"), (2, 9), busy()),
            ("❯", "❯ one\n\n  three".into(), (2, 7), idle(holds("one\n\nthree"))),
            ("❯", "❯ one\n".into(), (1, 2), idle(holds("one"))),
            (">", "╭────────────────╮\n│ > hi           │\n╰────────────────╯".into(), (2, 0), idle(holds("hi"))),
            (">", "╭────────────────╮\n│ >              │\n╰────────────────╯".into(), (2, 0), idle(InputBox::Empty)),
            ("❯", String::new(), (0, 0), busy()),
        ];
        for (pattern, text, cursor, expected) in table {
            assert_eq!(read(pattern, &text, cursor), expected, "{pattern:?} in\n{text}");
        }
    }

    #[test]
    fn a_dim_suggestion_is_no_draft_that_would_block_the_agent_for_ever() {
        let mut shown = screen("❯ Try: tidy the tests", (0, 2));
        let start = "❯ ".len();
        shown.rows[0].dim = std::iter::once(start..shown.rows[0].text.len()).collect();
        assert_eq!(Command::new(Some("❯".into())).read_screen(&shown).input, InputBox::Empty);
        shown.rows[0].dim = std::iter::once(start + 5..shown.rows[0].text.len()).collect();
        assert_eq!(Command::new(Some("❯".into())).read_screen(&shown).input, InputBox::Holds("Try:".into()));
    }

    #[test]
    fn without_a_pattern_the_screen_never_claims_that_a_program_waits() {
        let command = Command::new(None);
        for (text, cursor, input) in [
            ("working\n", (1, 0), InputBox::Empty),
            ("name: an", (0, 8), InputBox::Holds("name: an".into())),
            ("", (0, 0), InputBox::Empty),
        ] {
            assert_eq!(command.read_screen(&screen(text, cursor)), ScreenReading { activity: None, input });
        }
        assert_eq!(Command::new(Some("  ".into())), command);
    }

    #[test]
    fn a_turn_s_tokens_are_counted_once_however_often_its_line_is_read() {
        let line =
            r#"{"at":"2026-11-20T09:00:04Z","type":"turn_ended","outcome":"completed","usage":{"input":1,"output":2}}"#;
        let command = Command::new(None);
        let read = command.read_record(RecordKind::Transcript, line);
        assert!(matches!(&read[..], [Record::Usage { .. }, Record::TurnEnded { .. }]), "{read:?}");
        assert_eq!(read, command.read_record(RecordKind::Transcript, line));
        assert!(command.read_record(RecordKind::Transcript, "{\"half\":").is_empty());
        assert!(command.read_record(RecordKind::Hooks, line).is_empty());
    }
}
