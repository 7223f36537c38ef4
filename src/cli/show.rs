//! How prompts, facts and times look on a terminal.

use anstream::stdout;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

use crate::daemon::protocol::PromptView;
use crate::model::{Evidence, Fact, FeedRow, Outcome, PromptState, Todo, TodoState, Verdict};

/// A prompt's present state.
pub fn state(view: &PromptView) -> Option<&PromptState> {
    view.steps.last().map(|step| &step.state)
}

/// What a prompt that is not settled waits for.
pub fn waiting(view: &PromptView) -> String {
    let word = state(view).map_or("unknown", |state| state.name().as_str());
    match &view.held {
        Some(held) => format!("still {word}: {held}"),
        None => format!("still {word}"),
    }
}

/// One step of a prompt's life, without its time.
pub fn step(state: &PromptState) -> String {
    match state {
        PromptState::Typing { attempt, .. } | PromptState::Submitted { attempt, .. } if *attempt > 1 => {
            format!("{} (attempt {attempt})", state.name().as_str())
        }
        PromptState::Confirmed { by: Evidence::Screen } => "confirmed by screen".to_owned(),
        PromptState::Confirmed { by: Evidence::Queue } => "in the agent's queue".to_owned(),
        PromptState::Confirmed { by } => format!("confirmed by {by}"),
        _ => state.name().as_str().to_owned(),
    }
}

/// What somebody thinks of how a turn went.
pub fn verdict(verdict: &Verdict) -> String {
    let word = if verdict.good { "accepted" } else { "not accepted" };
    let pulls = match verdict.pull_requests.is_empty() {
        true => String::new(),
        false => format!(": {}", verdict.pull_requests.join(", ")),
    };
    let back = verdict.withdrawn.map_or_else(String::new, |at| format!(" (taken back {})", exact(at)));
    format!("{}  {word} by {}{pulls}{back}", exact(verdict.since), verdict.person)
}

/// One row of the feed, as `fleet tail` prints it: time, agent, what happened. Text of several lines is indented below.
pub fn row(row: &FeedRow) -> String {
    let (mark, text) = match &row.fact {
        Fact::TurnStarted { summary } => ("▶", summary.clone()),
        Fact::Said { text } => (" ", text.trim_end().to_owned()),
        Fact::UsedTool { tool, detail, .. } => ("·", format!("{tool} {detail}")),
        Fact::Todos { items } => ("☐", items.iter().map(todo).collect::<Vec<_>>().join("\n")),
        Fact::Asked { question, .. } => ("?", format!("waits for a person: {question} (fleet attach {})", row.agent)),
        Fact::Undelivered { uncertain: true, why } => ("!", format!("prompt uncertain: {why}")),
        Fact::Undelivered { uncertain: false, why } => ("!", format!("prompt failed: {why}")),
        Fact::Held { why, .. } => ("!", format!("prompt waits: {why}")),
        Fact::Steered { into } => ("▷", format!("taken into the turn of {into}")),
        Fact::TurnEnded { outcome: Outcome::Completed, .. } => ("■", "done".to_owned()),
        Fact::TurnEnded { outcome: Outcome::Interrupted, .. } => ("■", "interrupted".to_owned()),
        Fact::TurnEnded { outcome: Outcome::Failed { reason, .. }, .. } => ("■", format!("failed: {reason}")),
    };
    let head = format!("{} {} {mark} ", clock(row.at), row.agent);
    let indent = format!("\n{}", " ".repeat(head.chars().count()));
    // A pane's or a model's text is data: no escape sequence of it may reach this terminal.
    head + &crate::model::text::printable(&text).replace('\n', &indent)
}

fn todo(item: &Todo) -> String {
    let mark = match item.state {
        TodoState::Pending => " ",
        TodoState::Active => ">",
        TodoState::Done => "x",
    };
    format!("[{mark}] {}", item.text)
}

/// A local time of day, or with its date where that is another day.
pub fn time(at: Timestamp, now: Timestamp) -> String {
    let zone = TimeZone::system();
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone));
    let format = if at.date() == now.date() { "%H:%M" } else { "%a %d %b %H:%M" };
    at.strftime(format).to_string()
}

/// How long ago, roughly.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// A local time of day with seconds.
pub fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// A local time of day with milliseconds.
pub fn exact(at: Timestamp) -> String {
    let at = at.round(Unit::Millisecond).unwrap_or(at);
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Whether colours and progress make sense.
pub fn on_terminal() -> bool {
    stdout().is_terminal()
}
