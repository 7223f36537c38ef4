//! A strict fake Slack on loopback: the methods of the Web API that are used and Socket Mode, with what the real one rejects.
//! Whatever the real one would not accept is an error in its words and counted as a violation.

mod doings;
mod files;
mod limits;
mod people;
mod socket;
mod strict;
mod web;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use fleetd::model::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedSender;

use super::wait::until;

pub const BOT_TOKEN: &str = "xoxb-1-secret-bot";
pub const APP_TOKEN: &str = "xapp-1-secret-app";
/// The fleet's own user.
pub const BOT_USER: &str = "UFLEET001";

/// What an app made from the manifest gets.
pub const MANIFEST_SCOPES: [&str; 13] = [
    "app_mentions:read",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "groups:read",
    "reactions:read",
    "reactions:write",
    "usergroups:read",
    "users:read",
];

/// A message as the fake holds it.
#[derive(Debug, Clone)]
pub struct Posted {
    pub ts: String,
    pub thread: Option<String>,
    pub user: String,
    pub text: String,
    pub metadata: Value,
    /// When it was edited last.
    pub edited: Option<String>,
    /// As the events and the history tell them.
    pub files: Vec<Value>,
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
    people: people::People,
    /// Methods that fail, whoever calls them.
    broken: HashSet<String>,
    clock: u64,
    /// The scopes that the bot token was given.
    scopes: Vec<String>,
    /// The channels that the app is not in.
    outside: HashSet<String>,
    /// The channels that were archived.
    archived: HashSet<String>,
    /// Events are given up instead of sent: connected, yet nothing comes.
    deaf: bool,
    /// The contents of files, by id.
    files: HashMap<String, Vec<u8>>,
    limits: limits::Limits,
    unseen: files::Unseen,
}

enum Command {
    Send(String),
    Drop,
}

/// The fake. It ends when it is dropped.
pub struct FakeSlack {
    world: Arc<Mutex<World>>,
    address: SocketAddr,
    /// Its own: a test that runs a command waits for it, and Slack goes on meanwhile.
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Shared {
    world: Arc<Mutex<World>>,
    sockets: SocketAddr,
}

impl Drop for FakeSlack {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl FakeSlack {
    /// A workspace with these channels (name, id); an event that is not acked within `patience` comes again.
    pub async fn start(channels: &[(&str, &str)], patience: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listen = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let http = runtime.spawn(listen()).await.unwrap();
        let ws = runtime.spawn(listen()).await.unwrap();
        let mut world = World { page: 2, scopes: MANIFEST_SCOPES.map(str::to_owned).into(), ..World::default() };
        for (name, id) in channels {
            world.channels.insert((*id).to_owned(), (*name).to_owned());
            world.messages.insert((*id).to_owned(), Vec::new());
        }
        world.users.insert("UANN".to_owned(), "Ann".to_owned());
        // Nobody has a name to show for them.
        for user in ["UBOB", "U0ANN"] {
            world.users.insert(user.to_owned(), String::new());
        }
        let world = Arc::new(Mutex::new(world));
        let address = http.local_addr().unwrap();
        let shared = Shared { world: Arc::clone(&world), sockets: ws.local_addr().unwrap() };
        let app = Router::new().route("/api/{method}", axum::routing::any(web::call));
        let app = app.route("/files/{id}", axum::routing::get(web::file));
        let app = app.route("/upload/{id}", axum::routing::post(files::fill));
        let app = app.route("/commands/{id}", axum::routing::post(people::answered)).with_state(shared);
        let app = app.fallback(|| async { (StatusCode::NOT_FOUND, "no such path") });
        runtime.spawn(async move { axum::serve(http, app).await.unwrap() });
        runtime.spawn(socket::accept(ws, Arc::clone(&world)));
        runtime.spawn(socket::redeliver(Arc::clone(&world), patience));
        Self { world, address, runtime: Some(runtime) }
    }

    /// The clock by which Slack's limits are measured; the box's own where no test moves it.
    pub fn measure_by(&self, clock: Arc<dyn Clock>) {
        lock(&self.world).limits.measure_by(clock);
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

    /// All messages of a channel, those of its threads too.
    pub fn everything_in(&self, channel: &str) -> Vec<Posted> {
        lock(&self.world).messages[channel].clone()
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

    /// When a method was called, each time.
    pub fn called_at(&self, method: &str) -> Vec<Instant> {
        let world = lock(&self.world);
        world.calls.iter().filter(|(called, _)| called == method).map(|(_, at)| *at).collect()
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

    /// The scopes that the bot token was given, from now on.
    pub fn grant(&self, scopes: &[&str]) {
        lock(&self.world).scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    }

    /// Takes the app out of a public channel: it still sees it.
    pub fn leave(&self, channel: &str) {
        lock(&self.world).outside.insert(channel.to_owned());
    }

    /// The tokens stop working, or work again.
    pub fn revoke_tokens(&self, revoked: bool) {
        lock(&self.world).revoked = revoked;
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
        let message = Posted {
            ts: ts.clone(),
            thread,
            user: user.to_owned(),
            text: text.to_owned(),
            metadata,
            edited: None,
            files: Vec::new(),
        };
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
        if self.deaf {
            return;
        }
        self.clock += 1;
        let envelope = format!("envelope-{}", self.clock);
        let frame = json!({
            "type": people::kind(&payload), "envelope_id": envelope, "payload": payload, "accepts_response_payload": false,
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
