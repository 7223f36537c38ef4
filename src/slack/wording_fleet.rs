//! Every sentence of `/fleet`, of the App Home and of refusals. Slack's mrkdwn; whatever comes from outside is escaped here.

use jiff::Timestamp;

use super::authority::{Act, Refusal, Why};
use super::markdown::escape;
use super::view::{AgentView, FleetView, QueuedView};
use crate::model::text::{count, first_line};
use crate::model::{PromptId, Slug};

/// The most characters of one section of Slack's; longer ones are refused.
const SECTION: usize = 2_900;
/// The most characters of an answer: one message of Slack's.
const ANSWER: usize = 3_800;
/// The most agents in one view, of 100 blocks.
const AGENTS: usize = 90;
/// The most prompts in one answer.
const QUEUED: usize = 20;

/// Somebody may not do what they meant to.
pub(super) fn refused(refusal: &Refusal) -> String {
    let agent = &refusal.agent;
    let act = match refusal.act {
        Act::Steer => format!("tell *{agent}* anything"),
        Act::Stop => format!("interrupt *{agent}*"),
        Act::Approve => format!("decide for *{agent}*"),
        Act::See => "see this fleet".to_owned(),
    };
    let why = match refusal.why {
        Why::Guest => "guests of this workspace may not, unless agents.yaml lists them",
        Why::Outsider => "people of other workspaces may not, unless agents.yaml lists them",
        Why::Unlisted => "agents.yaml lists others for that",
        Why::Bot | Why::Deleted => "this account may not",
    };
    format!(":no_entry: You may not {act}: {why}. Nothing was done. Whoever runs the fleet can add `{}`.", refusal.user)
}

/// Nothing is visible to somebody.
pub(super) fn nothing_to_see() -> String {
    "There is nothing here that you may see. Whoever runs the fleet can add you to agents.yaml.".to_owned()
}

/// What the command can do.
pub(super) fn help() -> String {
    "`/fleet status [agent]`: how the agents are\n\
     `/fleet send &lt;agent&gt; &lt;text&gt;`: give an agent a prompt\n\
     `/fleet stop &lt;agent&gt;`: hold an agent and interrupt its turn\n\
     `/fleet nudge &lt;agent&gt;`: its daily prompt now\n\
     `/fleet queue [agent]`: what waits\n\
     In an agent's own channel its name may be left out. Only you see the answers."
        .to_owned()
}

/// A command that can't be understood.
pub(super) fn misunderstood(what: &str) -> String {
    format!(":warning: {}\n{}", escape(what), help())
}

/// A prompt was stored.
pub(super) fn sent(agent: &Slug, id: &PromptId) -> String {
    format!(":eyes: Stored for *{agent}* as `{id}`; the answer comes in its channel.")
}

/// What became of a stop.
pub(super) fn stopped(agent: &Slug, outcome: &str) -> String {
    format!(
        ":black_square_for_stop: *{agent}*: {}. What is sent to it waits until `fleet resume {agent}`.",
        escape(outcome.trim_end_matches('.'))
    )
}

/// Something could not be done.
pub(super) fn failed(why: &str) -> String {
    format!(":warning: {}", escape(&first_line(why, 600)))
}

/// A command was heard too late to be carried out as it was meant.
pub(super) fn too_late() -> String {
    ":warning: fleetd was not there when you typed this, and what has become of the agents since it can't know: it was not \
     done. Type it again if it is still meant."
        .to_owned()
}

/// What waits.
pub(super) fn queue(prompts: &[QueuedView]) -> String {
    if prompts.is_empty() {
        return "Nothing waits.".to_owned();
    }
    let line = |prompt: &QueuedView| {
        let held = prompt.held.as_ref().map(|why| format!(" ({})", escape(&first_line(why, 120)))).unwrap_or_default();
        format!(
            "• *{}* `{}` {} by {}, {}, {}{held}: {}",
            prompt.agent,
            prompt.id,
            prompt.source,
            escape(&first_line(&prompt.who, 40)),
            escape(&prompt.state),
            slack_time(prompt.at),
            escape(&first_line(&prompt.text, 80))
        )
    };
    let mut lines: Vec<String> = prompts.iter().take(QUEUED).map(line).collect();
    if prompts.len() > QUEUED {
        lines.push(format!("… and {}", count(prompts.len() - QUEUED, "more", "more")));
    }
    lines.join("\n")
}

/// The fleet as sections, one for each agent. `channel` gives an agent's channel by its id.
pub(super) fn fleet<'a>(view: &FleetView, channel: impl Fn(&Slug) -> Option<&'a str>) -> Vec<String> {
    let problems =
        view.problems.iter().take(5).map(|problem| format!(":warning: {}", escape(&first_line(problem, 300))));
    let stops = view.stops_at.map(|at| format!(":zzz: this box stops itself {}", slack_time(at)));
    let head: Vec<String> = problems.chain(stops).collect();
    let mut sections = Vec::new();
    if !head.is_empty() {
        sections.push(head.join("\n"));
    }
    sections.extend(view.agents.iter().take(AGENTS).map(|agent| agent_lines(agent, channel(&agent.agent))));
    if view.agents.len() > AGENTS {
        sections.push(format!("… and {} more", view.agents.len() - AGENTS));
    }
    sections.iter_mut().for_each(cut);
    sections
}

