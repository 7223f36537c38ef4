//! The App Home: the fleet as it is, for whoever looks, kept up to date for ten minutes after they opened it.
//!
//! Who looked is not stored: after a restart a home shows what it last showed until it is opened again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::orders::ask;
use super::people::visible;
use super::web::CallError;
use super::{Ask, Bridge, wording_fleet as wording};

/// For how long after it was opened a home follows the fleet.
const FOLLOWED: Duration = Duration::from_secs(600);

/// The most homes that are written in one round: far below Slack's 100 a minute.
const MOST: usize = 15;

/// A home that somebody opened.
#[derive(Debug)]
struct Home {
    opened: Instant,
    written: Instant,
    shown: Option<Vec<String>>,
}

/// Shows the fleet to whoever opens the home, for ever. `opened` gives the ids of people.
pub(super) async fn keep_shown(bridge: Arc<Bridge>, mut opened: mpsc::UnboundedReceiver<String>) {
    let round = bridge.timing.home;
    let mut homes: HashMap<String, Home> = HashMap::new();
    let mut not_before = Instant::now();
    loop {
        let next = (!homes.is_empty()).then(|| tokio::time::sleep(round));
        tokio::select! {
            user = opened.recv() => {
                let Some(user) = user else { return };
                open(&mut homes, user, round);
            }
            () = async { match next { Some(next) => next.await, None => std::future::pending().await } } => {}
        }
        while let Ok(user) = opened.try_recv() {
            open(&mut homes, user, round);
        }
        homes.retain(|_, home| home.opened.elapsed() < FOLLOWED);
        if Instant::now() < not_before {
            continue;
        }
        match write(&bridge, &mut homes, round).await {
            Ok(()) => {}
            Err(CallError::RateLimited { wait, .. }) => not_before = Instant::now() + wait,
            Err(error) => {
                tracing::warn!("the app's home can't be shown: {error}");
                not_before = Instant::now() + round;
            }
        }
    }
}

fn open(homes: &mut HashMap<String, Home>, user: String, round: Duration) {
    let now = Instant::now();
    match homes.entry(user) {
        // Opened again and again, it is written no more often than a home that stays open.
        Entry::Occupied(mut home) => home.get_mut().opened = now,
        Entry::Vacant(place) => {
            let written = now.checked_sub(round).unwrap_or(now);
            place.insert(Home { opened: now, written, shown: None });
        }
    }
}

/// Writes the homes that show something else than they should, the longest unwritten first.
async fn write(bridge: &Bridge, homes: &mut HashMap<String, Home>, round: Duration) -> Result<(), CallError> {
    let mut due: Vec<(&String, &mut Home)> =
        homes.iter_mut().filter(|(_, home)| home.shown.is_none() || home.written.elapsed() >= round).collect();
    if due.is_empty() {
        return Ok(());
    }
    due.sort_by_key(|(_, home)| home.written);
    let Some(Ok(view)) = ask(bridge, |answer| Ask::Look { answer }).await else { return Ok(()) };
    let directory = bridge.directory().await;
    let mut most = MOST;
    for (user, home) in due {
        let seen = match visible(bridge, user).await {
            Ok(Some(seen)) => seen,
            // Who they are can't be told now: the next round asks again.
            Ok(None) => continue,
            Err(error) => {
                bridge.board.store(Some(format!("{error:#}")));
                continue;
            }
        };
        let sections = if seen.is_empty() {
            vec![wording::nothing_to_see()]
        } else {
            let mut view = view.clone();
            view.narrow(&seen);
            // Not by way of the outbox, so what must not be said is taken out here.
            let sections = wording::fleet(&view, |slug| directory.channel_of(slug));
            sections.iter().map(|section| bridge.redaction.text(section)).collect()
        };
        if home.shown.as_ref() == Some(&sections) || most == 0 {
            continue;
        }
        most -= 1;
        bridge.web.publish_home(user, &sections).await?;
        (home.shown, home.written) = (Some(sections), Instant::now());
    }
    Ok(())
}
