//! Every sentence that people read in Slack. Slack's mrkdwn; whatever comes from outside is escaped here.

use super::markdown::escape;
use super::progress::{Ending, Progress, Step};
use crate::model::text::{count, first_line};
use crate::model::{Doing, Outcome, Prompt, Slug, Source, TodoState, Usage, Work};

/// How far the job of a root message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RootState<'a> {
    /// It waits for its agent; for what.
    Waiting(&'a str),
    Running,
    /// The agent waits for a person; what it asks.
    Asking(&'a str),
    /// Done, interrupted or failed.
    Ended(Ending),
    /// The agent took it into a turn that ran already.
    Joined,
    /// It was worked on, the agent rests, and no record tells how that ended.
    Over,
    NotDelivered,
    Unsure,
}

/// The root message of a job: its first line says what it is and never changes, its second how far it has come.
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
        RootState::Waiting(why) => format!("_waiting: {}_", escape(&first_line(why, 300))),
        RootState::Running => "_running_".to_owned(),
        RootState::Asking(question) => format!(":raised_hand: asking: {}", escape(&first_line(question, 200))),
        RootState::Ended(ending) => outcome(&ending),
        RootState::Joined => ":heavy_check_mark: done: the agent took it into the turn that ran".to_owned(),
        RootState::Over => over(),
        RootState::NotDelivered => ":warning: not delivered".to_owned(),
        RootState::Unsure => ":grey_question: it can't be told whether the agent took it".to_owned(),
    };
    let who = escape(&first_line(&prompt.who, 60));
    format!("{source} by {who}: {}\n{state}", escape(&first_line(&prompt.body, 200)))
}

/// How a turn ended, what it took, and the pull requests found in it, in one line.
pub(super) fn outcome(ending: &Ending) -> String {
    let Ending { outcome, usage, work } = ending;
    let took = took(*usage, work);
    let told = match outcome {
        Outcome::Completed if took.is_empty() => ":heavy_check_mark: done".to_owned(),
        Outcome::Completed if work.seconds.is_none() => format!(":heavy_check_mark: done: {took}"),
        Outcome::Completed => format!(":heavy_check_mark: done in {took}"),
        Outcome::Interrupted => format!(":black_square_for_stop: interrupted{}", after(&took)),
        Outcome::Failed { reason, .. } => {
            format!(":warning: failed{}: {}", after(&took), escape(&first_line(reason, 300)))
        }
    };
    let links: Vec<String> = work.pull_requests.iter().map(|one| format!("<{}|{one}>", one.url())).collect();
    if links.is_empty() { told } else { format!("{told} · {}", links.join(", ")) }
}

/// The agent rests, and no record tells how its turn ended.
pub(super) fn over() -> String {
    ":heavy_check_mark: done: the agent rests, though no record tells how the turn ended".to_owned()
}

fn after(took: &str) -> String {
    if took.is_empty() { String::new() } else { format!(" after {took}") }
}

/// Time, tools and cost, as far as they are known; tokens where nobody told a price.
fn took(usage: Option<Usage>, work: &Work) -> String {
    let tools = (work.tools > 0).then(|| count(usize::try_from(work.tools).unwrap_or(usize::MAX), "tool", "tools"));
    let tokens = || usage.map(|usage| format!("{} tokens read, {} written", short(usage.input), short(usage.output)));
    let cost = work.cost.map(|cost| cost.to_string()).or_else(tokens);
    [work.seconds.map(lasting), tools, cost].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A length of time, as people say it.
fn lasting(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// A number of tokens.
fn short(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}.{}M", number / 1_000_000, number / 100_000 % 10),
    }
}

/// The most things of a to-do list that are shown.
const MOST_TODOS: usize = 20;

