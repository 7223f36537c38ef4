//! `fleet status`: what every agent does.

use anyhow::Context;
use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use jiff::Timestamp;

use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{print, show};
use crate::daemon::protocol::{AgentState, AgentStatus, Status};

/// Show every agent.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub async fn run(args: &StatusArgs, surroundings: &Surroundings) -> anyhow::Result<Exit> {
    let status: Status = surroundings.client().get("/v1/status").await?;
    if args.json {
        print(&serde_json::to_string_pretty(&status).context("can't write JSON")?)?;
    } else {
        print(&table(&status, Timestamp::now(), show::on_terminal()))?;
    }
    Ok(Exit::Success)
}

fn table(status: &Status, now: Timestamp, terminal: bool) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(if terminal { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
    let heads = ["AGENT", "RUNTIME", "STATE", "SINCE", "LAST PROMPT", "NEXT NUDGE", "QUEUE", "ATTACHED"];
    table.set_header(
        heads.map(|head| if terminal { Cell::new(head).add_attribute(Attribute::Dim) } else { Cell::new(head) }),
    );
    for agent in status.agents.iter().chain(&status.retired) {
        table.add_row(row(agent, now, terminal));
    }
    let mut text = table.trim_fmt();
    for agent in &status.agents {
        let notes = [("", &agent.problem), ("held by ", &agent.held_by), ("next prompt waits: ", &agent.held)];
        for (what, note) in notes.into_iter().filter_map(|(what, note)| Some((what, note.as_ref()?))) {
            text.push_str(&format!("\n{}: {what}{note}", agent.agent));
        }
    }
    if let Some(slack) = &status.slack {
        let state = if slack.connected { "connected" } else { "not connected" };
        text.push_str(&format!("\nslack: {state}"));
        slack.problems.iter().for_each(|problem| text.push_str(&format!("\nslack: {problem}")));
    }
    if let Some(at) = status.stops_at {
        text.push_str(&format!("\nthis box stops itself {} (`fleet keep-awake 2h` keeps it up)", show::time(at, now)));
    }
    if let Some(until) = status.awake_until {
        text.push_str(&format!("\nthis box is kept awake until {}", show::time(until, now)));
    }
    status.problems.iter().for_each(|problem| text.push_str(&format!("\n{problem}")));
    text
}

fn row(agent: &AgentStatus, now: Timestamp, terminal: bool) -> Vec<Cell> {
    let dash = || "-".to_owned();
    let state = match &agent.state {
        AgentState::Asking { what, .. } => format!("asking: {what}"),
        AgentState::Blocked { why } => format!("blocked: {why}"),
        AgentState::Held { why } => format!("idle: {why}"),
        AgentState::Retiring { until } => format!("retiring until {}", show::time(*until, now)),
        AgentState::Elsewhere { program } => format!("at {program}"),
        state => state.word().to_owned(),
    };
    let paused = matches!(agent.state, AgentState::Paused { .. } | AgentState::Retiring { .. });
    let state = if agent.held_by.is_some() && !paused { format!("{state}, held") } else { state };
    let colour = match &agent.state {
        AgentState::Idle | AgentState::Held { .. } => Some(Color::Green),
        AgentState::Busy | AgentState::Starting | AgentState::Retiring { .. } => Some(Color::Yellow),
        _ => Some(Color::Red),
    };
    let state = Cell::new(state);
    let state = match colour.filter(|_| terminal) {
        Some(colour) => state.fg(colour),
        None => state,
    };
    let last = agent.last.as_ref().map_or_else(dash, |last| {
        format!("{} by {}, {} ({} ago)", last.source.word(), last.who, last.state, show::ago(last.at, now))
    });
    vec![
        Cell::new(&agent.agent),
        Cell::new(&agent.runtime),
        state,
        Cell::new(agent.since.map_or_else(dash, |since| show::ago(since, now))),
        Cell::new(last),
        Cell::new(agent.next_nudge.map_or_else(dash, |next| show::time(next, now))),
        Cell::new(agent.queued),
        Cell::new(if agent.attached > 0 { agent.attached.to_string() } else { dash() }),
    ]
}
