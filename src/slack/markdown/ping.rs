//! Words that Slack would turn into a ping → the same words that ping nobody. Pure.
//!
//! An invisible joiner is put behind the sign (`@`, `<`), so the words read as they were written. It is done to the text that
//! people will see, after entities and backslashes are undone and pieces of one style are put together, and before anything
//! is escaped or cut: so no spelling and no border brings a mention back.

/// U+2060: no width, no place to break a line.
const JOINER: char = '\u{2060}';

/// What calls a whole channel or workspace, behind an `@`.
const EVERYBODY: [&str; 3] = ["channel", "here", "everyone"];

/// The text with every mention broken.
pub(super) fn neutral(text: &str) -> String {
    broken(text, |safe| safe.push(JOINER))
}

/// The address with every mention broken; it leads where it led.
pub(super) fn neutral_url(url: &str) -> String {
    broken(&url.replace('<', "%3C").replace('>', "%3E"), |safe| {
        safe.pop();
        safe.push_str("%40");
    })
}

fn broken(text: &str, wound: impl Fn(&mut String)) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['@', '<', '&']) {
        // What is double-escaped, or stands in code, still holds `&lt;`: whoever undoes it once more gets no mention.
        let sign = if rest[at..].starts_with("&lt;") { 4 } else { 1 };
        let (head, after) = rest.split_at(at + sign);
        safe.push_str(head);
        let pings = match &head[at..] {
            "@" => names_everybody(after),
            "&" => false,
            _ => opens_reference(after),
        };
        if pings {
            wound(&mut safe);
        }
        rest = after;
    }
    safe + rest
}

fn names_everybody(after: &str) -> bool {
    EVERYBODY.iter().any(|name| {
        let named = after.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name));
        named && !after[name.len()..].starts_with(|next: char| next.is_alphanumeric())
    })
}

/// `<@U…>`, `<#C…>`, `<!here>`, `<!subteam^…>`, `<!date^…>`, as far as what follows the `<` can tell.
fn opens_reference(after: &str) -> bool {
    let mut chars = after.chars();
    match (chars.next(), chars.next()) {
        (Some('@' | '#'), Some(next)) => next.is_alphanumeric(),
        // A page's first line is far more often meant than anything of Slack's.
        (Some('!'), Some(next)) => {
            next.is_alphabetic() && !after.get(1..8).is_some_and(|word| word.eq_ignore_ascii_case("doctype"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_mention_is_broken_and_nothing_else_is_touched() {
        for text in [
            "<!here>",
            "<!channel|x>",
            "<!everyone>",
            "<!subteam^S1>",
            "<!date^1^x|y>",
            "<@U123>",
            "<@W1|ann>",
            "<#C1>",
            "@here",
            "@HERE",
            "@channel.",
            "@everyone_",
            "&lt;!here&gt;",
            "&lt;@U1&gt;",
            "(@here)",
            "x@here",
        ] {
            let safe = neutral(text);
            assert_eq!(safe.replace(JOINER, ""), text);
            assert_eq!(safe.matches(JOINER).count(), 1, "{safe:?}");
        }
        for text in [
            "a@b.c",
            "@ann",
            "@hereby",
            "@channels",
            "<!DOCTYPE html>",
            "<!-- x -->",
            "a < b",
            "<#",
            "<@",
            "a <- b",
            "&",
            "&lt;",
            "#include <a.h>",
            "@Override",
        ] {
            assert_eq!(neutral(text), text);
        }
        assert_eq!(neutral("<@here>"), "<\u{2060}@\u{2060}here>");
        assert_eq!(neutral_url("https://a.b/@here/<@U1>"), "https://a.b/%40here/%3C@U1%3E");
    }
}
