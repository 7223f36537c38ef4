//! Puts the dialogs of an agent to people, and types the key of the answer that counted: while that very dialog is open, and
//! once.
//!
//! A pass looks, plans and applies. What may have been pressed is stored before it is pressed: after a death in between
//! nobody guesses, people are told.

use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;

use super::guard::{self, Clear, Hold, Occupant, Sight};
use super::{Delivery, HELD_BACK, Target};
use crate::config::{Permissions, RuntimeConfig};
use crate::model::{Answer, AnswerKey, Choice, Dialog, DialogKind, Fact, Question, QuestionEnd, QuestionState};
use crate::runtime::{Activity, InputBox};
use crate::store::Recorded;
use crate::tmux::Key;

/// How often an open dialog is looked at: whether somebody answered it in the pane.
const OPEN_LOOK: Duration = Duration::from_secs(1);

/// How often an agent is looked at whose record does not tell that it asks, while its turn runs.
const UNTOLD_LOOK: Duration = Duration::from_secs(2);

/// How long the record may take to tell what the screen shows already.
const RECORD_LATE: SignedDuration = SignedDuration::from_secs(2);

/// How long a dialog may take to close once its key was pressed, and how often that is looked at.
const CLOSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(20));

/// How long an answer in one's own words may take to show in its line, and how often that is looked at.
const SHOWS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(20));

/// How many characters of a long command's end must be on the screen, so that it is the one.
const TAIL: usize = 60;

/// After how long people are told that nobody answers.
const OVERDUE: SignedDuration = SignedDuration::from_hours(1);

/// What a pass over what an agent asks came to.
#[derive(Debug, Default)]
pub struct Asking {
    /// When to look again by itself.
    pub again: Option<Duration>,
    /// Whether a question was put or moved on.
    pub moved: bool,
    /// Whether one is open.
    pub open: bool,
    /// A question that nobody has answered for so long that people must be told.
    pub overdue: Option<Question>,
}

/// What is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown<'a> {
    /// It can't be told.
    Unknown,
    /// No dialog.
    Nothing,
    /// This one.
    Dialog(&'a Dialog),
}

/// What is known beside the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    /// Whether the agent was started anew since it asked.
    restarted: bool,
    /// Whether its record tells of a later question.
    newer: bool,
    /// Whether the look before this one showed the same, long enough ago.
    lasts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nothing is to be done.
    Rest,
    /// It must be looked again first.
    LookAgain,
    /// Put the dialog to people.
    Ask,
    /// Press the answer's key.
    Press(Answer),
    /// The question is over.
    Settle(QuestionEnd),
}

fn plan(open: Option<&Question>, shown: Shown<'_>, known: Known) -> Step {
    let Some(question) = open else {
        return match shown {
            Shown::Dialog(_) if known.lasts => Step::Ask,
            Shown::Dialog(_) => Step::LookAgain,
            Shown::Nothing | Shown::Unknown => Step::Rest,
        };
    };
    let same = matches!(shown, Shown::Dialog(dialog) if dialog.asks_the_same(&question.dialog)) && !known.newer;
    let gone = !same && (known.restarted || known.newer || shown != Shown::Unknown && known.lasts);
    match &question.state {
        QuestionState::Open if known.restarted => Step::Settle(QuestionEnd::Restarted),
        QuestionState::Open if gone => Step::Settle(QuestionEnd::Elsewhere),
        QuestionState::Answered { answer } if known.restarted || gone => {
            Step::Settle(QuestionEnd::TooLate { answer: answer.clone() })
        }
        QuestionState::Answered { answer } if same => Step::Press(answer.clone()),
        // Of an earlier life of ours: whether its key was pressed is not known.
        QuestionState::Pressing { answer } if same && known.lasts || gone => {
            Step::Settle(QuestionEnd::Unsure { answer: answer.clone(), open: same })
        }
        QuestionState::Open if same => Step::Rest,
        QuestionState::Settled { .. } => Step::Rest,
        _ => Step::LookAgain,
    }
}

