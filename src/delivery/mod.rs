//! Brings one prompt at a time into an agent's pane, and says "confirmed" only when the agent's own record holds it.
//!
//! A pass looks, plans and applies; it keeps nothing that a restart would miss but how long a screen has been still and
//! what it pasted a moment ago, and without those it only becomes more careful. This room must never type without a
//! [`guard::Clear`] from a look taken just before, and never twice without proof that the first time was lost.

mod answer;
pub mod guard;
mod interrupt;
mod look;
mod order;
mod own;
mod plan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use crate::config::{CrashPoint, RuntimeConfig};
use crate::model::{Clock, Evidence, Prompt, PromptId, PromptState, Slug, StateName, text};
use crate::runtime::{Activity, InputBox, LaunchContext, Runtime};
use crate::store::{EvidenceRow, Store};
use crate::tmux::{Key, LONGEST_LINE, PaneId, Server, TmuxError};

pub use interrupt::Interrupt;

use guard::{Clear, Hold, Sight};
use look::{Stillness, look};
use own::is_ours;
use plan::{InBox, Known, Step, Wait, look_again, plan};

/// How soon after a paste the box is looked at again, and how rarely at last: a fast program shows it within a millisecond or
/// two, and the looks at a slow one shall not slow it further.
const PASTE_LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

/// How long a paste may take to show in the box before the prompt is left to a later pass.
const PASTE_SHOWS: Duration = Duration::from_secs(3);

/// For how long an idle agent must have stood still for a turn without a recorded end to be over.
const LONG_IDLE: Duration = Duration::from_secs(15);

/// The same for an agent without any record.
const IDLE_WITHOUT_RECORD: Duration = Duration::from_secs(2);

/// A prompt's time lies further ahead than this only where the clock was set back.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(1);

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
    /// What the agent does, where its record is the best word for it; none where its CLI shows that itself.
    pub recorded: Option<Activity>,
    /// The rule typed below every prompt.
    pub rule: Option<&'a str>,
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
}

#[derive(Default)]
struct Memory {
    stillness: Option<Stillness>,
    /// The prompt that we pasted into an empty box last.
    pasted: Option<PromptId>,
}

impl Delivery {
    /// Delivery out of `store` into the panes of `tmux`.
    pub fn new(store: Store, tmux: Server, clock: Arc<dyn Clock>) -> Self {
        Self { store, tmux, clock, memory: Arc::default() }
    }

