//! One pass over what is open for one agent: first what was begun, then the turns that run, then what is next.

use std::collections::HashMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::guard::{self, Hold, Sight};
use super::order::{self, Batch, Manner, Turn};
use super::plan::{InBox, Known, Step, Wait, look_again, plan};
use super::{Delivery, HELD_BACK, Report, Target, is_expired, longest_line};
use crate::model::{Blocked, Evidence, Mode, Place, Prompt, PromptId, PromptState, Source, StateName};
use crate::runtime::{Activity, InputBox};
use crate::store::EvidenceRow;
use crate::tmux::LONGEST_LINE;

/// For how long an idle agent must have stood still for a turn without a recorded end to be over.
const LONG_IDLE: Duration = Duration::from_secs(15);

/// The same for an agent without any record.
const IDLE_WITHOUT_RECORD: Duration = Duration::from_secs(2);

/// A prompt's time lies further ahead than this only where the clock was set back.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(1);

/// How often it is tried to give a draft back.
const BOX_LOOK: Duration = Duration::from_secs(2);

/// After how long a prompt's author is told what holds it back.
const HELD_LONG: SignedDuration = SignedDuration::from_secs(60);

/// What is open for one agent.
struct Open {
    /// First come first.
    prompts: Vec<Prompt>,
    records: HashMap<PromptId, Vec<EvidenceRow>>,
    /// Those among them of which only the record can tell more; no longer in `prompts`.
    uncertain: Vec<Prompt>,
}

impl Delivery {
    /// Moves the prompts of one agent on as far as they can go now. The mirror must have read the agent's record before.
    pub async fn pass(&self, target: &Target<'_>) -> anyhow::Result<Report> {
        let mut report = Report::default();
        let slug = &target.context.agent.slug;
        let prompts = self.store.open_prompts(slug).await?;
        let aside = self.aside(target).await?;
        if prompts.is_empty() && aside.is_none() {
            return Ok(report);
        }
        report.open = true;
        let records = self.store.open_evidence(slug).await?;
        let mut open = Open { records, prompts, uncertain: Vec::new() };
        self.settle_without_a_look(target, &mut open, &mut report).await?;
        let on_its_way = |prompt: &&Prompt| matches!(prompt.state.name(), StateName::Typing | StateName::Submitted);
        let under_way = open.prompts.iter().find(on_its_way);
        let sight = match (under_way, open.prompts.first()) {
            (Some(prompt), _) => self.look_for(target, prompt).await?,
            (None, None) if aside.is_none() => return Ok(report),
            (None, _) => self.look(target).await?,
        };
        let running = self.see_to_turns(target, &open, sight.as_ref(), under_way.is_some(), &mut report).await?;
        if let (None, Some(sight)) = (under_way, &sight)
            && self.see_to_box(target, &open.prompts, aside.as_deref(), sight, &mut report).await?
        {
            report.again = Some(Duration::ZERO);
            return Ok(report);
        }
        if open.prompts.is_empty() {
            // A draft is to be given back, and its box can't take it now.
            report.look_in(Some(BOX_LOOK));
        }
        report.hold = match under_way {
            Some(prompt) => self.carry_on(target, prompt, &open, sight.as_ref(), &mut report).await?,
            None => self.begin(target, &open, &running, sight.as_ref(), &mut report).await?,
        };
        self.tell_held(target, &open.prompts, &mut report).await?;
        if !report.moved.is_empty() {
            report.again = Some(Duration::ZERO);
        }
        Ok(report)
    }

