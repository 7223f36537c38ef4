//! What to do next about one prompt: a pure function over what is known, so that every state meets every sight in a table.
//!
//! The rule behind it: a prompt is typed again only on proof that it did not arrive. Whatever can't be told is uncertain,
//! is shown to people, and is set right only by the agent's own record.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::guard::Hold;
use super::order::Manner;
use crate::model::{Evidence, PromptState};
use crate::tmux::LONGEST_LINE;

/// How often a prompt is typed at most.
pub const MOST_ATTEMPTS: u32 = 5;

/// After how long without a trace Enter is pressed again on our own text.
const ENTER_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// After how long without a trace the prompt is judged by what the screen shows. The agents' own records were never seen
/// later than half a second after Enter.
const JUDGE: SignedDuration = SignedDuration::from_secs(10);

/// After how long what holds a prompt back becomes a step of its life. A shorter hold is the usual end of a turn or of a start.
const DEFER: SignedDuration = SignedDuration::from_secs(1);

/// After how long another reason becomes a step: what changes every second (a dialog with a clock in it, an agent that is busy
/// again and again) must not fill the trace.
const DEFER_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// After how long a prompt that a busy agent shows and has not taken is said to wait in its queue.
const HELD: SignedDuration = SignedDuration::from_secs(1);

/// After how long an undecidable prompt is called uncertain.
const GIVE_UP: SignedDuration = SignedDuration::from_secs(30);

/// The same for an agent that shows no input box: it may have been down, and be on its way up.
const STARTS: SignedDuration = SignedDuration::from_mins(10);

/// How soon evidence is looked for again, and how rarely at last: a record that grows wakes a pass by itself.
const EVIDENCE_LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// What the input box holds, from the point of view of one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InBox {
    /// Nothing.
    Nothing,
    /// Exactly what was typed for this prompt.
    Ours,
    /// Something else.
    Other,
    /// There is no box.
    NoBox,
}

/// What is known about a prompt besides its state.
#[derive(Debug, Clone)]
pub struct Known {
    /// What holds a prompt back now; nothing where it may be typed. Typing itself asks the guard once more.
    pub hold: Option<Hold>,
    /// How it may go into the pane.
    pub manner: Manner,
    /// Whether a turn runs.
    pub busy: bool,
    /// Whether Escape was pressed for it lately, so that the turn that still shows is about to end.
    pub interrupted: bool,
    /// Whether the agent's process was started anew after its record said that the prompt waits in its own queue.
    pub queue_lost: bool,
    /// Whether it is a command of the CLI, typed without a header: no screen shows whose it was.
    pub raw: bool,
    /// What the box holds.
    pub in_box: InBox,
    /// Whether the prompt's header stands on the screen.
    pub on_screen: bool,
    /// Whether the agent keeps a record of its own; without one the screen is the evidence.
    pub keeps_record: bool,
    /// What the agent's record says: the exact text, or a text with this prompt's header that differs.
    pub record: Option<(Evidence, bool)>,
    /// The bytes of its longest line, where the agent's terminal would cut that off.
    pub line_too_long: Option<usize>,
    /// Whether the prompt's time is over.
    pub expired: bool,
    /// Whether the record says that the turn of this prompt ended.
    pub turn_ended: bool,
    /// Whether the agent has stood idle long enough for a turn without an end in the record to be over.
    pub long_idle: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait(Wait),
    /// Type it, for the `attempt`-th time.
    Type {
        /// 1-based.
        attempt: u32,
        /// Whether it goes into the turn that runs.
        steering: bool,
    },
    /// Press Enter on it; it stands in the box.
    PressEnter {
        /// 1-based, of what was tried to give it to the agent.
        attempt: u32,
        /// Whether it goes into a turn that runs.
        steering: bool,
    },
    /// Break off the turn that runs.
    Interrupt,
    /// Move it on.
    Become {
        /// Where to.
        state: PromptState,
        /// Why, for people.
        cause: String,
    },
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The pane can't take it now.
    Held(Hold),
    /// The agent's record has not shown it yet.
    Evidence,
    /// Its turn runs.
    TurnEnd,
    /// It is settled, or only the record can settle it.
    Nothing,
}

