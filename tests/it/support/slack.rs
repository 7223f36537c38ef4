//! A strict fake Slack on loopback: the methods of the Web API that are used and Socket Mode, with what the real one rejects.
//! Whatever the real one would not accept is an error in its words and counted as a violation.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response as Handshake};

use super::wait::until;

pub const BOT_TOKEN: &str = "xoxb-1-secret-bot";
pub const APP_TOKEN: &str = "xapp-1-secret-app";
/// The fleet's own user.
pub const BOT_USER: &str = "UFLEET001";

/// A message as the fake holds it.
#[derive(Debug, Clone)]
pub struct Posted {
    pub ts: String,
    pub thread: Option<String>,
    pub user: String,
    pub text: String,
    pub metadata: Value,
}

/// What the next call of a method meets.
#[derive(Debug, Clone, PartialEq)]
pub enum Script {
    /// 429 with Retry-After in seconds.
    RateLimit(u64),
    /// `ok: false` with this error.
    Error(&'static str),
    /// An HTTP status without a body.
    Status(u16),
    /// The call is carried out and its answer never sent.
    LoseAnswer,
}

#[derive(Default)]
struct World {
    channels: BTreeMap<String, String>,
    users: BTreeMap<String, String>,
    messages: BTreeMap<String, Vec<Posted>>,
    reactions: HashSet<(String, String, String)>,
    scripts: HashMap<String, Vec<Script>>,
    held: HashSet<String>,
    calls: Vec<(String, Instant)>,
    violations: Vec<String>,
    tickets: HashSet<String>,
    sockets: Vec<UnboundedSender<Command>>,
    unacked: HashMap<String, (Value, u32, Instant)>,
    delivered: usize,
    revoked: bool,
    silent: bool,
    page: usize,
    clock: u64,
}

enum Command {
    Send(String),
    Drop,
}

/// The fake. It ends when it is dropped.
pub struct FakeSlack {
    world: Arc<Mutex<World>>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    sockets: SocketAddr,
}

impl Drop for FakeSlack {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl FakeSlack {
    /// A workspace with these channels (name, id); an event that is not acked within `patience` comes again.
    pub async fn start(channels: &[(&str, &str)], patience: Duration) -> Self {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ws = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut world = World { page: 2, ..World::default() };
        for (name, id) in channels {
            world.channels.insert((*id).to_owned(), (*name).to_owned());
            world.messages.insert((*id).to_owned(), Vec::new());
        }
        world.users.insert("UANN".to_owned(), "Ann".to_owned());
        let world = Arc::new(Mutex::new(world));
        let address = http.local_addr().unwrap();
        let shared = Shared { world: Arc::clone(&world), sockets: ws.local_addr().unwrap() };
        let app = Router::new().route("/api/{method}", axum::routing::any(call)).with_state(shared);
        let app = app.fallback(|| async { (StatusCode::NOT_FOUND, "no such path") });
        let tasks = vec![
            tokio::spawn(async move { axum::serve(http, app).await.unwrap() }),
            tokio::spawn(accept(ws, Arc::clone(&world))),
            tokio::spawn(redeliver(Arc::clone(&world), patience)),
        ];
        Self { world, address, tasks }
    }

    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// A person writes in a channel.
    pub fn human_says(&self, channel: &str, thread: Option<&str>, user: &str, text: &str) -> String {
        let mut world = lock(&self.world);
        let ts = world.post(channel, thread, user, text, Value::Null);
        let event = world.event("message", channel, thread, user, text, &ts);
        world.deliver(event);
        ts
    }

    /// A person mentions the bot: two events of one post, as Slack sends them.
    pub fn mention(&self, channel: &str, thread: Option<&str>, user: &str, text: &str) -> String {
        let text = format!("<@{BOT_USER}> {text}");
        let ts = self.human_says(channel, thread, user, &text);
        let mut world = lock(&self.world);
        let event = world.event("app_mention", channel, thread, user, &text, &ts);
        world.deliver(event);
        ts
    }

    /// An event with these fields, as it stands.
    pub fn raw_event(&self, event: Value) {
        let mut world = lock(&self.world);
        let event = world.envelope(event);
        world.deliver(event);
    }

