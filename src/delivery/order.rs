//! Which waiting prompt is next: people before the clock, first come first within each, and nobody waits for ever.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Prompt, PromptState};

/// A prompt that has waited this long goes before everybody who came later, whoever that is: the bound that keeps a busy
/// channel from starving the day's nudge.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// The waiting prompt that is next. `prompts` stand in the order of their arrival.
pub fn next(prompts: &[Prompt], now: Timestamp) -> Option<&Prompt> {
    let waiting = || prompts.iter().filter(|prompt| prompt.state == PromptState::Queued);
    let overdue = waiting().find(|prompt| now.duration_since(prompt.created) >= PATIENCE);
    // `min_by_key` answers the first of equals: first come, first served.
    overdue.or_else(|| waiting().min_by_key(|prompt| prompt.source.rank()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PromptId, Source};

    fn prompt(source: Source, created: i64) -> Prompt {
        let created = Timestamp::from_second(created).unwrap();
        Prompt {
            id: PromptId::random(),
            agent: "a".parse().unwrap(),
            source,
            who: "ann".into(),
            body: "x".into(),
            place: None,
            created,
            expires: None,
            state: PromptState::Queued,
            since: created,
        }
    }

    fn nudge(created: i64) -> Prompt {
        prompt(Source::Nudge { day: "2026-01-01".parse().unwrap() }, created)
    }

    fn picked(prompts: &[Prompt], now: i64) -> usize {
        let next = next(prompts, Timestamp::from_second(now).unwrap()).unwrap();
        prompts.iter().position(|prompt| prompt.id == next.id).unwrap()
    }

    #[test]
    fn a_person_is_not_kept_waiting_by_the_schedule_and_first_come_is_first_served() {
        assert_eq!(picked(&[nudge(0), prompt(Source::Slack, 1), prompt(Source::Cli, 2)], 3), 1);
        assert_eq!(picked(&[nudge(0), nudge(1)], 3), 0);
    }

    #[test]
    fn nothing_starves_however_many_people_write() {
        let mut prompts = vec![nudge(0)];
        prompts.extend((1..100).map(|second| prompt(Source::Slack, second)));
        assert_eq!(picked(&prompts, PATIENCE.as_secs() - 1), 1);
        assert_eq!(picked(&prompts, PATIENCE.as_secs()), 0);
    }

    #[test]
    fn what_is_settled_or_under_way_is_not_next() {
        let mut done = prompt(Source::Cli, 0);
        done.state = PromptState::Expired;
        assert!(next(&[done], Timestamp::UNIX_EPOCH).is_none());
    }
}
