//! Which conversation a launch is for: what brings an agent back as itself. Pure.

use crate::runtime::{Conversation, Identity};

/// Chooses. `known` is the id that the store holds; `recorded` tells whether the CLI keeps a record under an id. A
/// conversation without a record never got a prompt: Claude refuses to resume it and takes its id again, Codex can do
/// neither and starts a new one.
pub fn choose(
    identity: Identity,
    known: Option<&str>,
    recorded: impl FnOnce(&str) -> bool,
    fresh: impl FnOnce() -> String,
) -> Conversation {
    match known.filter(|id| !id.is_empty()) {
        Some(id) if recorded(id) => Conversation::Resume { id: id.to_owned() },
        Some(id) if identity == Identity::Preset => Conversation::New { id: id.to_owned() },
        _ if identity == Identity::Preset => Conversation::New { id: fresh() },
        _ => Conversation::New { id: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_comes_back_as_the_conversation_it_was() {
        let lock = Identity::LockFile { directory: "locks" };
        let resume = || Conversation::Resume { id: "a".into() };
        let new = |id: &str| Conversation::New { id: id.into() };
        let rows = [
            (Identity::Preset, None, false, new("fresh")),
            (Identity::Preset, Some("a"), false, new("a")),
            (Identity::Preset, Some("a"), true, resume()),
            (lock, None, false, new("")),
            (lock, Some(""), true, new("")),
            (lock, Some("a"), false, new("")),
            (lock, Some("a"), true, resume()),
            (Identity::None, None, true, new("")),
        ];
        for (identity, known, recorded, expected) in rows {
            let chosen = choose(identity, known, |_| recorded, || "fresh".into());
            assert_eq!(chosen, expected, "{identity:?} {known:?} {recorded}");
        }
    }
}
