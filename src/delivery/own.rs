//! Whether what stands in an input box is a prompt that we pasted, and nothing of a person's beside it. Pure.
//!
//! A box shows a text in its own way: broken into lines, emoji and marks mangled by the terminal, only its end, or a
//! placeholder. When in doubt it isn't ours: a prompt that waits is shown to people, a draft that was submitted is lost.

/// So much of a text's end, in characters or in lines, is no coincidence.
const MUCH: usize = 60;
const MANY_LINES: usize = 8;

/// Whether `held` shows all of `typed` and nothing else. `pasted`: this daemon itself pasted it into an empty box; without
/// that, a placeholder counts only if it names the text's own size.
pub fn is_ours(held: &str, typed: &str, pasted: bool) -> bool {
    if typed.is_empty() {
        return false;
    }
    if let Some(placeholder) = placeholder(held) {
        return pasted || names_size(placeholder, typed);
    }
    let (shown, whole) = (plain(held), plain(typed));
    let foreign = others(held) > others(typed);
    // An end of a few words could as well be a person's draft.
    let much = shown.len() >= MUCH || held.lines().count() >= MANY_LINES;
    let end = pasted && much && whole.ends_with(&shown);
    !foreign && (end || shown == whole && first_alike(held, typed))
}

/// Whether a box shows a placeholder instead of a text.
pub fn is_placeholder(held: &str) -> bool {
    placeholder(held).is_some()
}

/// A box that shows nothing but `[Pasted text #1 +40 lines]` or the like.
fn placeholder(held: &str) -> Option<&str> {
    let inner = held.trim().strip_prefix('[')?.strip_suffix(']')?;
    let named = inner.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("pasted"));
    (named && !inner.contains(['[', ']', '\n'])).then_some(inner)
}

/// Whether a placeholder's last number is the text's count of characters, lines or line ends.
fn names_size(placeholder: &str, typed: &str) -> bool {
    let mut numbers = placeholder.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<usize>().ok());
    let ends = typed.matches('\n').count();
    numbers.next_back().is_some_and(|number| [typed.chars().count(), ends, ends + 1].contains(&number))
}

/// What every terminal shows alike.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).collect()
}

/// How many letters of other scripts there are: they must not become more. They can become fewer where the terminal knows
/// a mark or a pair that we don't.
fn others(text: &str) -> usize {
    text.chars().filter(|c| !c.is_ascii() && c.is_alphanumeric()).count()
}

fn first_alike(held: &str, typed: &str) -> bool {
    held.trim_start().chars().next() == typed.trim_start().chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPED: &str = "[fleet · cli · ann · 0123456789ab]\nfix the ä 👩‍👩‍👧 e\u{301}\n\nnever merge";

    #[test]
    fn only_our_own_text_is_taken_for_ours_and_never_one_that_a_person_added_to() {
        let wrapped = TYPED.replace("fix the", "fix\n the");
        let mangled = TYPED.replace("👩‍👩‍👧", "👩 👩 👧").replace("e\u{301}", "e");
        for (held, pasted, ours) in [
            (TYPED, false, true),
            (wrapped.as_str(), false, true),
            (mangled.as_str(), false, true),
            (&format!("a draft{TYPED}"), true, false),
            (&format!("{TYPED} and more"), true, false),
            (&format!("{TYPED} ж"), true, false),
            (&format!("日{TYPED}"), true, false),
            ("a draft", true, false),
            ("e", true, false),
            ("never merge", true, false),
            ("", true, false),
            ("[Pasted text #1 +40 lines]", true, true),
            ("[Pasted text #1 +40 lines]", false, false),
            ("[Pasted text #3 +3 lines]", false, true),
            ("x[Pasted text #1 +3 lines]", true, false),
            ("[Pasted text #1 +3 lines] x", true, false),
            ("[Pasted text #1 +3 lines][Pasted text #2 +3 lines]", true, false),
            ("[pasted 4 lines]", false, true),
        ] {
            assert_eq!(is_ours(held, TYPED, pasted), ours, "{held:?} {pasted}");
        }
        assert!(!is_ours("anything", "", true));
        let size = format!("[Pasted Content {} chars]", TYPED.chars().count());
        assert!(is_ours(&size, TYPED, false));
    }

    #[test]
    fn a_box_that_shows_only_the_end_of_a_long_text_is_known_by_who_pasted_it() {
        let typed = format!("[fleet · cli · ann · 0123456789ab]\n{}", "many words and more ".repeat(100));
        let end = &typed[typed.len() - 900..];
        assert!(is_ours(end, &typed, true));
        assert!(!is_ours(end, &typed, false));
        let lines: String = (1..=40).map(|line| format!("{line}\n")).collect();
        let scrolled = lines.replacen("10\n", "10      ↑\n", 1);
        let shown = &scrolled[scrolled.find("10 ").unwrap()..];
        assert!(is_ours(shown.trim_end(), lines.trim_end(), true));
        assert!(!is_ours("39\n40", lines.trim_end(), true));
    }
}
