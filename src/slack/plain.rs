//! mrkdwn as people wrote it → plain text as they saw it. Pure.
//!
//! Slack sends `&`, `<` and `>` of a text as entities, so a bare `<` begins a reference: a person, a channel, a link, a date.
//! Entities are undone once, never twice: what a person typed as `&lt;` must not reach the agent as `<`. Marks, lists, code and
//! the names of emoji stay as they are: agents read them.

use std::collections::BTreeMap;

/// mrkdwn as plain text: the mention of us at its start taken off, references by name, entities undone. `names` are those of
/// people, groups and channels by id, as far as they are known.
pub(super) fn plain(text: &str, bot_user: &str, names: &BTreeMap<String, String>) -> String {
    let mut rest = strip_mention(text.trim(), bot_user);
    let mut plain = String::with_capacity(rest.len());
    while let Some(start) = rest.find('<') {
        let (before, open) = rest.split_at(start);
        plain.push_str(&unescape(before));
        // No reference has another one, or a line's end, in it.
        let inside = open[1..].find(['<', '>', '\n']).map(|end| open[1..].split_at(end));
        rest = match inside {
            Some((inside, after)) if after.starts_with('>') && !inside.is_empty() => {
                plain.push_str(&reference(inside, names));
                &after[1..]
            }
            _ => {
                plain.push('<');
                &open[1..]
            }
        };
    }
    plain.push_str(&unescape(rest));
    plain.trim().to_owned()
}

fn strip_mention<'a>(text: &'a str, bot_user: &str) -> &'a str {
    let Some(rest) = text.strip_prefix("<@").and_then(|rest| rest.strip_prefix(bot_user)) else { return text };
    // `<@U1|name>` is the older form.
    match (rest.strip_prefix('>'), rest.strip_prefix('|').and_then(|rest| rest.split_once('>'))) {
        (Some(rest), _) | (None, Some((_, rest))) => rest.trim_start_matches([':', ',']).trim_start(),
        (None, None) => text,
    }
}

/// What stands between `<` and `>`.
fn reference(inside: &str, names: &BTreeMap<String, String>) -> String {
    let (target, label) = inside.split_once('|').unwrap_or((inside, ""));
    let label = Some(unescape(label)).filter(|label| !label.trim().is_empty());
    let named = |id: &str| names.get(id).cloned().unwrap_or_else(|| unescape(id));
    let marked = |mark: char, name: String| if name.starts_with(mark) { name } else { format!("{mark}{name}") };
    if let Some(id) = target.strip_prefix('@') {
        return marked('@', label.unwrap_or_else(|| named(id)));
    }
    if let Some(id) = target.strip_prefix('#') {
        return marked('#', label.unwrap_or_else(|| named(id)));
    }
    match target.strip_prefix('!') {
        Some(special) => self::special(special, label, named),
        None => link(&unescape(target), label),
    }
}

/// What stands behind `<!`.
fn special(special: &str, label: Option<String>, named: impl Fn(&str) -> String) -> String {
    let mut words = special.split('^');
    match (words.next().unwrap_or_default(), words.next(), label) {
        ("subteam", Some(id), label) => {
            let name = label.unwrap_or_else(|| named(id));
            if name.starts_with('@') { name } else { format!("@{name}") }
        }
        // What the others see is in their own time zone; the label is what Slack shows where it can't tell.
        ("date", _, Some(label)) => label,
        ("date", Some(seconds), None) => format!("{seconds} (Unix time)"),
        (word @ ("here" | "channel" | "everyone" | "group"), _, _) => format!("@{word}"),
        (_, _, Some(label)) => label,
        (word, _, None) => format!("@{word}"),
    }
}

