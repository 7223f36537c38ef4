//! A text as its letters and digits alone, each with the place it came from: what a line break, a quote or an escape in the
//! middle of a secret can't hide.

/// Letters and digits, and where each stood.
#[derive(Debug, Default)]
pub(super) struct View {
    /// UTF-8 of the letters and digits.
    pub(super) bytes: Vec<u8>,
    /// For each byte, where its character or its escape began and ended in the text.
    places: Vec<(usize, usize)>,
}

impl View {
    /// The text as it stands.
    pub(super) fn plain(text: &str) -> Self {
        let mut view = Self::default();
        for (at, letter) in text.char_indices() {
            view.push(letter, at, at + letter.len_utf8());
        }
        view
    }

    /// The text with its escapes of URLs, JSON and HTML undone; none where it has none.
    pub(super) fn decoded(text: &str) -> Option<Self> {
        if !text.contains(['%', '\\', '&']) {
            return None;
        }
        let mut view = Self::default();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let at = text.len() - rest.len();
            let (meant, length) = escape(rest).unwrap_or((Some(letter), letter.len_utf8()));
            if let Some(meant) = meant {
                view.push(meant, at, at + length);
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Some(view)
    }

    fn push(&mut self, letter: char, start: usize, end: usize) {
        if letter.is_alphanumeric() {
            let bytes = letter.encode_utf8(&mut [0; 4]).len();
            self.bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            self.places.extend(std::iter::repeat_n((start, end), bytes));
        }
    }

    /// Where that stretch of the view stands in the text.
    pub(super) fn place(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        Some((self.places.get(start)?.0, self.places.get(end.checked_sub(1)?)?.1))
    }

    /// Before which place of the text nothing can begin that needs more than `most` letters and is not here yet.
    pub(super) fn settled(&self, most: usize) -> usize {
        let first = self.places.len().saturating_sub(most);
        self.places.get(first).map_or(usize::MAX, |place| place.0)
    }
}

/// The longest escape, in bytes: `&quot;`, `\u0041`.
pub(super) const LONGEST_ESCAPE: usize = 6;

/// What the escape at the beginning of `text` means (nothing, where that is no letter) and how long it is.
fn escape(text: &str) -> Option<(Option<char>, usize)> {
    let hex = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        Some((char::from_u32(code).filter(|letter| letter.is_ascii() || from > 1), to))
    };
    if text.starts_with('%') {
        return hex(1, 3);
    }
    if let Some(named) = text.strip_prefix('&') {
        let names = ["amp;", "lt;", "gt;", "quot;", "#39;", "#34;", "#38;"];
        return names.iter().find(|name| named.starts_with(**name)).map(|name| (None, 1 + name.len()));
    }
    match text.strip_prefix('\\')?.bytes().next()? {
        b'u' => hex(2, 6),
        b'x' => hex(2, 4),
        b'n' | b'r' | b't' | b'b' | b'f' => Some((None, 2)),
        // The letter itself follows, whatever it is.
        _ => Some((None, 1)),
    }
}
