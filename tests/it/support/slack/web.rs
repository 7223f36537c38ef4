//! The Web API of the fake: tokens, content types, arguments, limits and errors as the real one has them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::limits::TooMany;
use super::{APP_TOKEN, BOT_TOKEN, BOT_USER, Script, Shared, World, lock, strict};

/// A file's content, for whoever shows the bot's token.
pub(super) async fn file(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut world = lock(&shared.world);
    world.calls.push(("file".to_owned(), Instant::now()));
    if let Some(Script::Status(status)) =
        world.scripts.get_mut("file").filter(|steps| !steps.is_empty()).map(|steps| steps.remove(0))
    {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token != Some(&format!("Bearer {BOT_TOKEN}")) {
        return (StatusCode::FOUND, [(header::LOCATION, "/login")]).into_response();
    }
    match world.files.get(&id) {
        Some(content) => content.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

type Answer = Result<Value, &'static str>;

pub(super) async fn call(
    State(shared): State<Shared>,
    Path(method): Path<String>,
    verb: Method,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    lock(&shared.world).calls.push((method.clone(), Instant::now()));
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while lock(&shared.world).held.contains(&method) {
        ticks.tick().await;
    }
    let scripted = {
        let mut world = lock(&shared.world);
        world.scripts.get_mut(&method).filter(|steps| !steps.is_empty()).map(|steps| steps.remove(0))
    };
    let channel = channel_of(&query, &body);
    let too_many = lock(&shared.world).limits.take(&method, &channel).err();
    if let Some(TooMany { wait, deaf }) = too_many {
        if deaf {
            lock(&shared.world).violation(format!("{method} was called before the {wait} s that Slack asked to wait"));
        }
        return told_to_wait(wait);
    }
    match scripted {
        Some(Script::RateLimit(seconds)) => {
            lock(&shared.world).limits.close(&method, &channel, seconds);
            return told_to_wait(seconds);
        }
        Some(Script::Error(error)) => return axum::Json(json!({"ok": false, "error": error})).into_response(),
        Some(Script::Status(status)) => return StatusCode::from_u16(status).unwrap().into_response(),
        Some(Script::LoseAnswer) | None => {}
    }
    if lock(&shared.world).broken.contains(&method) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let answer = perform(&shared, &method, &verb, &headers, &query, &body);
    if scripted == Some(Script::LoseAnswer) {
        assert!(answer.is_ok(), "the scripted call was refused: {answer:?}");
        // A status that a proxy gives when the server's answer did not reach it.
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let scopes = match method.as_str() {
        "apps.connections.open" => "connections:write".to_owned(),
        _ => lock(&shared.world).scopes.join(","),
    };
    let scopes = [("x-oauth-scopes", scopes)];
    match answer {
        Ok(mut answer) => {
            answer["ok"] = json!(true);
            (scopes, axum::Json(answer)).into_response()
        }
        // A token that is none has no scopes to tell.
        Err(error @ ("invalid_auth" | "not_authed" | "token_revoked")) => {
            axum::Json(json!({"ok": false, "error": error})).into_response()
        }
        Err(error) => (scopes, axum::Json(json!({"ok": false, "error": error}))).into_response(),
    }
}

fn told_to_wait(seconds: u64) -> Response {
    let retry = [(header::RETRY_AFTER, seconds.to_string())];
    let body = json!({"ok": false, "error": "ratelimited"});
    (StatusCode::TOO_MANY_REQUESTS, retry, axum::Json(body)).into_response()
}

/// The channel that a call is about.
fn channel_of(query: &BTreeMap<String, String>, body: &[u8]) -> String {
    let arguments: Value = serde_json::from_slice(body).unwrap_or_default();
    query.get("channel").cloned().or_else(|| arguments["channel"].as_str().map(str::to_owned)).unwrap_or_default()
}

fn perform(
    shared: &Shared,
    method: &str,
    verb: &Method,
    headers: &HeaderMap,
    query: &BTreeMap<String, String>,
    body: &[u8],
) -> Answer {
    let mut world = lock(&shared.world);
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if world.revoked {
        return Err("token_revoked");
    }
    let wanted = if method == "apps.connections.open" { APP_TOKEN } else { BOT_TOKEN };
    match header(header::AUTHORIZATION).strip_prefix("Bearer ") {
        Some(token) if token == wanted => {}
        Some(BOT_TOKEN | APP_TOKEN) => return Err("not_allowed_token_type"),
        Some(_) => return Err("invalid_auth"),
        None => return Err("not_authed"),
    }
    let reads = matches!(
        method,
        "conversations.list"
            | "conversations.replies"
            | "conversations.history"
            | "files.getUploadURLExternal"
            | "users.info"
            | "usergroups.users.list"
    );
    world.unseen.host = header(header::HOST).to_owned();
    if reads && !(verb == Method::GET && body.is_empty()) {
        world.violation(format!("{method} takes no JSON body"));
        return Err("invalid_arguments");
    }
    let json_type = "application/json; charset=utf-8";
    if !reads && (verb != Method::POST || header(header::CONTENT_TYPE) != json_type) {
        world.violation(format!("{method} was called as {verb} with {}", header(header::CONTENT_TYPE)));
        return Err("invalid_post_type");
    }
    let arguments: Value = if reads { json!(query) } else { serde_json::from_slice(body).unwrap_or_default() };
    if let Some(why) = strict::careless(method, &arguments) {
        world.violation(format!("{method}: {why}"));
    }
    if let Some(Err(why)) = arguments.get("blocks").map(strict::blocks) {
        world.violation(format!("{method}: {why}: {}", arguments["blocks"]));
        return Err("invalid_blocks");
    }
    let mut answer = world.method(method, &arguments, shared.sockets);
    if let (Ok(history), Some(channel)) = (&mut answer, arguments["channel"].as_str()) {
        world.with_files(channel, history);
    }
    if let Err(error @ ("invalid_arguments" | "msg_too_long" | "no_text" | "invalid_metadata" | "unknown_method")) =
        answer
    {
        world.violation(format!("{method}: {error}: {arguments}"));
    }
    answer
}

impl World {
    fn method(&mut self, method: &str, arguments: &Value, sockets: SocketAddr) -> Answer {
        let text = |name: &str| arguments[name].as_str().filter(|value| !value.is_empty());
        let required = |name: &str| text(name).ok_or("invalid_arguments");
        self.allowed(method)?;
        match method {
            "auth.test" => {
                let (team, user) = ("The Team", "fleet");
                Ok(json!({"url": "https://x.slack.com/", "team": team, "user": user, "team_id": "T1",
                    "user_id": BOT_USER, "bot_id": "B1"}))
            }
            "apps.connections.open" => {
                self.clock += 1;
                let ticket = format!("secret-ticket-{}", self.clock);
                self.tickets.insert(ticket.clone());
                Ok(json!({"url": format!("ws://{sockets}/link/?ticket={ticket}")}))
            }
            "conversations.list" => {
                let all: Vec<Value> = self
                    .channels
                    .iter()
                    .filter(|(id, _)| !self.archived.contains(*id))
                    .map(|(id, name)| {
                        let member = !self.outside.contains(id);
                        json!({"id": id, "name": name, "is_channel": true, "is_member": member})
                    })
                    .collect();
                self.paged(arguments, "channels", all)
            }
            "users.info" => match self.users.get(required("user")?) {
                Some(name) => Ok(self.people.account(text("user").unwrap(), name)),
                None => Err("user_not_found"),
            },
            "usergroups.users.list" => self.people.group_users(required("usergroup")?),
            "views.publish" => self.people.publish(arguments),
            "chat.postMessage" => {
                let channel = self.known(required("channel")?)?;
                if self.archived.contains(&channel) {
                    return Err("is_archived");
                }
                let words = self.words(arguments)?;
                let thread = text("thread_ts").map(str::to_owned);
                if let Some(thread) = &thread
                    && !self.messages[&channel].iter().any(|message| message.ts == *thread)
                {
                    return Err("thread_not_found");
                }
                let ts = self.post(&channel, thread.as_deref(), BOT_USER, &words, arguments["metadata"].clone());
                self.unseen.blocks.insert((channel.clone(), ts.clone()), arguments["blocks"].clone());
                // The bot reads its own words too.
                let mut event = self.event("message", &channel, thread.as_deref(), BOT_USER, &words, &ts);
                event["event"]["bot_id"] = json!("B1");
                event["event"]["app_id"] = json!("A1");
                self.deliver(event);
                Ok(json!({"channel": channel, "ts": ts, "message": {"type": "message", "text": words, "ts": ts}}))
            }
            "chat.update" => {
                let channel = self.known(required("channel")?)?;
                let words = self.words(arguments)?;
                let ts = required("ts")?;
                let message = self.messages.get_mut(&channel).unwrap().iter_mut().find(|message| message.ts == ts);
                let message = message.ok_or("message_not_found")?;
                if message.user != BOT_USER {
                    return Err("cant_update_message");
                }
                message.text = words.clone();
                message.metadata = arguments["metadata"].clone();
                self.unseen.blocks.insert((channel.clone(), ts.to_owned()), arguments["blocks"].clone());
                Ok(json!({"channel": channel, "ts": ts, "text": words}))
            }
            "reactions.add" => {
                let channel = self.known(required("channel")?)?;
                let (ts, name) = (required("timestamp")?, required("name")?);
                if name.contains(':') {
                    return Err("invalid_name");
                }
                if !self.messages[&channel].iter().any(|message| message.ts == ts) {
                    return Err("message_not_found");
                }
                let news = self.reactions.insert((channel, ts.to_owned(), name.to_owned()));
                if news { Ok(json!({})) } else { Err("already_reacted") }
            }
            "reactions.remove" => {
                let channel = self.known(required("channel")?)?;
                let (ts, name) = (required("timestamp")?, required("name")?);
                let there = self.reactions.remove(&(channel, ts.to_owned(), name.to_owned()));
                if there { Ok(json!({})) } else { Err("no_reaction") }
            }
            "chat.postEphemeral" => {
                let channel = self.known(required("channel")?)?;
                let (user, text) = (required("user")?.to_owned(), self.words(arguments)?);
                if self.outside.contains(&channel) {
                    return Err("user_not_in_channel");
                }
                self.people.whisper(&channel, &user, &text)
            }
            "assistant.threads.setStatus" => {
                let channel = self.known(required("channel_id")?)?;
                let words = arguments["status"].as_str().ok_or("invalid_arguments")?.to_owned();
                self.unseen.statuses.push((channel, required("thread_ts")?.to_owned(), words));
                Ok(json!({}))
            }
            "files.getUploadURLExternal" => self.address_for_file(arguments),
            "files.completeUploadExternal" => self.show_file(arguments),
            "conversations.replies" | "conversations.history" => {
                let channel = self.known(required("channel")?)?;
                let thread = if method.ends_with("replies") { Some(required("ts")?.to_owned()) } else { None };
                if let Some(thread) = &thread
                    && !self.messages[&channel].iter().any(|message| message.ts == *thread)
                {
                    return Err("thread_not_found");
                }
                let with_metadata = text("include_all_metadata") == Some("true");
                let oldest = text("oldest").unwrap_or("0").to_owned();
                let all = self.messages[&channel].iter();
                // A thread is told with its root, whatever is asked for.
                let root = |ts: &String| Some(ts) == thread.as_ref();
                let all = all.filter(|message| message.ts.as_str() > oldest.as_str() || root(&message.ts));
                let all = all.filter(|message| message.thread == thread || root(&message.ts));
                let shown = all.map(|message| {
                    let mut shown = self.shown(&channel, &message.ts);
                    if with_metadata && message.metadata.is_object() {
                        shown["metadata"] = message.metadata.clone();
                    }
                    shown
                });
                let mut shown: Vec<Value> = shown.collect();
                if thread.is_none() {
                    // The newest first, over all pages.
                    shown.reverse();
                }
                self.paged(arguments, "messages", shown)
            }
            _ => Err("unknown_method"),
        }
    }

    /// A method that the token lacks a scope for is refused, as the real one does.
    fn allowed(&self, method: &str) -> Result<(), &'static str> {
        let needed = fleetd::slack::METHODS.iter().find(|(name, _)| *name == method).map(|(_, scopes)| *scopes);
        let held = |scope: &&str| self.scopes.iter().any(|held| held == *scope);
        let needed = needed.unwrap_or_default();
        if needed.is_empty() || needed.iter().any(held) { Ok(()) } else { Err("missing_scope") }
    }

    pub(super) fn known(&self, channel: &str) -> Result<String, &'static str> {
        if self.channels.contains_key(channel) { Ok(channel.to_owned()) } else { Err("channel_not_found") }
    }

    fn words(&self, arguments: &Value) -> Result<String, &'static str> {
        let words = arguments["text"].as_str().filter(|words| !words.is_empty()).ok_or("no_text")?;
        if words.encode_utf16().count() > 4_000 {
            return Err("msg_too_long");
        }
        let metadata = &arguments["metadata"];
        let strings = |payload: &Value| payload.as_object().is_some_and(|all| all.values().all(Value::is_string));
        let sound = metadata["event_type"].is_string() && strings(&metadata["event_payload"]);
        if !metadata.is_null() && !sound {
            return Err("invalid_metadata");
        }
        Ok(words.to_owned())
    }

    /// One page; pages are short, so that a reader that forgets the rest is found out.
    fn paged(&self, arguments: &Value, name: &str, all: Vec<Value>) -> Answer {
        let from: usize = match arguments["cursor"].as_str().unwrap_or_default() {
            "" => 0,
            cursor => cursor.strip_prefix("page-").and_then(|from| from.parse().ok()).ok_or("invalid_cursor")?,
        };
        let next = from + self.page;
        let cursor = if next < all.len() { format!("page-{next}") } else { String::new() };
        let page: Vec<Value> = all.into_iter().skip(from).take(self.page).collect();
        Ok(json!({name: page, "response_metadata": {"next_cursor": cursor}}))
    }
}
