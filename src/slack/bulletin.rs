//! News of the box → one message. Pure.
//!
//! Order is kept. The same news of several agents is one line, but never moved past other news of the same agent: the last
//! line of an agent is how it stands.

use jiff::{SignedDuration, Timestamp};

use super::markdown::escape;
use super::split::{MOST, units};
use crate::model::{Notice, Slug};
use crate::store::NoticeRow;

/// The most characters of one piece of text from outside.
const LONGEST: usize = 600;

/// News older than this say when they happened.
const OLD: SignedDuration = SignedDuration::from_mins(5);

/// How many agents a line names: their names alone must not be too long for a message.
const NAMED: usize = 20;

/// Room for the line that says how many more there are.
const ROOM: usize = 100;

/// The message, cut where Slack would cut it.
pub(super) fn bulletin(news: &[NoticeRow], now: Timestamp) -> String {
    let lines = lines(news);
    let all = lines.len();
    let told = |line: &Line| {
        let text = text(&line.notice, &line.agents);
        if now.duration_since(line.at) < OLD { text } else { format!("{} {text}", time(line.at)) }
    };
    if let [line] = lines.as_slice() {
        return told(line);
    }
    let mut message = String::new();
    for (number, line) in lines.iter().enumerate() {
        let next = format!("• {}\n", told(line));
        if units(&message) + units(&next) > MOST - ROOM {
            message.push_str(&format!("… and {} more; `fleet status` shows how the fleet is", all - number));
            return message;
        }
        message.push_str(&next);
    }
    message.trim_end().to_owned()
}

/// One line: the same news of these agents, or news of none.
struct Line {
    at: Timestamp,
    notice: Notice,
    agents: Vec<Slug>,
}

fn lines(news: &[NoticeRow]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in news {
        let notice = harmless(&row.notice);
        let agent = agent_of(&notice).cloned();
        let same = |line: &Line| agent.is_some() && joins(&line.notice, &notice);
        if let (Some(agent), Some(at)) = (&agent, lines.iter().rposition(same))
            && lines.iter().skip(at).all(|line| !line.agents.contains(agent))
        {
            if let Some(line) = lines.get_mut(at) {
                line.agents.push(agent.clone());
            }
            continue;
        }
        lines.push(Line { at: row.at, notice, agents: agent.into_iter().collect() });
    }
    lines
}

/// Whether two pieces of news differ only in whose they are, and can be said of several.
fn joins(one: &Notice, other: &Notice) -> bool {
    match (one, other) {
        (Notice::NudgeSkipped { day, why, .. }, Notice::NudgeSkipped { day: other_day, why: other_why, .. }) => {
            (day, why) == (other_day, other_why)
        }
        (Notice::Blocked { why, .. }, Notice::Blocked { why: other, .. }) => why == other,
        (Notice::Retired { until, .. }, Notice::Retired { until: other, .. }) => until == other,
        (Notice::Unblocked { .. }, Notice::Unblocked { .. }) | (Notice::Ended { .. }, Notice::Ended { .. }) => true,
        _ => false,
    }
}

fn text(notice: &Notice, agents: &[Slug]) -> String {
    let [_, _, ..] = agents else { return notice.to_string() };
    let mut names: Vec<String> = agents.iter().take(NAMED).map(|agent| format!("*{agent}*")).collect();
    if agents.len() > NAMED {
        names.push(format!("{} more", agents.len() - NAMED));
    }
    let names = match names.split_last() {
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    };
    match notice {
        Notice::NudgeSkipped { day, why, .. } => format!("{names} got no daily prompt on {day}: {why}"),
        Notice::Blocked { why, .. } => format!("{names} are blocked: {why}"),
        Notice::Unblocked { .. } => format!("{names} go on"),
        Notice::Ended { .. } => format!(
            "the sessions of {names}, which were taken out of agents.yaml, have ended; `fleet gc` shows what they left"
        ),
        Notice::Retired { until, .. } => format!(
            "{names} are not in agents.yaml any more: they get no prompts, and their sessions end {}",
            time(*until)
        ),
        _ => notice.to_string(),
    }
}

fn agent_of(notice: &Notice) -> Option<&Slug> {
    match notice {
        Notice::Crashed { agent, .. }
        | Notice::Blocked { agent, .. }
        | Notice::Unblocked { agent }
        | Notice::Unanswered { agent, .. }
        | Notice::NudgeSkipped { agent, .. }
        | Notice::Retired { agent, .. }
        | Notice::Ended { agent }
        | Notice::OverCeiling { agent, .. } => Some(agent),
        Notice::Booted { .. }
        | Notice::ConfigRefused { .. }
        | Notice::ConfigTaken { .. }
        | Notice::LowDisk { .. }
        | Notice::StopAhead { .. }
        | Notice::StopCalledOff { .. }
        | Notice::Problem { .. } => None,
    }
}

