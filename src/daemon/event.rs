//! Everything that can happen to the daemon, as one type, and which passes it wakes. The loop turns sources into events and
//! nothing else; an event carries no truth, only the hint that a pass should look again.

use crate::model::Slug;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The ticker: every pass looks again, those of agents at rest every third time.
    Tick,
    /// tmux said that sessions came or went, or the door to it opened or closed.
    Sessions,
    /// A record file of the agent grew.
    Records(Slug),
    /// A prompt for the agent was stored.
    Inbox(Slug),
    /// The feed grew, or a prompt of the agent moved on.
    Progress(Slug),
    /// An agent was started or resumed.
    Launched(Slug),
    /// An agent's process has ended.
    Died(Slug),
    /// agents.yaml may have changed.
    Config,
    /// Stop.
    Stop,
}

/// The passes that an event wakes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wakes {
    /// The supervisor's.
    pub supervisor: bool,
    /// The schedule's.
    pub schedule: bool,
    /// The reading of agents.yaml.
    pub config: bool,
    /// Mirror and delivery of these agents.
    pub agents: Agents,
    /// The resumption of this agent, at once and beside the supervisor's pass.
    pub resume: Option<Slug>,
    /// Whoever reads the feed, and whoever waits for a prompt.
    pub readers: bool,
}

/// Which agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Agents {
    /// None.
    #[default]
    None,
    /// One.
    One(Slug),
    /// All but those that are at rest.
    Due,
}

/// Which passes an event wakes.
pub fn wakes(event: &Event) -> Wakes {
    let one = |agent: &Slug| Agents::One(agent.clone());
    match event {
        Event::Tick => {
            Wakes { supervisor: true, schedule: true, agents: Agents::Due, readers: true, ..Wakes::default() }
        }
        Event::Sessions => Wakes { supervisor: true, ..Wakes::default() },
        Event::Records(agent) => Wakes { agents: one(agent), ..Wakes::default() },
        Event::Inbox(agent) => Wakes { agents: one(agent), readers: true, ..Wakes::default() },
        // The stamp of a nudge is written once its prompt is confirmed.
        Event::Progress(_) => Wakes { schedule: true, readers: true, ..Wakes::default() },
        Event::Launched(agent) => Wakes { supervisor: true, agents: one(agent), readers: true, ..Wakes::default() },
        Event::Config => Wakes { config: true, ..Wakes::default() },
        Event::Died(agent) => Wakes { resume: Some(agent.clone()), ..Wakes::default() },
        Event::Stop => Wakes::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_event_is_made_good_by_a_tick() {
        let agent: Slug = "a".parse().unwrap();
        let all = wakes(&Event::Tick);
        assert!(all.supervisor && all.schedule && all.readers && all.agents == Agents::Due);
        for event in [Event::Records(agent.clone()), Event::Inbox(agent.clone()), Event::Launched(agent.clone())] {
            assert_eq!(wakes(&event).agents, Agents::One(agent.clone()), "{event:?}");
        }
        assert_eq!(wakes(&Event::Died(agent.clone())).resume, Some(agent));
    }
}
