//! What can go wrong at the door, as far as a caller does something different about it.

use std::time::Duration;

use super::exec::Version;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum TmuxError {
    /// There is no tmux on PATH.
    #[error("tmux is not installed, or not on PATH: install it, for example with `apt-get install tmux`")]
    Missing,
    /// The installed tmux lacks what is needed.
    #[error(
        "tmux {found} is too old, {needed} or newer is needed: upgrade it, for example with `apt-get install tmux`"
    )]
    TooOld {
        /// The installed version.
        found: Version,
        /// The oldest that does.
        needed: Version,
    },
    /// No tmux server answers on the socket.
    #[error("no tmux server is running on the fleet's socket")]
    NoServer,
    /// A session of that name is there already.
    #[error("a tmux session named {0:?} exists already")]
    SessionExists(String),
    /// The pane is gone.
    #[error("no such tmux pane: {0}")]
    NoSuchPane(String),
    /// The pane's process lives, so it is not replaced.
    #[error("the pane's process is still alive: {0}")]
    PaneAlive(String),
    /// tmux did not answer in time. Whether it carried the command out is not known.
    #[error("tmux did not answer {what} within {after:?}")]
    Timeout {
        /// The command.
        what: &'static str,
        /// How long it was given.
        after: Duration,
    },
    /// The connection broke before the answer came. Whether the command was carried out is not known.
    #[error("the connection to tmux broke during {what}: look at the pane before trying again")]
    Lost {
        /// The command.
        what: &'static str,
    },
    /// tmux, or this door, refused the command.
    #[error("tmux refused {command}: {message}")]
    Refused {
        /// The command.
        command: &'static str,
        /// tmux's own words.
        message: String,
    },
    /// A file or a process of ours failed.
    #[error("{what} failed")]
    Io {
        /// What was being done, to what.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl TmuxError {
    /// What tmux's own words mean, from the control client and from an exec alike.
    pub(super) fn from_message(command: &'static str, message: &str) -> Self {
        let message = message.trim();
        let absent = message.ends_with("(No such file or directory)") || message.ends_with("(Connection refused)");
        if message.starts_with("no server running on")
            || message.starts_with("lost server")
            || message.starts_with("server exited")
            || (message.starts_with("error connecting to") && absent)
        {
            return Self::NoServer;
        }
        if let Some(name) = message.strip_prefix("duplicate session: ") {
            return Self::SessionExists(name.to_owned());
        }
        if message.starts_with("can't find ") {
            return Self::NoSuchPane(message.to_owned());
        }
        if message.ends_with(" still active") {
            return Self::PaneAlive(message.to_owned());
        }
        Self::Refused { command, message: message.to_owned() }
    }

    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_server_is_told_from_a_forbidden_one_and_from_a_missing_pane() {
        let of = |message| TmuxError::from_message("x", message);
        for dead in [
            "no server running on /tmp/tmux-0/a\n",
            "error connecting to /tmp/tmux-0/a (No such file or directory)",
            "server exited unexpectedly",
            "lost server",
        ] {
            assert!(matches!(of(dead), TmuxError::NoServer), "{dead}");
        }
        assert!(matches!(of("error connecting to /tmp/tmux-0/a (Permission denied)"), TmuxError::Refused { .. }));
        assert!(matches!(of("can't find pane: %9"), TmuxError::NoSuchPane(_)));
        assert!(matches!(of("duplicate session: a-b"), TmuxError::SessionExists(name) if name == "a-b"));
        assert!(matches!(of("respawn pane failed: pane a:0.0 still active"), TmuxError::PaneAlive(_)));
    }
}
