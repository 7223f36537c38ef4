//! tmux commands as data, and their two spellings: a line for the control client, arguments for an exec.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One tmux command: its name and arguments, as tmux shall see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    words: Vec<Vec<u8>>,
}

impl Command {
    pub(super) fn new(name: &'static str) -> Self {
        Self { words: vec![name.into()] }
    }

    /// Adds one argument.
    pub(super) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(word.as_ref().as_bytes().to_vec());
        self
    }

    /// Adds several.
    pub(super) fn args<W: AsRef<OsStr>>(self, words: impl IntoIterator<Item = W>) -> Self {
        words.into_iter().fold(self, Self::arg)
    }

    /// Adds the program that a pane shall run, as its own process and never through a shell. tmux hands a lone word to
    /// `sh -c`; `env --` makes two of it and replaces itself.
    pub(super) fn program(self, argv: &[OsString]) -> Self {
        match argv {
            [only] => self.args(["--", "env", "--"]).arg(only),
            several => self.arg("--").args(several),
        }
    }
}

/// Commands that tmux carries out one right after the other; the first that fails ends the sequence.
pub(super) type Sequence = Vec<Command>;

/// The line for the control client, newline included. It is never empty (an empty line would detach the client).
pub(super) fn control_line(sequence: &[Command]) -> Vec<u8> {
    let mut line = Vec::new();
    for (place, command) in sequence.iter().enumerate() {
        if place > 0 {
            line.extend_from_slice(b" ; ");
        }
        for (place, word) in command.words.iter().enumerate() {
            if place > 0 {
                line.push(b' ');
            }
            quote(word, &mut line);
        }
    }
    line.push(b'\n');
    line
}

/// Quotes a word for tmux's parser: single quotes, in which nothing is special; a single quote and control characters
/// stand outside them, escaped (a raw newline would end the line).
fn quote(word: &[u8], line: &mut Vec<u8>) {
    line.push(b'\'');
    for &byte in word {
        match byte {
            b'\'' => line.extend_from_slice(b"'\\''"),
            0..=31 | 127 => line.extend_from_slice(format!("'\\{byte:03o}'").as_bytes()),
            _ => line.push(byte),
        }
    }
    line.push(b'\'');
}

/// The arguments of an exec. There, tmux takes a `;` at an argument's end for its separator.
pub(super) fn exec_args(sequence: &[Command]) -> Vec<OsString> {
    let mut args = Vec::new();
    for (place, command) in sequence.iter().enumerate() {
        if place > 0 {
            args.push(OsString::from(";"));
        }
        args.extend(command.words.iter().map(|word| match word.strip_suffix(b";") {
            Some(start) => OsString::from_vec([start, b"\\;"].concat()),
            None => OsString::from_vec(word.clone()),
        }));
    }
    args
}

/// A path or a name as tmux shall take it literally where it would expand `#{…}` and run `#(…)`.
pub(super) fn unformatted(text: &OsStr) -> OsString {
    let mut plain = Vec::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte == b'#' {
            plain.push(b'#');
        }
        plain.push(byte);
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(words: &[&str]) -> String {
        String::from_utf8(control_line(&[Command::new("x").args(words)])).unwrap()
    }

    #[test]
    fn no_word_can_leave_its_quotes_on_the_control_line() {
        for (word, quoted) in [
            ("", "''"),
            ("~", "'~'"),
            ("$HOME \"a\" \\", "'$HOME \"a\" \\'"),
            ("it's", "'it'\\''s'"),
            ("a;", "'a;'"),
            ("-x", "'-x'"),
            ("a\nkill-server", "'a'\\012'kill-server'"),
            ("ü🦀", "'ü🦀'"),
        ] {
            assert_eq!(line(&[word]), format!("'x' {quoted}\n"));
        }
    }

    #[test]
    fn a_semicolon_at_a_word_s_end_does_not_split_an_exec() {
        let args = exec_args(&[Command::new("a").args(["b;", ";", "c\\;", "d;e"]), Command::new("f")]);
        assert_eq!(args, ["a", "b\\;", "\\;", "c\\\\;", "d;e", ";", "f"].map(OsString::from));
    }

    #[test]
    fn a_directory_s_name_is_never_run_as_a_format() {
        assert_eq!(unformatted(OsStr::new("/a#(reboot)#{x}")), OsString::from("/a##(reboot)##{x}"));
    }

    #[test]
    fn a_lone_program_is_not_handed_to_a_shell() {
        let args = exec_args(&[Command::new("new-session").program(&["a b".into()])]);
        assert_eq!(args, ["new-session", "--", "env", "--", "a b"].map(OsString::from));
    }

    proptest! {
        #[test]
        fn a_sequence_is_always_exactly_one_line(words in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let command = Command::new("x").args(words.into_iter().map(OsString::from_vec));
            let line = control_line(&[command.clone(), command]);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(line.last(), Some(&b'\n'));
        }
    }
}