    /// Moves the prompts of one agent on as far as they can go now. The mirror must have read the agent's record before.
    pub async fn pass(&self, target: &Target<'_>) -> anyhow::Result<Report> {
        let slug = &target.context.agent.slug;
        let mut report = Report::default();
        let prompts = self.store.open_prompts(slug).await?;
        for prompt in prompts.iter().filter(|prompt| prompt.state.name() == StateName::Uncertain) {
            let known = Known { record: self.record(prompt).await?, ..self.known(target, prompt, "", None, false) };
            let step = plan(&prompt.state, prompt.since, known, self.clock.now());
            self.apply(target, prompt, "", step, &mut report).await?;
        }
        // What is on its way comes before what only waits for its turn's end.
        let on_its_way = |prompt: &&Prompt| matches!(prompt.state.name(), StateName::Typing | StateName::Submitted);
        let running = |prompt: &&Prompt| prompt.state.name() == StateName::Confirmed;
        let next = prompts.iter().find(on_its_way).or_else(|| prompts.iter().find(running));
        let now = self.clock.now();
        let Some(prompt) = next.or_else(|| order::next(&prompts, now)) else { return Ok(report) };
        for late in prompts.iter().filter(|late| late.state == PromptState::Queued && is_expired(late, now)) {
            self.advance(late, &PromptState::Expired, "its time is over", &mut report).await?;
        }
        if is_expired(prompt, now) && prompt.state == PromptState::Queued {
            report.again = Some(Duration::ZERO);
            return Ok(report);
        }
        if prompt.since.duration_since(now) > CLOCK_SLACK {
            // Every wait is counted from that time: left ahead, the prompt would wait until the clock is there again.
            self.advance(prompt, &prompt.state, "the clock was set back", &mut report).await?;
            report.again = Some(Duration::ZERO);
            return Ok(report);
        }
        let ended = prompt.state.name() == StateName::Confirmed && self.store.turn_ended(&prompt.id).await?;
        let sight = self.look_for(target, prompt).await?;
        let typed = match prompt.state {
            PromptState::Typing { .. } | PromptState::Submitted { .. } => self.store.typed_text(&prompt.id).await?,
            _ => None,
        };
        let typed = typed.unwrap_or_default();
        let mut known = self.known(target, prompt, &typed, sight.as_ref(), ended);
        known.record = self.record(prompt).await?;
        if prompt.state == PromptState::Queued
            && let Some(row) = self.store.agent_hold(slug).await?
        {
            known.hold = Some(Hold::Held(row.who));
        }
        let hold = known.hold.clone();
        let step = plan(&prompt.state, prompt.since, known, self.clock.now());
        let keys = matches!(step, Step::Type { .. } | Step::PressEnter { .. });
        self.apply(target, prompt, &typed, step, &mut report).await?;
        if report.hold.is_none() && next.is_some() && prompts.iter().any(|prompt| prompt.state == PromptState::Queued) {
            report.hold = hold.or(Some(Hold::Busy));
        }
        if !report.moved.is_empty() {
            report.again = Some(Duration::ZERO);
        } else if keys {
            // The pane changed between the decision and the key.
            report.again = Some(HELD_BACK);
        }
        Ok(report)
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

    async fn record(&self, prompt: &Prompt) -> anyhow::Result<Option<(Evidence, bool)>> {
        let rows = self.store.evidence(&prompt.id).await?;
        let exact = rows.iter().find(|row| row.exact).or(rows.first());
        Ok(exact.map(|EvidenceRow { kind, exact }| (*kind, *exact)))
    }

    fn known(
        &self,
        target: &Target<'_>,
        prompt: &Prompt,
        typed: &str,
        sight: Option<&Sight>,
        turn_ended: bool,
    ) -> Known {
        let hold = sight.map_or(Some(Hold::NoSession), |sight| guard::check(sight).err());
        let patience = if target.keeps_record { LONG_IDLE } else { IDLE_WITHOUT_RECORD };
        let confirmed_for = Duration::try_from(self.clock.now().duration_since(prompt.since)).unwrap_or_default();
        Known {
            in_box: sight.map_or(InBox::NoBox, |sight| self.in_box(prompt, typed, sight)),
            on_screen: sight.is_some_and(|sight| sight.headers.contains(&prompt.id)),
            keeps_record: target.keeps_record,
            record: None,
            line_too_long: longest_line(target, prompt)
                .filter(|longest| *longest > LONGEST_LINE && sight.is_some_and(|sight| sight.whole_lines)),
            expired: is_expired(prompt, self.clock.now()),
            turn_ended,
            long_idle: hold.is_none()
                && confirmed_for >= patience
                && sight.is_some_and(|sight| sight.still >= patience),
            hold,
        }
    }

    /// `typed` is the very text that was typed for the prompt last.
    fn in_box(&self, prompt: &Prompt, typed: &str, sight: &Sight) -> InBox {
        match &sight.screen.input {
            InputBox::Absent => InBox::NoBox,
            InputBox::Empty => InBox::Nothing,
            InputBox::Holds(held) => {
                let pasted = self.remember(&prompt.agent, |memory| memory.pasted.as_ref() == Some(&prompt.id));
                if is_ours(held, typed, pasted) { InBox::Ours } else { InBox::Other }
            }
        }
    }

    async fn apply(
        &self,
        target: &Target<'_>,
        prompt: &Prompt,
        typed: &str,
        step: Step,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        match step {
            Step::Wait(wait) => {
                report.again =
                    report.again.or(look_again(&wait, self.clock.now().duration_since(prompt.since).as_secs()));
                if wait == Wait::TurnEnd && !target.keeps_record {
                    report.again = Some(WITHOUT_RECORD_LOOK);
                }
                if let Wait::Held(hold) = wait {
                    if let (Hold::Mode, Some(pane)) = (&hold, &target.pane) {
                        self.tmux
                            .leave_mode(pane)
                            .await
                            .with_context(|| format!("can't leave the mode of {}", prompt.agent))?;
                    }
                    report.hold = Some(hold);
                }
                Ok(())
            }
            Step::Become { state: state @ PromptState::Done { by: Evidence::Screen }, cause } => {
                self.finish_by_screen(target, prompt, &state, &cause, report).await
            }
            Step::Become { state, cause } => self.advance(prompt, &state, &cause, report).await,
            Step::Type { attempt } => self.type_prompt(target, prompt, attempt, report).await,
            Step::PressEnter { attempt } => {
                let Some(sight) = self.look_for(target, prompt).await? else { return Ok(()) };
                self.press_enter(target, prompt, typed, attempt, &sight, report).await
            }
        }
    }

    async fn type_prompt(
        &self,
        target: &Target<'_>,
        prompt: &Prompt,
        attempt: u32,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let text = typed_text(target, prompt);
        let typing = PromptState::Typing { attempt };
        if !self.store.advance_typed(prompt, &typing, "the agent is idle", self.clock.now(), Some(&text)).await? {
            return Ok(());
        }
        CrashPoint::TypingStored.pass();
        let typing = Prompt { state: typing, ..prompt.clone() };
        report.moved.push((prompt.id.clone(), StateName::Typing));
        // A hold may have come meanwhile. Nothing stands in the pane now, at any attempt: that is why it is typed.
        if let Some(row) = self.store.agent_hold(&prompt.agent).await? {
            return self.advance(&typing, &PromptState::Queued, &Hold::Held(row.who).to_string(), report).await;
        }
        let Some(sight) = self.look(target).await? else { return Ok(()) };
        let clear = match guard::check(&sight) {
            Ok(clear) => clear,
            // Nothing of the first attempt was typed yet, so the prompt is where it was.
            Err(hold) if attempt == 1 => {
                return self.advance(&typing, &PromptState::Queued, &hold.to_string(), report).await;
            }
            Err(_) => return Ok(()),
        };
        self.remember(&prompt.agent, |memory| memory.pasted = Some(prompt.id.clone()));
        if let Err(error) = self.paste(clear, &sight, &text).await {
            // Lost and Timeout leave it open whether the text came through: a later pass looks. Anything else didn't begin.
            let unknown = error.downcast_ref::<TmuxError>();
            if !matches!(unknown, Some(TmuxError::Lost { .. } | TmuxError::Timeout { .. })) {
                self.advance(&typing, &PromptState::Queued, &format!("{error:#}"), report).await?;
            }
            return Err(error);
        }
        CrashPoint::Pasted.pass();
        if !self.shows_paste(target, &typing).await? {
            // A later pass finds the text in the box, or proof that it never came there.
            return Ok(());
        }
        CrashPoint::PasteShown.pass();
        tokio::time::sleep(target.runtime.settle()).await;
        let Some(sight) = self.look_for(target, &typing).await? else { return Ok(()) };
        self.press_enter(target, &typing, &text, attempt, &sight, report).await
    }

    /// Waits until the box shows what was pasted into it; false where it doesn't in time.
    async fn shows_paste(&self, target: &Target<'_>, prompt: &Prompt) -> anyhow::Result<bool> {
        let shows = async {
            let mut pause = PASTE_LOOK.0;
            loop {
                match self.look_for(target, prompt).await? {
                    Some(sight) if matches!(sight.screen.input, InputBox::Holds(_)) => return Ok(true),
                    Some(sight) if !target.keeps_record && guard::check_last_line(&sight, &prompt.id).is_ok() => {
                        return Ok(true);
                    }
                    Some(sight) if sight.pane.death.is_none() => tokio::time::sleep(pause).await,
                    _ => return Ok(false),
                }
                pause = (pause * 2).min(PASTE_LOOK.1);
            }
        };
        tokio::time::timeout(PASTE_SHOWS, shows).await.unwrap_or(Ok(false))
    }

    async fn paste(&self, _clear: Clear, sight: &Sight, text: &str) -> anyhow::Result<()> {
        self.tmux.paste(&sight.pane.id, text).await.with_context(|| format!("can't paste into {}", sight.pane.session))
    }

    async fn press_enter(
        &self,
        target: &Target<'_>,
        prompt: &Prompt,
        typed: &str,
        attempt: u32,
        sight: &Sight,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let pasted =
            if self.in_box(prompt, typed, sight) == InBox::Ours { &sight.screen.input } else { &InputBox::Absent };
        let mut clear = guard::check_enter(sight, pasted);
        if !target.keeps_record && sight.whole_lines {
            clear = clear.or(guard::check_last_line(sight, &prompt.id));
        }
        let Ok(_clear): Result<Clear, _> = clear else { return Ok(()) };
        self.tmux
            .press(&sight.pane.id, Key::Enter)
            .await
            .with_context(|| format!("can't press Enter in {}", sight.pane.session))?;
        CrashPoint::EnterPressed.pass();
        self.advance(prompt, &PromptState::Submitted { attempt }, "Enter was pressed", report).await
    }

    async fn advance(
        &self,
        prompt: &Prompt,
        state: &PromptState,
        cause: &str,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        if self.store.advance(prompt, state, cause, self.clock.now()).await? {
            match state.name() {
                StateName::Submitted => CrashPoint::Submitted.pass(),
                StateName::Confirmed => CrashPoint::Confirmed.pass(),
                StateName::Done => CrashPoint::Done.pass(),
                _ => {}
            }
            report.moved.push((prompt.id.clone(), state.name()));
        }
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
        if let (false, Some(pane)) = (target.keeps_record, &target.pane) {
            let lines = self.history(target, pane).await?;
            let typed = self.store.typed_text(&prompt.id).await?.unwrap_or_default();
            let pattern = match &target.context.agent.runtime {
                RuntimeConfig::Command { prompt, .. } => prompt.as_deref(),
                RuntimeConfig::Claude { .. } | RuntimeConfig::Codex { .. } => None,
            };
            facts = answer::facts(&lines, prompt, &typed, pattern);
        }
        if self.store.finish(prompt, state, cause, self.clock.now(), &facts).await? {
            CrashPoint::Done.pass();
            report.moved.push((prompt.id.clone(), state.name()));
        }
        Ok(())
    }

    fn remember<T>(&self, agent: &Slug, use_it: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(memory.entry(agent.clone()).or_default())
    }
}

/// What is typed for a prompt: header, body and rule, as this CLI must be given it.
fn typed_text(target: &Target<'_>, prompt: &Prompt) -> String {
    target.runtime.typed(&text::compose(prompt, target.rule)).into_owned()
}

/// The bytes of the longest line that is to be typed.
fn longest_line(target: &Target<'_>, prompt: &Prompt) -> Option<usize> {
    (!target.keeps_record).then(|| typed_text(target, prompt).lines().map(str::len).max().unwrap_or_default())
}

fn is_expired(prompt: &Prompt, now: Timestamp) -> bool {
    prompt.expires.is_some_and(|expires| expires <= now)
}