/// The progress message of a turn that runs: its to-do list, where it keeps one, and what it is doing now.
pub(super) fn progress(progress: &Progress) -> String {
    let mut lines = Vec::new();
    for todo in progress.todos.iter().take(MOST_TODOS) {
        let mark = match todo.state {
            TodoState::Done => ":ballot_box_with_check:",
            TodoState::Active => ":arrow_forward:",
            TodoState::Pending => ":white_medium_square:",
        };
        lines.push(format!("{mark} {}", escape(&first_line(&todo.text, 160))));
    }
    match progress.todos.len().saturating_sub(MOST_TODOS) {
        0 => {}
        more => lines.push(format!("… and {more} more")),
    }
    lines.extend(progress.doing.as_ref().map(|step| format!(":hourglass_flowing_sand: {}", doing(step))));
    lines.join("\n")
}

/// What an agent does.
fn doing(step: &Step) -> String {
    let with = match step.doing {
        Doing::Reading | Doing::Editing => code(&short_path(&step.detail)),
        _ => code(&step.detail),
    };
    let words = match step.doing {
        Doing::Reading => "reading".to_owned(),
        Doing::Searching => "searching".to_owned(),
        Doing::Editing => "editing".to_owned(),
        Doing::Running => "running".to_owned(),
        Doing::Testing => "running tests:".to_owned(),
        Doing::Browsing => "looking up".to_owned(),
        Doing::Delegating => "a sub-agent works:".to_owned(),
        Doing::Other => format!("using {}", escape(&first_line(&step.tool, 60))),
    };
    format!("{words} {with}").trim_end().to_owned()
}

/// Data as code, in which Slack makes nothing a link.
fn code(text: &str) -> String {
    let text = first_line(&text.replace('`', "'"), 60);
    if text.is_empty() { text } else { format!("`{}`", escape(&text)) }
}

