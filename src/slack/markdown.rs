//! Markdown as agents write it → mrkdwn as Slack shows it, in messages that are not too long.
//!
//! Pure. Nothing an agent writes may ping anybody or forge a link: `&`, `<` and `>` are escaped everywhere but in the links
//! that are built here. A code fence is never left open: a long one is closed at a message's end and opened again in the
//! next.

use pulldown_cmark::{Alignment, Event, Options, Parser, Tag, TagEnd};

use crate::model::text::printable;

/// The most characters (UTF-16 units, the larger of the ways to count) in one message; Slack cuts at 4,000.
pub const MOST: usize = 3_900;

/// A piece of rendered text that is kept whole where possible.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    /// mrkdwn; cut at a line's end, else at a space.
    Text(String),
    /// The inside of a code block, escaped; cut at a line's end.
    Code(String),
}

/// `text` as one or more messages in mrkdwn. Nothing for a text without content.
pub fn render(text: &str) -> Vec<String> {
    pack(&blocks(&printable(text)), MOST)
}

/// `mrkdwn` that is rendered already, as one or more messages.
pub fn split(mrkdwn: &str) -> Vec<String> {
    pack(&[Block::Text(mrkdwn.to_owned())], MOST)
}

/// The only three characters that mean something to Slack wherever they stand.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

const FENCE: &str = "```";

fn pack(blocks: &[Block], most: usize) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    let mut push = |piece: String| match messages.last_mut() {
        Some(last) if units(last) + 2 + units(&piece) <= most => {
            // A list's or a paragraph's neighbour stands off by an empty line; a fence brings its own.
            last.push_str(if piece.starts_with(FENCE) || last.ends_with(FENCE) { "\n" } else { "\n\n" });
            last.push_str(&piece);
        }
        _ => messages.push(piece),
    };
    for block in blocks {
        match block {
            Block::Text(text) => cut(text, most).into_iter().for_each(&mut push),
            Block::Code(code) => {
                let room = most - 2 * units(FENCE) - 2;
                cut_lines(code, room).into_iter().for_each(|part| push(format!("{FENCE}\n{part}\n{FENCE}")));
            }
        }
    }
    messages
}

/// What must not be torn apart: a link, an escaped character, else one character.
fn atoms(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = match first {
            '<' => rest.find('>').filter(|end| *end < MOST / 2).map(|end| end + 1),
            '&' => rest.find(';').filter(|end| *end <= 4).map(|end| end + 1),
            _ => None,
        };
        let (atom, after) = rest.split_at(end.unwrap_or(first.len_utf8()));
        rest = after;
        Some(atom)
    })
}

