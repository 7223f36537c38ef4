//! The ceiling on an agent's memory. One that holds more gets no new prompts and is resumed once it is idle; its turn is
//! broken off only where it holds more than half as much again, because the whole box is at stake then.
//!
//! What is remembered here is gone with the daemon, which costs one look more.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::TICK;
use super::fleet::Running;
use super::post::AgentPost;
use super::restart::Urgency;
use crate::model::{Notice, Slug, size};
use crate::tmux::{ProcessMark, family, memory};

/// What its wish to start an agent anew is called.
const ABOUT: &str = "memory";

/// In so many looks in a row it must hold too much: a compiler's peak is over in a moment.
const LOOKS: u32 = 2;

/// After how long over its ceiling it is told once more.
const LONG: SignedDuration = SignedDuration::from_mins(30);

/// For how long after such a restart it is not started anew again: a ceiling below what its CLI needs must not become a
/// circle of restarts.
const PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// What is known of one agent's memory.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    /// The process that was looked at last.
    process: Option<ProcessMark>,
    /// In how many looks in a row it was over its ceiling, and in how many over half as much again.
    over: u32,
    far_over: u32,
    /// Since when it is to be started anew.
    wished: Option<Timestamp>,
    told_again: bool,
    forced: bool,
    /// When it was started anew last for its memory.
    restarted: Option<Timestamp>,
}

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing.
    Nothing,
    /// It needs no restart any more.
    Withdraw,
    /// It is to be started anew once it is idle.
    Drain,
    /// It still is, and people are told once more.
    TellAgain,
    /// It is to be started anew at once.
    Force,
}

impl Watch {
    /// Takes in that `process` holds `held` bytes.
    fn look(&mut self, process: ProcessMark, held: u64, ceiling: u64, now: Timestamp) -> Step {
        if self.process != Some(process) {
            let restarted = if self.wished.is_some() { Some(now) } else { self.restarted };
            *self = Self { process: Some(process), restarted, ..Self::default() };
        }
        let count = |looks: u32, over: bool| if over { looks.saturating_add(1) } else { 0 };
        self.over = count(self.over, held > ceiling);
        self.far_over = count(self.far_over, held > ceiling.saturating_add(ceiling / 2));
        if self.over == 0 {
            let wished = self.wished.take().is_some();
            (self.told_again, self.forced) = (false, false);
            return if wished { Step::Withdraw } else { Step::Nothing };
        }
        if self.restarted.is_some_and(|restarted| now.duration_since(restarted) < PAUSE) {
            return Step::Nothing;
        }
        if self.far_over >= LOOKS && !self.forced {
            self.forced = true;
            self.wished.get_or_insert(now);
            return Step::Force;
        }
        match self.wished {
            None if self.over >= LOOKS => {
                self.wished = Some(now);
                Step::Drain
            }
            Some(since) if !self.told_again && now.duration_since(since) >= LONG => {
                self.told_again = true;
                Step::TellAgain
            }
            _ => Step::Nothing,
        }
    }
}

/// Looks at the agents that have a ceiling until the daemon stops.
pub async fn run(running: Arc<Running>) {
    let mut stop = running.stop.subscribe();
    let mut ticks = tokio::time::interval(TICK);
    let mut watches = HashMap::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let mut done = Ok(());
        let roster = running.roster();
        watches.retain(|agent, _| roster.agent(agent).is_some());
        for post in &roster.agents {
            done = done.and(look_at(&running, post, &mut watches).await);
        }
        running.set_problem(ABOUT, done.err().map(|error| format!("{error:#}")));
    }
}

/// One look at an agent.
async fn look_at(running: &Running, post: &AgentPost, watches: &mut HashMap<Slug, Watch>) -> anyhow::Result<()> {
    let Some(ceiling) = post.setup().agent.memory else {
        if watches.remove(post.slug()).is_some() {
            wish(post, Step::Withdraw, (0, 0));
        }
        return Ok(());
    };
    let state = post.state().to_owned();
    // A family may be large, and the kernel adds up each one's memory while it is asked.
    let holds = move || ProcessMark::read_live(&state).map(|mark| (mark, memory(&family(mark.pid), ceiling)));
    let found = tokio::task::spawn_blocking(holds).await.context("a look at an agent's memory failed")?;
    let Some((process, held)) = found else { return Ok(()) };
    let watch = watches.entry(post.slug().clone()).or_default();
    let mut next = *watch;
    let step = next.look(process, held, ceiling, running.clock.now());
    // A step that could not be told is taken again at the next look.
    tell(running, post, process, step, (held, ceiling)).await?;
    *watch = next;
    wish(post, step, (held, ceiling));
    Ok(())
}

