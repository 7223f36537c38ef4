//! The pane guard: one function between every decision to type and the keystroke itself.
//!
//! A keystroke needs a [`Clear`], and only [`check`] hands one out. What it refuses it names, because a person waits for
//! that prompt. It must never let a text meet a dialog, a shell, a mode, another program or a person's draft.

mod dialog;

use std::time::Duration;

use crate::model::{DialogKind, PromptId};
use crate::runtime::{Activity, InputBox, OpenDialog, SILENCE, ScreenReading};
use crate::tmux::Pane;

pub use super::hold::Hold;
pub use dialog::{check_answer, check_own_words, check_written};

/// Everything that was seen of an agent in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Its pane.
    pub pane: Pane,
    /// Who sits in it.
    pub occupant: Occupant,
    /// What the CLI's own state file says, where it has one.
    pub told: Option<Activity>,
    /// What the screen shows.
    pub screen: ScreenReading,
    /// The dialog that it shows, where a person may answer that by a key.
    pub dialog: Option<OpenDialog>,
    /// For how long the screen has not changed.
    pub still: Duration,
    /// Whether an attached person typed a moment ago.
    pub person_types: bool,
    /// Whether the agent reads its terminal line by line: then the lines of a paste are taken one by one, and none of them
    /// need show in a box.
    pub whole_lines: bool,
    /// The prompts whose header stands on the screen, in the input box or above it.
    pub headers: Vec<PromptId>,
}

/// Who sits in a pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// The process that we started, by pid and start time, and it owns the terminal.
    Agent,
    /// The process that we started, but another program has the terminal.
    Behind,
    /// Our launcher, which is about to become the agent.
    Launching,
    /// Another process than we started: somebody respawned the pane.
    Stranger,
}

/// Permission to type one thing, right now. Not to be kept: the next keystroke needs a new one.
#[derive(Debug)]
#[must_use]
pub struct Clear(());

/// Whether a prompt may be typed into an idle agent's empty box now.
pub fn check(sight: &Sight) -> Result<Clear, Hold> {
    reachable(sight)?;
    // The state file speaks for the process; the screen's word for busy is unreliable (facts: "esc to interrupt").
    let activity = sight.told.as_ref().or(sight.screen.activity.as_ref());
    if activity == Some(&Activity::Busy) {
        return Err(Hold::Busy);
    }
    empty_box(sight)?;
    if activity.is_none() && sight.still < SILENCE {
        return Err(Hold::Busy);
    }
    Ok(Clear(()))
}

/// Whether a prompt may be typed into an empty box while a turn may run.
pub fn check_steering(sight: &Sight) -> Result<Clear, Hold> {
    reachable(sight)?;
    empty_box(sight)?;
    Ok(Clear(()))
}

/// That no dialog is open, the box is empty and nobody types into it.
fn empty_box(sight: &Sight) -> Result<(), Hold> {
    if let Some(Activity::Dialog { what, .. }) = sight.told.as_ref().or(sight.screen.activity.as_ref()) {
        return Err(Hold::Dialog(what.clone()));
    }
    match &sight.screen.input {
        InputBox::Absent => Err(Hold::NotReady),
        InputBox::Holds(_) => Err(Hold::Draft),
        InputBox::Empty if sight.person_types => Err(Hold::PersonTypes),
        InputBox::Empty => Ok(()),
    }
}

/// Whether Enter may be pressed on what was pasted: as [`check`], or where it goes into a turn that runs as
/// [`check_steering`], but the box holds it, as `pasted` shows.
pub fn check_enter(sight: &Sight, pasted: &InputBox, steering: bool) -> Result<Clear, Hold> {
    reachable(sight)?;
    match &sight.told {
        Some(Activity::Dialog { what, .. }) => return Err(Hold::Dialog(what.clone())),
        Some(Activity::Busy) if !steering => return Err(Hold::Busy),
        _ => {}
    }
    match &sight.screen.input {
        InputBox::Absent => Err(Hold::NotReady),
        InputBox::Empty => Err(Hold::NotReady),
        held if held != pasted => Err(Hold::Draft),
        _ if sight.person_types => Err(Hold::PersonTypes),
        _ => Ok(Clear(())),
    }
}

