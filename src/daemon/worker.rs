//! The tasks behind the event loop: one for each agent (mirror, then delivery, never at once) and one for the supervisor.
//! Each runs a pass when it is woken, and again by itself only while something is under way.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::event::Event;
use super::fleet::Running;
use super::offline;
use super::orphan;
use super::policy;
use super::post::AgentPost;
use super::protocol::ReconciledStep;
use super::pulse::Beat;
use super::question;
use super::reload;
use super::restart;
use super::retire;
use super::watch::Watcher;
use crate::model::Slug;
use crate::runtime::Identity;
use crate::supervisor::{Patience, Step, Survey};

/// How soon a pass that failed is tried again, and how rarely at last: each may store that it tried.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(16));

/// How soon a record is read again while a turn's last words are waited for.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Mirrors and delivers for one agent until the daemon stops.
pub async fn agent(running: Arc<Running>, post: Arc<AgentPost>, watcher: Arc<Watcher>) {
    let mut stop = running.stop.subscribe();
    let mut again = Some(Duration::ZERO);
    let mut after_failure = AFTER_FAILURE.0;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = post.wake.notified() => {}
            () = after(again) => {}
        }
        // A pass that panics is a pass that failed: its agent is not left without anybody for ever, nor are the others.
        let pass = AssertUnwindSafe(agent_pass(&running, &post, &watcher)).catch_unwind().await;
        again = match pass.unwrap_or_else(|_| Err(anyhow::anyhow!("fleetd has a defect: a pass panicked"))) {
            Ok(again) => {
                after_failure = AFTER_FAILURE.0;
                again
            }
            Err(error) => {
                tracing::warn!(agent = %post.slug(), "{error:#}");
                // Nothing moves until this is over, whatever held the prompts back before.
                post.set_hold(Some(format!("{error:#}")));
                let pause = after_failure;
                after_failure = (after_failure * 2).min(AFTER_FAILURE.1);
                Some(pause)
            }
        };
    }
}

async fn agent_pass(running: &Running, post: &AgentPost, watcher: &Watcher) -> anyhow::Result<Option<Duration>> {
    post.rest.set(false);
    if let Some(why) = post.unknown() {
        post.set_hold(Some(why));
        return Ok(None);
    }
    let setup = post.setup_of_process();
    if let (Identity::LockFile { .. }, Some(pane)) = (setup.runtime.identity(), post.pane()) {
        // A prompt that went to a conversation that nobody reads would look lost, and be typed again.
        running.supervisor.follow(&setup, &pane).await?;
    }
    let conversation = running.conversation(post.slug()).await?;
    let progress = running.mirror(post, &setup, &conversation).await?;
    if post.set_progress(&progress) {
        watcher.watch(post, &progress.files);
    }
    if progress.facts || progress.evidence {
        running.tell(Event::Progress(post.slug().clone()));
    }
    if progress.backlog {
        // What was not read yet may hold the proof that a prompt arrived.
        return Ok(Some(Duration::ZERO));
    }
    let restart = restart::pass(running, post, &setup, &conversation, progress.again).await?;
    let at_rest = policy::pass(running, post, &setup, &conversation).await? && restart.is_none() && !progress.again;
    let report = running.delivery.pass(&running.target(post, &setup, &conversation)).await?;
    for (prompt, state) in &report.moved {
        tracing::debug!(agent = %post.slug(), %prompt, state = state.as_str(), "prompt moved on");
        if state.is_given_up() {
            tracing::warn!(agent = %post.slug(), %prompt, state = state.as_str(), "a prompt was not delivered; `fleet trace {prompt}` tells more");
        }
    }
    post.set_hold(report.hold.map(|hold| hold.to_string()));
    let asking = question::pass(running, post, &setup, &conversation).await?;
    // Where a lock file names the conversation, nothing but the pass's own look tells of another one.
    let told = !matches!(setup.runtime.identity(), Identity::LockFile { .. });
    post.rest.set(told && at_rest && !report.open && !asking.open);
    if !report.moved.is_empty() || report.told || asking.moved {
        running.tell(Event::Progress(post.slug().clone()));
    }
    let reading = progress.again.then_some(LAST_WORDS);
    Ok(reading.into_iter().chain(report.again).chain(asking.again).chain(restart).min())
}

