//! A box that stops itself once it has nothing to do: the facts are gathered anew at every tick, [`schedule::judge`] decides.
//!
//! Must never happen here: a stop that was not announced five minutes before, a stop while anybody works, the box's command
//! through a shell, or again and again where it fails.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};

use super::fleet::Running;
use super::post::AgentPost;
use super::protocol::AgentState;
use super::{TICK, status};
use crate::config::IdleStop;
use crate::model::Notice;
use crate::schedule::{self, Announced, Candidate, Facts, NEAR, Pass, Verdict};
use crate::supervisor::TAG_AGENT;

/// The note that holds when the announced stop was told; empty where none is.
const ANNOUNCED: &str = "idle.announced";

/// The note that holds until when the box is kept up.
const AWAKE: &str = "idle.awake";

/// How long the command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// A message to Slack that has waited for so long keeps no box up.
const STUCK: SignedDuration = SignedDuration::from_hours(1);

/// What only this daemon knows, by the steady clock.
struct Quiet {
    /// When the last look was.
    looked: Duration,
    /// Since when nothing has happened.
    since: Duration,
    /// When the last thing happened, by the wall clock, as far as it was seen.
    last: Timestamp,
    /// When the stop was announced.
    announced: Option<Duration>,
}

/// Looks at every tick until the daemon stops.
pub async fn run(running: Arc<Running>) {
    let mut stop = running.stop.subscribe();
    let mut ticks = tokio::time::interval(TICK);
    let mut quiet =
        Quiet { looked: running.clock.steady(), since: running.clock.steady(), last: running.since, announced: None };
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
            () = running.idle.notified() => {}
        }
        let done = pass(&running, &mut quiet).await;
        running.set_problem("idle stop", done.err().map(|error| format!("the box can't stop itself: {error:#}")));
    }
}

async fn pass(running: &Running, quiet: &mut Quiet) -> anyhow::Result<()> {
    let told = time(running, ANNOUNCED).await?;
    let Some(wanted) = running.roster().fleet.idle_stop.clone() else {
        if told.is_some() {
            call_off(running, quiet, "agents.yaml has no idleStop any more".to_owned()).await?;
        }
        return Ok(());
    };
    let facts = facts(running, quiet, &wanted, told).await?;
    match schedule::judge(&facts) {
        Verdict::Busy(why) => {
            tracing::debug!("the box is in use: {why}");
            Ok(())
        }
        Verdict::Idle | Verdict::Wait => Ok(()),
        Verdict::Announce(at) => {
            tracing::warn!("nothing is to be done: the box stops itself at {at}, unless something happens");
            quiet.announced = Some(running.clock.steady());
            running.store.set_note(ANNOUNCED, &facts.now.to_string()).await?;
            running.store.tell_box(&format!("stop/{}", facts.now), &Notice::StopAhead { at }, facts.now).await?;
            Ok(())
        }
        Verdict::CallOff(why) => call_off(running, quiet, why).await,
        Verdict::StopNow => {
            // Before the command: whatever becomes of it, the next stop takes as long as this one took.
            quiet.announced = None;
            acted(running);
            running.store.set_note(ANNOUNCED, "").await?;
            if let Err(error) = stop(&wanted).await {
                let what = format!("this box could not stop itself: {error:#}");
                tracing::error!("{what}");
                let notice = Notice::Problem { what };
                running.store.tell_box(&format!("stop/failed/{}", facts.now), &notice, facts.now).await?;
            }
            Ok(())
        }
    }
}

async fn call_off(running: &Running, quiet: &mut Quiet, why: String) -> anyhow::Result<()> {
    tracing::info!("the box stays up: {why}");
    quiet.announced = None;
    let now = running.clock.now();
    running.store.set_note(ANNOUNCED, "").await?;
    running.store.tell_box(&format!("stop/off/{now}"), &Notice::StopCalledOff { why }, now).await?;
    Ok(())
}

