//! The search for values that are known exactly, in every form in which they travel.

use std::collections::HashSet;

use aho_corasick::{AhoCorasick, BuildError};
use secrecy::{ExposeSecret, SecretString};

use super::scan::{Found, Label};
use super::view::View;

/// A secret has at least so many characters.
pub(super) const LEAST: usize = 8;

/// A value of fewer letters and digits than this, or without both, is looked for as it is written: "my-secret" is not
/// every "my secret".
const STRONG: usize = 12;

/// A value of fewer letters and digits is not looked for: nearly everything would hold it.
const FEWEST: usize = 4;

/// A value that is known to be secret.
#[derive(Debug, Clone)]
pub(super) struct Secret {
    /// What is shown in its place.
    pub(super) name: String,
    /// At least [`LEAST`] characters.
    pub(super) value: SecretString,
}

impl Secret {
    /// Whether both are the same value, by whatever names.
    pub(super) fn is_same_value(&self, other: &Self) -> bool {
        self.value.expose_secret() == other.value.expose_secret()
    }
}

/// One form of one secret.
struct Form {
    secret: usize,
    /// How it must be written where its letters and digits alone prove too little.
    written: Option<String>,
}

/// All forms of all secrets.
pub(super) struct Known {
    names: Vec<String>,
    forms: Vec<Form>,
    search: AhoCorasick,
    longest: usize,
}

impl Known {
    pub(super) fn new(secrets: &[Secret]) -> Result<Self, BuildError> {
        let (mut forms, mut patterns, mut seen) = (Vec::new(), Vec::<Vec<u8>>::new(), HashSet::new());
        for (number, secret) in secrets.iter().enumerate() {
            for (pattern, written) in forms_of(secret.value.expose_secret()) {
                if seen.insert(pattern.clone()) {
                    forms.push(Form { secret: number, written });
                    patterns.push(pattern);
                }
            }
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        let names = secrets.iter().map(|secret| secret.name.clone()).collect();
        Ok(Self { names, forms, search: AhoCorasick::new(&patterns)?, longest })
    }

    /// What is shown in the place of a secret.
    pub(super) fn name(&self, secret: usize) -> &str {
        self.names.get(secret).map_or("a secret", String::as_str)
    }

    /// Appends every place that holds one. Answers before which place of the text what follows can't add any.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Found>) -> usize {
        if self.forms.is_empty() {
            return usize::MAX;
        }
        let plain = View::plain(text);
        let mut settled = plain.settled(self.longest);
        self.find_in(&plain, text, false, found);
        if let Some(decoded) = View::decoded(text) {
            settled = settled.min(decoded.settled(self.longest));
            self.find_in(&decoded, text, true, found);
        }
        settled
    }

    fn find_in(&self, view: &View, text: &str, decoded: bool, found: &mut Vec<Found>) {
        for place in self.search.find_overlapping_iter(&view.bytes) {
            let Some(form) = self.forms.get(place.pattern().as_usize()) else { continue };
            let Some((start, end)) = view.place(place.start(), place.end()) else { continue };
            let there = text.get(start..end).unwrap_or_default();
            let meant = match &form.written {
                None => true,
                Some(_) if decoded => there.contains(['%', '\\', '&']),
                Some(written) => as_written(there) == *written,
            };
            if meant {
                // What fills up a base64 text.
                let filling = text.get(end..).map_or(0, |rest| rest.bytes().take(2).take_while(|b| *b == b'=').count());
                found.push(Found { start, end: end + filling, label: Label::Held(form.secret) });
            }
        }
    }
}

/// A value as it is compared where its punctuation counts: white space and backslashes may come in anywhere.
fn as_written(value: &str) -> String {
    let inner = value.trim_matches(|letter: char| !letter.is_alphanumeric());
    inner.chars().filter(|letter| !letter.is_whitespace() && *letter != '\\').collect()
}

/// The forms of a value as letters and digits, each with how it must be written where that matters.
fn forms_of(value: &str) -> Vec<(Vec<u8>, Option<String>)> {
    let letters = View::plain(value).bytes;
    let both = letters.iter().any(u8::is_ascii_digit) && letters.iter().any(u8::is_ascii_alphabetic);
    let written = (letters.len() < STRONG || !both).then(|| as_written(value));
    let mut forms = Vec::new();
    if letters.len() >= FEWEST {
        forms.push((letters, written));
    }
    let encoded = (0..3).map(|shift| base64_within(value.as_bytes(), shift));
    let hex = |upper: bool| {
        let digit = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        value.as_bytes().iter().map(digit).collect::<String>().into_bytes()
    };
    for form in encoded.chain([hex(false), hex(true)]) {
        if form.len() >= LEAST {
            forms.push((form, None));
        }
    }
    forms
}

/// The letters and digits of base64 that `value` yields whatever stands around it, `shift` bytes into a group of three. Both
/// alphabets differ in what is neither.
fn base64_within(value: &[u8], shift: usize) -> Vec<u8> {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let bit = |number: usize| {
        let byte = value.get(number / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - number % 8) & 1)
    };
    let first = (shift * 8).div_ceil(6);
    let digits = (first..).map(|digit| digit * 6 - shift * 8).take_while(|start| start + 6 <= value.len() * 8);
    let digit = |start: usize| (start..start + 6).fold(0, |digit, number| digit << 1 | bit(number));
    digits.filter_map(|start| DIGITS.get(digit(start)).copied()).collect()
}
