//! What an answer is made of, as Slack can show it: lines of styled text, headings, code, tables.
//!
//! Flat on purpose. Slack shows no code and no table within a list or a quote, so neither does this; and what has no depth can
//! be cut between any two lines, and a line between any two words, without leaving anything open.

use std::rc::Rc;

use pulldown_cmark::Alignment;

/// A style of text. Each at most once in the marks of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    Bold,
    Italic,
    Strike,
    /// The address: `http`, `https` or `mailto`, without white space.
    Link(Rc<str>),
    /// Always the innermost.
    Code,
}

/// Text in one style. It pings nobody: [`super::ping::neutral`] went over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    /// The outermost first.
    pub(super) marks: Vec<Mark>,
}

/// What a line begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// Nothing: a paragraph, or what goes on within an item.
    None,
    Bullet,
    Number(u64),
}

/// One line of a paragraph, a list or a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// How many quotes it stands in; they are outside of the lists.
    pub(super) quotes: usize,
    /// How many lists it stands in.
    pub(super) depth: usize,
    pub(super) opener: Opener,
    /// Whether its item is a task, and done.
    pub(super) task: Option<bool>,
    /// Whether a new paragraph begins within what the line stands in.
    pub(super) gap: bool,
    pub(super) spans: Vec<Span>,
}

/// The rows of a table, its head first; each row has as many cells as the head.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Table {
    pub(super) alignments: Vec<Alignment>,
    pub(super) rows: Vec<Vec<Vec<Span>>>,
}

/// A piece of an answer that stands on its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Heading {
        level: usize,
        spans: Vec<Span>,
    },
    Text(Vec<Line>),
    /// It pings nobody, and holds no fence.
    Code {
        language: String,
        code: String,
    },
    Table(Table),
    Rule,
}

/// Adds text in a style; neighbours of one style are one span.
pub(super) fn push(spans: &mut Vec<Span>, text: &str, marks: &[Mark]) {
    match spans.last_mut() {
        Some(last) if last.marks == marks => last.text.push_str(text),
        _ => spans.push(Span { text: text.to_owned(), marks: marks.to_vec() }),
    }
}

/// The text without its styles.
pub(super) fn bare(spans: &[Span]) -> String {
    spans.iter().map(|span| span.text.as_str()).collect()
}
