//! Shows below a thread that its agent is at work, where Slack offers that. It is an ornament: whatever goes wrong with it is
//! no problem of anybody's, and it must never hold a message up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Bridge;
use super::web::{CallError, Done};
use super::wording;
use crate::model::{Fact, FeedRow};

/// Slack takes the words away by itself after two minutes; they are not set anew before half of that, unless they change.
const LASTS: Duration = Duration::from_secs(60);

/// The most that is remembered: of a thread that was forgotten, the words are set once too often.
const MOST: usize = 1_000;

/// The most characters of the words.
const LONGEST: usize = 100;

/// What was set where.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    off: AtomicBool,
    shown: Mutex<Vec<(String, String, String, Timestamp)>>,
    not_before: Mutex<Option<Timestamp>>,
}

#[derive(Serialize)]
struct SetStatus<'a> {
    channel_id: &'a str,
    thread_ts: &'a str,
    status: &'a str,
}

impl Liveness {
    /// Whether it is worth a call: not while the same words stand there, nor while Slack asks to wait.
    fn due(&self, channel: &str, thread: &str, words: &str, now: Timestamp) -> bool {
        let until = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if self.off.load(Ordering::Relaxed) || until.is_some_and(|until| now < until) {
            return false;
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shown.iter().position(|(at, of, ..)| at == channel && of == thread);
        if let Some((_, _, before, since)) = known.and_then(|at| shown.get(at)) {
            let stands = now.duration_since(*since).unsigned_abs() < LASTS;
            if before == words && (stands || words.is_empty()) {
                return false;
            }
        }
        if let Some(at) = known {
            shown.remove(at);
        } else if words.is_empty() {
            return false;
        }
        if shown.len() >= MOST {
            shown.remove(0);
        }
        shown.push((channel.to_owned(), thread.to_owned(), words.to_owned(), now));
        true
    }

    /// What follows from Slack's answer.
    fn hear(&self, answer: &Result<(), CallError>, now: Timestamp) {
        match answer {
            Err(CallError::RateLimited { wait, .. }) => {
                let until = now.saturating_add(*wait).unwrap_or(Timestamp::MAX);
                *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
            }
            Err(CallError::Refused { code, .. })
                if !matches!(
                    code.as_str(),
                    "channel_not_found" | "invalid_thread_ts" | "is_archived" | "not_in_channel"
                ) =>
            {
                if !self.off.swap(true, Ordering::Relaxed) {
                    tracing::info!("slack does not show here that an agent works ({code}); nothing is lost by that");
                }
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Shows below the thread of a row's turn whether its agent is at work.
pub(super) async fn show(bridge: &Arc<Bridge>, row: &FeedRow) -> anyhow::Result<()> {
    let words = match row.fact {
        Fact::TurnStarted { .. } | Fact::UsedTool { .. } => wording::AT_WORK,
        Fact::Asked { .. } | Fact::TurnEnded { .. } => "",
        _ => return Ok(()),
    };
    let Some(turn) = &row.turn else { return Ok(()) };
    let asked = bridge.store.prompt(turn).await?.and_then(|prompt| prompt.place);
    let place = match asked {
        Some(place) => Some(place),
        None => bridge.store.place_of_turn(turn).await?,
    };
    if let Some(place) = place {
        bridge.set_liveness(&place.channel, &place.thread, words);
    }
    Ok(())
}

impl Bridge {
    /// Shows `words` below a thread, such as "is running the tests"; none takes them away. Never waits, never fails.
    pub(super) fn set_liveness(self: &Arc<Self>, channel: &str, thread: &str, words: &str) {
        let words: String = words.chars().take(LONGEST).collect();
        if !self.liveness.due(channel, thread, &words, self.clock.now()) {
            return;
        }
        let (bridge, channel, thread) = (Arc::clone(self), channel.to_owned(), thread.to_owned());
        tokio::spawn(async move {
            let request = SetStatus { channel_id: &channel, thread_ts: &thread, status: &words };
            let done = bridge.web.post::<_, Done>(&bridge.web.bot, "assistant.threads.setStatus", &request).await;
            bridge.liveness.hear(&done.map(|_| ()), bridge.clock.now());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn words_are_set_when_they_change_or_would_vanish_and_taken_away_once() {
        let liveness = Liveness::default();
        for (second, words, due) in [
            (0, "", false),
            (0, "reads", true),
            (5, "reads", false),
            (6, "tests", true),
            (30, "tests", false),
            (66, "tests", true),
            (67, "", true),
            (68, "", false),
        ] {
            assert_eq!(liveness.due("C1", "1.0", words, at(second)), due, "{second} {words}");
        }
        assert!(liveness.due("C1", "2.0", "reads", at(68)), "another thread");
    }

    #[test]
    fn an_app_without_the_ornament_is_never_asked_again_and_one_thread_s_trouble_is_its_own() {
        let method = "assistant.threads.setStatus";
        let refused = |code: &str| Err(CallError::Refused { method, code: code.into() });
        for (answer, due) in [
            (Ok(()), true),
            (refused("invalid_thread_ts"), true),
            (Err(CallError::Lost { method, what: "w".into() }), true),
            (Err(CallError::RateLimited { method, wait: Duration::from_secs(9) }), false),
            (refused("missing_scope"), false),
            (refused("unknown_method"), false),
            (refused("not_allowed_token_type_for_this"), false),
        ] {
            let liveness = Liveness::default();
            liveness.hear(&answer, at(0));
            assert_eq!(liveness.due("C1", "1.0", "reads", at(1)), due, "{answer:?}");
        }
        let liveness = Liveness::default();
        liveness.hear(&Err(CallError::RateLimited { method, wait: Duration::from_secs(9) }), at(0));
        assert!(liveness.due("C1", "1.0", "reads", at(9)));
    }
}
