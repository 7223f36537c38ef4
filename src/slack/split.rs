//! Rendered text → messages that are not too long. Pure.
//!
//! A code fence is never left open: a long one is closed at a message's end and opened again in the next. A link or an
//! escaped character is never torn apart, and nothing is lost but white space at a cut.

/// The most characters (UTF-16 units, the larger of the ways to count) in one message; Slack cuts at 4,000.
pub(super) const MOST: usize = 3_900;

/// A piece of rendered text that is kept whole where possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// mrkdwn; cut at a line's end, else at a space.
    Text(String),
    /// The inside of a code block, escaped; cut at a line's end.
    Code(String),
}

pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What opens and closes a code block.
pub(super) const FENCE: &str = "```";

/// The text without a fence sign in it: an invisible space keeps its backticks apart. A stray one would pair with the next
/// real one, and one within a code block would close it.
pub(super) fn unfenced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        if run == FENCE.len() {
            out.push('\u{200b}');
            run = 1;
        }
        out.push(c);
    }
    out
}

/// The blocks as messages of at most `most` units.
pub(super) fn pack(blocks: &[Block], most: usize) -> Vec<String> {
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
                cut_lines(code, room, room).into_iter().for_each(|part| push(format!("{FENCE}\n{part}\n{FENCE}")));
            }
        }
    }
    messages
}

/// What must not be torn apart: a link, an escaped character, an emoji of several characters, else one character.
fn atoms(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        // Looking further would make a text of many signs and no ends a long one.
        let closed_by =
            |sign: u8, most: usize| rest.bytes().take(most).position(|byte| byte == sign).map(|end| end + 1);
        let end = match first {
            '<' => closed_by(b'>', MOST / 2),
            '&' => closed_by(b';', 5),
            _ => None,
        };
        let (atom, after) = rest.split_at(end.unwrap_or_else(|| character(rest)));
        rest = after;
        Some(atom)
    })
}

/// The bytes of the first character that people see.
fn character(text: &str) -> usize {
    let mut joined = false;
    // Nobody means a sign of more parts than this.
    let parts = text.char_indices().take(20).skip(1).find(|(_, c)| {
        let goes_on = joined || glued(*c);
        joined = *c == JOINER;
        !goes_on
    });
    parts.map_or_else(|| text.char_indices().nth(20).map_or(text.len(), |(end, _)| end), |(end, _)| end)
}

const JOINER: char = '\u{200d}';

/// Whether a character belongs to the one before it: an accent, a skin tone, the joiner of emoji.
pub(super) fn glued(c: char) -> bool {
    matches!(c, JOINER | '\u{fe0e}' | '\u{fe0f}' | '\u{300}'..='\u{36f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{20e3}')
}

/// `text` in parts of at most `most` units, cut at the last newline of a part, else at its last space, else anywhere.
fn cut(text: &str, most: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim_matches('\n');
    loop {
        let end = fitting(rest, most);
        if end == rest.len() {
            break;
        }
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

/// The lines of a code block in parts of at most `most` units, the first of at most `first`; a line that is too long itself is
/// cut anywhere.
pub(super) fn cut_lines(code: &str, first: usize, most: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut taken = 0;
    for line in code.split('\n') {
        let mut rest = line;
        let mut fresh = true;
        while fresh || !rest.is_empty() {
            let room = if parts.len() <= 1 { first } else { most };
            let (piece, after) = rest.split_at(fitting(rest, room.min(most)));
            let cost = units(piece);
            match parts.last_mut() {
                Some(part) if fresh && taken + 1 + cost <= room => {
                    part.push('\n');
                    part.push_str(piece);
                    taken += 1 + cost;
                }
                _ => {
                    parts.push(piece.to_owned());
                    taken = cost;
                }
            }
            rest = after;
            fresh = false;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::markdown::escape;
    use super::*;

    /// Everything but white space and fences, which is what must come through whole.
    fn content(text: &str) -> String {
        text.replace(FENCE, "").chars().filter(|c| !c.is_whitespace()).collect()
    }

    proptest! {
        #[test]
        fn the_splitter_loses_nothing_keeps_the_limit_and_balances_fences(
            pieces in prop::collection::vec((any::<bool>(), "[a-z&<>é🎉 \n]{0,400}"), 0..12),
            most in 60_usize..400,
        ) {
            let blocks: Vec<Block> = pieces
                .iter()
                .map(|(code, text)| if *code { Block::Code(escape(text)) } else { Block::Text(escape(text)) })
                .collect();
            let messages = pack(&blocks, most);
            let whole: String = blocks.iter().map(|block| match block { Block::Text(text) | Block::Code(text) => content(text) }).collect();
            prop_assert_eq!(messages.iter().map(|message| content(message)).collect::<String>(), whole);
            for message in &messages {
                prop_assert!(units(message) <= most, "{} > {}", units(message), most);
                prop_assert_eq!(message.matches(FENCE).count() % 2, 0);
            }
        }
    }
}