/// Keeps sessions up until the daemon stops.
pub async fn supervisor(running: Arc<Running>) {
    let mut stop = running.stop.subscribe();
    loop {
        let mut again = None;
        let problem = match survey(&running, Patience::Growing).await {
            Ok(survey) => {
                again = survey.again;
                // Here only: two at once would end a session twice, and a look on somebody's word must end none.
                let retired = retire::pass(&running, &survey).await;
                running.set_problem("retired", retired.err().map(|error| format!("can't retire an agent: {error:#}")));
                start(&running, survey, |_| {});
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        running.set_problem("tmux", problem);
        if let Err(error) = running.supervisor.sweep().await {
            tracing::debug!("can't look for what dead agents left behind: {error:#}");
        }
        let taken = offline::take_in(&running.state, &running.store, running.clock.now()).await;
        running.set_problem("offline", taken.as_ref().err().map(|error| format!("{error:#}")));
        for agent in taken.unwrap_or_default() {
            running.tell(Event::Inbox(agent));
        }
        let expired = orphan::expire(&running).await;
        running.set_problem("orphans", expired.err().map(|error| format!("{error:#}")));
        running.pulse.beat(Beat::Supervisor);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = running.supervise.notified() => {}
            () = after(again) => {}
        }
    }
}

/// Resumes an agent whose process has just ended. Where it must wait, or nothing is to be done, the supervisor's pass tells.
pub async fn resume(running: Arc<Running>, agent: Slug) {
    match running.supervisor.survey_after_death(&agent).await {
        Ok(Some(survey)) => start(&running, survey, |_| {}),
        Ok(None) => running.supervise.notify_one(),
        Err(error) => {
            tracing::debug!(%agent, "can't look at it after its end: {error:#}");
            running.supervise.notify_one();
        }
    }
}

/// Ends after a pause; without one, never.
async fn after(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// Looks at tmux, plans, and notes who sits where.
async fn survey(running: &Running, patience: Patience) -> anyhow::Result<Survey> {
    let roster = running.roster();
    let slugs: Vec<_> = roster.agents.iter().map(|post| post.slug().clone()).collect();
    let survey = running.supervisor.survey(&slugs, patience).await?;
    let (mut seats, alive) = (survey.seats(), survey.alive());
    for post in &roster.agents {
        // First: the pass that is woken must know that nothing is to be given to it.
        reload::compare(post, alive.get(post.slug()).copied());
        if post.set_pane(seats.remove(post.slug())) {
            post.wake.notify_one();
        }
    }
    running.deaths.watch(alive, &running.events);
    Ok(survey)
}

/// Starts every step as a task of its own, so that one agent's slow clone delays nobody.
fn start(
    running: &Arc<Running>,
    survey: Survey,
    mut started: impl FnMut(tokio::task::JoinHandle<(Step, anyhow::Result<()>)>),
) {
    for step in survey.steps {
        let running = Arc::clone(running);
        started(tokio::spawn(async move {
            let Some(post) = running.agent(step.agent()) else { return (step, Ok(())) };
            if matches!(step, Step::Create { .. } | Step::Respawn { .. })
                && let Err(error) = catch_up(&running, &post).await
            {
                tracing::warn!(agent = %post.slug(), "can't read its records before it is started: {error:#}");
            }
            let before = running.supervisor.problem(post.slug());
            let done = running.supervisor.apply(&step, &post.setup()).await;
            running.first_tries.note(&step, done.is_ok());
            if let Err(error) = &done
                && before != Some(format!("{error:#}"))
            {
                tracing::error!(agent = %post.slug(), "{error:#}");
            }
            if !matches!(step, Step::Keep { .. } | Step::Refuse { .. }) && done.is_ok() {
                running.tell(Event::Launched(post.slug().clone()));
            }
            (step, done)
        }));
    }
}

/// Reads an agent's records to their end: a person may have begun another conversation that the store does not know yet, and
/// that one is to be resumed.
async fn catch_up(running: &Running, post: &AgentPost) -> anyhow::Result<()> {
    loop {
        let conversation = running.conversation(post.slug()).await?;
        let progress = running.mirror(post, &post.setup_of_process(), &conversation).await?;
        if progress.facts || progress.evidence {
            running.tell(Event::Progress(post.slug().clone()));
        }
        if !progress.backlog && running.conversation(post.slug()).await? == conversation {
            return Ok(());
        }
    }
}

/// A pass now, on somebody's word, waited for to its end.
pub async fn reconcile(running: &Arc<Running>, dry_run: bool) -> anyhow::Result<Vec<ReconciledStep>> {
    let survey = survey(running, Patience::None).await?;
    if dry_run {
        let line = |step: &Step| ReconciledStep { plan: step.to_string(), error: None, done: false };
        return Ok(survey.steps.iter().map(line).collect());
    }
    let mut tasks = JoinSet::new();
    start(running, survey, |task| {
        tasks.spawn(task);
    });
    let mut steps = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        let (step, done) = finished??;
        let place = running.roster().agents.iter().position(|post| post.slug() == step.agent());
        let error = done.as_ref().err().map(|error| format!("{error:#}"));
        steps.push((place, ReconciledStep { plan: step.to_string(), error, done: done.is_ok() }));
    }
    // What else a pass does, it does soon.
    running.supervise.notify_one();
    steps.sort_by_key(|(place, _)| *place);
    Ok(steps.into_iter().map(|(_, step)| step).collect())
}
