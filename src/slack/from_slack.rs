//! What Slack tells → what is to be done about it. Pure.
//!
//! The place decides: a channel's id belongs to one agent or to none, and there is no agent that gets the rest. Words of
//! bots, our own above all, never become a prompt. The events are read leniently, by the few fields that decide: a block
//! type that is new to us must not lose a person's message.

use std::collections::BTreeMap;

use super::arrival::{Callback, Post};
use super::plain::plain;
use super::wording;
use crate::model::{Mode, NewPrompt, Place, PromptId, Slug, Source};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread};

/// The events the app subscribes to, each with the scope it needs; `slack-manifest.yaml` names exactly these.
pub const EVENTS: &[(&str, &str)] = &[
    // A home needs no scope.
    ("app_home_opened", ""),
    ("app_mention", "app_mentions:read"),
    ("message.channels", "channels:history"),
    ("message.groups", "groups:history"),
    ("channel_archive", "channels:read"),
    ("channel_deleted", "channels:read"),
    ("channel_id_changed", "channels:read"),
    ("channel_left", "channels:read"),
    ("channel_rename", "channels:read"),
    ("channel_unarchive", "channels:read"),
    ("group_archive", "groups:read"),
    ("group_deleted", "groups:read"),
    ("group_left", "groups:read"),
    ("group_rename", "groups:read"),
    ("group_unarchive", "groups:read"),
    ("member_joined_channel", "channels:read"),
    ("member_left_channel", "channels:read"),
    ("reaction_added", "reactions:read"),
    ("reaction_removed", "reactions:read"),
];

/// What fetching a file that was shared takes; no method of the Web API does it.
pub const FILES_SCOPE: &str = "files:read";