async fn facts(
    running: &Running,
    quiet: &mut Quiet,
    wanted: &IdleStop,
    told: Option<Timestamp>,
) -> anyhow::Result<Facts> {
    let now = running.clock.now();
    let mut last = latest(running).await?;
    let mut busy = busy(running, now).await?;
    if busy.is_none() && now.duration_since(last) >= SignedDuration::try_from(TICK)? {
        // A look at every pane is dear: only where nothing cheaper says that the box is in use.
        let seen = in_panes(running).await?;
        // That took a while: whatever came meanwhile counts too.
        last = last.max(seen.1).max(latest(running).await?);
        busy = match seen.0 {
            Some(busy) => Some(busy),
            None => self::busy(running, now).await?,
        };
    }
    let steady = running.clock.steady();
    if busy.is_some() {
        quiet.since = steady;
    } else if last > quiet.last {
        // It happened since the last look, whatever the wall clock says.
        let ago = Duration::try_from(now.duration_since(last)).unwrap_or_default();
        quiet.since = steady.saturating_sub(ago.min(steady.saturating_sub(quiet.looked)));
    }
    (quiet.last, quiet.looked) = (last.max(quiet.last), steady);
    let passed = |since: Duration| SignedDuration::try_from(steady.saturating_sub(since));
    let ago = quiet.announced.map(passed).transpose()?;
    Ok(Facts {
        now,
        after: SignedDuration::try_from(wanted.after)?,
        busy,
        last,
        still: passed(quiet.since)?,
        announced: told.map(|told| Announced { told, ago }),
    })
}

/// What the box has to do, as far as the store tells.
async fn busy(running: &Running, now: Timestamp) -> anyhow::Result<Option<String>> {
    if let Some(until) = awake_until(running).await? {
        return Ok(Some(format!("it is kept awake until {}", until.strftime("%F %H:%M UTC"))));
    }
    let roster = running.roster();
    for prompt in running.store.waiting_prompts(None).await? {
        // Those of agents that are gone, and those of which nothing more can be told, wait for nobody here.
        let uncertain = prompt.state.name() == crate::model::StateName::Uncertain;
        if !uncertain && roster.agent(&prompt.agent).is_some() {
            return Ok(Some(format!("{} has a prompt", prompt.agent)));
        }
    }
    if !running.store.open_envelopes(1).await?.is_empty() {
        return Ok(Some("somebody wrote in Slack".to_owned()));
    }
    let on_its_way = |since: Timestamp| now.duration_since(since) < STUCK;
    // News of the box say that it is about to stop; they are no work.
    let heads = running.store.outbox_heads().await?;
    if heads.iter().any(|row| row.lane != crate::slack::NEWS && on_its_way(row.since)) {
        return Ok(Some("something is to be said in Slack".to_owned()));
    }
    let agents: Vec<Candidate<'_>> = (roster.fleet.agents.iter())
        .filter_map(|agent| Some(Candidate { slug: &agent.slug, schedule: agent.schedule.as_ref()? }))
        .collect();
    let pass = Pass { now, last: None, stagger: roster.fleet.stagger, agents: &agents };
    if let Some(agent) = schedule::soon(&pass, NEAR) {
        return Ok(Some(format!("a daily prompt of {agent} is due soon")));
    }
    // A turn that time alone lets go on is due as a daily prompt is; one that still does not go on long after waits for somebody.
    let resumes = |post: &&Arc<AgentPost>| {
        let at = post.seen().cut.and_then(|cut| cut.over_at());
        at.is_some_and(|at| at.duration_since(now).abs() <= NEAR)
    };
    Ok(roster.agents.iter().find(resumes).map(|post| format!("{} goes on soon after a limit", post.slug())))
}

