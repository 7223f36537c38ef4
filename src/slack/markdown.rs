//! Markdown as agents write it → what Slack shows.
//!
//! Pure. An answer is sent as `markdown` blocks: of all that Slack has they lose least (headings, nested and numbered lists,
//! tasks, quotes, rules, code with its language, and signs that are no syntax, for which mrkdwn has no escape). A table is
//! Slack's own table block, one a message. An answer of plain words needs no block: mrkdwn shows it just as well, and a
//! message without blocks can be edited and searched like a person's. mrkdwn is also the `text` that goes with all blocks,
//! for notifications and for whatever shows no blocks.
//!
//! Must never happen here: a mention in an agent's text that pings anybody, a link that was not written as one, a message that
//! Slack refuses for its size, a word that is lost.

mod inline;
mod pack;
mod parts;
mod ping;
mod read;
mod summary;
mod table;
mod write;

use self::parts::Part;
use super::split::{self, FENCE, MOST, pack, units};
use crate::model::blocks::Block;
use crate::model::text::printable;

pub(super) use inline::escape;

/// An answer that is longer than this is a file: nobody reads it message by message.
const MOST_IN_MESSAGES: usize = 40_000;

/// What one post makes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub(super) enum Piece {
    /// A message.
    Message {
        /// mrkdwn, at most [`MOST`] units; all of the message where there are no blocks, else its beginning.
        text: String,
        /// What is shown; none where the text says it all.
        blocks: Vec<Block>,
    },
    /// A file, and what is said beside it.
    File {
        /// Its name.
        name: String,
        /// The answer as the agent wrote it.
        content: String,
        /// mrkdwn, at most [`MOST`] units.
        summary: String,
    },
}

/// An agent's `text` as what is to be posted, in order. Nothing for a text without content.
pub(super) fn render(text: &str) -> Vec<Piece> {
    let text = printable(text);
    if units(&text) > MOST_IN_MESSAGES && !text.trim().is_empty() {
        let summary = summary::summary(&text);
        return vec![Piece::File { name: summary::FILE.to_owned(), content: text, summary }];
    }
    pack::messages(read::read(&text)).iter().map(|parts| message(parts)).collect()
}

/// `mrkdwn` that is rendered already, as one or more messages.
pub(super) fn split(mrkdwn: &str) -> Vec<String> {
    pack(&[split::Block::Text(mrkdwn.to_owned())], MOST)
}

fn message(parts: &[Part]) -> Piece {
    let mut texts = pack(&parts.iter().map(write::mrkdwn).collect::<Vec<_>>(), MOST - MORE.len());
    let whole = texts.len() == 1;
    let mut text = if texts.is_empty() { String::new() } else { texts.remove(0) };
    if whole && parts.iter().all(write::same_in_mrkdwn) {
        return Piece::Message { text, blocks: Vec::new() };
    }
    if !whole {
        // A short first part would be all that a notification says.
        let room = MOST - MORE.len() - units(&text).min(MOST / 2) - 2;
        if let Some(next) = texts.first().filter(|next| room > MOST / 2 && !next.contains(FENCE)) {
            let beginning = pack(&[split::Block::Text(next.clone())], room).swap_remove(0);
            text = format!("{text}\n\n{beginning}");
        }
        text.push_str(MORE);
    }
    Piece::Message { text, blocks: blocks(parts) }
}

/// What ends a `text` that tells less than the blocks.
const MORE: &str = "\n…";

