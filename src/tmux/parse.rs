//! What a control client prints, as events: a pure state machine over bytes. It must never panic, never lose a good line
//! after a bad one and never hold more than a bounded amount, whatever comes.

/// The longest line kept; what follows in it is dropped.
const MAX_LINE: usize = 1 << 20;
/// The most that the lines of one answer may hold together.
const MAX_ANSWER: usize = 16 << 20;

/// Something changed. A notice only wakes: the next look at the panes is the truth, so a lost one is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A session came, went or was renamed, or one of its windows did.
    SessionsChanged,
    /// The control client is connected.
    Connected,
    /// The control client has gone; calls take the slower way until it is back.
    Disconnected,
}

/// One event of the control client's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The answer to one command of ours.
    Answer(Answer),
    /// The set of sessions or windows changed.
    SessionsChanged,
    /// tmux ends this client.
    Exit,
    /// The output makes no sense from here on: the next answer can't be told from another's.
    OutOfStep,
}

/// What tmux said to one command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    pub(super) lines: Vec<String>,
    pub(super) failed: bool,
    /// It was longer than is kept.
    pub(super) cut: bool,
}

/// The state between two chunks of bytes.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    open: Option<Open>,
}

/// An answer whose end has not come.
#[derive(Debug)]
struct Open {
    guard: Guard,
    answer: Answer,
    size: usize,
}

/// The three numbers of a guard line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Guard {
    time: u64,
    number: u64,
    flags: u64,
}

impl Guard {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(str::parse);
        let guard = Self { time: numbers.next()?.ok()?, number: numbers.next()?.ok()?, flags: numbers.next()?.ok()? };
        numbers.next().is_none().then_some(guard)
    }

    /// Whether the command came over this client's own input; hooks and the client's first command did not.
    fn is_ours(self) -> bool {
        self.flags & 1 == 1
    }
}

impl Parser {
    /// Takes a chunk and yields the events that it completes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            events.extend(self.take_line(line));
        }
        self.keep(bytes);
        events
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take_line(&mut self, line: String) -> Option<Event> {
        let Some(open) = &mut self.open else { return self.take_notice(&line) };
        let failed = closes(open.guard, &line);
        let Some(failed) = failed else {
            open.size = open.size.saturating_add(line.len() + size_of::<String>());
            if open.size <= MAX_ANSWER {
                open.answer.lines.push(line);
            } else {
                open.answer.cut = true;
            }
            return None;
        };
        let Open { guard, answer, .. } = self.open.take()?;
        guard.is_ours().then_some(Event::Answer(Answer { failed, ..answer }))
    }

    fn take_notice(&mut self, line: &str) -> Option<Event> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "%begin" => match Guard::parse(rest) {
                Some(guard) => {
                    self.open = Some(Open { guard, answer: Answer::default(), size: 0 });
                    None
                }
                None => Some(Event::OutOfStep),
            },
            "%end" | "%error" => Some(Event::OutOfStep),
            "%exit" => Some(Event::Exit),
            "%sessions-changed"
            | "%session-renamed"
            | "%unlinked-window-add"
            | "%unlinked-window-close"
            | "%window-close" => Some(Event::SessionsChanged),
            // Notices about the client's own session and about modes, layouts and clipboards wake nobody.
            _ => None,
        }
    }
}