    /// Does what needs no look at the pane: proof that came late, time that is over, a clock that was set back. What is left
    /// open is what a look may move on.
    async fn settle_without_a_look(
        &self,
        target: &Target<'_>,
        open: &mut Open,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        for prompt in &open.prompts {
            let state = prompt.state.name();
            if state == StateName::Uncertain {
                let known = Known { record: open.record(prompt), ..self.known(target, prompt, "", None) };
                let step = plan(&prompt.state, prompt.since, known, now);
                self.apply(target, &Batch::alone(prompt), "", step, report).await?;
            } else if state.is_waiting() && is_expired(prompt, now) && open.record(prompt).is_none() {
                self.advance(prompt, &PromptState::Expired, "its time is over", report).await?;
            } else if prompt.since.duration_since(now) > CLOCK_SLACK {
                // Every wait is counted from that time: left ahead, the prompt would wait until the clock is there again.
                self.advance(prompt, &prompt.state, "the clock was set back", report).await?;
            }
        }
        let moved = |prompt: &Prompt| report.moved.iter().any(|(id, _)| *id == prompt.id);
        open.prompts.retain(|prompt| !moved(prompt));
        let (uncertain, rest) = std::mem::take(&mut open.prompts)
            .into_iter()
            .partition(|prompt| prompt.state.name() == StateName::Uncertain);
        (open.uncertain, open.prompts) = (uncertain, rest);
        Ok(())
    }

