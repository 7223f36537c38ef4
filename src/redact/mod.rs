//! What must never leave the box: the secrets that the daemon and its agents hold, and whatever looks like one.
//!
//! Two kinds of search, both in time linear to the text. *Held* values are known exactly: they are looked for by their
//! letters and digits alone, so that a line break, a quote, a code's `" + "` or a pane's frame in the middle hides none, and
//! also as base64, hexadecimal and URL-encoded. *Shapes* are tokens that nobody told us of but that show what they are.
//!
//! Must never happen here: a look at a file or the environment (what is held is handed in); a secret in an error, a log or a
//! `Debug`; a text that another pass would change once more; an answer that depends on where a stream was cut.

mod held;
mod held_rule;
mod scan;
mod shape;
mod stream;
#[cfg(test)]
mod tests;
mod view;

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use held::{Known, Secret};
use scan::{Found, Label};
use shape::Shapes;

pub use held_rule::says_secret;
pub use stream::Stream;

/// A value that may be a secret.
#[derive(Debug, Clone)]
pub struct Held {
    /// What it is called where it is kept; it is shown in the place of the value.
    pub name: String,
    /// The value: a token, a URL with a password in it, or several lines.
    pub value: SecretString,
    /// Why it may be a secret.
    pub sign: Sign,
}

/// Why a value may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Its name or its own shape must say so.
    NameOrShape,
    /// It is kept where only secrets are.
    Place,
}

/// Takes secrets out of texts. Never changes; [`Redaction`] follows what becomes known.
pub struct Redactor {
    known: Known,
    shapes: Shapes,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redactor")
    }
}

impl Redactor {
    /// One that knows these values besides the shapes.
    fn new(secrets: &[Secret]) -> anyhow::Result<Self> {
        let told = "can't prepare the search for secrets";
        Ok(Self { known: Known::new(secrets).context(told)?, shapes: Shapes::new().context(told)? })
    }

    /// The text without its secrets. `[redacted: <what it was>]` stands in the place of each.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = scan::scan(&self.known, &self.shapes, text, true, true).found;
        if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(self.replace(text, &found)) }
    }

    /// `text` with what was found in it replaced.
    fn replace(&self, text: &str, found: &[Found]) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut from = 0;
        for piece in found {
            clean.push_str(text.get(from..piece.start).unwrap_or_default());
            let what = match piece.label {
                Label::Held(secret) => self.known.name(secret),
                Label::Shape(what) => what,
            };
            clean.push_str("[redacted: ");
            clean.push_str(what);
            clean.push(']');
            from = piece.end;
        }
        clean.push_str(text.get(from..).unwrap_or_default());
        clean
    }

    /// Takes the secrets out of every string within; the keys are ours.
    pub fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.redact(text) {
                    *text = clean;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact_json(value)),
            Value::Object(fields) => {
                let texts = fields.iter_mut().filter(|(name, value)| !is_our_word(name, value));
                texts.for_each(|(_, value)| self.redact_json(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Whether a field tells which kind of thing its object is, in a word of ours: without it nobody could read the object.
fn is_our_word(name: &str, value: &Value) -> bool {
    const KINDS: [&str; 10] = ["by", "do", "fact", "is", "kind", "mode", "notice", "outcome", "state", "type"];
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    KINDS.contains(&name) && value.as_str().is_some_and(word)
}

/// What is known to be secret, shared by all who let text out. What was once known stays: an old token is a secret still.
/// Cheap to clone.
#[derive(Clone)]
pub struct Redaction {
    state: Arc<RwLock<State>>,
}

struct State {
    secrets: Vec<Secret>,
    redactor: Arc<Redactor>,
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redaction")
    }
}

impl Redaction {
    /// Knows the shapes alone.
    ///
    /// # Errors
    /// The search can't be prepared; it does not depend on anything from outside.
    pub fn new() -> anyhow::Result<Self> {
        let redactor = Arc::new(Redactor::new(&[])?);
        Ok(Self { state: Arc::new(RwLock::new(State { secrets: Vec::new(), redactor })) })
    }

    /// Adds those of these values that are secrets.
    ///
    /// # Errors
    /// The search can't be prepared, for example because there are far too many; then what was known stays known.
    pub fn learn(&self, held: impl IntoIterator<Item = Held>) -> anyhow::Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut secrets = state.secrets.clone();
        for secret in held.into_iter().flat_map(|held| held_rule::secrets_in(&held, &state.redactor.shapes)) {
            if !secrets.iter().any(|known| known.is_same_value(&secret)) {
                secrets.push(secret);
            }
        }
        if secrets.len() > state.secrets.len() {
            state.redactor = Arc::new(Redactor::new(&secrets)?);
            state.secrets = secrets;
        }
        Ok(())
    }

    /// What takes out all that is known by now.
    pub fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).redactor)
    }

    /// The text without its secrets.
    pub fn text(&self, text: &str) -> String {
        self.redactor().redact(text).into_owned()
    }

    /// The same value, without the secrets in any of its texts, whatever kinds it may be of by now or later.
    ///
    /// # Errors
    /// It can't be read back: one of its words, which are ours, was held for a secret.
    pub fn all<T: Serialize + DeserializeOwned>(&self, value: &T) -> anyhow::Result<T> {
        let told = "can't take the secrets out of a value";
        let mut json = serde_json::to_value(value).context(told)?;
        self.redactor().redact_json(&mut json);
        serde_json::from_value(json).context(told)
    }

    /// A filter for text that comes in pieces.
    pub fn stream(&self) -> Stream {
        Stream::new(self.redactor())
    }
}
