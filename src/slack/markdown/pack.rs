//! The parts of an answer → messages that Slack takes. Pure.
//!
//! A code block that fits into a message is never cut, a longer one is closed and opened again; text is cut between lines,
//! else between words. A heading stays with what it heads.

use super::super::split::{cut_lines, glued, units};
use super::inline::overhead;
use super::parts::{Line, Opener, Part, Span};
use super::table::{drawn, native};
use super::write;

/// The most characters (UTF-16 units) in all `markdown` blocks of a message together.
pub(super) const MOST_MARKDOWN: usize = 12_000;

/// The most blocks in a message. Slack makes several out of one `markdown` block: a heading, a code block, a rule and the
/// text between them are counted as one each.
pub(super) const MOST_BLOCKS: usize = 50;

/// With less room than this the first lines of a long code block would be a stump.
const STUMP: usize = 2_000;

/// The parts of each message, in order; of a message's tables at most one, and that one a [`native`] one.
pub(super) fn messages(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut packer = Packer::default();
    for part in parts {
        packer.add(part);
    }
    packer.end_message(false);
    packer.messages
}

#[derive(Default)]
struct Packer {
    messages: Vec<Vec<Part>>,
    parts: Vec<Part>,
    units: usize,
    blocks: usize,
}

impl Packer {
    fn add(&mut self, part: Part) {
        match part {
            Part::Text(lines) => self.text(lines),
            Part::Code { language, code } => self.code(&language, code),
            Part::Table(table)
                if native(&table).is_some() && !self.parts.iter().any(|part| matches!(part, Part::Table(_))) =>
            {
                self.place(Part::Table(table), 0);
            }
            Part::Table(table) => self.code("", drawn(&table)),
            Part::Heading { level, spans } => {
                for spans in cut_spans(spans, MOST_MARKDOWN - 10) {
                    self.place_whole(Part::Heading { level, spans });
                }
            }
            Part::Rule => self.place_whole(Part::Rule),
        }
    }

    fn room(&self) -> usize {
        // Two parts stand an empty line apart.
        MOST_MARKDOWN.saturating_sub(self.units + 2)
    }

    fn place_whole(&mut self, part: Part) {
        let cost = units(&write::markdown(&part));
        self.place(part, cost);
    }

    fn place(&mut self, part: Part, cost: usize) {
        // The second time without the headings that went over.
        for more in [true, false] {
            let block = usize::from(!self.continues_text(&part));
            if cost > self.room() || self.blocks + block > MOST_BLOCKS {
                self.end_message(more);
            }
        }
        self.units += cost + 2;
        self.blocks += usize::from(!self.continues_text(&part));
        self.parts.push(part);
    }

    fn continues_text(&self, part: &Part) -> bool {
        matches!(part, Part::Text(_)) && matches!(self.parts.last(), Some(Part::Text(_)))
    }

    fn text(&mut self, lines: Vec<Line>) {
        let cost = units(&write::markdown(&Part::Text(lines.clone())));
        let short = cost <= MOST_MARKDOWN - 2;
        if cost <= self.room() || short && self.units > MOST_MARKDOWN / 2 {
            return self.place(Part::Text(lines), cost);
        }
        let mut fitting: Vec<Line> = Vec::new();
        let mut taken = 0;
        for line in lines.into_iter().flat_map(cut_line) {
            let cost = cost_of(&line);
            if taken + cost > self.room() {
                self.place_lines(&mut fitting);
                self.end_message(true);
                taken = 0;
            }
            taken += cost;
            fitting.push(line);
        }
        self.place_lines(&mut fitting);
    }

    fn place_lines(&mut self, lines: &mut Vec<Line>) {
        if !lines.is_empty() {
            self.place_whole(Part::Text(std::mem::take(lines)));
        }
    }

    fn code(&mut self, language: &str, code: String) {
        let fences = units(language) + 8;
        let whole = |code| Part::Code { language: language.to_owned(), code };
        let cost = units(&code) + fences;
        if cost <= MOST_MARKDOWN - 2 {
            return self.place(whole(code), cost);
        }
        if self.room() < STUMP {
            self.end_message(true);
        }
        let first = self.room().saturating_sub(fences);
        for piece in cut_lines(&code, first, MOST_MARKDOWN - 2 - fences) {
            self.place_whole(whole(piece));
        }
    }