/// `text` in parts of at most `most` units, cut at the last newline of a part, else at its last space, else anywhere.
fn cut(text: &str, most: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim_matches('\n');
    while units(rest) > most {
        let end = fitting(rest, most);
        let head = &rest[..end];
        // A break in the first half would leave a stump of a message: then it is better to cut a word's neighbour.
        let at = head.rfind('\n').filter(|at| *at > end / 2).or_else(|| head.rfind(' ').filter(|at| *at > end / 2));
        let (part, after) = rest.split_at(at.filter(|at| outside_link(head, *at)).unwrap_or(end));
        parts.push(part.to_owned());
        rest = after.trim_start_matches('\n');
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
    if !rest.trim().is_empty() {
        parts.push(rest.to_owned());
    }
    parts
}

/// The most bytes of `text` that are whole atoms and at most `most` units; at least one atom.
fn fitting(text: &str, most: usize) -> usize {
    let (mut bytes, mut taken) = (0, 0);
    for atom in atoms(text) {
        taken += units(atom);
        if taken > most && bytes > 0 {
            break;
        }
        bytes += atom.len();
    }
    bytes
}

fn outside_link(text: &str, at: usize) -> bool {
    text[..at].rfind('<') <= text[..at].rfind('>')
}

/// The lines of a code block in parts of at most `most` units; a line that is too long itself is cut anywhere.
fn cut_lines(code: &str, most: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in code.split('\n') {
        let mut rest = line;
        let mut fresh = true;
        while fresh || !rest.is_empty() {
            let end = if units(rest) <= most { rest.len() } else { fitting(rest, most) };
            let (piece, after) = rest.split_at(end);
            match parts.last_mut() {
                Some(part) if fresh && units(part) + 1 + units(piece) <= most => {
                    part.push('\n');
                    part.push_str(piece);
                }
                _ => parts.push(piece.to_owned()),
            }
            rest = after;
            fresh = false;
        }
    }
    parts
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut writer = Writer::default();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(markdown, options) {
        writer.take(event);
    }
    writer.end_block();
    writer.blocks
}

#[derive(Default)]
struct Writer {
    blocks: Vec<Block>,
    /// The text block that is being written.
    text: String,
    /// The number of the next item of each open list; none for bullets.
    lists: Vec<Option<u64>>,
    quotes: usize,
    in_heading: bool,
    code: Option<String>,
    /// The target of each open link or image, and where its text begins.
    links: Vec<(String, usize)>,
    table: Option<Table>,
}

#[derive(Default)]
struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<String>>,
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.write(&escape(&text)),
            },
            Event::Code(code) => {
                let code = escape(&code.replace('`', "'"));
                self.write(&if self.table.is_some() { code } else { format!("`{code}`") });
            }
            Event::Html(html) | Event::InlineHtml(html) => self.write(&escape(&html)),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.write(&escape(&text));
            }
            Event::SoftBreak | Event::HardBreak => self.new_line(),
            Event::Rule => {
                self.end_block();
                self.blocks.push(Block::Text("———".to_owned()));
            }
            Event::TaskListMarker(done) => self.write(if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if self.lists.is_empty() && self.quotes == 0 => self.end_block(),
            Tag::HtmlBlock => self.end_block(),
            Tag::Paragraph => self.paragraph_within(),
            Tag::Heading { .. } => {
                self.end_block();
                self.in_heading = true;
                self.write("*");
            }
            Tag::BlockQuote(_) => {
                if self.quotes == 0 && self.lists.is_empty() {
                    self.end_block();
                }
                self.quotes += 1;
            }
            Tag::CodeBlock(_) => {
                self.end_block();
                self.code = Some(String::new());
            }
            Tag::List(first) => {
                if self.lists.is_empty() && self.quotes == 0 {
                    self.end_block();
                }
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.mark("_"),
            Tag::Strong if !self.in_heading => self.mark("*"),
            Tag::Strikethrough => self.mark("~"),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                let from = self.target().len();
                self.links.push((dest_url.to_string(), from));
            }
            Tag::Table(alignments) => {
                self.end_block();
                self.table = Some(Table { alignments, rows: Vec::new() });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.write("*");
                self.in_heading = false;
                self.end_block();
            }
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                if self.quotes == 0 && self.lists.is_empty() {
                    self.end_block();
                }
            }
            TagEnd::CodeBlock => {
                if let Some(code) = self.code.take() {
                    self.push_code(code.strip_suffix('\n').unwrap_or(&code));
                }
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Emphasis => self.mark("_"),
            TagEnd::Strong if !self.in_heading => self.mark("*"),
            TagEnd::Strikethrough => self.mark("~"),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    let drawn = table.draw();
                    self.blocks.push(Block::Code(drawn));
                }
            }
            _ => {}
        }
    }

    /// A table's cells stand in a code block, where marks would show as they are.
    fn mark(&mut self, mark: &str) {
        if self.table.is_none() {
            self.write(mark);
        }
    }

    fn target(&mut self) -> &mut String {
        match self.table.as_mut().and_then(|table| table.rows.last_mut()).and_then(|row| row.last_mut()) {
            Some(cell) => cell,
            None => &mut self.text,
        }
    }

    fn write(&mut self, text: &str) {
        if self.table.is_none() && self.quotes > 0 && (self.text.is_empty() || self.text.ends_with('\n')) {
            self.text.push_str(&"> ".repeat(self.quotes));
        }
        self.target().push_str(text);
    }

    fn new_line(&mut self) {
        if self.table.is_some() {
            return self.write(" ");
        }
        self.text.push('\n');
        // The lines of an item stand below its text, not below its bullet.
        let indent = "    ".repeat(self.lists.len().saturating_sub(1)) + "  ";
        if !self.lists.is_empty() {
            self.write(&indent);
        }
    }

    /// A paragraph inside an item or a quote: the first one goes on where the bullet stands.
    fn paragraph_within(&mut self) {
        let fresh = self.text.is_empty() || self.text.ends_with(['\n', ' ']);
        if !fresh {
            self.new_line();
        }
    }

    fn item(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        let depth = self.lists.len().saturating_sub(1);
        let bullet = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ if depth % 2 == 1 => "◦ ".to_owned(),
            _ => "• ".to_owned(),
        };
        self.write(&("    ".repeat(depth) + &bullet));
    }

    fn end_link(&mut self) {
        let Some((url, from)) = self.links.pop() else { return };
        let in_table = self.table.is_some();
        let target = self.target();
        let label = target.split_off(from.min(target.len()));
        let safe = ["http://", "https://", "mailto:"].iter().any(|scheme| url.starts_with(scheme));
        let address = escape(&url.replace('|', "%7C").replace(' ', "%20"));
        let link = match label.as_str() {
            label if in_table => label.to_owned(),
            label if !safe || units(&url) > 1_000 => format!("{label} ({})", escape(&url)),
            label if label.is_empty() || label == escape(&url) || url == format!("mailto:{label}") => {
                format!("<{address}>")
            }
            // A link's text can't hold another link, a newline or Slack's own separator.
            label => format!("<{address}|{}>", label.replace(['|', '\n'], " ").replace(['<', '>'], "")),
        };
        target.push_str(&link);
    }

    fn push_code(&mut self, code: &str) {
        // A fence within a fence would close it: an invisible space keeps its signs apart.
        self.blocks.push(Block::Code(escape(&code.replace(FENCE, "``\u{200b}`"))));
    }

    fn end_block(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.trim().is_empty() {
            // A stray fence sign would pair with the next real one.
            self.blocks.push(Block::Text(text.trim_end().replace(FENCE, "``\u{200b}`")));
        }
    }
}

impl Table {
    /// The table with aligned columns; widths are counted as people see them, before escaping.
    fn draw(&self) -> String {
        let seen = |cell: &str| cell.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").chars().count();
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| seen(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut lines: Vec<String> = Vec::with_capacity(self.rows.len() + 1);
        for (index, row) in self.rows.iter().enumerate() {
            let cells = widths.iter().enumerate().map(|(column, width)| {
                let cell = row.get(column).map_or("", String::as_str);
                let space = " ".repeat(width.saturating_sub(seen(cell)));
                match self.alignments.get(column) {
                    Some(Alignment::Right) => space + cell,
                    _ => cell.to_owned() + &space,
                }
            });
            lines.push(cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned());
            if index == 0 {
                lines.push(widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("-|-"));
            }
        }
        lines.join("\n").replace(FENCE, "``\u{200b}`")
    }
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
