//! A mistake in agents.yaml as people read it: where, what, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

use super::tree::Span;

/// The widest piece of a source line that is shown, in characters.
const WIDEST: usize = 100;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// The line of the file, and what in it is meant.
    pub snippet: Snippet,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

/// A line of the file, fit for a terminal: no control characters, not too wide, no value of an `env:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The line, or the part of it around the mistake.
    pub line: String,
    /// How many characters stand before the place that is meant.
    pub before: usize,
    /// How many characters are meant, at least one.
    pub length: usize,
}

impl Mistake {
    /// The mistake at a place of `text`.
    pub(super) fn at(file: &Path, text: &str, span: &Span, what: String, instead: String) -> Self {
        let start = floor_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[..line_start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        let source = text[line_start..].split('\n').next().unwrap_or_default();
        let end = floor_boundary(text, span.end).clamp(start, line_start + source.len());
        let length = text[start..end].trim_end().chars().count();
        let snippet = Snippet::of(&hide_values(text, line_start, source), column - 1, length);
        // Both quote the file.
        let (what, instead) = (what.chars().map(shown).collect(), instead.chars().map(shown).collect());
        Self { file: file.to_owned(), line, column, snippet, what, instead }
    }
}

impl Snippet {
    fn of(source: &str, before: usize, length: usize) -> Self {
        let skipped = before.saturating_sub(WIDEST * 3 / 4);
        let mut line: String = source.chars().skip(skipped).take(WIDEST).map(shown).collect();
        line.truncate(line.trim_end().len());
        let before = before - skipped;
        Self { line, before, length: length.clamp(1, WIDEST - before) }
    }
}

/// A character that takes one column and can't drive a terminal.
fn shown(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// The nearest place not after `at` that is no inside of a character.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// The line without what it says after an `env:`, or after its key where it stands beneath one: such values may be
/// secrets, and a mistake ends up in logs.
fn hide_values(text: &str, line_start: usize, source: &str) -> String {
    let cut = env_key_end(source).or_else(|| {
        let beneath = enclosing_lines(text, line_start, source).any(|line| env_key_end(line).is_some());
        beneath.then(|| source.find(':').map_or(source.len() - source.trim_start().len(), |at| at + 1))
    });
    match cut {
        Some(cut) if !source[cut..].trim().is_empty() => format!("{} …", &source[..cut]),
        _ => source.to_owned(),
    }
}

/// The lines above that a line is nested in, nearest first.
fn enclosing_lines<'a>(text: &'a str, line_start: usize, source: &str) -> impl Iterator<Item = &'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut least = indent(source);
    text[..line_start].lines().rev().filter(move |line| {
        let encloses = !line.trim().is_empty() && indent(line) < least;
        if encloses {
            least = indent(line);
        }
        encloses
    })
}

/// Where the key `env` of a line ends, its colon included. A misspelt one counts too.
fn env_key_end(line: &str) -> Option<usize> {
    line.match_indices(':').map(|(at, _)| at).find_map(|at| {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let word_start = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric()).len();
        let word = before[word_start..].to_lowercase();
        let meant = matches!(word.as_str(), "env" | "envs" | "environment") || strsim::osa_distance(&word, "env") == 1;
        meant.then_some(at + 1)
    })
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, snippet, what, instead } = self;
        let number = line.to_string();
        let blank = " ".repeat(number.len());
        writeln!(formatter, "{}:{line}:{column}: {what}", file.display())?;
        writeln!(formatter, "{number} | {}", snippet.line)?;
        writeln!(formatter, "{blank} | {}{}", " ".repeat(snippet.before), "^".repeat(snippet.length))?;
        write!(formatter, "{blank} help: {instead}")
    }
}

/// The one of `words` that somebody who wrote `word` probably meant.
pub(super) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |word: &str| word.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = fold(word);
    let most = wanted.chars().count().max(3) / 3;
    let distance = |candidate: &str| {
        let candidate = fold(candidate);
        let begins = wanted.len() >= 3 && (candidate.starts_with(&wanted) || wanted.starts_with(&candidate));
        let edits = strsim::damerau_levenshtein(&wanted, &candidate);
        if begins { edits.min(most) } else { edits }
    };
    words
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(far, _)| *far <= most)
        .min()
        .map(|(_, near)| near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, place: &str) -> Mistake {
        let start = text.find(place).unwrap();
        Mistake::at(Path::new("f"), text, &(start..start + place.len()), "what".into(), "instead".into())
    }

    #[test]
    fn the_caret_stands_under_the_very_place_whatever_comes_before_it() {
        let shown = at("a: 1\n\té: [\x1b[31mx, bad]\n", "bad").to_string();
        assert_eq!(shown, "f:2:14: what\n2 |  é: [ [31mx, bad]\n  |              ^^^\n  help: instead");
        let long = at(&format!("a: {}bad{}", "x".repeat(500), "y".repeat(500)), "bad").snippet;
        assert_eq!((long.line.chars().count(), &long.line[long.before..long.before + 3]), (100, "bad"));
        let end = Mistake::at(Path::new("f"), "é", &(99..99), String::new(), String::new());
        assert_eq!((end.line, end.column, end.snippet.length), (1, 2, 1));
    }

    #[test]
    fn a_value_beneath_env_is_never_shown() {
        for text in [
            "agents:\n- slug: a\n  env:\n    KEY: \"s3cret\n",
            "agents:\n- slug: a\n  env: {KEY: s3cret\n",
            "agents:\n- slug: a\n  \"env\":\n    \"KEY\": \"s3cret\"\n",
            "agents:\n- slug: a\n  evn:\n    deeper:\n      - s3cret\n",
            "agents:\n- {slug: a, env: {KEY: s3cret}}\n",
            "agents:\n- environment : {KEY: s3cret}\n",
            "agents:\n- env: {\n    KEY: s3cret }\n",
        ] {
            let shown = at(text, "s3cret").to_string();
            assert!(!shown.contains("s3cret") && shown.contains('…'), "{shown}");
        }
        assert!(at("env:\n  A: b\nmodel: opus\n", "opus").to_string().contains("opus"));
    }

    #[test]
    fn the_nearest_word_is_what_was_meant_or_none() {
        let words = ["slackChannel", "slug", "schedule", "claude", "codex", "repos"];
        for (word, meant) in [
            ("slackChanel", Some("slackChannel")),
            ("slack_channel", Some("slackChannel")),
            ("SLUG", Some("slug")),
            ("shedule", Some("schedule")),
            ("claude-code", Some("claude")),
            ("repo", Some("repos")),
            ("cdoex", Some("codex")),
            ("x", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, words), meant, "{word}");
        }
    }
}
