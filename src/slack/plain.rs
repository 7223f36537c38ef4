//! mrkdwn as people wrote it → plain text as they saw it. Pure; escapes are undone once, never twice.

use std::collections::BTreeMap;

/// mrkdwn as plain text: the mention of us at its start taken off, references by name, escapes undone.
pub(super) fn plain(text: &str, bot_user: &str, names: &BTreeMap<String, String>) -> String {
    let mut rest = strip_mention(text.trim(), bot_user);
    let mut plain = String::with_capacity(rest.len());
    while let Some(start) = rest.find('<') {
        plain.push_str(&unescape(&rest[..start]));
        let Some(length) = rest[start..].find('>') else {
            rest = &rest[start..];
            break;
        };
        plain.push_str(&reference(&rest[start + 1..start + length], names));
        rest = &rest[start + length + 1..];
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
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inside, None),
    };
    match target.chars().next() {
        Some('@') => {
            let id = &target[1..];
            format!("@{}", label.map(unescape).or_else(|| names.get(id).cloned()).unwrap_or_else(|| id.to_owned()))
        }
        Some('#') => format!("#{}", unescape(label.unwrap_or(&target[1..]))),
        Some('!') => {
            let word = target[1..].split('^').next().unwrap_or_default();
            label.map_or_else(|| format!("@{word}"), unescape)
        }
        _ => {
            let url = unescape(target);
            match label.map(unescape) {
                // Slack writes `<http://a.b|a.b>` for a bare `a.b`.
                Some(label) if url.ends_with(&label) => label,
                Some(label) => format!("{label} ({url})"),
                None => url.strip_prefix("mailto:").unwrap_or(&url).to_owned(),
            }
        }
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: &[(&str, &str)] = &[
        ("<@UBOT> hello", "hello"),
        ("<@UBOT|fleet>: hello", "hello"),
        ("hello <@UBOT>", "hello @UBOT"),
        ("<@UBOTTLE> hello", "@UBOTTLE hello"),
        ("a &lt;b&gt; &amp;&amp; c &amp;lt;", "a <b> && c &lt;"),
        ("see <https://a.b/c?d=1&amp;e=2>", "see https://a.b/c?d=1&e=2"),
        ("see <https://a.b/c|the page>", "see the page (https://a.b/c)"),
        ("see <http://a.b|a.b>", "see a.b"),
        ("<mailto:a@b.c|a@b.c>", "a@b.c"),
        ("ask <@U1> and <@U2|bob> and <@U3>", "ask @ann and @bob and @U3"),
        ("in <#C1|general> or <#C2>", "in #general or #C2"),
        ("<!here> <!subteam^S1|@devs> <!date^1^{date}|today>", "@here @devs today"),
        ("an open < and <unclosed", "an open < and <unclosed"),
        ("!rm -rf /", "!rm -rf /"),
        ("```code\n  indented```", "```code\n  indented```"),
        ("", ""),
    ];

    #[test]
    fn what_a_person_wrote_reaches_the_agent_as_they_saw_it() {
        let names = BTreeMap::from([("U1".to_owned(), "ann".to_owned())]);
        for (text, expected) in TEXTS {
            assert_eq!(plain(text, "UBOT", &names), *expected, "{text}");
        }
    }
}