/// The end of a path that tells it from others.
fn short_path(path: &str) -> String {
    let parts: Vec<&str> = path.rsplitn(4, '/').take(3).collect();
    if path.starts_with('/') { parts.into_iter().rev().collect::<Vec<_>>().join("/") } else { path.to_owned() }
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

/// A prompt was taken into a turn that is told elsewhere.
pub(super) fn joined() -> String {
    ":twisted_rightwards_arrows: The agent took this into the turn that ran; it is answered where that turn is told."
        .to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Dollars, PullRequest, Todo};

    fn ending(outcome: Outcome) -> Ending {
        let pull_requests =
            PullRequest::all_in("https://github.com/acme/web/pull/7 https://github.com/acme/api/pull/8");
        let work = Work { seconds: Some(250), tools: 31, cost: Some(Dollars::cents(42)), pull_requests };
        Ending { outcome, usage: Some(Usage { input: 1, output: 2 }), work }
    }

    fn failed(reason: &str) -> Outcome {
        Outcome::Failed { reason: reason.into(), blocked: None }
    }

    #[test]
    fn every_state_of_a_root_message_reads_as_it_should() {
        let links =
            " · <https://github.com/acme/web/pull/7|acme/web#7>, <https://github.com/acme/api/pull/8|acme/api#8>";
        let bare = |outcome| Ending { outcome, usage: None, work: Work::default() };
        let counted = Ending {
            usage: Some(Usage { input: 12_345, output: 999 }),
            work: Work { seconds: Some(59), tools: 1, ..Work::default() },
            ..bare(Outcome::Completed)
        };
        let only_tokens = Ending { usage: Some(Usage { input: 1_250_000, output: 0 }), ..bare(Outcome::Completed) };
        let prompt = Prompt { who: "<!here>".into(), body: "fix <@U1> & go\nplease".into(), ..Prompt::example() };
        for (state, line) in [
            (RootState::Waiting("it is <busy>"), "_waiting: it is &lt;busy&gt;_".to_owned()),
            (RootState::Running, "_running_".to_owned()),
            (RootState::Asking("Run <rm>?\nmore"), ":raised_hand: asking: Run &lt;rm&gt;?".to_owned()),
            (
                RootState::Ended(ending(Outcome::Completed)),
                format!(":heavy_check_mark: done in 4 min, 31 tools, $0.42{links}"),
            ),
            (RootState::Ended(bare(Outcome::Completed)), ":heavy_check_mark: done".to_owned()),
            (
                RootState::Ended(counted),
                ":heavy_check_mark: done in 59 s, 1 tool, 12k tokens read, 999 written".to_owned(),
            ),
            (RootState::Ended(only_tokens), ":heavy_check_mark: done: 1.2M tokens read, 0 written".to_owned()),
            (
                RootState::Ended(ending(Outcome::Interrupted)),
                format!(":black_square_for_stop: interrupted after 4 min, 31 tools, $0.42{links}"),
            ),
            (RootState::Ended(bare(Outcome::Interrupted)), ":black_square_for_stop: interrupted".to_owned()),
            (
                RootState::Ended(ending(failed("API <500>"))),
                format!(":warning: failed after 4 min, 31 tools, $0.42: API &lt;500&gt;{links}"),
            ),
            (RootState::Ended(bare(failed("no credit"))), ":warning: failed: no credit".to_owned()),
            (RootState::Joined, ":heavy_check_mark: done: the agent took it into the turn that ran".to_owned()),
            (
                RootState::Over,
                ":heavy_check_mark: done: the agent rests, though no record tells how the turn ended".to_owned(),
            ),
            (RootState::NotDelivered, ":warning: not delivered".to_owned()),
            (RootState::Unsure, ":grey_question: it can't be told whether the agent took it".to_owned()),
        ] {
            let first = ":keyboard: *cli* by &lt;!here&gt;: fix &lt;@U1&gt; &amp; go";
            assert_eq!(root(&prompt, state), format!("{first}\n{line}"));
        }
    }

    #[test]
    fn a_length_of_time_is_told_as_people_say_it() {
        for (seconds, told) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (7500, "2 h 5 min")]
        {
            assert_eq!(lasting(seconds), told);
        }
    }

    #[test]
    fn the_progress_of_a_turn_shows_its_list_and_what_it_does_and_no_word_of_it_is_a_link_or_a_ping() {
        let step = |doing, tool: &str, detail: &str| Step { doing, tool: tool.into(), detail: detail.into() };
        for (step, told) in [
            (step(Doing::Reading, "Read", "/srv/agents/ann/web/src/main.rs"), "reading `web/src/main.rs`"),
            (step(Doing::Editing, "Edit", "src/main.rs"), "editing `src/main.rs`"),
            (step(Doing::Searching, "Grep", "fn <main>"), "searching `fn &lt;main&gt;`"),
            (
                step(Doing::Running, "Bash", "echo `date` <https://evil.org|x>"),
                "running `echo 'date' &lt;https://evil.org|x&gt;`",
            ),
            (step(Doing::Testing, "Bash", "make test"), "running tests: `make test`"),
            (step(Doing::Browsing, "WebFetch", "https://example.org"), "looking up `https://example.org`"),
            (step(Doing::Delegating, "Task", "look"), "a sub-agent works: `look`"),
            (step(Doing::Other, "mcp<!channel>", ""), "using mcp&lt;!channel&gt;"),
        ] {
            let shown = progress(&Progress { doing: Some(step), tools: 1, ..Progress::default() });
            assert_eq!(shown, format!(":hourglass_flowing_sand: {told}"));
        }
        let todo = |text: &str, state| Todo { text: text.into(), state };
        let mut todos = vec![
            todo("read", TodoState::Done),
            todo("tell <!channel>\nx", TodoState::Active),
            todo("test", TodoState::Pending),
        ];
        let list = ":ballot_box_with_check: read\n:arrow_forward: tell &lt;!channel&gt;\n:white_medium_square: test";
        assert_eq!(progress(&Progress { todos: todos.clone(), ..Progress::default() }), list);
        todos.extend(vec![todo("more", TodoState::Pending); 19]);
        let shown = progress(&Progress { todos, ..Progress::default() });
        assert_eq!((shown.lines().count(), shown.lines().last()), (21, Some("… and 2 more")));
    }
}
