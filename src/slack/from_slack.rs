//! What Slack tells → what is to be done about it. Pure.
//!
//! The place decides: a channel's id belongs to one agent or to none, and there is no agent that gets the rest. Words of
//! bots, our own above all, never become a prompt. The events are read leniently, by the few fields that decide: a block
//! type that is new to us must not lose a person's message.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::plain::plain;
use super::wording;
use crate::model::{Mode, NewPrompt, Place, PromptId, Slug, Source};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread};

/// The events the app subscribes to, each with the scope it needs; `slack-manifest.yaml` names exactly these.
pub const EVENTS: &[(&str, &str)] = &[
    ("app_mention", "app_mentions:read"),
    ("message.channels", "channels:history"),
    ("message.groups", "groups:history"),
];

/// A frame of Socket Mode, as far as the socket must understand it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// The socket is live.
    Hello,
    /// The socket is about to be closed, or was refused: `warning`, `refresh_requested`, `link_disabled`.
    Disconnect { reason: String },
    /// An event: it is stored under `event_id`, then acked.
    Event { envelope_id: String, event_id: String },
    /// A kind that the app does not subscribe to; it is acked, so that it does not come again.
    Unsubscribed { envelope_id: String },
}

#[derive(Deserialize)]
struct RawFrame {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
    envelope_id: Option<String>,
    payload: Option<EventName>,
}

#[derive(Deserialize)]
struct EventName {
    event_id: Option<String>,
}

/// What a frame's text says; nothing where it can't be read. Such a frame is not acked: Slack sends it again.
pub(super) fn read_frame(text: &str) -> Option<Frame> {
    let raw: RawFrame = serde_json::from_str(text).ok()?;
    match (raw.kind.as_str(), raw.envelope_id) {
        ("hello", _) => Some(Frame::Hello),
        ("disconnect", _) => Some(Frame::Disconnect { reason: raw.reason }),
        ("events_api", Some(envelope_id)) => {
            let event_id = raw.payload.and_then(|payload| payload.event_id).unwrap_or_else(|| envelope_id.clone());
            Some(Frame::Event { envelope_id, event_id })
        }
        (_, Some(envelope_id)) => Some(Frame::Unsubscribed { envelope_id }),
        (_, None) => None,
    }
}

/// An event's frame as it was stored.
#[derive(Debug, Deserialize)]
pub(super) struct EventFrame {
    pub(super) payload: Callback,
}

#[derive(Debug, Deserialize)]
pub(super) struct Callback {
    #[serde(default)]
    pub(super) team_id: String,
    pub(super) event: Post,
}

/// The part of `message` and `app_mention` that decides.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Post {
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
    #[serde(default)]
    channel: String,
    user: Option<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    ts: String,
    thread_ts: Option<String>,
    parent_user_id: Option<String>,
    bot_id: Option<String>,
    app_id: Option<String>,
}

impl Post {
    /// The place of the thread it stands in, where it is a reply.
    pub(super) fn reply_to(&self) -> Option<(&str, &str)> {
        self.thread_ts.as_deref().map(|thread| (self.channel.as_str(), thread))
    }
}

/// Which channel is whose, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// Our own user id.
    pub(super) bot_user: String,
    /// The channel's id of each agent, in file order. Where agents share a channel, what opens a thread is for the first.
    pub(super) channels: Vec<(Slug, String)>,
    /// The status channel's id. What people say there is for nobody, unless it is an agent's channel too.
    pub(super) status: Option<String>,
}

impl Directory {
    /// The channel of an agent.
    pub(super) fn channel_of(&self, agent: &Slug) -> Option<&str> {
        self.channels.iter().find(|(slug, _)| slug == agent).map(|(_, channel)| channel.as_str())
    }

    /// The agent that a post in `channel` is for.
    fn owner(&self, channel: &str, thread: Option<&Thread>) -> Option<&Slug> {
        let here = || self.channels.iter().filter(|(_, id)| id == channel).map(|(slug, _)| slug);
        let named = thread.and_then(|thread| thread.agent.as_ref());
        here().find(|slug| Some(*slug) == named).or_else(|| here().next())
    }
}

/// What is to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Store a prompt, remember the thread as the agent's and say that it was heard.
    Prompt { prompt: NewPrompt, thread: Thread, ack: NewOutboxRow },
    /// Say once that nobody works there.
    AnswerOnce { thread: Thread, answer: NewOutboxRow },
    /// Nothing, for this reason.
    Ignore(&'static str),
}

