//! The blocks of Slack's Block Kit that an answer is made of, as Slack writes them in JSON.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::slack) enum Block {
    Markdown { text: String },
    Table { rows: Vec<Vec<Cell>>, column_settings: Vec<Column> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::slack) enum Cell {
    RichText { elements: Vec<RichLine> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::slack) enum RichLine {
    RichTextSection { elements: Vec<Run> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::slack) enum Run {
    Text {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        style: Option<Style>,
    },
    Link {
        url: String,
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        style: Option<Style>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(in crate::slack) struct Style {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::slack) bold: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::slack) italic: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::slack) strike: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::slack) code: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::slack) enum Align {
    Left,
    Center,
    Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(in crate::slack) struct Column {
    pub(in crate::slack) align: Align,
    pub(in crate::slack) is_wrapped: bool,
}
