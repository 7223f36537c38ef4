//! A fake model on 127.0.0.1 that both real CLIs talk to: Anthropic Messages and OpenAI Responses, streamed.
//!
//! It answers by what the newest prompt says, one directive on a line of its own:
//!
//! | line | answer |
//! |---|---|
//! | `slow 3 gate` | three chunks of text, each let through by [`FakeModel::release`] of that gate |
//! | `tool command` | a call of the CLI's shell tool with that command, then text |
//! | `ask command` | the same, but such that Codex asks a person first (Claude asks by its own rules) |
//! | `todo gate one \| two` | the CLI's own to-do list of these, the first one begun; then `slow 1 gate` |
//! | `question` | Claude's AskUserQuestion, then text |
//! | `fail 529` | an API error of that status, for every attempt |
//! | `limit 7200` | the account's usage limit is reached, for so many seconds |
//! | `full` | the conversation does not fit into the model's context |
//! | `expired` | the login is over |
//! | `tokens 900000` | a short answer that claims to have read so many tokens |
//! | a request to compact the conversation | a summary that names every prompt's id |
//! | anything else | a short Markdown answer that names the prompt's id |
//!
//! It never takes a request that the real API would refuse: it answers 400 and remembers why ([`FakeModel::violations`]).

mod anthropic;
mod openai;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use fleetd::model::PromptId;
use fleetd::model::text::header_id;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Tokens that every answer claims: read afresh, read from a cache, put into a cache, written.
pub const TOKENS: (u64, u64, u64, u64) = (100, 20, 3, 50);

/// One message of a conversation as the model was sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `user`, `assistant`, `system` or `developer`.
    pub role: String,
    /// Its texts, byte by byte, without what the CLI adds of its own.
    pub texts: Vec<String>,
    /// Whether it brings a tool's result.
    pub tool_result: bool,
}

/// One request for a turn of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The model that was asked for.
    pub model: String,
    /// The whole conversation.
    pub messages: Vec<Message>,
    /// The names of the tools on offer.
    pub tools: Vec<String>,
}

impl Request {
    /// What people wrote, oldest first.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        self.messages
            .iter()
            .filter(|message| message.role == "user")
            .flat_map(|message| &message.texts)
            .map(String::as_str)
    }

    /// What came after the model's last word.
    fn news(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().rev().take_while(|message| message.role != "assistant")
    }

    /// The newest thing a person wrote.
    pub fn newest_prompt(&self) -> &str {
        self.prompts().last().unwrap_or_default()
    }

    /// Whether it is the CLI's own request for a summary of the conversation.
    pub fn asks_for_a_summary(&self) -> bool {
        SUMMARIES.iter().any(|start| self.newest_prompt().starts_with(start))
    }

    /// Whether some prompt holds that text.
    pub fn remembers(&self, text: &str) -> bool {
        self.prompts().any(|prompt| prompt.contains(text))
    }
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Text {
        chunks: Vec<String>,
        gate: Option<String>,
    },
    Tool {
        command: String,
        ask: bool,
    },
    Question,
    /// A call of one of the CLI's other tools.
    Call {
        name: &'static str,
        input: Value,
    },
    Fail {
        status: u16,
    },
    Refuse(Refusal),
}

/// Why an account can't be answered, as the real APIs say it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Limit { seconds: i64 },
    Full,
    Expired,
}

/// What begins the CLIs' own requests for a summary: Claude's, Codex's.
const SUMMARIES: [&str; 2] =
    ["CRITICAL: Respond with TEXT ONLY.", "You are performing a CONTEXT CHECKPOINT COMPACTION."];

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    side_requests: usize,
    violations: Vec<String>,
    other_paths: Vec<String>,
    waiting: HashMap<String, usize>,
    gates: HashMap<String, Arc<Semaphore>>,
    answers: usize,
    taken: BTreeMap<PromptId, BTreeSet<String>>,
    newest_ids: Vec<PromptId>,
}

impl Seen {
    /// Keeps a turn's request: whole, or only what became of our prompts.
    fn keep(&mut self, request: &Request, light: bool) {
        if !light {
            self.requests.push(request.clone());
            return;
        }
        let texts =
            request.messages.iter().filter(|message| message.role != "assistant").flat_map(|message| &message.texts);
        self.newest_ids.clear();
        for text in texts {
            let Some(id) = header_id(&text[..text.floor_char_boundary(200)]) else { continue };
            self.newest_ids.push(id.clone());
            // What was answered once stands in every later request.
            if self.taken.contains_key(&id) && !request.news().any(|message| message.texts.contains(text)) {
                continue;
            }
            self.taken.entry(id).or_default().insert(sha256(text.trim_end()));
        }
    }
}

