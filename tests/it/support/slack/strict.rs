//! What the real Slack rejects in a message, and what is careless though it takes it: pure checks over the arguments.

use serde_json::Value;

/// The arguments of each method that posts or reads messages; any other is a violation.
const ARGUMENTS: [(&str, &[&str]); 12] = [
    (
        "chat.postMessage",
        &["channel", "text", "blocks", "thread_ts", "metadata", "unfurl_links", "unfurl_media", "mrkdwn"],
    ),
    ("chat.update", &["channel", "ts", "text", "blocks", "metadata"]),
    ("chat.postEphemeral", &["channel", "user", "text", "blocks", "thread_ts"]),
    ("reactions.add", &["channel", "timestamp", "name"]),
    ("reactions.remove", &["channel", "timestamp", "name"]),
    ("conversations.history", &["channel", "cursor", "limit", "oldest", "latest", "inclusive", "include_all_metadata"]),
    (
        "conversations.replies",
        &["channel", "ts", "cursor", "limit", "oldest", "latest", "inclusive", "include_all_metadata"],
    ),
    ("conversations.list", &["cursor", "limit", "types", "exclude_archived"]),
    ("assistant.threads.setStatus", &["channel_id", "thread_ts", "status", "loading_messages"]),
    ("files.getUploadURLExternal", &["filename", "length", "snippet_type", "alt_txt"]),
    ("files.completeUploadExternal", &["files", "channel_id", "thread_ts", "initial_comment", "blocks"]),
    ("users.info", &["user", "include_locale"]),
];

/// What is wrong with the arguments, whatever the method does with them.
pub(super) fn careless(method: &str, arguments: &Value) -> Option<String> {
    let known = ARGUMENTS.iter().find(|(name, _)| *name == method).map(|(_, known)| *known);
    let given = arguments.as_object().into_iter().flatten();
    if let Some((name, _)) = given.clone().find(|(name, _)| known.is_some_and(|known| !known.contains(&name.as_str())))
    {
        return Some(format!("the argument {name} is unknown"));
    }
    let times = given.filter(|(name, _)| ["ts", "thread_ts", "timestamp", "oldest", "latest"].contains(&name.as_str()));
    if let Some((name, value)) = times.into_iter().find(|(_, value)| !value.as_str().is_some_and(is_ts)) {
        return Some(format!("{name} is no name of a message: {value}"));
    }
    let texts = ["text", "initial_comment"].into_iter().filter_map(|name| arguments[name].as_str());
    let in_blocks = arguments["blocks"].as_array().into_iter().flatten().flat_map(mrkdwn);
    texts.chain(in_blocks).find_map(unescaped)
}

fn is_ts(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(seconds, micros)| digits(seconds) && digits(micros) && micros.len() == 6)
}

/// The texts of a block in which Slack's own markup means something.
fn mrkdwn(block: &Value) -> Vec<&str> {
    let elements = block["elements"].as_array().into_iter().flatten();
    let texts = std::iter::once(&block["text"]).chain(elements);
    texts.filter(|text| text["type"] == "mrkdwn").filter_map(|text| text["text"].as_str()).collect()
}

/// What Slack would take for a ping or for markup that nobody meant.
fn unescaped(text: &str) -> Option<String> {
    for (at, _) in text.match_indices('<') {
        let rest = &text[at + 1..];
        if ["!channel", "!here", "!everyone", "!subteam"].iter().any(|ping| rest.starts_with(ping)) {
            return Some(format!("it pings: {text}"));
        }
        let meant = ["!date^", "#", "@", "http://", "https://", "mailto:"].iter().any(|start| rest.starts_with(start));
        if !meant || !rest.contains('>') {
            return Some(format!("a < is not escaped: {text}"));
        }
    }
    let bare = text.match_indices('&').find(|(at, _)| {
        let rest = &text[at + 1..];
        !["amp;", "lt;", "gt;"].iter().any(|name| rest.starts_with(name)) && !in_link(text, *at)
    });
    bare.map(|_| format!("an & is not escaped: {text}"))
}

/// Whether `at` lies within the address of a link.
fn in_link(text: &str, at: usize) -> bool {
    text[..at].rfind('<').is_some_and(|open| !text[open..at].contains(['>', '|']))
}

/// Whether Slack takes the blocks of a message, in its own words where it does not.
pub(super) fn blocks(blocks: &Value) -> Result<(), String> {
    let blocks = blocks.as_array().ok_or("blocks is no array")?;
    if blocks.len() > 50 {
        return Err(format!("{} blocks", blocks.len()));
    }
    let markdown: usize =
        blocks.iter().filter(|block| block["type"] == "markdown").map(|block| units(&block["text"])).sum();
    if markdown > 12_000 {
        return Err(format!("{markdown} characters of markdown"));
    }
    if blocks.iter().filter(|block| block["type"] == "table").count() > 1 {
        return Err("two tables".to_owned());
    }
    blocks.iter().enumerate().try_for_each(|(at, block)| self::block(block).map_err(|why| format!("block {at}: {why}")))
}

fn units(text: &Value) -> usize {
    text.as_str().map_or(0, |text| text.encode_utf16().count())
}

fn only(block: &Value, fields: &[&str]) -> Result<(), String> {
    let unknown = block.as_object().into_iter().flatten().find(|(name, _)| !fields.contains(&name.as_str()));
    unknown.map_or(Ok(()), |(name, _)| Err(format!("the field {name} is unknown")))
}

