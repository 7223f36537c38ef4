//! Keeps two sockets open, so that the end of one is no gap: the next one is dialled before the last one is gone where Slack
//! warns, and ever more slowly where sockets fail, also where they open and close again at once. Never more than four at once,
//! of the ten that Slack gives an app.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::pace::{backoff, random};
use super::{Bridge, Timing, socket};

/// How many sockets are to stay open.
const WANTED: usize = 2;

/// The most at once, those that are about to be closed among them.
const MOST: usize = 4;

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not said hello.
    Dialling,
    /// Events come on it.
    Live,
    /// It will be closed soon; events still come on it.
    Leaving,
}

/// Why a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Slack closed it.
    Closed,
    /// It failed.
    Broken(String),
    /// Slack asks to wait.
    Told {
        /// For how long.
        wait: Duration,
        /// What it said.
        what: String,
    },
    /// Slack will not open one until a person changes something.
    Refused(String),
}

/// What a socket tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It is live.
    Up,
    /// It will be closed soon.
    Leaving {
        /// Which run of failures it was dialled in.
        run: u64,
        /// How long it was live.
        lived: Duration,
    },
    /// It is gone.
    Ended {
        /// Which run of failures it was dialled in.
        run: u64,
        /// In which phase it ended.
        phase: Phase,
        /// How long it was in that phase.
        lived: Duration,
        /// Why.
        why: Ended,
    },
}

/// When to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dial {
    /// How long to wait before.
    pub(super) wait: Duration,
    /// The run of failures so far, by which its own end is judged.
    pub(super) run: u64,
}

/// Keeps sockets open, for ever.
pub(super) async fn keep_connected(bridge: Arc<Bridge>) {
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut sockets = JoinSet::new();
    let mut line = Line::default();
    loop {
        if let Some(dial) = line.dial(&bridge.timing, random()) {
            sockets.spawn(socket::live(Arc::clone(&bridge), dial, sender.clone()));
        }
        let Some(told) = news.recv().await else { return };
        // Ended tasks are only kept in the set until somebody asks for them.
        while sockets.try_join_next().is_some() {}
        match &told {
            News::Up => {
                bridge.board.socket(None);
                // Whatever was said since a socket was lost is read.
                bridge.reconnected.notify_one();
            }
            News::Ended { why: Ended::Broken(what) | Ended::Told { what, .. } | Ended::Refused(what), .. } => {
                if line.open <= 1 {
                    bridge.board.socket(Some(what.clone()));
                }
            }
            News::Leaving { .. } | News::Ended { why: Ended::Closed, .. } => {}
        }
        line.hear(&told, &bridge.timing);
        bridge.board.connected(line.open > 0);
    }
}

/// What is known of the sockets, and when the next one is due.
#[derive(Debug, Default)]
struct Line {
    /// Sockets on which events come.
    open: usize,
    /// Those of them that stay.
    staying: usize,
    dialling: bool,
    /// How many sockets in a row were no good.
    failures: u32,
    /// Rises with each failure that counts: sockets that fall together are one failure, not several.
    run: u64,
    /// What Slack asked to wait, beyond our own wait.
    asked: Duration,
}

impl Line {
    /// The next dial, where one is due.
    fn dial(&mut self, timing: &Timing, random: f64) -> Option<Dial> {
        if self.dialling || self.staying >= WANTED || self.open >= MOST {
            return None;
        }
        self.dialling = true;
        let own = if self.failures == 0 { Duration::ZERO } else { backoff(self.failures, random) };
        let asked = std::mem::take(&mut self.asked).min(timing.refused.max(Duration::from_secs(600)));
        Some(Dial { wait: own.max(asked), run: self.run })
    }

