//! Brings one prompt at a time into an agent's pane, and says "confirmed" only when the agent's own record holds it.
//!
//! A pass looks, plans and applies; it keeps nothing that a restart would miss but how long a screen has been still and
//! what it pasted a moment ago, and without those it only becomes more careful. This room must never type without a
//! [`guard::Clear`] from a look taken just before, and never twice without proof that the first time was lost.

mod answer;
mod draft;
pub mod guard;
mod hold;
mod interrupt;
mod look;
mod order;
mod own;
mod pass;
mod plan;
mod typing;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use crate::config::{CrashPoint, RuntimeConfig};
use crate::model::{Blocked, Clock, Evidence, Prompt, PromptId, PromptState, Slug, StateName, text};
use crate::runtime::{Activity, InputBox, LaunchContext, Runtime};
use crate::store::Store;
use crate::tmux::{LONGEST_LINE, PaneId, Server};

pub use interrupt::Interrupt;

use guard::{Hold, Sight};
use look::{Stillness, look};
use order::{Batch, Manner};
use own::{is_ours, is_placeholder};
use plan::{InBox, Known, Step, Wait, look_again};

/// For how long after Escape a turn may still show before it is pressed again.
const ESCAPE_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// How often an agent without any record is looked at while its turn runs.
const WITHOUT_RECORD_LOOK: Duration = Duration::from_millis(500);

/// How soon a keystroke that was held back at the last moment is tried again.
const HELD_BACK: Duration = Duration::from_millis(200);

/// Delivers prompts. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    store: Store,
    tmux: Server,
    clock: Arc<dyn Clock>,
    memory: Arc<Mutex<HashMap<Slug, Memory>>>,
}

/// For whom a pass is.
pub struct Target<'a> {
    /// Everything about the agent's launch.
    pub context: LaunchContext<'a>,
    /// The knowledge of its CLI.
    pub runtime: &'a Arc<dyn Runtime>,
    /// Its pane, where the last look at tmux showed one of ours.
    pub pane: Option<PaneId>,
    /// Whether its record can prove that a prompt arrived.
    pub keeps_record: bool,
    /// Since when that record is kept; none where it always is. What was typed before it can't be proven absent by it.
    pub record_since: Option<Timestamp>,
    /// What the agent does, where its record is the best word for it; none where its CLI shows that itself.
    pub recorded: Option<Activity>,
    /// Why it can't go on, where its last turn was cut off by that.
    pub blocked: Option<Blocked>,
    /// The rule typed below every prompt.
    pub rule: Option<&'a str>,
    /// Why it is to be started anew before it gets anything new; none where it isn't.
    pub draining: Option<String>,
}

/// What a pass did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When to look again by itself; none where only news can change anything.
    pub again: Option<Duration>,
    /// The prompts that moved on, and into which state.
    pub moved: Vec<(PromptId, StateName)>,
    /// What holds a prompt back: the one under way, else the next.
    pub hold: Option<Hold>,
    /// Whether an author was told that a prompt waits.
    pub told: bool,
    /// Whether anything is open: a prompt that is not settled, a draft to be given back.
    pub open: bool,
}

impl Report {
    /// Looks again no later than that.
    fn look_in(&mut self, pause: Option<Duration>) {
        self.again = self.again.into_iter().chain(pause).min();
    }

    fn moved(&mut self, prompt: &Prompt, state: &PromptState, moved: bool) {
        if !moved {
            return;
        }
        match state.name() {
            StateName::Submitted => CrashPoint::Submitted.pass(),
            StateName::Confirmed => CrashPoint::Confirmed.pass(),
            StateName::Done => CrashPoint::Done.pass(),
            _ => {}
        }
        self.moved.push((prompt.id.clone(), state.name()));
    }
}

#[derive(Default)]
struct Memory {
    stillness: Option<Stillness>,
    /// The prompt that we pasted into an empty box last.
    pasted: Option<PromptId>,
    /// For which prompt Escape was pressed last, and when.
    interrupted: Option<(PromptId, Timestamp)>,
    /// When Escape was pressed last to close the news of a limit.
    closed: Option<Timestamp>,
    /// What the input box showed last, and since when.
    in_box: Option<(InputBox, Timestamp)>,
    /// The draft that was set aside; none where the store was not asked yet.
    aside: Option<Option<String>>,
    /// Of which waiting prompts the authors were told what kind of thing holds them back.
    told_held: HashSet<(PromptId, &'static str)>,
}

impl Delivery {
    /// Delivery out of `store` into the panes of `tmux`.
    pub fn new(store: Store, tmux: Server, clock: Arc<dyn Clock>) -> Self {
        Self { store, tmux, clock, memory: Arc::default() }
    }

