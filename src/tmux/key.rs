//! The keys that may be pressed: names of keys and single characters, so that no text travels this way.

use super::command::Command;
use super::pane::PaneId;
use super::{Result, TmuxError};

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Tab.
    Tab,
    /// Shift-Tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// A letter with Control held; `a` to `z`.
    Control(char),
    /// One printable character.
    Char(char),
}

/// The command that presses `key` in `pane`.
pub(super) fn press_command(pane: &PaneId, key: Key) -> Result<Command> {
    let command = Command::new("send-keys").arg("-t").arg(pane.as_str());
    let named = |name: &str| Ok(command.clone().arg(name));
    match key {
        Key::Enter => named("Enter"),
        Key::Escape => named("Escape"),
        Key::Tab => named("Tab"),
        Key::BackTab => named("BTab"),
        Key::Backspace => named("BSpace"),
        Key::Up => named("Up"),
        Key::Down => named("Down"),
        Key::Left => named("Left"),
        Key::Right => named("Right"),
        Key::Control(letter) if letter.is_ascii_lowercase() => named(&format!("C-{letter}")),
        Key::Char(character) if !character.is_control() => {
            Ok(command.clone().args(["-l", "--"]).arg(character.to_string()))
        }
        Key::Control(other) | Key::Char(other) => {
            Err(TmuxError::Refused { command: "send-keys", message: format!("{other:?} is no key") })
        }
    }
}
