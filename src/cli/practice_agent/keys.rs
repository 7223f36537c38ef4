//! Bytes of a terminal in raw mode, turned into keys. Pure, and indifferent to where a read cut them: a paste of a megabyte
//! comes in hundreds of pieces, and its end mark may be torn in two.
//!
//! A paste must never be mistaken for keys: a newline in it would submit.

/// What a person, or a terminal on their behalf, did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A character, a newline (Ctrl-J) included.
    Char(char),
    /// Enter.
    Enter,
    /// Backspace.
    Backspace,
    /// Escape, alone.
    Escape,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// A control character, by its letter in lower case.
    Control(char),
    /// A bracketed paste, line ends as `\n`.
    Paste(String),
}

const PASTE_END: &[u8] = b"\x1b[201~";
const ESCAPE: u8 = 0x1b;

/// Reads keys out of a stream of bytes.
#[derive(Debug, Default)]
pub struct KeyReader {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// ESC was read; what follows decides, or silence does.
    Escape,
    /// `ESC [` and these.
    Csi(Vec<u8>),
    /// `ESC O`.
    Ss3,
    /// Within a bracketed paste.
    Paste(Vec<u8>),
    /// Some of a character's bytes, and how many it has.
    Utf8(Vec<u8>, usize),
}

impl KeyReader {
    /// Reads some bytes; `out` gets the keys that are complete.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Key>) {
        for &byte in bytes {
            self.state = match std::mem::take(&mut self.state) {
                State::Ground => ground(byte, out),
                State::Escape => match byte {
                    b'[' => State::Csi(Vec::new()),
                    b'O' => State::Ss3,
                    _ => {
                        out.push(Key::Escape);
                        ground(byte, out)
                    }
                },
                State::Csi(sequence) => csi(sequence, byte, out),
                State::Ss3 => {
                    arrow(byte, out);
                    State::Ground
                }
                State::Paste(text) => paste(text, byte, out),
                State::Utf8(bytes, length) => utf8(bytes, length, byte, out),
            };
        }
    }

    /// Whether an ESC waits for what follows it; if nothing does within some milliseconds, it was the key.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Escape)
    }

    /// Nothing followed.
    pub fn settle(&mut self, out: &mut Vec<Key>) {
        if self.is_waiting() {
            self.state = State::Ground;
            out.push(Key::Escape);
        }
    }
}

fn ground(byte: u8, out: &mut Vec<Key>) -> State {
    let key = match byte {
        ESCAPE => return State::Escape,
        b'\r' => Key::Enter,
        b'\n' => Key::Char('\n'),
        b'\t' => Key::Char('\t'),
        0x7f | 0x08 => Key::Backspace,
        1..=26 => Key::Control(char::from(byte - 1 + b'a')),
        0x20..=0x7e => Key::Char(char::from(byte)),
        0xc2..=0xdf => return State::Utf8(vec![byte], 2),
        0xe0..=0xef => return State::Utf8(vec![byte], 3),
        0xf0..=0xf4 => return State::Utf8(vec![byte], 4),
        _ => return State::Ground,
    };
    out.push(key);
    State::Ground
}

fn csi(mut sequence: Vec<u8>, byte: u8, out: &mut Vec<Key>) -> State {
    // No sequence that is known is longer; a terminal that sends one is talking about something else.
    const LONGEST: usize = 32;
    if !(0x40..=0x7e).contains(&byte) {
        sequence.push(byte);
        return if sequence.len() > LONGEST { State::Ground } else { State::Csi(sequence) };
    }
    if byte == b'~' && sequence == b"200" {
        return State::Paste(Vec::new());
    }
    arrow(byte, out);
    State::Ground
}

fn arrow(byte: u8, out: &mut Vec<Key>) {
    match byte {
        b'A' => out.push(Key::Up),
        b'B' => out.push(Key::Down),
        _ => {}
    }
}

fn paste(mut text: Vec<u8>, byte: u8, out: &mut Vec<Key>) -> State {
    text.push(byte);
    if byte == b'~' && text.ends_with(PASTE_END) {
        text.truncate(text.len() - PASTE_END.len());
        let text = String::from_utf8_lossy(&text).replace("\r\n", "\n").replace('\r', "\n");
        out.push(Key::Paste(text));
        return State::Ground;
    }
    State::Paste(text)
}

fn utf8(mut bytes: Vec<u8>, length: usize, byte: u8, out: &mut Vec<Key>) -> State {
    if byte & 0xc0 != 0x80 {
        // Broken off: the half character is dropped, the byte begins anew.
        return ground(byte, out);
    }
    bytes.push(byte);
    if bytes.len() < length {
        return State::Utf8(bytes, length);
    }
    if let Some(character) = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()) {
        out.push(Key::Char(character));
    }
    State::Ground
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(chunks: &[&[u8]]) -> Vec<Key> {
        let (mut reader, mut out) = (KeyReader::default(), Vec::new());
        for chunk in chunks {
            reader.feed(chunk, &mut out);
        }
        reader.settle(&mut out);
        out
    }

    #[test]
    fn a_paste_stays_one_text_wherever_the_terminal_cuts_it() {
        let text = "one\ntwo 🦀 ~ \x1b[20 three\x1b[A\t!";
        let stream = format!("a\x1b[200~{text}\x1b[201~\r");
        let expected = vec![Key::Char('a'), Key::Paste(text.into()), Key::Enter];
        for cut in 0..=stream.len() {
            let (left, right) = stream.as_bytes().split_at(cut);
            assert_eq!(keys(&[left, right]), expected, "cut at {cut}");
        }
        assert_eq!(keys(&[b"\x1b[200~a\r\nb\rc\x1b[201~"]), [Key::Paste("a\nb\nc".into())]);
    }

    #[test]
    fn keys_are_told_apart_and_unknown_sequences_type_nothing() {
        let table: [(&[u8], Vec<Key>); 9] = [
            (b"\x1b", vec![Key::Escape]),
            (b"\x1bx", vec![Key::Escape, Key::Char('x')]),
            (b"\x1b[A\x1bOB", vec![Key::Up, Key::Down]),
            (b"\x1b[1;5C\x1b[5~\x1b[I", vec![]),
            ("é🦀".as_bytes(), vec![Key::Char('é'), Key::Char('🦀')]),
            (b"\xc3x\xff\x80", vec![Key::Char('x')]),
            (b"\r\n\x7f", vec![Key::Enter, Key::Char('\n'), Key::Backspace]),
            (b"\x03\x15", vec![Key::Control('c'), Key::Control('u')]),
            (b"\x1b\x1b", vec![Key::Escape, Key::Escape]),
        ];
        for (bytes, expected) in table {
            assert_eq!(keys(&[bytes]), expected, "{bytes:?}");
        }
    }
}
