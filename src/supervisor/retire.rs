//! What becomes of agents that agents.yaml does not name any more: pure. Their sessions are held, and ended only when their
//! time is over and nobody is at work in them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::plan::{TAG_AGENT, TAG_FLEET};
use crate::model::Slug;
use crate::tmux::{Pane, PaneId};

/// For how long nothing may have been written or typed in a pane before it is ended.
const QUIET: SignedDuration = SignedDuration::from_mins(2);

/// One thing to do about an agent that is not in agents.yaml, or was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retirement {
    /// It has a session and was not known to be retired: hold it, and say until when.
    Begin {
        /// Whose.
        agent: Slug,
        /// When its session ends.
        until: Timestamp,
    },
    /// Its time is over: end its session.
    End {
        /// Whose.
        agent: Slug,
        /// Where.
        pane: PaneId,
        /// A person has panes of their own in it, which stay: only the agent's ends.
        shared: bool,
    },
    /// It is named again: let it go.
    Return {
        /// Whose.
        agent: Slug,
    },
    /// Its session is gone: nothing is left to hold.
    Gone {
        /// Whose.
        agent: Slug,
    },
}

/// What to do. `retired` are those known to be so, and since when. Panes without our tags are not looked at.
pub fn retirements(
    panes: &[Pane],
    fleet: &str,
    wanted: &[Slug],
    retired: &[(Slug, Timestamp)],
    after: Duration,
    now: Timestamp,
) -> Vec<Retirement> {
    let ours = |pane: &&Pane| pane.tags.get(TAG_FLEET).is_some_and(|tag| tag == fleet);
    let owned: Vec<(Slug, &Pane)> =
        panes.iter().filter(ours).filter_map(|pane| Some((pane.tags.get(TAG_AGENT)?.parse().ok()?, pane))).collect();
    let mut steps = Vec::new();
    for (agent, pane) in owned.iter().filter(|(agent, _)| !wanted.contains(agent)) {
        let agent = agent.clone();
        let Some((_, since)) = retired.iter().find(|(slug, _)| *slug == agent) else {
            steps.push(Retirement::Begin { agent, until: end(now, after) });
            continue;
        };
        if now >= end(*since, after) && is_quiet(pane, now) {
            let shared = panes.iter().any(|other| other.session == pane.session && other.id != pane.id);
            steps.push(Retirement::End { agent, pane: pane.id.clone(), shared });
        }
    }
    for (agent, _) in retired {
        if wanted.contains(agent) {
            steps.push(Retirement::Return { agent: agent.clone() });
        } else if !owned.iter().any(|(owner, _)| owner == agent) {
            steps.push(Retirement::Gone { agent: agent.clone() });
        }
    }
    steps
}

/// When a session that is held since then ends.
pub fn end(since: Timestamp, after: Duration) -> Timestamp {
    SignedDuration::try_from(after).ok().and_then(|after| since.checked_add(after).ok()).unwrap_or(Timestamp::MAX)
}

/// Whether nobody is attached and nothing happens in a pane. What has ended is quiet.
fn is_quiet(pane: &Pane, now: Timestamp) -> bool {
    let last = pane.output_at.max(pane.typed_at);
    let rests = now.as_second().saturating_sub(last) >= QUIET.as_secs();
    pane.death.is_some() || (pane.attached == 0 && rests)
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::pane;
    use super::*;
    use crate::tmux::Death;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_agent_that_left_the_file_is_held_for_its_time_and_ended_only_when_nobody_works_in_it() {
        let gone: Slug = "gone".parse().unwrap();
        let stays: Slug = "stays".parse().unwrap();
        let ours = |agent: &'static str| [(TAG_AGENT, agent), (TAG_FLEET, "f1")];
        let its = || pane("%1", "gone", &ours("gone"), None);
        let now = 2 * 86_400;
        let begin = Retirement::Begin { agent: gone.clone(), until: at(now + 86_400) };
        let over = Retirement::End { agent: gone.clone(), pane: "%1".parse().unwrap(), shared: false };
        let beside = Retirement::End { agent: gone.clone(), pane: "%1".parse().unwrap(), shared: true };
        let known = |since| vec![(gone.clone(), at(since))];
        let attached = Pane { attached: 1, ..its() };
        let working = Pane { output_at: now - 5, ..its() };
        let dead = Pane { output_at: now - 5, ..pane("%1", "gone", &ours("gone"), Some(Death::Exited(0))) };
        let others = pane("%1", "gone", &[(TAG_AGENT, "gone"), (TAG_FLEET, "f2")], None);
        for (name, panes, retired, expected) in [
            ("just taken out", vec![its()], vec![], vec![begin]),
            ("its time lasts", vec![its()], known(86_401), vec![]),
            ("its time is over", vec![its()], known(86_400), vec![over.clone()]),
            ("a person has a window in it", vec![its(), pane("%2", "gone", &[], None)], known(86_400), vec![beside]),
            ("a person is attached", vec![attached], known(0), vec![]),
            ("it is at work", vec![working], known(0), vec![]),
            ("it has ended", vec![dead], known(0), vec![over]),
            ("another fleet's, and a person's", vec![others, pane("%2", "gone", &[], None)], vec![], vec![]),
            ("its session is gone", vec![], known(0), vec![Retirement::Gone { agent: gone.clone() }]),
        ] {
            let found = retirements(&panes, "f1", std::slice::from_ref(&stays), &retired, DAY, at(now));
            assert_eq!(found, expected, "{name}");
        }
        let both = [stays.clone(), gone.clone()];
        let back = retirements(&[its()], "f1", &both, &known(0), DAY, at(now));
        assert_eq!(back, [Retirement::Return { agent: gone }], "named again");
        let kept = retirements(&[pane("%3", "stays", &ours("stays"), None)], "f1", &[stays], &[], DAY, at(now));
        assert_eq!(kept, [], "one that is named");
    }
}
