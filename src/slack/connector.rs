//! Keeps a socket open: the next one is dialled before the last one is gone where Slack warns, and ever more slowly where
//! sockets fail, also where they open and close again at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::pace::{backoff, random};
use super::{Bridge, Timing, socket};

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
        /// How long it was live.
        lived: Duration,
    },
    /// It is gone.
    Ended {
        /// In which phase it ended.
        phase: Phase,
        /// How long it was in that phase.
        lived: Duration,
        /// Why.
        why: Ended,
    },
}

/// Keeps a socket open, for ever.
pub(super) async fn keep_connected(bridge: Arc<Bridge>) {
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut sockets = JoinSet::new();
    let mut line = Line::default();
    loop {
        if let Some(wait) = line.dial(&bridge.timing, random()) {
            sockets.spawn(socket::live(Arc::clone(&bridge), wait, sender.clone()));
        }
        let Some(told) = news.recv().await else { return };
        // Ended tasks are only kept in the set until somebody asks for them.
        while sockets.try_join_next().is_some() {}
        match &told {
            News::Up => bridge.board.socket(None),
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
    /// What Slack asked to wait, beyond our own wait.
    asked: Duration,
}

impl Line {
    /// The wait before a dial, where one is due.
    fn dial(&mut self, timing: &Timing, random: f64) -> Option<Duration> {
        if self.dialling || self.staying > 0 {
            return None;
        }
        self.dialling = true;
        let own = if self.failures == 0 { Duration::ZERO } else { backoff(self.failures, random) };
        let asked = std::mem::take(&mut self.asked).min(timing.refused.max(Duration::from_secs(600)));
        Some(own.max(asked))
    }

    fn hear(&mut self, news: &News, timing: &Timing) {
        match news {
            News::Up => {
                self.dialling = false;
                self.open += 1;
                self.staying += 1;
            }
            News::Leaving { lived } => {
                self.staying = self.staying.saturating_sub(1);
                self.judge(*lived >= timing.settled);
            }
            News::Ended { phase, lived, why } => {
                match phase {
                    Phase::Dialling => {
                        self.dialling = false;
                        self.judge(false);
                    }
                    Phase::Live => {
                        self.open = self.open.saturating_sub(1);
                        self.staying = self.staying.saturating_sub(1);
                        self.judge(*lived >= timing.settled);
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

    fn judge(&mut self, good: bool) {
        self.failures = if good { 0 } else { self.failures + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_secs(1);

    fn ended(phase: Phase, lived: Duration) -> News {
        News::Ended { phase, lived, why: Ended::Closed }
    }

    /// Tells the line some news and asks for the next dial.
    fn after(line: &mut Line, news: &[News]) -> Option<Duration> {
        let timing = Timing::default();
        news.iter().for_each(|news| line.hear(news, &timing));
        line.dial(&timing, 1.0)
    }

    #[test]
    fn a_warning_brings_the_next_socket_before_the_last_is_gone() {
        let mut line = Line::default();
        assert_eq!(after(&mut line, &[]), Some(Duration::ZERO));
        assert_eq!(after(&mut line, &[News::Up]), None);
        assert_eq!(after(&mut line, &[News::Leaving { lived: LONG }]), Some(Duration::ZERO));
        assert_eq!((line.open, line.staying), (1, 0), "the old one is still read");
        assert_eq!(after(&mut line, &[News::Up]), None);
        assert_eq!(after(&mut line, &[ended(Phase::Leaving, SHORT)]), None);
        assert_eq!((line.open, line.staying), (1, 1));
    }

    #[test]
    fn sockets_that_open_and_close_again_at_once_make_no_storm() {
        let mut line = Line::default();
        after(&mut line, &[]);
        let waits: Vec<_> = (0..6).map(|_| after(&mut line, &[News::Up, ended(Phase::Live, SHORT)]).unwrap()).collect();
        assert_eq!(waits.iter().map(Duration::as_secs_f64).sum::<f64>(), 31.5);
        assert_eq!(after(&mut line, &[News::Up, ended(Phase::Live, LONG)]), Some(Duration::ZERO));
    }

    #[test]
    fn what_slack_asks_to_wait_is_waited_and_a_refused_token_is_tried_slowly() {
        let mut line = Line::default();
        after(&mut line, &[]);
        let told = |why| News::Ended { phase: Phase::Dialling, lived: SHORT, why };
        let wait = Duration::from_secs(40);
        assert_eq!(after(&mut line, &[told(Ended::Told { wait, what: "w".into() })]), Some(wait));
        assert_eq!(after(&mut line, &[told(Ended::Refused("token".into()))]), Some(Timing::default().refused));
        assert_eq!(after(&mut line, &[told(Ended::Broken("net".into()))]), Some(Duration::from_secs(2)));
    }
}