/// The decision about one post. `thread` is what is known of the thread it stands in; `names` are display names by user id.
pub(super) fn decide(
    callback: &Callback,
    directory: &Directory,
    thread: Option<&Thread>,
    names: &BTreeMap<String, String>,
) -> Decision {
    let post = &callback.event;
    let mention = match post.kind.as_str() {
        "app_mention" => true,
        "message" => false,
        _ => return Decision::Ignore("a kind of event that is not subscribed to"),
    };
    let accepted = matches!(post.subtype.as_deref(), None | Some("file_share" | "thread_broadcast" | "me_message"));
    if !accepted {
        return Decision::Ignore("a subtype that is no new message of a person");
    }
    if post.bot_id.is_some() || post.app_id.is_some() {
        return Decision::Ignore("a bot's message");
    }
    let Some(user) = post.user.as_deref().filter(|user| *user != directory.bot_user) else {
        return Decision::Ignore("our own message, or nobody's");
    };
    if post.channel.is_empty() || post.ts.is_empty() {
        return Decision::Ignore("a message without a place");
    }
    let root = post.thread_ts.as_deref().unwrap_or(&post.ts);
    let Some(agent) = directory.owner(&post.channel, thread) else {
        return if mention { unowned(post, root) } else { Decision::Ignore("a channel that belongs to no agent") };
    };
    let ours = thread.is_some_and(|thread| thread.agent.as_ref() == Some(agent))
        || post.parent_user_id.as_deref() == Some(directory.bot_user.as_str());
    if root != post.ts && !mention && !ours {
        return Decision::Ignore("a thread among people");
    }
    let body = plain(&post.text, &directory.bot_user, names);
    if body.is_empty() {
        return Decision::Ignore("a message without text");
    }
    let channel = &post.channel;
    let prompt = NewPrompt {
        id: PromptId::random(),
        agent: agent.clone(),
        source: Source::Slack,
        who: names.get(user).cloned().unwrap_or_else(|| user.to_owned()),
        dedup_key: format!("slack/{}/{channel}/{}", callback.team_id, post.ts),
        body,
        place: Some(Place { channel: channel.clone(), thread: root.to_owned() }),
        expires: None,
        mode: Mode::Thread,
    };
    // A thread that is known keeps its lane: what is said in one thread must stay in one order.
    let known = thread.filter(|thread| thread.agent.as_ref() == Some(agent)).cloned();
    let thread = known.unwrap_or_else(|| thread_of_people(channel, root, Some(agent)));
    Decision::Prompt { prompt, thread, ack: ack(channel, &post.ts) }
}

/// The thread that a person's message opened.
pub(super) fn thread_of_people(channel: &str, root: &str, agent: Option<&Slug>) -> Thread {
    Thread {
        lane: format!("{channel}/{root}"),
        agent: agent.cloned(),
        channel: channel.to_owned(),
        ts: Some(root.to_owned()),
    }
}

fn ack(channel: &str, ts: &str) -> NewOutboxRow {
    // Its own lane: "heard" must not wait behind a long answer.
    let lane = format!("{}/{channel}/{ts}", wording::ACK_EMOJI);
    let action = OutboxAction::React { ts: ts.to_owned(), emoji: wording::ACK_EMOJI.to_owned() };
    NewOutboxRow { dedup_key: lane.clone(), lane, channel: channel.to_owned(), action }
}

fn unowned(post: &Post, root: &str) -> Decision {
    let thread = thread_of_people(&post.channel, root, None);
    let answer = NewOutboxRow {
        dedup_key: format!("unowned/{}", thread.lane),
        lane: thread.lane.clone(),
        channel: post.channel.clone(),
        action: OutboxAction::Reply { said: Said::text(wording::unowned_channel()) },
    };
    Decision::AnswerOnce { thread, answer }
}

