//! People of the fake: what they are, what only they see, and what they do beside writing.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::wait::until;
use super::{FakeSlack, Shared, lock};

/// What only one person sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Whisper {
    pub channel: String,
    pub user: String,
    pub text: String,
}

#[derive(Debug, Default)]
pub(super) struct People {
    /// Fields of `users.info` beside the usual ones.
    accounts: BTreeMap<String, Value>,
    groups: BTreeMap<String, Vec<String>>,
    whispers: Vec<Whisper>,
    /// What came at the commands' own addresses.
    answers: Vec<String>,
    /// Whether these addresses are gone.
    deaf: bool,
    homes: BTreeMap<String, Value>,
}

/// The kind of the frame that carries a payload.
pub(super) fn kind(payload: &Value) -> &'static str {
    match payload["type"].as_str() {
        Some("block_actions") => "interactive",
        _ if payload["command"].is_string() => "slash_commands",
        _ => "events_api",
    }
}

/// `POST` to a command's own address.
pub(super) async fn answered(
    State(shared): State<Shared>,
    Path(_): Path<String>,
    Json(body): Json<Value>,
) -> StatusCode {
    let mut world = lock(&shared.world);
    if world.people.deaf {
        return StatusCode::NOT_FOUND;
    }
    match (body["response_type"].as_str(), body["text"].as_str()) {
        (Some("ephemeral"), Some(text)) if !text.is_empty() && text.chars().count() <= 4_000 => {
            world.people.answers.push(text.to_owned());
        }
        _ => world.violation(format!("an answer to a command that all would see, or nobody: {body}")),
    }
    StatusCode::OK
}

impl People {
    pub(super) fn account(&self, user: &str, name: &str) -> Value {
        let own_name = if name.is_empty() { "" } else { "n" };
        let mut account = json!({"id": user, "team_id": "T1", "deleted": false, "name": own_name, "is_bot": false,
            "is_restricted": false, "is_ultra_restricted": false, "profile": {"display_name": name}});
        for (key, value) in self.accounts.get(user).and_then(Value::as_object).into_iter().flatten() {
            account[key] = value.clone();
        }
        json!({ "user": account })
    }

    pub(super) fn group_users(&self, group: &str) -> Result<Value, &'static str> {
        self.groups.get(group).map(|users| json!({ "users": users })).ok_or("no_such_subteam")
    }

    pub(super) fn whisper(&mut self, channel: &str, user: &str, text: &str) -> Result<Value, &'static str> {
        let (channel, user, text) = (channel.to_owned(), user.to_owned(), text.to_owned());
        self.whispers.push(Whisper { channel, user, text });
        Ok(json!({"message_ts": format!("{}.0", self.whispers.len())}))
    }

    pub(super) fn publish(&mut self, arguments: &Value) -> Result<Value, &'static str> {
        let user = arguments["user_id"].as_str().ok_or("invalid_arguments")?;
        let blocks = arguments["view"]["blocks"].as_array().ok_or("invalid_arguments")?;
        let sound = |block: &Value| {
            let text = block["text"]["text"].as_str().unwrap_or_default();
            block["type"] == "section"
                && block["text"]["type"] == "mrkdwn"
                && (1..=3_000).contains(&text.chars().count())
        };
        if arguments["view"]["type"] != "home" || blocks.len() > 100 || !blocks.iter().all(sound) {
            return Err("invalid_arguments");
        }
        self.homes.insert(user.to_owned(), arguments["view"].clone());
        Ok(json!({"view": {"id": "V1"}}))
    }
}

impl FakeSlack {
    /// Somebody who is a full member of the workspace but for these fields of `users.info`.
    pub fn person(&self, user: &str, name: &str, account: Value) {
        let mut world = lock(&self.world);
        world.users.insert(user.to_owned(), name.to_owned());
        world.people.accounts.insert(user.to_owned(), account);
    }

    /// A user group and who is in it.
    pub fn group(&self, group: &str, users: &[&str]) {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        lock(&self.world).people.groups.insert(group.to_owned(), users);
    }

    /// What only one person was told, in order.
    pub fn whispers(&self, user: &str) -> Vec<Whisper> {
        lock(&self.world).people.whispers.iter().filter(|whisper| whisper.user == user).cloned().collect()
    }

    /// What came at the commands' own addresses, in order.
    pub fn answers(&self) -> Vec<String> {
        lock(&self.world).people.answers.clone()
    }

    /// Waits for the answer to a command at its own address.
    pub async fn wait_answer(&self, event: &str, wanted: impl Fn(&str) -> bool) -> String {
        until(event, || {
            let found = self.answers().into_iter().find(|answer| wanted(answer));
            async { found }
        })
        .await
    }

    /// Whether the commands' own addresses are gone.
    pub fn forget_addresses(&self, deaf: bool) {
        lock(&self.world).people.deaf = deaf;
    }

    /// A method fails for everybody, or works again.
    pub fn break_down(&self, method: &str, broken: bool) {
        let mut world = lock(&self.world);
        let _ = if broken { world.broken.insert(method.to_owned()) } else { world.broken.remove(method) };
    }

    /// Somebody types a command; its payload, which a test may deliver again.
    pub fn command(&self, user: &str, channel: &str, text: &str) -> Value {
        let mut world = lock(&self.world);
        world.clock += 1;
        let number = world.clock;
        let payload = json!({
            "token": "t", "team_id": "T1", "team_domain": "x", "channel_id": channel, "channel_name": "n", "user_id": user,
            "user_name": "n", "command": "/fleet", "text": text, "api_app_id": "A1", "is_enterprise_install": "false",
            "response_url": format!("http://{}/commands/{number}", self.address), "trigger_id": format!("{number}.1.x"),
        });
        world.deliver(payload.clone());
        payload
    }

    /// Somebody presses a button of a message.
    pub fn press(&self, user: &str, channel: &str, ts: &str) {
        let mut world = lock(&self.world);
        world.clock += 1;
        let trigger = format!("{}.1.x", world.clock);
        world.deliver(json!({
            "type": "block_actions", "team": {"id": "T1"}, "user": {"id": user, "team_id": "T1"}, "trigger_id": trigger,
            "channel": {"id": channel, "name": "n"}, "message": {"type": "message", "ts": ts},
            "actions": [{"type": "button", "action_id": "allow", "block_id": "b", "value": "1"}],
        }));
    }

    /// Somebody opens the app's home.
    pub fn open_home(&self, user: &str) {
        self.raw_event(
            json!({"type": "app_home_opened", "user": user, "channel": "D1", "tab": "home", "event_ts": "1.0"}),
        );
    }

    /// What somebody's home shows.
    pub fn home(&self, user: &str) -> Option<String> {
        let world = lock(&self.world);
        let blocks = world.people.homes.get(user)?["blocks"].as_array()?;
        Some(blocks.iter().filter_map(|block| block["text"]["text"].as_str()).collect::<Vec<_>>().join("\n"))
    }
}