#[derive(Default)]
struct Shared {
    light: bool,
    seen: Mutex<Seen>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn gate(&self, name: &str) -> Arc<Semaphore> {
        self.seen().gates.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))).clone()
    }

    async fn pass(&self, gate: Option<&str>) {
        let Some(name) = gate else { return };
        let semaphore = self.gate(name);
        *self.seen().waiting.entry(name.to_owned()).or_default() += 1;
        semaphore.acquire().await.expect("a gate is never closed").forget();
        *self.seen().waiting.entry(name.to_owned()).or_default() -= 1;
    }
}

/// The running fake; it stops when dropped.
pub struct FakeModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

impl FakeModel {
    /// Starts one on a free port, on a thread of its own: a test that blocks doesn't hold it up.
    pub fn start() -> Self {
        Self::serving(Shared::default())
    }

    /// The same, but it keeps no request: of each prompt of ours only what it hashed to, so that hundreds of long ones fit
    /// into memory. [`FakeModel::taken`] and [`FakeModel::newest_ids`] tell of them.
    pub fn start_light() -> Self {
        Self::serving(Shared { light: true, ..Shared::default() })
    }

    fn serving(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, address) = std::sync::mpsc::channel();
        let served = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                let app = Router::new().fallback(move |method, uri, headers, body| serve(served.clone(), method, uri, headers, body));
                tokio::select! {
                    outcome = std::future::IntoFuture::into_future(axum::serve(listener, app.layer(axum::extract::DefaultBodyLimit::disable()))) => outcome.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), shared, stop: Some(stop) }
    }

    /// `http://127.0.0.1:port`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The SHA-256, in hex, of every text with that prompt's header, as it came; white space at its end does not count.
    pub fn taken(&self, id: &PromptId) -> BTreeSet<String> {
        self.shared.seen().taken.get(id).cloned().unwrap_or_default()
    }

    /// The prompts of ours that stand in the newest request's conversation, oldest first.
    pub fn newest_ids(&self) -> Vec<PromptId> {
        self.shared.seen().newest_ids.clone()
    }

    /// Every turn's request so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen().requests.clone()
    }

    /// The newest turn's request.
    pub fn last_request(&self) -> Option<Request> {
        self.shared.seen().requests.last().cloned()
    }

    /// The newest request whose newest prompt holds that text.
    pub fn request_for(&self, text: &str) -> Option<Request> {
        self.shared.seen().requests.iter().rev().find(|request| request.newest_prompt().contains(text)).cloned()
    }

    /// Whether some turn's request held exactly that text as one prompt.
    pub fn saw_prompt(&self, text: &str) -> bool {
        self.shared.seen().requests.iter().any(|request| request.prompts().any(|prompt| prompt == text))
    }

    /// SHA-256, in hex, of each newest prompt, in the order of the requests.
    pub fn prompt_hashes(&self) -> Vec<String> {
        self.shared.seen().requests.iter().map(|request| sha256(request.newest_prompt())).collect()
    }

    /// How many titles, summaries and other asides were answered.
    pub fn side_requests(&self) -> usize {
        self.shared.seen().side_requests
    }

    /// Requests that the real API would refuse, and why.
    pub fn violations(&self) -> Vec<String> {
        self.shared.seen().violations.clone()
    }

    /// What else the CLIs asked for, as `METHOD path`.
    pub fn other_paths(&self) -> Vec<String> {
        self.shared.seen().other_paths.clone()
    }

    /// Lets `chunks` chunks through that gate, now or when they come.
    pub fn release(&self, gate: &str, chunks: usize) {
        self.shared.gate(gate).add_permits(chunks);
    }

    /// How many answers stand at that gate.
    pub fn waiting_at(&self, gate: &str) -> usize {
        self.shared.seen().waiting.get(gate).copied().unwrap_or_default()
    }
}

impl Drop for FakeModel {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself; then there is nobody to tell.
            let _ = stop.send(());
        }
    }
}

/// SHA-256 in hex.
pub fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(shared: Arc<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    match (method.as_str(), uri.path()) {
        ("POST", "/v1/messages") => anthropic::messages(shared, &headers, &body),
        ("POST", "/v1/messages/count_tokens") => axum::Json(json!({"input_tokens": TOKENS.0})).into_response(),
        ("POST", "/v1/responses") => openai::responses(shared, &headers, &body),
        (method, path) => {
            shared.seen().other_paths.push(format!("{method} {path}"));
            if path == "/" { StatusCode::OK.into_response() } else { StatusCode::NOT_FOUND.into_response() }
        }
    }
}

/// How many tokens an answer to this request claims to have read, beside those of a cache.
fn tokens_read(request: &Request) -> u64 {
    let told = |line: &str| line.trim().strip_prefix("tokens ")?.parse().ok();
    request.newest_prompt().lines().find_map(told).unwrap_or(TOKENS.0)
}

