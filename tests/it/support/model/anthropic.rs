//! Anthropic Messages, as far as Claude Code uses it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{
    Checked, Message, Refusal, Reply, Request, Shared, TOKENS, event, in_seconds, reply_to, stream, tokens_read,
};

/// Text blocks that begin so are the CLI's own, not a person's.
const ASIDES: [&str; 3] = ["<system-reminder>", "<local-command", "<command-"];

pub(super) fn messages(shared: Arc<Shared>, headers: &HeaderMap, body: &Bytes) -> Response {
    let request = match super::parsed(headers, body).and_then(|body| Ok((check(headers, &body)?, body))) {
        Ok(checked) => checked,
        Err(why) => {
            shared.seen().violations.push(why.clone());
            return refuse(400, &why);
        }
    };
    let (request, body) = request;
    let streamed = body["stream"].as_bool() == Some(true);
    // Titles and summaries come without tools; a turn always offers some.
    let reply = if request.tools.is_empty() {
        shared.seen().side_requests += 1;
        Reply::Text { chunks: vec![json!({"title": "a fake title", "isNewTopic": true}).to_string()], gate: None }
    } else {
        let light = shared.light;
        shared.seen().keep(&request, light);
        reply_to(&request)
    };
    if let Reply::Fail { status } = reply {
        return refuse(status, "the fake model was told to fail");
    }
    if let Reply::Refuse(refusal) = reply {
        return refuse_account(&refusal);
    }
    let read = tokens_read(&request);
    let id = {
        let mut seen = shared.seen();
        seen.answers += 1;
        format!("msg_{:04}", seen.answers)
    };
    if streamed { answer(shared, id, request.model, reply, read) } else { whole(&id, &request.model, &reply, read) }
}

fn refuse(status: u16, why: &str) -> Response {
    let kind = match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let body = json!({"type": "error", "error": {"type": kind, "message": why}, "request_id": "req_fake"});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

/// The headers are those by which Claude Code tells a used-up allowance from a moment's refusal.
fn refuse_account(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Full => refuse(400, "prompt is too long: 215000 tokens > 200000 maximum"),
        Refusal::Expired => {
            refuse(401, "OAuth token has expired. Please obtain a new token or refresh your existing token.")
        }
        Refusal::Limit { seconds } => {
            let mut response =
                refuse(429, "This request would exceed your account's rate limit. Please try again later.");
            let reset = in_seconds(*seconds).to_string();
            for (name, value) in [
                ("status", "rejected"),
                ("reset", &reset),
                ("representative-claim", "five_hour"),
                ("5h-reset", &reset),
                ("5h-utilization", "1.0"),
                ("overage-status", "rejected"),
                ("overage-disabled-reason", "org_level_disabled"),
            ] {
                let name = format!("anthropic-ratelimit-unified-{name}");
                response.headers_mut().insert(
                    axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    axum::http::HeaderValue::from_str(value).unwrap(),
                );
            }
            response
        }
    }
}

fn check(headers: &HeaderMap, body: &Value) -> Checked<Request> {
    if !headers.contains_key("anthropic-version") {
        return Err("no anthropic-version header".into());
    }
    if !headers.contains_key("x-api-key") && !headers.contains_key("authorization") {
        return Err("no x-api-key and no authorization header".into());
    }
    let model = body["model"].as_str().filter(|name| !name.is_empty()).ok_or("no model")?.to_owned();
    if body["max_tokens"].as_u64().is_none_or(|tokens| tokens == 0) {
        return Err("max_tokens is not a positive number".into());
    }
    let raw = body["messages"].as_array().filter(|list| !list.is_empty()).ok_or("no messages")?;
    if raw[0]["role"] != "user" {
        return Err("the first message is not the user's".into());
    }
    let messages = raw.iter().map(message).collect::<Checked<Vec<_>>>()?;
    check_tool_results(raw)?;
    let tools = body["tools"].as_array().into_iter().flatten();
    let tools = tools.map(|tool| Ok(tool["name"].as_str().ok_or("a tool without a name")?.to_owned()));
    Ok(Request { model, messages, tools: tools.collect::<Checked<_>>()? })
}

