//! What Claude's hooks and transcript say.
//!
//! One fact has one source, or is told alike by both, so that nobody hears it twice: a prompt comes from both; a turn's end
//! by the hooks Stop and StopFailure, or, where a person broke it off and no hook fires, by the transcript's marker; what was
//! said only from the transcript, an API's error among it. The to-do list is told by TodoWrite as a whole, or, since 2.1, by
//! TaskCreate, whose result names the new task, and TaskUpdate. A Stop hook runs after the transcript holds the last words.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::failure;
use crate::model::text::first_line;
use crate::model::{Doing, Outcome, PullRequest, Todo, TodoState, Usage};
use crate::runtime::{Record, TodoChange};

/// How much of a tool's input is shown.
const DETAIL: usize = 200;

/// What stands in for the user where a person pressed Escape, with or without ` for tool use`.
const INTERRUPTED: &str = "[Request interrupted by user";

/// What the CLI itself writes in the user's name.
const NOT_A_PROMPT: [&str; 6] = [
    "<command-",
    "<local-command-",
    "<bash-",
    "<task-notification>",
    "<system-reminder>",
    "Caveat: The messages below",
];

/// What the CLI says in the model's name when nothing was asked.
const NOT_SAID: &str = "No response requested.";

#[derive(Deserialize)]
#[serde(tag = "hook_event_name")]
enum Hook {
    SessionStart {
        session_id: String,
        #[serde(default)]
        model: String,
    },
    UserPromptSubmit {
        prompt: String,
    },
    PermissionRequest {
        tool_name: String,
        #[serde(default)]
        tool_input: Value,
    },
    Notification {
        notification_type: Option<String>,
        message: String,
    },
    Stop {
        last_assistant_message: Option<String>,
    },
    StopFailure {
        last_assistant_message: Option<String>,
        error: Option<String>,
        /// Our hook's word for when it ran.
        fleet_at: Option<Timestamp>,
    },
    /// Its end is told by the transcript.
    PreCompact {
        trigger: String,
    },
    #[serde(other)]
    Other,
}

/// What stands in the place of `trigger` where somebody typed the command.
const BY_HAND: &str = "manual";

/// Models that hold a million tokens; others do where their name says so (`opus[1m]`).
const MILLION: [&str; 4] = ["claude-sonnet-5", "claude-opus-4-7", "claude-opus-4-8", "claude-fable-5"];

/// Tokens that fit into a model's context.
fn window(model: &str) -> u64 {
    let million = model.ends_with("[1m]") || MILLION.iter().any(|name| model.starts_with(name));
    if million { 1_000_000 } else { 200_000 }
}

/// A line of the hooks' spool: what Claude gave to the hook.
pub(super) fn hook(line: &str) -> Vec<Record> {
    let Ok(hook) = serde_json::from_str(line) else { return Vec::new() };
    let record = match hook {
        Hook::SessionStart { session_id, model } => {
            let window = (!model.is_empty()).then(|| window(&model));
            let measured =
                window.map(|window| Record::Measured { used: None, window: Some(window), limited_until: None });
            return std::iter::once(Record::Conversation { id: session_id }).chain(measured).collect();
        }
        Hook::UserPromptSubmit { prompt } => Record::Prompt { text: prompt },
        Hook::PermissionRequest { tool_name, tool_input } => {
            Record::Asked { question: question(&tool_name, &tool_input), run: run(&tool_input) }
        }
        // A permission's own notification comes six seconds after its request; being idle is no question.
        Hook::Notification { notification_type: Some(kind), message } if kind == "elicitation_dialog" => {
            Record::Asked { question: message, run: None }
        }
        Hook::Stop { last_assistant_message } => Record::TurnEnded {
            outcome: Outcome::Completed,
            last_words: last_assistant_message.and_then(|text| trimmed(&text)),
        },
        Hook::StopFailure { last_assistant_message, error, fleet_at } => {
            let last_words = last_assistant_message.and_then(|text| trimmed(&text));
            let blocked = failure::blocked(error.as_deref(), last_words.as_deref().unwrap_or_default(), fleet_at);
            let reason = last_words.clone().or(error).unwrap_or_else(|| "the model's API failed".into());
            Record::TurnEnded { outcome: Outcome::Failed { reason, blocked }, last_words }
        }
        Hook::PreCompact { trigger } if trigger == BY_HAND => Record::Compacting,
        Hook::Notification { .. } | Hook::PreCompact { .. } | Hook::Other => return Vec::new(),
    };
    vec![record]
}

