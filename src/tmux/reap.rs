//! The ends of processes that tmux missed. tmux 3.3a calls a pane dead at its terminal's end, and may have looked for its
//! ended children a moment too early: then the status stays unknown until another child of the server's ends, for ever on a
//! quiet box. So one is made to end, once for each dead pane.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::command::Command;
use super::pane::{Death, Pane, PaneId};
use super::server::{Repeat, Server};

/// How often, and how far apart, the panes are looked at for what the ended child brought: it is there within milliseconds,
/// or never.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// The dead panes for which a child was made to end already, by their process.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashSet<(PaneId, u32)>>);

impl Asked {
    /// Whether there is a pane that nobody asked about yet; remembers those there are, and no others.
    fn take(&self, panes: &[Pane]) -> bool {
        let unknown = panes.iter().filter(|pane| pane.death == Some(Death::Unknown));
        let unknown: HashSet<_> = unknown.map(|pane| (pane.id.clone(), pane.pid)).collect();
        // Replaced as a whole, which a panic can't leave half done.
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = !unknown.is_subset(&asked);
        *asked = unknown;
        news
    }
}

impl Server {
    /// The panes as they are once tmux has looked for its ended children again, where one of `panes` needs that.
    pub(super) async fn reaped(&self, mut panes: Vec<Pane>) -> super::Result<Vec<Pane>> {
        if !self.inner.asked.take(&panes) {
            return Ok(panes);
        }
        let child = Command::new("run-shell").args(["-b", "true"]);
        if let Err(error) = self.call("run-shell", Repeat::Safe, vec![child]).await {
            // How a process ended is told to people and decides nothing.
            tracing::debug!(%error, "tmux could not be made to look for its ended children");
            return Ok(panes);
        }
        for _ in 0..LOOKS {
            sleep(PAUSE).await;
            panes = self.list().await?;
            if panes.iter().all(|pane| pane.death != Some(Death::Unknown)) {
                break;
            }
        }
        Ok(panes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pane(id: &str, pid: u32, death: Option<Death>) -> Pane {
        let dead = match death {
            None => "0\t\t",
            Some(Death::Unknown) => "1\t\t",
            Some(_) => "1\t7\t",
        };
        let line = format!("pane\t{id}\ta\t{pid}\t{dead}\t0\t0\t0\t1\t1\t0\t0\t200\t50\ttitle\tsh");
        super::super::pane::parse(&line, &[]).unwrap()
    }

    #[test]
    fn tmux_is_asked_once_for_each_end_that_it_missed_and_not_at_every_look() {
        let asked = Asked::default();
        let (lives, told) = (pane("%0", 1, None), pane("%1", 2, Some(Death::Exited(7))));
        let missed = |id, pid| pane(id, pid, Some(Death::Unknown));
        for (panes, news) in [
            (vec![lives.clone(), told.clone()], false),
            (vec![lives.clone(), missed("%2", 3)], true),
            (vec![lives.clone(), missed("%2", 3)], false),
            (vec![missed("%3", 4), missed("%2", 3)], true),
            (vec![missed("%2", 3)], false),
            (vec![missed("%2", 9)], true),
            (vec![told], false),
            (vec![missed("%2", 9)], true),
        ] {
            assert_eq!(asked.take(&panes), news, "{panes:?}");
        }
    }
}