/// What the panes show: a turn, somebody who is attached, and when somebody typed last, or printed where nothing else tells
/// whether a turn runs.
async fn in_panes(running: &Running) -> anyhow::Result<(Option<String>, Timestamp)> {
    tracing::debug!("looks into every pane before the box may stop");
    let status = status::status(running).await?;
    // Of these nobody can tell whether a turn runs: what they print tells that somebody is at work.
    let unclear = |state: &AgentState| {
        matches!(
            state,
            AgentState::Failed | AgentState::Starting | AgentState::Held { .. } | AgentState::Retiring { .. }
        )
    };
    let mut typed = Timestamp::MIN;
    let ours = running.roster();
    for pane in running.tmux.panes().await.context("can't list the tmux sessions")? {
        if pane.attached > 0 {
            return Ok((Some(format!("somebody is attached to {}", pane.session)), typed));
        }
        let second = |second| Timestamp::from_second(second).unwrap_or(Timestamp::MIN);
        let post = ours.agents.iter().find(|post| post.pane().as_ref() == Some(&pane.id));
        if post.is_some() {
            typed = typed.max(second(pane.typed_at));
        }
        let state = post.and_then(|post| status.agents.iter().find(|agent| agent.agent == *post.slug()));
        // An agent that agents.yaml does not name any more has no state, and may be in its last turn.
        let retired = post.is_none() && pane.tags.contains_key(TAG_AGENT);
        if pane.death.is_none() && (retired || state.is_some_and(|agent| unclear(&agent.state))) {
            typed = typed.max(second(pane.output_at)).max(second(pane.typed_at));
        }
    }
    // A retired agent still ends its turn.
    let mut agents = status.agents;
    for post in &ours.retired {
        agents.push(status::agent(running, post, None).await?);
    }
    let working = agents.iter().find(|agent| {
        matches!(agent.state, AgentState::Busy | AgentState::Asking { .. } | AgentState::Elsewhere { .. })
            || agent.state == AgentState::Starting && agent.problem.is_none()
    });
    Ok((working.map(|agent| format!("{} is {}", agent.agent, agent.state.word())), typed))
}

/// Runs the command, as it stands in agents.yaml and never through a shell.
async fn stop(wanted: &IdleStop) -> anyhow::Result<()> {
    let [program, args @ ..] = wanted.command.as_slice() else { bail!("idleStop names no command") };
    let told = || format!("idleStop's command, {program}");
    tracing::warn!("the box stops itself: {program}");
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND, command.output()).await;
    let output = output.map_err(|_elapsed| anyhow::anyhow!("{} took too long", told()))?.with_context(told)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", told(), output.status, crate::model::text::first_line(&words, 300));
    }
    Ok(())
}

/// When something was last done that the store or the local API tells of.
async fn latest(running: &Running) -> anyhow::Result<Timestamp> {
    let stored = running.store.last_activity().await?.unwrap_or(running.since);
    let acted = Timestamp::from_microsecond(running.acted.load(Ordering::Relaxed)).unwrap_or(running.since);
    Ok(stored.max(acted).max(running.since))
}

/// Notes that somebody did something.
pub fn acted(running: &Running) {
    running.acted.store(running.clock.now().as_microsecond(), Ordering::Relaxed);
}

/// Keeps the box up until then, or with `None` no longer.
pub async fn keep_awake(running: &Running, until: Option<Timestamp>) -> anyhow::Result<()> {
    running.store.set_note(AWAKE, &until.map(|until| until.to_string()).unwrap_or_default()).await?;
    running.idle.notify_one();
    Ok(())
}

/// Until when the box is kept up; none where nobody asked for it, or no longer.
pub async fn awake_until(running: &Running) -> anyhow::Result<Option<Timestamp>> {
    Ok(time(running, AWAKE).await?.filter(|until| *until > running.clock.now()))
}

/// When the box will stop itself, as far as that is announced.
pub async fn stops_at(running: &Running) -> anyhow::Result<Option<Timestamp>> {
    Ok(time(running, ANNOUNCED).await?.and_then(|told| told.checked_add(schedule::AHEAD).ok()))
}

async fn time(running: &Running, note: &str) -> anyhow::Result<Option<Timestamp>> {
    let text = running.store.note(note).await?.filter(|text| !text.is_empty());
    text.map(|text| text.parse()).transpose().context("fleet.db holds an impossible time")
}
