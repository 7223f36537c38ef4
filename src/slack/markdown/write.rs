//! The parts of an answer → Markdown, and mrkdwn. Pure.

use super::super::split::Block;
use super::inline::{self, escape};
use super::parts::{Line, Opener, Part};
use super::table::drawn;

/// A part as Markdown. Two parts stand an empty line apart.
pub(super) fn markdown(part: &Part) -> String {
    match part {
        Part::Heading { level, spans } => format!("{} {}", "#".repeat(*level), inline::markdown(spans)),
        Part::Text(lines) => markdown_lines(lines),
        Part::Code { language, code } => format!("```{language}\n{code}\n```"),
        Part::Table(table) => format!("```\n{}\n```", drawn(table)),
        Part::Rule => "---".to_owned(),
    }
}

/// A part as mrkdwn.
pub(super) fn mrkdwn(part: &Part) -> Block {
    match part {
        // Nothing of a heading shows but that it is bold.
        Part::Heading { spans, .. } => Block::Text(format!("*{}*", inline::mrkdwn(spans))),
        Part::Text(lines) => Block::Text(mrkdwn_lines(lines)),
        Part::Code { code, .. } => Block::Code(escape(code)),
        Part::Table(table) => Block::Code(escape(&drawn(table))),
        Part::Rule => Block::Text("———".to_owned()),
    }
}

/// Whether mrkdwn shows the part just as Markdown would.
pub(super) fn same_in_mrkdwn(part: &Part) -> bool {
    let Part::Text(lines) = part else { return false };
    lines.iter().all(|line| {
        line.quotes == 0 && line.depth == 0 && line.opener == Opener::None && inline::same_in_mrkdwn(&line.spans)
    })
}

/// Items are indented by what stands above them here, not by where they stood in the answer: a list that goes on in another
/// message must not become indented code.
fn markdown_lines(lines: &[Line]) -> String {
    let mut out = String::new();
    // The items that the line may stand in: their depth, and how far their text is indented.
    let mut items: Vec<(usize, usize)> = Vec::new();
    let mut last: Option<&Line> = None;
    for line in lines {
        let quotes = last.map_or(line.quotes, |last| last.quotes.min(line.quotes));
        if last.is_some_and(|last| last.quotes != line.quotes) {
            items.clear();
        }
        if let Some(last) = last {
            let apart = is_apart(last, line);
            // A line's end is one for people, too: two spaces before it say so to every reader.
            out.push_str(if apart || line.opener != Opener::None { "\n" } else { "  \n" });
            if apart {
                out.push_str("> ".repeat(quotes).trim_end());
                out.push('\n');
            }
        }
        let own = usize::from(line.opener != Opener::None);
        items.retain(|(depth, _)| depth + own <= line.depth);
        let indent: usize = items.iter().map(|(_, width)| width).sum();
        let marker = match line.opener {
            Opener::None => String::new(),
            Opener::Bullet => "- ".to_owned(),
            Opener::Number(number) => format!("{number}. "),
        };
        if own == 1 {
            items.push((line.depth, marker.len()));
        }
        let task = line.task.map_or("", |done| if done { "[x] " } else { "[ ] " });
        let text = inline::markdown(&line.spans);
        let whole = format!("{}{}{marker}{task}{text}", "> ".repeat(line.quotes), " ".repeat(indent));
        // A task without words is one only with the space behind it.
        out.push_str(if task.is_empty() || !text.is_empty() { whole.trim_end() } else { &whole });
        last = Some(line);
    }
    out
}

/// Whether an empty line must part two lines, or the second would be read as more of the first.
fn is_apart(last: &Line, line: &Line) -> bool {
    let interrupts = match line.opener {
        Opener::None => line.depth >= last.depth,
        // A list within a paragraph may begin with 1 only, and not with an empty item.
        Opener::Number(number) => last.depth >= line.depth && last.opener != Opener::None || number == 1,
        Opener::Bullet => true,
    };
    line.gap || last.quotes != line.quotes || !interrupts || line.opener != Opener::None && line.spans.is_empty()
}

fn mrkdwn_lines(lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&"> ".repeat(line.quotes));
        out.push_str(&"    ".repeat(line.depth.saturating_sub(1)));
        out.push_str(&match line.opener {
            // The lines of an item stand below its text, not below its bullet.
            Opener::None if line.depth > 0 => "  ".to_owned(),
            Opener::None => String::new(),
            Opener::Bullet if line.depth % 2 == 0 => "◦ ".to_owned(),
            Opener::Bullet => "• ".to_owned(),
            Opener::Number(number) => format!("{number}. "),
        });
        out.push_str(line.task.map_or("", |done| if done { "☑ " } else { "☐ " }));
        out.push_str(&inline::mrkdwn(&line.spans));
    }
    out
}