/// The ids of the users that a text names, its author first.
pub(super) fn users_in(post: &Post) -> Vec<String> {
    let named = post.text.split("<@").skip(1).filter_map(|rest| rest.split(['>', '|']).next()).map(str::to_owned);
    let mut users: Vec<String> = post.user.iter().cloned().chain(named).take(6).collect();
    users.dedup();
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let owners = [("C1", "pr"), ("C2", "pr-reviewer")];
        Directory {
            bot_user: "UBOT".into(),
            channels: owners.iter().map(|(channel, slug)| (slug.parse().unwrap(), (*channel).to_owned())).collect(),
            status: None,
        }
    }

    /// The decision about an event, in one word.
    fn judged(event: &str, thread: Option<&Thread>) -> String {
        let event = format!(r#"{{"team_id":"T1","event_id":"E1","event":{event}}}"#);
        let callback: Callback = serde_json::from_str(&event).unwrap();
        match decide(&callback, &directory(), thread, &BTreeMap::new()) {
            Decision::Prompt { prompt, thread, ack } => {
                assert_eq!(
                    thread.lane,
                    prompt.place.map(|place| format!("{}/{}", place.channel, place.thread)).unwrap()
                );
                assert!(ack.dedup_key.starts_with("eyes/"));
                format!("{} {} {} {}", prompt.agent, prompt.dedup_key, thread.lane, prompt.body)
            }
            Decision::AnswerOnce { answer, .. } => format!("answer {}", answer.dedup_key),
            Decision::Ignore(reason) => reason.to_owned(),
        }
    }

    #[test]
    fn each_post_gets_the_one_right_decision() {
        let rows = [
            (r#"{"type":"message","channel":"C1","user":"U1","text":"a","ts":"1.0"}"#, "pr slack/T1/C1/1.0 C1/1.0 a"),
            (
                r#"{"type":"app_mention","channel":"C2","user":"U1","text":"<@UBOT> a","ts":"1.0"}"#,
                "pr-reviewer slack/T1/C2/1.0 C2/1.0 a",
            ),
            (
                r#"{"type":"app_mention","channel":"C1","user":"U1","text":"<@UBOT> a","ts":"2.0","thread_ts":"1.0"}"#,
                "pr slack/T1/C1/2.0 C1/1.0 a",
            ),
            (
                r#"{"type":"message","channel":"C1","user":"U1","text":"a","ts":"2.0","thread_ts":"1.0"}"#,
                "a thread among people",
            ),
            (
                r#"{"type":"message","channel":"C1","user":"U1","text":"a","ts":"2.0","thread_ts":"1.0","parent_user_id":"UBOT"}"#,
                "pr slack/T1/C1/2.0 C1/1.0 a",
            ),
            (r#"{"type":"app_mention","channel":"C9","user":"U1","text":"a","ts":"1.0"}"#, "answer unowned/C9/1.0"),
            (
                r#"{"type":"message","channel":"C9","user":"U1","text":"a","ts":"1.0"}"#,
                "a channel that belongs to no agent",
            ),
            (
                r#"{"type":"message","channel":"C1","user":"UBOT","text":"a","ts":"1.0"}"#,
                "our own message, or nobody's",
            ),
            (r#"{"type":"message","channel":"C1","user":"U1","bot_id":"B1","text":"a","ts":"1.0"}"#, "a bot's message"),
            (r#"{"type":"message","channel":"C1","user":"U1","app_id":"A1","text":"a","ts":"1.0"}"#, "a bot's message"),
            (
                r#"{"type":"message","subtype":"message_changed","channel":"C1","ts":"1.0"}"#,
                "a subtype that is no new message of a person",
            ),
            (
                r#"{"type":"message","subtype":"channel_join","user":"U1","channel":"C1","text":"a","ts":"1.0"}"#,
                "a subtype that is no new message of a person",
            ),
            (
                r#"{"type":"message","subtype":"me_message","channel":"C1","user":"U1","text":"a","ts":"1.0"}"#,
                "pr slack/T1/C1/1.0 C1/1.0 a",
            ),
            (r#"{"type":"message","channel":"C1","user":"U1","text":"<@UBOT>","ts":"1.0"}"#, "a message without text"),
            (r#"{"type":"reaction_added","user":"U1","reaction":"x"}"#, "a kind of event that is not subscribed to"),
        ];
        for (event, expected) in rows {
            assert_eq!(judged(event, None), expected, "{event}");
        }
    }

    #[test]
    fn a_reply_counts_only_in_a_thread_of_the_channel_s_own_agent() {
        let reply = r#"{"type":"message","channel":"C1","user":"U1","text":"a","ts":"2.0","thread_ts":"1.0"}"#;
        let of =
            |agent: Option<&str>| thread_of_people("C1", "1.0", agent.map(|agent| agent.parse().unwrap()).as_ref());
        assert_eq!(judged(reply, Some(&of(Some("pr")))), "pr slack/T1/C1/2.0 C1/1.0 a");
        assert_eq!(judged(reply, Some(&of(Some("pr-reviewer")))), "a thread among people");
        assert_eq!(judged(reply, Some(&of(None))), "a thread among people");
    }

    #[test]
    fn a_frame_is_read_by_what_matters_and_an_unreadable_one_is_not_acked() {
        let event = |id: &str| Some(Frame::Event { envelope_id: "e".into(), event_id: id.into() });
        let rows = [
            (r#"{"type":"hello","num_connections":1}"#, Some(Frame::Hello)),
            (r#"{"type":"disconnect","reason":"warning"}"#, Some(Frame::Disconnect { reason: "warning".into() })),
            (r#"{"type":"events_api","envelope_id":"e","payload":{"event_id":"Ev1","x":[]}}"#, event("Ev1")),
            (r#"{"type":"events_api","envelope_id":"e","payload":{}}"#, event("e")),
            (
                r#"{"type":"slash_commands","envelope_id":"e","payload":{"command":"/x"}}"#,
                Some(Frame::Unsubscribed { envelope_id: "e".into() }),
            ),
            ("not json", None),
            (r#"{"type":"new_kind"}"#, None),
        ];
        for (text, expected) in rows {
            assert_eq!(read_frame(text), expected, "{text}");
        }
    }

    #[test]
    fn a_reply_below_our_own_root_keeps_that_thread_s_lane_so_that_answers_stay_in_order() {
        let event =
            r#"{"event":{"type":"message","channel":"C1","user":"U1","text":"a","ts":"2.0","thread_ts":"1.0"}}"#;
        let mut root = thread_of_people("C1", "1.0", Some(&"pr".parse().unwrap()));
        root.lane = "0123456789ab".into();
        let decision = decide(&serde_json::from_str(event).unwrap(), &directory(), Some(&root), &BTreeMap::new());
        let Decision::Prompt { thread, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(thread, root);
    }
}
