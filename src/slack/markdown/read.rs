//! Markdown as agents write it → the parts of an answer. Pure.

use std::rc::Rc;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd, TextMergeStream};

use super::super::split::{unfenced, units};
use super::parts::{Line, Mark, Opener, Part, Span, Table, push};
use super::ping::{neutral, neutral_url};

/// Slack indents no deeper; what an agent nests deeper stands at the deepest level.
const DEEPEST_LIST: usize = 8;
const DEEPEST_QUOTE: usize = 3;

/// The longest address that becomes a link; Slack cuts text that has longer ones.
const LONGEST_URL: usize = 1_000;

/// The parts of `markdown`, in its order. Nothing is lost but white space, titles of links and what is no content: the syntax.
pub(super) fn read(markdown: &str) -> Vec<Part> {
    let mut reader = Reader::default();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for event in TextMergeStream::new(Parser::new_ext(markdown, options)) {
        reader.take(event);
    }
    reader.end_part();
    reader.parts
}

#[derive(Default)]
struct Reader {
    parts: Vec<Part>,
    /// The lines of the part that is read.
    lines: Vec<Line>,
    line: Option<Line>,
    /// The number of the next item of each open list; none for bullets.
    lists: Vec<Option<u64>>,
    quotes: usize,
    heading: Option<usize>,
    /// The open styles, and for every open tag whether it added one.
    marks: Vec<Mark>,
    added: Vec<bool>,
    links: Vec<OpenLink>,
    /// The language and the text of the open code block.
    code: Option<(String, String)>,
    table: Option<Table>,
}

