//! When each agent's daily prompt is due, and the stamps that say it was given.
//!
//! The judgement is pure: instants and stamps in, steps out. What must never happen: two nudges for one agent and one local
//! day; a nudge replayed hours later because the machine slept; a day without one while the daemon was awake; a stamp for a
//! prompt that nobody saw arrive.

mod due;
mod idle;
mod stamps;

pub use due::{Candidate, LATEST, Pass, Settled, Step, due, next, soon};
pub use idle::{AHEAD, Announced, Facts, NEAR, Verdict, judge};
pub use stamps::Stamps;
