//! `fleetd hook --spool <file>`: an agent CLI's hook. It appends the JSON object from stdin, with the time, as one whole
//! line to the agent's spool, which the daemon reads.
//!
//! A hook must never disturb the agent: whatever happens, it prints nothing and ends with success (another exit code blocks
//! the prompt in Claude Code). What went wrong stands in `<file>.errors`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde::de::IgnoredAny;

use super::append::append_line;
use crate::model::{Clock, SystemClock};

/// The most that a hook may say, in bytes.
pub const MOST: u64 = 16 << 20;

/// Runs the verb with the arguments after `hook`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) {
    // Without a spool there is no place left to complain at.
    let Some(spool) = spool_of(arguments) else { return };
    let outcome = read_bounded(std::io::stdin().lock())
        .and_then(|text| stamped(&text, SystemClock.now()))
        .and_then(|line| append_line(&spool, &line));
    if let Err(error) = outcome {
        let mut errors = spool.into_os_string();
        errors.push(".errors");
        // A hook has nobody to tell that its complaint failed as well.
        let _ = append_line(Path::new(&errors), &format!("{} fleetd hook: {error:#}", SystemClock.now()));
    }
}

fn spool_of(arguments: impl IntoIterator<Item = OsString>) -> Option<PathBuf> {
    let mut arguments = arguments.into_iter();
    arguments.find(|argument| argument == "--spool")?;
    arguments.next().map(PathBuf::from)
}

fn read_bounded(input: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    input.take(MOST + 1).read_to_end(&mut bytes).context("could not read the event from stdin")?;
    ensure!(bytes.len() as u64 <= MOST, "the event has more than {MOST} bytes and was dropped");
    String::from_utf8(bytes).context("the event is not UTF-8 and was dropped")
}

/// The one object in `text` as one line, `fleet_at` first. The rest stays as the CLI wrote it: numbers and the order of keys
/// are not ours to change.
fn stamped(text: &str, now: Timestamp) -> Result<String> {
    let keys: BTreeMap<String, IgnoredAny> =
        serde_json::from_str(text).context("the event is not one JSON object and was dropped")?;
    ensure!(!keys.contains_key("fleet_at"), "the event has a key fleet_at already and was dropped");
    // Within valid JSON a bare line break is white space between tokens, never part of a string.
    let one_line = mended(text.trim()).replace(['\n', '\r'], " ");
    let Some(inner) = one_line.strip_prefix('{') else { bail!("the event is not a JSON object and was dropped") };
    let comma = if keys.is_empty() { "" } else { "," };
    Ok(format!("{{\"fleet_at\":\"{now}\"{comma}{inner}"))
}

/// The text with every escape of half a character (`\ud83e` without its second half) as `\ufffd`. JavaScript writes such
/// a half where it cuts a text within an emoji, and a strict reader would refuse the whole line for it.
fn mended(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    while let Some(found) = text[rest..].find('\\') {
        let at = rest + found;
        out.push_str(&text[rest..at]);
        let (kept, length) = match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => (&text[at..at + 12], 12),
            Some(0xd800..=0xdfff) => ("\\ufffd", 6),
            // An escape in valid JSON is a backslash and one ASCII character at least.
            _ => (&text[at..at + 2], 2),
        };
        out.push_str(kept);
        rest = at + length;
    }
    out.push_str(&text[rest..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_as_the_cli_wrote_it_and_becomes_one_line() {
        let now = Timestamp::UNIX_EPOCH;
        let at = r#"{"fleet_at":"1970-01-01T00:00:00Z""#;
        for (text, line) in [
            ("{}", format!("{at}}}")),
            (" {\"z\":1,\r\n \"a\":1.10}\n", format!("{at},\"z\":1,   \"a\":1.10}}")),
            (
                r#"{"b":123456789012345678901234567890,"t":"a\n"}"#,
                format!(r#"{at},"b":123456789012345678901234567890,"t":"a\n"}}"#),
            ),
        ] {
            assert_eq!(stamped(text, now).unwrap(), line);
        }
        for text in ["", "[]", "1", "{} {}", "{\"a\":1", "{\"a\":\"\n\"}", r#"{"fleet_at":1}"#] {
            assert!(stamped(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn an_emoji_cut_in_half_by_the_cli_doesn_t_lose_the_whole_event() {
        for (text, meant) in [
            (r#"{"t":"a \ud83e"}"#, "a \u{fffd}"),
            (r#"{"t":"\udd80 b"}"#, "\u{fffd} b"),
            (r#"{"t":"\ud83e\ud83e\udd80\n"}"#, "\u{fffd}🦀\n"),
            (r#"{"t":"\\ud83e \u00e9 \""}"#, "\\ud83e é \""),
        ] {
            let line = stamped(text, Timestamp::UNIX_EPOCH).unwrap();
            let read: BTreeMap<String, String> = serde_json::from_str(&line).unwrap();
            assert_eq!(read["t"], meant);
        }
    }

    #[test]
    fn a_hook_that_says_too_much_can_t_fill_the_memory() {
        assert!(read_bounded(std::io::repeat(b'x')).is_err());
    }
}