/// Whether `line` closes the answer that `guard` opened, and if so whether the command failed. A line of a pane's own text
/// that only looks like a guard carries other numbers.
fn closes(guard: Guard, line: &str) -> Option<bool> {
    let (rest, failed) = match line.strip_prefix("%end ") {
        Some(rest) => (rest, false),
        None => (line.strip_prefix("%error ")?, true),
    };
    (Guard::parse(rest) == Some(guard)).then_some(failed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(lines: &[&str], failed: bool) -> Event {
        Event::Answer(Answer { lines: lines.iter().map(|line| (*line).to_owned()).collect(), failed, cut: false })
    }

    #[test]
    fn an_answer_is_ours_only_if_its_flags_say_so() {
        let text = "%begin 1 260 0\nnot ours\n%end 1 260 0\n%window-add @0\n%sessions-changed\n\
                    %begin 1 268 1\na\n\nb\n%end 1 268 1\n%begin 1 269 1\nno\n%error 1 269 1\n%exit\n";
        let expected = [Event::SessionsChanged, answer(&["a", "", "b"], false), answer(&["no"], true), Event::Exit];
        assert_eq!(Parser::default().feed(text.as_bytes()), expected);
        let mut parser = Parser::default();
        let bytewise: Vec<Event> = text.bytes().flat_map(|byte| parser.feed(&[byte])).collect();
        assert_eq!(bytewise, expected);
    }

    #[test]
    fn a_screen_that_shows_guard_lines_does_not_end_its_own_capture() {
        let text = "%begin 5 7 1\n%end 5 6 1\n%end\n%exit\n%begin 1 1 1\n%end 5 7 1\n";
        let expected = answer(&["%end 5 6 1", "%end", "%exit", "%begin 1 1 1"], false);
        assert_eq!(Parser::default().feed(text.as_bytes()), [expected]);
    }

    #[test]
    fn a_stray_guard_is_noticed_and_the_lines_after_it_are_still_read() {
        for stray in ["%end 1 2 1", "%error 1 2 1", "%begin 1 x 1", "%begin"] {
            let events = Parser::default().feed(format!("{stray}\n%sessions-changed\n").as_bytes());
            assert_eq!(events, [Event::OutOfStep, Event::SessionsChanged], "{stray}");
        }
    }

    #[test]
    fn a_line_of_100_megabytes_costs_one_and_the_next_answer_survives() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            assert_eq!(parser.feed(&chunk), []);
            assert!(parser.line.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(parser.feed(b"\n%begin 1 2 1\nok\n%end 1 2 1\n"), [answer(&["ok"], false)]);
    }

    #[test]
    fn an_endless_answer_is_cut_and_says_so() {
        let mut parser = Parser::default();
        parser.feed(b"%begin 1 2 1\n");
        let chunk = "0123456789\n".repeat(100_000);
        for _ in 0..20 {
            parser.feed(chunk.as_bytes());
        }
        let events = parser.feed(b"%end 1 2 1\n");
        let [Event::Answer(answer)] = events.as_slice() else { panic!("{events:?}") };
        assert!(answer.cut && answer.lines.len() < 1_000_000);
    }

    /// What a client printed in a real life, with a screen that shows guard lines.
    const LIFE: &str = "%begin 1700000000 260 0\n%end 1700000000 260 0\n%window-add @0\n%sessions-changed\n\
        %session-changed $0 _fleet\n%begin 1700000001 268 1\npane\t%0\tann\t42\t0\n%end 1700000001 268 1\n\
        %output %0 \\033[1mx\n%begin 1700000001 269 1\n%end 1700000001 268 1\n%exit\nü\n%end 1700000001 269 1\n\
        %begin 1700000002 270 1\ncan't find pane: %9\n%error 1700000002 270 1\n%unlinked-window-close @3\n";

    proptest! {
        #[test]
        fn a_mangled_life_reads_alike_however_it_is_cut_and_its_end_is_still_seen(
            wounds in prop::collection::vec((0_usize..600, any::<u8>(), 0_usize..30), 0..6),
            cuts in prop::collection::vec(0_usize..600, 0..12),
        ) {
            let mut text = LIFE.as_bytes().to_vec();
            for (at, byte, gone) in wounds {
                let at = at % (text.len() + 1);
                let end = (at + gone).min(text.len());
                text.splice(at..end, [byte]);
            }
            // Whatever is open is closed by its own guard, as tmux does; what comes then is whole.
            text.extend_from_slice(b"\n%end 1700000001 269 1\n%end 1700000001 268 1\n%end 1700000002 270 1\n");
            text.extend_from_slice(b"%end 1700000000 260 0\n%sessions-changed\n");
            let whole = Parser::default().feed(&text);
            let mut parser = Parser::default();
            let mut pieces = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut start = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.extend(parser.feed(&text[start..cut]));
                start = cut;
            }
            prop_assert_eq!(&whole, &pieces);
            prop_assert!(parser.open.is_some() || whole.last() == Some(&Event::SessionsChanged));
        }

        #[test]
        fn junk_never_panics_and_never_hides_the_next_session_change(
            junk in prop::collection::vec(prop_oneof![
                any::<Vec<u8>>(),
                Just(b"%end 1 1 1\n".to_vec()),
                Just(b"%begin 18446744073709551616 1 1\n".to_vec()),
                Just(b"%exit why\n".to_vec()),
            ], 0..8),
            cut in 0_usize..64,
        ) {
            let mut text = junk.concat();
            text.extend_from_slice(b"\n%sessions-changed\n");
            let (left, right) = text.split_at(cut.min(text.len()));
            let mut parser = Parser::default();
            let mut events = parser.feed(left);
            events.extend(parser.feed(right));
            prop_assert!(parser.open.is_some() || events.last() == Some(&Event::SessionsChanged));
        }
    }
}