impl Delivery {
    /// Looks at what an agent asks, where it may ask something: `activity` is what its records tell. They must have been read.
    pub async fn question_pass(&self, target: &Target<'_>, activity: Option<&Activity>) -> anyhow::Result<Asking> {
        let slug = &target.context.agent.slug;
        let works = matches!(activity, Some(Activity::Busy | Activity::Dialog { .. }));
        let mut asking = Asking::default();
        if !works && self.remember(slug, |memory| memory.asks) == Some(false) {
            return Ok(asking);
        }
        let open = self.store.open_question(slug).await?;
        self.remember(slug, |memory| memory.asks = Some(open.is_some()));
        if open.is_none() && !works {
            return Ok(asking);
        }
        let told = target.runtime.records_questions();
        if !told && target.context.agent.permissions != Permissions::Bypass {
            asking.again = Some(UNTOLD_LOOK);
        }
        let sight = self.look(target).await?;
        let shown = sight.as_ref().map_or(Shown::Unknown, |sight| shown(target, sight));
        let recorded = match (&open, shown) {
            (None, Shown::Nothing | Shown::Unknown) => Vec::new(),
            _ => self.store.recorded_questions(slug).await?,
        };
        let fitting = match shown {
            Shown::Dialog(dialog) => recorded.iter().rev().find(|recorded| fits(dialog, recorded.run.as_deref())),
            Shown::Nothing | Shown::Unknown => None,
        };
        let restarted = match &open {
            Some(question) => self.store.launched_at(slug).await?.is_some_and(|launched| launched > question.asked),
            None => false,
        };
        let known = Known {
            restarted,
            newer: open.is_some() && fitting.is_some(),
            lasts: self.lasts(target, open.as_ref(), shown, told && fitting.is_none()),
        };
        let step = plan(open.as_ref(), shown, known);
        asking.open = open.is_some() || step == Step::Ask;
        match (step, &open, shown) {
            (Step::LookAgain, ..) => asking.again = Some(HELD_BACK),
            (Step::Ask, _, Shown::Dialog(dialog)) => {
                // Its record tells of something else alone: what would be done can't be told.
                let whole = dialog.whole && (fitting.is_some() || recorded.is_empty());
                let dialog = Dialog { whole, ..dialog.clone() };
                self.ask(target, &dialog, fitting, &mut asking).await?;
            }
            (Step::Settle(end), Some(question), _) => {
                self.settle(question, end, &mut asking).await?;
                // Another one may stand there already.
                asking.again = Some(HELD_BACK);
            }
            (Step::Press(answer), Some(question), _) => self.answer(target, question, &answer, &mut asking).await?,
            (_, Some(question), _) => {
                asking.again = Some(OPEN_LOOK);
                let waited = self.clock.now().duration_since(question.asked) >= OVERDUE;
                asking.overdue =
                    open.filter(|question| waited && !question.overdue && question.state == QuestionState::Open);
            }
            _ => {}
        }
        Ok(asking)
    }

    /// Whether what is shown was shown by an earlier look already; of a new dialog whose record is still to come, for so long
    /// that it will not come any more.
    fn lasts(&self, target: &Target<'_>, open: Option<&Question>, shown: Shown<'_>, record_due: bool) -> bool {
        let now = self.clock.now();
        let seen = match shown {
            Shown::Unknown => None,
            Shown::Nothing => Some(None),
            Shown::Dialog(dialog) => Some(Some(dialog.clone())),
        };
        let before = self.remember(&target.context.agent.slug, |memory| {
            match (&memory.shown, seen) {
                (Some((before, since)), Some(seen)) if *before == seen => return Some(*since),
                (_, seen) => memory.shown = seen.map(|seen| (seen, now)),
            }
            None
        });
        let Some(since) = before else { return false };
        let patience = match open {
            None if record_due => RECORD_LATE,
            None => SignedDuration::ZERO,
            Some(_) => SignedDuration::from_millis(150),
        };
        now.duration_since(since).abs() >= patience
    }