/// Sections as the answer to a command: of many agents only the first line of each, so that it fits into one message.
pub(super) fn answer(sections: &[String]) -> String {
    let whole = sections.join("\n\n");
    if whole.chars().count() <= ANSWER {
        return whole;
    }
    let first = |section: &String| section.lines().next().unwrap_or_default().to_owned();
    let short = sections.iter().map(first).collect::<Vec<_>>().join("\n");
    first_chars(&short, ANSWER)
}

fn agent_lines(view: &AgentView, channel: Option<&str>) -> String {
    let sign = match view.state {
        "idle" => ":large_green_circle:",
        "busy" => ":large_blue_circle:",
        "asking" => ":raised_hand:",
        "starting" => ":white_circle:",
        _ => ":red_circle:",
    };
    let place = channel.map(|id| format!(" <#{id}>")).unwrap_or_default();
    let detail =
        view.detail.as_ref().map(|detail| format!(": {}", escape(&first_line(detail, 200)))).unwrap_or_default();
    let since = view.since.map(|at| format!(" since {}", slack_time(at))).unwrap_or_default();
    let mut lines = vec![format!("{sign} *{}*{place} {}{detail}{since}", view.agent, view.state)];
    if let Some(who) = &view.held_by {
        lines.push(format!("held by {}", escape(&first_line(who, 60))));
    }
    if view.queued > 0 {
        let held = view.held.as_ref().map(|why| format!(", the next because {}", escape(&first_line(why, 160))));
        lines.push(format!("{}{}", count(view.queued, "prompt waits", "prompts wait"), held.unwrap_or_default()));
    }
    if let Some(last) = &view.last {
        lines.push(format!(
            "last: {} by {}, {}, {}",
            last.source,
            escape(&first_line(&last.who, 60)),
            escape(&last.state),
            slack_time(last.at)
        ));
    }
    if let Some(next) = view.next_nudge {
        lines.push(format!("next nudge {}", slack_time(next)));
    }
    if let Some(problem) = &view.problem {
        lines.push(format!(":warning: {}", escape(&first_line(problem, 300))));
    }
    lines.join("\n")
}

fn cut(section: &mut String) {
    *section = first_chars(section, SECTION);
}

fn first_chars(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((place, _)) => format!("{}…", &text[..place]),
        None => text.to_owned(),
    }
}

/// Slack shows it in each reader's own zone.
fn slack_time(at: Timestamp) -> String {
    format!("<!date^{}^{{date_short_pretty}} {{time}}|{}>", at.as_second(), at.strftime("%F %H:%M UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_an_agent_or_a_person_wrote_pings_or_makes_up_an_agent_s_state() {
        let hostile = "<!channel> *done* & <@U1>\n:large_green_circle: *ann* idle";
        let view = AgentView {
            agent: "ann".parse().unwrap(),
            state: "blocked",
            detail: Some(hostile.into()),
            since: Some(Timestamp::UNIX_EPOCH),
            held_by: Some(hostile.into()),
            queued: 2,
            held: Some(hostile.into()),
            last: None,
            next_nudge: Some(Timestamp::UNIX_EPOCH),
            problem: Some(hostile.into()),
        };
        let fleet =
            fleet(&FleetView { agents: vec![view], problems: vec![hostile.into()], stops_at: None }, |_| Some("C1"));
        assert_eq!(fleet.len(), 2);
        let all = fleet.join("\n");
        assert!(!all.contains("<!channel") && !all.contains("<@") && all.contains("&lt;!channel&gt;"), "{all}");
        assert!(all.contains(":red_circle: *ann* <#C1> blocked: ") && all.contains("2 prompts wait"), "{all}");
        assert!(!all.contains("\n:large_green_circle:"), "{all}");
    }

    #[test]
    fn a_fleet_of_any_size_fits_in_what_slack_shows() {
        let agent = |number: usize| AgentView {
            agent: format!("a{number}").parse().unwrap(),
            state: "idle",
            detail: Some("x".repeat(9_000)),
            since: None,
            held_by: None,
            queued: 0,
            held: None,
            last: None,
            next_nudge: None,
            problem: Some("y".repeat(9_000)),
        };
        let view =
            FleetView { agents: (0..300).map(agent).collect(), problems: vec!["p".repeat(9_000); 40], stops_at: None };
        let sections = fleet(&view, |_| None);
        assert!(sections.len() <= 100 && sections.iter().all(|section| section.chars().count() <= 3_000));
        assert!(sections.last().unwrap().contains("210 more"), "{:?}", sections.last());
        let answer = answer(&sections);
        assert!(answer.chars().count() < 4_000 && answer.contains("*a3*"), "{answer}");
    }
}
