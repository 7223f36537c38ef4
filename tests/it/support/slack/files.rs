//! Files of the fake: an address to fill, and a message that shows what was filled. And what no history tells: words to one
//! person alone, and the words that say that an agent works.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{BOT_USER, FakeSlack, Shared, World, lock};

/// A file, and how far it has come.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub name: String,
    pub length: usize,
    pub content: Option<String>,
    /// The messages that show it, by channel and name.
    pub shown: Vec<(String, String)>,
}

/// Words to one person alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whisper {
    pub channel: String,
    pub user: String,
    pub text: String,
}

#[derive(Default)]
pub(super) struct Unseen {
    pub(super) host: String,
    pub(super) files: BTreeMap<String, File>,
    pub(super) whispers: Vec<Whisper>,
    pub(super) statuses: Vec<(String, String, String)>,
    pub(super) blocks: BTreeMap<(String, String), Value>,
}

/// Takes a file's content.
pub(super) async fn fill(State(shared): State<Shared>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let mut world = lock(&shared.world);
    let Some(file) = world.unseen.files.get_mut(&id) else { return StatusCode::NOT_FOUND };
    if file.length != body.len() {
        let what = format!("{} bytes of a file of {}", body.len(), file.length);
        world.violation(what);
        return StatusCode::BAD_REQUEST;
    }
    file.content = String::from_utf8(body.to_vec()).ok();
    StatusCode::OK
}

impl World {
    pub(super) fn address_for_file(&mut self, arguments: &Value) -> Result<Value, &'static str> {
        let name = arguments["filename"].as_str().filter(|name| !name.is_empty()).ok_or("invalid_arguments")?;
        let length = arguments["length"].as_str().and_then(|length| length.parse().ok());
        let length = length.filter(|length| *length > 0).ok_or("invalid_arguments")?;
        self.clock += 1;
        let id = format!("F{:08}", self.clock);
        self.unseen.files.insert(id.clone(), File { name: name.to_owned(), length, ..File::default() });
        Ok(json!({"upload_url": format!("http://{}/upload/{id}", self.unseen.host), "file_id": id}))
    }

    pub(super) fn show_file(&mut self, arguments: &Value) -> Result<Value, &'static str> {
        let id = arguments["files"][0]["id"].as_str().ok_or("invalid_arguments")?.to_owned();
        let channel = self.known(arguments["channel_id"].as_str().ok_or("invalid_arguments")?)?;
        let thread = arguments["thread_ts"].as_str();
        if thread.is_some_and(|thread| !self.messages[&channel].iter().any(|message| message.ts == thread)) {
            return Err("invalid_thread_ts");
        }
        if self.unseen.files.get(&id).is_none_or(|file| file.content.is_none()) {
            return Err("file_not_found");
        }
        let words = arguments["initial_comment"].as_str().unwrap_or_default().to_owned();
        let ts = self.post(&channel, thread, BOT_USER, &words, Value::Null);
        self.unseen.files.entry(id.clone()).or_default().shown.push((channel, ts));
        Ok(json!({"files": [{"id": id, "title": arguments["files"][0]["title"]}]}))
    }

    /// Adds to the messages of a history the files they show.
    pub(super) fn with_files(&self, channel: &str, history: &mut Value) {
        for message in history["messages"].as_array_mut().into_iter().flatten() {
            let place = (channel.to_owned(), message["ts"].as_str().unwrap_or_default().to_owned());
            let shown = self.unseen.files.iter().filter(|(_, file)| file.shown.contains(&place));
            let shown: Vec<Value> = shown.map(|(id, file)| json!({"id": id, "name": file.name})).collect();
            if !shown.is_empty() {
                message["files"] = json!(shown);
            }
        }
    }
}

impl FakeSlack {
    /// The files that were asked for.
    pub fn files(&self) -> Vec<File> {
        lock(&self.world).unseen.files.values().cloned().collect()
    }

    /// What was said to one person alone.
    pub fn whispers(&self) -> Vec<Whisper> {
        lock(&self.world).unseen.whispers.clone()
    }

    /// What was shown of agents at work: channel, thread, words.
    pub fn statuses(&self) -> Vec<(String, String, String)> {
        lock(&self.world).unseen.statuses.clone()
    }

    /// The blocks of a message; null where it has none.
    pub fn blocks_of(&self, channel: &str, ts: &str) -> Value {
        lock(&self.world).unseen.blocks.get(&(channel.to_owned(), ts.to_owned())).cloned().unwrap_or_default()
    }

    /// A person deletes a message.
    pub fn delete(&self, channel: &str, ts: &str) {
        lock(&self.world).messages.get_mut(channel).unwrap().retain(|message| message.ts != ts);
    }
}
