//! The one door to tmux. It knows panes, keys and screens; it must never know an agent's CLI or Slack, and no caller's text
//! may ever stand on a command line.

mod screen;

pub use screen::{Row, Screen};
