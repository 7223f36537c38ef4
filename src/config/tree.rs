//! YAML text as a tree in which every node and key knows its place, so that one walk can find every mistake. Serde's own
//! structs would stop at the first.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Location, Spanned};

/// A place in the file, in bytes.
pub(super) type Span = Range<usize>;

/// A node and where it stands. Where an alias is used, the place is that of the anchor: what is wrong is wrong there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// What YAML can say. Numbers keep no value of their own: wherever one is allowed, its text is what counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// The kind, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// What is wrong with the YAML itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) what: String,
    /// The key that stands twice; every other fault leaves no tree to look at.
    pub(super) duplicate_key: Option<String>,
}

/// The tree of a text, and the first key that stands twice in one mapping. An error is a text that is no YAML.
pub(super) fn parse(text: &str) -> Result<(Node, Option<Fault>), Fault> {
    match parse_with(text, DuplicateKeyPolicy::Error) {
        Ok(node) => Ok((node, None)),
        Err(error) => {
            let fault = fault(text, &error);
            if fault.duplicate_key.is_none() {
                return Err(fault);
            }
            // The file is refused for the key that stands twice; the rest is judged too, so that all is told at once.
            let node = parse_with(text, DuplicateKeyPolicy::FirstWins).map_err(|error| self::fault(text, &error))?;
            Ok((node, Some(fault)))
        }
    }
}

fn parse_with(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Node, Error> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: duplicate_keys,
        // A fleet of a thousand agents has some 30,000 nodes; an alias bomb has billions.
        budget: serde_saphyr::budget! { max_nodes: 200_000, max_depth: 32 },
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    };
    serde_saphyr::from_str_with_options::<Option<Node>>(text, options)
        .map(|node| node.unwrap_or(Node { value: Value::Null, span: 0..0 }))
}

fn fault(text: &str, error: &Error) -> Fault {
    let duplicate_key = match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => Some(key.clone().unwrap_or_default()),
        _ => None,
    };
    let span = error.location().map_or(text.len()..text.len(), |location| place_of(text, &location));
    let what = match error.without_snippet() {
        Error::MultipleDocuments { .. } => "a second document begins: one file is one fleet".to_owned(),
        other => without_place(other.to_string()),
    };
    Fault { span, what, duplicate_key }
}

/// The parser's words less its own place: the mistake tells that.
fn without_place(mut words: String) -> String {
    if let Some(at) = words.rfind(" at line ") {
        words.truncate(at);
    }
    words
}

/// The place of an error: the parser's own come with a line and a column only, counted in characters.
fn place_of(text: &str, location: &Location) -> Span {
    if location.span().byte_offset().is_some() {
        return span_of(location);
    }
    let line = usize::try_from(location.line()).unwrap_or(usize::MAX).saturating_sub(1);
    let column = usize::try_from(location.column()).unwrap_or(usize::MAX).saturating_sub(1);
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines.by_ref().take(line).map(str::len).sum();
    let within: usize = lines.next().unwrap_or_default().chars().take(column).map(char::len_utf8).sum();
    before + within..before + within
}

fn span_of(location: &Location) -> Span {
    let span = location.span();
    let bytes = span.byte_offset().zip(span.byte_len());
    let (start, length) = bytes.unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    start..start.saturating_add(usize::try_from(length).unwrap_or_default())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, span: span_of(&spanned.defined) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line: kinds, and for every scalar the text at its place.
    fn show(text: &str, node: &Node) -> String {
        let children = |nodes: &mut dyn Iterator<Item = &Node>| nodes.map(|node| show(text, node)).collect::<Vec<_>>();
        match &node.value {
            Value::Null => "null".into(),
            Value::Bool(_) => format!("bool {}", &text[node.span.clone()]),
            Value::Number => format!("number {}", &text[node.span.clone()]),
            Value::Text(value) => format!("{value:?} at {}", &text[node.span.clone()]),
            Value::List(items) => format!("[{}]", children(&mut items.iter()).join(", ")),
            Value::Map(entries) => {
                let flat = children(&mut entries.iter().flat_map(|(key, value)| [key, value]));
                format!("{{{}}}", flat.chunks(2).map(|pair| pair.join(": ")).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn every_scalar_knows_its_place_and_keeps_its_text() {
        for (text, tree) in [
            ("a: 09:00", r#"{"a" at a: "09:00" at 09:00}"#),
            ("é: 'it''s'", r#"{"é" at é: "it's" at 'it''s'}"#),
            ("\"a\": \"b\"", r#"{"a" at "a": "b" at "b"}"#),
            (
                "[007, 1.50, .inf, true, yes, ~, 2026-01-01]",
                r#"[number 007, number 1.50, ".inf" at .inf, bool true, "yes" at yes, null, "2026-01-01" at 2026-01-01]"#,
            ),
            ("a: &x {b: 1}\nc: *x", r#"{"a" at a: {"b" at b: number 1}, "c" at c: {"b" at b: number 1}}"#),
            ("", "null"),
            ("# nothing", "null"),
        ] {
            let (node, fault) = parse(text).unwrap();
            assert_eq!((show(text, &node), fault), (tree.to_owned(), None), "{text}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_hides_nothing_else() {
        let (node, fault) = parse("a: 1\na: 2\nb: x").unwrap();
        assert_eq!(show("a: 1\na: 2\nb: x", &node), r#"{"a" at a: number 1, "b" at b: "x" at x}"#);
        assert_eq!(fault.map(|fault| (fault.span, fault.duplicate_key)), Some((5..6, Some("a".to_owned()))));
    }

    #[test]
    fn a_small_file_that_would_grow_without_end_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let last = format!("*a{}, ", n - 1).repeat(10);
            bomb.push_str(&format!("a{n}: &a{n} [{last}]\n"));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(5000)).is_err());
    }
}