    async fn ask(
        &self,
        target: &Target<'_>,
        dialog: &Dialog,
        recorded: Option<&Recorded>,
        asking: &mut Asking,
    ) -> anyhow::Result<()> {
        let slug = &target.context.agent.slug;
        let turns = self.store.last_turns(slug, 1).await?;
        let runs = turns.first().filter(|row| matches!(row.fact, Fact::TurnStarted { .. }));
        let turn = runs.and_then(|row| row.turn.clone());
        let recorded = recorded.map(|recorded| Recorded {
            run: recorded.run.clone().filter(|run| !is_structured(run)),
            seq: recorded.seq,
        });
        self.store.ask(slug, dialog, recorded.as_ref(), turn.as_ref(), self.clock.now()).await?;
        self.remember(slug, |memory| memory.asks = Some(true));
        (asking.moved, asking.again) = (true, Some(OPEN_LOOK));
        Ok(())
    }

    async fn settle(&self, question: &Question, end: QuestionEnd, asking: &mut Asking) -> anyhow::Result<()> {
        asking.moved |= self.store.move_question(question, &QuestionState::Settled { end }).await?;
        Ok(())
    }

    /// Presses the key of an answer, where that very dialog is still open.
    async fn answer(
        &self,
        target: &Target<'_>,
        question: &Question,
        answer: &Answer,
        asking: &mut Asking,
    ) -> anyhow::Result<()> {
        asking.again = Some(HELD_BACK);
        let slug = &target.context.agent.slug;
        let fits = |option: &&Choice| option.typed == answer.text.is_some();
        let Some(option) = question.dialog.options.get(answer.option).filter(fits) else {
            return self.settle(question, QuestionEnd::TooLate { answer: answer.clone() }, asking).await;
        };
        let Some(sight) = self.look(target).await? else { return Ok(()) };
        match guard::check_answer(&sight, &question.dialog) {
            Ok(_) => {}
            Err(Hold::Mode) => {
                return self
                    .tmux
                    .leave_mode(&sight.pane.id)
                    .await
                    .with_context(|| format!("can't leave the mode of {slug}"));
            }
            Err(_) => return Ok(()),
        }
        let pressing = QuestionState::Pressing { answer: answer.clone() };
        if !self.store.move_question(question, &pressing).await? {
            return Ok(());
        }
        asking.moved = true;
        let pressing = Question { state: pressing, ..question.clone() };
        // The store took its time.
        let sight = self.look(target).await?;
        let checked = sight.as_ref().map(|sight| (sight, guard::check_answer(sight, &question.dialog)));
        let Some((sight, Ok(_clear))) = checked else {
            return self.store.move_question(&pressing, &question.state).await.map(drop);
        };
        let key = match option.key {
            AnswerKey::Char(character) => Key::Char(character),
            AnswerKey::Escape => Key::Escape,
        };
        self.tmux.press(&sight.pane.id, key).await.with_context(|| format!("can't press a key in {slug}"))?;
        let given = match &answer.text {
            Some(text) => self.write_answer(target, question, answer.option, text).await?,
            None => self.closes(target, &question.dialog).await?,
        };
        let end = match given {
            true => QuestionEnd::Given { answer: answer.clone() },
            false => QuestionEnd::Unsure { answer: answer.clone(), open: true },
        };
        tracing::info!(agent = %slug, question = question.seq, user = answer.user, option = answer.option, ?end, "answered");
        self.settle(&pressing, end, asking).await
    }

    /// Types an answer in one's own words into its line, which is about to be marked, and presses Enter where it stands there;
    /// says whether the dialog closed.
    async fn write_answer(
        &self,
        target: &Target<'_>,
        question: &Question,
        place: usize,
        text: &str,
    ) -> anyhow::Result<bool> {
        let asked = &question.dialog;
        let Some((sight, clear)) =
            self.until_clear(target, |sight| guard::check_own_words(sight, asked, place)).await?
        else {
            return Ok(false);
        };
        self.paste(clear, &sight, text).await?;
        let written = |sight: &Sight| guard::check_written(sight, asked, place, text);
        if self.until_clear(target, written).await?.is_none() {
            return Ok(false);
        }
        tokio::time::sleep(target.runtime.settle()).await;
        let Some((sight, _clear)) = self.until_clear(target, written).await? else { return Ok(false) };
        let pressed = self.tmux.press(&sight.pane.id, Key::Enter).await;
        pressed.with_context(|| format!("can't press Enter in {}", target.context.agent.slug))?;
        self.closes(target, asked).await
    }

