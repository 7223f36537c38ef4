//! Everything that is to be taken out of a text, in order and without overlaps.

use std::collections::{HashMap, HashSet};

use super::held::Known;
use super::shape::{Extent, LONGEST_ANCHOR, Shapes};
use super::view::LONGEST_ESCAPE;

/// What stands in the place of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// The name of this secret, by its number.
    Held(usize),
    /// What it looks like.
    Shape(&'static str),
}

/// A stretch of the text that is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
    /// What stands in its place.
    pub(super) label: Label,
}

/// What is known of a text so far.
pub(super) struct Scan {
    /// In order, without overlaps.
    pub(super) found: Vec<Found>,
    /// Before this place nothing changes, whatever follows; never within a find. The text's end where nothing follows.
    pub(super) settled: usize,
}

/// Looks through `text`. `begins` says whether a word may begin at its first byte; `ends`, that nothing follows.
pub(super) fn scan(known: &Known, shapes: &Shapes, text: &str, begins: bool, ends: bool) -> Scan {
    let mut found = Vec::new();
    let mut settled = known.find(text, &mut found);
    // What fills up a base64 text may still follow.
    settled =
        found.iter().filter(|piece| piece.end + 2 > text.len()).map(|piece| piece.start).fold(settled, usize::min);
    let mut word_ends: HashSet<usize> = found.iter().map(|piece| piece.end).collect();
    // From the anchor by which something was found to its end: cut apart, it would not be found again.
    let mut whole = Vec::new();
    // What was looked at in vain needs no second look for the same shape.
    let mut done: HashMap<usize, usize> = HashMap::new();
    for anchor in shapes.anchors(text) {
        if done.get(&anchor.shape).is_some_and(|until| anchor.start < *until) {
            continue;
        }
        let begins = match anchor.start.checked_sub(1).and_then(|before| text.as_bytes().get(before)) {
            None => begins,
            // What follows a secret begins anew: once that is replaced, a bracket stands before it.
            Some(before) => !is_word(*before) || word_ends.contains(&anchor.start),
        };
        match shapes.extent(text, &anchor, begins, ends) {
            Extent::None { until } => drop(done.insert(anchor.shape, until)),
            Extent::Open => {
                settled = settled.min(anchor.start);
                done.insert(anchor.shape, text.len());
            }
            Extent::Found { start, end } => {
                whole.push((anchor.start, end));
                done.insert(anchor.shape, end);
                word_ends.insert(end);
                found.push(Found { start, end, label: Label::Shape(shapes.what(&anchor)) });
            }
        }
    }
    let found = merged(found);
    let lengths = LONGEST_ANCHOR.max(LONGEST_ESCAPE);
    settled = if ends { text.len() } else { settled.min(text.len().saturating_sub(lengths)) };
    whole.extend(found.iter().map(|piece| (piece.start, piece.end)));
    whole.sort_unstable();
    for (start, end) in whole.into_iter().rev() {
        if start < settled && settled < end {
            settled = start;
        }
    }
    Scan { found, settled: text.floor_char_boundary(settled) }
}

/// Whether a whole value is one of the shapes.
pub(super) fn is_shape(shapes: &Shapes, value: &str) -> bool {
    shapes.anchors(value).iter().any(|anchor| {
        matches!(shapes.extent(value, anchor, anchor.start == 0, true),
            Extent::Found { start: 0, end } if end == value.len())
    })
}

/// Whether a byte belongs to a word.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// In order; what overlaps becomes one, by the name of what is known where there is any.
fn merged(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|piece| (piece.start, std::cmp::Reverse(piece.end)));
    let mut merged: Vec<Found> = Vec::with_capacity(found.len());
    for piece in found {
        match merged.last_mut().filter(|last| piece.start < last.end) {
            Some(last) => {
                last.end = last.end.max(piece.end);
                if let (Label::Shape(_), Label::Held(_)) = (last.label, piece.label) {
                    last.label = piece.label;
                }
            }
            None => merged.push(piece),
        }
    }
    merged
}