    /// Ends the turns that are over. Answers the prompts whose turns are not.
    async fn see_to_turns<'a>(
        &self,
        target: &Target<'_>,
        open: &'a Open,
        sight: Option<&Sight>,
        another_under_way: bool,
        report: &mut Report,
    ) -> anyhow::Result<Vec<&'a Prompt>> {
        let now = self.clock.now();
        let patience = if target.keeps_record { LONG_IDLE } else { IDLE_WITHOUT_RECORD };
        let mut running = Vec::new();
        for prompt in open.prompts.iter().filter(|prompt| prompt.state.name() == StateName::Confirmed) {
            let queued = prompt.state == PromptState::Confirmed { by: Evidence::Queue };
            let typed = if queued { self.store.typed_text(&prompt.id).await? } else { None };
            let mut known = self.known(target, prompt, &typed.unwrap_or_default(), sight);
            let confirmed_for = Duration::try_from(now.duration_since(prompt.since)).unwrap_or_default();
            known.long_idle = !another_under_way
                && rests(&known, sight, queued)
                && confirmed_for >= patience
                && sight.is_some_and(|sight| sight.still >= patience);
            known.record = open.record(prompt);
            if queued {
                let launched = self.store.launched_at(&prompt.agent).await?;
                known.queue_lost = launched.is_some_and(|launched| launched > prompt.since);
            } else {
                known.turn_ended = self.store.turn_ended(prompt.lead.as_ref().unwrap_or(&prompt.id)).await?;
            }
            let step = plan(&prompt.state, prompt.since, known, now);
            if !matches!(step, Step::Become { state: PromptState::Done { .. }, .. }) {
                running.push(prompt);
            }
            self.apply(target, &Batch::alone(prompt), "", step, report).await?;
        }
        Ok(running)
    }

    /// Brings what was begun to its end. Answers what holds back whatever waits behind it.
    async fn carry_on(
        &self,
        target: &Target<'_>,
        prompt: &Prompt,
        open: &Open,
        sight: Option<&Sight>,
        report: &mut Report,
    ) -> anyhow::Result<Option<Hold>> {
        let typed = self.store.typed_text(&prompt.id).await?.unwrap_or_default();
        let mut known = self.known(target, prompt, &typed, sight);
        known.record = open.record(prompt);
        if prompt.lead.is_some() {
            // Its lead has gone on without it: what the box shows says nothing about this one.
            known.in_box = InBox::Other;
        }
        let hold = known.hold.clone();
        let together = |other: &&Prompt| other.lead.as_ref() == Some(&prompt.id) && other.state == prompt.state;
        let others = open.prompts.iter().filter(together).collect();
        let batch = Batch { lead: prompt, others, manner: Manner::WhenIdle };
        let step = plan(&prompt.state, prompt.since, known, self.clock.now());
        if matches!(step, Step::Type { .. } | Step::PressEnter { .. }) {
            // Counts where the pane changed between the decision and the key.
            report.look_in(Some(HELD_BACK));
        }
        self.apply(target, &batch, &typed, step, report).await?;
        let waits = open.prompts.iter().any(|prompt| prompt.state.name().is_waiting());
        Ok(waits.then(|| hold.unwrap_or(Hold::Busy)))
    }

    /// Begins with what is next. Answers what holds it back.
    async fn begin(
        &self,
        target: &Target<'_>,
        open: &Open,
        running: &[&Prompt],
        sight: Option<&Sight>,
        report: &mut Report,
    ) -> anyhow::Result<Option<Hold>> {
        let busy = sight.is_some_and(|sight| matches!(guard::check(sight), Err(Hold::Busy | Hold::Dialog(_))));
        let turn = Turn {
            runs: busy || !running.is_empty(),
            threads: self.threads(&open.prompts, running).await?,
            takes_text: target.runtime.takes_text_while_busy(),
        };
        // Sent back to the queue for an error, and yet in the agent's record: it goes on by itself, and not in a message.
        let arrived = open.prompts.iter().find(|prompt| prompt.state.name().is_waiting() && open.knows(prompt));
        let next = arrived.map(Batch::alone).or_else(|| order::next(&open.prompts, &turn, self.clock.now()));
        let Some(mut batch) = next else { return Ok(None) };
        fit(target, &mut batch, sight);
        let mut known = self.known(target, batch.lead, "", sight);
        known.record = open.record(batch.lead);
        known.manner = batch.manner;
        known.busy = turn.runs;
        known.hold = self.what_holds(target, open, &batch, running, sight, known.hold).await?;
        let hold = known.hold.clone();
        if let (Some(Hold::Dialog(_)), Some(sight)) = (&hold, sight)
            && self.close_news(target, sight).await?
        {
            report.look_in(Some(HELD_BACK));
            return Ok(hold);
        }
        let step = plan(&batch.lead.state, batch.lead.since, known, self.clock.now());
        if matches!(step, Step::Type { .. }) {
            report.look_in(Some(HELD_BACK));
        }
        if step == Step::Wait(Wait::Held(Hold::Mode)) && batch.manner == Manner::WhenIdle && !running.is_empty() {
            // Nothing could be typed yet: whoever reads in the pane is not thrown out of it before.
            report.look_in(look_again(&Wait::Held(Hold::Mode), SignedDuration::ZERO));
            return Ok(hold);
        }
        self.apply(target, &batch, "", step, report).await?;
        Ok(hold)
    }

    /// What holds the next prompts back, where `hold` is what holds back a prompt that waits for an idle agent.
    async fn what_holds(
        &self,
        target: &Target<'_>,
        open: &Open,
        batch: &Batch<'_>,
        running: &[&Prompt],
        sight: Option<&Sight>,
        hold: Option<Hold>,
    ) -> anyhow::Result<Option<Hold>> {
        if let Some(row) = self.store.agent_hold(&batch.lead.agent).await? {
            return Ok(Some(Hold::Held(row.who)));
        }
        if let Some(why) = &target.draining {
            return Ok(Some(Hold::Draining(why.clone())));
        }
        let mends = batch.lead.source == Source::Compact && target.blocked == Some(Blocked::ContextFull);
        if let Some(blocked) = target.blocked.as_ref().filter(|_| !mends) {
            return Ok(Some(Hold::Blocked(blocked.clone())));
        }
        let hold = match (batch.manner, sight) {
            (Manner::Steering, Some(sight)) => guard::check_steering(sight).err(),
            // It was broken off before its first word, and no record will ever tell its end.
            (Manner::Interrupting, _) if self.was_interrupted_for(batch.lead) => hold,
            // A turn is not over before its record says so.
            (Manner::WhenIdle | Manner::Interrupting, _) if !running.is_empty() => hold.or(Some(Hold::Busy)),
            _ => hold,
        };
        match hold {
            Some(Hold::Draft) => Ok(Some(self.undecided(open, sight).await?.map_or(Hold::Draft, Hold::Undecided))),
            hold => Ok(hold),
        }
    }

    fn was_interrupted_for(&self, prompt: &Prompt) -> bool {
        self.remember(&prompt.agent, |memory| memory.interrupted.as_ref().is_some_and(|(id, _)| *id == prompt.id))
    }

    /// The uncertain prompt whose very text stands in the box.
    async fn undecided(&self, open: &Open, sight: Option<&Sight>) -> anyhow::Result<Option<PromptId>> {
        let Some(sight) = sight.filter(|sight| matches!(sight.screen.input, InputBox::Holds(_))) else {
            return Ok(None);
        };
        for prompt in &open.uncertain {
            let typed = self.store.typed_text(&prompt.id).await?.unwrap_or_default();
            if self.in_box(prompt, &typed, sight) == InBox::Ours {
                return Ok(Some(prompt.id.clone()));
            }
        }
        Ok(None)
    }

    /// The threads in which the running turn is told, where anybody waits for one.
    async fn threads(&self, prompts: &[Prompt], running: &[&Prompt]) -> anyhow::Result<Vec<Place>> {
        let mut threads = Vec::new();
        if prompts.iter().any(|prompt| prompt.mode == Mode::Thread && prompt.state.name().is_waiting()) {
            for prompt in running {
                threads.extend(match &prompt.place {
                    Some(place) => Some(place.clone()),
                    None => self.store.place_of_turn(&prompt.id).await?,
                });
            }
        }
        Ok(threads)
    }

    /// Tells the authors of prompts that have waited for long what holds them back, one author in each thread.
    async fn tell_held(&self, target: &Target<'_>, prompts: &[Prompt], report: &mut Report) -> anyhow::Result<()> {
        let Some(hold) = report.hold.clone() else { return Ok(()) };
        let (slug, now) = (&target.context.agent.slug, self.clock.now());
        let mut threads = Vec::new();
        for prompt in prompts.iter().filter(|prompt| prompt.state.name().is_waiting()) {
            if prompt.place.is_some() && threads.contains(&&prompt.place) {
                continue;
            }
            threads.push(&prompt.place);
            let left = Duration::try_from(HELD_LONG - now.duration_since(prompt.created)).unwrap_or_default();
            if !left.is_zero() {
                report.look_in(Some(left));
                continue;
            }
            let notice = (prompt.id.clone(), hold.kind());
            if !self.remember(slug, |memory| memory.told_held.contains(&notice)) {
                report.told |= self.store.tell_held(prompt, hold.kind(), &hold.to_string(), now).await?;
                self.remember(slug, |memory| memory.told_held.insert(notice));
            }
        }
        let waits = |(id, _): &(PromptId, &str)| prompts.iter().any(|prompt| prompt.id == *id);
        self.remember(slug, |memory| memory.told_held.retain(waits));
        Ok(())
    }
}

