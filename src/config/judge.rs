//! Collects mistakes while a tree is walked, and reads its nodes as what they should be.

use std::ops::Range;
use std::path::Path;

use super::mistake::{Mistake, nearest};
use super::tree::{Node, Span, Value};

/// Every mistake so far, in the text it is about.
pub(super) struct Judge<'a> {
    pub(super) text: &'a str,
    mistakes: Vec<(Span, String, String)>,
}

/// A mapping's keys, and what it is called.
pub(super) struct Table {
    /// Whose keys these are, as a sentence has it.
    pub(super) owner: &'static str,
    pub(super) keys: &'static [&'static str],
    /// Where a key of another mapping belongs: its keys, and the words for its place.
    pub(super) elsewhere: Option<(&'static [&'static str], &'static str)>,
}

/// A mapping whose keys are known ones.
pub(super) struct Fields<'n> {
    entries: Vec<Field<'n>>,
    /// The known keys that were misspelt or left without a value: told already, and so not to be told as missing too.
    meant: Vec<&'n str>,
}

/// A known key and its value.
#[derive(Clone, Copy)]
pub(super) struct Field<'n> {
    pub(super) name: &'n str,
    pub(super) key: &'n Node,
    pub(super) value: &'n Node,
}

impl<'n> Fields<'n> {
    /// The value of a key; none where it is missing or `null`, as Terraform writes an unset one.
    pub(super) fn get(&self, name: &str) -> Option<Field<'n>> {
        self.entries.iter().find(|field| field.name == name).copied()
    }

    /// Whether a key is missing, and nothing about that has been told.
    pub(super) fn lacks(&self, name: &str) -> bool {
        self.get(name).is_none() && !self.meant.contains(&name)
    }
}