/// What the tool would do, in full; none where the agent only asks for an answer.
fn run(input: &Value) -> Option<String> {
    if input["questions"].is_array() {
        return None;
    }
    let text = input["command"].as_str().or(input["plan"].as_str()).map(str::to_owned);
    text.or_else(|| Some(format!("{input:#}"))).filter(|_| !input.is_null())
}

fn question(tool: &str, input: &Value) -> String {
    let Some(questions) = input["questions"].as_array() else {
        return format!("may it use {tool}: {}", detail(input));
    };
    let texts = questions.iter().map(|question| {
        let labels: Vec<&str> = question["options"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|option| option["label"].as_str())
            .collect();
        format!("{} ({})", question["question"].as_str().unwrap_or_default(), labels.join(" / "))
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    is_sidechain: bool,
    #[serde(default)]
    is_meta: bool,
    #[serde(default)]
    is_compact_summary: bool,
    message: Option<Message>,
    attachment: Option<Attachment>,
    origin: Option<Origin>,
    compact_metadata: Option<Compaction>,
    #[serde(default)]
    tool_use_result: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compaction {
    post_tokens: Option<u64>,
}

/// What becomes of a text that is submitted while a turn runs. `dequeue` and `remove` name no text: what they take follows
/// as a prompt, or as an attachment.
#[derive(Deserialize)]
#[serde(tag = "operation", rename_all = "camelCase")]
enum QueueOperation {
    Enqueue {
        content: String,
    },
    PopAll {
        content: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Origin {
    kind: String,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "type")]
    kind: String,
    prompt: Option<Content>,
    origin: Option<Origin>,
}

#[derive(Deserialize)]
struct Message {
    id: Option<String>,
    model: Option<String>,
    content: Content,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Blocks(Vec<Block>),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        name: String,
        #[serde(default)]
        input: Value,
    },
    ToolResult {},
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the API's own names")]
struct Tokens {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    cache_creation_input_tokens: u64,
    #[serde(default)]
    cache_read_input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

/// A line of the transcript. What a sub-agent did is not the agent's own word.
pub(super) fn transcript(text: &str) -> Vec<Record> {
    let Ok(line) = serde_json::from_str::<Line>(text) else { return Vec::new() };
    if line.is_sidechain || line.is_meta || line.is_compact_summary {
        return Vec::new();
    }
    match (line.kind.as_str(), line.message, line.attachment) {
        ("user", Some(message), _) if message.content.is_tool_result() => tool_result(&line.tool_use_result),
        ("user", Some(message), _) if of_a_person(line.origin.as_ref()) => user(&message.content).into_iter().collect(),
        ("assistant", Some(message), _) => assistant(message),
        // A prompt that was typed while a tool ran and taken with the tool's result: no hook told of it.
        ("attachment", _, Some(Attachment { kind, prompt: Some(prompt), origin }))
            if kind == "queued_command" && of_a_person(origin.as_ref()) =>
        {
            user(&prompt).map(into_the_turn).into_iter().collect()
        }
        ("system", ..) => {
            line.compact_metadata.map(|done| Record::Compacted { left: done.post_tokens }).into_iter().collect()
        }
        ("queue-operation", ..) => queue_operation(text).into_iter().collect(),
        _ => Vec::new(),
    }
}

impl Content {
    fn is_tool_result(&self) -> bool {
        matches!(self, Self::Blocks(blocks) if blocks.iter().any(|block| matches!(block, Block::ToolResult {})))
    }
}

/// What the CLI itself keeps of a tool's result: a task that was created, or what a command printed.
fn tool_result(result: &Value) -> Vec<Record> {
    if let (Some(id), Some(subject)) = (result["task"]["id"].as_str(), result["task"]["subject"].as_str()) {
        let text = first_line(subject, DETAIL);
        return vec![Record::Todos(TodoChange::Added { id: id.to_owned(), text })];
    }
    let pull_requests = result["stdout"].as_str().map(PullRequest::all_in).unwrap_or_default();
    if pull_requests.is_empty() { Vec::new() } else { vec![Record::Printed { pull_requests }] }
}

/// What the call of a tool says. The tools of the to-do list are no work.
fn used(tool: String, input: &Value) -> Option<Record> {
    let doing = match tool.as_str() {
        "TodoWrite" => return todo_write(input).map(Record::Todos),
        "TaskUpdate" => return task_update(input).map(Record::Todos),
        "TaskCreate" | "TaskList" | "TaskGet" | "ToolSearch" => return None,
        "Read" | "NotebookRead" => Doing::Reading,
        "Grep" | "Glob" | "LS" => Doing::Searching,
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" => Doing::Editing,
        "Bash" | "PowerShell" => Doing::of_command(input["command"].as_str().unwrap_or_default()),
        "WebFetch" | "WebSearch" => Doing::Browsing,
        "Task" | "Agent" => Doing::Delegating,
        _ => Doing::Other,
    };
    Some(Record::UsedTool { detail: detail(input), tool, doing })
}

/// The state that a to-do list's tool names.
fn todo_state(name: &str) -> Option<TodoState> {
    match name {
        "pending" => Some(TodoState::Pending),
        "in_progress" => Some(TodoState::Active),
        "completed" => Some(TodoState::Done),
        _ => None,
    }
}

fn todo_write(input: &Value) -> Option<TodoChange> {
    let todo = |item: &Value| {
        let text = first_line(item["content"].as_str()?, DETAIL);
        Some(Todo { text, state: todo_state(item["status"].as_str()?)? })
    };
    Some(TodoChange::All(input["todos"].as_array()?.iter().filter_map(todo).collect()))
}

fn task_update(input: &Value) -> Option<TodoChange> {
    let id = input["taskId"].as_str()?.to_owned();
    let status = input["status"].as_str();
    if status == Some("deleted") {
        return Some(TodoChange::Removed { id });
    }
    let (text, state) = (input["subject"].as_str().map(|text| first_line(text, DETAIL)), status.and_then(todo_state));
    (text.is_some() || state.is_some()).then_some(TodoChange::Changed { id, text, state })
}

fn queue_operation(line: &str) -> Option<Record> {
    let by_a_person = |text: &String| !NOT_A_PROMPT.iter().any(|start| text.starts_with(start));
    match serde_json::from_str(line).ok()? {
        QueueOperation::Enqueue { content } => Some(content).filter(by_a_person).map(|text| Record::Queued { text }),
        QueueOperation::PopAll { content } => Some(content).filter(by_a_person).map(|text| Record::GivenBack { text }),
        QueueOperation::Other => None,
    }
}

/// The turn that runs goes on with it.
fn into_the_turn(record: Record) -> Record {
    match record {
        Record::Prompt { text } => Record::Taken { text },
        other => other,
    }
}

fn of_a_person(origin: Option<&Origin>) -> bool {
    origin.is_none_or(|origin| origin.kind == "human")
}

fn user(content: &Content) -> Option<Record> {
    let text = match content {
        Content::Text(text) => text.clone(),
        Content::Blocks(blocks) => {
            let texts = blocks
                .iter()
                .filter_map(|block| if let Block::Text { text } = block { Some(text.as_str()) } else { None });
            texts.collect::<Vec<_>>().join("\n")
        }
    };
    if text.starts_with(INTERRUPTED) {
        return Some(Record::TurnEnded { outcome: Outcome::Interrupted, last_words: None });
    }
    if text.is_empty() || NOT_A_PROMPT.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    Some(Record::Prompt { text })
}

/// The cost comes before the words, so that it is known when the last words close the turn.
fn assistant(message: Message) -> Vec<Record> {
    let synthetic = message.model.as_deref() == Some("<synthetic>");
    let cost = message.id.zip(message.usage).filter(|_| !synthetic);
    let cost = cost.map(|(message, tokens)| Record::Usage {
        message,
        usage: Usage {
            input: tokens
                .input_tokens
                .saturating_add(tokens.cache_creation_input_tokens)
                .saturating_add(tokens.cache_read_input_tokens),
            output: tokens.output_tokens,
        },
    });
    let blocks = match message.content {
        Content::Text(text) => vec![Block::Text { text }],
        Content::Blocks(blocks) => blocks,
    };
    let said = blocks.into_iter().filter_map(|block| match block {
        Block::Text { text } if synthetic && text.trim() == NOT_SAID => None,
        Block::Text { text } => trimmed(&text).map(|text| Record::Said { text }),
        Block::ToolUse { name, input } => used(name, &input),
        Block::ToolResult {} | Block::Other => None,
    });
    cost.into_iter().chain(said).collect()
}

/// A hook's last words come without the white space around them, so what was said is told without it too.
fn trimmed(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The one thing of a tool's input that tells people most.
fn detail(input: &Value) -> String {
    const TELLING: [&str; 9] =
        ["command", "file_path", "notebook_path", "path", "pattern", "url", "query", "description", "prompt"];
    let named =
        TELLING.iter().find_map(|key| input[key].as_str()).or_else(|| input["questions"][0]["question"].as_str());
    let first = || input.as_object()?.values().find_map(Value::as_str);
    named.or_else(first).map(|text| first_line(text, DETAIL)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
