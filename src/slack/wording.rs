//! Every sentence that people read in Slack. Slack's mrkdwn; whatever comes from outside is escaped here.

use super::markdown::escape;
use crate::model::text::{count, first_line};
use crate::model::{Prompt, Slug, Source};

/// How far the turn below a root message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootState<'a> {
    Running,
    Waiting(&'a str),
    Done,
    Interrupted,
    Failed(&'a str),
    NotTaken,
    Unsure,
}

/// The root message of a turn: its first line says what it is and never changes, its second how far it has come.
pub(super) fn root(prompt: &Prompt, state: RootState<'_>) -> String {
    let source = match prompt.source {
        Source::Nudge { .. } | Source::NudgeByHand => ":alarm_clock: *nudge*",
        Source::Init => ":seedling: *init*",
        Source::Cli => ":keyboard: *cli*",
        Source::Slack => ":speech_balloon: *slack*",
        Source::Resume => ":arrow_forward: *resume*",
        Source::Compact => ":wastebasket: *compact*",
    };
    let state = match state {
        RootState::Running => "_running_".to_owned(),
        RootState::Waiting(why) => format!("_waiting: {}_", escape(&first_line(why, 300))),
        RootState::Done => ":heavy_check_mark: done".to_owned(),
        RootState::Interrupted => ":black_square_for_stop: interrupted".to_owned(),
        RootState::Failed(reason) => format!(":warning: failed: {}", escape(&first_line(reason, 300))),
        RootState::NotTaken => ":warning: not delivered".to_owned(),
        RootState::Unsure => ":grey_question: it can't be told whether the agent took it".to_owned(),
    };
    let who = escape(&first_line(&prompt.who, 60));
    format!("{source} by {who}: {}\n{state}", escape(&first_line(&prompt.body, 200)))
}

/// The agent waits for a person.
pub(super) fn asked(agent: &Slug, question: &str) -> String {
    let quoted: String = escape(question.trim()).lines().map(|line| format!("> {line}\n")).collect();
    format!(":raised_hand: *The agent asks*\n{quoted}Answer it in its pane: `fleet attach {agent}`")
}

/// A prompt waits for longer than a minute.
pub(super) fn held(why: &str) -> String {
    format!(":hourglass_flowing_sand: Still waiting: {}", escape(&first_line(why, 300)))
}

/// A prompt was taken into the turn that ran.
pub(super) fn steered(by: &Prompt) -> String {
    let (who, text) = (escape(&first_line(&by.who, 60)), escape(&first_line(&by.body, 200)));
    format!(":twisted_rightwards_arrows: {who} ({}) steered this turn: {text}", by.source.word())
}

/// A prompt was not taken.
pub(super) fn undelivered(uncertain: bool, why: &str) -> String {
    let why = escape(why.trim());
    if uncertain {
        format!(
            ":grey_question: It can't be told whether the agent took this prompt: {why}\nIt will not be typed again by itself."
        )
    } else {
        format!(":warning: The agent did not get this prompt: {why}")
    }
}

/// An answer is too long for messages.
pub(super) fn answer_in_file(name: &str, characters: usize) -> String {
    format!(":page_facing_up: The whole answer ({characters} characters) is in `{name}`.")
}

/// Not all headings of an answer went into its summary.
pub(super) fn further_headings(more: usize) -> String {
    format!("\n… and {}", count(more, "heading more", "headings more"))
}

/// A turn that a person's message opened failed.
pub(super) fn turn_failed(reason: &str) -> String {
    format!(":warning: The turn failed: {}", escape(&first_line(reason, 600)))
}

/// A turn that a person's message opened was cut short.
pub(super) fn turn_interrupted() -> String {
    ":black_square_for_stop: The turn was interrupted before its end.".to_owned()
}

/// The bot was mentioned in a channel that belongs to no agent.
pub(super) fn unowned_channel() -> String {
    "No agent of this fleet works in this channel, so nothing was run. Write to an agent in its own channel.".to_owned()
}

/// An edit of what the agent has got already; for the agent.
pub(super) fn correction(text: &str) -> String {
    format!("correction of what was said: {text}")
}

/// What was said too long ago to be passed on.
pub(super) fn skipped(hours: u64) -> String {
    format!(
        ":fast_forward: This was said more than {hours} h before fleetd came back, so it was not passed on. Say it again if it still counts."
    )
}

/// `stop`, `mute` or `unmute` outside of a thread.
pub(super) fn word_elsewhere() -> String {
    "`stop`, `mute` and `unmute` count in the thread of the turn that they are meant for. Nothing was done.".to_owned()
}

/// A prompt waits behind others.
pub(super) fn in_queue(ordinal: &str, who: &str, text: &str) -> String {
    format!(":hourglass: {ordinal} in the queue, behind {}: {}", escape(&first_line(who, 60)), escape(text))
}

/// A turn was to be stopped where none runs.
pub(super) fn nothing_to_stop() -> String {
    "No turn of this thread runs, so nothing was stopped.".to_owned()
}

/// A turn could not be stopped.
pub(super) fn not_stopped(why: &str) -> String {
    format!(":warning: The turn could not be stopped: {}", escape(&first_line(why, 300)))
}

/// The reaction that says: it is stopped; and the one by which people ask for it.
pub(super) const STOP_EMOJI: &str = "octagonal_sign";

/// The reactions that say: this thread is silent, or heard again.
pub(super) const MUTE_EMOJI: (&str, &str) = ("mute", "loud_sound");

/// The reaction that says: stored, and will be delivered.
pub(super) const ACK_EMOJI: &str = "eyes";

/// Slack shows it behind the app's name while an agent works.
pub(super) const AT_WORK: &str = "is working…";

/// What to do about an error code of Slack's.
pub(super) fn advice(code: &str) -> &'static str {
    match code {
        "channel_not_found" => {
            "the channel does not exist, or is private and the app was not invited: /invite it there"
        }
        "not_in_channel" => "the app is not in the channel: /invite it there",
        "is_archived" => "the channel is archived",
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" => {
            "the token is wrong or revoked: set SLACK_BOT_TOKEN (xoxb-) and SLACK_APP_TOKEN (xapp-) anew and restart fleetd"
        }
        "not_allowed_token_type" => {
            "SLACK_BOT_TOKEN must begin with xoxb- and SLACK_APP_TOKEN with xapp-; are they swapped?"
        }
        "missing_scope" => "the app lacks a scope: install it again from slack-manifest.yaml",
        "msg_too_long" => "the text is too long",
        _ => "see the error's name at https://docs.slack.dev/reference/methods",
    }
}
