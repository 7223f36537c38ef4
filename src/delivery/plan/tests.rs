//! Every state meets every sight: the rules over all cases, and each situation with its step.

use super::*;
use crate::model::StateName;

fn known() -> Known {
    Known {
        hold: None,
        manner: Manner::WhenIdle,
        busy: false,
        interrupted: false,
        queue_lost: false,
        raw: false,
        in_box: InBox::Nothing,
        on_screen: false,
        keeps_record: true,
        record: None,
        line_too_long: None,
        expired: false,
        turn_ended: false,
        long_idle: false,
    }
}

fn decide(state: &PromptState, age: i64, known: Known) -> Step {
    plan(state, Timestamp::UNIX_EPOCH, known, Timestamp::from_second(age).unwrap())
}

fn every_state() -> Vec<PromptState> {
    let by = Evidence::Hook;
    vec![
        PromptState::Queued,
        PromptState::Deferred { reason: "it is busy".into() },
        PromptState::Typing { attempt: 1, steering: false },
        PromptState::Typing { attempt: 1, steering: true },
        PromptState::Submitted { attempt: 1, steering: false },
        PromptState::Submitted { attempt: MOST_ATTEMPTS, steering: true },
        PromptState::Confirmed { by },
        PromptState::Confirmed { by: Evidence::Queue },
        PromptState::Done { by },
        PromptState::Failed { reason: String::new() },
        PromptState::Uncertain { seen: String::new() },
        PromptState::Cancelled { by: String::new() },
        PromptState::Expired,
    ]
}

fn every_hold() -> Vec<Option<Hold>> {
    vec![
        None,
        Some(Hold::NoSession),
        Some(Hold::Dead),
        Some(Hold::Stranger("bash".into())),
        Some(Hold::Behind("vim".into())),
        Some(Hold::InputOff),
        Some(Hold::Mode),
        Some(Hold::NotReady),
        Some(Hold::Busy),
        Some(Hold::Dialog("run?".into())),
        Some(Hold::Draft),
        Some(Hold::PersonTypes),
    ]
}

/// Every combination of what can be known, by every state and several ages.
fn every_case() -> Vec<(PromptState, i64, Known)> {
    let mut cases = Vec::new();
    let records = [
        None,
        Some((Evidence::Hook, true)),
        Some((Evidence::Transcript, false)),
        Some((Evidence::Queue, true)),
        Some((Evidence::Queue, false)),
    ];
    for (state, manner) in every_state_and_manner() {
        for hold in every_hold() {
            for in_box in [InBox::Nothing, InBox::Ours, InBox::Other, InBox::NoBox] {
                for (record, bits) in records.iter().flat_map(|record| (0..32).map(move |bits| (*record, bits))) {
                    let known = Known {
                        hold: hold.clone(),
                        manner,
                        busy: bits & 4 != 0,
                        interrupted: bits & 8 != 0,
                        queue_lost: bits & 16 != 0,
                        raw: bits & 4 != 0,
                        in_box,
                        on_screen: bits & 1 != 0,
                        keeps_record: bits & 2 != 0,
                        record,
                        line_too_long: (bits & 8 != 0).then_some(5000),
                        expired: bits & 16 != 0,
                        turn_ended: bits & 4 != 0,
                        long_idle: bits & 8 != 0,
                    };
                    cases.extend([0, 3, 11, 31, 100_000].map(|age| (state.clone(), age, known.clone())));
                }
            }
        }
    }
    cases
}