fn link(url: &str, label: Option<String>) -> String {
    let bare = ["https://", "http://", "mailto:", "tel:"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let mail = url.strip_prefix("mailto:").or_else(|| url.strip_prefix("tel:"));
    match label {
        // Slack writes `<http://a.b|a.b>` for a bare `a.b`. Where a label only ends like its address, the address is news.
        Some(label) if label == url || bare.is_some_and(|bare| bare.trim_end_matches('/') == label) => label,
        Some(label) => format!("{label} ({})", mail.unwrap_or(url)),
        None => mail.unwrap_or(url).to_owned(),
    }
}

/// The entities, and the spaces that only keep words on one line, as what was typed.
fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace('\u{a0}', " ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXTS: &[(&str, &str)] = &[
        ("", ""),
        ("  hello \n", "hello"),
        // The mention of us.
        ("<@UBOT> hello", "hello"),
        ("<@UBOT|fleet>: hello", "hello"),
        ("<@UBOT>, hello", "hello"),
        ("<@UBOT>", ""),
        ("hello <@UBOT>", "hello @UBOT"),
        ("<@UBOTTLE> hello", "@UBOTTLE hello"),
        // Entities.
        ("a &lt;b&gt; &amp;&amp; c &amp;lt;", "a <b> && c &lt;"),
        ("&amp;amp;lt; &amp;copy; &quot;", "&amp;lt; &copy; &quot;"),
        ("&lt;@U1&gt; &lt;!here&gt;", "<@U1> <!here>"),
        ("R&amp;D\u{a0}team", "R&D team"),
        // People, groups, channels.
        ("ask <@U1> and <@U2|bob> and <@U3>", "ask @ann and @bob and @U3"),
        ("<@U1|> and <@W7|@eve &amp; co>", "@ann and @eve & co"),
        ("in <#C1|general> or <#C2>", "in #general or #C2"),
        ("in <#C9> and <#C2|>", "in #builds and #C2"),
        ("<!here> <!channel|channel> <!everyone|@everyone>", "@here @channel @everyone"),
        ("<!subteam^S1|@devs> <!subteam^S2|ops> <!subteam^S3> <!subteam^S9>", "@devs @ops @S3 @oncall"),
        // Dates.
        ("<!date^1392734382^{date} at {time}|Feb 18, 2014>", "Feb 18, 2014"),
        ("<!date^1392734382^{date}^https://a.b|Feb 18, 2014 6:39 AM &gt; x>", "Feb 18, 2014 6:39 AM > x"),
        ("<!date^1392734382^{date}>", "1392734382 (Unix time)"),
        ("<!unknown^1|what it says> <!unknown>", "what it says @unknown"),
        // Links.
        ("see <https://a.b/c?d=1&amp;e=2>", "see https://a.b/c?d=1&e=2"),
        ("see <https://a.b/c|the page>", "see the page (https://a.b/c)"),
        ("see <http://a.b|a.b> and <https://a.b/|a.b>", "see a.b and a.b"),
        (
            "see <https://evil.example/good.example|good.example>",
            "see good.example (https://evil.example/good.example)",
        ),
        ("<https://a.b|https://a.b> <https://a.b|>", "https://a.b https://a.b"),
        ("<https://a.b/x%7Cy|a &amp; b>", "a & b (https://a.b/x%7Cy)"),
        ("<mailto:a@b.c|a@b.c> <mailto:a@b.c> <mailto:a@b.c|Ann>", "a@b.c a@b.c Ann (a@b.c)"),
        ("<tel:+491234|+491234> <tel:+491234|call>", "+491234 call (+491234)"),
        ("<slack://channel?id=C1|open>", "open (slack://channel?id=C1)"),
        ("`curl <https://a.b>` and ```<https://a.b/c|a.b/c>```", "`curl https://a.b` and ```a.b/c```"),
        // What stays.
        ("!rm -rf /", "!rm -rf /"),
        ("/clear", "/clear"),
        ("```code\n  indented &lt;T&gt;\n```", "```code\n  indented <T>\n```"),
        ("*bold* _it_ ~gone~ `x_y`", "*bold* _it_ ~gone~ `x_y`"),
        ("• one\n    ◦ two\n1. three", "• one\n    ◦ two\n1. three"),
        ("&gt; quoted\n&gt;&gt; twice", "> quoted\n>> twice"),
        (":tada: :wave::skin-tone-3: 🎉", ":tada: :wave::skin-tone-3: 🎉"),
        ("日本語 <@U1> さん", "日本語 @ann さん"),
        // What Slack never sends.
        ("an open < and <unclosed", "an open < and <unclosed"),
        ("<> < > <\n>", "<>   <\n>"),
        ("<<@U1>> a <b\nc> <@U1", "<@ann> a <b\nc> <@U1"),
        ("<@> <#> <!> <|x>", "@ # @ x ()"),
    ];

    fn names() -> BTreeMap<String, String> {
        let names = [("U1", "ann"), ("C9", "builds"), ("S9", "oncall")];
        names.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn what_a_person_wrote_reaches_the_agent_as_they_saw_it() {
        for (text, expected) in TEXTS {
            assert_eq!(plain(text, "UBOT", &names()), *expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_person_types_comes_back_as_they_typed_it(typed in "([a-z&<>;|@#!^*_`:. \n]|&lt;|&amp;|<@U1>|<!here>|é|🎉){0,200}") {
            let sent = typed.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            prop_assert_eq!(plain(&sent, "UBOT", &names()), typed.trim());
        }

        #[test]
        fn no_mangled_text_of_slack_breaks_the_reader_or_grows(text in "(<[@#!]?|[|^>]|date|subteam|&(amp|lt|gt);?|U1|https://a.b|mailto:|é|\n| ){0,200}") {
            let plain = plain(&text, "UBOT", &names());
            prop_assert!(plain.len() <= 8 * text.len(), "{}", plain);
        }
    }
}
