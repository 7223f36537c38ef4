//! Where a prompt stands among those that wait, for whoever sent it. Pure.

use crate::model::text::first_line;
use crate::model::{Evidence, Place, Prompt, PromptState, StateName};

/// What is ahead of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ahead {
    /// Its place among what waits, 1 is next.
    pub(super) place: usize,
    /// Whose, and its first line, of what is just before it.
    pub(super) behind: (String, String),
}

/// What is ahead of a prompt that is about to be stored for `place`, among the agent's `open` prompts in their order; nothing
/// where it goes at once, into the turn of its own thread, or together with what waits from that thread already.
pub(super) fn ahead(open: &[Prompt], place: &Place) -> Option<Ahead> {
    let of_thread = |prompt: &&Prompt| prompt.place.as_ref() == Some(place);
    let in_queue = PromptState::Confirmed { by: Evidence::Queue };
    let runs = |prompt: &&Prompt| {
        matches!(prompt.state.name(), StateName::Typing | StateName::Submitted | StateName::Confirmed)
            && prompt.state != in_queue
    };
    let waits = |prompt: &&Prompt| prompt.state.name().is_waiting();
    if open.iter().filter(|prompt| runs(prompt) || waits(prompt)).any(|prompt| of_thread(&prompt)) {
        return None;
    }
    // What waits from one thread goes as one.
    let mut threads: Vec<&Prompt> = Vec::new();
    for prompt in open.iter().filter(waits) {
        let known = |other: &&Prompt| other.place.is_some() && other.place == prompt.place;
        if !threads.iter().any(known) {
            threads.push(prompt);
        }
    }
    let last = threads.last().copied().or_else(|| open.iter().rfind(runs))?;
    Some(Ahead { place: threads.len() + 1, behind: (last.who.clone(), first_line(&last.body, 80)) })
}

/// `1st`, `2nd`, `3rd`, `11th`.
pub(super) fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(thread: &str) -> Place {
        Place { channel: "C1".into(), thread: thread.into() }
    }

    fn prompt(body: &str, thread: Option<&str>, state: PromptState) -> Prompt {
        Prompt { body: body.into(), place: thread.map(place), state, ..Prompt::example() }
    }

    #[test]
    fn a_person_is_told_behind_what_their_words_wait_and_only_where_they_do() {
        let runs = || PromptState::Confirmed { by: Evidence::Hook };
        let waits = || PromptState::Queued;
        let open = [
            prompt("running", Some("1.0"), runs()),
            prompt("first", Some("2.0"), waits()),
            prompt("first, more", Some("2.0"), waits()),
            prompt("from a shell", None, waits()),
        ];
        let told = |open: &[Prompt], thread| ahead(open, &place(thread)).map(|ahead| (ahead.place, ahead.behind.1));
        assert_eq!(told(&[], "9.0"), None, "at once");
        assert_eq!(told(&open[..1], "1.0"), None, "into its own turn");
        assert_eq!(told(&open[..1], "9.0"), Some((1, "running".into())));
        assert_eq!(told(&open[..3], "9.0"), Some((2, "first".into())));
        assert_eq!(told(&open, "9.0"), Some((3, "from a shell".into())));
        assert_eq!(told(&open, "2.0"), None, "with what waits there");
        let done = [prompt("done", Some("1.0"), PromptState::Uncertain { seen: "x".into() })];
        assert_eq!(told(&done, "9.0"), None);
        let words: Vec<String> = [1, 2, 3, 4, 11, 12, 21, 113].map(ordinal).into();
        assert_eq!(words, ["1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "113th"]);
    }
}
