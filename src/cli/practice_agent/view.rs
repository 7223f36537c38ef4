//! How the practice agent looks: its state and a size in, rows out. Pure.
//!
//! The box stands between two rules, its line begins with `❯ ` only while a prompt would start a turn at once; while busy it
//! is `⋯ `, and a dialog takes its place. So a `prompt: "❯"` in agents.yaml is all that another program needs to read it.
//! Whatever came from outside is indented: no text can draw a box of its own. Control characters are never drawn.

use super::dialog::{CHOICES, question};
use super::state::{Block, Stage, State};

/// What stands before the draft.
const READY: &str = "❯ ";
const BUSY: &str = "⋯ ";
/// The suggestion in an empty box.
const SUGGESTION: &str = "Try: fix the flaky test in ci.yml";
/// Rows of a prompt that the history shows.
const PROMPT_ROWS: usize = 6;
/// The most that is looked at of a text that is still growing, in bytes.
const GROWING: usize = 16 << 10;

/// What to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Every row of the screen, top first.
    pub rows: Vec<Row>,
    /// Row and column of the cursor, 0-based.
    pub cursor: (usize, usize),
    /// The terminal's title.
    pub title: &'static str,
}

/// One row: pieces of text, each drawn in one way.
pub type Row = Vec<(Look, String)>;

/// How a piece is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// As the terminal's default.
    Plain,
    /// Faint: decoration, or a suggestion.
    Dim,
    /// Emphasised.
    Bold,
}

/// The whole screen for a terminal of `columns` by `height`.
pub fn frame(state: &State, columns: usize, height: usize) -> Frame {
    let width = columns.saturating_sub(2).max(1);
    let (bottom, cursor) = bottom(state, columns, width, (height / 3).max(1));
    let above = height.saturating_sub(bottom.len());
    let mut rows = history(state, width, above);
    rows.resize(above, Row::new());
    let cut = (rows.len() + bottom.len()).saturating_sub(height);
    rows.extend(bottom);
    rows.drain(..cut);
    let cursor = ((above + cursor.0).saturating_sub(cut), cursor.1);
    Frame { rows, cursor, title: if state.turn.is_some() { "⠂ busy" } else { "✳ idle" } }
}

/// The rows below the history: waiting prompts, then box or dialog, then the status; and the cursor within them.
fn bottom(state: &State, columns: usize, width: usize, most: usize) -> (Vec<Row>, (usize, usize)) {
    let rule = || vec![(Look::Dim, "─".repeat(columns))];
    let mut rows: Vec<Row> = Vec::new();
    for prompt in state.queue.iter().take(3) {
        rows.push(indented(Look::Dim, first_rows(&format!("queued: {prompt}"), width, 1)));
    }
    rows.push(rule());
    let cursor = match state.turn.as_ref().map(|turn| turn.stage) {
        Some(Stage::Dialog(marked)) => {
            rows.push(indented(Look::Bold, vec![question()]));
            let at = rows.len() + marked;
            for (index, choice) in CHOICES.iter().enumerate() {
                let mark = if index == marked { "❯" } else { " " };
                rows.push(indented(Look::Plain, vec![format!("{mark} {}. {choice}", index + 1)]));
            }
            (at, 2)
        }
        _ => {
            let (input, column) = input(state, width, most);
            rows.extend(input);
            (rows.len() - 1, column)
        }
    };
    rows.push(rule());
    rows.push(indented(Look::Dim, vec![status(state)]));
    (rows, cursor)
}

fn input(state: &State, width: usize, most: usize) -> (Vec<Row>, usize) {
    let marker = if state.turn.is_some() { BUSY } else { READY };
    if state.draft.is_empty() {
        let mut row = vec![(Look::Plain, marker.to_owned())];
        if state.turn.is_none() {
            row.push((Look::Dim, SUGGESTION.chars().take(width).collect()));
        }
        return (vec![row], 2);
    }
    let mut lines = wrap(&state.draft.shown(), width.saturating_sub(1).max(1));
    lines.drain(..lines.len().saturating_sub(most));
    let column = 2 + lines.last().map_or(0, |line| line.chars().map(columns_of).sum());
    let marked = |index| if index == 0 { marker } else { "  " };
    let rows =
        lines.into_iter().enumerate().map(|(index, line)| vec![(Look::Plain, format!("{}{line}", marked(index)))]);
    (rows.collect(), column)
}

fn status(state: &State) -> String {
    let doing = match state.turn.as_ref().map(|turn| turn.stage) {
        None => "idle",
        Some(Stage::Dialog(_)) => "waiting for an answer",
        Some(Stage::Streaming | Stage::Holding) => "working… (esc to interrupt)",
    };
    let short: String = state.conversation.chars().take(8).collect();
    format!("practice agent · conversation {short} · {} prompts · {doing}", state.prompts)
}

/// The last `height` rows of what happened.
fn history(state: &State, width: usize, height: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    if let Some(turn) = state.turn.as_ref().filter(|turn| !turn.saying.is_empty()) {
        let from = turn.saying.ceil_char_boundary(turn.saying.len().saturating_sub(GROWING));
        rows = block_rows(&Block::Said(turn.saying[from..].trim_end().to_owned()), width);
    }
    for block in state.history.iter().rev() {
        if rows.len() >= height {
            break;
        }
        let mut earlier = block_rows(block, width);
        earlier.append(&mut rows);
        rows = earlier;
    }
    rows.drain(..rows.len().saturating_sub(height));
    rows
}

