//! Which waiting prompts are next, and how they go: people before the clock, first come first within each, nobody waits for
//! ever, and what waits from one thread goes as one message. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Mode, Place, Prompt, Rank};

/// A prompt that has waited this long goes before everybody who came later, whoever that is: the bound that keeps a busy
/// channel from starving the day's nudge.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// The most prompts in one message.
const MOST: usize = 20;

/// The most bytes of them; a longer prompt goes alone.
const MOST_BYTES: usize = 64 * 1024;

/// How a prompt may go into the pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Once the agent is idle.
    WhenIdle,
    /// Into the turn that runs.
    Steering,
    /// After the turn that runs was broken off.
    Interrupting,
}

/// What is known of the turn that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// Whether one runs.
    pub runs: bool,
    /// The threads in which it is told: that of the prompt that opened it, and of those that it took in.
    pub threads: Vec<Place>,
    /// Whether the agent's CLI takes text meanwhile.
    pub takes_text: bool,
}

/// Prompts that go as one message, first come first: at least one, the first is their lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The first.
    pub lead: &'a Prompt,
    /// The others, all of the lead's thread.
    pub others: Vec<&'a Prompt>,
    /// How they go.
    pub manner: Manner,
}

impl<'a> Batch<'a> {
    /// A prompt that goes alone.
    pub fn alone(lead: &'a Prompt) -> Self {
        Self { lead, others: Vec::new(), manner: Manner::WhenIdle }
    }
}

/// How a prompt may go while `turn` is as it is.
pub fn manner(prompt: &Prompt, turn: &Turn) -> Manner {
    let in_its_thread = || prompt.place.as_ref().is_some_and(|place| turn.threads.contains(place));
    match prompt.mode {
        Mode::Interrupt => Manner::Interrupting,
        Mode::Steer if turn.runs && turn.takes_text => Manner::Steering,
        Mode::Thread if turn.runs && turn.takes_text && in_its_thread() => Manner::Steering,
        Mode::Queue | Mode::Steer | Mode::Thread => Manner::WhenIdle,
    }
}

/// The waiting prompts that are next; `prompts` stand in the order of their arrival. What breaks a turn off comes first, and
/// is first still once the turn is over, then what the fleet itself does for the conversation. While one runs, what may go into it comes next: the others can't go now anyway.
pub fn next<'a>(prompts: &'a [Prompt], turn: &Turn, now: Timestamp) -> Option<Batch<'a>> {
    let waiting = || prompts.iter().filter(|prompt| prompt.state.name().is_waiting());
    let first = |wanted: Manner| waiting().find(|prompt| manner(prompt, turn) == wanted);
    let fleet = || waiting().find(|prompt| prompt.source.rank() == Rank::Fleet);
    let overdue = || waiting().find(|prompt| now.duration_since(prompt.created) >= PATIENCE);
    // `min_by_key` answers the first of equals: first come, first served.
    let by_rank = || waiting().min_by_key(|prompt| prompt.source.rank());
    let lead = first(Manner::Interrupting)
        .or_else(|| first(Manner::Steering))
        .or_else(fleet)
        .or_else(overdue)
        .or_else(by_rank)?;
    Some(batch(lead, waiting(), turn))
}