/// In so many seconds, in seconds since 1970.
fn in_seconds(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() + seconds
}

/// What is wrong with a request, or nothing.
type Checked<T> = Result<T, String>;

fn parsed(headers: &HeaderMap, body: &Bytes) -> Checked<Value> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(format!("content-type {kind:?}"));
    }
    serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))
}

/// Chooses the answer: by the newest message's directive; a tool's result gets text.
fn reply_to(request: &Request) -> Reply {
    if let Some(reply) = todo_step(request) {
        return reply;
    }
    // What a person typed meanwhile comes behind the result as a system's message.
    let last = request.messages.iter().rev().find(|message| message.role != "system");
    if last.is_some_and(|message| message.tool_result && message.texts.is_empty()) {
        return Reply::Text { chunks: vec!["The tool has run.".to_owned()], gate: None };
    }
    let prompt = request.newest_prompt();
    if request.asks_for_a_summary() {
        let ids: Vec<String> = request.prompts().filter_map(header_id).map(|id| id.to_string()).collect();
        let summary = format!("<summary>What was asked: {}</summary>", ids.join(" "));
        return Reply::Text { chunks: vec![summary], gate: None };
    }
    let name = header_id(prompt).map_or_else(|| sha256(prompt)[..12].to_owned(), |id| id.to_string());
    prompt.lines().find_map(|line| directive(line.trim(), &name)).unwrap_or_else(|| Reply::Text {
        chunks: vec!["Done: ".to_owned(), format!("**{name}** is "), "`finished`.".to_owned()],
        gate: None,
    })
}

/// The next step of a to-do list, with the CLI's own tools for it. Codex 0.169 offers `update_plan` not to every model, and
/// writes its call into the rollout all the same.
fn todo_step(request: &Request) -> Option<Reply> {
    let line = request.newest_prompt().lines().find_map(|line| line.trim().strip_prefix("todo "))?;
    let (gate, items) = line.split_once(' ')?;
    let items: Vec<&str> = items.split('|').map(str::trim).collect();
    let since = request.messages.iter().rev().take_while(|message| message.role != "user" || message.texts.is_empty());
    let done = since.filter(|message| message.tool_result).count();
    let state = |index: usize| if index == 0 { "in_progress" } else { "pending" };
    let call = |name, input| Some(Reply::Call { name, input });
    if request.tools.iter().any(|tool| tool == "exec_command") && done == 0 {
        let steps = items.iter().enumerate().map(|(index, item)| json!({"step": item, "status": state(index)}));
        return call("update_plan", json!({"plan": steps.collect::<Vec<_>>()}));
    }
    if request.tools.iter().any(|tool| tool == "TaskCreate") && done <= items.len() {
        return match items.get(done) {
            Some(item) => call("TaskCreate", json!({"subject": item, "description": format!("do {item}")})),
            None => call("TaskUpdate", json!({"taskId": "1", "status": "in_progress"})),
        };
    }
    let chunks = vec!["The list is kept.".to_owned()];
    Some(Reply::Text { chunks, gate: Some(gate.to_owned()) })
}

fn directive(line: &str, name: &str) -> Option<Reply> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "slow" => {
            let (count, gate) = rest.split_once(' ')?;
            let count: usize = count.parse().ok()?;
            let chunks = (1..=count).map(|chunk| format!("chunk {chunk} of {count} for {name}\n\n")).collect();
            Some(Reply::Text { chunks, gate: Some(gate.to_owned()) })
        }
        "tool" if !rest.is_empty() => Some(Reply::Tool { command: rest.to_owned(), ask: false }),
        "ask" if !rest.is_empty() => Some(Reply::Tool { command: rest.to_owned(), ask: true }),
        "question" if rest.is_empty() => Some(Reply::Question),
        "limit" => Some(Reply::Refuse(Refusal::Limit { seconds: rest.parse().ok()? })),
        "full" if rest.is_empty() => Some(Reply::Refuse(Refusal::Full)),
        "expired" if rest.is_empty() => Some(Reply::Refuse(Refusal::Expired)),
        "fail" => Some(Reply::Fail { status: rest.parse().ok()? }),
        _ => None,
    }
}

/// One server-sent event.
fn event(body: &Value) -> Bytes {
    let name = body["type"].as_str().unwrap_or("message");
    Bytes::from(format!("event: {name}\ndata: {body}\n\n"))
}

/// A streamed answer that `fill` writes; a CLI that hangs up ends it.
fn stream<F>(fill: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    tokio::spawn(fill(sender));
    let bytes = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(bytes), receiver))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(bytes)).into_response()
}
