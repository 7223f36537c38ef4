//! What a pass must do, from what is wanted and what tmux shows: pure.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::model::Slug;
use crate::tmux::{Death, Pane, PaneId};

/// The pane option that names the agent of a pane of ours.
pub const TAG_AGENT: &str = "@fleet_agent";
/// The pane option that names the fleet (the state directory) that a pane belongs to.
pub const TAG_FLEET: &str = "@fleet_id";

/// An agent that lived this long had a good start.
const GOOD_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// The pause after the second start in a row that was no good, counted from that start; each further one doubles it.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// After so many starts in a row that were no good people are told.
const TOLD_CRASHES: u32 = 5;

/// What is remembered of an agent's starts, so that one that can't live is not started over and over. Only in memory: a
/// restart of the daemon costs one early try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starts {
    first: Timestamp,
    last: Timestamp,
    /// How many restarts in a row were not followed by a good life.
    again: u32,
    /// Whether people were told of this series.
    told: bool,
}

impl Starts {
    /// One more start, at `now`.
    pub fn one_more(before: Option<Self>, now: Timestamp) -> Self {
        match before {
            Some(before) => Self { last: now, again: before.again.saturating_add(1), ..before },
            None => Self { first: now, last: now, again: 0, told: false },
        }
    }

    /// Whether an agent that is alive at `now` has had a good life since. A clock that was set back tells nothing.
    pub fn was_good(&self, now: Timestamp) -> bool {
        now.duration_since(self.last) >= GOOD_LIFE
    }

    /// How many starts in a row ended soon, the first among them.
    pub fn in_vain(&self) -> u32 {
        self.again.saturating_add(1)
    }

    /// The same series, told of; none where it is too short for that or was told of before.
    pub fn to_tell(self) -> Option<Self> {
        (self.in_vain() >= TOLD_CRASHES && !self.told).then_some(Self { told: true, ..self })
    }

    /// When the series began, which tells it from another one of the same agent.
    pub fn since(&self) -> Timestamp {
        self.first
    }

    /// How long after `now` the next start has to wait; none where it need not. The first restart may be at once, and so may
    /// one after the clock was set back.
    pub fn wait(&self, now: Timestamp) -> Option<SignedDuration> {
        let pause = match self.again {
            0 => SignedDuration::ZERO,
            again => FIRST_PAUSE.saturating_mul(1 << (again - 1).min(16)).min(LONGEST_PAUSE),
        };
        let lived = now.duration_since(self.last);
        (!lived.is_negative() && lived < pause).then(|| pause.saturating_sub(lived))
    }
}

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
    /// The agent's process ended soon after each of its last starts: the next one waits.
    Pause {
        /// Whose.
        agent: Slug,
        /// Where.
        pane: PaneId,
        /// How it ended.
        death: Death,
        /// How many starts in a row ended soon.
        in_vain: u32,
    },
    /// All is well.
    Keep {
        /// Whose.
        agent: Slug,
        /// Where.
        pane: PaneId,
        /// The pane's process.
        pid: u32,
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
            | Self::Pause { agent, .. }
            | Self::Keep { agent, .. }
            | Self::Refuse { agent, .. } => agent,
        }
    }

    /// The pane that the agent has, where it has one.
    pub fn pane(&self) -> Option<&PaneId> {
        match self {
            Self::Respawn { pane, .. } | Self::Pause { pane, .. } | Self::Keep { pane, .. } => Some(pane),
            Self::Create { .. } | Self::Refuse { .. } => None,
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create { agent } => write!(formatter, "{agent}: start it in a new session"),
            Self::Respawn { agent, death, .. } => {
                write!(formatter, "{agent}: it {}; resume it in its pane", how(death))
            }
            Self::Pause { agent, death, in_vain, .. } => {
                write!(formatter, "{agent}: it {} after each of {in_vain} starts; wait before the next", how(death))
            }
            Self::Keep { agent, .. } => write!(formatter, "{agent}: runs"),
            Self::Refuse { agent, why } => write!(formatter, "{agent}: {why}"),
        }
    }
}

/// How a process ended, as the rest of a sentence.
pub fn how(death: &Death) -> String {
    match death {
        Death::Exited(status) => format!("exited with status {status}"),
        Death::Killed(signal) => format!("was killed by signal {signal}"),
        Death::Unknown => "ended".to_owned(),
    }
}

/// One step for each wanted agent, in their order. Panes that no wanted agent claims are not touched. Without `starts`
/// nothing is put off.
pub fn plan(wanted: &[Slug], panes: &[Pane], fleet: &str, starts: &HashMap<Slug, Starts>, now: Timestamp) -> Vec<Step> {
    let seats = Seats::of(panes, fleet);
    let too_soon = |agent| starts.get(agent).filter(|it| it.wait(now).is_some());
    wanted.iter().map(|agent| seats.step(agent, fleet, too_soon(agent))).collect()
}

/// The step for one agent; `too_soon` where its next start has to wait.
pub fn step(agent: &Slug, panes: &[Pane], fleet: &str, too_soon: Option<&Starts>) -> Step {
    Seats::of(panes, fleet).step(agent, fleet, too_soon)
}

fn tag<'a>(pane: &'a Pane, name: &str) -> &'a str {
    pane.tags.get(name).map(String::as_str).unwrap_or_default()
}

