//! What stands in the input box: typed text, and pastes that are too long to be shown but are kept whole.

/// A paste of more lines or characters than these is shown as a placeholder.
const SHOWN_LINES: usize = 8;
const SHOWN_CHARACTERS: usize = 600;

/// The text that was not submitted yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Typed(String),
    Pasted(String),
}

impl Draft {
    /// A character at the end.
    pub fn push(&mut self, character: char) {
        self.push_text(character.encode_utf8(&mut [0; 4]));
    }

    /// A paste at the end, as it is.
    pub fn paste(&mut self, text: String) {
        let long = text.len() > SHOWN_CHARACTERS || text.lines().nth(SHOWN_LINES).is_some();
        if long { self.pieces.push(Piece::Pasted(text)) } else { self.push_text(&text) }
    }

    /// Takes the last character away, or a whole placeholder.
    pub fn backspace(&mut self) {
        match self.pieces.last_mut() {
            Some(Piece::Typed(text)) if text.chars().count() > 1 => {
                text.pop();
            }
            _ => {
                self.pieces.pop();
            }
        }
    }

    /// Takes all of it.
    pub fn take(&mut self) -> String {
        let text = self.text();
        self.pieces.clear();
        text
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether it ends in a backslash: Enter then makes a new line.
    pub fn continues(&self) -> bool {
        matches!(self.pieces.last(), Some(Piece::Typed(text) | Piece::Pasted(text)) if text.ends_with('\\'))
    }

    /// Replaces that backslash by a newline.
    pub fn backslash_to_newline(&mut self) {
        if let Some(Piece::Typed(text) | Piece::Pasted(text)) = self.pieces.last_mut() {
            text.pop();
            text.push('\n');
        }
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.pieces.iter().map(|(Piece::Typed(text) | Piece::Pasted(text))| text.as_str()).collect()
    }

    /// What the box shows of it.
    pub fn shown(&self) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Typed(text) => text.clone(),
                Piece::Pasted(text) => match text.lines().count() {
                    0 | 1 => format!("[pasted {} characters]", text.chars().count()),
                    lines => format!("[pasted {lines} lines]"),
                },
            })
            .collect()
    }

    fn push_text(&mut self, more: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Typed(text)) => text.push_str(more),
            _ if more.is_empty() => {}
            _ => self.pieces.push(Piece::Typed(more.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_paste_is_shown_short_and_kept_whole() {
        let long = "line\n".repeat(40);
        let mut draft = Draft::default();
        draft.push('a');
        draft.paste(long.clone());
        draft.push('b');
        assert_eq!(draft.shown(), "a[pasted 40 lines]b");
        assert_eq!(draft.text(), format!("a{long}b"));
        draft.backspace();
        draft.backspace();
        assert_eq!(draft.take(), "a");
        assert!(draft.is_empty());
        draft.paste("x".repeat(700));
        assert_eq!(draft.shown(), "[pasted 700 characters]");
    }
}
