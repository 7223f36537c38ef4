//! What a line of Codex's rollout says.
//!
//! The rollout tells most things twice. Prompts and words are taken from `item_completed`, which holds only what people and
//! the agent said (`response_item` mixes in what the CLI writes in the user's name); tool calls from `response_item`, which
//! comes when a call begins; tokens from `token_usage_record`, one per answer of the model. The file is in order, so a turn's
//! end needs no last words to wait for.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::model::text::first_line;
use crate::model::{Blocked, Doing, Outcome, PullRequest, Todo, TodoState, Usage};
use crate::runtime::{Record, TodoChange};

/// How much of a tool's input is shown.
const DETAIL: usize = 200;

#[derive(Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
enum Line {
    SessionMeta(Session),
    ResponseItem(ResponseItem),
    EventMsg(Event),
    TokenUsageRecord(Tokens),
    Compacted {},
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Session {
    id: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseItem {
    FunctionCall {
        name: String,
        #[serde(default)]
        arguments: String,
    },
    CustomToolCall {
        name: String,
        #[serde(default)]
        input: String,
    },
    WebSearchCall {
        #[serde(default)]
        action: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    ItemCompleted {
        item: Item,
    },
    TaskComplete {
        error: Option<Failure>,
    },
    TurnAborted {},
    TokenCount {
        info: Option<TokenInfo>,
        rate_limits: Option<Limits>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
    #[serde(default)]
    codex_error_info: Value,
}

#[derive(Deserialize)]
struct TokenInfo {
    last_token_usage: Total,
    model_context_window: Option<u64>,
}

/// Right after a compaction only the total tells what is left.
#[derive(Deserialize)]
struct Total {
    total_tokens: u64,
}

/// What the account may use.
#[derive(Deserialize)]
struct Limits {
    primary: Option<Limit>,
    secondary: Option<Limit>,
}

#[derive(Deserialize)]
struct Limit {
    used_percent: f64,
    /// In seconds since 1970.
    resets_at: Option<i64>,
}

impl Limits {
    /// When everything that is used up now is there again.
    fn over_at(&self) -> Option<Timestamp> {
        let used_up =
            [&self.primary, &self.secondary].into_iter().flatten().filter(|limit| limit.used_percent >= 100.0);
        used_up.filter_map(|limit| Timestamp::from_second(limit.resets_at?).ok()).max()
    }
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Item {
    UserMessage {
        content: Vec<Part>,
    },
    AgentMessage {
        content: Vec<Part>,
    },
    CommandExecution {
        #[serde(default)]
        aggregated_output: String,
    },
    #[serde(other)]
    Other,
}

/// A piece of a message; a picture has no text.
#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    response_id: String,
    usage: Count,
}

#[derive(Deserialize)]
struct Count {
    /// Cached ones included.
    input_tokens: u64,
    output_tokens: u64,
}

pub(super) fn rollout(line: &str) -> Vec<Record> {
    let Ok(line) = serde_json::from_str(line) else { return Vec::new() };
    let record = match line {
        Line::SessionMeta(session) => Some(Record::Conversation { id: session.id }),
        Line::ResponseItem(item) => call(item),
        Line::EventMsg(event) => self::event(event),
        Line::TokenUsageRecord(tokens) => Some(Record::Usage {
            message: tokens.response_id,
            usage: Usage { input: tokens.usage.input_tokens, output: tokens.usage.output_tokens },
        }),
        Line::Compacted {} => Some(Record::Compacted { left: None }),
        Line::Other => None,
    };
    record.into_iter().collect()
}

fn event(event: Event) -> Option<Record> {
    let outcome = match event {
        Event::ItemCompleted { item: Item::UserMessage { content } } => {
            // What comes while a turn runs steers that turn.
            return text(content).map(|text| Record::Taken { text });
        }
        Event::ItemCompleted { item: Item::AgentMessage { content } } => {
            return text(content)
                .map(|text| Record::Said { text: text.trim().to_owned() })
                .filter(|said| *said != Record::Said { text: String::new() });
        }
        Event::ItemCompleted { item: Item::CommandExecution { aggregated_output } } => {
            let pull_requests = PullRequest::all_in(&aggregated_output);
            return (!pull_requests.is_empty()).then_some(Record::Printed { pull_requests });
        }
        Event::TaskComplete { error: None } => Outcome::Completed,
        Event::TaskComplete { error: Some(failure) } => {
            let blocked = blocked(&failure);
            Outcome::Failed { reason: failure_text(failure.message), blocked }
        }
        Event::TokenCount { info, rate_limits } => {
            let (used, window) =
                info.map_or((None, None), |info| (Some(info.last_token_usage.total_tokens), info.model_context_window));
            let limited_until = rate_limits.as_ref().and_then(Limits::over_at);
            return Some(Record::Measured { used, window, limited_until });
        }
        Event::TurnAborted {} => Outcome::Interrupted,
        Event::ItemCompleted { item: Item::Other } | Event::Other => return None,
    };
    Some(Record::TurnEnded { outcome, last_words: None })
}

fn text(parts: Vec<Part>) -> Option<String> {
    let texts: Vec<String> = parts.into_iter().filter_map(|part| part.text).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// What must change before the agent can go on: by Codex's own name for the failure, or the API's status. When a used-up
/// limit ends stands in the `token_count` before it.
fn blocked(failure: &Failure) -> Option<Blocked> {
    match failure.codex_error_info.as_str() {
        Some("usage_limit_exceeded" | "quota_exceeded") => return Some(Blocked::UsageLimit { until: None }),
        Some("context_window_exceeded") => return Some(Blocked::ContextFull),
        Some("server_overloaded") => return Some(Blocked::RateLimited { until: None }),
        Some("unauthorized") => return Some(Blocked::Login { what: failure.message.clone() }),
        _ => {}
    }
    let named = failure.codex_error_info.as_object()?.values().next()?;
    match named["http_status_code"].as_u64()? {
        401 | 403 => Some(Blocked::Login { what: failure.message.clone() }),
        429 | 503 | 529 => Some(Blocked::RateLimited { until: None }),
        _ => None,
    }
}

/// The API's own words, taken out of the JSON that Codex passes on where it does.
fn failure_text(message: String) -> String {
    let inner = serde_json::from_str::<Value>(&message).ok();
    inner.and_then(|body| body["error"]["message"].as_str().map(str::to_owned)).unwrap_or(message)
}

fn call(item: ResponseItem) -> Option<Record> {
    let (tool, detail) = match item {
        ResponseItem::FunctionCall { name, arguments } if name == "update_plan" => {
            return plan(&arguments).map(Record::Todos);
        }
        ResponseItem::FunctionCall { name, arguments } => (name, telling(&arguments)),
        ResponseItem::CustomToolCall { name, input } => (name, patched(&input).unwrap_or(first_line(&input, DETAIL))),
        ResponseItem::WebSearchCall { action } => {
            ("web_search".to_owned(), first_line(action["query"].as_str().unwrap_or_default(), DETAIL))
        }
        ResponseItem::Other => return None,
    };
    let doing = match tool.as_str() {
        "exec_command" | "shell_command" | "shell" | "local_shell" => Doing::of_command(&detail),
        "apply_patch" => Doing::Editing,
        "view_image" | "read_file" => Doing::Reading,
        "grep_files" | "list_dir" => Doing::Searching,
        "web_search" => Doing::Browsing,
        _ => Doing::Other,
    };
    Some(Record::UsedTool { tool, detail, doing })
}

/// The first file that a patch names.
fn patched(patch: &str) -> Option<String> {
    let file = |line: &str| {
        let named = ["*** Update File: ", "*** Add File: ", "*** Delete File: "];
        named.iter().find_map(|start| line.strip_prefix(start)).map(|file| first_line(file, DETAIL))
    };
    patch.lines().find_map(file)
}

/// The to-do list, which `update_plan` tells as a whole.
fn plan(arguments: &str) -> Option<TodoChange> {
    let arguments: Value = serde_json::from_str(arguments).ok()?;
    let todo = |item: &Value| {
        let state = match item["status"].as_str()? {
            "pending" => TodoState::Pending,
            "in_progress" => TodoState::Active,
            "completed" => TodoState::Done,
            _ => return None,
        };
        Some(Todo { text: first_line(item["step"].as_str()?, DETAIL), state })
    };
    Some(TodoChange::All(arguments["plan"].as_array()?.iter().filter_map(todo).collect()))
}

/// The one thing of a call's arguments that tells people most: its command, else its first text, else all of it.
fn telling(arguments: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(arguments) else { return first_line(arguments, DETAIL) };
    let command = value["cmd"].as_str().or(value["command"].as_str());
    let first = || value.as_object()?.values().find_map(Value::as_str);
    first_line(command.or_else(first).unwrap_or(arguments), DETAIL)
}

#[cfg(test)]
mod tests;