/// What goes with `lead`: what waits from the same thread and may go in the same way.
fn batch<'a>(lead: &'a Prompt, waiting: impl Iterator<Item = &'a Prompt>, turn: &Turn) -> Batch<'a> {
    let manner_of_lead = manner(lead, turn);
    let mut room = MOST_BYTES.saturating_sub(lead.body.len());
    let together = |prompt: &&Prompt| {
        prompt.id != lead.id
            && prompt.place.is_some()
            && prompt.place == lead.place
            && manner(prompt, turn) == manner_of_lead
            && manner_of_lead != Manner::Interrupting
    };
    let fits = |prompt: &&Prompt| {
        let left = room.checked_sub(prompt.body.len());
        room = left.unwrap_or_default();
        left.is_some()
    };
    // None is left out: what comes later in a thread must not go before what came earlier.
    let others = waiting.filter(together).take_while(fits).take(MOST - 1).collect();
    Batch { lead, others, manner: manner_of_lead }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PromptId, PromptState, Source};

    fn prompt(source: Source, created: i64) -> Prompt {
        let created = Timestamp::from_second(created).unwrap();
        Prompt { id: PromptId::random(), source, created, since: created, ..Prompt::example() }
    }

    fn nudge(created: i64) -> Prompt {
        prompt(Source::Nudge { day: "2026-01-01".parse().unwrap() }, created)
    }

    fn picked(prompts: &[Prompt], now: i64) -> usize {
        let next = next(prompts, &Turn::default(), Timestamp::from_second(now).unwrap()).unwrap();
        prompts.iter().position(|prompt| prompt.id == next.lead.id).unwrap()
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
    fn a_turn_that_was_cut_off_goes_on_before_what_has_waited_meanwhile() {
        let prompts = [nudge(0), prompt(Source::Slack, 1), prompt(Source::Resume, 7200)];
        assert_eq!(picked(&prompts, 7201), 2);
        assert_eq!(picked(&[prompt(Source::Slack, 1), prompt(Source::Compact, 2)], 3), 1);
    }

    #[test]
    fn what_is_settled_or_under_way_is_not_next() {
        let mut done = prompt(Source::Cli, 0);
        done.state = PromptState::Expired;
        assert!(next(&[done], &Turn::default(), Timestamp::UNIX_EPOCH).is_none());
    }

    fn thread(name: &str) -> Option<Place> {
        Some(Place { channel: "C1".into(), thread: name.into() })
    }

    fn said(name: &str, created: i64, mode: Mode) -> Prompt {
        Prompt { place: thread(name), mode, ..prompt(Source::Slack, created) }
    }

    fn running(name: &str) -> Turn {
        Turn { runs: true, threads: thread(name).into_iter().collect(), takes_text: true }
    }

    #[test]
    fn a_reply_goes_into_the_turn_of_its_own_thread_and_into_no_other() {
        let reply = said("1.0", 0, Mode::Thread);
        let deaf = Turn { takes_text: false, ..running("1.0") };
        let idle = Turn { runs: false, ..running("1.0") };
        let nobody_s = Turn { threads: Vec::new(), ..running("1.0") };
        for (mode, turn, expected) in [
            (Mode::Thread, running("1.0"), Manner::Steering),
            (Mode::Thread, running("2.0"), Manner::WhenIdle),
            (Mode::Thread, nobody_s.clone(), Manner::WhenIdle),
            (Mode::Thread, deaf.clone(), Manner::WhenIdle),
            (Mode::Thread, idle.clone(), Manner::WhenIdle),
            (Mode::Steer, running("2.0"), Manner::Steering),
            (Mode::Steer, deaf.clone(), Manner::WhenIdle),
            (Mode::Steer, idle.clone(), Manner::WhenIdle),
            (Mode::Queue, running("1.0"), Manner::WhenIdle),
            (Mode::Interrupt, deaf, Manner::Interrupting),
            (Mode::Interrupt, idle, Manner::Interrupting),
        ] {
            assert_eq!(manner(&Prompt { mode, ..reply.clone() }, &turn), expected, "{mode:?} {turn:?}");
        }
        let from_a_shell = Prompt { place: None, ..reply };
        assert_eq!(manner(&from_a_shell, &nobody_s), Manner::WhenIdle);
    }

    #[test]
    fn while_a_turn_runs_what_may_go_into_it_is_not_kept_waiting_by_what_may_not() {
        let prompts = [said("2.0", 0, Mode::Thread), said("1.0", 1, Mode::Thread), said("3.0", 2, Mode::Interrupt)];
        let picked = |turn: &Turn, prompts: &[Prompt]| next(prompts, turn, Timestamp::UNIX_EPOCH).unwrap().lead.created;
        assert_eq!(picked(&running("1.0"), &prompts), prompts[2].created);
        assert_eq!(picked(&running("1.0"), &prompts[..2]), prompts[1].created);
        assert_eq!(picked(&running("9.0"), &prompts[..2]), prompts[0].created);
        assert_eq!(picked(&Turn::default(), &prompts), prompts[2].created, "the turn is broken off already");
        assert_eq!(picked(&Turn::default(), &prompts[..2]), prompts[0].created);
    }

    #[test]
    fn what_waits_from_one_thread_goes_together_in_its_order_and_nothing_else_does() {
        let long = Prompt { body: "x".repeat(MOST_BYTES), ..said("1.0", 7, Mode::Thread) };
        let prompts = [
            said("1.0", 0, Mode::Thread),
            said("2.0", 1, Mode::Thread),
            said("1.0", 2, Mode::Thread),
            prompt(Source::Cli, 3),
            Prompt { state: PromptState::Expired, ..said("1.0", 4, Mode::Thread) },
            Prompt { state: PromptState::Typing { attempt: 1, steering: false }, ..said("1.0", 5, Mode::Thread) },
            Prompt { state: PromptState::Deferred { reason: "x".into() }, ..said("1.0", 6, Mode::Thread) },
            long,
            said("1.0", 8, Mode::Thread),
        ];
        let batch = next(&prompts, &Turn::default(), Timestamp::UNIX_EPOCH).unwrap();
        let together: Vec<i64> = batch.others.iter().map(|prompt| prompt.created.as_second()).collect();
        assert_eq!((batch.lead.created.as_second(), together), (0, vec![2, 6]));
        let many: Vec<Prompt> = (0..50).map(|second| said("1.0", second, Mode::Thread)).collect();
        assert_eq!(next(&many, &Turn::default(), Timestamp::UNIX_EPOCH).unwrap().others.len(), MOST - 1);
        let shells = [prompt(Source::Cli, 0), prompt(Source::Cli, 1)];
        assert!(next(&shells, &Turn::default(), Timestamp::UNIX_EPOCH).unwrap().others.is_empty());
    }
}