/// Which channel is whose, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// Our own user id.
    pub(super) bot_user: String,
    /// Our own workspace.
    pub(super) team: String,
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

    /// Every channel of ours, each once.
    pub(super) fn all_channels(&self) -> Vec<String> {
        let mut all: Vec<String> = self.channels.iter().map(|(_, id)| id.clone()).chain(self.status.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The agent that a post in `channel` is for.
    pub(super) fn owner(&self, channel: &str, thread: Option<&Thread>) -> Option<&Slug> {
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
    /// Give a prompt of which nothing was typed this text; else pass `correction` on.
    Edit { key: String, body: String, correction: NewPrompt, thread: Thread },
    /// Take a prompt back of which nothing was typed.
    TakeBack { key: String, who: String },
    /// Break off the turn of that thread. `ts` is the message that asks for it.
    Stop { agent: Slug, thread: Thread, root: String, ts: String },
    /// Silence the agent's posts in that thread, or let them be heard again.
    Mute { thread: Thread, root: String, muted: bool, ts: String },
    /// Say once that nobody works there, or that this is not the place.
    AnswerOnce { thread: Thread, answer: NewOutboxRow },
    /// Nothing, for this reason.
    Ignore(&'static str),
}

/// A message that is a word to the bridge itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Stop,
    Mute,
    Unmute,
    /// For people alone.
    Aside,
}

/// The word that a message is; none where it is meant for the agent.
pub(super) fn word(body: &str) -> Option<Word> {
    let body = body.trim().to_lowercase();
    match body.as_str() {
        "stop" | ":octagonal_sign:" | "\u{1f6d1}" => Some(Word::Stop),
        "mute" => Some(Word::Mute),
        "unmute" => Some(Word::Unmute),
        _ => {
            let rest = body.strip_prefix("!aside")?;
            rest.chars().next().is_none_or(|c| !c.is_alphanumeric()).then_some(Word::Aside)
        }
    }
}

/// The decision about one post. `thread` is what is known of the thread it stands in; `names` are display names by user id.
pub(super) fn decide(
    callback: &Callback,
    directory: &Directory,
    thread: Option<&Thread>,
    names: &BTreeMap<String, String>,
) -> Decision {
    let post = &callback.event;
    match post.subtype.as_deref() {
        None | Some("file_share" | "thread_broadcast" | "me_message") => {}
        Some("message_changed") => return changed(callback, directory, thread, names),
        Some("message_deleted") => return deleted(callback, directory, names),
        Some(_) => return Decision::Ignore("a subtype that is no new message of a person"),
    }
    let said = match said(callback, post, directory, thread, names) {
        Ok(said) => said,
        Err(decision) => return *decision,
    };
    let in_thread = said.root != post.ts;
    let ts = post.ts.clone();
    match word(&said.prompt.body) {
        Some(Word::Aside) => Decision::Ignore("it is for people alone"),
        Some(_) if !in_thread => elsewhere(&said.thread, &post.channel, &ts),
        Some(Word::Stop) => Decision::Stop { agent: said.prompt.agent, thread: said.thread, root: said.root, ts },
        Some(word) => Decision::Mute { thread: said.thread, root: said.root, muted: word == Word::Mute, ts },
        None if said.prompt.body.is_empty() && post.files.is_empty() => Decision::Ignore("a message without text"),
        None => Decision::Prompt { ack: ack(&post.channel, &ts), prompt: said.prompt, thread: said.thread },
    }
}

/// What a person said to an agent.
struct Words {
    prompt: NewPrompt,
    thread: Thread,
    root: String,
}

/// Reads a person's post, wherever it is told: as itself, or in the event of its edit.
fn said(
    callback: &Callback,
    post: &Post,
    directory: &Directory,
    thread: Option<&Thread>,
    names: &BTreeMap<String, String>,
) -> Result<Words, Box<Decision>> {
    let ignore = |reason| Err(Box::new(Decision::Ignore(reason)));
    if post.bot_id.is_some() || post.app_id.is_some() {
        return ignore("a bot's message");
    }
    let Some(user) = post.user.as_deref().filter(|user| *user != directory.bot_user) else {
        return ignore("our own message, or nobody's");
    };
    if post.channel.is_empty() || post.ts.is_empty() {
        return ignore("a message without a place");
    }
    let mention = post.kind == "app_mention" || mentions(&post.text, &directory.bot_user);
    let root = post.thread_ts.as_deref().unwrap_or(&post.ts);
    let Some(agent) = directory.owner(&post.channel, thread) else {
        return if mention { Err(Box::new(unowned(post, root))) } else { ignore("a channel that belongs to no agent") };
    };
    let ours = thread.is_some_and(|thread| thread.agent.as_ref() == Some(agent))
        || post.parent_user_id.as_deref() == Some(directory.bot_user.as_str());
    if root != post.ts && !mention && !ours {
        return ignore("a thread among people");
    }
    let channel = &post.channel;
    let prompt = NewPrompt {
        id: PromptId::random(),
        agent: agent.clone(),
        source: Source::Slack,
        who: names.get(user).cloned().unwrap_or_else(|| user.to_owned()),
        dedup_key: prompt_key(&callback.team_id, channel, &post.ts),
        body: plain(&post.text, &directory.bot_user, names),
        place: Some(Place { channel: channel.clone(), thread: root.to_owned() }),
        expires: None,
        mode: Mode::Thread,
    };
    // A thread that is known keeps its lane: what is said in one thread must stay in one order.
    let known = thread.filter(|thread| thread.agent.as_ref() == Some(agent)).cloned();
    let thread = known.unwrap_or_else(|| thread_of_people(channel, root, Some(agent)));
    Ok(Words { prompt, thread, root: root.to_owned() })
}

/// The dedup key of the prompt that a post became.
pub(super) fn prompt_key(team: &str, channel: &str, ts: &str) -> String {
    format!("slack/{team}/{channel}/{ts}")
}

/// A mention and a message of one post are one, whichever of them comes: what it mentions tells.
fn mentions(text: &str, user: &str) -> bool {
    let named = |rest: &str| rest.strip_prefix(user).is_some_and(|rest| rest.starts_with(['>', '|']));
    text.split("<@").skip(1).any(named)
}

/// An edit. The event tells the post as it is now, without its channel.
fn changed(
    callback: &Callback,
    directory: &Directory,
    thread: Option<&Thread>,
    names: &BTreeMap<String, String>,
) -> Decision {
    let event = &callback.event;
    let (Some(now), before) = (&event.message, &event.previous_message) else {
        return Decision::Ignore("an edit of nothing");
    };
    // Slack also tells in this way that a link was unfurled or a thread has got a reply.
    let Some(edited) = &now.edited else { return Decision::Ignore("a change that is no edit") };
    if before.as_ref().is_some_and(|before| before.text == now.text) {
        return Decision::Ignore("an edit that leaves the text as it was");
    }
    let post = Post { kind: "message".to_owned(), channel: event.channel.clone(), ..(**now).clone() };
    let said = match said(callback, &post, directory, thread, names) {
        Ok(said) => said,
        Err(decision) if matches!(*decision, Decision::Ignore(_)) => return *decision,
        Err(_) => return Decision::Ignore("an edit where no agent works"),
    };
    let NewPrompt { dedup_key: key, who, body, .. } = said.prompt.clone();
    match word(&body) {
        Some(Word::Aside) => Decision::TakeBack { key, who },
        Some(_) => Decision::Ignore("a word to the bridge counts when it is said"),
        None if body.is_empty() => Decision::Ignore("an edit that leaves no text"),
        None => {
            let correction = NewPrompt {
                dedup_key: format!("{key}/edited/{}", edited.ts),
                body: wording::correction(&body),
                ..said.prompt
            };
            Decision::Edit { key, body, correction, thread: said.thread }
        }
    }
}

fn deleted(callback: &Callback, directory: &Directory, names: &BTreeMap<String, String>) -> Decision {
    let event = &callback.event;
    let Some(ts) = event.deleted_ts.as_deref() else { return Decision::Ignore("a deletion of nothing") };
    let author = event.previous_message.as_ref().and_then(|post| post.user.clone());
    if author.as_deref() == Some(directory.bot_user.as_str()) {
        return Decision::Ignore("our own message was deleted");
    }
    let author = author.unwrap_or_else(|| "its author".to_owned());
    let who = names.get(&author).cloned().unwrap_or(author);
    Decision::TakeBack { key: prompt_key(&callback.team_id, &event.channel, ts), who }
}

/// A word to the bridge that stands in no thread.
fn elsewhere(thread: &Thread, channel: &str, ts: &str) -> Decision {
    let answer = NewOutboxRow {
        dedup_key: format!("elsewhere/{channel}/{ts}"),
        lane: thread.lane.clone(),
        channel: channel.to_owned(),
        action: OutboxAction::Reply { said: Said::text(wording::word_elsewhere()) },
    };
    Decision::AnswerOnce { thread: thread.clone(), answer }
}

/// The answer to what was said too long ago, once in each thread.
pub(super) fn skipped(thread: &Thread, hours: u64) -> NewOutboxRow {
    NewOutboxRow {
        dedup_key: format!("skipped/{}", thread.lane),
        lane: thread.lane.clone(),
        channel: thread.channel.clone(),
        action: OutboxAction::Reply { said: Said::text(wording::skipped(hours)) },
    }
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

/// The reaction that says: stored, and will be delivered.
pub(super) fn ack(channel: &str, ts: &str) -> NewOutboxRow {
    reaction(wording::ACK_EMOJI, channel, ts)
}

/// A reaction of ours, set once.
pub(super) fn reaction(emoji: &str, channel: &str, ts: &str) -> NewOutboxRow {
    // Its own lane: "heard" must not wait behind a long answer.
    let lane = format!("{emoji}/{channel}/{ts}");
    let action = OutboxAction::React { ts: ts.to_owned(), emoji: emoji.to_owned() };
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

/// The ids of the users that a text names, its author first. Of people of other workspaces only the ids are used.
pub(super) fn users_in(event: &Post, own_team: &str) -> Vec<String> {
    let post = event.message.as_deref().or(event.previous_message.as_deref()).unwrap_or(event);
    if post.team().is_some_and(|team| team != own_team) {
        return Vec::new();
    }
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
            team: "T1".into(),
            channels: owners.iter().map(|(channel, slug)| (slug.parse().unwrap(), (*channel).to_owned())).collect(),
            status: None,
        }
    }

    fn callback(event: &str) -> Callback {
        Callback { team_id: "T1".into(), read_back: false, event: serde_json::from_str(event).unwrap() }
    }

    /// The decision about an event, in one word.
    fn judged(event: &str, thread: Option<&Thread>) -> String {
        match decide(&callback(event), &directory(), thread, &BTreeMap::new()) {
            Decision::Prompt { prompt, thread, ack } => {
                assert_eq!(
                    thread.lane,
                    prompt.place.map(|place| format!("{}/{}", place.channel, place.thread)).unwrap()
                );
                assert!(ack.dedup_key.starts_with("eyes/"));
                format!("{} {} {} {}", prompt.agent, prompt.dedup_key, thread.lane, prompt.body)
            }
            Decision::AnswerOnce { answer, .. } => format!("answer {}", answer.dedup_key),
            Decision::Edit { key, body, correction, thread } => {
                assert_eq!(correction.place.map(|place| place.thread), thread.ts);
                format!("edit {key} {body} or {} {}", correction.dedup_key, correction.body)
            }
            Decision::TakeBack { key, who } => format!("take back {key} {who}"),
            Decision::Stop { agent, root, ts, .. } => format!("stop {agent} {root} {ts}"),
            Decision::Mute { root, muted, .. } => format!("mute {root} {muted}"),
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
            (r#"{"type":"message","subtype":"message_changed","channel":"C1","ts":"1.0"}"#, "an edit of nothing"),
            (
                r#"{"type":"message","subtype":"channel_join","user":"U1","channel":"C1","text":"a","ts":"1.0"}"#,
                "a subtype that is no new message of a person",
            ),
            (
                r#"{"type":"message","subtype":"me_message","channel":"C1","user":"U1","text":"a","ts":"1.0"}"#,
                "pr slack/T1/C1/1.0 C1/1.0 a",
            ),
            (r#"{"type":"message","channel":"C1","user":"U1","text":"<@UBOT>","ts":"1.0"}"#, "a message without text"),
            (
                r#"{"type":"message","channel":"C1","user":"U1","text":"ask <@UBOT>","ts":"2.0","thread_ts":"1.0"}"#,
                "pr slack/T1/C1/2.0 C1/1.0 ask @UBOT",
            ),
            (
                r#"{"type":"message","subtype":"file_share","channel":"C1","user":"U1","text":"","ts":"1.0","files":[{"id":"F1"}]}"#,
                "pr slack/T1/C1/1.0 C1/1.0 ",
            ),
        ];
        for (event, expected) in rows {
            assert_eq!(judged(event, None), expected, "{event}");
        }
    }

    #[test]
    fn an_edit_changes_the_prompt_or_corrects_it_and_a_deletion_takes_it_back() {
        let edit = |text: &str, before: &str| {
            format!(
                r#"{{"type":"message","subtype":"message_changed","channel":"C1","ts":"3.0",
                   "message":{{"type":"message","user":"U1","text":"{text}","ts":"1.0","edited":{{"user":"U1","ts":"3.0"}}}},
                   "previous_message":{{"user":"U1","text":"{before}","ts":"1.0"}}}}"#
            )
        };
        for (event, expected) in [
            (
                edit("new", "old"),
                "edit slack/T1/C1/1.0 new or slack/T1/C1/1.0/edited/3.0 correction of what was said: new",
            ),
            (edit("old", "old"), "an edit that leaves the text as it was"),
            (edit("!aside old", "old"), "take back slack/T1/C1/1.0 U1"),
            (
                r#"{"type":"message","subtype":"message_changed","channel":"C1","ts":"3.0","message":{"user":"U1","text":"a","ts":"1.0"}}"#.to_owned(),
                "a change that is no edit",
            ),
            (
                r#"{"type":"message","subtype":"message_deleted","channel":"C1","ts":"3.0","deleted_ts":"1.0","previous_message":{"user":"U1"}}"#.to_owned(),
                "take back slack/T1/C1/1.0 U1",
            ),
            (
                r#"{"type":"message","subtype":"message_deleted","channel":"C1","ts":"3.0","deleted_ts":"1.0","previous_message":{"user":"UBOT"}}"#.to_owned(),
                "our own message was deleted",
            ),
        ] {
            assert_eq!(judged(&event, None), expected, "{event}");
        }
    }

    #[test]
    fn a_word_to_the_bridge_counts_as_a_whole_message_in_a_thread_of_the_agent_s() {
        let thread = thread_of_people("C1", "1.0", Some(&"pr".parse().unwrap()));
        let said = |text: &str, thread_ts: Option<&str>| {
            let reply = thread_ts.map_or_else(String::new, |ts| format!(r#","thread_ts":"{ts}""#));
            let event = format!(r#"{{"type":"message","channel":"C1","user":"U1","text":"{text}","ts":"2.0"{reply}}}"#);
            judged(&event, thread_ts.map(|_| &thread))
        };
        for (text, expected) in [
            ("stop", "stop pr 1.0 2.0"),
            (" STOP ", "stop pr 1.0 2.0"),
            ("<@UBOT> stop", "stop pr 1.0 2.0"),
            (":octagonal_sign:", "stop pr 1.0 2.0"),
            ("stop it", "pr slack/T1/C1/2.0 C1/1.0 stop it"),
            ("Mute", "mute 1.0 true"),
            ("unmute", "mute 1.0 false"),
            ("!aside for us", "it is for people alone"),
            ("!ASIDE", "it is for people alone"),
            ("!asides", "pr slack/T1/C1/2.0 C1/1.0 !asides"),
        ] {
            assert_eq!(said(text, Some("1.0")), expected, "{text}");
        }
        assert_eq!(said("stop", None), "answer elsewhere/C1/2.0");
        assert_eq!(said("!aside", None), "it is for people alone");
        let among_people =
            r#"{"type":"message","channel":"C1","user":"U1","text":"stop","ts":"2.0","thread_ts":"1.0"}"#;
        assert_eq!(judged(among_people, None), "a thread among people");
    }

    #[test]
    fn of_people_of_other_workspaces_only_the_ids_are_used() {
        let users = |team: &str| {
            let post = format!(r#"{{"type":"message","user":"U1","user_team":"{team}","text":"hi <@U2>","ts":"1.0"}}"#);
            users_in(&callback(&post).event, "T1")
        };
        assert_eq!(users("T1"), ["U1", "U2"]);
        assert!(users("T9").is_empty());
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
    fn a_reply_below_our_own_root_keeps_that_thread_s_lane_so_that_answers_stay_in_order() {
        let event = r#"{"type":"message","channel":"C1","user":"U1","text":"a","ts":"2.0","thread_ts":"1.0"}"#;
        let mut root = thread_of_people("C1", "1.0", Some(&"pr".parse().unwrap()));
        root.lane = "0123456789ab".into();
        let decision = decide(&callback(event), &directory(), Some(&root), &BTreeMap::new());
        let Decision::Prompt { thread, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(thread, root);
    }
}