    /// Looks until a keystroke is allowed; none where that takes too long.
    async fn until_clear(
        &self,
        target: &Target<'_>,
        check: impl Fn(&Sight) -> Result<Clear, Hold>,
    ) -> anyhow::Result<Option<(Sight, Clear)>> {
        let clear = async {
            loop {
                let Some(sight) = self.look(target).await? else { return Ok(None) };
                if let Ok(clear) = check(&sight) {
                    return Ok(Some((sight, clear)));
                }
                tokio::time::sleep(SHOWS.1).await;
            }
        };
        tokio::time::timeout(SHOWS.0, clear).await.unwrap_or(Ok(None))
    }

    /// Whether a dialog closes in time.
    async fn closes(&self, target: &Target<'_>, dialog: &Dialog) -> anyhow::Result<bool> {
        let stands = |sight: &Sight| {
            let open = sight.dialog.as_ref();
            sight.pane.death.is_none() && open.is_some_and(|open| open.dialog.asks_the_same(dialog))
        };
        let closed = async {
            while self.look(target).await?.is_some_and(|sight| stands(&sight)) {
                tokio::time::sleep(CLOSES.1).await;
            }
            Ok(true)
        };
        tokio::time::timeout(CLOSES.0, closed).await.unwrap_or(Ok(false))
    }
}

/// Whether a dialog may be the one that a record tells of by `run`: an agent may ask for several things at once, and shows one.
fn fits(dialog: &Dialog, run: Option<&str>) -> bool {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let Some(run) = run.filter(|_| dialog.kind != DialogKind::Question) else {
        return run.is_none();
    };
    let (text, run) = (bare(&dialog.text), bare(run));
    if is_structured(&run) || dialog.whole {
        return is_structured(&run) || text.contains(&run);
    }
    // Its beginning scrolled away.
    let tail = run.char_indices().rev().nth(TAIL).map(|(start, _)| &run[start..]);
    tail.is_some_and(|tail| text.contains(tail))
}

/// Whether it is the whole input of a tool, which a screen shows in its own way.
fn is_structured(run: &str) -> bool {
    run.starts_with('{')
}

