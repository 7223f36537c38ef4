//! An answer that is too long for messages → the few words that stand beside its file. Pure.
//!
//! Only its beginning is parsed, and its lines are looked at one by one: what an answer of any size may cost here is bounded
//! by its length alone.

use super::super::split::{MOST, pack, units};
use super::super::wording;
use super::inline::mrkdwn;
use super::parts::Part;
use super::{read, write};

/// The file's name.
pub(super) const FILE: &str = "answer.md";

/// How far the first paragraph is looked for, in bytes.
const BEGINNING: usize = 20_000;

/// The most of the first paragraph.
const PARAGRAPH: usize = 1_500;

/// Room for the line about further headings.
const ROOM: usize = 300;

/// The first paragraph, then the headings as a list, as far as they go into one message.
pub(super) fn summary(markdown: &str) -> String {
    let mut summary = wording::answer_in_file(FILE, markdown.chars().count());
    let beginning = markdown.char_indices().map(|(at, _)| at).take_while(|at| *at <= BEGINNING).last().unwrap_or(0);
    let parts = read::read(&markdown[..beginning]);
    let first = parts.iter().find(|part| matches!(part, Part::Text(_)));
    if let Some(text) = first.map(write::mrkdwn) {
        let mut pieces = pack(&[text], PARAGRAPH);
        let more = if pieces.len() > 1 { " …" } else { "" };
        summary.push_str(&format!("\n\n{}{more}\n", pieces.swap_remove(0)));
    }
    let headings = headings(markdown);
    let mut taken = units(&summary);
    for (index, line) in headings.iter().enumerate() {
        let [Part::Heading { level, spans }] = &read::read(line)[..] else { continue };
        let heading = format!("\n{}• {}", "    ".repeat(level - 1), mrkdwn(spans));
        taken += units(&heading);
        if taken > MOST - ROOM {
            summary.push_str(&wording::further_headings(headings.len() - index));
            break;
        }
        summary.push_str(&heading);
    }
    summary
}

/// The lines that are headings, those within code aside.
fn headings(markdown: &str) -> Vec<&str> {
    let mut fence: Option<&str> = None;
    let headings = markdown.lines().filter(|line| {
        let sign = ["```", "~~~"].into_iter().find(|sign| line.trim_start().starts_with(sign));
        match (sign, fence) {
            (Some(sign), None) => fence = Some(sign),
            (Some(sign), Some(open)) if sign == open => fence = None,
            _ => {}
        }
        let signs = line.bytes().take_while(|byte| *byte == b'#').count();
        fence.is_none() && (1..=6).contains(&signs) && line[signs..].starts_with(' ') && line[signs..].trim() != ""
    });
    headings.collect()
}
