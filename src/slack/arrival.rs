//! What arrived on a socket, or was read as if it had: a stored frame → typed words. Pure.
//!
//! Read leniently, by the few fields that decide: a block type or a field that is new to us must not lose what a person did.

use serde::{Deserialize, Serialize};

/// A frame of Socket Mode, as far as the socket must understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// The socket is live.
    Hello,
    /// The socket is about to be closed, or was refused: `warning`, `refresh_requested`, `link_disabled`.
    Disconnect { reason: String },
    /// An event, a press of a button or a command: it is stored under `key`, once for all that it is `about`, then acked.
    Arrival { envelope_id: String, key: String, about: Option<String> },
    /// A kind that the app does not use; it is acked, so that it does not come again.
    Unused { envelope_id: String },
}

#[derive(Deserialize)]
struct RawFrame {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
    envelope_id: Option<String>,
    payload: Option<Keys>,
}

#[derive(Deserialize, Default)]
struct Keys {
    event_id: Option<String>,
    trigger_id: Option<String>,
}

/// What a frame's text says; nothing where it can't be read. Such a frame is not acked: Slack sends it again.
pub(super) fn read_frame(text: &str) -> Option<Frame> {
    let raw: RawFrame = serde_json::from_str(text).ok()?;
    let Keys { event_id, trigger_id } = raw.payload.unwrap_or_default();
    let key = event_id.or(trigger_id);
    match (raw.kind.as_str(), raw.envelope_id) {
        ("hello", _) => Some(Frame::Hello),
        ("disconnect", _) => Some(Frame::Disconnect { reason: raw.reason }),
        ("events_api" | "interactive" | "slash_commands", Some(envelope_id)) => {
            let key = key.unwrap_or_else(|| envelope_id.clone());
            let about = event::<Post>(text).and_then(|wrapped| wrapped.event.about());
            Some(Frame::Arrival { envelope_id, key, about })
        }
        (_, Some(envelope_id)) => Some(Frame::Unused { envelope_id }),
        (_, None) => None,
    }
}

/// What was done in Slack, by kind.
#[derive(Debug)]
pub(super) enum Arrival {
    /// `message` or `app_mention`.
    Post(Box<Callback>),
    /// `reaction_added` or `reaction_removed`.
    Reaction(Reaction),
    /// Something about a channel: `channel_…`, `group_…`, `member_…`.
    Channel(ChannelEvent),
    /// `app_home_opened`.
    Home(HomeOpened),
    /// A button, a picker or a dialog.
    Interaction(Interaction),
    /// A slash command.
    Command(Command),
    /// Nothing for us, for this reason.
    Other(&'static str),
}

/// Who did it, by ids alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// `U…` or `W…`.
    pub(super) user: String,
    /// The workspace they belong to, where Slack says so.
    pub(super) team: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EventFrame<E> {
    payload: Wrapped<E>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Wrapped<E> {
    #[serde(default)]
    team_id: String,
    #[serde(default)]
    read_back: bool,
    event: E,
}

#[derive(Debug, Deserialize)]
struct PlainFrame<P> {
    payload: P,
}

#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(rename = "type", default)]
    kind: String,
}

/// A post, with the workspace it came to.
#[derive(Debug)]
pub(super) struct Callback {
    pub(super) team_id: String,
    /// Whether it was read from the history, and so may be old.
    pub(super) read_back: bool,
    pub(super) event: Post,
}

impl Callback {
    /// The frame in which a post that the history told is stored.
    pub(super) fn read_back(team_id: &str, event: &Post) -> serde_json::Result<String> {
        let payload = Wrapped { team_id: team_id.to_owned(), read_back: true, event };
        serde_json::to_string(&EventFrame { payload })
    }
}

/// The part of `message` and `app_mention` that decides, as events and the history tell it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Post {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) subtype: Option<String>,
    /// The history leaves it out.
    #[serde(default)]
    pub(super) channel: String,
    pub(super) user: Option<String>,
    /// The workspace of its author.
    pub(super) user_team: Option<String>,
    /// The same, by the name that shared channels give it.
    pub(super) source_team: Option<String>,
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) ts: String,
    pub(super) thread_ts: Option<String>,
    pub(super) parent_user_id: Option<String>,
    pub(super) bot_id: Option<String>,
    pub(super) app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<SharedFile>,
    pub(super) edited: Option<Edited>,
    /// The post as it is now, of `message_changed`.
    pub(super) message: Option<Box<Post>>,
    /// The post as it was, of `message_changed` and `message_deleted`.
    pub(super) previous_message: Option<Box<Post>>,
    /// Of `message_deleted`.
    pub(super) deleted_ts: Option<String>,
    /// How many replies a root has, in the history.
    pub(super) reply_count: Option<u64>,
}