    /// Delivers the last event once more, in a new envelope.
    pub fn redeliver_last(&self, payload: Value) {
        lock(&self.world).deliver(payload);
    }

    /// An event's payload that a test may deliver as often as it likes.
    pub fn payload_of(&self, channel: &str, user: &str, text: &str) -> Value {
        let mut world = lock(&self.world);
        let ts = world.post(channel, None, user, text, Value::Null);
        world.event("message", channel, None, user, text, &ts)
    }

    /// The messages of a thread, or the root messages of a channel.
    pub fn messages_in(&self, channel: &str, thread: Option<&str>) -> Vec<Posted> {
        let world = lock(&self.world);
        world.messages[channel].iter().filter(|message| message.thread.as_deref() == thread).cloned().collect()
    }

    /// Waits for a message of the bot's.
    pub async fn wait_message(&self, event: &str, mut wanted: impl FnMut(&Posted) -> bool) -> Posted {
        until(event, || {
            let found = {
                let world = lock(&self.world);
                world.messages.values().flatten().find(|m| m.user == BOT_USER && wanted(m)).cloned()
            };
            async { found }
        })
        .await
    }

    pub async fn wait_reaction(&self, channel: &str, ts: &str, name: &str) {
        let wanted = (channel.to_owned(), ts.to_owned(), name.to_owned());
        until(&format!("the reaction {name}"), || {
            let found = lock(&self.world).reactions.contains(&wanted).then_some(());
            async move { found }
        })
        .await
    }

    /// Waits until `count` sockets are open.
    pub async fn wait_sockets(&self, count: usize) {
        until(&format!("{count} open sockets"), || {
            let open = lock(&self.world).open_sockets() == count;
            async move { open.then_some(()) }
        })
        .await
    }

    /// Waits until every event that was sent is acked.
    pub async fn wait_acked(&self) {
        until("every event is acked", || {
            let world = lock(&self.world);
            let done = world.unacked.is_empty();
            async move { done.then_some(()) }
        })
        .await
    }

    pub fn violations(&self) -> Vec<String> {
        lock(&self.world).violations.clone()
    }

    /// The methods that were called.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.world).calls.iter().map(|(method, _)| method.clone()).collect()
    }

    /// How often a method was called.
    pub fn count(&self, method: &str) -> usize {
        self.calls().iter().filter(|called| *called == method).count()
    }

    /// How many envelopes were sent.
    pub fn delivered(&self) -> usize {
        lock(&self.world).delivered
    }

    /// Cuts every socket off.
    pub fn drop_sockets(&self) {
        lock(&self.world).command(|| Command::Drop);
    }

    /// Warns on every socket, as Slack does before it refreshes them.
    pub fn refresh(&self) {
        let warning = json!({"type": "disconnect", "reason": "warning", "debug_info": {"host": "fake"}}).to_string();
        lock(&self.world).command(|| Command::Send(warning.clone()));
    }

    /// Sockets stay open and say nothing any more, not even a pong.
    pub fn silence(&self, silent: bool) {
        lock(&self.world).silent = silent;
    }

    /// Puts what the next calls of a method meet.
    pub fn script(&self, method: &str, steps: &[Script]) {
        lock(&self.world).scripts.entry(method.to_owned()).or_default().extend(steps.iter().cloned());
    }

    /// The next post is carried out, its answer lost.
    pub fn lose_next_answer(&self) {
        self.script("chat.postMessage", &[Script::LoseAnswer]);
    }

    /// Calls of a method hang until they are let go.
    pub fn hold(&self, method: &str, held: bool) {
        let mut world = lock(&self.world);
        if held {
            world.held.insert(method.to_owned())
        } else {
            world.held.remove(method)
        };
    }

    pub fn revoke_tokens(&self) {
        lock(&self.world).revoked = true;
    }
}

impl World {
    fn next_ts(&mut self) -> String {
        self.clock += 1;
        format!("{}.{:06}", jiff::Timestamp::now().as_second(), self.clock)
    }

