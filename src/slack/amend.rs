//! What Slack will not have as it is → what is said instead. Pure.
//!
//! Nothing said is lost because it is too long or because Slack knows a block of it no more; a message that a person deleted
//! is not forced on them again and again.

use super::markdown::{escape, split};
use super::split::units;
use crate::model::blocks::{Block, Cell, RichLine, Run, Text};
use crate::store::slack::{OutboxAction, OutboxRow, Said};

/// What is done about a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remedy {
    /// These are said instead, in order; at least one.
    Say(Vec<OutboxAction>),
    /// The message that was to be replaced is gone: it is posted anew, if that was not done before.
    Anew,
}

/// The shortest text that is still cut: one that is shorter and called too long is refused for another reason.
const SHORTEST: usize = 200;

/// What is done about Slack's refusal of a row; none where nothing helps.
pub(super) fn remedy(row: &OutboxRow, code: &str) -> Option<Remedy> {
    let said = row.action.said()?;
    match code {
        "message_not_found" if row.action.key().is_some() && row.posted.is_some() => Some(Remedy::Anew),
        "invalid_blocks"
        | "invalid_blocks_format"
        | "msg_blocks_too_long"
        | "markdown_text_too_long"
        | "block_mismatch"
            if !said.blocks.is_empty() =>
        {
            let shown: Vec<String> = said.blocks.iter().filter_map(plain).collect();
            let text = if shown.is_empty() { said.text.clone() } else { shown.join("\n\n") };
            Some(Remedy::Say(in_pieces(&row.action, split(&text))))
        }
        "msg_too_long" if !said.blocks.is_empty() => {
            let text = halves(&said.text).into_iter().next().unwrap_or_default();
            Some(Remedy::Say(vec![row.action.saying(Said { text, blocks: said.blocks.clone() })]))
                .filter(|_| units(&said.text) > SHORTEST)
        }
        "msg_too_long" if units(&said.text) > SHORTEST => Some(Remedy::Say(in_pieces(&row.action, halves(&said.text)))),
        _ => None,
    }
}

/// The action with the first piece, and the other pieces behind it where they can stand there.
fn in_pieces(action: &OutboxAction, pieces: Vec<String>) -> Vec<OutboxAction> {
    let mut pieces = pieces.into_iter();
    let first = pieces.next().unwrap_or_default();
    let rest: Vec<String> = pieces.collect();
    match action {
        OutboxAction::EditRoot { .. } | OutboxAction::Keyed { .. } if !rest.is_empty() => {
            vec![action.saying(Said::text(format!("{first}…")))]
        }
        OutboxAction::Whisper { .. } => {
            std::iter::once(first).chain(rest).map(|text| action.saying(Said::text(text))).collect()
        }
        _ => {
            let replies = rest.into_iter().map(|text| OutboxAction::Reply { said: Said::text(text) });
            std::iter::once(action.saying(Said::text(first))).chain(replies).collect()
        }
    }
}