/// When a post was edited last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edited {
    #[serde(default)]
    pub(super) ts: String,
}

/// A file that hangs on a post.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedFile {
    #[serde(default)]
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) mimetype: Option<String>,
    pub(super) size: Option<u64>,
    /// `hosted`, `external`, `tombstone`, …
    pub(super) mode: Option<String>,
    pub(super) url_private: Option<String>,
    pub(super) url_private_download: Option<String>,
}

impl Post {
    /// Whether it is something said anew, by whomever.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.kind.as_str(), "message" | "app_mention")
            && matches!(
                self.subtype.as_deref(),
                None | Some("file_share" | "thread_broadcast" | "me_message" | "bot_message")
            )
    }

    /// The workspace of its author, where Slack says so.
    pub(super) fn team(&self) -> Option<&str> {
        self.source_team.as_deref().or(self.user_team.as_deref())
    }

    /// What it tells, by a name that is the same however it is told.
    pub(super) fn about(&self) -> Option<String> {
        let channel = Some(self.channel.as_str()).filter(|channel| !channel.is_empty())?;
        let post = |ts: &str| Some(ts).filter(|ts| !ts.is_empty()).map(|ts| format!("{channel}/{ts}"));
        match (self.kind.as_str(), self.subtype.as_deref()) {
            ("message", Some("message_changed")) => {
                let now = self.message.as_ref()?;
                Some(format!("{}/edited/{}", post(&now.ts)?, now.edited.as_ref()?.ts))
            }
            ("message", Some("message_deleted")) => Some(format!("{}/deleted", post(self.deleted_ts.as_deref()?)?)),
            _ if self.is_new() => post(&self.ts),
            _ => None,
        }
    }
}

/// A reaction that was set or taken away.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Reaction {
    /// `reaction_added` or `reaction_removed`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The workspace that the event came to; it stands beside the event.
    #[serde(skip)]
    pub(super) team_id: String,
    #[serde(default)]
    pub(super) user: String,
    /// The emoji's name, without colons.
    #[serde(default)]
    pub(super) reaction: String,
    #[serde(default)]
    pub(super) item: ReactedTo,
    /// Whose message it is.
    pub(super) item_user: Option<String>,
}

/// What a reaction stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ReactedTo {
    #[serde(default)]
    pub(super) channel: String,
    #[serde(default)]
    pub(super) ts: String,
}

/// Something about a channel or who is in it. `channel` is an id in some kinds and an object in others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ChannelEvent {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) channel: Option<ChannelRef>,
    pub(super) user: Option<String>,
    pub(super) old_channel_id: Option<String>,
    pub(super) new_channel_id: Option<String>,
}

/// A channel as the events name it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum ChannelRef {
    /// Its id.
    Id(String),
    /// Its id and its name.
    Named { id: String, name: Option<String> },
}

impl ChannelRef {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Named { id, .. } => id,
        }
    }
}

/// Somebody opened the app's home.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct HomeOpened {
    #[serde(default)]
    pub(super) user: String,
    /// `home` or `messages`.
    #[serde(default)]
    pub(super) tab: String,
}

/// A button, a picker or a dialog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Interaction {
    /// `block_actions`, `view_submission`, …
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) user: InteractingUser,
    pub(super) channel: Option<Named>,
    pub(super) message: Option<PressedMessage>,
    #[serde(default)]
    pub(super) trigger_id: String,
    #[serde(default)]
    pub(super) actions: Vec<Pressed>,
}

/// Who pressed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct InteractingUser {
    pub(super) id: String,
    pub(super) team_id: Option<String>,
}

/// Something with an id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
}

/// The message that holds what was pressed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct PressedMessage {
    pub(super) ts: String,
    pub(super) thread_ts: Option<String>,
}

/// What was pressed or chosen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Pressed {
    #[serde(default)]
    pub(super) action_id: String,
    #[serde(default)]
    pub(super) block_id: String,
    /// A button's value, or the text that was typed.
    pub(super) value: Option<String>,
    pub(super) selected_option: Option<Chosen>,
}

/// A choice of a picker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Chosen {
    #[serde(default)]
    pub(super) value: String,
}

/// An address at which whoever has it can post: never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Address(pub(super) String);

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Address(…)")
    }
}

/// A slash command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Command {
    /// With its slash.
    #[serde(default)]
    pub(super) command: String,
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) user_id: String,
    /// The workspace of the person who typed it.
    pub(super) team_id: Option<String>,
    #[serde(default)]
    pub(super) channel_id: String,
    #[serde(default)]
    pub(super) trigger_id: String,
    /// Where the answer may go for half an hour.
    pub(super) response_url: Option<Address>,
}