/// The panes, found by whose they are: a thousand agents are not looked for in a thousand panes each.
struct Seats<'a> {
    /// Those of this fleet, by agent; of several the first.
    ours: HashMap<&'a str, &'a Pane>,
    /// All, by the name of their session; of several the first.
    named: HashMap<&'a str, &'a Pane>,
}

impl<'a> Seats<'a> {
    fn of(panes: &'a [Pane], fleet: &str) -> Self {
        let (mut ours, mut named) = (HashMap::new(), HashMap::new());
        for pane in panes {
            named.entry(pane.session.as_str()).or_insert(pane);
            if tag(pane, TAG_FLEET) == fleet {
                ours.entry(tag(pane, TAG_AGENT)).or_insert(pane);
            }
        }
        Self { ours, named }
    }

    fn step(&self, agent: &Slug, fleet: &str, too_soon: Option<&Starts>) -> Step {
        let agent = agent.clone();
        if let Some(pane) = self.ours.get(agent.as_str()) {
            let pane_id = pane.id.clone();
            return match (pane.death, too_soon) {
                (Some(death), None) => Step::Respawn { agent, pane: pane_id, death },
                (Some(death), Some(starts)) => Step::Pause { agent, pane: pane_id, death, in_vain: starts.in_vain() },
                (None, _) => Step::Keep { agent, pane: pane_id, pid: pane.pid },
            };
        }
        let Some(other) = self.named.get(agent.as_str()) else { return Step::Create { agent } };
        let whose = match tag(other, TAG_FLEET) {
            owner if owner.is_empty() || owner == fleet => "was not started by fleetd",
            _ => "belongs to another fleet (another state directory)",
        };
        let why = format!(
            "a tmux session named {agent} is there already and {whose}: end or rename it, or give the agent another slug"
        );
        Step::Refuse { agent, why }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(in crate::supervisor) fn pane(id: &str, session: &str, tags: &[(&str, &str)], death: Option<Death>) -> Pane {
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
            command: None,
            title: String::new(),
        }
    }

    #[test]
    fn an_agent_is_started_resumed_kept_or_refused_and_never_started_over_somebody_s_session() {
        let agent: Slug = "pr".parse().unwrap();
        let ours = [(TAG_AGENT, "pr"), (TAG_FLEET, "f1")];
        let keep = |id: &str| Step::Keep { agent: agent.clone(), pane: id.parse().unwrap(), pid: 1 };
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
            let steps = plan(std::slice::from_ref(&agent), &panes, "f1", &HashMap::new(), Timestamp::UNIX_EPOCH);
            assert_eq!(steps, [expected], "{name}");
        }
        for tags in [vec![], vec![(TAG_AGENT, "pr"), (TAG_FLEET, "f2")]] {
            let panes = [pane("%1", "pr", &tags, None)];
            let steps = plan(std::slice::from_ref(&agent), &panes, "f1", &HashMap::new(), Timestamp::UNIX_EPOCH);
            assert!(matches!(&steps[..], [Step::Refuse { .. }]), "{tags:?}");
        }
    }

    #[test]
    fn an_agent_that_cannot_live_is_not_started_over_and_over_and_one_that_was_killed_once_is_back_at_once() {
        let agent: Slug = "pr".parse().unwrap();
        let tags = [(TAG_AGENT, "pr"), (TAG_FLEET, "f1")];
        let dead = [pane("%1", "pr", &tags, Some(Death::Exited(127)))];
        let mut starts = None;
        let mut waits = Vec::new();
        let mut now = Timestamp::UNIX_EPOCH;
        for _ in 0..13 {
            starts = Some(Starts::one_more(starts, now));
            let known = HashMap::from([(agent.clone(), starts.unwrap())]);
            let begun = now;
            while let [Step::Pause { .. }] = &plan(std::slice::from_ref(&agent), &dead, "f1", &known, now)[..] {
                now += SignedDuration::from_secs(1);
            }
            waits.push(now.duration_since(begun).as_secs());
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        let good = Starts::one_more(starts, now);
        assert!(!good.was_good(now + SignedDuration::from_secs(599)) && good.was_good(now + GOOD_LIFE));
    }

    #[test]
    fn people_are_told_once_of_an_agent_that_crashes_on_and_on_and_again_of_the_next_series() {
        let mut starts: Option<Starts> = None;
        let mut told = Vec::new();
        for second in 0..12 {
            let now = Timestamp::from_second(second).unwrap();
            if second == 8 {
                starts = None;
            }
            let next = Starts::one_more(starts, now);
            told.extend(next.to_tell().map(|told| (second, told.since().as_second())));
            starts = Some(next.to_tell().unwrap_or(next));
        }
        assert_eq!(told, [(4, 0)]);
        let fifth = Starts::one_more(starts, Timestamp::from_second(12).unwrap());
        assert_eq!(fifth.to_tell().map(|told| told.since().as_second()), Some(8));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_agent_waiting_for_the_old_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let starts = (0..6).fold(None, |starts, _| Some(Starts::one_more(starts, at(7200)))).unwrap();
        assert_eq!(starts.wait(at(7201)), Some(SignedDuration::from_secs(15)));
        assert_eq!(starts.wait(at(0)), None);
    }
}