    fn post(&mut self, channel: &str, thread: Option<&str>, user: &str, text: &str, metadata: Value) -> String {
        let ts = self.next_ts();
        let thread = thread.map(str::to_owned);
        let message = Posted { ts: ts.clone(), thread, user: user.to_owned(), text: text.to_owned(), metadata };
        self.messages.entry(channel.to_owned()).or_default().push(message);
        ts
    }

    fn event(&mut self, kind: &str, channel: &str, thread: Option<&str>, user: &str, text: &str, ts: &str) -> Value {
        let mut event = json!({
            "type": kind, "channel": channel, "user": user, "text": text, "ts": ts, "event_ts": ts, "team": "T1",
            "client_msg_id": format!("m-{ts}"), "blocks": [{"type": "a_block_of_tomorrow", "block_id": "b"}],
        });
        if kind == "message" {
            event["channel_type"] = json!("channel");
        }
        if let Some(thread) = thread {
            event["thread_ts"] = json!(thread);
            let root = self.messages[channel].iter().find(|message| message.ts == thread);
            event["parent_user_id"] = json!(root.map(|root| root.user.clone()));
        }
        self.envelope(event)
    }

    fn envelope(&mut self, event: Value) -> Value {
        self.clock += 1;
        json!({
            "token": "t", "team_id": "T1", "api_app_id": "A1", "event": event, "type": "event_callback",
            "event_id": format!("Ev{}", self.clock), "event_time": 1,
            "authorizations": [{"team_id": "T1", "user_id": BOT_USER, "is_bot": true}], "is_ext_shared_channel": false,
        })
    }

    fn deliver(&mut self, payload: Value) {
        self.attempt(payload, 0);
    }

    fn attempt(&mut self, payload: Value, attempt: u32) {
        self.clock += 1;
        let envelope = format!("envelope-{}", self.clock);
        let frame = json!({
            "type": "events_api", "envelope_id": envelope, "payload": payload, "accepts_response_payload": false,
            "retry_attempt": attempt, "retry_reason": if attempt == 0 { "" } else { "timeout" },
        });
        self.unacked.insert(envelope, (payload, attempt, Instant::now()));
        self.delivered += 1;
        self.sockets.retain(|socket| !socket.is_closed());
        // One socket gets it: Slack picks any.
        if let Some(socket) = self.sockets.last() {
            let _ = socket.send(Command::Send(frame.to_string()));
        }
    }

    fn command(&mut self, command: impl Fn() -> Command) {
        self.sockets.iter().for_each(|socket| drop(socket.send(command())));
    }

    fn open_sockets(&self) -> usize {
        self.sockets.iter().filter(|socket| !socket.is_closed()).count()
    }

    fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}

async fn redeliver(world: Arc<Mutex<World>>, patience: Duration) {
    let mut ticks = tokio::time::interval(patience / 4);
    loop {
        ticks.tick().await;
        let mut world = lock(&world);
        if world.silent || world.open_sockets() == 0 {
            continue;
        }
        let late = world.unacked.iter().filter(|(_, (_, _, at))| at.elapsed() > patience);
        for envelope in late.map(|(envelope, _)| envelope.clone()).collect::<Vec<_>>() {
            let (payload, attempt, _) = world.unacked.remove(&envelope).unwrap();
            world.attempt(payload, attempt + 1);
        }
    }
}

async fn accept(listener: TcpListener, world: Arc<Mutex<World>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(socket(stream, Arc::clone(&world)));
    }
}

