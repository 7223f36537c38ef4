//! Which conversation a launch is for: what brings an agent back as itself. Pure.

use crate::runtime::{Conversation, Identity};

/// What a CLI has on disk under a conversation's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisk {
    /// Nothing: it never got a prompt.
    Nothing,
    /// A record without a word in it, of an agent that was killed before its first turn was written.
    Wordless,
    /// A record with words.
    Words,
}

/// Chooses. `known` is the id that the store holds; `on_disk` tells what the CLI has under an id. A conversation without a
/// record Claude refuses to resume, and takes its id again; Codex can do neither and starts a new one. One without words is
/// refused for ever too ("No conversation found"): a fresh one starts.
pub fn choose(
    identity: Identity,
    known: Option<&str>,
    on_disk: impl FnOnce(&str) -> OnDisk,
    fresh: impl FnOnce() -> String,
) -> Conversation {
    let known = known.filter(|id| !id.is_empty()).map(|id| (id, on_disk(id)));
    match (known, identity) {
        (Some((id, OnDisk::Words)), _) => Conversation::Resume { id: id.to_owned() },
        (Some((id, OnDisk::Nothing)), Identity::Preset) => Conversation::New { id: id.to_owned() },
        (_, Identity::Preset) => Conversation::New { id: fresh() },
        _ => Conversation::New { id: String::new() },
    }
}

/// Whether a launch begins another conversation than the `known` one: one that knows nothing of what the agent was told first.
pub fn begins_anew(identity: Identity, known: Option<&str>, chosen: &Conversation) -> bool {
    match (chosen, identity) {
        (Conversation::Resume { .. }, _) | (_, Identity::None) => false,
        (Conversation::New { id }, _) => known.is_some_and(|known| !known.is_empty() && known != id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_that_has_to_begin_anew_is_told_what_every_conversation_is_told_first() {
        let lock = Identity::LockFile { directory: "locks" };
        let new = |id: &str| Conversation::New { id: id.into() };
        for (identity, known, chosen, anew) in [
            (Identity::Preset, Some("a"), Conversation::Resume { id: "a".into() }, false),
            (Identity::Preset, Some("a"), new("a"), false),
            (Identity::Preset, Some("a"), new("b"), true),
            (Identity::Preset, None, new("b"), false),
            (lock, Some("a"), new(""), true),
            (lock, Some(""), new(""), false),
            (Identity::None, Some("a"), new(""), false),
        ] {
            assert_eq!(begins_anew(identity, known, &chosen), anew, "{identity:?} {known:?} {chosen:?}");
        }
    }

    #[test]
    fn an_agent_comes_back_as_the_conversation_it_was() {
        let lock = Identity::LockFile { directory: "locks" };
        let resume = || Conversation::Resume { id: "a".into() };
        let new = |id: &str| Conversation::New { id: id.into() };
        let rows = [
            (Identity::Preset, None, OnDisk::Nothing, new("fresh")),
            (Identity::Preset, Some("a"), OnDisk::Nothing, new("a")),
            (Identity::Preset, Some("a"), OnDisk::Wordless, new("fresh")),
            (Identity::Preset, Some("a"), OnDisk::Words, resume()),
            (lock, None, OnDisk::Nothing, new("")),
            (lock, Some(""), OnDisk::Words, new("")),
            (lock, Some("a"), OnDisk::Nothing, new("")),
            (lock, Some("a"), OnDisk::Wordless, new("")),
            (lock, Some("a"), OnDisk::Words, resume()),
            (Identity::None, None, OnDisk::Words, new("")),
        ];
        for (identity, known, on_disk, expected) in rows {
            let chosen = choose(identity, known, |_| on_disk, || "fresh".into());
            assert_eq!(chosen, expected, "{identity:?} {known:?} {on_disk:?}");
        }
    }
}