impl Arrival {
    /// A stored frame's words.
    pub(super) fn read(frame: &str) -> Self {
        Self::typed(frame).unwrap_or(Self::Other("it can't be read"))
    }

    fn typed(frame: &str) -> Option<Self> {
        let raw: RawFrame = serde_json::from_str(frame).ok()?;
        match raw.kind.as_str() {
            "interactive" => Some(Self::Interaction(plain(frame)?)),
            "slash_commands" => Some(Self::Command(plain(frame)?)),
            _ => Self::event(frame),
        }
    }

    fn event(frame: &str) -> Option<Self> {
        let kind: EventFrame<Kind> = serde_json::from_str(frame).ok()?;
        match kind.payload.event.kind.as_str() {
            "message" | "app_mention" => {
                let Wrapped { team_id, read_back, event } = event(frame)?;
                Some(Self::Post(Box::new(Callback { team_id, read_back, event })))
            }
            "reaction_added" | "reaction_removed" => {
                let Wrapped { team_id, event, .. } = event::<Reaction>(frame)?;
                Some(Self::Reaction(Reaction { team_id, ..event }))
            }
            "app_home_opened" => Some(Self::Home(event(frame)?.event)),
            kind if ["channel_", "group_", "member_"].iter().any(|prefix| kind.starts_with(prefix)) => {
                Some(Self::Channel(event(frame)?.event))
            }
            _ => Some(Self::Other("a kind of event that is not used")),
        }
    }

    /// The way in which it came, in one word.
    pub(super) fn way(&self) -> &'static str {
        match self {
            Self::Post(_) => "a message",
            Self::Reaction(_) => "a reaction",
            Self::Channel(_) => "a channel",
            Self::Home(_) => "the home",
            Self::Interaction(_) => "a button",
            Self::Command(_) => "a command",
            Self::Other(_) => "something else",
        }
    }

    /// The channel in which it was done.
    pub(super) fn channel(&self) -> Option<&str> {
        let channel = match self {
            Self::Post(callback) => callback.event.channel.as_str(),
            Self::Reaction(reaction) => &reaction.item.channel,
            Self::Interaction(interaction) => &interaction.channel.as_ref()?.id,
            Self::Command(command) => &command.channel_id,
            Self::Home(_) | Self::Channel(_) | Self::Other(_) => return None,
        };
        Some(channel).filter(|channel| !channel.is_empty())
    }

    /// Who did it; nobody where it is none of a person's doings.
    pub(super) fn person(&self) -> Option<Person> {
        let (user, team) = match self {
            Self::Post(callback) => {
                let event = &callback.event;
                // Of an edit and of a deletion the post itself names its author.
                let post = event.message.as_deref().or(event.previous_message.as_deref()).unwrap_or(event);
                (post.user.clone()?, post.team().map(str::to_owned))
            }
            Self::Reaction(reaction) => (reaction.user.clone(), None),
            Self::Home(home) => (home.user.clone(), None),
            Self::Interaction(interaction) => (interaction.user.id.clone(), interaction.user.team_id.clone()),
            Self::Command(command) => (command.user_id.clone(), command.team_id.clone()),
            Self::Channel(_) | Self::Other(_) => return None,
        };
        Some(Person { user, team })
    }
}

fn plain<P: serde::de::DeserializeOwned>(frame: &str) -> Option<P> {
    serde_json::from_str::<PlainFrame<P>>(frame).ok().map(|frame| frame.payload)
}