#[allow(clippy::result_large_err, reason = "the handshake's own type")]
async fn socket(stream: TcpStream, world: Arc<Mutex<World>>) {
    let check = |request: &Request, response: Handshake| {
        let ticket = request.uri().query().and_then(|query| query.strip_prefix("ticket=")).unwrap_or_default();
        if lock(&world).tickets.remove(ticket) {
            Ok(response)
        } else {
            lock(&world).violation("a socket with a ticket that was never given, or used before".to_owned());
            let mut refused = ErrorResponse::new(None);
            *refused.status_mut() = StatusCode::FORBIDDEN;
            Err(refused)
        }
    };
    let Ok(mut stream) = tokio_tungstenite::accept_hdr_async(stream, check).await else { return };
    let (sender, mut commands) = unbounded_channel();
    {
        let mut world = lock(&world);
        world.sockets.push(sender);
        if world.open_sockets() > 10 {
            world.violation("more than 10 sockets".to_owned());
        }
    }
    let hello = json!({
        "type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"},
        "debug_info": {"host": "fake", "approximate_connection_time": 18060},
    });
    if stream.send(Message::text(hello.to_string())).await.is_err() {
        return;
    }
    loop {
        if lock(&world).silent {
            // Half-open: it neither reads nor writes, until it is cut off.
            match commands.recv().await {
                Some(Command::Drop) | None => return,
                Some(Command::Send(_)) => continue,
            }
        }
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Send(text)) => {
                    if lock(&world).silent { continue }
                    if stream.send(Message::text(text)).await.is_err() { return }
                }
                Some(Command::Drop) | None => return,
            },
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let ack: Value = serde_json::from_str(&text).unwrap_or_default();
                    let mut world = lock(&world);
                    match ack["envelope_id"].as_str() {
                        Some(envelope) => drop(world.unacked.remove(envelope)),
                        None => world.violation(format!("a frame that is no ack: {text}")),
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

type Answer = Result<Value, &'static str>;

async fn call(
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
    match scripted {
        Some(Script::RateLimit(seconds)) => {
            let retry = [(header::RETRY_AFTER, seconds.to_string())];
            let body = json!({"ok": false, "error": "ratelimited"});
            return (StatusCode::TOO_MANY_REQUESTS, retry, axum::Json(body)).into_response();
        }
        Some(Script::Error(error)) => return axum::Json(json!({"ok": false, "error": error})).into_response(),
        Some(Script::Status(status)) => return StatusCode::from_u16(status).unwrap().into_response(),
        Some(Script::LoseAnswer) | None => {}
    }
    let answer = perform(&shared, &method, &verb, &headers, &query, &body);
    if scripted == Some(Script::LoseAnswer) {
        assert!(answer.is_ok(), "the scripted call was refused: {answer:?}");
        // A status that a proxy gives when the server's answer did not reach it.
        return StatusCode::BAD_GATEWAY.into_response();
    }
    match answer {
        Ok(mut answer) => {
            answer["ok"] = json!(true);
            axum::Json(answer).into_response()
        }
        Err(error) => axum::Json(json!({"ok": false, "error": error})).into_response(),
    }
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
    let reads =
        matches!(method, "conversations.list" | "conversations.replies" | "conversations.history" | "users.info");
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
    let answer = world.method(method, &arguments, shared.sockets);
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
        match method {
            "auth.test" => {
                Ok(json!({"url": "https://x.slack.com/", "team_id": "T1", "user_id": BOT_USER, "bot_id": "B1"}))
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
                    .map(|(id, name)| json!({"id": id, "name": name, "is_channel": true}))
                    .collect();
                self.paged(arguments, "channels", all)
            }
            "users.info" => match self.users.get(required("user")?) {
                Some(name) => Ok(json!({"user": {"id": text("user"), "name": "n", "profile": {"display_name": name}}})),
                None => Err("user_not_found"),
            },
            "chat.postMessage" => {
                let channel = self.known(required("channel")?)?;
                let words = self.words(arguments)?;
                let thread = text("thread_ts").map(str::to_owned);
                if let Some(thread) = &thread
                    && !self.messages[&channel].iter().any(|message| message.ts == *thread)
                {
                    return Err("thread_not_found");
                }
                let ts = self.post(&channel, thread.as_deref(), BOT_USER, &words, arguments["metadata"].clone());
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
                let all = self.messages[&channel].iter().filter(|message| message.ts.as_str() > oldest.as_str());
                let all = all.filter(|message| message.thread == thread || Some(&message.ts) == thread.as_ref());
                let shown = all.map(|message| {
                    let mut shown = json!({"type": "message", "ts": message.ts, "text": message.text});
                    if with_metadata && message.metadata.is_object() {
                        shown["metadata"] = message.metadata.clone();
                    }
                    shown
                });
                let shown = shown.collect();
                self.paged(arguments, "messages", shown)
            }
            _ => Err("unknown_method"),
        }
    }

    fn known(&self, channel: &str) -> Result<String, &'static str> {
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