fn blocks(parts: &[Part]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for part in parts {
        let table = if let Part::Table(table) = part { table::native(table) } else { None };
        match (table, blocks.last_mut()) {
            (Some(table), _) => blocks.push(table),
            (None, Some(Block::Markdown { text })) => {
                text.push_str("\n\n");
                text.push_str(&write::markdown(part));
            }
            (None, _) => blocks.push(Block::Markdown { text: write::markdown(part) }),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::plain::plain;
    use super::*;

    /// Each answer in the corpus, and what is made of it.
    fn corpus() -> Vec<(PathBuf, PathBuf)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/markdown");
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let answers = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md"));
        let cases: Vec<_> = answers.map(|answer| (answer.clone(), answer.with_extension("json"))).collect();
        for file in &files {
            assert!(
                cases.iter().any(|(answer, golden)| [answer, golden].contains(&file)),
                "{} is of no case",
                file.display()
            );
        }
        assert!(cases.len() >= 60, "{} cases", cases.len());
        cases
    }

    #[test]
    fn what_agents_write_shows_in_slack_as_they_meant_it() {
        for (answer, golden) in corpus() {
            let pieces = render(&fs::read_to_string(&answer).unwrap());
            let shown = serde_json::to_string_pretty(&pieces).unwrap() + "\n";
            if std::env::var_os("UPDATE_FIXTURES").is_some() {
                fs::write(&golden, &shown).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
            assert!(shown == expected, "{} shows otherwise now: run with UPDATE_FIXTURES=1 and look", answer.display());
        }
    }

    /// All strings in what is sent; a file's content apart, which Slack shows as it is.
    fn strings(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
            Value::Object(fields) => {
                fields.iter().filter(|(name, _)| *name != "content").for_each(|(_, value)| strings(value, found));
            }
            _ => {}
        }
    }

    fn pings(text: &str) -> bool {
        let lower = text.to_lowercase();
        let everybody = ["@channel", "@here", "@everyone"].iter().any(|name| {
            let ends = |(at, _): (usize, &str)| !lower[at + name.len()..].starts_with(char::is_alphanumeric);
            lower.match_indices(name).any(ends)
        });
        let letter = |rest: &str| rest.starts_with(char::is_alphanumeric);
        let opened = |at: usize| match lower[at + 1..].chars().next() {
            Some('@' | '#') => letter(&lower[at + 2..]),
            Some('!') => letter(&lower[at + 2..]) && !lower[at + 2..].starts_with("doctype"),
            _ => false,
        };
        everybody || lower.match_indices('<').any(|(at, _)| opened(at))
    }

    /// `text` in mrkdwn alone.
    fn texts(text: &str) -> Vec<String> {
        pack(&read::read(&printable(text)).iter().map(write::mrkdwn).collect::<Vec<_>>(), MOST)
    }

    /// What must be true of every answer.
    fn check(text: &str) -> Result<(), TestCaseError> {
        let pieces = render(text);
        let mut found = Vec::new();
        strings(&serde_json::to_value(&pieces).unwrap(), &mut found);
        for text in &found {
            let undone = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            prop_assert!(!pings(text) && !pings(&undone), "{text}");
        }
        // Where an answer is a file, nobody asks for its texts.
        let texts = if matches!(pieces.as_slice(), [Piece::File { .. }]) { Vec::new() } else { texts(text) };
        prop_assert!(
            texts.iter().all(|text| units(text) <= MOST && text.matches(FENCE).count() % 2 == 0 && !pings(text))
        );
        for piece in &pieces {
            let Piece::Message { text, blocks } = piece else { continue };
            prop_assert!(units(text) <= MOST && !text.trim().is_empty(), "{}", units(text));
            prop_assert_eq!(text.matches(FENCE).count() % 2, 0, "{}", text);
            let mut shown = 0;
            for block in blocks {
                if let Block::Markdown { text } = block {
                    shown += units(text);
                    prop_assert_eq!(text.matches(FENCE).count() % 2, 0, "{}", text);
                }
            }
            prop_assert!(shown <= pack::MOST_MARKDOWN, "{shown}");
            prop_assert!(blocks.len() <= pack::MOST_BLOCKS);
            let tables = blocks.iter().filter(|block| matches!(block, Block::Table { .. })).count();
            prop_assert!(tables <= 1);
        }
        Ok(())
    }

    /// The words of parts, without white space, what is invisible, and what draws a table.
    fn words(parts: &[Part]) -> String {
        let mut words = String::new();
        for part in parts {
            match part {
                Part::Heading { spans, .. } => words.push_str(&parts::bare(spans)),
                Part::Text(lines) => lines.iter().for_each(|line| words.push_str(&parts::bare(&line.spans))),
                Part::Code { code, .. } => words.push_str(code),
                Part::Table(table) => table.rows.iter().flatten().for_each(|cell| words.push_str(&parts::bare(cell))),
                Part::Rule => {}
            }
        }
        words.retain(|c| !c.is_whitespace() && !"|-\u{200b}\u{2060}".contains(c));
        words
    }

    /// The words that the blocks of an answer show to a reader of Markdown.
    fn shown(text: &str) -> String {
        let mut shown = String::new();
        for message in pack::messages(read::read(&printable(text))) {
            for part in &message {
                let parts =
                    if let Part::Table(_) = part { vec![part.clone()] } else { read::read(&write::markdown(part)) };
                shown.push_str(&words(&parts));
            }
        }
        shown
    }

    #[test]
    fn nothing_in_the_corpus_pings_anybody_is_too_long_or_is_lost() {
        for (answer, _) in corpus() {
            let text = fs::read_to_string(&answer).unwrap();
            check(&text).unwrap_or_else(|error| panic!("{}: {error}", answer.display()));
            assert_eq!(shown(&text), words(&read::read(&printable(&text))), "{}", answer.display());
        }
    }

    proptest! {
        #[test]
        fn no_text_of_an_agent_ever_pings_anybody_or_breaks_a_limit(
            text in "(<[!@#]?[a-zA-Z]{1,8}(\\^[A-Z0-9]{2})?[|>]|@(here|channel|everyone|Here)|&(lt|gt|amp|#60|commat);|\\[[a-z<!@]{0,5}\\]\\(https://[a-z@<>]{1,9}\\)|[*_`~\\[\\]()#>|&!@<\\\\-]|```|[a-z ]|\n){0,300}",
        ) {
            check(&text)?;
        }
    }

    proptest! {
        #[test]
        fn no_sign_of_an_answer_is_lost_or_added(text in "(\\\\[*_`~<&!\\[\\]#>.-]|&(amp|lt|#42|#95);|[*_`~#>|&!<\\\\+=.:-]|\\[x\\]|\\]|\\(|[a-z0-9é]{1,3}|  ?|\n){0,60}") {
            prop_assert_eq!(shown(&text), words(&read::read(&printable(&text))), "{:?}", read::read(&printable(&text)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_word_of_a_long_answer_is_lost_or_moved(
            blocks in prop::collection::vec((0..9_usize, 1..400_usize), 1..40),
        ) {
            let mut text = String::new();
            let mut number = 0;
            for (kind, length) in blocks {
                let mut words = (0..length).map(|_| { number += 1; format!("w{number}") });
                let lines = |words: &mut dyn Iterator<Item = String>, opener: &str| {
                    let words: Vec<String> = words.collect();
                    words.chunks(7).map(|line| format!("{opener}{}\n", line.join(" "))).collect::<String>()
                };
                text.push_str(&match kind {
                    0 => format!("## {}\n", words.by_ref().take(8).collect::<Vec<_>>().join(" ")),
                    1 => format!("```rust\n{}```\n", lines(&mut words, "  ")),
                    2 => lines(&mut words, "- "),
                    3 => lines(&mut words, "1. "),
                    4 => lines(&mut words, "> "),
                    5 => format!("**{}**\n", words.collect::<Vec<_>>().join(" ")),
                    6 => format!("| a | b |\n|---|---|\n{}", words.map(|word| format!("| {word} | x |\n")).collect::<String>()),
                    7 => "---\n".to_owned(),
                    _ => lines(&mut words, ""),
                });
                text.push('\n');
            }
            prop_assume!(units(&text) <= MOST_IN_MESSAGES);
            check(&text)?;
            let mut all = String::new();
            for piece in render(&text) {
                let Piece::Message { text, blocks } = piece else { continue };
                let mut found = Vec::new();
                strings(&serde_json::to_value(&blocks).unwrap(), &mut found);
                all.push_str(&if blocks.is_empty() { plain(&text, "", &BTreeMap::new()) } else { found.join(" ") });
                all.push(' ');
            }
            let told: Vec<&str> = all.split(|c: char| !c.is_alphanumeric()).filter(|word| word.starts_with('w')).collect();
            let written: Vec<String> = (1..=number).map(|number| format!("w{number}")).collect();
            let written: Vec<&String> = written.iter().filter(|word| text.contains(word.as_str())).collect();
            prop_assert_eq!(told, written);
        }
    }

    #[test]
    fn a_code_block_that_fits_into_a_message_is_never_cut_and_a_longer_one_keeps_every_line() {
        let code = |lines: usize| (0..lines).map(|line| format!("line {line} of the code\n")).collect::<String>();
        let markdown = |pieces: &[Piece]| -> Vec<String> {
            let texts = pieces.iter().map(|piece| match piece {
                Piece::Message { text, blocks } => match blocks.as_slice() {
                    [Block::Markdown { text: shown }] => shown.clone(),
                    [] => text.clone(),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            });
            texts.collect()
        };
        let whole = markdown(&render(&format!("before {}\n\n```sh\n{}```\n", "word ".repeat(400), code(500))));
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[1], format!("```sh\n{}```", code(500)));
        for length in 11_970..12_010 {
            check(&format!("```\n{}\n```\n\n# {}", "y".repeat(length), "z".repeat(length))).unwrap();
        }
        let cut = markdown(&render(&format!("before\n```sh\n{}```\nafter", code(1_500))));
        let inside: String = cut
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| line.starts_with("line"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(inside, code(1_500));
        assert!(cut.len() > 2 && cut.iter().all(|text| text.contains("```sh\n")), "{}", cut.len());
    }

    #[test]
    fn a_huge_or_hostile_answer_never_holds_up_the_bridge() {
        let deep = 10_000;
        for (name, text) in [
            ("2 MB of prose", "some *words* & <angles> in `code`, [a link](https://a.b/c) | x\n\n".repeat(32_000)),
            ("2 MB without a space", "x".repeat(2_000_000)),
            ("2 MB of code", format!("```\n{}", "let x = 1;\n".repeat(190_000))),
            ("quotes", "> ".repeat(deep) + "x"),
            ("quotes that go on", ">".repeat(deep) + "x" + &"\ny".repeat(deep / 4)),
            ("lists", "- ".repeat(deep) + "x"),
            ("emphasis", "*a ".repeat(deep) + &"b*".repeat(deep / 2)),
            ("marks", "*a_b~".repeat(deep / 2)),
            ("brackets", "[".repeat(deep) + &"](u)".repeat(deep / 2)),
            ("images", "![".repeat(deep) + "x" + &"](u)".repeat(deep / 4)),
            ("angles", "<".repeat(39_000)),
            ("entities", "&".repeat(39_000)),
            ("ticks", (1..270).map(|length| "`".repeat(length) + " ").collect()),
            ("one line of code", format!("    {}", "y".repeat(39_000))),
            ("a wide table", format!("{}\n{}\n{}", "|a".repeat(4_000), "|-".repeat(4_000), "|b\n".repeat(5_000))),
            ("headings", "# a\n".repeat(9_000)),
            ("links without end", "<https://a.b/".repeat(3_000)),
            ("joined emoji", "👨\u{200d}".repeat(9_000)),
        ] {
            let started = Instant::now();
            check(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let took = started.elapsed();
            assert!(took < Duration::from_secs(60), "{name}: {took:?}");
        }
        assert!(split(&"word & <word> ".repeat(200_000)).len() > 700);
    }

    #[test]
    fn an_answer_that_is_too_long_for_messages_is_a_file_with_its_first_words_and_headings() {
        let text = format!(
            "# Title\n\nIt <works> for @here.\n\n{}## End **now**\n",
            "## Part\n\nwords of it\n\n".repeat(2_000)
        );
        let [Piece::File { name, content, summary }] = &render(&text)[..] else { panic!("no file") };
        assert_eq!((name.as_str(), content), ("answer.md", &text));
        assert!(summary.contains("It &lt;works&gt; for @\u{2060}here.\n\n• Title\n    • Part\n"), "{summary}");
        assert!(summary.ends_with("headings more") && units(summary) <= MOST, "{summary}");
        let short = render(&format!("x {}", "y ".repeat(21_000)));
        assert!(
            matches!(&short[..], [Piece::File { summary, .. }] if summary.contains("x y y") && units(summary) <= MOST)
        );
    }

    #[test]
    fn nothing_is_posted_for_an_answer_without_content() {
        for nothing in ["", "  \n\n ", "\u{1b}", "```\n```", "&nbsp;"] {
            assert_eq!(render(nothing), [], "{nothing:?}");
        }
    }
}
