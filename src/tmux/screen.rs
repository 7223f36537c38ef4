//! A pane's visible screen as data, with the one attribute that matters: dim text is a suggestion, not somebody's draft.

use std::iter::Peekable;
use std::ops::Range;
use std::str::Chars;

/// What a pane shows at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Screen {
    /// The visible lines, top first.
    pub rows: Vec<Row>,
    /// The cursor's column, 0-based.
    pub cursor_column: usize,
    /// The cursor's row, 0-based.
    pub cursor_row: usize,
}

/// One line of a screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Its text, without trailing blanks.
    pub text: String,
    /// The byte ranges of `text` that are drawn dim, rising and apart.
    pub dim: Vec<Range<usize>>,
}

impl Screen {
    /// Reads the lines of `capture-pane -p -e`. Any junk yields a screen; escapes never reach the text.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>, cursor_column: usize, cursor_row: usize) -> Self {
        // tmux writes an attribute when it changes, not anew on each line.
        let mut pen = Pen::default();
        let rows = lines.into_iter().map(|line| parse_row(line, &mut pen)).collect();
        Self { rows, cursor_column, cursor_row }
    }
}

/// What the following characters are drawn with.
#[derive(Debug, Clone, Copy, Default)]
struct Pen {
    dim: bool,
    /// The terminal's line-drawing set stands in for ASCII letters.
    line_drawing: bool,
}

fn parse_row(line: &str, pen: &mut Pen) -> Row {
    let mut row = Row::default();
    let mut chars = line.chars().peekable();
    while let Some(character) = chars.next() {
        match character {
            '\x1b' => skip_escape(&mut chars, pen),
            '\x0e' => pen.line_drawing = true,
            '\x0f' => pen.line_drawing = false,
            other if other.is_control() => {}
            other => push(&mut row, if pen.line_drawing { drawn(other) } else { other }, pen.dim),
        }
    }
    trim(&mut row);
    row
}

fn push(row: &mut Row, character: char, dim: bool) {
    let start = row.text.len();
    row.text.push(character);
    if !dim {
        return;
    }
    match row.dim.last_mut() {
        Some(last) if last.end == start => last.end = row.text.len(),
        _ => row.dim.push(start..row.text.len()),
    }
}

fn trim(row: &mut Row) {
    let kept = row.text.trim_end_matches(' ').len();
    row.text.truncate(kept);
    row.dim.retain_mut(|range| {
        range.end = range.end.min(kept);
        range.start < range.end
    });
}

/// Takes one escape sequence, its introducer gone already, off the line.
fn skip_escape(chars: &mut Peekable<Chars<'_>>, pen: &mut Pen) {
    match chars.next() {
        Some('[') => {
            let mut parameters = String::new();
            for character in chars.by_ref() {
                match character {
                    '\x20'..='\x3f' => parameters.push(character),
                    'm' => return select_graphics(&parameters, pen),
                    _ => return,
                }
            }
        }
        // Strings (OSC, DCS, SOS, PM, APC) end at BEL or at ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(character) = chars.next() {
                if character == '\x07' || character == '\x1b' && chars.next_if_eq(&'\\').is_some() {
                    return;
                }
            }
        }
        // Character sets and the like: one or more intermediates, then the final character.
        Some('\x20'..='\x2f') => {
            while chars.next_if(|next| ('\x20'..='\x2f').contains(next)).is_some() {}
            chars.next();
        }
        _ => {}
    }
}

fn select_graphics(parameters: &str, pen: &mut Pen) {
    let mut codes = parameters.split(';');
    while let Some(code) = codes.next() {
        match code {
            "2" => pen.dim = true,
            "" | "0" | "22" => pen.dim = false,
            // A colour's own numbers follow; a 2 among them is not "dim".
            "38" | "48" | "58" => match codes.next() {
                Some("5") => drop(codes.next()),
                Some("2") => drop(codes.nth(2)),
                _ => {}
            },
            _ => {}
        }
    }
}

/// The character that a terminal draws for `letter` in its line-drawing set.
fn drawn(letter: char) -> char {
    match letter {
        'j' => '┘',
        'k' => '┐',
        'l' => '┌',
        'm' => '└',
        'n' => '┼',
        'q' => '─',
        't' => '├',
        'u' => '┤',
        'v' => '┴',
        'w' => '┬',
        'x' => '│',
        '`' => '◆',
        'a' => '▒',
        '~' => '·',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(line: &str) -> (String, Vec<String>) {
        let screen = Screen::parse([line], 0, 0);
        let Row { text, dim } = screen.rows[0].clone();
        let dim = dim.into_iter().map(|range| text[range].to_owned()).collect();
        (text, dim)
    }

    #[test]
    fn a_suggestion_is_told_from_a_draft() {
        for (line, text, dim) in [
            ("> \x1b[2mTry \"fix\"\x1b[0m x   ", "> Try \"fix\" x", vec!["Try \"fix\""]),
            ("> draft", "> draft", vec![]),
            ("\x1b[1;2;31ma\x1b[22mb\x1b[2mc\x1b[md", "abcd", vec!["a", "c"]),
            ("\x1b[38;5;2ma\x1b[48;2;2;2;2mb\x1b[38:2::2:2:2mc", "abc", vec![]),
            ("\x1b[38;5;2;2ma", "a", vec!["a"]),
            ("\x1b[2mä日本🦀\x1b[22m!  ", "ä日本🦀!", vec!["ä日本🦀"]),
            ("\x1b[2m   \x1b[0m  ", "", vec![]),
        ] {
            assert_eq!(row(line), (text.to_owned(), dim.into_iter().map(str::to_owned).collect()), "{line:?}");
        }
    }

    #[test]
    fn an_attribute_lasts_into_the_next_line() {
        let screen = Screen::parse(["\x1b[2ma", "b\x1b[0m", "c"], 1, 2);
        let dim: Vec<_> = screen.rows.iter().map(|row| row.dim.clone()).collect();
        assert_eq!(dim, vec![vec![0..1], vec![0..1], vec![]]);
        assert_eq!((screen.cursor_column, screen.cursor_row), (1, 2));
    }

    #[test]
    fn links_titles_and_line_drawing_leave_only_what_is_seen() {
        for (line, text) in [
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\.", "link."),
            ("\x1b]0;title\x07a", "a"),
            ("\x1b(0\x0elqk\x0f\x1b(Bq", "┌─┐q"),
            ("\x1bP$q\x1b\\a\x1b[?25hb\x1bMc", "abc"),
            ("a\x1b", "a"),
            ("a\x1b[1;", "a"),
            ("a\x1b]8;;never ends", "a"),
            ("tab\there\u{9b}", "tabhere"),
        ] {
            assert_eq!(row(line).0, text, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics_and_leaves_no_control_character(
            line in prop::collection::vec(prop_oneof![any::<char>(), prop::char::range('\0', '?'), Just('\x1b')], 0..60)
        ) {
            let line: String = line.into_iter().collect();
            let row = Screen::parse([line.as_str()], 0, 0).rows.remove(0);
            prop_assert!(!row.text.chars().any(char::is_control));
            let mut last = 0;
            for range in row.dim {
                prop_assert!(last <= range.start && range.start < range.end);
                prop_assert!(row.text.get(range.clone()).is_some());
                last = range.end;
            }
        }
    }
}