fn event<E: serde::de::DeserializeOwned>(frame: &str) -> Option<Wrapped<E>> {
    serde_json::from_str::<EventFrame<E>>(frame).ok().map(|frame| frame.payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_by_what_matters_and_an_unreadable_one_is_not_acked() {
        let arrival = |key: &str| Some(Frame::Arrival { envelope_id: "e".into(), key: key.into(), about: None });
        let rows = [
            (r#"{"type":"hello","num_connections":1}"#, Some(Frame::Hello)),
            (r#"{"type":"disconnect","reason":"warning"}"#, Some(Frame::Disconnect { reason: "warning".into() })),
            (r#"{"type":"events_api","envelope_id":"e","payload":{"event_id":"Ev1","x":[]}}"#, arrival("Ev1")),
            (r#"{"type":"events_api","envelope_id":"e","payload":{}}"#, arrival("e")),
            (r#"{"type":"interactive","envelope_id":"e","payload":{"trigger_id":"1.2.x"}}"#, arrival("1.2.x")),
            (r#"{"type":"slash_commands","envelope_id":"e","payload":{"command":"/x"}}"#, arrival("e")),
            (r#"{"type":"new_kind","envelope_id":"e","payload":{}}"#, Some(Frame::Unused { envelope_id: "e".into() })),
            ("not json", None),
            (r#"{"type":"new_kind"}"#, None),
        ];
        for (text, expected) in rows {
            assert_eq!(read_frame(text), expected, "{text}");
        }
    }

    #[test]
    fn one_post_has_one_name_whichever_way_it_is_told_and_each_of_its_edits_another() {
        let rows = [
            (r#"{"type":"message","channel":"C1","ts":"1.0"}"#, Some("C1/1.0")),
            (r#"{"type":"app_mention","channel":"C1","ts":"1.0"}"#, Some("C1/1.0")),
            (r#"{"type":"message","subtype":"file_share","channel":"C1","ts":"1.0"}"#, Some("C1/1.0")),
            (r#"{"type":"message","subtype":"channel_join","channel":"C1","ts":"1.0"}"#, None),
            (
                r#"{"type":"message","subtype":"message_changed","channel":"C1","ts":"2.0",
                   "message":{"ts":"1.0","edited":{"user":"U1","ts":"2.0"}}}"#,
                Some("C1/1.0/edited/2.0"),
            ),
            (
                r#"{"type":"message","subtype":"message_changed","channel":"C1","ts":"2.0","message":{"ts":"1.0"}}"#,
                None,
            ),
            (
                r#"{"type":"message","subtype":"message_deleted","channel":"C1","ts":"2.0","deleted_ts":"1.0"}"#,
                Some("C1/1.0/deleted"),
            ),
            (r#"{"type":"reaction_added","item":{"channel":"C1","ts":"1.0"}}"#, None),
        ];
        for (event, expected) in rows {
            let post: Post = serde_json::from_str(event).unwrap();
            assert_eq!(post.about().as_deref(), expected, "{event}");
        }
        let post: Post = serde_json::from_str(r#"{"type":"message","channel":"C1","ts":"1.0","text":"a"}"#).unwrap();
        let Arrival::Post(callback) = Arrival::read(&Callback::read_back("T1", &post).unwrap()) else {
            panic!("a post of the history is a post")
        };
        assert!(callback.read_back && callback.team_id == "T1" && callback.event.about() == post.about());
    }

    /// The kind of what arrived, and who did it.
    fn read(frame: &str) -> (&'static str, Option<String>) {
        let arrival = Arrival::read(frame);
        let kind = match &arrival {
            Arrival::Post(_) => "post",
            Arrival::Reaction(_) => "reaction",
            Arrival::Channel(_) => "channel",
            Arrival::Home(_) => "home",
            Arrival::Interaction(_) => "interaction",
            Arrival::Command(_) => "command",
            Arrival::Other(why) => why,
        };
        (kind, arrival.person().map(|person| person.user))
    }

    #[test]
    fn whatever_a_person_does_is_told_apart_with_who_did_it() {
        let event = |event: &str| {
            format!(r#"{{"type":"events_api","payload":{{"team_id":"T1","event_id":"E1","event":{event}}}}}"#)
        };
        let rows = [
            (event(r#"{"type":"message","user":"U1","text":"a","ts":"1.0","blocks":[{"type":"x"}]}"#), "post", "U1"),
            (event(r#"{"type":"app_mention","user":"U1","text":"a","ts":"1.0"}"#), "post", "U1"),
            (
                event(
                    r#"{"type":"reaction_added","user":"U1","reaction":"x","item":{"type":"message","channel":"C1","ts":"1.0"}}"#,
                ),
                "reaction",
                "U1",
            ),
            (event(r#"{"type":"channel_archive","channel":"C1","user":"U1"}"#), "channel", ""),
            (event(r#"{"type":"channel_rename","channel":{"id":"C1","name":"n","created":1}}"#), "channel", ""),
            (event(r#"{"type":"app_home_opened","user":"U1","tab":"home"}"#), "home", "U1"),
            (
                r#"{"type":"interactive","payload":{"type":"block_actions","user":{"id":"U1","team_id":"T1"},
                   "actions":[{"action_id":"a","block_id":"b","value":"v","type":"button"}]}}"#
                    .to_owned(),
                "interaction",
                "U1",
            ),
            (
                r#"{"type":"slash_commands","payload":{"command":"/fleet","text":"status","user_id":"U1"}}"#.to_owned(),
                "command",
                "U1",
            ),
            (event(r#"{"type":"something_new"}"#), "a kind of event that is not used", ""),
            (event(r#""not even an object""#), "it can't be read", ""),
            ("junk".to_owned(), "it can't be read", ""),
        ];
        for (frame, kind, user) in rows {
            let who = Some(user.to_owned()).filter(|user| !user.is_empty());
            assert_eq!(read(&frame), (kind, who), "{frame}");
        }
    }
}