/// What a look shows. Of a program that nothing is known of, only its record tells that it asks.
fn shown<'a>(target: &Target<'_>, sight: &'a Sight) -> Shown<'a> {
    let asks = |activity: &Option<Activity>| matches!(activity, Some(Activity::Dialog { .. }));
    let unknown_program = matches!(target.context.agent.runtime, RuntimeConfig::Command { .. });
    let by_record_alone = unknown_program && !asks(&target.recorded);
    if sight.pane.death.is_some() {
        return Shown::Nothing;
    }
    if sight.occupant != Occupant::Agent {
        return Shown::Unknown;
    }
    match (&sight.dialog, &sight.screen.activity) {
        (Some(_), _) if by_record_alone => Shown::Nothing,
        (Some(open), _) => Shown::Dialog(&open.dialog),
        // One that leaves a doubt which key takes what.
        (None, Some(Activity::Dialog { kind: DialogKind::Permission | DialogKind::Question, .. })) => Shown::Unknown,
        (None, None) if sight.screen.input == InputBox::Absent => Shown::Unknown,
        (None, _) => Shown::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn dialog(text: &str) -> Dialog {
        let option = |key, label: &str| Choice { key: AnswerKey::Char(key), label: label.into(), typed: false };
        let options = vec![option('1', "Yes"), option('2', "No")];
        Dialog { kind: DialogKind::Permission, text: text.into(), whole: true, options }
    }

    fn question(state: QuestionState) -> Question {
        Question {
            seq: 1,
            agent: "ann".parse().unwrap(),
            dialog: dialog("a"),
            run: None,
            asked: Timestamp::UNIX_EPOCH,
            state,
            overdue: false,
        }
    }

    #[test]
    fn a_key_is_pressed_only_while_the_dialog_that_was_answered_is_there_and_never_on_a_guess() {
        let answer = || Answer { user: "U1".into(), option: 0, text: None };
        let open = || QuestionState::Open;
        let answered = || QuestionState::Answered { answer: answer() };
        let pressing = || QuestionState::Pressing { answer: answer() };
        let settle = Step::Settle;
        let too_late = || settle(QuestionEnd::TooLate { answer: answer() });
        let unsure = |open| settle(QuestionEnd::Unsure { answer: answer(), open });
        let (same, other) = (dialog("a"), dialog("b"));
        let (same, other) = (Shown::Dialog(&same), Shown::Dialog(&other));
        let known = |restarted, newer, lasts| Known { restarted, newer, lasts };
        let (now, lasts) = (known(false, false, false), known(false, false, true));
        let (restarted, newer) = (known(true, false, false), known(false, true, false));
        let rows = [
            (None, same, now, Step::LookAgain),
            (None, same, lasts, Step::Ask),
            (None, Shown::Nothing, lasts, Step::Rest),
            (Some(open()), same, lasts, Step::Rest),
            (Some(open()), Shown::Nothing, now, Step::LookAgain),
            (Some(open()), Shown::Nothing, lasts, settle(QuestionEnd::Elsewhere)),
            (Some(open()), other, now, Step::LookAgain),
            (Some(open()), other, lasts, settle(QuestionEnd::Elsewhere)),
            (Some(open()), Shown::Unknown, lasts, Step::LookAgain),
            (Some(open()), same, newer, settle(QuestionEnd::Elsewhere)),
            (Some(open()), same, restarted, settle(QuestionEnd::Restarted)),
            (Some(answered()), same, now, Step::Press(answer())),
            (Some(answered()), same, newer, too_late()),
            (Some(answered()), same, restarted, too_late()),
            (Some(answered()), other, now, Step::LookAgain),
            (Some(answered()), other, lasts, too_late()),
            (Some(answered()), Shown::Unknown, lasts, Step::LookAgain),
            (Some(answered()), Shown::Nothing, lasts, too_late()),
            (Some(pressing()), same, now, Step::LookAgain),
            (Some(pressing()), same, lasts, unsure(true)),
            (Some(pressing()), same, newer, unsure(false)),
            (Some(pressing()), Shown::Nothing, lasts, unsure(false)),
            (Some(pressing()), Shown::Unknown, restarted, unsure(false)),
        ];
        for (state, shown, known, expected) in rows {
            let question = state.map(question);
            assert_eq!(plan(question.as_ref(), shown, known), expected, "{question:?} {shown:?} {known:?}");
        }
    }

    #[test]
    fn what_would_run_is_never_taken_from_the_record_of_another_dialog() {
        let long = format!("cat <<END\n{}\nEND", "0123456789 ".repeat(20));
        let shown = |text: &str, whole| Dialog { whole, ..dialog(text) };
        let choice = Dialog { kind: DialogKind::Question, ..dialog("Which?") };
        for (dialog, run, expected) in [
            (shown("Bash command\n  touch a\n  b\n\nProceed?", true), Some("touch a b"), true),
            (shown("Bash command\n  touch a\n\nProceed?", true), Some("touch b"), false),
            (shown("Bash command\n  touch a …\n\nProceed?", true), Some("touch a; rm b"), false),
            (shown(&format!("{}\nProceed?", &long[100..]), false), Some(long.as_str()), true),
            (shown("END\nProceed?", false), Some("touch END"), false),
            (shown("Edit file\n  a.rs", true), Some("{\n \"file_path\": \"a.rs\" }"), true),
            (shown("Run it?", true), None, true),
            (choice.clone(), None, true),
            (choice, Some("touch a"), false),
        ] {
            assert_eq!(fits(&dialog, run), expected, "{dialog:?} {run:?}");
        }
    }
}
