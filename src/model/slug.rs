//! An agent's name, which is also its tmux session's name and a directory's name: hence the narrow alphabet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`, at most 60 characters. tmux rewrites `.` and splits at `:`, so neither can be allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

impl Slug {
    /// The longest slug allowed, in characters.
    pub const MAX: usize = 60;

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no slug; the message tells what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Nothing was given.
    #[error("a slug can't be empty")]
    Empty,
    /// More than [`Slug::MAX`] characters.
    #[error("a slug has at most 60 characters, this one has {0}")]
    TooLong(usize),
    /// A character outside the alphabet, or a dash at an end.
    #[error("{0:?} is not a slug: use lower-case letters, digits and inner dashes, for example {1:?}")]
    Shape(String, String),
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        let length = text.chars().count();
        if length == 0 {
            return Err(SlugError::Empty);
        }
        if length > Self::MAX {
            return Err(SlugError::TooLong(length));
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !text.chars().all(allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(SlugError::Shape(text.to_owned(), nearest_slug(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The slug that somebody who wrote `text` probably meant.
fn nearest_slug(text: &str) -> String {
    let dashed: String = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "my-agent".to_owned() } else { words.join("-") }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;

    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tmux_would_rewrite_is_refused_with_a_better_one() {
        for (text, meant) in [("a.b", "a-b"), ("a:b", "a-b"), ("Fix CI", "fix-ci"), ("-x-", "x"), ("é", "my-agent")] {
            assert_eq!(text.parse::<Slug>(), Err(SlugError::Shape(text.to_owned(), meant.to_owned())));
        }
        assert_eq!("".parse::<Slug>(), Err(SlugError::Empty));
        assert_eq!("a".repeat(61).parse::<Slug>(), Err(SlugError::TooLong(61)));
        for good in ["a", "pr-reviewer", "0", &"a".repeat(60)] {
            assert_eq!(good.parse::<Slug>().map(String::from), Ok(good.to_owned()));
        }
    }
}
