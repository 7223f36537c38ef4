//! Channels that come, go and change: what Slack tells of one → what follows. The id is the place: a new name changes nothing, a
//! new id is followed, and where the app can neither hear nor speak, it waits until it can again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Bridge;
use super::arrival::{ChannelEvent, ChannelRef};
use super::from_slack::Directory;
use super::web::Channel;
use crate::model::Notice;
use crate::store::Write;
use crate::store::slack_in::{follow_channel, leave_channel, return_to_channel};

/// What became of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It has another name.
    Renamed,
    /// It has another id.
    Moved { old: String, new: String },
    /// The app can neither hear nor speak in it, for this reason.
    Lost { channel: String, why: &'static str },
    /// It can again.
    Back { channel: String },
}

/// What an event says became of a channel; nothing where it is none of ours, or nothing that matters.
pub(super) fn change(event: &ChannelEvent, directory: &Directory) -> Option<Change> {
    if event.kind == "channel_id_changed" {
        let (old, new) = (event.old_channel_id.clone()?, event.new_channel_id.clone()?);
        return Some(Change::Moved { old, new });
    }
    let channel = event.channel.as_ref().map(ChannelRef::id)?.to_owned();
    let is_us = event.user.as_deref() == Some(directory.bot_user.as_str());
    let change = match event.kind.as_str() {
        // A channel that is not known may have got the name that agents.yaml gives.
        "channel_rename" | "group_rename" => return Some(Change::Renamed),
        "channel_archive" | "group_archive" => Change::Lost { channel, why: "it was archived" },
        "channel_deleted" | "group_deleted" => Change::Lost { channel, why: "it was deleted" },
        "channel_left" | "group_left" => Change::Lost { channel, why: KICKED },
        "member_left_channel" if is_us => Change::Lost { channel, why: KICKED },
        "channel_unarchive" | "group_unarchive" => Change::Back { channel },
        "member_joined_channel" if is_us => Change::Back { channel },
        _ => return None,
    };
    let (Change::Lost { channel, .. } | Change::Back { channel }) = &change else { return Some(change) };
    // An invitation may be what a channel was missing for.
    let ours = directory.all_channels().contains(channel) || matches!(change, Change::Back { .. });
    ours.then_some(change)
}

const KICKED: &str = "the app was removed from it: /invite it there";

/// What an error of Slack's says of the channel; nothing where it says nothing about the place.
pub(super) fn why_refused(code: &str) -> Option<&'static str> {
    match code {
        "is_archived" => Some("it is archived"),
        "not_in_channel" => Some("the app is not in it: /invite it there"),
        "channel_not_found" => Some("the app does not see it: /invite it there"),
        _ => None,
    }
}

/// The channels in which the app can neither hear nor speak.
#[derive(Debug, Default)]
pub(super) struct Away(Mutex<BTreeMap<String, String>>);

impl Away {
    /// Whether the app can do nothing in a channel now.
    pub(super) fn has(&self, channel: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(channel)
    }

    /// Those of `channels` in which it can.
    pub(super) fn present(&self, channels: &[String]) -> Vec<String> {
        channels.iter().filter(|channel| !self.has(channel)).cloned().collect()
    }

