//! OpenAI Responses, as far as Codex uses it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{
    Checked, Message, Refusal, Reply, Request, Shared, TOKENS, event, in_seconds, reply_to, stream, tokens_read,
};

/// Texts that begin so are the CLI's own, not a person's.
const ASIDES: [&str; 5] = [
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md instructions",
    "<turn_aborted>",
    "<skills_instructions>",
];

pub(super) fn responses(shared: Arc<Shared>, headers: &HeaderMap, body: &Bytes) -> Response {
    let request = match super::parsed(headers, body).and_then(|body| check(headers, &body)) {
        Ok(request) => request,
        Err(why) => {
            shared.seen().violations.push(why.clone());
            return refuse(400, &why);
        }
    };
    let compacts = request.asks_for_a_summary();
    let reply = if request.tools.is_empty() && !compacts {
        shared.seen().side_requests += 1;
        Reply::Text { chunks: vec!["a fake title".to_owned()], gate: None }
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
    let id = {
        let mut seen = shared.seen();
        seen.answers += 1;
        format!("{:04}", seen.answers)
    };
    answer(shared, id, request, reply)
}

fn refuse(status: u16, why: &str) -> Response {
    let body = json!({"error": {"message": why, "type": "invalid_request_error", "param": null, "code": null}});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

/// As the API behind a subscription says it.
fn refuse_account(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Full => stream(|sender| async move {
            let error = json!({"code": "context_length_exceeded",
                "message": "Your input exceeds the context window of this model. Please adjust your input and try again."});
            let failed =
                json!({"type": "response.failed", "response": {"id": "resp_full", "status": "failed", "error": error}});
            sender.send(event(&failed)).await.ok();
        }),
        Refusal::Expired => {
            let message = "Your authentication token has expired. Please try signing in again.";
            let error =
                json!({"message": message, "type": "invalid_request_error", "code": "token_expired", "param": null});
            (StatusCode::UNAUTHORIZED, Json(json!({"error": error}))).into_response()
        }
        Refusal::Limit { seconds } => {
            let reset = in_seconds(*seconds);
            let error = json!({"type": "usage_limit_reached", "message": "The usage limit has been reached",
                "plan_type": "plus", "resets_at": reset, "resets_in_seconds": seconds});
            let headers = [
                ("x-codex-primary-used-percent", "100".to_owned()),
                ("x-codex-primary-window-minutes", "300".to_owned()),
                ("x-codex-primary-reset-at", reset.to_string()),
            ];
            (StatusCode::TOO_MANY_REQUESTS, headers, Json(json!({"error": error}))).into_response()
        }
    }
}

fn check(headers: &HeaderMap, body: &Value) -> Checked<Request> {
    if !headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"Bearer ")) {
        return Err("no bearer token".into());
    }
    let model = body["model"].as_str().filter(|name| !name.is_empty()).ok_or("no model")?.to_owned();
    if body["stream"] != true {
        return Err("not streamed: Codex always streams".into());
    }
    let items = body["input"].as_array().filter(|list| !list.is_empty()).ok_or("no input")?;
    check_calls(items)?;
    let messages = items.iter().filter_map(|item| message(item).transpose()).collect::<Checked<Vec<_>>>()?;
    let tools = body["tools"].as_array().into_iter().flatten();
    let tools =
        tools.map(|tool| tool["name"].as_str().or(tool["type"].as_str()).unwrap_or_default().to_owned()).collect();
    Ok(Request { model, messages, tools })
}

fn message(item: &Value) -> Checked<Option<Message>> {
    match item["type"].as_str().unwrap_or("message") {
        "message" => {
            let role = item["role"].as_str().ok_or("a message without a role")?.to_owned();
            let part = if role == "assistant" { "output_text" } else { "input_text" };
            let mut texts = Vec::new();
            for content in item["content"].as_array().ok_or("a message without content")? {
                match content["type"].as_str() {
                    Some("input_image") => {}
                    Some(kind) if kind == part => {
                        texts.push(content["text"].as_str().ok_or("a text without text")?.to_owned())
                    }
                    other => return Err(format!("a part {other:?} in a message of {role}")),
                }
            }
            texts.retain(|text| !ASIDES.iter().any(|aside| text.starts_with(aside)));
            Ok((!texts.is_empty()).then_some(Message { role, texts, tool_result: false }))
        }
        "function_call_output" | "custom_tool_call_output" => {
            Ok(Some(Message { role: "tool".into(), texts: Vec::new(), tool_result: true }))
        }
        _ => Ok(None),
    }
}

/// Each output must answer a call that stands before it, and each call must be answered.
fn check_calls(items: &[Value]) -> Checked<()> {
    let mut open: Vec<&str> = Vec::new();
    for item in items {
        let call = item["call_id"].as_str().unwrap_or_default();
        match item["type"].as_str().unwrap_or_default() {
            "function_call" | "custom_tool_call" => open.push(call),
            "function_call_output" | "custom_tool_call_output" => {
                let place = open.iter().position(|other| *other == call);
                open.remove(place.ok_or_else(|| format!("output of a call {call:?} that nobody made"))?);
            }
            _ => {}
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("calls without output: {open:?}")) }
}

/// A call of whichever shell tool this request offers.
fn shell_call(request: &Request, id: &str, command: &str, ask: bool) -> Value {
    let offered = |name: &str| request.tools.iter().any(|tool| tool == name);
    let (name, mut arguments) = if offered("exec_command") {
        ("exec_command", json!({"cmd": command}))
    } else if offered("shell_command") {
        ("shell_command", json!({"command": command}))
    } else {
        ("shell", json!({"command": ["bash", "-c", command]}))
    };
    if ask {
        arguments["sandbox_permissions"] = json!("require_escalated");
        arguments["justification"] = json!("the test wants to be asked");
    }
    json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": format!("call_{id}"), "name": name, "arguments": arguments.to_string()})
}

fn answer(shared: Arc<Shared>, id: String, request: Request, reply: Reply) -> Response {
    stream(move |sender| async move {
        let say = async |body: Value| sender.send(event(&body)).await.is_ok();
        let response = format!("resp_{id}");
        say(json!({"type": "response.created", "response": {"id": response}})).await;
        let item = match &reply {
            Reply::Tool { command, ask } => shell_call(&request, &id, command, *ask),
            Reply::Call { name, input } => json!({"type": "function_call", "id": format!("fc_{id}"),
                "call_id": format!("call_{id}"), "name": name, "arguments": input.to_string()}),
            Reply::Text { chunks, gate } => {
                let item = |text: &str| json!({"type": "message", "role": "assistant", "id": format!("msg_{id}"), "content": [{"type": "output_text", "text": text}]});
                say(json!({"type": "response.output_item.added", "output_index": 0, "item": item("")})).await;
                for chunk in chunks {
                    shared.pass(gate.as_deref()).await;
                    say(json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": format!("msg_{id}"), "delta": chunk})).await;
                }
                item(&chunks.concat())
            }
            Reply::Question | Reply::Fail { .. } | Reply::Refuse(_) => return,
        };
        say(json!({"type": "response.output_item.done", "output_index": 0, "item": item})).await;
        let read = tokens_read(&request) + TOKENS.1 + TOKENS.2;
        say(json!({"type": "response.completed", "response": {"id": response, "usage": {
            "input_tokens": read, "input_tokens_details": {"cached_tokens": TOKENS.1},
            "output_tokens": TOKENS.3, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": read + TOKENS.3}}}))
        .await;
    })
}
