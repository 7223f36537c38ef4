//! Boot, wiring, the event loop, shutdown.
//!
//! The loop only turns sources into events and events into wakes; every truth is read again by the pass that was woken, so
//! the daemon can be killed at any moment. What keeps one agent from running must never keep the daemon, or another agent,
//! from running; what makes everything pointless (no tmux, a damaged database, a broken agents.yaml) ends the start with
//! one clear error.

mod api;
mod ask;
mod boot;
mod bridge;
mod clock;
mod deaths;
mod disk;
mod event;
mod fleet;
pub mod gc;
mod idle;
mod memory;
mod news;
mod nudge;
mod offline;
mod orphan;
mod places;
mod policy;
mod post;
pub mod protocol;
mod pulse;
mod question;
mod queue;
mod reload;
mod restart;
mod retire;
mod secrets;
mod spare;
mod status;
mod watch;
mod worker;

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::tmux::Notice;

pub use api::LONGEST_PROMPT;
pub use boot::Options;
pub use clock::MovedClock;
use event::{Agents, Event, wakes};
use fleet::Running;
pub use secrets::of_process as held_by_process;
use watch::Watcher;

/// How often every pass looks again, whatever happened or didn't.
const TICK: Duration = Duration::from_secs(10);

/// How long tasks may take to end once the daemon stops.
const GRACE: Duration = Duration::from_secs(3);

/// Runs the daemon until a signal stops it. Sessions and agents go on without it.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let (sender, mut events) = mpsc::unbounded_channel();
    let environment = options.environment.clone();
    let booted = boot::boot(options, sender).await?;
    let running = booted.running;
    let listener = api::listen(&booted.socket)?;
    let told = Arc::new(OnceLock::new());
    told.set(Arc::downgrade(&running)).ok();
    let watcher = Arc::new(Watcher::new(told)?);

    let mut tasks = JoinSet::new();
    tasks.spawn(reload::run(Arc::clone(&running), watcher));
    tasks.spawn(worker::supervisor(Arc::clone(&running)));
    tasks.spawn(idle::run(Arc::clone(&running)));
    tasks.spawn(news::run(Arc::clone(&running)));
    tasks.spawn(memory::run(Arc::clone(&running)));
    tasks.spawn(nudge::run(Arc::clone(&running), booted.stamps));
    tasks.spawn(disk::run(Arc::clone(&running)));
    tasks.spawn(serve(listener, Arc::clone(&running)));
    // Alone may end before the daemon does: without tokens there is nothing to bridge.
    let bridge = tokio::spawn(bridge::run(Arc::clone(&running), environment));
    let bridge_end = bridge.abort_handle();
    let mut ticker = ticker(&running).await?;

    // Outside systemd there is nobody to tell.
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).ok();
    tracing::info!(agents = running.roster().agents.len(), "fleetd is up");
    let looped = tokio::select! {
        looped = event_loop(&running, &mut events) => looped,
        // Without it the fleet would look well and do nothing: an end that is seen, and mended by a restart, is better.
        Some(ended) = tasks.join_next() => Err(match ended {
            Ok(()) => anyhow::anyhow!("a task of fleetd ended before its time"),
            Err(error) => anyhow::Error::new(error).context("a task of fleetd failed"),
        }),
    };

    sd_notify::notify(&[sd_notify::NotifyState::Stopping]).ok();
    running.stop.send_replace(true);
    ticker.shutdown().await.ok();
    let ended = tokio::time::timeout(GRACE, async {
        while tasks.join_next().await.is_some() {}
        // It panicked, which was told when it did.
        bridge.await.ok();
    })
    .await;
    if ended.is_err() {
        tracing::debug!("some tasks did not end in time; the next start makes good what they left");
        tasks.abort_all();
        bridge_end.abort();
    }
    running.store.close().await;
    tracing::info!("fleetd has stopped; sessions and agents go on");
    looped
}

async fn serve(listener: tokio::net::UnixListener, running: Arc<Running>) {
    if let Err(error) = api::serve(listener, running).await {
        tracing::error!("{error:#}");
    }
}

/// tokio-cron-scheduler ticks in UTC intervals; what is due is never its judgement (it fixes offsets when a job is made).
async fn ticker(running: &Arc<Running>) -> anyhow::Result<JobScheduler> {
    let scheduler = JobScheduler::new().await.context("can't start the ticker")?;
    let weak = Arc::downgrade(running);
    let tick = Job::new_repeated(TICK, move |_, _| {
        if let Some(running) = weak.upgrade() {
            running.tell(Event::Tick);
        }
    });
    scheduler.add(tick.context("can't make the tick")?).await.context("can't start the ticker")?;
    scheduler.start().await.context("can't start the ticker")?;
    Ok(scheduler)
}

async fn event_loop(running: &Arc<Running>, events: &mut mpsc::UnboundedReceiver<Event>) -> anyhow::Result<()> {
    let mut notices = running.tmux.events();
    let mut interrupt = signal(SignalKind::interrupt()).context("can't hear signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't hear signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("can't hear signals")?;
    let terminal = std::io::stderr().is_terminal();
    loop {
        let event = tokio::select! {
            event = events.recv() => event.unwrap_or(Event::Stop),
            notice = notices.recv() => match notice {
                Ok(Notice::SessionsChanged | Notice::Connected | Notice::Disconnected) => Event::Sessions,
                Err(broadcast::error::RecvError::Lagged(_)) => Event::Sessions,
                Err(broadcast::error::RecvError::Closed) => Event::Stop,
                #[allow(unreachable_patterns, reason = "notices that carry nothing for us")]
                Ok(_) => continue,
            },
            _ = interrupt.recv() => Event::Stop,
            _ = terminate.recv() => Event::Stop,
            // A terminal that was closed ends what ran in it; anybody else who sends this means a changed agents.yaml.
            _ = hangup.recv() => if terminal && !std::io::stderr().is_terminal() { Event::Stop } else { Event::Config },
        };
        if event == Event::Stop {
            return Ok(());
        }
        if event == Event::Tick {
            feed_the_watchdog(running);
        }
        wake(running, &event);
    }
}

/// Fed from within the loop, and only while the passes end: whichever hangs starves the watchdog.
fn feed_the_watchdog(running: &Running) {
    let missing = running.pulse.missing();
    if missing.is_empty() {
        sd_notify::notify(&[sd_notify::NotifyState::Watchdog]).ok();
    }
    let told = (!missing.is_empty()).then(|| format!("fleetd hangs: no end of these passes is seen: {missing:?}"));
    running.set_problem("pulse", told);
}

fn wake(running: &Arc<Running>, event: &Event) {
    let wakes = wakes(event);
    if wakes.supervisor {
        running.supervise.notify_one();
    }
    if wakes.config {
        running.config.notify_one();
    }
    if let Some(agent) = wakes.resume {
        tokio::spawn(worker::resume(Arc::clone(running), agent));
    }
    if wakes.schedule {
        running.schedule.notify_one();
    }
    match wakes.agents {
        Agents::None => {}
        Agents::One(slug) => {
            running.roster().all().filter(|post| *post.slug() == slug).for_each(|post| post.wake.notify_one());
        }
        Agents::Due => {
            running.roster().all().filter(|post| post.rest.is_over()).for_each(|post| post.wake.notify_one())
        }
    }
    if wakes.readers {
        running.news.send_modify(|news| *news = news.wrapping_add(1));
        running.slack.notify_one();
    }
}