fn message(raw: &Value) -> Checked<Message> {
    let role = raw["role"].as_str().ok_or("a message without a role")?;
    if !["user", "assistant", "system"].contains(&role) {
        return Err(format!("role {role:?}"));
    }
    let mut message = Message { role: role.to_owned(), texts: Vec::new(), tool_result: false };
    if let Some(text) = raw["content"].as_str() {
        message.texts.push(text.to_owned());
        return Ok(message);
    }
    let blocks = raw["content"].as_array().filter(|list| !list.is_empty()).ok_or("a message without content")?;
    for block in blocks {
        match block["type"].as_str().unwrap_or_default() {
            "text" => message
                .texts
                .push(block["text"].as_str().filter(|text| !text.is_empty()).ok_or("an empty text block")?.to_owned()),
            "tool_result" => message.tool_result = true,
            "tool_use" | "thinking" | "redacted_thinking" | "image" | "document" => {}
            other => return Err(format!("a content block of type {other:?}")),
        }
    }
    message.texts.retain(|text| !ASIDES.iter().any(|aside| text.starts_with(aside)));
    Ok(message)
}

/// Each tool result must answer a call in the message before it, and each call must be answered.
fn check_tool_results(messages: &[Value]) -> Checked<()> {
    let ids = |message: &Value, kind: &str, key: &str| -> Vec<String> {
        let blocks = message["content"].as_array().cloned().unwrap_or_default();
        blocks
            .iter()
            .filter(|block| block["type"] == kind)
            .filter_map(|block| block[key].as_str().map(str::to_owned))
            .collect()
    };
    let conversation: Vec<&Value> = messages.iter().filter(|message| message["role"] != "system").collect();
    for pair in conversation.windows(2) {
        let (asked, answered) = (ids(pair[0], "tool_use", "id"), ids(pair[1], "tool_result", "tool_use_id"));
        if asked != answered {
            return Err(format!("tool calls {asked:?} are answered by {answered:?}"));
        }
    }
    Ok(())
}

fn usage(read: u64) -> Value {
    json!({"input_tokens": read, "cache_read_input_tokens": TOKENS.1, "cache_creation_input_tokens": TOKENS.2, "output_tokens": TOKENS.3})
}

fn tool_use(reply: &Reply, id: &str) -> Option<Value> {
    let (name, input) = match reply {
        Reply::Tool { command, .. } => ("Bash", json!({"command": command, "description": "run it"})),
        Reply::Question => (
            "AskUserQuestion",
            json!({"questions": [{"question": "Which colour?", "header": "Colour", "multiSelect": false,
                "options": [{"label": "Red", "description": "like fire"}, {"label": "Blue", "description": "like the sea"}]}]}),
        ),
        Reply::Call { name, input } => (*name, input.clone()),
        Reply::Text { .. } | Reply::Fail { .. } | Reply::Refuse(_) => return None,
    };
    Some(json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": name, "input": input}))
}

fn whole(id: &str, model: &str, reply: &Reply, read: u64) -> Response {
    let (content, stop) = match (tool_use(reply, id), reply) {
        (Some(block), _) => (block, "tool_use"),
        (None, Reply::Text { chunks, .. }) => (json!({"type": "text", "text": chunks.concat()}), "end_turn"),
        (None, _) => unreachable!("refused before"),
    };
    let body = json!({"id": id, "type": "message", "role": "assistant", "model": model, "content": [content], "stop_reason": stop,
        "stop_sequence": null, "usage": usage(read)});
    Json(body).into_response()
}

fn answer(shared: Arc<Shared>, id: String, model: String, reply: Reply, read: u64) -> Response {
    stream(move |sender| async move {
        let say = async |body: Value| sender.send(event(&body)).await.is_ok();
        say(json!({"type": "message_start", "message": {"id": id, "type": "message", "role": "assistant", "model": model,
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage(read)}}))
        .await;
        let call = tool_use(&reply, &id);
        if let Reply::Text { chunks, gate } = &reply {
            say(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}))
                .await;
            for chunk in chunks {
                shared.pass(gate.as_deref()).await;
                say(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": chunk}}))
                    .await;
            }
        } else if let Some(call) = &call {
            let input = call["input"].to_string();
            say(json!({"type": "content_block_start", "index": 0, "content_block":
                {"type": "tool_use", "id": call["id"], "name": call["name"], "input": {}}}))
            .await;
            say(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": input}})).await;
        }
        say(json!({"type": "content_block_stop", "index": 0})).await;
        let stop = if call.is_some() { "tool_use" } else { "end_turn" };
        say(json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": usage(read)}))
            .await;
        say(json!({"type": "message_stop"})).await;
    })
}
