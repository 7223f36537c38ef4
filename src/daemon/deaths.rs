//! Told by the kernel, not asked for: one watch on the process of each live pane of ours. A death that is missed, or told
//! before tmux has seen it, is made good by the next pass.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::event::Event;
use crate::model::Slug;
use crate::tmux::wait_for_exit;

/// The watches, by agent.
#[derive(Default)]
pub struct Deaths(Mutex<HashMap<Slug, Watch>>);

/// The watch on one process. It stays when that process has ended, so that no pid is watched twice.
struct Watch {
    pid: u32,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Deaths {
    /// Watches these processes and no others, and tells `events` of each that ends.
    pub fn watch(&self, live: HashMap<Slug, u32>, events: &mpsc::UnboundedSender<Event>) {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|agent, watch| live.get(agent) == Some(&watch.pid));
        for (agent, pid) in live {
            watches
                .entry(agent.clone())
                .or_insert_with(|| Watch { pid, task: tokio::spawn(told(agent, pid, events.clone())) });
        }
    }
}

async fn told(agent: Slug, pid: u32, events: mpsc::UnboundedSender<Event>) {
    match wait_for_exit(pid).await {
        // After the loop has ended, nobody needs to hear it.
        Ok(()) => drop(events.send(Event::Died(agent))),
        Err(error) => tracing::debug!(%agent, pid, %error, "can't watch its process; the next tick sees its end"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn an_agent_s_death_is_told_at_once_and_once_and_none_of_an_agent_that_is_watched_no_more() {
        let (events, mut told) = mpsc::unbounded_channel();
        let deaths = Deaths::default();
        let slug = |name: &str| name.parse::<Slug>().unwrap();
        let mut children: Vec<_> = (0..2).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
        let all = HashMap::from([(slug("ann"), children[0].id()), (slug("bob"), children[1].id())]);
        deaths.watch(all.clone(), &events);
        children[0].kill().unwrap();
        assert_eq!(told.recv().await, Some(Event::Died(slug("ann"))));
        deaths.watch(all, &events);
        deaths.watch(HashMap::new(), &events);
        deaths.watch(HashMap::from([(slug("cid"), children[1].id())]), &events);
        children[1].kill().unwrap();
        assert_eq!(told.recv().await, Some(Event::Died(slug("cid"))));
        assert!(told.try_recv().is_err(), "told twice");
        for mut child in children {
            child.wait().unwrap();
        }
    }
}