/// Decides.
pub fn plan(state: &PromptState, since: Timestamp, known: Known, now: Timestamp) -> Step {
    let age = now.duration_since(since);
    match (state, known.record) {
        (PromptState::Confirmed { by: Evidence::Queue }, record) => in_its_queue(record, &known),
        (PromptState::Confirmed { by }, _) if known.turn_ended || known.long_idle => {
            let cause = match (known.turn_ended, known.keeps_record) {
                (true, _) => "the turn ended",
                (false, true) => "the agent is idle; its record shows no end of the turn",
                (false, false) => "the agent waits again; it keeps no record, its answer was read off its screen",
            };
            become_state(PromptState::Done { by: *by }, cause)
        }
        (PromptState::Confirmed { .. }, _) => Step::Wait(Wait::TurnEnd),
        (PromptState::Done { .. } | PromptState::Failed { .. }, _) => Step::Wait(Wait::Nothing),
        (PromptState::Cancelled { .. } | PromptState::Expired, _) => Step::Wait(Wait::Nothing),
        (_, Some((by, true))) => become_state(PromptState::Confirmed { by }, &seen_in(by)),
        (PromptState::Uncertain { .. }, _) => Step::Wait(Wait::Nothing),
        (_, Some((Evidence::Queue, false))) => uncertain(GIVEN_BACK),
        (_, Some((by, false))) => {
            uncertain(&format!("the agent's {by} holds a text with its header that differs from what was typed"))
        }
        (PromptState::Queued | PromptState::Deferred { .. }, None) => waiting(state, age, known),
        (PromptState::Typing { attempt, steering }, None) => {
            Way { attempt: *attempt, steering: *steering, age }.typing(known)
        }
        (PromptState::Submitted { attempt, steering }, None) => {
            Way { attempt: *attempt, steering: *steering, age }.submitted(known)
        }
    }
}

fn seen_in(by: Evidence) -> String {
    match by {
        Evidence::Queue => "seen in the agent's own queue".to_owned(),
        by => format!("seen in the agent's {by}"),
    }
}

/// Whoever pulled it out of the agent's queue has it in the input box: what becomes of it there is theirs.
const GIVEN_BACK: &str = "somebody took it back out of the agent's own queue, into the input box";

/// The agent said that it will take it, and has not taken it yet. Its queue dies with its process.
fn in_its_queue(record: Option<(Evidence, bool)>, known: &Known) -> Step {
    let again = |cause: &str| become_state(PromptState::Submitted { attempt: 1, steering: true }, cause);
    match record {
        Some((by, true)) if by != Evidence::Queue => become_state(PromptState::Confirmed { by }, &seen_in(by)),
        Some((Evidence::Queue, false)) => uncertain(GIVEN_BACK),
        _ if known.queue_lost => again("the agent was started anew before it took it out of its queue"),
        // A record of its queue would tell of its way out of it; what stands in the box is another text of the same size then.
        _ if known.long_idle || record.is_none() && known.in_box == InBox::Ours => {
            again("the agent did not take it out of its queue")
        }
        _ => Step::Wait(Wait::TurnEnd),
    }
}

/// Nothing of it was typed.
fn waiting(state: &PromptState, age: SignedDuration, known: Known) -> Step {
    if known.expired {
        return become_state(PromptState::Expired, "its time is over");
    }
    match (known.hold, known.line_too_long, known.manner) {
        (None, None, manner) => Step::Type { attempt: 1, steering: manner == Manner::Steering && known.busy },
        (None, Some(bytes), _) => too_long(bytes),
        (Some(Hold::Busy | Hold::Dialog(_)), _, Manner::Interrupting) if !known.interrupted => Step::Interrupt,
        (Some(hold), _, _) => {
            let reason = hold.to_string();
            let (told, patience) = match state {
                PromptState::Deferred { reason: known } => (*known == reason, DEFER_AGAIN),
                _ => (false, DEFER),
            };
            if told || age < patience {
                return Step::Wait(Wait::Held(hold));
            }
            become_state(PromptState::Deferred { reason: reason.clone() }, &reason)
        }
    }
}

/// How far a prompt is on its way into the agent.
#[derive(Debug, Clone, Copy)]
struct Way {
    attempt: u32,
    steering: bool,
    age: SignedDuration,
}

impl Way {
    /// Keystrokes were begun and their end was not stored: fleetd died, or the pane changed under it.
    fn typing(self, known: Known) -> Step {
        match known.in_box {
            InBox::Ours => self.press_enter(self.attempt),
            InBox::Nothing if self.age >= self.grown(JUDGE) => self.absent(known),
            InBox::Other | InBox::NoBox if self.is_hopeless(&known) => uncertain(&lost_sight(known.hold.as_ref())),
            InBox::Nothing | InBox::Other | InBox::NoBox => Step::Wait(Wait::Evidence),
        }
    }

    fn submitted(self, known: Known) -> Step {
        // What stands in the box was not taken, whoever's it is: a header seen there proves nothing.
        let in_box = matches!(known.in_box, InBox::Ours | InBox::Other);
        if !known.keeps_record && known.on_screen && !in_box {
            return become_state(PromptState::Confirmed { by: Evidence::Screen }, "its header stands on the screen");
        }
        match known.in_box {
            InBox::Ours if self.age >= self.grown(ENTER_AGAIN) && self.attempt >= MOST_ATTEMPTS => {
                uncertain("its text stands in the agent's input box, and Enter does not submit it")
            }
            InBox::Ours if self.age >= self.grown(ENTER_AGAIN) => self.press_enter(self.attempt + 1),
            // Codex takes what came while a tool runs once that has ended, and until then only shows it.
            InBox::Nothing
                if self.steering && known.on_screen && known.hold == Some(Hold::Busy) && self.age >= HELD =>
            {
                become_state(
                    PromptState::Confirmed { by: Evidence::Queue },
                    "its screen shows it, waiting for the turn",
                )
            }
            // No header on the screen could tell that it was run after all.
            InBox::Nothing if known.raw && known.hold.is_none() && self.age >= GIVE_UP => {
                uncertain("it was entered, and the agent's record does not show that it was run")
            }
            InBox::Nothing if known.raw && known.hold.is_none() => Step::Wait(Wait::Evidence),
            InBox::Nothing if self.age >= self.grown(JUDGE) => self.absent(known),
            InBox::Other | InBox::NoBox if self.is_hopeless(&known) => uncertain(&lost_sight(known.hold.as_ref())),
            _ => Step::Wait(Wait::Evidence),
        }
    }

