//! A pane's visible screen as data, with the one attribute that matters: dim text is a suggestion, not somebody's draft.

use std::ops::Range;

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
