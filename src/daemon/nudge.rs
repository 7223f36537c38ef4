//! The schedule's wiring: what is due becomes an inbox row, what was confirmed becomes a stamp. The judgement is
//! `schedule::due`'s alone; this only fetches what it asks for and does what it says.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::event::Event;
use super::fleet::Running;
use super::places;
use super::pulse::Beat;
use crate::model::{NewPrompt, Notice, PromptId, Slug, Source, StateName};
use crate::schedule::{Candidate, Pass, Settled, Stamps, Step, due};
use crate::store::nudge_key;

/// The note that tells, over restarts, when the schedule was last looked at.
const LAST_PASS: &str = "schedule.last_pass";

/// How soon after a look at the schedule the next one may be.
const BETWEEN: Duration = Duration::from_millis(200);

/// Looks at the clock until the daemon stops.
pub async fn run(running: Arc<Running>, stamps: Stamps) {
    let mut stop = running.stop.subscribe();
    loop {
        let problem = pass(&running, &stamps).await.err().map(|error| format!("{error:#}"));
        running.set_problem("schedule", problem);
        running.pulse.beat(Beat::Schedule);
        let called = async {
            // Every prompt that moves calls; two hundred at once are one call.
            tokio::time::sleep(BETWEEN).await;
            running.schedule.notified().await;
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = called => {}
        }
    }
}

async fn pass(running: &Arc<Running>, stamps: &Stamps) -> anyhow::Result<()> {
    let now = running.clock.now();
    places::look_ahead(running, now);
    stamp_confirmed(running, stamps, now).await?;
    let last = running.store.note(LAST_PASS).await?;
    let last: Option<Timestamp> =
        last.map(|text| text.parse()).transpose().context("fleet.db holds an impossible time")?;
    let since = now.to_zoned(TimeZone::UTC).date().checked_sub(9.days())?;
    let settled: HashSet<(Slug, Date)> = running.store.settled_nudges(since).await?.into_iter().collect();
    let roster = running.roster();
    let schedules = roster.fleet.agents.iter();
    let agents: Vec<Candidate<'_>> = schedules
        .filter_map(|agent| Some(Candidate { slug: &agent.slug, schedule: agent.schedule.as_ref()? }))
        .collect();
    let look = Pass { now, last, stagger: roster.fleet.stagger, agents: &agents };
    let steps = due(&look, |slug, day| match stamps.exists(slug, day) {
        _ if settled.contains(&(slug.clone(), day)) => Settled::Yes,
        Ok(true) => Settled::Yes,
        Ok(false) => Settled::No,
        Err(error) => Settled::Unknown { why: format!("{error:#}") },
    });
    let due = steps.len();
    for step in steps {
        apply(running, step, now).await?;
    }
    running.store.set_note(LAST_PASS, &now.to_string()).await?;
    tracing::debug!(%now, due, "looked at the schedule");
    Ok(())
}

async fn apply(running: &Arc<Running>, step: Step, now: Timestamp) -> anyhow::Result<()> {
    match step {
        // The next look finds it due again, and puts it into the inbox once its clones are new or its wait is over.
        Step::Nudge { slug, day, due_at } if !places::ready(running, &slug, due_at, now) => {
            tracing::debug!(agent = %slug, %day, "a nudge waits for its clones");
        }
        Step::Nudge { slug, day, .. } => {
            let source = Source::Nudge { day };
            let expires = day_end(running, &slug, day);
            let new = NewPrompt { expires, ..nudge(running, &slug, source, "schedule", nudge_key(&slug, day))? };
            running.store.insert_prompt(&new, now).await?;
            tracing::info!(agent = %slug, %day, prompt = %new.id, "nudge due");
            running.tell(Event::Inbox(slug));
        }
        Step::Skip { slug, day, due_at, why } => {
            let notice = Notice::NudgeSkipped { agent: slug.clone(), day, why: why.clone() };
            // Told first: a death in between tells it again under the same key, which is once.
            running.store.tell_box(&nudge_key(&slug, day), &notice, now).await?;
            if running.store.skip_nudge(&slug, day, due_at).await? {
                tracing::warn!(agent = %slug, %day, "nudge skipped: {why}");
            }
        }
        Step::Withhold { slug, day, why, .. } => tracing::error!(agent = %slug, %day, "nudge withheld: {why}"),
    }
    Ok(())
}

/// The end of the agent's local day: a nudge is of no use on another one.
fn day_end(running: &Running, slug: &Slug, day: Date) -> Option<Timestamp> {
    let zone = running.roster().fleet.agent(slug)?.schedule.as_ref()?.zone.clone();
    Some(day.tomorrow().ok()?.to_zoned(zone).ok()?.timestamp())
}

/// Stamps the days whose nudges the agents' own records hold.
async fn stamp_confirmed(running: &Running, stamps: &Stamps, now: Timestamp) -> anyhow::Result<()> {
    for prompt in running.store.recent_nudges(now.checked_sub(48.hours())?).await? {
        let taken = matches!(prompt.state.name(), StateName::Confirmed | StateName::Done);
        if let (true, Source::Nudge { day }) = (taken, &prompt.source) {
            stamps.write(&prompt.agent, *day, &prompt.id, now)?;
        }
    }
    Ok(())
}

/// A nudge by hand, beside the day's own.
pub fn by_hand(running: &Running, slug: &Slug) -> anyhow::Result<NewPrompt> {
    let key = format!("nudge-by-hand/{}", PromptId::random());
    nudge(running, slug, Source::NudgeByHand, "by hand", key)
}

fn nudge(running: &Running, slug: &Slug, source: Source, who: &str, dedup_key: String) -> anyhow::Result<NewPrompt> {
    let body = running.roster().fleet.agent(slug).and_then(|agent| agent.daily_prompt.clone());
    let body = body.with_context(|| format!("{slug} has no dailyPrompt in agents.yaml"))?;
    Ok(NewPrompt {
        id: PromptId::random(),
        agent: slug.clone(),
        source,
        who: who.to_owned(),
        dedup_key,
        body,
        place: None,
        expires: None,
        mode: crate::model::Mode::Queue,
    })
}