/// Whether a key may be pressed that takes something out of the box, which must still show `shown`.
pub fn check_cut(sight: &Sight, shown: &InputBox) -> Result<Clear, Hold> {
    reachable(sight)?;
    match &sight.told {
        Some(Activity::Dialog { what, .. }) => return Err(Hold::Dialog(what.clone())),
        Some(Activity::Busy) => return Err(Hold::Busy),
        _ => {}
    }
    match &sight.screen.input {
        InputBox::Holds(_) if sight.screen.input != *shown => Err(Hold::Draft),
        InputBox::Holds(_) if sight.person_types => Err(Hold::PersonTypes),
        InputBox::Holds(_) => Ok(Clear(())),
        InputBox::Absent | InputBox::Empty => Err(Hold::NotReady),
    }
}

/// Whether Enter may be pressed behind the last line of `prompt`, all of whose other lines an agent that reads line by line
/// has been given already: nothing else may have come in between, and the screen must show that it was given.
pub fn check_last_line(sight: &Sight, prompt: &PromptId) -> Result<Clear, Hold> {
    reachable(sight)?;
    if let Some(Activity::Dialog { what, .. }) = &sight.told {
        return Err(Hold::Dialog(what.clone()));
    }
    if sight.whole_lines && sight.headers.contains(prompt) { Ok(Clear(())) } else { Err(Hold::NotReady) }
}

/// Whether Escape may be pressed to interrupt a turn: none where no turn runs. An open dialog is part of the turn: both CLIs
/// take Escape there as a no.
pub fn check_interrupt(sight: &Sight) -> Result<Option<Clear>, Hold> {
    match reachable(sight) {
        Ok(()) => {}
        // On the screen it is there, whatever a stale state file says.
        Err(Hold::Dialog(_)) => return Ok(Some(Clear(()))),
        Err(hold) => return Err(hold),
    }
    if sight.whole_lines {
        // It would stand in the terminal's line, before the next prompt.
        return Err(Hold::ReadsLines);
    }
    let activity = sight.told.as_ref().or(sight.screen.activity.as_ref());
    Ok(matches!(activity, Some(Activity::Busy | Activity::Dialog { .. })).then_some(Clear(())))
}

/// Whether Escape may be pressed to close a dialog that only tells of a limit: it chooses nothing. In a turn, and at a
/// question of permission, it would break that off or decline it, so there the screen is not believed.
pub fn check_close(sight: &Sight) -> Result<Clear, Hold> {
    match &sight.told {
        Some(Activity::Busy) => return Err(Hold::Busy),
        Some(Activity::Dialog { kind: DialogKind::Permission, what }) => return Err(Hold::Dialog(what.clone())),
        _ => {}
    }
    let news = matches!(sight.screen.activity, Some(Activity::Dialog { kind: DialogKind::Limit, .. }));
    match reachable(sight) {
        Err(Hold::Dialog(_)) if news && sight.person_types => Err(Hold::PersonTypes),
        Err(Hold::Dialog(_)) if news => Ok(Clear(())),
        Err(hold) => Err(hold),
        Ok(()) => Err(Hold::NotReady),
    }
}

/// What must hold for every keystroke, whatever the box holds.
fn reachable(sight: &Sight) -> Result<(), Hold> {
    let pane = &sight.pane;
    if pane.death.is_some() {
        return Err(Hold::Dead);
    }
    match sight.occupant {
        Occupant::Agent => {}
        Occupant::Behind => return Err(Hold::Behind(pane.program())),
        Occupant::Launching => return Err(Hold::NotReady),
        Occupant::Stranger => return Err(Hold::Stranger(pane.program())),
    }
    if pane.input_off {
        return Err(Hold::InputOff);
    }
    if pane.in_mode {
        return Err(Hold::Mode);
    }
    match &sight.screen.activity {
        Some(Activity::Dialog { what, .. }) => Err(Hold::Dialog(what.clone())),
        _ => Ok(()),
    }
}

