//! What must lie on disk before an agent starts, as data, and how a user's own JSON file is added to.
//!
//! A user's file must never lose a word: what can't be read is left alone, and nothing that stands there is taken out.

use std::path::PathBuf;

use serde_json::Value;

/// A thing that must be in place before a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// A directory, made with its parents where it is missing.
    Directory {
        /// Where.
        path: PathBuf,
    },
    /// A file of ours, written whole.
    Own {
        /// Where.
        path: PathBuf,
        /// What.
        content: String,
    },
    /// A user's JSON file that must hold at least `patch`, by [`merged`]. Written atomically and only if something is
    /// missing; an unparsable file is left alone and the launch goes on.
    MergeJson {
        /// Where.
        path: PathBuf,
        /// What must be in it.
        patch: Value,
    },
}

/// The new content of a JSON file that must hold `patch`; none where nothing is missing, or where the content isn't a JSON
/// object and so must not be touched. No content is an empty file. Objects are merged key by key, lists get what they lack
/// at their end, any other value is replaced.
pub fn merged(content: Option<&str>, patch: &Value) -> Option<String> {
    let blank = content.is_none_or(|text| text.trim().is_empty());
    let before: Value =
        if blank { Value::Object(serde_json::Map::new()) } else { serde_json::from_str(content?).ok()? };
    if !before.is_object() {
        return None;
    }
    let mut after = before.clone();
    merge(&mut after, patch);
    if after == before && !blank {
        return None;
    }
    serde_json::to_string_pretty(&after).ok()
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(target), Value::Array(patch)) => {
            for value in patch {
                if !target.contains(value) {
                    target.push(value.clone());
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged_value(content: &str, patch: &Value) -> Option<Value> {
        merged(Some(content), patch).map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn what_a_user_has_in_their_file_is_still_there_afterwards() {
        let before =
            r#"{"theme":"dark","projects":{"/a":{"n":1},"/b":{"x":true}},"keys":{"approved":["one"],"rejected":[]}}"#;
        let patch = json!({"done": true, "projects": {"/a": {"trusted": true}}, "keys": {"approved": ["two"]}});
        let after = json!({"theme": "dark", "done": true, "projects": {"/a": {"n": 1, "trusted": true}, "/b": {"x": true}},
            "keys": {"approved": ["one", "two"], "rejected": []}});
        assert_eq!(merged_value(before, &patch), Some(after.clone()));
        assert_eq!(merged_value(&after.to_string(), &patch), None, "nothing is missing any more");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_alone() {
        for content in ["{\"half\":", "[]", "null", "\"text\"", "\u{feff}{}x"] {
            assert_eq!(merged(Some(content), &json!({"a": 1})), None, "{content}");
        }
    }

    #[test]
    fn a_missing_or_empty_file_gets_the_whole_patch() {
        for content in [None, Some(""), Some("\n")] {
            assert_eq!(merged(content, &json!({"a": 1})).as_deref(), Some("{\n  \"a\": 1\n}"), "{content:?}");
        }
        assert_eq!(merged(Some(" "), &json!({})).as_deref(), Some("{}"), "an empty file would not parse");
    }
}
