//! Styled text → Markdown for a `markdown` block, and mrkdwn for everything else. Pure.
//!
//! Markdown is written anew rather than passed on: what a text says is escaped, so it can't become syntax, and only what Slack
//! documents is written (`**`, `*` and `_`, `~~`, one backslash before a sign).

use super::super::split::{unfenced, units};
use super::parts::{Mark, Span, bare};

/// The only three characters that mean something to Slack wherever they stand.
pub(in crate::slack) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The spans as Markdown that can stand at the beginning of a line.
pub(super) fn markdown(spans: &[Span]) -> String {
    let mut writer = Writer { spans, out: String::new(), open: Vec::new() };
    for index in 0..spans.len() {
        writer.markdown(index);
    }
    writer.close_to(0);
    writer.out
}

/// The spans as mrkdwn.
pub(super) fn mrkdwn(spans: &[Span]) -> String {
    let mut writer = Writer { spans, out: String::new(), open: Vec::new() };
    let mut index = 0;
    while index < spans.len() {
        index = writer.mrkdwn(index);
    }
    writer.close_to(0);
    unfenced(&writer.out)
}

struct Writer<'a> {
    spans: &'a [Span],
    out: String,
    /// The open styles, the outermost first, each with what closes it.
    open: Vec<(Mark, String)>,
}

impl Writer<'_> {
    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            if let Some((_, closer)) = self.open.pop() {
                self.out.push_str(&closer);
            }
        }
    }

    /// Closes what the span is not in. The styles it is in and that are not open, code aside.
    fn missing(&mut self, index: usize) -> Vec<Mark> {
        let marks = &self.spans[index].marks;
        let common = self.open.iter().zip(marks).take_while(|((open, _), mark)| open == *mark).count();
        self.close_to(common);
        marks[common..].iter().filter(|mark| **mark != Mark::Code).cloned().collect()
    }

    fn in_link(&self) -> bool {
        self.open.iter().any(|(mark, _)| matches!(mark, Mark::Link(_)))
    }

    fn markdown(&mut self, index: usize) {
        for mark in self.missing(index) {
            let (opener, closer) = match &mark {
                Mark::Bold => ("**", "**".to_owned()),
                Mark::Strike => ("~~", "~~".to_owned()),
                Mark::Link(url) => ("[", format!("]({})", url_in_markdown(url))),
                // `_` is not seen within a word, and a `*` beside another style's `*` is read together with it.
                Mark::Italic if self.within_word(index) => ("*", "*".to_owned()),
                Mark::Italic | Mark::Code => ("_", "_".to_owned()),
            };
            self.out.push_str(opener);
            self.open.push((mark, closer));
        }
        let span = &self.spans[index];
        if span.marks.last() == Some(&Mark::Code) {
            return self.out.push_str(&ticked(&span.text));
        }
        let next = self.spans.get(index + 1);
        // Until something is written, the text itself begins the line.
        let escaped = escape_markdown(&span.text, self.out.is_empty(), self.in_link(), next.is_none());
        self.out.push_str(&escaped);
    }

    /// Whether the style that begins at a span touches a letter at either end.
    fn within_word(&self, index: usize) -> bool {
        let depth = self.open.len();
        let inside = |span: &&Span| span.marks.get(depth) == Some(&Mark::Italic);
        let after = self.spans[index..].iter().find(|span| !inside(span)).and_then(|span| span.text.chars().next());
        self.out.ends_with(char::is_alphanumeric) || after.is_some_and(char::is_alphanumeric)
    }

    /// Writes a span, or all of a link that is its own text; the index of the next.
    fn mrkdwn(&mut self, index: usize) -> usize {
        for mark in self.missing(index) {
            let (opener, closer) = match &mark {
                Mark::Bold => ("*".to_owned(), "*"),
                Mark::Italic => ("_".to_owned(), "_"),
                Mark::Strike => ("~".to_owned(), "~"),
                Mark::Link(url) => {
                    let depth = self.open.len();
                    let inside = |span: &&Span| span.marks.get(depth) == Some(&mark);
                    let length = self.spans[index..].iter().take_while(inside).count();
                    let label = bare(&self.spans[index..index + length]);
                    let address = escape(&url.replace('|', "%7C"));
                    if label == **url || **url == format!("mailto:{label}") {
                        self.out.push_str(&format!("<{address}>"));
                        return index + length;
                    }
                    (format!("<{address}|"), ">")
                }
                Mark::Code => continue,
            };
            self.out.push_str(&opener);
            self.open.push((mark, closer.to_owned()));
        }
        let span = &self.spans[index];
        let text = escape(&if span.marks.last() == Some(&Mark::Code) {
            format!("`{}`", span.text.replace('`', "'"))
        } else {
            span.text.clone()
        });
        // A link's text can't hold Slack's own separator.
        self.out.push_str(&if self.in_link() { text.replace('|', " ") } else { text });
        index + 1
    }
}

/// Whether mrkdwn shows the spans just as Markdown would: it has no way to escape a sign, and sees a style only between words.
pub(super) fn same_in_mrkdwn(spans: &[Span]) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || "().,:;!?".contains(c));
    spans.iter().enumerate().all(|(index, span)| {
        let before = index.checked_sub(1).and_then(|index| spans[index].text.chars().last());
        let after = spans.get(index + 1).and_then(|span| span.text.chars().next());
        let (code, styled) = (span.marks.last() == Some(&Mark::Code), !span.marks.is_empty());
        let literal = if code { "`" } else { "*_~`|" };
        !span.text.contains(|c| literal.contains(c)) && (!styled || edge(before) && edge(after))
    }) && !bare(spans).starts_with('>')
}

