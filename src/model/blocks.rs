//! The blocks that a message in Slack is made of, as Slack writes them in JSON (<https://docs.slack.dev/reference/block-kit>).
//! They are stored in the outbox in this very form, so a form that was once written must stay readable.

use serde::{Deserialize, Serialize};

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Standard Markdown; at most 12,000 characters in all such blocks of a message.
    Markdown {
        /// The Markdown.
        text: String,
    },
    /// A text of at most 3,000 characters.
    Section {
        /// The text.
        text: Text,
    },
    /// A title of at most 150 characters.
    Header {
        /// The title, plain.
        text: Text,
    },
    /// Small print: at most ten texts.
    Context {
        /// The texts.
        elements: Vec<Text>,
    },
    /// A line across.
    Divider,
    /// A table of at most 100 rows and 20 columns; one in a message.
    Table {
        /// Row by row.
        rows: Vec<Vec<Cell>>,
        /// Column by column; as many as there are columns, or fewer.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        column_settings: Vec<Column>,
    },
    /// Things to press, at most 25.
    Actions {
        /// Them.
        elements: Vec<Button>,
    },
}

/// A text object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Text {
    /// As it stands.
    PlainText {
        /// The text.
        text: String,
    },
    /// Slack's own markup.
    Mrkdwn {
        /// The text, escaped.
        text: String,
    },
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "button")]
pub struct Button {
    /// What it is to us, at most 255 characters; unique in its message.
    pub action_id: String,
    /// What it is for people, plain, at most 75 characters.
    pub text: Text,
    /// What a press tells us beside that, at most 2,000 characters.
    pub value: String,
    /// How it stands out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<ButtonStyle>,
    /// What is asked before the press counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

/// What a person is asked after a press; plain texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// At most 100 characters.
    pub title: Text,
    /// The question, at most 300 characters.
    pub text: Text,
    /// The word for yes, at most 30 characters.
    pub confirm: Text,
    /// The word for no, at most 30 characters.
    pub deny: Text,
}

/// How a button stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonStyle {
    /// Green.
    Primary,
    /// Red.
    Danger,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Cell {
    /// Text with styles and links.
    RichText {
        /// Its lines.
        elements: Vec<RichLine>,
    },
}

/// A line of rich text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RichLine {
    /// A run of texts.
    RichTextSection {
        /// They, in order.
        elements: Vec<Run>,
    },
}

/// A part of a line in one style.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Run {
    /// Text.
    Text {
        /// As it stands.
        text: String,
        /// Its style.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        style: Option<Style>,
    },
    /// A link.
    Link {
        /// Where to.
        url: String,
        /// What it says.
        text: String,
        /// Its style.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        style: Option<Style>,
    },
}

/// A style of rich text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Style {
    /// Bold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bold: bool,
    /// Italic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub italic: bool,
    /// Struck through.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strike: bool,
    /// Code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub code: bool,
}

/// How a column of a table is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Where its cells stand.
    pub align: Align,
    /// Whether long cells are wrapped.
    pub is_wrapped: bool,
}

/// Where a cell stands in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// At the left.
    Left,
    /// In the middle.
    Center,
    /// At the right.
    Right,
}

impl Text {
    /// As it stands.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::PlainText { text: text.into() }
    }

    /// Slack's own markup, escaped by the caller.
    pub fn mrkdwn(text: impl Into<String>) -> Self {
        Self::Mrkdwn { text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_block_is_what_slack_reads_and_stays_readable() {
        let button = |style| Button {
            action_id: "allow".into(),
            text: Text::plain("Allow"),
            value: "q1/1".into(),
            style,
            confirm: None,
        };
        let asked = Confirm {
            title: Text::plain("T"),
            text: Text::plain("Q"),
            confirm: Text::plain("Yes"),
            deny: Text::plain("No"),
        };
        let run = |text: &str| Run::Text { text: text.into(), style: Some(Style { bold: true, ..Style::default() }) };
        let cell =
            |text: &str| Cell::RichText { elements: vec![RichLine::RichTextSection { elements: vec![run(text)] }] };
        let rows = [
            (Block::Markdown { text: "**a**".into() }, r#"{"type":"markdown","text":"**a**"}"#),
            (
                Block::Section { text: Text::mrkdwn("*a*") },
                r#"{"type":"section","text":{"type":"mrkdwn","text":"*a*"}}"#,
            ),
            (Block::Header { text: Text::plain("a") }, r#"{"type":"header","text":{"type":"plain_text","text":"a"}}"#),
            (
                Block::Context { elements: vec![Text::mrkdwn("a")] },
                r#"{"type":"context","elements":[{"type":"mrkdwn","text":"a"}]}"#,
            ),
            (Block::Divider, r#"{"type":"divider"}"#),
            (
                Block::Table {
                    rows: vec![vec![cell("a")]],
                    column_settings: vec![Column { align: Align::Right, is_wrapped: true }],
                },
                r#"{"type":"table","rows":[[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"a","style":{"bold":true}}]}]}]],"column_settings":[{"align":"right","is_wrapped":true}]}"#,
            ),
            (
                Block::Actions { elements: vec![button(None), button(Some(ButtonStyle::Danger))] },
                r#"{"type":"actions","elements":[{"type":"button","action_id":"allow","text":{"type":"plain_text","text":"Allow"},"value":"q1/1"},{"type":"button","action_id":"allow","text":{"type":"plain_text","text":"Allow"},"value":"q1/1","style":"danger"}]}"#,
            ),
            (
                Block::Actions { elements: vec![Button { confirm: Some(asked), ..button(None) }] },
                r#"{"type":"actions","elements":[{"type":"button","action_id":"allow","text":{"type":"plain_text","text":"Allow"},"value":"q1/1","confirm":{"title":{"type":"plain_text","text":"T"},"text":{"type":"plain_text","text":"Q"},"confirm":{"type":"plain_text","text":"Yes"},"deny":{"type":"plain_text","text":"No"}}}]}"#,
            ),
        ];
        for (block, json) in rows {
            assert_eq!(serde_json::to_string(&block).unwrap(), json);
            assert_eq!(serde_json::from_str::<Block>(json).unwrap(), block);
        }
    }
}