impl<'a> Judge<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, mistakes: Vec::new() }
    }

    /// Tells a mistake.
    pub(super) fn tell(&mut self, span: &Span, what: impl Into<String>, instead: impl Into<String>) {
        let mistake = (span.clone(), what.into(), instead.into());
        // An anchor that is used twice is wrong once.
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// Whether there is any mistake.
    pub(super) fn is_content(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// All mistakes, in the order of the file.
    pub(super) fn verdict(mut self, file: &Path) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|(span, ..)| span.start);
        let text = self.text;
        self.mistakes.into_iter().map(|(span, what, instead)| Mistake::at(file, text, &span, what, instead)).collect()
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, span: &Span) -> usize {
        self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }

    /// The place of a part of a scalar's value, where the file spells that part as it is; else of the whole scalar.
    pub(super) fn within(&self, node: &Node, value: &str, part: &Range<usize>) -> Span {
        let source = self.text.get(node.span.clone()).unwrap_or_default();
        let quote = usize::from(source.starts_with(['"', '\'']));
        let start = node.span.start + quote + part.start;
        let end = start + part.len();
        let same = self.text.get(start..end).is_some_and(|written| Some(written) == value.get(part.clone()));
        if same && !part.is_empty() { start..end } else { node.span.clone() }
    }

    /// The entries of a mapping with their keys, whatever these are called.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, name: &str) -> Vec<Field<'n>> {
        let Value::Map(entries) = &node.value else {
            let found = node.value.kind();
            self.tell(
                &node.span,
                format!("{name} must be a mapping, not {found}"),
                "write `key: value` lines, indented alike",
            );
            return Vec::new();
        };
        let mut fields = Vec::new();
        for (key, value) in entries {
            match &key.value {
                Value::Text(name) => fields.push(Field { name, key, value }),
                other => {
                    let found = other.kind();
                    self.tell(&key.span, format!("a key of {name} must be text, not {found}"), "put the key in quotes");
                }
            }
        }
        fields
    }

    /// The known keys of a mapping that have a value. Unknown keys and forgotten values are mistakes.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, table: &Table) -> Fields<'n> {
        let (mut known, mut meant) = (Vec::new(), Vec::new());
        for field in self.entries(node, table.owner) {
            let Field { name, key, value } = field;
            if !table.keys.contains(&name) {
                meant.extend(nearest(name, table.keys.iter().copied()));
                self.tell(&key.span, format!("unknown key `{name}`"), known_key(name, table));
            } else if value.value != Value::Null {
                known.push(field);
            } else if !self.says_null(value) {
                meant.push(name);
                self.tell_forgotten(&field);
            }
        }
        Fields { entries: known, meant }
    }

    /// Whether a null was written out: `null` or `~`, not just nothing.
    pub(super) fn says_null(&self, node: &Node) -> bool {
        self.text.get(node.span.clone()).is_some_and(|source| !source.is_empty())
    }

    fn tell_forgotten(&mut self, field: &Field<'_>) {
        let Field { name, key, .. } = field;
        let rest = self.text.get(key.span.end..).unwrap_or_default().lines().next().unwrap_or_default();
        let comment = rest.trim_start_matches([':', ' ', '\t']);
        if comment.starts_with('#') && comment.len() > 1 && !comment.starts_with("# ") {
            let instead = format!("an unquoted # begins a comment: write `{name}: \"{comment}\"`");
            self.tell(&key.span, format!("`{name}` has no value"), instead);
        } else {
            self.tell(&key.span, format!("`{name}` has no value"), "write one, or take the line out");
        }
    }

    /// A text with something in it.
    pub(super) fn words(&mut self, field: &Field<'_>) -> Option<String> {
        let Field { name, value, .. } = field;
        match &value.value {
            Value::Text(text) if text.trim().is_empty() => {
                self.tell(&value.span, format!("`{name}` is empty"), "write something, or take the line out");
                None
            }
            Value::Text(text) if text.contains('\0') => {
                self.tell(&value.span, format!("`{name}` holds a NUL character"), "take it out");
                None
            }
            Value::Text(text) => Some(text.clone()),
            Value::Number | Value::Bool(_) => {
                let found = value.value.kind();
                let source = self.text.get(value.span.clone()).unwrap_or_default();
                self.tell(
                    &value.span,
                    format!("`{name}` must be text, not {found}"),
                    format!("write `{name}: \"{source}\"`"),
                );
                None
            }
            other => {
                let found = other.kind();
                self.tell(&value.span, format!("`{name}` must be text, not {found}"), format!("write `{name}: \"…\"`"));
                None
            }
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        let Field { name, value, .. } = field;
        if let Value::Bool(flag) = value.value {
            return Some(flag);
        }
        let what = format!("`{name}` must be true or false, not {}", value.value.kind());
        self.tell(&value.span, what, format!("write `{name}: true` or `{name}: false`"));
        None
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.words(field)?;
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*chosen);
        }
        let words = choices.iter().map(|(word, _)| *word);
        let instead = match nearest(&text, words.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", listed(words)),
        };
        self.tell(&field.value.span, format!("unknown {} `{text}`", field.name), instead);
        None
    }

    /// The items of a list.
    pub(super) fn list<'n>(&mut self, field: &Field<'n>) -> &'n [Node] {
        let Field { name, value, .. } = field;
        if let Value::List(items) = &value.value {
            return items;
        }
        let source = self.text.get(value.span.clone()).unwrap_or_default();
        let instead = match value.value {
            Value::Map(_) => format!("write each item of `{name}` on its own line, after a dash"),
            _ => format!("write `{name}: [{}]`", source.trim_end()),
        };
        self.tell(&value.span, format!("`{name}` must be a list, not {}", value.value.kind()), instead);
        &[]
    }

    /// Any scalar as its text: `8080` and `true` are as good as `"8080"` and `"true"` where only text can be meant.
    pub(super) fn scalar(&mut self, name: &str, node: &Node) -> Option<String> {
        let source = self.text.get(node.span.clone()).unwrap_or_default();
        match &node.value {
            Value::Text(text) if text.contains('\0') => {
                self.tell(&node.span, format!("{name} holds a NUL character"), "take it out");
                None
            }
            Value::Text(text) => Some(text.clone()),
            Value::Number | Value::Bool(_) => Some(source.trim_matches(['"', '\'']).to_owned()),
            other => {
                let found = other.kind();
                self.tell(&node.span, format!("{name} must be text, not {found}"), "write it in quotes, on one line");
                None
            }
        }
    }
}

fn known_key(name: &str, table: &Table) -> String {
    if let Some(near) = nearest(name, table.keys.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    match table.elsewhere {
        Some((keys, place)) if keys.contains(&name) => format!("`{name}` belongs {place}"),
        _ => format!("the keys of {} are {}", table.owner, listed(table.keys.iter().copied())),
    }
}

/// Words as a sentence lists them.
pub(super) fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