/// The same news, of whose words from outside none means anything to Slack: an agent's last words may call a whole channel.
fn harmless(notice: &Notice) -> Notice {
    let mut notice = notice.clone();
    match &mut notice {
        Notice::Crashed { how: text, .. }
        | Notice::Blocked { why: text, .. }
        | Notice::Unanswered { question: text, .. }
        | Notice::NudgeSkipped { why: text, .. }
        | Notice::ConfigRefused { why: text }
        | Notice::LowDisk { path: text, .. }
        | Notice::OverCeiling { what: text, .. }
        | Notice::StopCalledOff { why: text }
        | Notice::Problem { what: text } => *text = quoted(text),
        Notice::ConfigTaken { changes } => *changes = vec![quoted(&changes.join("; "))],
        Notice::Booted { .. }
        | Notice::Unblocked { .. }
        | Notice::Retired { .. }
        | Notice::Ended { .. }
        | Notice::StopAhead { .. } => {}
    }
    notice
}

/// In one line, not too long, escaped.
fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = line.char_indices().nth(LONGEST).map_or(line.clone(), |(end, _)| format!("{}…", &line[..end]));
    escape(&cut)
}

/// Slack shows it in each reader's own zone.
fn time(at: Timestamp) -> String {
    format!("<!date^{}^{{date_short_pretty}} {{time}}|{}>", at.as_second(), at.strftime("%F %H:%M UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn slug(text: &str) -> Slug {
        text.parse().unwrap()
    }

    fn told(notices: Vec<Notice>) -> String {
        let row = |(seq, notice)| NoticeRow { seq, at: at(0), notice };
        let rows: Vec<NoticeRow> = (1..).zip(notices).map(row).collect();
        bulletin(&rows, at(10))
    }

    fn blocked(agent: &str) -> Notice {
        Notice::Blocked { agent: slug(agent), why: "log in".into() }
    }

    fn on(agent: &str) -> Notice {
        Notice::Unblocked { agent: slug(agent) }
    }

    fn skipped(agent: &str, why: &str) -> Notice {
        Notice::NudgeSkipped { agent: slug(agent), day: jiff::civil::date(2026, 11, 2), why: why.into() }
    }

    #[test]
    fn one_piece_of_news_is_a_sentence_and_several_are_a_list_in_order() {
        let problem = |what: &str| Notice::Problem { what: what.into() };
        assert_eq!(told(vec![problem("one")]), "one");
        assert_eq!(told(vec![problem("one"), problem("two")]), "• one\n• two");
    }

    #[test]
    fn the_same_news_of_several_agents_is_one_line() {
        assert_eq!(
            told(vec![skipped("a", "off"), skipped("b", "off"), skipped("c", "off"), skipped("d", "other")]),
            "• *a*, *b* and *c* got no daily prompt on 2026-11-02: off\n• *d* got no daily prompt on 2026-11-02: other"
        );
        assert_eq!(told(vec![blocked("a"), blocked("b")]), "*a* and *b* are blocked: log in");
    }

    #[test]
    fn the_last_line_of_an_agent_is_how_it_stands_whatever_was_merged() {
        assert_eq!(
            told(vec![on("a"), blocked("b"), on("b")]),
            "• *a* goes on\n• *b* is blocked: log in\n• *b* goes on"
        );
        assert_eq!(told(vec![blocked("a"), on("a"), blocked("b")]), "• *a* and *b* are blocked: log in\n• *a* goes on");
    }

    #[test]
    fn an_agent_s_last_words_call_nobody_and_break_no_line() {
        let crashed = Notice::Crashed { agent: slug("a"), how: "<!channel>\n& gone".into(), times: 5 };
        let text = told(vec![crashed]);
        assert!(text.contains("&lt;!channel&gt; &amp; gone") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn news_of_hours_fit_into_one_message_that_says_how_many_it_leaves_out() {
        let many = (0..400).map(|number| Notice::Problem { what: format!("{number} {}", "<".repeat(700)) }).collect();
        let text = told(many);
        assert!(units(&text) <= MOST, "{}", units(&text));
        let shown = text.lines().count() - 1;
        assert!(
            text.ends_with(&format!("… and {} more; `fleet status` shows how the fleet is", 400 - shown)),
            "{text}"
        );
    }

    #[test]
    fn the_same_news_of_a_large_fleet_fits_into_one_message_that_tells_of_how_many() {
        let name = |number: u32| format!("agent-{number:03}-{}", "x".repeat(50));
        for others in [vec![], vec![Notice::Problem { what: "other".into() }]] {
            let of_all: Vec<_> =
                (0..300).map(|number| skipped(&name(number), &"<".repeat(700))).chain(others).collect();
            let text = told(of_all);
            assert!(units(&text) <= MOST, "{}", units(&text));
            assert!(text.contains("*agent-000-") && text.contains(" and 280 more got no daily prompt"), "{text}");
        }
        let failed = (0..300).map(|number| slug(&name(number))).collect();
        let text = told(vec![Notice::Booted { running: 0, resumed: 0, fresh: 0, failed }]);
        assert!(units(&text) <= MOST && text.contains("300 failed"), "{text}");
    }

    #[test]
    fn what_could_not_be_told_in_time_says_when_it_happened() {
        let row = NoticeRow { seq: 1, at: at(0), notice: on("a") };
        assert_eq!(bulletin(std::slice::from_ref(&row), at(10)), "*a* goes on");
        assert!(bulletin(&[row], at(7200)).starts_with("<!date^0^"));
    }
}