/// An idle agent with an empty box, for tests.
#[cfg(test)]
pub(crate) fn sample() -> Sight {
    tests::sight()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub fn sight() -> Sight {
        Sight {
            pane: Pane {
                id: "%0".parse().unwrap(),
                session: "a".into(),
                tags: BTreeMap::new(),
                pid: 1,
                death: None,
                in_mode: false,
                input_off: false,
                attached: 0,
                typed_at: 0,
                output_at: 0,
                cursor_column: 0,
                cursor_row: 0,
                width: 200,
                height: 50,
                command: Some("claude".into()),
                title: String::new(),
            },
            occupant: Occupant::Agent,
            told: None,
            screen: ScreenReading { activity: Some(Activity::Idle), input: InputBox::Empty },
            dialog: None,
            still: Duration::ZERO,
            person_types: false,
            whole_lines: false,
            headers: Vec::new(),
        }
    }

    fn dialog() -> Activity {
        Activity::Dialog { kind: DialogKind::Permission, what: "run `make`?".into() }
    }

    #[test]
    fn nothing_is_typed_into_anything_but_an_idle_agent_s_empty_box() {
        type Change = fn(&mut Sight);
        let rows: [(&str, Change, Option<Hold>); 18] = [
            ("idle, empty box", |_| {}, None),
            ("pane dead", |s| s.pane.death = Some(crate::tmux::Death::Killed(9)), Some(Hold::Dead)),
            ("at a shell", |s| s.occupant = Occupant::Stranger, Some(Hold::Stranger("claude".into()))),
            ("about to start", |s| s.occupant = Occupant::Launching, Some(Hold::NotReady)),
            ("editor in front", |s| s.occupant = Occupant::Behind, Some(Hold::Behind("claude".into()))),
            ("input off", |s| s.pane.input_off = true, Some(Hold::InputOff)),
            ("copy mode", |s| s.pane.in_mode = true, Some(Hold::Mode)),
            ("starting", |s| s.screen.input = InputBox::Absent, Some(Hold::NotReady)),
            ("draft", |s| s.screen.input = InputBox::Holds("rm".into()), Some(Hold::Draft)),
            ("somebody types", |s| s.person_types = true, Some(Hold::PersonTypes)),
            ("busy on screen", |s| s.screen.activity = Some(Activity::Busy), Some(Hold::Busy)),
            ("busy by state file", |s| s.told = Some(Activity::Busy), Some(Hold::Busy)),
            (
                "state file idle, screen busy",
                |s| {
                    s.told = Some(Activity::Idle);
                    s.screen.activity = Some(Activity::Busy);
                },
                None,
            ),
            ("dialog on screen", |s| s.screen.activity = Some(dialog()), Some(Hold::Dialog("run `make`?".into()))),
            ("dialog by state file", |s| s.told = Some(dialog()), Some(Hold::Dialog("run `make`?".into()))),
            (
                "dialog on screen, state file stale",
                |s| {
                    s.told = Some(Activity::Idle);
                    s.screen.activity = Some(dialog());
                },
                Some(Hold::Dialog("run `make`?".into())),
            ),
            ("nobody tells, screen moves", |s| s.screen.activity = None, Some(Hold::Busy)),
            (
                "nobody tells, screen still",
                |s| {
                    s.screen.activity = None;
                    s.still = SILENCE;
                },
                None,
            ),
        ];
        for (name, change, hold) in rows {
            let mut sight = sight();
            change(&mut sight);
            assert_eq!(check(&sight).err(), hold, "{name}");
        }
    }

    #[test]
    fn escape_is_pressed_only_where_a_turn_runs_and_never_at_a_shell() {
        let mut sight = sight();
        assert!(matches!(check_interrupt(&sight), Ok(None)));
        sight.told = Some(Activity::Busy);
        assert!(matches!(check_interrupt(&sight), Ok(Some(_))));
        sight.told = Some(dialog());
        assert!(matches!(check_interrupt(&sight), Ok(Some(_))));
        sight.told = Some(Activity::Idle);
        sight.screen.activity = Some(dialog());
        assert!(matches!(check_interrupt(&sight), Ok(Some(_))), "the state file is stale");
        sight.screen.activity = Some(Activity::Busy);
        sight.whole_lines = true;
        assert!(matches!(check_interrupt(&sight), Err(Hold::ReadsLines)));
        sight.occupant = Occupant::Stranger;
        assert!(matches!(check_interrupt(&sight), Err(Hold::Stranger(_))));
    }

    #[test]
    fn only_news_of_a_limit_is_closed_by_the_fleet_and_never_under_a_person_s_hands() {
        let showing = |kind| {
            let activity = Some(Activity::Dialog { kind, what: "x".into() });
            Sight { screen: ScreenReading { activity, input: InputBox::Absent }, ..sight() }
        };
        assert!(check_close(&showing(DialogKind::Limit)).is_ok());
        for kind in
            [DialogKind::Permission, DialogKind::Question, DialogKind::Trust, DialogKind::Login, DialogKind::Other]
        {
            assert_eq!(check_close(&showing(kind)).unwrap_err(), Hold::Dialog("x".into()), "{kind:?}");
        }
        for (told, closed) in [
            (Activity::Idle, true),
            (Activity::Dialog { kind: DialogKind::Other, what: "a dialog".into() }, true),
            (Activity::Busy, false),
            (dialog(), false),
        ] {
            let sight = Sight { told: Some(told), ..showing(DialogKind::Limit) };
            assert_eq!(check_close(&sight).is_ok(), closed, "{:?}", sight.told);
        }
        let typing = Sight { person_types: true, ..showing(DialogKind::Limit) };
        assert_eq!(check_close(&typing).unwrap_err(), Hold::PersonTypes);
        let shell = Sight { occupant: Occupant::Stranger, ..showing(DialogKind::Limit) };
        assert!(matches!(check_close(&shell), Err(Hold::Stranger(_))));
        assert_eq!(check_close(&sight()).unwrap_err(), Hold::NotReady);
    }

    #[test]
    fn enter_is_pressed_only_on_what_we_pasted_and_never_on_a_dialog() {
        let ours = InputBox::Holds("[fleet · cli".into());
        let mut sight = sight();
        sight.screen.input = ours.clone();
        assert!(check_enter(&sight, &ours, false).is_ok());
        sight.screen.input = InputBox::Holds("[fleet · cli and a person's words".into());
        assert_eq!(check_enter(&sight, &ours, false).unwrap_err(), Hold::Draft);
        sight.screen.input = InputBox::Empty;
        assert_eq!(check_enter(&sight, &ours, false).unwrap_err(), Hold::NotReady);
        sight.screen.input = ours.clone();
        sight.person_types = true;
        assert_eq!(check_enter(&sight, &ours, false).unwrap_err(), Hold::PersonTypes);
        sight.person_types = false;
        sight.told = Some(Activity::Busy);
        assert_eq!(check_enter(&sight, &ours, false).unwrap_err(), Hold::Busy);
        assert!(check_enter(&sight, &ours, true).is_ok());
        sight.screen.activity = Some(dialog());
        assert!(matches!(check_enter(&sight, &ours, true), Err(Hold::Dialog(_))));
    }

    #[test]
    fn a_running_turn_is_steered_only_through_an_empty_box_and_never_into_a_dialog() {
        type Change = fn(&mut Sight);
        let rows: [(&str, Change, Option<Hold>); 8] = [
            ("busy", |s| s.told = Some(Activity::Busy), None),
            ("idle", |_| {}, None),
            ("dialog on screen", |s| s.screen.activity = Some(dialog()), Some(Hold::Dialog("run `make`?".into()))),
            ("dialog by state file", |s| s.told = Some(dialog()), Some(Hold::Dialog("run `make`?".into()))),
            ("draft", |s| s.screen.input = InputBox::Holds("rm".into()), Some(Hold::Draft)),
            ("no box", |s| s.screen.input = InputBox::Absent, Some(Hold::NotReady)),
            ("at a shell", |s| s.occupant = Occupant::Stranger, Some(Hold::Stranger("claude".into()))),
            ("somebody types", |s| s.person_types = true, Some(Hold::PersonTypes)),
        ];
        for (name, change, hold) in rows {
            let mut sight = Sight { told: Some(Activity::Busy), ..sight() };
            change(&mut sight);
            assert_eq!(check_steering(&sight).err(), hold, "{name}");
        }
    }

    #[test]
    fn a_last_line_is_entered_only_where_the_program_reads_lines_and_shows_this_prompt() {
        let id: PromptId = "0123456789ab".parse().unwrap();
        for (whole_lines, shown, clear) in [(true, true, true), (true, false, false), (false, true, false)] {
            let headers = if shown { vec![id.clone()] } else { Vec::new() };
            let mut sight = Sight { whole_lines, headers, ..sight() };
            assert_eq!(check_last_line(&sight, &id).is_ok(), clear, "{whole_lines} {shown}");
            sight.occupant = Occupant::Behind;
            assert!(check_last_line(&sight, &id).is_err());
        }
    }
}