/// Code between backticks; more than one in a row would be a fence to whoever counts them.
fn ticked(code: &str) -> String {
    let mut apart = String::with_capacity(code.len());
    for c in code.chars() {
        if c == '`' && apart.ends_with('`') {
            apart.push('\u{200b}');
        }
        apart.push(c);
    }
    let ticks = if apart.contains('`') { "``" } else { "`" };
    // The first and the last space are taken off by the reader, where both are there.
    let padded = apart.starts_with(['`', ' ']) || apart.ends_with(['`', ' ']);
    let pad = if padded { " " } else { "" };
    format!("{ticks}{pad}{apart}{pad}{ticks}")
}

/// An address between `(` and `)`.
fn url_in_markdown(url: &str) -> String {
    let url = url.replace('(', "%28").replace(')', "%29").replace('\\', "%5C");
    let mut parts = url.split('&');
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // What looks like an entity would be undone; whatever else `&` begins is left alone, so that it works in any reader.
        safe.push_str(if is_entity(part) { "&amp;" } else { "&" });
        safe.push_str(part);
    }
    safe
}

/// Text with a backslash before every sign that would be syntax where it stands: at the beginning of a line (`starts`), in a
/// link's text (`in_link`), at the end of the line (`ends`) or right before another style.
fn escape_markdown(text: &str, starts: bool, in_link: bool, ends: bool) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    if starts {
        let (opener, after) = line_opener(rest);
        out.push_str(&opener);
        rest = after;
    }
    let mut before = text[..text.len() - rest.len()].chars().last();
    while let Some(sign) = rest.chars().next() {
        let url = if in_link { 0 } else { bare_url(rest, before) };
        if url > 0 {
            out.push_str(&rest[..url]);
            before = rest[..url].chars().last();
            rest = &rest[url..];
            continue;
        }
        let after = &rest[sign.len_utf8()..];
        if is_syntax(sign, before, after, in_link, ends) {
            out.push('\\');
        }
        out.push(sign);
        before = Some(sign);
        rest = after;
    }
    out
}

fn is_syntax(sign: char, before: Option<char>, after: &str, in_link: bool, ends: bool) -> bool {
    let next = after.chars().next();
    let space = |c: Option<char>| c.is_some_and(char::is_whitespace);
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match sign {
        '`' => true,
        '\\' => next.is_none_or(|c| c.is_ascii_punctuation()),
        '*' => !(space(before) && (space(next) || next.is_none() && ends)),
        '_' => !(word(before) && word(next)),
        // `~5 min` and `~/path` open nothing that a later one could close.
        '~' => !(before.is_none_or(char::is_whitespace) && next.is_some_and(|c| c == '/' || c.is_ascii_digit())),
        '[' => in_link,
        ']' => in_link || next.is_none_or(|c| c == '(' || c == '['),
        '!' => next.is_none() && !ends,
        '<' => next.is_none_or(|c| c.is_alphabetic() || "/!?@#\u{2060}".contains(c)),
        '&' => is_entity(after),
        '#' => next.is_none(),
        _ => false,
    }
}

fn is_entity(after: &str) -> bool {
    let name = after.bytes().take(40).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'#').count();
    name > 0 && after.as_bytes().get(name) == Some(&b';')
}

/// The length of the bare address that a text begins with: a backslash in it would be part of it.
fn bare_url(text: &str, before: Option<char>) -> usize {
    if before.is_some_and(char::is_alphanumeric) || !(text.starts_with("http://") || text.starts_with("https://")) {
        return 0;
    }
    let end = text.find(|c: char| c.is_whitespace() || "<>[]*~`\\|\"'".contains(c) || !c.is_ascii());
    let url = &text[..end.unwrap_or(text.len())];
    // `_` at its end would be read as the end of a style.
    url.trim_end_matches('_').len()
}

/// What would make a line a heading, a quote, an item, a rule, a table: disarmed, and the rest of the line.
fn line_opener(text: &str) -> (String, &str) {
    let digits = text.bytes().take(10).take_while(u8::is_ascii_digit).count();
    let after = &text[digits..];
    if digits > 0 && after.starts_with(['.', ')']) {
        return (format!("{}\\{}", &text[..digits], &after[..1]), &after[1..]);
    }
    let Some(sign) = text.chars().next() else { return (String::new(), text) };
    let rest = &text[sign.len_utf8()..];
    let only = |signs: &str| text.chars().all(|c| signs.contains(c));
    let armed = match sign {
        '#' | '>' | '[' => true,
        '+' | '-' => rest.is_empty() || rest.starts_with(char::is_whitespace) || only("-:| "),
        '=' => only("= "),
        ':' | '|' => only("-:| "),
        _ => false,
    };
    if armed { (format!("\\{sign}"), rest) } else { (String::new(), text) }
}

/// An upper bound of what a span costs in a `markdown` block beside its text.
pub(super) fn overhead(span: &Span) -> usize {
    let marks = span.marks.iter().map(|mark| match mark {
        Mark::Link(url) => 5 * units(url) + 4,
        Mark::Code => 6,
        _ => 4,
    });
    marks.sum()
}
