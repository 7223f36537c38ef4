//! What an agent said in a turn, remembered just well enough to tell a repetition from news: pure.
//!
//! A hook repeats a turn's last words, as one text with other white space than the transcript's blocks. Compared as a whole
//! they would be told twice, or wait for words that never come; so only letters count, and blocks may add up.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fold::hash;

/// How many blocks of a turn are remembered.
const REMEMBERED: usize = 64;

/// The blocks that were said in a turn, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    blocks: VecDeque<Block>,
}

/// A block, by its letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    count: usize,
    hash: u64,
}

impl Spoken {
    /// Remembers a block.
    pub fn add(&mut self, text: &str) {
        let letters = letters(text);
        if self.blocks.len() == REMEMBERED {
            self.blocks.pop_front();
        }
        self.blocks.push_back(Block { count: letters.chars().count(), hash: hash(&letters) });
    }

    /// What of `words` was not said yet: all of it, nothing, or the end where the blocks before it were said.
    pub fn untold<'a>(&self, words: &'a str) -> &'a str {
        let places: Vec<usize> =
            words.char_indices().filter(|(_, c)| !c.is_whitespace()).map(|(place, _)| place).collect();
        let letters: Vec<char> = letters(words).chars().collect();
        let reached = (0..self.blocks.len()).filter_map(|first| self.reaches(first, &letters)).max().unwrap_or(0);
        places.get(reached).map_or("", |place| &words[*place..])
    }

    /// How many of the letters the blocks from `first` on told; none where a block is no part of them.
    fn reaches(&self, first: usize, letters: &[char]) -> Option<usize> {
        let mut reached = 0;
        for block in self.blocks.range(first..) {
            if reached == letters.len() {
                break;
            }
            let part: String = letters.get(reached..reached + block.count)?.iter().collect();
            if hash(&part) != block.hash {
                return None;
            }
            reached += block.count;
        }
        Some(reached)
    }
}

/// What a hook told ahead of the transcript, which may show it later all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    /// When the hook ran. What the transcript shows behind a later prompt is no repetition.
    pub at: Timestamp,
    rest: String,
}

impl Early {
    /// `words` were told at that time.
    pub fn new(words: &str, at: Timestamp) -> Self {
        Self { at, rest: letters(words) }
    }

    /// Whether the transcript's next block is the next part of it.
    pub fn repeats(&mut self, text: &str) -> bool {
        let letters = letters(text);
        if letters.is_empty() || !self.rest.starts_with(&letters) {
            return false;
        }
        self.rest.drain(..letters.len());
        true
    }
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_known_again_however_they_are_divided_and_spaced() {
        for (blocks, words, untold) in [
            (&["one", "two"][..], "one\n\ntwo", ""),
            (&["one", "two"], "two", ""),
            (&["one", "t w\no"], "two ", ""),
            (&["one"], "one\n\ntwo", "two"),
            (&["zero", "one"], "one two  three", "two  three"),
            (&["one", "other"], "one two", "one two"),
            (&[], "one", "one"),
            (&["one", "two", "three"], "two", ""),
            (&["on"], "one", "e"),
            (&["äö"], "ä ö 🦀", "🦀"),
        ] {
            let mut spoken = Spoken::default();
            blocks.iter().for_each(|block| spoken.add(block));
            assert_eq!(spoken.untold(words), untold, "{blocks:?} {words:?}");
        }
    }

    #[test]
    fn what_was_told_early_is_known_again_block_by_block_and_nothing_else_is() {
        let mut early = Early::new("one\n\ntwo", Timestamp::UNIX_EPOCH);
        assert!(!early.repeats("two"));
        assert!(early.repeats("one\n"));
        assert!(!early.repeats("one"));
        assert!(early.repeats("two"));
        assert!(!early.repeats("two") && !early.repeats(""));
    }
}