/// Only a prompt that waits has a choice of how to go.
fn every_state_and_manner() -> Vec<(PromptState, Manner)> {
    let manners = [Manner::WhenIdle, Manner::Steering, Manner::Interrupting];
    let states = every_state().into_iter();
    states
        .flat_map(|state| {
            let choice = if state.name().is_waiting() { &manners[..] } else { &manners[..1] };
            choice.iter().map(|manner| (state.clone(), *manner)).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn nothing_is_ever_typed_while_anything_holds_it_back_or_the_record_knows_it() {
    for (state, age, known) in every_case() {
        if let Step::Type { attempt, .. } = decide(&state, age, known.clone()) {
            assert_eq!((&known.hold, known.record), (&None, None), "{state:?} {age} {known:?}");
            assert!(attempt == 1 || !known.on_screen && known.in_box == InBox::Nothing, "{state:?} {known:?}");
            assert!(attempt == 1 || known.keeps_record, "typed again without proof: {state:?} {known:?}");
            assert!(attempt > 1 || known.line_too_long.is_none(), "typed to be cut off: {known:?}");
        }
    }
}

#[test]
fn a_prompt_that_is_settled_or_uncertain_is_never_typed_nor_entered_again() {
    for (state, age, known) in every_case() {
        let step = decide(&state, age, known);
        let open = [StateName::Queued, StateName::Deferred, StateName::Typing, StateName::Submitted];
        if !open.contains(&state.name()) {
            let keys = matches!(step, Step::Type { .. } | Step::PressEnter { .. } | Step::Interrupt);
            assert!(!keys, "{state:?} {step:?}");
        }
    }
}

#[test]
fn confirmed_is_said_only_where_the_record_or_for_want_of_one_the_screen_shows_it() {
    for (state, age, known) in every_case() {
        if let Step::Become { state: PromptState::Confirmed { by }, .. } = decide(&state, age, known.clone()) {
            match by {
                Evidence::Screen => assert!(
                    !known.keeps_record && known.on_screen && !matches!(known.in_box, InBox::Ours | InBox::Other),
                    "{state:?} {known:?}"
                ),
                Evidence::Queue if known.record.is_none() => assert!(
                    known.on_screen && known.hold == Some(Hold::Busy) && known.in_box == InBox::Nothing,
                    "{state:?} {known:?}"
                ),
                by => assert_eq!(known.record, Some((by, true)), "{state:?} {known:?}"),
            }
        }
    }
}

#[test]
fn enter_is_pressed_only_on_our_own_text_and_never_on_what_a_person_pulled_into_the_box() {
    for (state, age, known) in every_case() {
        if let Step::PressEnter { .. } = decide(&state, age, known.clone()) {
            assert_eq!((known.in_box, known.record), (InBox::Ours, None), "{state:?} {known:?}");
        }
    }
}

#[test]
fn every_open_prompt_settles_or_is_told_within_its_time_unless_the_agent_is_busy_held_or_gone() {
    for (state, _, known) in every_case() {
        if !matches!(state, PromptState::Typing { .. } | PromptState::Submitted { .. })
            || known.hold == Some(Hold::Busy)
            || matches!(known.hold, Some(Hold::NoSession | Hold::Dead)) && !known.expired
        {
            continue;
        }
        let step = decide(&state, 100_000, known.clone());
        assert!(!matches!(step, Step::Wait(_)), "{state:?} {known:?}");
    }
}

#[test]
fn a_prompt_whose_agent_died_meanwhile_is_not_given_up_before_the_agent_is_back() {
    for state in
        [PromptState::Typing { attempt: 1, steering: false }, PromptState::Submitted { attempt: 1, steering: false }]
    {
        for (hold, in_box, age) in [
            (Some(Hold::NoSession), InBox::NoBox, 3600),
            (Some(Hold::Dead), InBox::NoBox, 3600),
            (Some(Hold::Dead), InBox::Nothing, 3600),
            (Some(Hold::Dead), InBox::Other, 3600),
            (Some(Hold::NotReady), InBox::NoBox, 300),
        ] {
            let gone = Known { hold, in_box, ..known() };
            assert_eq!(decide(&state, age, gone.clone()), Step::Wait(Wait::Evidence), "{state:?} {gone:?}");
            let over = decide(&state, age, Known { expired: true, ..gone });
            assert!(matches!(over, Step::Become { state: PromptState::Uncertain { .. }, .. }), "{over:?}");
        }
        assert_eq!(decide(&state, 3600, known()), Step::Type { attempt: 2, steering: false });
    }
}

#[test]
fn only_a_prompt_of_which_nothing_was_typed_expires() {
    for (state, age, known) in every_case() {
        if let Step::Become { state: PromptState::Expired, .. } = decide(&state, age, known) {
            assert!(state.name().is_waiting(), "{state:?}");
        }
    }
}

#[test]
fn each_situation_leads_to_its_step() {
    let wait = |wait| Step::Wait(wait);
    let submitted = PromptState::Submitted { attempt: 1, steering: false };
    let typing = PromptState::Typing { attempt: 1, steering: false };
    let confirmed = PromptState::Confirmed { by: Evidence::Hook };
    let record = Some((Evidence::Hook, true));
    let rows = [
        ("idle", PromptState::Queued, 0, known(), Step::Type { attempt: 1, steering: false }),
        (
            "too late",
            PromptState::Queued,
            0,
            Known { expired: true, ..known() },
            Step::Become { state: PromptState::Expired, cause: "its time is over".into() },
        ),
        ("busy", PromptState::Queued, 0, Known { hold: Some(Hold::Busy), ..known() }, wait(Wait::Held(Hold::Busy))),
        ("just submitted", submitted.clone(), 0, known(), wait(Wait::Evidence)),
        (
            "Enter was lost",
            submitted.clone(),
            3,
            Known { in_box: InBox::Ours, ..known() },
            Step::PressEnter { attempt: 2, steering: false },
        ),
        (
            "Enter does nothing",
            PromptState::Submitted { attempt: 5, steering: false },
            100,
            Known { in_box: InBox::Ours, ..known() },
            uncertain("its text stands in the agent's input box, and Enter does not submit it"),
        ),
        (
            "a later try has more time",
            PromptState::Submitted { attempt: 2, steering: false },
            11,
            known(),
            wait(Wait::Evidence),
        ),
        (
            "held back for a while",
            PromptState::Queued,
            2,
            Known { hold: Some(Hold::Draft), ..known() },
            become_state(PromptState::Deferred { reason: Hold::Draft.to_string() }, &Hold::Draft.to_string()),
        ),
        (
            "told so already",
            PromptState::Deferred { reason: Hold::Draft.to_string() },
            2,
            Known { hold: Some(Hold::Draft), ..known() },
            wait(Wait::Held(Hold::Draft)),
        ),
        (
            "another reason a moment later",
            PromptState::Deferred { reason: Hold::Draft.to_string() },
            59,
            Known { hold: Some(Hold::Dialog("14 s left".into())), ..known() },
            wait(Wait::Held(Hold::Dialog("14 s left".into()))),
        ),
        (
            "another reason for long",
            PromptState::Deferred { reason: Hold::Draft.to_string() },
            60,
            Known { hold: Some(Hold::Busy), ..known() },
            become_state(PromptState::Deferred { reason: Hold::Busy.to_string() }, &Hold::Busy.to_string()),
        ),
        (
            "held back no more",
            PromptState::Deferred { reason: Hold::Draft.to_string() },
            2,
            known(),
            Step::Type { attempt: 1, steering: false },
        ),
        (
            "steers",
            PromptState::Queued,
            0,
            Known { manner: Manner::Steering, busy: true, ..known() },
            Step::Type { attempt: 1, steering: true },
        ),
        (
            "interrupts",
            PromptState::Queued,
            0,
            Known { manner: Manner::Interrupting, hold: Some(Hold::Busy), ..known() },
            Step::Interrupt,
        ),
        (
            "interrupted",
            PromptState::Queued,
            0,
            Known { manner: Manner::Interrupting, hold: Some(Hold::Busy), interrupted: true, ..known() },
            wait(Wait::Held(Hold::Busy)),
        ),
        (
            "the agent's own queue has it",
            PromptState::Submitted { attempt: 1, steering: true },
            0,
            Known { record: Some((Evidence::Queue, true)), ..known() },
            become_state(PromptState::Confirmed { by: Evidence::Queue }, "seen in the agent's own queue"),
        ),
        (
            "its screen alone shows that it waits",
            PromptState::Submitted { attempt: 1, steering: true },
            2,
            Known { hold: Some(Hold::Busy), on_screen: true, ..known() },
            become_state(PromptState::Confirmed { by: Evidence::Queue }, "its screen shows it, waiting for the turn"),
        ),
        (
            "taken out of the agent's queue",
            PromptState::Confirmed { by: Evidence::Queue },
            0,
            Known { record, ..known() },
            become_state(PromptState::Confirmed { by: Evidence::Hook }, "seen in the agent's hook"),
        ),
        (
            "the agent's queue died with it",
            PromptState::Confirmed { by: Evidence::Queue },
            0,
            Known { record: Some((Evidence::Queue, true)), queue_lost: true, ..known() },
            become_state(
                PromptState::Submitted { attempt: 1, steering: true },
                "the agent was started anew before it took it out of its queue",
            ),
        ),
        (
            "a person took it back out of the agent's queue",
            PromptState::Confirmed { by: Evidence::Queue },
            0,
            Known { record: Some((Evidence::Queue, false)), in_box: InBox::Ours, queue_lost: true, ..known() },
            uncertain(GIVEN_BACK),
        ),
        (
            "a person took it back before it was seen in there",
            submitted.clone(),
            3,
            Known { record: Some((Evidence::Queue, false)), in_box: InBox::Ours, ..known() },
            uncertain(GIVEN_BACK),
        ),
        (
            "another prompt in the box is as long as the one in the agent's queue",
            PromptState::Confirmed { by: Evidence::Queue },
            0,
            Known { record: Some((Evidence::Queue, true)), in_box: InBox::Ours, hold: Some(Hold::Busy), ..known() },
            wait(Wait::TurnEnd),
        ),
        ("paste was lost", submitted.clone(), 11, known(), Step::Type { attempt: 2, steering: false }),
        (
            "lost five times",
            PromptState::Submitted { attempt: 5, steering: false },
            161,
            known(),
            Step::Become {
                state: PromptState::Failed {
                    reason: "tried 5 times, and each time neither the agent's record nor its screen showed it".into(),
                },
                cause: "tried 5 times, and each time neither the agent's record nor its screen showed it".into(),
            },
        ),
        ("on screen only", submitted.clone(), 11, Known { on_screen: true, ..known() }, wait(Wait::Evidence)),
        (
            "died before Enter",
            typing.clone(),
            0,
            Known { in_box: InBox::Ours, ..known() },
            Step::PressEnter { attempt: 1, steering: false },
        ),
        ("died before the paste", typing.clone(), 11, known(), Step::Type { attempt: 2, steering: false }),
        (
            "died after Enter",
            typing,
            0,
            Known { record, ..known() },
            Step::Become {
                state: PromptState::Confirmed { by: Evidence::Hook },
                cause: "seen in the agent's hook".into(),
            },
        ),
        ("turn runs", confirmed.clone(), 0, known(), wait(Wait::TurnEnd)),
        (
            "turn ended",
            confirmed,
            0,
            Known { turn_ended: true, ..known() },
            Step::Become { state: PromptState::Done { by: Evidence::Hook }, cause: "the turn ended".into() },
        ),
        (
            "record came late",
            PromptState::Uncertain { seen: String::new() },
            900,
            Known { record, ..known() },
            Step::Become {
                state: PromptState::Confirmed { by: Evidence::Hook },
                cause: "seen in the agent's hook".into(),
            },
        ),
    ];
    for (name, state, age, known, expected) in rows {
        assert_eq!(decide(&state, age, known), expected, "{name}");
    }
}

#[test]
fn a_command_of_the_cli_that_was_entered_is_never_entered_again_for_want_of_proof() {
    let entered = PromptState::Submitted { attempt: 1, steering: false };
    let raw = || Known { raw: true, ..known() };
    for age in [0, 11, 29] {
        assert_eq!(decide(&entered, age, raw()), Step::Wait(Wait::Evidence), "{age} s");
    }
    let step = decide(&entered, 30, raw());
    assert!(matches!(step, Step::Become { state: PromptState::Uncertain { .. }, .. }), "{step:?}");
    let busy = Known { hold: Some(Hold::Busy), ..raw() };
    assert_eq!(decide(&entered, 600, busy), Step::Wait(Wait::Evidence), "it may be at it");
    let proven = Known { record: Some((Evidence::Hook, true)), ..raw() };
    let confirmed = PromptState::Confirmed { by: Evidence::Hook };
    assert!(matches!(decide(&entered, 0, proven), Step::Become { state, .. } if state == confirmed));
    // Enter was not pressed as far as is known, and neither box nor record shows anything of it.
    let typing = PromptState::Typing { attempt: 1, steering: false };
    assert_eq!(decide(&typing, 10, raw()), Step::Type { attempt: 2, steering: false });
}