fn text(value: &Value, kinds: &[&str], most: usize) -> Result<(), String> {
    only(value, &["type", "text", "emoji", "verbatim"])?;
    let kind = value["type"].as_str().unwrap_or_default();
    if !kinds.contains(&kind) {
        return Err(format!("a text of the type {kind:?}"));
    }
    match units(&value["text"]) {
        0 => Err("an empty text".to_owned()),
        long if long > most => Err(format!("{long} characters of {most}")),
        _ => Ok(()),
    }
}

fn block(block: &Value) -> Result<(), String> {
    let elements = || block["elements"].as_array().filter(|elements| !elements.is_empty()).ok_or("no elements");
    match block["type"].as_str().unwrap_or_default() {
        "markdown" => {
            only(block, &["type", "block_id", "text"])?;
            if units(&block["text"]) == 0 { Err("an empty markdown".to_owned()) } else { Ok(()) }
        }
        "section" => {
            only(block, &["type", "block_id", "text", "fields", "accessory", "expand"])?;
            text(&block["text"], &["mrkdwn", "plain_text"], 3_000)
        }
        "header" => {
            only(block, &["type", "block_id", "text"])?;
            text(&block["text"], &["plain_text"], 150)
        }
        "divider" => only(block, &["type", "block_id"]),
        "context" => {
            only(block, &["type", "block_id", "elements"])?;
            let elements = elements()?;
            if elements.len() > 10 {
                return Err(format!("{} elements", elements.len()));
            }
            elements.iter().try_for_each(|element| text(element, &["mrkdwn", "plain_text"], 2_000))
        }
        "actions" => {
            only(block, &["type", "block_id", "elements"])?;
            let elements = elements()?;
            if elements.len() > 25 {
                return Err(format!("{} elements", elements.len()));
            }
            let ids: Vec<_> = elements.iter().map(|element| element["action_id"].to_string()).collect();
            if (1..ids.len()).any(|at| ids[..at].contains(&ids[at])) {
                return Err("two elements with one action_id".to_owned());
            }
            elements.iter().try_for_each(button)
        }
        "table" => table(block),
        other => Err(format!("the type {other:?} is unknown")),
    }
}

fn button(button: &Value) -> Result<(), String> {
    if button["type"] != "button" {
        return Err(format!("an element of the type {}", button["type"]));
    }
    only(button, &["type", "action_id", "text", "value", "style", "confirm", "url", "accessibility_label"])?;
    text(&button["text"], &["plain_text"], 75)?;
    if units(&button["action_id"]) > 255 || units(&button["value"]) > 2_000 {
        return Err("a button's id or value is too long".to_owned());
    }
    if let Some(confirm) = button.get("confirm") {
        only(confirm, &["title", "text", "confirm", "deny", "style"])?;
        text(&confirm["title"], &["plain_text"], 100)?;
        text(&confirm["text"], &["plain_text", "mrkdwn"], 300)?;
        text(&confirm["confirm"], &["plain_text"], 30)?;
        text(&confirm["deny"], &["plain_text"], 30)?;
    }
    match button.get("style").map(|style| style.as_str().unwrap_or_default()) {
        None | Some("primary" | "danger") => Ok(()),
        Some(other) => Err(format!("the style {other:?}")),
    }
}

fn table(table: &Value) -> Result<(), String> {
    only(table, &["type", "block_id", "rows", "column_settings"])?;
    let rows = table["rows"].as_array().filter(|rows| !rows.is_empty()).ok_or("a table without rows")?;
    if rows.len() > 100 {
        return Err(format!("{} rows", rows.len()));
    }
    let widths: Vec<usize> = rows.iter().map(|row| row.as_array().map_or(0, Vec::len)).collect();
    if widths.iter().any(|width| *width == 0 || *width > 20 || *width != widths[0]) {
        return Err(format!("rows of {widths:?} cells"));
    }
    let cells = rows.iter().filter_map(Value::as_array).flatten();
    let mut kinds = cells.map(|cell| cell["type"].as_str().unwrap_or_default());
    kinds.find(|kind| !["rich_text", "raw_text"].contains(kind)).map_or(Ok(()), |kind| Err(format!("a cell {kind:?}")))
}

#[test]
fn the_fake_rejects_what_slack_rejects() {
    use serde_json::json;
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    assert_eq!(blocks(&json!([section("hi"), {"type": "divider"}])), Ok(()));
    for (bad, why) in [
        (json!([section(&"x".repeat(3_001))]), "3001 characters"),
        (json!([section("")]), "empty"),
        (json!(vec![json!({"type": "divider"}); 51]), "51 blocks"),
        (json!([{"type": "divider", "text": "x"}]), "unknown"),
        (json!([{"type": "markdown", "text": "x".repeat(12_001)}]), "12001"),
        (json!([{"type": "actions", "elements": []}]), "no elements"),
        (json!([{"type": "table", "rows": [[{"type": "raw_text", "text": "a"}], []]}]), "cells"),
        (json!([{"type": "poll"}]), "unknown"),
    ] {
        assert!(blocks(&bad).unwrap_err().contains(why), "{bad}");
    }
    for (text, fine) in [
        ("a &amp; b <https://x.org/?a=1&b=2|x> <!date^0^{date}|d>", true),
        ("<!here> hi", false),
        ("1 < 2", false),
        ("a & b", false),
    ] {
        let arguments = json!({"channel": "C1", "text": text});
        assert_eq!(careless("chat.postMessage", &arguments).is_none(), fine, "{text}");
    }
    assert!(careless("chat.update", &json!({"ts": "1.0"})).is_some());
    assert!(careless("chat.update", &json!({"as_user": true})).is_some());
}
