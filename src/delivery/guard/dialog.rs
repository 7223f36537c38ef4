//! The guard before the keys that answer a dialog: that very one must be open, and nobody at its keyboard.

use super::{Clear, Hold, Sight, reachable};
use crate::model::Dialog;
use crate::runtime::OpenDialog;

/// Whether a key may be pressed that answers `asked`: that very dialog must be open, and nobody at its keyboard.
pub fn check_answer(sight: &Sight, asked: &Dialog) -> Result<Clear, Hold> {
    check_dialog(sight, |open| open.dialog == *asked)
}

/// Whether an answer in one's own words may be typed into `asked`: the line for it, at `place`, must be marked and empty.
pub fn check_own_words(sight: &Sight, asked: &Dialog, place: usize) -> Result<Clear, Hold> {
    check_dialog(sight, |open| open.dialog == *asked && open.marked == Some(place))
}

/// Whether Enter may be pressed on such an answer: its line must be marked and hold `text` and nothing else. Where a long line
/// is broken, blanks come and go.
pub fn check_written(sight: &Sight, asked: &Dialog, place: usize, text: &str) -> Result<Clear, Hold> {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    check_dialog(sight, |open| {
        let held = open.dialog.options.get(place).map(|option| bare(&option.label));
        open.dialog.asks_the_same(asked) && open.marked == Some(place) && held == Some(bare(text))
    })
}

fn check_dialog(sight: &Sight, is: impl FnOnce(&OpenDialog) -> bool) -> Result<Clear, Hold> {
    match reachable(sight) {
        // It is the dialog, on the screen or by the record's word.
        Ok(()) | Err(Hold::Dialog(_)) => {}
        Err(hold) => return Err(hold),
    }
    match sight.dialog.as_ref().is_some_and(is) {
        true if sight.person_types => Err(Hold::PersonTypes),
        true => Ok(Clear(())),
        false => Err(Hold::NotReady),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Occupant;
    use super::super::tests::sight;
    use super::*;
    use crate::model::{AnswerKey, Choice, DialogKind};
    use crate::runtime::{Activity, InputBox, ScreenReading};

    #[test]
    fn an_answer_is_typed_only_into_the_very_dialog_it_was_given_to_with_nobody_at_the_keyboard() {
        let option = |key, label: &str, typed| Choice { key: AnswerKey::Char(key), label: label.into(), typed };
        let of = |words: &str| Dialog {
            kind: DialogKind::Question,
            text: "Which?".into(),
            whole: true,
            options: vec![option('1', "Red", false), option('2', words, true)],
        };
        let asked = of("Type something.");
        let showing = |dialog: Dialog, marked| Sight {
            screen: ScreenReading {
                activity: Some(Activity::Dialog { kind: DialogKind::Question, what: "question".into() }),
                input: InputBox::Absent,
            },
            dialog: Some(OpenDialog { dialog, marked: Some(marked) }),
            ..sight()
        };
        let checks = |sight: &Sight| {
            [
                check_answer(sight, &asked).is_ok(),
                check_own_words(sight, &asked, 1).is_ok(),
                check_written(sight, &asked, 1, "no, green").is_ok(),
            ]
        };
        let mut other = asked.clone();
        other.text = "Which one?".into();
        for (sight, expected) in [
            (showing(asked.clone(), 0), [true, false, false]),
            (showing(asked.clone(), 1), [true, true, false]),
            (showing(of("no, green"), 1), [false, false, true]),
            (showing(of("no, gre en"), 1), [false, false, true]),
            (showing(of("no, green"), 0), [false; 3]),
            (showing(of("a person's own"), 1), [false; 3]),
            (showing(other, 1), [false; 3]),
            (Sight { dialog: None, ..showing(asked.clone(), 1) }, [false; 3]),
            (Sight { person_types: true, ..showing(asked.clone(), 1) }, [false; 3]),
            (Sight { occupant: Occupant::Stranger, ..showing(asked.clone(), 1) }, [false; 3]),
        ] {
            assert_eq!(checks(&sight), expected, "{sight:?}");
        }
        let mut copying = showing(asked.clone(), 1);
        copying.pane.in_mode = true;
        assert_eq!(checks(&copying), [false; 3]);
    }
}