    /// One fresh look at the agent; none where it has no pane.
    pub async fn look(&self, target: &Target<'_>) -> anyhow::Result<Option<Sight>> {
        let Some(pane) = &target.pane else { return Ok(None) };
        let slug = &target.context.agent.slug;
        let mut stillness = self.remember(slug, |memory| memory.stillness);
        let mut sight =
            look(&self.tmux, target.runtime, &target.context, pane, &mut stillness, self.clock.now()).await?;
        self.remember(slug, |memory| memory.stillness = stillness);
        // An idle record is no proof of an idle agent: a turn's first line may not be written yet.
        if let (Some(sight), Some(activity @ (Activity::Busy | Activity::Dialog { .. }))) =
            (&mut sight, &target.recorded)
        {
            sight.told.get_or_insert_with(|| activity.clone());
        }
        Ok(sight)
    }

    /// One fresh look, with an eye on a prompt. Where the screen is the only evidence, the prompt's header is also found
    /// when it has scrolled away.
    async fn look_for(&self, target: &Target<'_>, prompt: &Prompt) -> anyhow::Result<Option<Sight>> {
        let Some(mut sight) = self.look(target).await? else { return Ok(None) };
        let entered = matches!(prompt.state.name(), StateName::Typing | StateName::Submitted);
        if target.keeps_record || !entered || sight.headers.contains(&prompt.id) {
            return Ok(Some(sight));
        }
        let lines = self.history(target, &sight.pane.id).await?;
        sight
            .headers
            .extend(lines.iter().filter_map(|line| text::header_id(line)).filter(|id| *id == prompt.id).take(1));
        Ok(Some(sight))
    }

    async fn history(&self, target: &Target<'_>, pane: &PaneId) -> anyhow::Result<Vec<String>> {
        let lines = self.tmux.history(pane, answer::HISTORY).await;
        lines.with_context(|| format!("can't read the screen of {}", target.context.agent.slug))
    }

    /// What is known of a prompt but for the agent's word and its turn.
    fn known(&self, target: &Target<'_>, prompt: &Prompt, typed: &str, sight: Option<&Sight>) -> Known {
        let now = self.clock.now();
        let pressed = self.remember(&prompt.agent, |memory| memory.interrupted.clone());
        let recently = |(id, at): (PromptId, Timestamp)| id == prompt.id && now.duration_since(at).abs() < ESCAPE_AGAIN;
        Known {
            hold: sight.map_or(Some(Hold::NoSession), |sight| guard::check(sight).err()),
            manner: Manner::WhenIdle,
            busy: false,
            interrupted: pressed.is_some_and(recently),
            queue_lost: false,
            raw: prompt.source.is_raw(),
            in_box: sight.map_or(InBox::NoBox, |sight| self.in_box(prompt, typed, sight)),
            on_screen: sight.is_some_and(|sight| sight.headers.contains(&prompt.id)),
            keeps_record: target.keeps_record && !typed_before_its_record(target, prompt),
            record: None,
            line_too_long: longest_line(target, prompt, &[])
                .filter(|longest| *longest > LONGEST_LINE && sight.is_some_and(|sight| sight.whole_lines)),
            expired: is_expired(prompt, now),
            turn_ended: false,
            long_idle: false,
        }
    }

    /// `typed` is the very text that was typed for the prompt last.
    fn in_box(&self, prompt: &Prompt, typed: &str, sight: &Sight) -> InBox {
        match &sight.screen.input {
            InputBox::Absent => InBox::NoBox,
            InputBox::Empty => InBox::Nothing,
            InputBox::Holds(held) => {
                let pasted = self.remember(&prompt.agent, |memory| memory.pasted.clone());
                // A placeholder names only a size, and prompts of one size are no rarity.
                let another_s = pasted.as_ref().is_some_and(|id| *id != prompt.id) && is_placeholder(held);
                let ours = !another_s && is_ours(held, typed, pasted.as_ref() == Some(&prompt.id));
                if ours { InBox::Ours } else { InBox::Other }
            }
        }
    }

