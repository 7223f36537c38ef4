//! What people do in the fake besides saying something, and what becomes of channels and sockets.

use serde_json::{Value, json};

use super::{FakeSlack, World, lock};

impl FakeSlack {
    /// A person shares files with a message: name, type and content of each.
    pub fn human_shares(&self, channel: &str, user: &str, text: &str, files: &[(&str, &str, &[u8])]) -> String {
        let mut world = lock(&self.world);
        let ts = world.post(channel, None, user, text, Value::Null);
        let mut shown = Vec::new();
        for (name, mimetype, content) in files {
            world.clock += 1;
            let id = format!("F{}", world.clock);
            let url = format!("http://{}/files/{id}", self.address);
            world.files.insert(id.clone(), content.to_vec());
            shown.push(json!({"id": id, "name": name, "mimetype": mimetype, "size": content.len(), "mode": "hosted",
                "url_private": url, "url_private_download": url}));
        }
        world.message(channel, &ts).files = shown.clone();
        let mut event = world.event("message", channel, None, user, text, &ts);
        event["event"]["subtype"] = json!("file_share");
        event["event"]["files"] = json!(shown);
        world.deliver(event);
        ts
    }

    /// A person edits what they said.
    pub fn human_edits(&self, channel: &str, ts: &str, text: &str) {
        let mut world = lock(&self.world);
        let before = world.shown(channel, ts);
        let edited = world.next_ts();
        let message = world.message(channel, ts);
        (message.text, message.edited) = (text.to_owned(), Some(edited.clone()));
        let now = world.shown(channel, ts);
        let event = world.envelope(json!({"type": "message", "subtype": "message_changed", "channel": channel,
            "ts": edited, "event_ts": edited, "hidden": true, "message": now, "previous_message": before}));
        world.deliver(event);
    }

    /// A person deletes what they said.
    pub fn human_deletes(&self, channel: &str, ts: &str) {
        let mut world = lock(&self.world);
        let before = world.shown(channel, ts);
        world.messages.get_mut(channel).unwrap().retain(|message| message.ts != ts);
        let now = world.next_ts();
        let event = world.envelope(json!({"type": "message", "subtype": "message_deleted", "channel": channel,
            "ts": now, "event_ts": now, "deleted_ts": ts, "hidden": true, "previous_message": before}));
        world.deliver(event);
    }

    /// A person reacts to a message.
    pub fn human_reacts(&self, channel: &str, ts: &str, user: &str, emoji: &str) {
        let mut world = lock(&self.world);
        let whose = world.message(channel, ts).user.clone();
        let event = world.envelope(json!({"type": "reaction_added", "user": user, "reaction": emoji,
            "item_user": whose, "item": {"type": "message", "channel": channel, "ts": ts}, "event_ts": "1.0"}));
        world.deliver(event);
    }

    /// From now on events are given up instead of sent, or sent again: sockets stay open, and nothing comes on them.
    pub fn deafen(&self, deaf: bool) {
        lock(&self.world).deaf = deaf;
    }

    /// Slack gives up on every event that nobody acked.
    pub fn give_up(&self) {
        lock(&self.world).unacked.clear();
    }

    /// A channel is archived, or brought back.
    pub fn archive(&self, channel: &str, archived: bool) {
        let mut world = lock(&self.world);
        if archived {
            world.archived.insert(channel.to_owned())
        } else {
            world.archived.remove(channel)
        };
        let kind = if archived { "channel_archive" } else { "channel_unarchive" };
        let event = world.envelope(json!({"type": kind, "channel": channel, "user": "UANN"}));
        world.deliver(event);
    }

    /// A channel gets another id, with all that was said in it.
    pub fn migrate(&self, old: &str, new: &str) {
        let mut world = lock(&self.world);
        let name = world.channels.remove(old).unwrap();
        world.channels.insert(new.to_owned(), name);
        let messages = world.messages.remove(old).unwrap_or_default();
        world.messages.insert(new.to_owned(), messages);
        let event = world.envelope(json!({"type": "channel_id_changed", "old_channel_id": old, "new_channel_id": new}));
        world.deliver(event);
    }

    /// A channel gets another name.
    pub fn rename(&self, channel: &str, name: &str) {
        let mut world = lock(&self.world);
        world.channels.insert(channel.to_owned(), name.to_owned());
        let event = world.envelope(json!({"type": "channel_rename", "channel": {"id": channel, "name": name}}));
        world.deliver(event);
    }
}

impl World {
    fn message(&mut self, channel: &str, ts: &str) -> &mut super::Posted {
        self.messages.get_mut(channel).unwrap().iter_mut().find(|message| message.ts == ts).unwrap()
    }

    /// A message as the history tells it.
    pub(super) fn shown(&self, channel: &str, ts: &str) -> Value {
        let all = &self.messages[channel];
        let message = all.iter().find(|message| message.ts == ts).unwrap();
        let mut shown = json!({"type": "message", "ts": ts, "text": message.text, "user": message.user, "team": "T1"});
        if message.user == super::BOT_USER {
            shown["bot_id"] = json!("B1");
            shown["app_id"] = json!("A1");
        }
        if !message.files.is_empty() {
            shown["files"] = json!(message.files);
        }
        if let Some(edited) = &message.edited {
            shown["edited"] = json!({"user": message.user, "ts": edited});
        }
        let replies = all.iter().filter(|reply| reply.thread.as_deref() == Some(ts)).count();
        if let Some(thread) = &message.thread {
            shown["thread_ts"] = json!(thread);
            let root = all.iter().find(|root| root.ts == *thread);
            shown["parent_user_id"] = json!(root.map(|root| root.user.clone()));
        } else if replies > 0 {
            shown["thread_ts"] = json!(ts);
            shown["reply_count"] = json!(replies);
        }
        shown
    }
}
