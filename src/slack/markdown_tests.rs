//! The golden table of the renderer, and what must hold for every text.

use proptest::prelude::*;

use super::*;

const TABLE: &[(&str, &str)] = &[
    ("plain", "plain"),
    ("**bold** and __bold__", "*bold* and *bold*"),
    ("*it* and _it_", "_it_ and _it_"),
    ("***both***", "_*both*_"),
    ("~~gone~~", "~gone~"),
    ("`code <x>`", "`code &lt;x&gt;`"),
    ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
    ("<!here> <@U123> @channel", "&lt;!here&gt; &lt;@U123&gt; @channel"),
    ("# Title", "*Title*"),
    ("### A **bold** title\n\ntext", "*A bold title*\n\ntext"),
    ("Title\n=====\ntext", "*Title*\n\ntext"),
    ("one\n\ntwo", "one\n\ntwo"),
    ("one\ntwo", "one\ntwo"),
    ("[text](https://a.b/c?d=1&e=2)", "<https://a.b/c?d=1&amp;e=2|text>"),
    ("<https://a.b>", "<https://a.b>"),
    ("[a|b>c](https://a.b)", "<https://a.b|a b&gt;c>"),
    ("[click](javascript:alert)", "click (javascript:alert)"),
    ("[**b**](https://a.b/x|y)", "<https://a.b/x%7Cy|*b*>"),
    ("![alt](https://a.b/i.png)", "<https://a.b/i.png|alt>"),
    ("- a\n- b", "• a\n• b"),
    ("1. a\n2. b\n", "1. a\n2. b"),
    ("3. a\n4. b\n", "3. a\n4. b"),
    ("- a\n  - b\n    - c\n- d", "• a\n    ◦ b\n        • c\n• d"),
    ("- [ ] open\n- [x] done", "• ☐ open\n• ☑ done"),
    ("- a\n\n  more\n- b", "• a\n  more\n• b"),
    ("text\n\n- a\n- b\n\nafter", "text\n\n• a\n• b\n\nafter"),
    ("> quoted\n> twice", "> quoted\n> twice"),
    ("```rust\nfn a() -> &str {}\n```", "```\nfn a() -&gt; &amp;str {}\n```"),
    ("before\n```\ncode\n```\nafter", "before\n```\ncode\n```\nafter"),
    ("    indented", "```\nindented\n```"),
    ("````\n```\n````", "```\n``\u{200b}`\n```"),
    ("| a | b |\n|---|--:|\n| **x** | 1 |\n| yy | 22 |", "```\na  |  b\n---|---\nx  |  1\nyy | 22\n```"),
    ("a\n\n---\n\nb", "a\n\n———\n\nb"),
    ("<b>html</b>", "&lt;b&gt;html&lt;/b&gt;"),
    ("a\u{1b}[31mb\u{7}", "a[31mb"),
    ("an unclosed ```fence", "an unclosed ``\u{200b}`fence"),
    ("emoji 🎉 ünïcode", "emoji 🎉 ünïcode"),
];

#[test]
fn what_agents_write_shows_in_slack_as_they_meant_it() {
    for (markdown, expected) in TABLE {
        assert_eq!(render(markdown), [*expected], "{markdown}");
    }
    for nothing in ["", "  \n\n ", "\u{1b}"] {
        assert!(render(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn a_long_code_block_is_closed_and_opened_again() {
    let code: String = (0..400).map(|line| format!("line {line} of the code\n")).collect();
    let messages = render(&format!("before\n```sh\n{code}```\nafter"));
    assert!(messages.len() > 2);
    let inside: String = messages
        .iter()
        .flat_map(|message| message.lines())
        .filter(|line| line.starts_with("line"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(inside, code);
    for message in &messages {
        assert_eq!(message.matches("```").count() % 2, 0, "{message}");
    }
}

#[test]
fn a_long_text_is_cut_between_words_and_never_within_a_link_or_an_escape() {
    let text = "some words & <angles> and [a link](https://a.b/c) ".repeat(300);
    let messages = render(&text);
    for message in &messages {
        assert!(units(message) <= MOST);
        assert_eq!(message.matches("<https").count(), message.matches("|a link>").count(), "{message}");
        assert!(!message.ends_with("&am") && !message.starts_with("mp;"), "{message}");
    }
    let joined = messages.join(" ");
    assert_eq!(joined.matches("&lt;angles&gt;").count(), 300);
}

/// Everything but white space and fences, which is what must come through whole.
fn content(text: &str) -> String {
    text.replace(FENCE, "").chars().filter(|c| !c.is_whitespace()).collect()
}

proptest! {
    #[test]
    fn the_splitter_loses_nothing_keeps_the_limit_and_balances_fences(
        pieces in prop::collection::vec((any::<bool>(), "[a-z&<>é🎉 \n]{0,400}"), 0..12),
        most in 60_usize..400,
    ) {
        let blocks: Vec<Block> = pieces
            .iter()
            .map(|(code, text)| if *code { Block::Code(escape(text)) } else { Block::Text(escape(text)) })
            .collect();
        let messages = pack(&blocks, most);
        let whole: String = blocks.iter().map(|block| match block { Block::Text(text) | Block::Code(text) => content(text) }).collect();
        prop_assert_eq!(messages.iter().map(|message| content(message)).collect::<String>(), whole);
        for message in &messages {
            prop_assert!(units(message) <= most, "{} > {}", units(message), most);
            prop_assert_eq!(message.matches(FENCE).count() % 2, 0);
        }
    }

    #[test]
    fn no_text_of_an_agent_ever_pings_anybody_or_breaks_the_limit(text in "(<[!@#]?[a-zA-Z]{1,8}>|[*_`~\\[\\]()#>|&-]|[a-z \n]){0,300}") {
        for message in render(&text) {
            prop_assert!(units(&message) <= MOST);
            prop_assert!(!message.contains("<!") && !message.contains("<@") && !message.contains("<#"), "{message}");
        }
    }
}