    /// Why nothing can be done in a channel now.
    pub(super) fn why(&self, channel: &str) -> Option<String> {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(channel).cloned();
        why.map(|why| format!("its channel is away: {why}"))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// As the store has it.
    pub(super) fn set(&self, channels: impl IntoIterator<Item = (String, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = channels.into_iter().collect();
    }
}

/// Stores a change.
pub(super) async fn store(write: &mut Write, change: &Change, now: jiff::Timestamp) -> anyhow::Result<()> {
    match change {
        Change::Renamed => {}
        Change::Moved { old, new } => follow_channel(write, old, new).await?,
        Change::Lost { channel, why } => drop(leave_channel(write, channel, why, now).await?),
        Change::Back { channel } => drop(return_to_channel(write, channel).await?),
    }
    Ok(())
}

impl Bridge {
    /// Reads again which channels are away.
    pub(super) async fn read_away(&self) -> anyhow::Result<()> {
        let away = self.store.slack_away().await?;
        self.away.set(away);
        // What waited for a channel may be said.
        self.queued.notify_one();
        Ok(())
    }

    /// Tells people of a change, once for each `name`, before it is stored.
    pub(super) async fn tell_change(&self, name: &str, change: &Change, directory: &Directory) -> anyhow::Result<()> {
        let (channel, what) = match change {
            Change::Renamed | Change::Moved { .. } => return Ok(()),
            Change::Lost { channel, why } => (
                channel,
                format!(
                    "can neither hear nor speak in its Slack channel <#{channel}>: {why}. It works on; what there is to say waits until the channel is back"
                ),
            ),
            Change::Back { channel } if self.away.has(channel) => {
                (channel, format!("hears and speaks in its Slack channel <#{channel}> again"))
            }
            Change::Back { .. } => return Ok(()),
        };
        if matches!(change, Change::Lost { .. }) && self.away.has(channel) {
            return Ok(());
        }
        for (agent, _) in directory.channels.iter().filter(|(_, id)| id == channel) {
            let notice = Notice::Problem { what: format!("*{agent}* {what}") };
            tracing::warn!(%agent, channel, "{what}");
            self.store.tell_box(&format!("channel/{agent}/{name}"), &notice, self.clock.now()).await?;
        }
        self.told.notify_one();
        Ok(())
    }

    /// Whether Slack refused a call because of its channel: that is away from now on.
    pub(super) async fn refused_in(&self, channel: &str, code: &str) -> bool {
        let (Some(why), Some(directory)) = (why_refused(code), self.directory.borrow().clone()) else { return false };
        if !directory.channels.iter().any(|(_, id)| id == channel) {
            return false;
        }
        let change = Change::Lost { channel: channel.to_owned(), why };
        let done = async {
            let now = self.clock.now();
            self.tell_change(&format!("refused/{now}"), &change, &directory).await?;
            let mut write = self.store.write().await?;
            store(&mut write, &change, now).await?;
            write.commit().await?;
            self.read_away().await
        };
        let done = done.await;
        if let Err(error) = &done {
            self.board.store(Some(format!("{error:#}")));
        }
        self.look_around.notify_one();
        done.is_ok()
    }

    /// Channels that are away are back where Slack lists them as ours.
    pub(super) async fn see_returns(&self, listed: &[Channel], directory: &Directory) -> anyhow::Result<()> {
        let back = |channel: &&Channel| channel.is_member == Some(true) && self.away.has(&channel.id);
        for channel in listed.iter().filter(back) {
            let now = self.clock.now();
            let change = Change::Back { channel: channel.id.clone() };
            self.tell_change(&format!("back/{now}"), &change, directory).await?;
            let mut write = self.store.write().await?;
            store(&mut write, &change, now).await?;
            write.commit().await?;
            self.read_away().await?;
            self.reconnected.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_channel_of_ours_is_seen_and_what_becomes_of_others_is_not() {
        let directory = Directory {
            bot_user: "UBOT".into(),
            channels: vec![("pr".parse().unwrap(), "C1".into())],
            ..Directory::default()
        };
        let lost = |why| Some(Change::Lost { channel: "C1".into(), why });
        let back = Some(Change::Back { channel: "C1".into() });
        for (event, expected) in [
            (r#"{"type":"channel_archive","channel":"C1","user":"U1"}"#, lost("it was archived")),
            (r#"{"type":"group_archive","channel":"C9","user":"U1"}"#, None),
            (r#"{"type":"channel_left","channel":"C1"}"#, lost(KICKED)),
            (r#"{"type":"member_left_channel","channel":"C1","user":"UBOT"}"#, lost(KICKED)),
            (r#"{"type":"member_left_channel","channel":"C1","user":"U1"}"#, None),
            (r#"{"type":"channel_unarchive","channel":"C1","user":"U1"}"#, back.clone()),
            (r#"{"type":"member_joined_channel","channel":"C1","user":"UBOT"}"#, back),
            (r#"{"type":"member_joined_channel","channel":"C1","user":"U1"}"#, None),
            (r#"{"type":"channel_rename","channel":{"id":"C7","name":"n"}}"#, Some(Change::Renamed)),
            (
                r#"{"type":"channel_id_changed","old_channel_id":"C1","new_channel_id":"C2"}"#,
                Some(Change::Moved { old: "C1".into(), new: "C2".into() }),
            ),
            (r#"{"type":"channel_created","channel":{"id":"C1","name":"n"}}"#, None),
        ] {
            assert_eq!(change(&serde_json::from_str(event).unwrap(), &directory), expected, "{event}");
        }
    }
}
