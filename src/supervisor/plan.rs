//! What a pass must do, from what is wanted and what tmux shows: pure.

use crate::model::Slug;
use crate::tmux::{Death, Pane, PaneId};

/// The pane option that names the agent of a pane of ours.
pub const TAG_AGENT: &str = "@fleet_agent";
/// The pane option that names the fleet (the state directory) that a pane belongs to.
pub const TAG_FLEET: &str = "@fleet_id";

/// One thing to do, or the reason to do nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The agent has no session: create one.
    Create {
        /// Whose.
        agent: Slug,
    },
    /// The agent's process ended: start it again in its pane.
    Respawn {
        /// Whose.
        agent: Slug,
        /// Where.
        pane: PaneId,
        /// How it ended.
        death: Death,
    },
    /// All is well.
    Keep {
        /// Whose.
        agent: Slug,
        /// Where.
        pane: PaneId,
    },
    /// A session of the agent's name is not ours: it is left alone, and the agent has an error.
    Refuse {
        /// Whose.
        agent: Slug,
        /// What is there, for people.
        why: String,
    },
}

impl Step {
    /// Whose step it is.
    pub fn agent(&self) -> &Slug {
        match self {
            Self::Create { agent }
            | Self::Respawn { agent, .. }
            | Self::Keep { agent, .. }
            | Self::Refuse { agent, .. } => agent,
        }
    }

    /// The pane that the agent has, where it has one.
    pub fn pane(&self) -> Option<&PaneId> {
        match self {
            Self::Respawn { pane, .. } | Self::Keep { pane, .. } => Some(pane),
            Self::Create { .. } | Self::Refuse { .. } => None,
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create { agent } => write!(formatter, "{agent}: start it in a new session"),
            Self::Respawn { agent, death, .. } => {
                let how = match death {
                    Death::Exited(status) => format!("exited with status {status}"),
                    Death::Killed(signal) => format!("was killed by signal {signal}"),
                    Death::Unknown => "ended".to_owned(),
                };
                write!(formatter, "{agent}: it {how}; resume it in its pane")
            }
            Self::Keep { agent, .. } => write!(formatter, "{agent}: runs"),
            Self::Refuse { agent, why } => write!(formatter, "{agent}: {why}"),
        }
    }
}

/// One step for each wanted agent, in their order. Panes that no wanted agent claims are not touched.
pub fn plan(wanted: &[Slug], panes: &[Pane], fleet: &str) -> Vec<Step> {
    wanted.iter().map(|agent| step(agent, panes, fleet)).collect()
}

/// The step for one agent.
pub fn step(agent: &Slug, panes: &[Pane], fleet: &str) -> Step {
    let tag = |pane: &Pane, name| pane.tags.get(name).map(String::as_str).unwrap_or_default().to_owned();
    let ours = |pane: &&Pane| tag(pane, TAG_AGENT) == agent.as_str() && tag(pane, TAG_FLEET) == fleet;
    let agent = agent.clone();
    if let Some(pane) = panes.iter().find(ours) {
        return match pane.death {
            Some(death) => Step::Respawn { agent, pane: pane.id.clone(), death },
            None => Step::Keep { agent, pane: pane.id.clone() },
        };
    }
    let Some(other) = panes.iter().find(|pane| pane.session == agent.as_str()) else { return Step::Create { agent } };
    let whose = match tag(other, TAG_FLEET) {
        owner if owner.is_empty() || owner == fleet => "was not started by fleetd",
        _ => "belongs to another fleet (another state directory)",
    };
    let why = format!(
        "a tmux session named {agent} is there already and {whose}: end or rename it, or give the agent another slug"
    );
    Step::Refuse { agent, why }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn pane(id: &str, session: &str, tags: &[(&str, &str)], death: Option<Death>) -> Pane {
        Pane {
            id: id.parse().unwrap(),
            session: session.into(),
            tags: tags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            pid: 1,
            death,
            in_mode: false,
            input_off: false,
            attached: 0,
            typed_at: 0,
            output_at: 0,
            cursor_column: 0,
            cursor_row: 0,
            width: 200,
            height: 50,
            command: String::new(),
            title: String::new(),
        }
    }

    #[test]
    fn an_agent_is_started_resumed_kept_or_refused_and_never_started_over_somebody_s_session() {
        let agent: Slug = "pr".parse().unwrap();
        let ours = [(TAG_AGENT, "pr"), (TAG_FLEET, "f1")];
        let keep = |id: &str| Step::Keep { agent: agent.clone(), pane: id.parse().unwrap() };
        let rows = [
            ("nothing there", vec![], Step::Create { agent: agent.clone() }),
            (
                "a neighbour whose name begins alike",
                vec![pane("%1", "pr-reviewer", &[], None)],
                Step::Create { agent: agent.clone() },
            ),
            ("alive", vec![pane("%1", "pr", &ours, None)], keep("%1")),
            ("renamed by a person", vec![pane("%1", "mine", &ours, None)], keep("%1")),
            ("a person split the window", vec![pane("%2", "pr", &[], None), pane("%1", "pr", &ours, None)], keep("%1")),
            (
                "dead",
                vec![pane("%1", "pr", &ours, Some(Death::Killed(9)))],
                Step::Respawn { agent: agent.clone(), pane: "%1".parse().unwrap(), death: Death::Killed(9) },
            ),
        ];
        for (name, panes, expected) in rows {
            assert_eq!(plan(std::slice::from_ref(&agent), &panes, "f1"), [expected], "{name}");
        }
        for tags in [vec![], vec![(TAG_AGENT, "pr"), (TAG_FLEET, "f2")]] {
            let steps = plan(std::slice::from_ref(&agent), &[pane("%1", "pr", &tags, None)], "f1");
            assert!(matches!(&steps[..], [Step::Refuse { .. }]), "{tags:?}");
        }
    }
}
