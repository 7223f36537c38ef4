//! Markdown as agents write it → mrkdwn as Slack shows it.
//!
//! Pure. Nothing an agent writes may ping anybody or forge a link: `&`, `<` and `>` are escaped everywhere but in the links
//! that are built here.

use pulldown_cmark::{Alignment, Event, Options, Parser, Tag, TagEnd};

use super::split::{Block, FENCE, MOST, pack, units};
use crate::model::text::printable;

/// `text` as one or more messages in mrkdwn. Nothing for a text without content.
pub(super) fn render(text: &str) -> Vec<String> {
    pack(&blocks(&printable(text)), MOST)
}

/// `mrkdwn` that is rendered already, as one or more messages.
pub(super) fn split(mrkdwn: &str) -> Vec<String> {
    pack(&[Block::Text(mrkdwn.to_owned())], MOST)
}

/// The only three characters that mean something to Slack wherever they stand.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[(&str, &str)] = &[
        ("plain", "plain"),
        ("**bold** and __bold__", "*bold* and *bold*"),
        ("*it* and _it_", "_it_ and _it_"),
        ("***both***", "_*both*_"),
        ("~~gone~~", "~gone~"),
        ("`code <x>`", "`code &lt;x&gt;`"),
        ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
        ("<!here> <@U123> @channel", "&lt;!here&gt; &lt;@U123&gt; @channel"),
        ("# Title", "*Title*"),
        ("### A **bold** title\n\ntext", "*A bold title*\n\ntext"),
        ("Title\n=====\ntext", "*Title*\n\ntext"),
        ("one\n\ntwo", "one\n\ntwo"),
        ("one\ntwo", "one\ntwo"),
        ("[text](https://a.b/c?d=1&e=2)", "<https://a.b/c?d=1&amp;e=2|text>"),
        ("<https://a.b>", "<https://a.b>"),
        ("[a|b>c](https://a.b)", "<https://a.b|a b&gt;c>"),
        ("[click](javascript:alert)", "click (javascript:alert)"),
        ("[**b**](https://a.b/x|y)", "<https://a.b/x%7Cy|*b*>"),
        ("![alt](https://a.b/i.png)", "<https://a.b/i.png|alt>"),
        ("- a\n- b", "• a\n• b"),
        ("1. a\n2. b\n", "1. a\n2. b"),
        ("3. a\n4. b\n", "3. a\n4. b"),
        ("- a\n  - b\n    - c\n- d", "• a\n    ◦ b\n        • c\n• d"),
        ("- [ ] open\n- [x] done", "• ☐ open\n• ☑ done"),
        ("- a\n\n  more\n- b", "• a\n  more\n• b"),
        ("text\n\n- a\n- b\n\nafter", "text\n\n• a\n• b\n\nafter"),
        ("> quoted\n> twice", "> quoted\n> twice"),
        ("```rust\nfn a() -> &str {}\n```", "```\nfn a() -&gt; &amp;str {}\n```"),
        ("before\n```\ncode\n```\nafter", "before\n```\ncode\n```\nafter"),
        ("    indented", "```\nindented\n```"),
        ("````\n```\n````", "```\n``\u{200b}`\n```"),
        ("| a | b |\n|---|--:|\n| **x** | 1 |\n| yy | 22 |", "```\na  |  b\n---|---\nx  |  1\nyy | 22\n```"),
        ("a\n\n---\n\nb", "a\n\n———\n\nb"),
        ("<b>html</b>", "&lt;b&gt;html&lt;/b&gt;"),
        ("a\u{1b}[31mb\u{7}", "a[31mb"),
        ("an unclosed ```fence", "an unclosed ``\u{200b}`fence"),
        ("emoji 🎉 ünïcode", "emoji 🎉 ünïcode"),
    ];

    #[test]
    fn what_agents_write_shows_in_slack_as_they_meant_it() {
        for (markdown, expected) in TABLE {
            assert_eq!(render(markdown), [*expected], "{markdown}");
        }
        for nothing in ["", "  \n\n ", "\u{1b}"] {
            assert!(render(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn a_long_code_block_is_closed_and_opened_again() {
        let code: String = (0..400).map(|line| format!("line {line} of the code\n")).collect();
        let messages = render(&format!("before\n```sh\n{code}```\nafter"));
        assert!(messages.len() > 2);
        let inside: String = messages
            .iter()
            .flat_map(|message| message.lines())
            .filter(|line| line.starts_with("line"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(inside, code);
        for message in &messages {
            assert_eq!(message.matches("```").count() % 2, 0, "{message}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_words_and_never_within_a_link_or_an_escape() {
        let text = "some words & <angles> and [a link](https://a.b/c) ".repeat(300);
        let messages = render(&text);
        for message in &messages {
            assert!(units(message) <= MOST);
            assert_eq!(message.matches("<https").count(), message.matches("|a link>").count(), "{message}");
            assert!(!message.ends_with("&am") && !message.starts_with("mp;"), "{message}");
        }
        let joined = messages.join(" ");
        assert_eq!(joined.matches("&lt;angles&gt;").count(), 300);
    }

    proptest! {
        #[test]
        fn no_text_of_an_agent_ever_pings_anybody_or_breaks_the_limit(text in "(<[!@#]?[a-zA-Z]{1,8}>|[*_`~\\[\\]()#>|&-]|[a-z \n]){0,300}") {
            for message in render(&text) {
                prop_assert!(units(&message) <= MOST);
                prop_assert!(!message.contains("<!") && !message.contains("<@") && !message.contains("<#"), "{message}");
            }
        }
    }
}
