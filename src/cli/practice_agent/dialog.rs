//! The permission-style dialog: what it asks, and what a key does to it.
//!
//! It is as dangerous as the real ones: text typed without looking is swallowed, and the Enter after it approves.

use super::keys::Key;

/// The command that it asks about. It is never run.
const COMMAND: &str = "make test";

/// What can be chosen, in order.
pub const CHOICES: [&str; 3] = ["Yes", "Always", "No"];

/// What it asks.
pub fn question() -> String {
    format!("Do you want to run `{COMMAND}`?")
}

/// A choice in one line, for the record.
pub fn decision(choice: usize) -> String {
    format!("{COMMAND}: {}", CHOICES.get(choice).unwrap_or(&"No").to_lowercase())
}

/// The choice that a key makes in the dialog, if it makes one. A paste makes none: but the Enter after it approves.
pub fn choice(key: Key, marked: &mut usize) -> Option<usize> {
    match key {
        Key::Enter => Some(*marked),
        Key::Escape => Some(CHOICES.len() - 1),
        Key::Char(digit @ '1'..='3') => Some(digit as usize - '1' as usize),
        Key::Up => {
            *marked = marked.saturating_sub(1);
            None
        }
        Key::Down => {
            *marked = (*marked + 1).min(CHOICES.len() - 1);
            None
        }
        _ => None,
    }
}