/// Whether no turn runs. A draft in the box does not keep a turn alive: Claude even puts there what was interrupted before its
/// first word, and no record tells the end of that turn. What the agent holds in its own queue is given up for lost more
/// slowly, because it would be typed again.
fn rests(known: &Known, sight: Option<&Sight>, queued: bool) -> bool {
    let idle =
        sight.is_some_and(|sight| sight.told.as_ref().or(sight.screen.activity.as_ref()) == Some(&Activity::Idle));
    known.hold.is_none() || !queued && idle && matches!(known.hold, Some(Hold::Draft | Hold::PersonTypes))
}

/// Leaves for later what a terminal that is read line by line would cut off: alone it is judged, and its author is told.
fn fit(target: &Target<'_>, batch: &mut Batch<'_>, sight: Option<&Sight>) {
    let too_long = |batch: &Batch<'_>| {
        longest_line(target, batch.lead, &batch.others).is_some_and(|longest| longest > LONGEST_LINE)
    };
    while sight.is_some_and(|sight| sight.whole_lines) && !batch.others.is_empty() && too_long(batch) {
        batch.others.pop();
    }
}

impl Open {
    fn knows(&self, prompt: &Prompt) -> bool {
        self.records.contains_key(&prompt.id)
    }

    /// What the agent's record says of a prompt, the best proof first: that it was taken, that it waits in the agent's own
    /// queue, that there is something like it.
    fn record(&self, prompt: &Prompt) -> Option<(Evidence, bool)> {
        let rows = self.records.get(&prompt.id)?;
        let taken = rows.iter().find(|row| row.exact && row.kind != Evidence::Queue);
        let best = taken.or_else(|| rows.iter().find(|row| row.exact)).or(rows.first())?;
        Some((best.kind, best.exact))
    }
}
