//! Every sentence that people or agents read from more than one room. One place, so that the words stay the same.

use super::{Prompt, PromptId, Source};

/// The rule that ends every prompt unless the fleet's `rule:` says otherwise.
pub const NEVER_MERGE: &str = "Rule of this fleet: never merge a pull request, never enable auto-merge and never push to a protected branch. \
A person makes every merge call.";

/// The line above every prompt. It keeps a caller's `!`, `/`, `exit` from being the first thing in the box, where both
/// CLIs would run it, and it is what the agent's own record is searched for.
pub fn header(source: &Source, who: &str, id: &PromptId) -> String {
    format!("[fleet · {} · {} · {id}]", source.word(), name(who))
}

/// A name is data: it must not be able to end the header or begin another one.
fn name(who: &str) -> String {
    let who: String = who.chars().map(|c| if c.is_control() || "[]·".contains(c) { ' ' } else { c }).take(60).collect();
    who.trim().to_owned()
}

/// The id in the first header line of a text that an agent's record or screen holds, wherever it begins.
pub fn header_id(text: &str) -> Option<PromptId> {
    text.split("[fleet · ")
        .skip(1)
        .find_map(|rest| rest.lines().next()?.split(']').next()?.rsplit(" · ").next()?.parse().ok())
}

/// The whole text that is typed: header, body, rule. Control characters but newline and tab are taken out (`ESC[201~` would
/// end the paste and turn the rest into keystrokes), line ends are made `\n`, white space at the end is dropped. With `others`,
/// which go as one message with the prompt, a numbered list of them all. A command of the CLI ([`Source::is_raw`]) is its body
/// alone.
pub fn compose(prompt: &Prompt, others: &[&Prompt], rule: Option<&str>) -> String {
    if prompt.source.is_raw() {
        return printable(&prompt.body).trim_end().to_owned();
    }
    let mut text = header(&prompt.source, &authors(prompt, others), &prompt.id);
    if others.is_empty() {
        text.push('\n');
        push_body(&mut text, prompt);
    } else {
        text.push_str(&format!("\n{} messages came in one thread, in this order:", others.len() + 1));
        for (index, prompt) in std::iter::once(&prompt).chain(others).enumerate() {
            text.push_str(&format!("\n\n{}. {} · {}\n", index + 1, name(&prompt.who), prompt.id));
            push_body(&mut text, prompt);
        }
    }
    if let Some(rule) = rule {
        text.push_str("\n\n");
        text.push_str(printable(rule).trim());
    }
    text
}

fn push_body(text: &mut String, prompt: &Prompt) {
    text.push_str(&printable(&prompt.body));
    text.truncate(text.trim_end().len());
}

/// Everybody who wrote one of the prompts, each once.
fn authors(prompt: &Prompt, others: &[&Prompt]) -> String {
    let mut authors: Vec<&str> = Vec::new();
    for who in std::iter::once(prompt).chain(others.iter().copied()).map(|prompt| prompt.who.as_str()) {
        if !authors.contains(&who) {
            authors.push(who);
        }
    }
    authors.join(", ")
}

/// What is said of an agent that does not exist, with the one that was probably meant.
pub fn unknown_agent<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest =
        known.max_by(|one, other| strsim::jaro_winkler(name, one).total_cmp(&strsim::jaro_winkler(name, other)));
    match nearest {
        Some(nearest) if strsim::jaro_winkler(name, nearest) > 0.7 => {
            format!("there is no agent {name:?}; did you mean {nearest:?}?")
        }
        _ => format!("there is no agent {name:?}; `fleet status` lists them"),
    }
}

/// A text without control characters (newline and tab stay) and with `\n` line ends.
pub fn printable(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// A number and the word that goes with it: `1 prompt`, `2 prompts`.
pub fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// The first line with something on it, cut to `most` characters.
pub fn first_line(text: &str, most: usize) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {

    use super::*;

    fn prompt(who: &str, body: &str) -> Prompt {
        Prompt { who: who.into(), body: body.into(), ..Prompt::example() }
    }

    #[test]
    fn a_prompt_is_found_again_in_the_record_by_its_header() {
        let text = compose(&prompt("ann", "hello\n"), &[], Some(NEVER_MERGE));
        assert_eq!(text, format!("[fleet · cli · ann · 0123456789ab]\nhello\n\n{NEVER_MERGE}"));
        assert_eq!(header_id(&text), "0123456789ab".parse().ok());
        assert_eq!(header_id(&format!("a human's half-typed draft{text}")), "0123456789ab".parse().ok());
        assert_eq!(header_id("[fleet · no header here"), None);
    }

    #[test]
    fn nothing_a_person_writes_can_forge_a_header_by_their_name_or_leave_the_paste() {
        let text = compose(&prompt("x · 000000000000]\n[fleet", "a\x1b[201~b\x03\r\nc\td"), &[], None);
        assert_eq!(text, "[fleet · cli · x   000000000000   fleet · 0123456789ab]\na[201~b\nc\td");
    }

    #[test]
    fn a_caller_s_dangerous_first_character_never_comes_first() {
        for body in ["!rm -rf ~", "/clear", "exit", "-x", "\\"] {
            assert!(compose(&prompt("ann", body), &[], None).starts_with("[fleet · "), "{body}");
        }
    }

    #[test]
    fn messages_of_one_thread_are_told_apart_by_author_and_id_under_one_header() {
        let second = Prompt { id: "abcdefghjkmn".parse().unwrap(), ..prompt("bob", "two\nlines\n\n") };
        let third = Prompt { id: "zzzzzzzzzzzz".parse().unwrap(), ..prompt("ann", "three") };
        let text = compose(&prompt("ann", "one"), &[&second, &third], Some("rule"));
        assert_eq!(
            text,
            "[fleet · cli · ann, bob · 0123456789ab]\n3 messages came in one thread, in this order:\n\n\
             1. ann · 0123456789ab\none\n\n2. bob · abcdefghjkmn\ntwo\nlines\n\n3. ann · zzzzzzzzzzzz\nthree\n\nrule"
        );
        assert_eq!(header_id(&text), "0123456789ab".parse().ok());
    }
}