fn wish(post: &AgentPost, step: Step, (held, ceiling): (u64, u64)) {
    let why = || format!("it holds {} of memory, its ceiling is {}", size(held), size(ceiling));
    match step {
        Step::Nothing | Step::TellAgain => {}
        Step::Withdraw => {
            if post.restart.withdraw(ABOUT) {
                tracing::info!(agent = %post.slug(), "needs no restart for its memory any more");
                post.wake.notify_one();
            }
        }
        Step::Drain => post.want_restart(ABOUT, Urgency::WhenIdle, why()),
        Step::Force => post.want_restart(ABOUT, Urgency::Now, why()),
    }
}

/// Tells people, once for each process and kind of news.
async fn tell(
    running: &Running,
    post: &AgentPost,
    process: ProcessMark,
    step: Step,
    (held, ceiling): (u64, u64),
) -> anyhow::Result<()> {
    let agent = post.slug();
    let (held, ceiling) = (size(held), size(ceiling));
    let (kind, what) = match step {
        Step::Nothing | Step::Withdraw => return Ok(()),
        Step::Drain => (
            "drain",
            format!(
                "holds {held} of memory, its ceiling is {ceiling}: it gets no new prompts, and is resumed once it is idle"
            ),
        ),
        Step::TellAgain => (
            "again",
            format!(
                "has been above its memory ceiling of {ceiling} for half an hour, it holds {held} and is still at \
                 something: `fleet stop {agent}` interrupts it"
            ),
        ),
        Step::Force => (
            "force",
            format!(
                "holds {held} of memory, far more than its ceiling of {ceiling}: it was ended in the middle of what it \
                 did, and is resumed as the conversation it is"
            ),
        ),
    };
    tracing::warn!(%agent, "{what}");
    let notice = Notice::OverCeiling { agent: agent.clone(), what };
    running.store.tell_box(&format!("memory/{agent}/{process}/{kind}"), &notice, running.clock.now()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(start: u64) -> ProcessMark {
        ProcessMark { pid: 1, start }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn an_agent_over_its_ceiling_is_drained_and_told_again_and_broken_off_only_far_above_it() {
        let mut watch = Watch::default();
        let rows = [
            (0, 100, Step::Nothing),
            (10, 101, Step::Nothing),
            (20, 100, Step::Nothing),
            (30, 101, Step::Nothing),
            (40, 101, Step::Drain),
            (50, 150, Step::Nothing),
            (60, 151, Step::Nothing),
            (70, 101, Step::Nothing),
            (40 + 1799, 101, Step::Nothing),
            (40 + 1800, 101, Step::TellAgain),
            (1850, 151, Step::Nothing),
            (1860, 151, Step::Force),
            (1870, 151, Step::Nothing),
            (1880, 9, Step::Withdraw),
            (1890, 101, Step::Nothing),
            (1900, 101, Step::Drain),
        ];
        for (second, held, step) in rows {
            assert_eq!(watch.look(mark(1), held, 100, at(second)), step, "at {second}");
        }
    }

    #[test]
    fn a_ceiling_below_what_its_cli_needs_is_no_circle_of_restarts() {
        let mut watch = Watch::default();
        let mut forced = 0;
        let mut process = 1;
        for look in 0..360 {
            if watch.look(mark(process), 200, 100, at(look * 10)) == Step::Force {
                forced += 1;
                process += 1;
            }
        }
        assert!((5..=7).contains(&forced), "{forced} restarts in an hour");
    }

    #[test]
    fn an_agent_that_was_started_anew_for_another_reason_is_judged_as_a_new_one() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(mark(1), 101, 100, at(0)), Step::Nothing);
        assert_eq!(watch.look(mark(2), 101, 100, at(10)), Step::Nothing);
        assert_eq!(watch.look(mark(2), 101, 100, at(20)), Step::Drain);
    }
}