    /// `typed` is the text that was typed for the batch last, where it is on its way.
    async fn apply(
        &self,
        target: &Target<'_>,
        batch: &Batch<'_>,
        typed: &str,
        step: Step,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let prompt = batch.lead;
        match step {
            Step::Wait(wait) => {
                report.look_in(look_again(&wait, self.clock.now().duration_since(prompt.since)));
                if wait == Wait::TurnEnd && !target.keeps_record {
                    report.look_in(Some(WITHOUT_RECORD_LOOK));
                }
                if let (Wait::Held(Hold::Mode), Some(pane)) = (&wait, &target.pane) {
                    let left = self.tmux.leave_mode(pane).await;
                    left.with_context(|| format!("can't leave the mode of {}", prompt.agent))?;
                }
                Ok(())
            }
            Step::Become { state: state @ PromptState::Done { by: Evidence::Screen }, cause } => {
                self.finish_by_screen(target, prompt, &state, &cause, report).await
            }
            // Each has seen to it by itself: they were one message for as long as it was on its way.
            Step::Become { state, cause } if prompt.state.name() == StateName::Confirmed && !is_back(&state) => {
                self.advance(prompt, &state, &cause, report).await
            }
            Step::Become { state, cause } => self.advance_together(prompt, &state, &cause, report).await,
            Step::Type { attempt, steering } => self.type_batch(target, batch, attempt, steering, report).await,
            Step::PressEnter { attempt, steering } => {
                let Some(sight) = self.look_for(target, prompt).await? else { return Ok(()) };
                let state = PromptState::Submitted { attempt, steering };
                self.press_enter(target, prompt, typed, state, &sight, report).await
            }
            Step::Interrupt => {
                if self.interrupt(target).await? == Interrupt::Pressed {
                    let pressed = Some((prompt.id.clone(), self.clock.now()));
                    self.remember(&prompt.agent, |memory| memory.interrupted = pressed);
                }
                report.look_in(Some(HELD_BACK));
                Ok(())
            }
        }
    }

    async fn advance(
        &self,
        prompt: &Prompt,
        state: &PromptState,
        cause: &str,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let moved = self.store.advance(prompt, state, cause, self.clock.now()).await?;
        report.moved(prompt, state, moved);
        Ok(())
    }

    /// Moves a prompt on together with those that went as one message with it.
    async fn advance_together(
        &self,
        prompt: &Prompt,
        state: &PromptState,
        cause: &str,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let moved = self.store.advance_together(prompt, state, cause, self.clock.now()).await?;
        report.moved(prompt, state, moved);
        Ok(())
    }

    /// Ends the turn of an agent without a record: its answer and the prompt's end are stored as one.
    async fn finish_by_screen(
        &self,
        target: &Target<'_>,
        prompt: &Prompt,
        state: &PromptState,
        cause: &str,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut facts = Vec::new();
        // What went as one message has one answer: it is told as its lead's.
        if let (false, Some(pane), None) = (target.keeps_record, &target.pane, &prompt.lead) {
            let lines = self.history(target, pane).await?;
            let typed = self.store.typed_text(&prompt.id).await?.unwrap_or_default();
            let pattern = match &target.context.agent.runtime {
                RuntimeConfig::Command { prompt, .. } => prompt.as_deref(),
                RuntimeConfig::Claude { .. } | RuntimeConfig::Codex { .. } => None,
            };
            facts = match self.started_anew_since_typed(prompt).await? {
                true => answer::cut_off(prompt),
                false => answer::facts(&lines, prompt, &typed, pattern),
            };
        }
        let moved = self.store.finish(prompt, state, cause, self.clock.now(), &facts).await?;
        report.moved(prompt, state, moved);
        Ok(())
    }

    /// Whether the agent was started again after the prompt was typed.
    async fn started_anew_since_typed(&self, prompt: &Prompt) -> anyhow::Result<bool> {
        let Some(launched) = self.store.launched_at(&prompt.agent).await? else { return Ok(false) };
        let steps = self.store.trace(&prompt.id).await?;
        // Not when it was submitted: a program that dies of it may be back before that is stored.
        let typed = steps.iter().rev().find(|step| step.state.name() == StateName::Typing);
        Ok(typed.is_some_and(|step| launched > step.at))
    }

    fn remember<T>(&self, agent: &Slug, use_it: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(memory.entry(agent.clone()).or_default())
    }
}

/// What is typed for a prompt, or for several as one message: header, body and rule, as this CLI must be given it.
fn typed_text(target: &Target<'_>, prompt: &Prompt, others: &[&Prompt]) -> String {
    target.runtime.typed(&text::compose(prompt, others, target.rule)).into_owned()
}

/// The bytes of the longest line that is to be typed.
fn longest_line(target: &Target<'_>, prompt: &Prompt, others: &[&Prompt]) -> Option<usize> {
    (!target.keeps_record).then(|| typed_text(target, prompt, others).lines().map(str::len).max().unwrap_or_default())
}

/// Whether a confirmed prompt turned out not to have been taken.
fn is_back(state: &PromptState) -> bool {
    !matches!(state.name(), StateName::Confirmed | StateName::Done)
}

fn typed_before_its_record(target: &Target<'_>, prompt: &Prompt) -> bool {
    let entered = matches!(prompt.state.name(), StateName::Typing | StateName::Submitted);
    entered && target.record_since.is_some_and(|since| since > prompt.since)
}

fn is_expired(prompt: &Prompt, now: Timestamp) -> bool {
    prompt.expires.is_some_and(|expires| expires <= now)
}