    /// Ends the message; with `more` to come, headings at its end go over into the next one.
    fn end_message(&mut self, more: bool) {
        let mut parts = std::mem::take(&mut self.parts);
        let body = parts.iter().rposition(|part| !matches!(part, Part::Heading { .. })).map_or(0, |last| last + 1);
        let headings: usize = parts[body..].iter().map(|part| units(&write::markdown(part)) + 2).sum();
        // Where they alone would fill the next message they are content like any other.
        let over = if more && body > 0 && headings <= STUMP { parts.split_off(body) } else { Vec::new() };
        if !parts.is_empty() {
            self.messages.push(parts);
        }
        self.units = if over.is_empty() { 0 } else { headings };
        self.blocks = over.len();
        self.parts = over;
    }
}

/// An upper bound of what a line costs among others.
fn cost_of(line: &Line) -> usize {
    // The indent, the quotes, the opener, the task and the line's end with what parts it from the next.
    const AROUND: usize = 220;
    let alone = Line { quotes: 0, depth: 0, opener: Opener::None, task: None, ..line.clone() };
    let nested = line.quotes + line.depth > 0 || line.opener != Opener::None;
    units(&write::markdown(&Part::Text(vec![alone]))) + if nested { AROUND } else { 8 }
}

/// A line as lines that each fit into a message.
fn cut_line(line: Line) -> Vec<Line> {
    let Line { quotes, depth, opener, task, gap, spans } = line;
    let pieces = cut_spans(spans, MOST_MARKDOWN - 500);
    if pieces.is_empty() {
        return vec![Line { quotes, depth, opener, task, gap, spans: Vec::new() }];
    }
    let lines = pieces.into_iter().enumerate().map(|(index, spans)| match index {
        0 => Line { quotes, depth, opener, task, gap, spans },
        _ => Line { quotes, depth, opener: Opener::None, task: None, gap: false, spans },
    });
    lines.collect()
}

/// Spans as pieces of at most `most` units of Markdown each, cut at the last space of a piece, else anywhere.
fn cut_spans(spans: Vec<Span>, most: usize) -> Vec<Vec<Span>> {
    let mut pieces: Vec<Vec<Span>> = Vec::new();
    let (mut piece, mut taken): (Vec<Span>, usize) = (Vec::new(), 0);
    for span in spans {
        let around = overhead(&span);
        let mut rest = span.text.as_str();
        while !rest.is_empty() {
            let (mut end, torn) = fitting(rest, most.saturating_sub(taken + around));
            if end == 0 && piece.is_empty() {
                // One sign that fills a message: it is torn apart, or this would never end.
                end = torn.max(rest.chars().next().map_or(0, char::len_utf8));
            }
            if end < rest.len() {
                end = rest[..end].rfind(char::is_whitespace).filter(|at| *at > end / 2).unwrap_or(end);
            }
            let (head, after) = rest.split_at(end);
            if end > 0 {
                taken += around + bound(head);
                piece.push(Span { text: head.to_owned(), marks: span.marks.clone() });
            }
            rest = after;
            if !rest.is_empty() {
                rest = rest.trim_start();
                pieces.extend(Some(std::mem::take(&mut piece)).filter(|piece| !piece.is_empty()));
                taken = 0;
            }
        }
    }
    pieces.extend(Some(piece).filter(|piece| !piece.is_empty()));
    pieces
}

/// The units of a text, each sign that may need a backslash counted twice.
fn bound(text: &str) -> usize {
    text.chars().map(cost).sum()
}

fn cost(c: char) -> usize {
    c.len_utf16() + usize::from(c.is_ascii_punctuation())
}

/// The most bytes of `text` that cost at most `most`: without tearing a sign of several characters apart, and with it.
fn fitting(text: &str, most: usize) -> (usize, usize) {
    let (mut taken, mut end, mut joined) = (0, 0, false);
    for (at, c) in text.char_indices() {
        if !joined && !glued(c) {
            end = at;
        }
        joined = c == '\u{200d}';
        taken += cost(c);
        if taken > most {
            return (end, at);
        }
    }
    (text.len(), text.len())
}