    fn hear(&mut self, news: &News, timing: &Timing) {
        match news {
            News::Up => {
                self.dialling = false;
                self.open += 1;
                self.staying += 1;
            }
            News::Leaving { run, lived } => {
                self.staying = self.staying.saturating_sub(1);
                self.judge(*run, *lived >= timing.settled);
            }
            News::Ended { run, phase, lived, why } => {
                match phase {
                    Phase::Dialling => {
                        self.dialling = false;
                        self.judge(*run, false);
                    }
                    Phase::Live => {
                        self.open = self.open.saturating_sub(1);
                        self.staying = self.staying.saturating_sub(1);
                        self.judge(*run, *lived >= timing.settled);
                    }
                    Phase::Leaving => self.open = self.open.saturating_sub(1),
                }
                match why {
                    Ended::Told { wait, .. } => self.asked = *wait,
                    Ended::Refused(_) => self.asked = timing.refused,
                    Ended::Closed | Ended::Broken(_) => {}
                }
            }
        }
    }

    fn judge(&mut self, run: u64, good: bool) {
        if good {
            self.failures = 0;
        } else if run == self.run {
            self.failures += 1;
            self.run += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_secs(1);

    fn ended(line: &Line, phase: Phase, lived: Duration) -> News {
        News::Ended { run: line.run, phase, lived, why: Ended::Closed }
    }

    /// Tells the line some news and asks for the wait before the next dial.
    fn after(line: &mut Line, news: &[News]) -> Option<Duration> {
        let timing = Timing::default();
        news.iter().for_each(|news| line.hear(news, &timing));
        line.dial(&timing, 1.0).map(|dial| dial.wait)
    }

    #[test]
    fn two_sockets_are_kept_and_a_warning_brings_the_next_before_the_last_is_gone() {
        let mut line = Line::default();
        assert_eq!(after(&mut line, &[]), Some(Duration::ZERO));
        assert_eq!(after(&mut line, &[News::Up]), Some(Duration::ZERO), "the second");
        assert_eq!(after(&mut line, &[News::Up]), None);
        let leaving = || News::Leaving { run: 0, lived: LONG };
        assert_eq!(after(&mut line, &[leaving(), leaving()]), Some(Duration::ZERO));
        assert_eq!((line.open, line.staying), (2, 0), "the old ones are still read");
        assert_eq!(after(&mut line, &[News::Up]), Some(Duration::ZERO));
        assert_eq!(after(&mut line, &[News::Up, leaving()]), None, "never a fifth");
        let gone = ended(&line, Phase::Leaving, SHORT);
        assert_eq!(after(&mut line, &[gone]), Some(Duration::ZERO));
    }

    #[test]
    fn sockets_that_open_and_close_again_at_once_make_no_storm() {
        let mut line = Line::default();
        after(&mut line, &[]);
        let waits: Vec<_> = (0..6)
            .map(|_| {
                let ended = ended(&line, Phase::Live, SHORT);
                after(&mut line, &[News::Up, ended]).unwrap()
            })
            .collect();
        assert_eq!(waits.iter().map(Duration::as_secs_f64).sum::<f64>(), 31.5);
        let good = ended(&line, Phase::Live, LONG);
        assert_eq!(after(&mut line, &[News::Up, good]), Some(Duration::ZERO));
    }

    #[test]
    fn sockets_that_fall_together_are_one_failure() {
        let mut line = Line::default();
        after(&mut line, &[]);
        after(&mut line, &[News::Up]);
        let both = [ended(&line, Phase::Live, SHORT), ended(&line, Phase::Live, SHORT)];
        assert_eq!(after(&mut line, &[News::Up, both[0].clone(), both[1].clone()]), Some(Duration::from_millis(500)));
    }

    #[test]
    fn what_slack_asks_to_wait_is_waited_and_a_refused_token_is_tried_slowly() {
        let mut line = Line::default();
        after(&mut line, &[]);
        let told = |line: &Line, why| News::Ended { run: line.run, phase: Phase::Dialling, lived: SHORT, why };
        let wait = Duration::from_secs(40);
        let limited = told(&line, Ended::Told { wait, what: "w".into() });
        assert_eq!(after(&mut line, &[limited]), Some(wait));
        let refused = told(&line, Ended::Refused("token".into()));
        assert_eq!(after(&mut line, &[refused]), Some(Timing::default().refused));
        let broken = told(&line, Ended::Broken("net".into()));
        assert_eq!(after(&mut line, &[broken]), Some(Duration::from_secs(2)));
    }
}
