//! The numbered options of a dialog, which all CLIs draw alike: `❯ 1. Yes`, one below the other, the last menu on the screen.

use crate::model::{AnswerKey, Choice, Dialog, DialogKind};
use crate::runtime::OpenDialog;
use crate::tmux::Row;

/// What stands before the marked option.
const SIGNS: [char; 2] = ['❯', '›'];

/// What an option begins with that a key only ticks: such a dialog stays open after it.
const BOXES: [&str; 5] = ["[ ]", "[x]", "[✔]", "☐", "☒"];

/// A dialog's options and where they begin.
pub(super) struct Menu {
    /// The row of the first one.
    pub(super) first: usize,
    /// Their labels, in order.
    pub(super) labels: Vec<String>,
    /// The place of the one that is marked.
    pub(super) marked: Option<usize>,
}

/// The last menu among `rows`; none where there is none, or where its numbers leave a doubt which key takes what.
pub(super) fn menu(rows: &[Row]) -> Option<Menu> {
    let numbers: Vec<(usize, u32)> =
        rows.iter().enumerate().filter_map(|(at, row)| Some((at, numbered(&row.text)?.0))).collect();
    let (_, last) = *numbers.last()?;
    let places: Vec<usize> = numbers
        .iter()
        .rev()
        .zip((1..=last).rev())
        .map_while(|((at, number), expected)| (*number == expected).then_some(*at))
        .collect();
    if last < 2 || places.len() != last as usize {
        return None;
    }
    let mut labels = Vec::new();
    for (index, at) in places.iter().rev().enumerate() {
        let next = places.len().checked_sub(index + 2).map_or(rows.len(), |next| places[next]);
        let mut label = numbered(&rows[*at].text)?.1.to_owned();
        // What a label goes on with, or what explains it.
        for row in rows[at + 1..next].iter().map(|row| row.text.trim()) {
            if row.is_empty() || is_rule(row) {
                break;
            }
            label = format!("{label} {row}");
        }
        labels.push(label);
    }
    let ticked = labels.iter().any(|label| BOXES.iter().any(|mark| label.starts_with(mark)));
    let marked = places.iter().rev().position(|at| rows[*at].text.trim_start().starts_with(SIGNS));
    (!ticked).then(|| Menu { first: places[places.len() - 1], labels, marked })
}

/// The number and the label of an option's row.
fn numbered(text: &str) -> Option<(u32, &str)> {
    let text = text.trim_start().trim_start_matches(SIGNS).trim_start();
    let (digit, label) = text.split_once(". ")?;
    let mut digits = digit.chars();
    let number = digits.next()?.to_digit(10).filter(|number| *number > 0)?;
    digits.next().is_none().then_some((number, label.trim()))
}

pub(super) fn is_rule(text: &str) -> bool {
    text.starts_with("───")
}

/// Rows as one text, without what they are all indented by and without empty rows at both ends.
pub(super) fn text_of(rows: &[Row]) -> String {
    let filled = || rows.iter().map(|row| row.text.as_str()).filter(|text| !text.trim().is_empty());
    let indent = filled().map(|text| text.len() - text.trim_start_matches(' ').len()).min().unwrap_or_default();
    let lines: Vec<&str> = rows.iter().map(|row| row.text.get(indent..).unwrap_or_default().trim_end()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// A dialog whose options are taken by their digits; `typed` is the place of the one that takes one's own words.
pub(super) fn by_digits(kind: DialogKind, text: String, whole: bool, menu: Menu, typed: Option<usize>) -> OpenDialog {
    let options = menu.labels.into_iter().zip('1'..='9').enumerate().map(|(place, (label, digit))| Choice {
        key: AnswerKey::Char(digit),
        label,
        typed: typed == Some(place),
    });
    OpenDialog { dialog: Dialog { kind, text, whole, options: options.collect() }, marked: menu.marked }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        text.lines().map(|line| Row { text: line.into(), dim: Vec::new() }).collect()
    }

    #[test]
    fn no_key_is_offered_where_the_numbers_leave_a_doubt() {
        let labels = |text: &str| menu(&rows(text)).map(|menu| (menu.first, menu.labels));
        let yes_no = Some((1, vec!["Yes".to_owned(), "No".into()]));
        for (text, expected) in [
            ("Run?\n❯ 1. Yes\n  2. No", yes_no.clone()),
            ("Run?\n› 1. Yes\n  2. No\n\nPress enter", yes_no.clone()),
            ("echo '9. Always'\n 1. Yes\n❯ 2. No\n─────", yes_no),
            ("1. Yes\n 3. No", None),
            ("1. Yes", None),
            ("1. Yes\n2. No\n7. Never", None),
            ("0. Zero\n1. One", None),
            ("Which?\n 1. [ ] Red\n 2. [x] Blue", None),
            ("10. ten\n11. eleven", None),
            ("", None),
        ] {
            assert_eq!(labels(text), expected, "{text}");
        }
        let wrapped = labels("?\n 1. Yes, and\n    always\n────\n 2. No").unwrap();
        assert_eq!(wrapped.1, ["Yes, and always", "No"]);
    }
}