/// The text in pieces: as long as one may be, or where it was short enough, two of half its length.
fn halves(text: &str) -> Vec<String> {
    let pieces = split(text);
    if pieces.len() > 1 {
        return pieces;
    }
    let middle = text.len() / 2;
    let at = text.char_indices().map(|(at, _)| at).filter(|at| *at >= middle);
    let cut = at.clone().find(|at| text[*at..].starts_with(['\n', ' '])).or_else(|| at.clone().next());
    let (head, tail) = text.split_at(cut.unwrap_or(middle));
    [head, tail].into_iter().map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// What a block shows, as mrkdwn.
fn plain(block: &Block) -> Option<String> {
    let text = |text: &Text| match text {
        Text::PlainText { text } => escape(text),
        Text::Mrkdwn { text } => text.clone(),
    };
    match block {
        Block::Markdown { text } => Some(escape(text)),
        Block::Section { text: shown } | Block::Header { text: shown } => Some(text(shown)),
        Block::Context { elements } => Some(elements.iter().map(text).collect::<Vec<_>>().join(" ")),
        Block::Table { rows, .. } => {
            let line = |row: &Vec<Cell>| row.iter().map(cell).collect::<Vec<_>>().join(" | ");
            Some(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        Block::Divider | Block::Actions { .. } => None,
    }
}

fn cell(cell: &Cell) -> String {
    let Cell::RichText { elements } = cell;
    let line = |line: &RichLine| {
        let RichLine::RichTextSection { elements } = line;
        let run = |run: &Run| match run {
            Run::Text { text, .. } | Run::Link { text, .. } => escape(text),
        };
        elements.iter().map(run).collect::<String>()
    };
    elements.iter().map(line).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::slack::OutboxState;

    fn row(action: OutboxAction, posted: Option<&str>) -> OutboxRow {
        OutboxRow {
            seq: 1,
            id: "id".into(),
            lane: "lane".into(),
            channel: "C1".into(),
            thread: Some("1.0".into()),
            posted: posted.map(str::to_owned),
            behind: false,
            action,
            state: OutboxState::Sending,
            since: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn texts(remedy: Option<Remedy>) -> Vec<String> {
        let Some(Remedy::Say(actions)) = remedy else { panic!("{remedy:?}") };
        actions.iter().map(|action| action.said().unwrap().text.clone()).collect()
    }

    #[test]
    fn an_answer_that_is_too_long_for_slack_is_cut_and_goes_on_and_not_a_word_of_it_is_lost() {
        let words: Vec<String> = (0..3_000).map(|number| format!("w{number}")).collect();
        for from in ["open", "reply"] {
            let said = Said::text(words.join(" "));
            let action = if from == "open" { OutboxAction::Open { said } } else { OutboxAction::Reply { said } };
            let pieces = texts(remedy(&row(action, None), "msg_too_long"));
            assert!(pieces.len() > 2);
            assert_eq!(pieces.join(" "), words.join(" "));
        }
        let pieces =
            texts(remedy(&row(OutboxAction::Reply { said: Said::text(words[..600].join(" ")) }, None), "msg_too_long"));
        assert_eq!((pieces.len(), pieces.join(" ")), (2, words[..600].join(" ")), "cut though we held it short enough");
        let short = OutboxAction::Reply { said: Said::text("short") };
        assert_eq!(remedy(&row(short, None), "msg_too_long"), None);
    }

    #[test]
    fn what_can_only_be_one_message_stays_one() {
        let long = "word ".repeat(2_000);
        for action in [
            OutboxAction::EditRoot { said: Said::text(&long) },
            OutboxAction::Keyed { key: "k".into(), said: Said::text(&long) },
        ] {
            let pieces = texts(remedy(&row(action, Some("2.0")), "msg_too_long"));
            assert_eq!(pieces.len(), 1);
            assert!(pieces[0].ends_with('…'));
        }
    }

    #[test]
    fn a_block_that_slack_knows_no_more_becomes_text_once_and_calls_nobody() {
        let cell = Cell::RichText {
            elements: vec![RichLine::RichTextSection {
                elements: vec![Run::Text { text: "1 < 2".into(), style: None }],
            }],
        };
        let blocks = vec![
            Block::Header { text: Text::plain("A <!here> & B") },
            Block::Markdown { text: "**hi** <!channel>".into() },
            Block::Table { rows: vec![vec![cell.clone(), cell]], column_settings: Vec::new() },
        ];
        let action = OutboxAction::Reply { said: Said { text: "summary".into(), blocks } };
        let said = texts(remedy(&row(action, None), "invalid_blocks"));
        assert_eq!(said, ["A &lt;!here&gt; &amp; B\n\n**hi** &lt;!channel&gt;\n\n1 &lt; 2 | 1 &lt; 2"]);
        let plain = OutboxAction::Reply { said: Said::text("t") };
        assert_eq!(remedy(&row(plain, None), "invalid_blocks"), None, "once");
    }

    #[test]
    fn only_a_message_that_is_kept_up_is_posted_anew_after_a_person_deleted_it() {
        let keyed = OutboxAction::Keyed { key: "k".into(), said: Said::text("t") };
        assert_eq!(remedy(&row(keyed.clone(), Some("2.0")), "message_not_found"), Some(Remedy::Anew));
        assert_eq!(remedy(&row(keyed, None), "message_not_found"), None);
        let edit = OutboxAction::EditRoot { said: Said::text("t") };
        assert_eq!(remedy(&row(edit, None), "message_not_found"), None);
    }
}
