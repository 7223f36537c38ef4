//! How full the model's context is, and when a used-up limit ends, by the latest word of the records.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Blocked, ContextUse, Outcome};
use crate::runtime::Record;

/// What is remembered of an agent over its turns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gauge {
    used: u64,
    window: Option<u64>,
    limited_until: Option<Timestamp>,
    fill: u32,
    /// What was in the context when this fill began; none until the records tell.
    left: Option<u64>,
}

impl Gauge {
    /// Takes in what a record measures.
    pub fn read(&mut self, record: &Record) {
        match record {
            Record::Usage { usage, .. } => self.holds(usage.input.saturating_add(usage.output)),
            Record::Measured { used, window, limited_until } => {
                if used.is_some() || limited_until.is_some() {
                    self.limited_until = *limited_until;
                }
                if let Some(used) = used {
                    self.holds(*used);
                }
                self.window = window.or(self.window);
            }
            Record::Compacted { left } => self.emptied(left.unwrap_or_default()),
            _ => {}
        }
    }

    /// Another conversation began, or this one was compacted to `left` tokens.
    pub fn emptied(&mut self, left: u64) {
        self.used = left;
        self.fill = self.fill.saturating_add(1);
        self.left = Some(left).filter(|left| *left > 0);
    }

    fn holds(&mut self, used: u64) {
        self.used = used;
        // A summary is counted for the first time with the next answer where the compaction itself did not tell.
        if self.fill > 0 && self.left.is_none() {
            self.left = Some(used);
        }
    }

    /// How full the context is; none where the records don't tell.
    pub fn context(&self) -> Option<ContextUse> {
        let window = self.window.filter(|_| self.used > 0)?;
        Some(ContextUse { used: self.used, window, fill: self.fill, left: self.left.unwrap_or_default() })
    }

    /// An outcome with the end of the limit, which another line told.
    pub fn completed(&self, outcome: &Outcome) -> Outcome {
        let mut outcome = outcome.clone();
        if let Outcome::Failed { blocked: Some(Blocked::UsageLimit { until: until @ None }), .. } = &mut outcome {
            *until = self.limited_until;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Usage;

    #[test]
    fn the_context_is_as_full_as_the_latest_answer_says_and_empty_after_a_compaction() {
        let measured = |used, window| Record::Measured { used, window, limited_until: None };
        let usage = |input| Record::Usage { message: "m".into(), usage: Usage { input, output: 10 } };
        let mut gauge = Gauge::default();
        gauge.read(&usage(90));
        assert_eq!(gauge.context(), None, "nobody said how much fits");
        for (record, used, fill, left) in [
            (measured(None, Some(1000)), 100, 0, 0),
            (usage(790), 800, 0, 0),
            (usage(390), 400, 0, 0),
            (Record::Compacted { left: Some(30) }, 30, 1, 30),
            (usage(50), 60, 1, 30),
            (measured(Some(70), None), 70, 1, 30),
        ] {
            gauge.read(&record);
            assert_eq!(gauge.context(), Some(ContextUse { used, window: 1000, fill, left }), "{record:?}");
        }
        assert!((gauge.context().unwrap().share() - 0.07).abs() < 1e-9);
    }

    #[test]
    fn a_context_that_a_compaction_leaves_full_is_not_compacted_over_and_over() {
        let used = |used| Record::Measured { used: Some(used), window: Some(1000), limited_until: None };
        for left in [Some(300), None] {
            let mut gauge = Gauge::default();
            let full = |gauge: &Gauge| gauge.context().is_some_and(|context| context.is_worth_compacting(0.2));
            gauge.read(&used(310));
            assert!(full(&gauge), "the first fill");
            gauge.read(&Record::Compacted { left });
            assert!(!full(&gauge), "at once");
            gauge.read(&used(300));
            assert!(!full(&gauge), "told once more, {left:?}");
            gauge.read(&used(349));
            assert!(!full(&gauge), "hardly grown");
            gauge.read(&used(350));
            assert!(full(&gauge), "grown again");
        }
    }

    #[test]
    fn a_limit_ends_when_the_latest_word_says_so() {
        let limited = |until: Option<i64>| Record::Measured {
            used: Some(1),
            window: None,
            limited_until: until.map(|second| Timestamp::from_second(second).unwrap()),
        };
        let failed = |until: Option<i64>| Outcome::Failed {
            reason: "x".into(),
            blocked: Some(Blocked::UsageLimit { until: until.map(|second| Timestamp::from_second(second).unwrap()) }),
        };
        let mut gauge = Gauge::default();
        gauge.read(&limited(Some(5)));
        gauge.read(&Record::Measured { used: None, window: Some(1), limited_until: None });
        assert_eq!(gauge.completed(&failed(None)), failed(Some(5)));
        assert_eq!(gauge.completed(&failed(Some(9))), failed(Some(9)), "the turn's own word is better");
        assert_eq!(gauge.completed(&Outcome::Completed), Outcome::Completed);
        gauge.read(&limited(None));
        assert_eq!(gauge.completed(&failed(None)), failed(None));
    }
}