    /// The box is empty and no record holds the prompt. Typed again only if the agent keeps a record, the screen knows nothing
    /// of it either and the agent is idle: a screen that doesn't show it proves nothing.
    fn absent(self, known: Known) -> Step {
        let late = self.age >= GIVE_UP.max(self.grown(JUDGE));
        match &known.hold {
            Some(Hold::NoSession | Hold::Dead) if !known.expired => Step::Wait(Wait::Evidence),
            // A busy agent may hold it back in its own queue; its record will tell when the turn is over.
            Some(Hold::Busy) if known.keeps_record => Step::Wait(Wait::Evidence),
            _ if !known.keeps_record && late => uncertain(
                "the agent keeps no record, and its screen does not tell whether the whole prompt was entered",
            ),
            _ if !known.keeps_record => Step::Wait(Wait::Evidence),
            _ if known.on_screen && late => {
                uncertain("its header stands on the agent's screen, but the agent's record does not show it")
            }
            _ if known.on_screen => Step::Wait(Wait::Evidence),
            None if self.attempt >= MOST_ATTEMPTS => {
                let tries = self.attempt;
                let reason =
                    format!("tried {tries} times, and each time neither the agent's record nor its screen showed it");
                become_state(PromptState::Failed { reason: reason.clone() }, &reason)
            }
            None => Step::Type { attempt: self.attempt + 1, steering: self.steering && known.busy },
            Some(hold) if late && self.is_hopeless(&known) => uncertain(&lost_sight(Some(hold))),
            Some(_) => Step::Wait(Wait::Evidence),
        }
    }

    /// Whether waiting longer shows nothing more. An agent that is gone is started again, and only then its box and its record
    /// tell what became of the prompt: until the prompt's time is over that is worth waiting for.
    fn is_hopeless(self, known: &Known) -> bool {
        match known.hold {
            Some(Hold::NoSession | Hold::Dead) => known.expired,
            Some(Hold::NotReady) => known.expired || self.age >= STARTS,
            _ => self.age >= GIVE_UP,
        }
    }

    fn press_enter(self, attempt: u32) -> Step {
        Step::PressEnter { attempt, steering: self.steering }
    }

    /// Each attempt is given twice the time of the one before.
    fn grown(self, first: SignedDuration) -> SignedDuration {
        let doublings = self.attempt.saturating_sub(1).min(MOST_ATTEMPTS);
        first.saturating_mul(1 << doublings)
    }
}

/// The agent's terminal would hand it over in part.
fn too_long(bytes: usize) -> Step {
    let reason = format!(
        "a line of it has {bytes} bytes, and this agent reads its terminal line by line, where {LONGEST_LINE} are the most: \
         nothing was typed; break it into shorter lines"
    );
    become_state(PromptState::Failed { reason: reason.clone() }, &reason)
}

fn lost_sight(hold: Option<&Hold>) -> String {
    match hold {
        None => "it was typed, and no record of the agent shows it".to_owned(),
        Some(hold) => format!("it was typed, no record of the agent shows it, and now {hold}"),
    }
}

fn uncertain(seen: &str) -> Step {
    become_state(PromptState::Uncertain { seen: seen.to_owned() }, seen)
}

fn become_state(state: PromptState, cause: &str) -> Step {
    Step::Become { state, cause: cause.to_owned() }
}

/// How soon a pass is worth repeating without any news. News (a record that grew, a new prompt) comes by itself; this is
/// for what only a look can tell, and for a watch that missed something.
pub fn look_again(wait: &Wait, waited: SignedDuration) -> Option<Duration> {
    let seconds = waited.as_secs();
    match wait {
        // Where it comes, it comes soon; and a look costs the machine something that the agent needs to answer.
        Wait::Evidence if seconds < 15 => {
            let waited = Duration::try_from(waited).unwrap_or_default();
            Some((waited / 4).clamp(EVIDENCE_LOOK.0, EVIDENCE_LOOK.1))
        }
        Wait::Evidence => Some(Duration::from_secs(1)),
        Wait::Held(Hold::NoSession | Hold::Dead | Hold::Held(_) | Hold::Blocked(_)) => None,
        Wait::Held(_) if seconds < 10 => Some(Duration::from_millis(200)),
        Wait::Held(_) => Some(Duration::from_secs(1)),
        Wait::TurnEnd => Some(Duration::from_secs(5)),
        Wait::Nothing => None,
    }
}

#[cfg(test)]
mod tests;