struct OpenLink {
    url: String,
    /// The text so far, as far as it may equal the address.
    label: String,
    /// Whether the address must be written out, as nothing links to it.
    unlinked: bool,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some((_, code)) => code.push_str(&text),
                None => self.write(&text),
            },
            Event::Code(code) => {
                self.open(Mark::Code);
                self.write(&code);
                self.close();
            }
            Event::Html(html) | Event::InlineHtml(html) if is_break(&html) => self.new_line(),
            Event::Html(html) | Event::InlineHtml(html) => self.write_lines(&html),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => self.write(&text),
            Event::SoftBreak | Event::HardBreak => self.new_line(),
            Event::Rule => {
                self.end_part();
                self.parts.push(Part::Rule);
            }
            Event::TaskListMarker(done) => self.line().task = Some(done),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.paragraph(),
            Tag::Heading { level, .. } if self.on_top() => {
                self.end_part();
                self.heading = Some(level as usize);
            }
            Tag::Heading { .. } => {
                self.paragraph();
                self.open(Mark::Bold);
            }
            Tag::BlockQuote(_) => {
                self.end_block();
                self.quotes += 1;
            }
            Tag::CodeBlock(kind) => {
                self.end_part();
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language(&info),
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((language, String::new()));
            }
            Tag::List(first) => {
                self.end_block();
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.open(Mark::Italic),
            // All of a heading is bold.
            Tag::Strong if self.heading.is_none() => self.open(Mark::Bold),
            Tag::Strong => self.added.push(false),
            Tag::Strikethrough => self.open(Mark::Strike),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.open_link(&dest_url),
            Tag::Table(alignments) => {
                self.end_part();
                self.table = Some(Table { alignments, rows: Vec::new() });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock | TagEnd::Item => self.end_block(),
            TagEnd::Heading(_) => self.end_heading(),
            TagEnd::BlockQuote(_) => {
                self.end_line();
                self.quotes = self.quotes.saturating_sub(1);
                self.end_block();
            }
            TagEnd::CodeBlock => {
                if let Some((language, code)) = self.code.take().filter(|(_, code)| !code.trim().is_empty()) {
                    let code = unfenced(&neutral(code.strip_suffix('\n').unwrap_or(&code)));
                    self.parts.push(Part::Code { language, code });
                }
            }
            TagEnd::List(_) => {
                self.end_line();
                self.lists.pop();
                self.end_block();
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.close(),
            TagEnd::Link | TagEnd::Image => self.close_link(),
            TagEnd::TableCell => {
                if let Some(cell) = self.table.as_mut().and_then(|table| table.rows.last_mut()?.last_mut()) {
                    *cell = finished(std::mem::take(cell));
                }
            }
            TagEnd::Table => self.parts.extend(self.table.take().map(Part::Table)),
            _ => {}
        }
    }

    fn on_top(&self) -> bool {
        self.lists.is_empty() && self.quotes == 0
    }

    /// The line that is read; one that goes on where the last one stood, where there is none.
    fn line(&mut self) -> &mut Line {
        let (quotes, depth) = (self.quotes.min(DEEPEST_QUOTE), self.lists.len().min(DEEPEST_LIST));
        self.line.get_or_insert_with(|| Line {
            quotes,
            depth,
            opener: Opener::None,
            task: None,
            gap: false,
            spans: Vec::new(),
        })
    }

    fn paragraph(&mut self) {
        let fresh = self.line.as_ref().is_some_and(|line| line.spans.is_empty());
        self.end_block_unless(fresh);
        let gap = !fresh && !self.lines.is_empty();
        self.line().gap |= gap;
    }

    fn item(&mut self) {
        self.end_line();
        let opener = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number = number.saturating_add(1);
                Opener::Number(*number - 1)
            }
            _ => Opener::Bullet,
        };
        self.line().opener = opener;
    }

    fn write(&mut self, text: &str) {
        if let Some(link) = self.links.last_mut().filter(|link| link.label.len() <= LONGEST_URL) {
            link.label.push_str(text);
        }
        let marks = std::mem::take(&mut self.marks);
        let cell = self.table.as_mut().and_then(|table| table.rows.last_mut()?.last_mut());
        let spans = match cell {
            Some(cell) => cell,
            None => &mut self.line().spans,
        };
        push(spans, text, &marks);
        self.marks = marks;
    }

    fn write_lines(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.new_line();
            }
            if !line.is_empty() {
                self.write(line);
            }
        }
    }

    fn new_line(&mut self) {
        // Neither a cell, a heading nor a link has lines in Slack.
        if self.table.is_some() || self.heading.is_some() || !self.links.is_empty() {
            return self.write(" ");
        }
        self.end_line();
    }

    fn open(&mut self, mark: Mark) {
        let new = !self.marks.iter().any(|open| std::mem::discriminant(open) == std::mem::discriminant(&mark));
        self.added.push(new);
        if new {
            self.marks.push(mark);
        }
    }

    fn close(&mut self) {
        if self.added.pop() == Some(true) {
            self.marks.pop();
        }
    }

    fn open_link(&mut self, url: &str) {
        let known = ["http://", "https://", "mailto:"].iter().any(|scheme| url.starts_with(scheme));
        let unlinked = !known || units(url) > LONGEST_URL;
        self.links.push(OpenLink { url: url.to_owned(), label: String::new(), unlinked });
        if unlinked {
            self.added.push(false);
        } else {
            let url: String = url.chars().filter(|c| !c.is_control()).collect();
            self.open(Mark::Link(Rc::from(neutral_url(&url.replace(char::is_whitespace, "%20")))));
        }
    }

    fn close_link(&mut self) {
        let Some(mut link) = self.links.pop() else { return };
        if link.label.trim().is_empty() {
            self.write(&link.url);
            link.label.clone_from(&link.url);
        }
        if let Some(outer) = self.links.last_mut().filter(|outer| outer.label.len() <= LONGEST_URL) {
            outer.label.push_str(&link.label);
        }
        self.close();
        if link.unlinked && link.label != link.url && !link.url.is_empty() {
            self.write(&format!(" ({})", link.url));
        }
    }

    fn end_heading(&mut self) {
        let Some(level) = self.heading.take() else {
            self.close();
            return self.end_block();
        };
        self.end_line();
        let spans = std::mem::take(&mut self.lines).into_iter().flat_map(|line| line.spans).collect::<Vec<_>>();
        if !spans.is_empty() {
            self.parts.push(Part::Heading { level, spans });
        }
    }

    fn end_line(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        line.spans = finished(line.spans);
        if !line.spans.is_empty() || line.opener != Opener::None {
            self.lines.push(line);
        }
    }

    fn end_block(&mut self) {
        self.end_block_unless(false);
    }

    /// Ends the line, and the part where nothing is open around it.
    fn end_block_unless(&mut self, fresh: bool) {
        if self.on_top() {
            self.end_part();
        } else if !fresh {
            self.end_line();
        }
    }

    fn end_part(&mut self) {
        self.end_line();
        let lines = std::mem::take(&mut self.lines);
        if !lines.is_empty() {
            self.parts.push(Part::Text(lines));
        }
    }
}

/// `<br>` in its spellings: the one tag that is meant and not shown.
fn is_break(html: &str) -> bool {
    let inside = html.trim().strip_prefix('<').and_then(|html| html.strip_suffix('>'));
    inside.is_some_and(|tag| tag.trim_end_matches('/').trim_end().eq_ignore_ascii_case("br"))
}

/// The first word of a fence's info, where it can be a language's name.
fn language(info: &str) -> String {
    let word = info.split([' ', ',', '{', '\t']).next().unwrap_or_default();
    let fits = word.len() <= 30 && word.chars().all(|c| c.is_ascii_alphanumeric() || "+#-._".contains(c));
    if fits { word.to_owned() } else { String::new() }
}

/// Spans without white space at their ends, which ping nobody.
fn finished(mut spans: Vec<Span>) -> Vec<Span> {
    let code = |span: &Span| span.marks.last() == Some(&Mark::Code);
    while let Some(first) = spans.first_mut().filter(|span| !code(span)) {
        first.text = first.text.trim_start().to_owned();
        if !first.text.is_empty() {
            break;
        }
        spans.remove(0);
    }
    while let Some(last) = spans.last_mut().filter(|span| !code(span)) {
        last.text.truncate(last.text.trim_end().len());
        if !last.text.is_empty() {
            break;
        }
        spans.pop();
    }
    for span in &mut spans {
        span.text = neutral(&span.text);
    }
    spans
}