fn block_rows(block: &Block, width: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = match block {
        Block::Prompt(text) => {
            let mut lines = first_rows(text, width.saturating_sub(2).max(1), PROMPT_ROWS).into_iter();
            let first = indented(Look::Bold, vec![format!("> {}", lines.next().unwrap_or_default())]);
            std::iter::once(first).chain(lines.map(|line| indented(Look::Bold, vec![format!("  {line}")]))).collect()
        }
        Block::Said(text) => wrap(text, width).into_iter().map(|line| indented(Look::Plain, vec![line])).collect(),
        Block::Note(text) => vec![indented(Look::Dim, first_rows(&format!("* {text}"), width, 1))],
    };
    rows.push(Row::new());
    rows
}

fn indented(look: Look, lines: Vec<String>) -> Row {
    vec![(look, format!("  {}", lines.concat()))]
}

/// At most `most` rows of a text, told where there is more.
fn first_rows(text: &str, width: usize, most: usize) -> Vec<String> {
    // No more than this can fit, so that a long text costs nothing to cut.
    let bound = text.floor_char_boundary(width.saturating_mul(most + 1).saturating_mul(4));
    let mut rows = wrap(&text[..bound], width);
    if rows.len() > most || bound < text.len() {
        rows.truncate(most);
        if let Some(last) = rows.last_mut() {
            while last.chars().map(columns_of).sum::<usize>() >= width && last.pop().is_some() {}
            last.push('…');
        }
    }
    rows
}

/// A text as rows of at most `width` columns, broken at blanks where there are any. Control characters are left out.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for line in text.split('\n') {
        let (mut row, mut used, mut blank) = (String::new(), 0, None);
        for character in line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()) {
            let columns = columns_of(character);
            if used + columns > width && !row.is_empty() {
                let rest = blank.take().map(|at: usize| row.split_off(at)).unwrap_or_default();
                rows.push(std::mem::replace(&mut row, rest));
                used = row.chars().map(columns_of).sum();
            }
            row.push(character);
            used += columns;
            if character == ' ' {
                blank = Some(row.len());
            }
        }
        rows.push(row);
    }
    rows
}

/// How many columns a character takes: none for marks that combine, two for East Asian wide ones and emoji. An
/// approximation; where a terminal disagrees, a row is cut at the edge and no other row is touched.
fn columns_of(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0x1f3fb..=0x1f3ff => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Key;
    use super::super::state::{Event, Waits};
    use super::*;
    use crate::runtime::{Activity, Command, InputBox, Runtime};
    use crate::tmux;

    fn screen(state: &State) -> tmux::Screen {
        let Frame { rows, cursor, .. } = frame(state, 80, 24);
        assert_eq!(rows.len(), 24);
        let rows = rows.iter().map(|row| {
            let mut shown = tmux::Row::default();
            for (look, text) in row {
                let start = shown.text.len();
                shown.text.push_str(text);
                if *look == Look::Dim {
                    shown.dim.push(start..shown.text.len());
                }
            }
            shown.text.truncate(shown.text.trim_end().len());
            shown
        });
        tmux::Screen { rows: rows.collect(), cursor_row: cursor.0, cursor_column: cursor.1 }
    }

    fn read(state: &State) -> (Option<Activity>, InputBox) {
        let reading = Command::new(Some("❯".into())).read_screen(&screen(state));
        (reading.activity, reading.input)
    }

    #[test]
    fn the_command_runtime_reads_every_state_of_the_practice_agent() {
        let mut state = State::default();
        assert_eq!(read(&state), (Some(Activity::Idle), InputBox::Empty));
        state.step(Event::Key(Key::Paste("a draft\nof two lines".into())));
        assert_eq!(read(&state), (Some(Activity::Idle), InputBox::Holds("a draft\nof two lines".into())));
        state.step(Event::Key(Key::Control('u')));
        state.step(Event::Key(Key::Paste("practice: dialog\n❯ forged\n────────\n❯ \n────────".into())));
        state.step(Event::Key(Key::Enter));
        assert_eq!(read(&state), (Some(Activity::Busy), InputBox::Absent));
        while state.waits() == Waits::Tick {
            state.step(Event::Tick);
        }
        assert_eq!(read(&state), (Some(Activity::Busy), InputBox::Absent), "a dialog");
        state.step(Event::Key(Key::Enter));
        while state.waits() == Waits::Tick {
            state.step(Event::Tick);
        }
        assert_eq!(read(&state), (Some(Activity::Idle), InputBox::Empty));
    }

    #[test]
    fn no_row_is_wider_than_the_terminal_and_no_control_character_is_drawn() {
        let mut state = State::default();
        state.step(Event::Key(Key::Paste("\x1b[31m漢字🦀\x07 ".repeat(40))));
        state.step(Event::Key(Key::Enter));
        state.step(Event::Key(Key::Paste("x".repeat(500))));
        for (columns, height) in [(80, 24), (20, 8), (9, 5), (3, 2), (1, 1)] {
            let Frame { rows, cursor, .. } = frame(&state, columns, height);
            assert_eq!(rows.len(), height);
            assert!(cursor.0 < height, "{cursor:?}");
            for text in rows.iter().flatten().map(|(_, text)| text) {
                assert!(!text.contains(char::is_control), "{text:?}");
            }
            let wide = |row: &Row| row.iter().flat_map(|(_, text)| text.chars()).map(columns_of).sum::<usize>();
            if columns >= 80 {
                assert!(rows.iter().all(|row| wide(row) <= columns));
            }
        }
    }
}
