//! Text that comes in pieces: whatever the cuts, what comes out is what the whole text would have become.

use std::sync::Arc;

use super::Redactor;
use super::scan::{is_word, scan};

/// A filter for one text that comes in pieces. What may be the beginning of a secret is held back until it is known.
#[derive(Debug)]
pub struct Stream {
    redactor: Arc<Redactor>,
    /// What has come and not gone out.
    held: String,
    /// Whether a word may begin at the first byte of `held`.
    begins: bool,
    /// Looked at again only once so much is held: twice as much as was left the last time, so that the work stays linear.
    enough: usize,
}

impl Stream {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, held: String::new(), begins: true, enough: 0 }
    }

    /// Takes the next piece; answers what may go out by now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        if self.held.len() < self.enough { String::new() } else { self.let_out(false) }
    }

    /// Answers the rest.
    pub fn finish(mut self) -> String {
        self.let_out(true)
    }

    fn let_out(&mut self, ends: bool) -> String {
        let scan = scan(&self.redactor.known, &self.redactor.shapes, &self.held, self.begins, ends);
        let rest = self.held.split_off(scan.settled);
        let out = std::mem::replace(&mut self.held, rest);
        let found: Vec<_> = scan.found.into_iter().take_while(|piece| piece.end <= scan.settled).collect();
        let replaced = found.last().is_some_and(|last| last.end == out.len());
        if let Some(last) = out.bytes().last() {
            self.begins = replaced || !is_word(last);
        }
        self.enough = self.held.len() * 2;
        self.redactor.replace(&out, &found)
    }
}
