//! Who may start when, where many sessions are created at once: a box that starts thirty CLIs in one second starts none of
//! them well, and agents that share an OAuth login would all renew its token at the same moment, which only one survives
//! (measured elsewhere: 11 of 12 agents lost at boot). Pure.
//!
//! A turn is taken by whoever is ready to start, so that nobody waits for a neighbour's clone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the first agent of a shared login has it to itself, to renew its token.
const ALONE: Duration = Duration::from_secs(20);

/// A login that nobody started with for this long may be due for renewal again.
const QUIET: Duration = Duration::from_secs(3600);

/// The turns that were given. Times are counted from any one moment, by a clock that is never set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    /// Those that still matter, in order.
    given: Vec<Duration>,
    logins: HashMap<PathBuf, Login>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Login {
    first: Duration,
    last: Duration,
}

impl Turns {
    /// Gives the next turn: no sooner than `now`, `gap` away from every other, and not in the time in which the first agent
    /// of its `login` is alone. A turn that a login puts off leaves the ones before it to others.
    pub fn next(&mut self, now: Duration, gap: Duration, login: Option<&Path>) -> Duration {
        self.given.retain(|turn| *turn + gap > now);
        let series = login.and_then(|login| self.logins.get(login)).filter(|login| now < login.last + QUIET);
        let earliest = series.map_or(now, |login| now.max(login.first + ALONE));
        let turn = self
            .given
            .iter()
            .fold(earliest, |turn, given| if turn + gap > *given && *given + gap > turn { *given + gap } else { turn });
        let place = self.given.partition_point(|given| *given <= turn);
        self.given.insert(place, turn);
        if let Some(login) = login {
            let first = series.map_or(turn, |login| login.first);
            self.logins.insert(login.to_owned(), Login { first, last: turn });
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The turns of agents that are all ready at the second `at`, each with the login it shares.
    fn turns(turns: &mut Turns, at: u64, gap: u64, logins: &[&str]) -> Vec<u64> {
        let seconds = Duration::from_secs;
        let login = |name: &&str| (!name.is_empty()).then(|| PathBuf::from(name));
        logins.iter().map(|name| turns.next(seconds(at), seconds(gap), login(name).as_deref()).as_secs()).collect()
    }

    #[test]
    fn sessions_that_are_created_at_once_start_one_by_one_and_a_shared_login_is_renewed_by_one_alone() {
        let rows: [(&str, u64, &[&str], &[u64]); 8] = [
            ("one agent waits for nobody", 3, &[""], &[0]),
            ("without a login they follow each other", 3, &["", "", ""], &[0, 3, 6]),
            ("no stagger, no wait", 0, &["", "", ""], &[0, 0, 0]),
            ("the first of a login is alone with it", 3, &["a", "a", "a"], &[0, 20, 23]),
            ("a login that waits holds up no other agent", 3, &["a", "a", "", ""], &[0, 20, 3, 6]),
            ("two logins don't wait for each other", 3, &["a", "b", "a", "b"], &[0, 3, 20, 23]),
            ("nor is one put between two turns too near", 15, &["a", "a", "", ""], &[0, 20, 35, 50]),
            ("a login is renewed alone without a stagger too", 0, &["a", "a", "a"], &[0, 20, 20]),
        ];
        for (name, gap, logins, expected) in rows {
            assert_eq!(turns(&mut Turns::default(), 0, gap, logins), expected, "{name}");
        }
    }

    #[test]
    fn an_agent_that_starts_later_waits_only_for_what_is_near_and_a_login_is_renewed_alone_again_after_an_hour() {
        let mut known = Turns::default();
        assert_eq!(turns(&mut known, 0, 3, &["a", "a"]), [0, 20]);
        assert_eq!(turns(&mut known, 1, 3, &[""]), [3]);
        assert_eq!(turns(&mut known, 100, 3, &["a", ""]), [100, 103]);
        assert_eq!(known.given.len(), 2, "turns that are over are forgotten");
        assert_eq!(turns(&mut known, 4000, 3, &["a", "a"]), [4000, 4020]);
    }

    #[test]
    fn a_hundred_agents_that_cannot_start_yet_never_get_two_turns_too_near() {
        let mut known = Turns::default();
        let logins: Vec<&str> = (0..100).map(|number| ["", "a", "b"][number % 3]).collect();
        let mut all = turns(&mut known, 0, 3, &logins);
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{all:?}");
    }
}
