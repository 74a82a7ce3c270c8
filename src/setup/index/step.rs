//! What to do with one thing: it depends on what is wanted, what is there, and what was written last. No I/O.
//!
//! ```text
//!  there │ like wanted │ like written last │ step
//!  ──────┼─────────────┼───────────────────┼───────────────────────────────────
//!  no    │             │                   │ Create; Gone if it was written once and is not needed by others
//!  yes   │ yes         │                   │ Fits
//!  yes   │ no          │ yes               │ Change: the configuration is what changed
//!  yes   │ no          │ no, or unknown    │ Keep: somebody changed it by hand
//! ```
//!
//! Invariant: what somebody changed or deleted by hand stays as it is, unless `force`.

use super::ledger::Note;
use crate::setup::diff::differences;
use serde_json::Value;

/// What to do with a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: all that is wanted is there.
    Fits,
    /// It is missing.
    Create,
    /// It differs from what is wanted in these lines.
    Change(Vec<String>),
    /// It differs in these lines, by hand.
    Keep(Vec<String>),
    /// It was deleted by hand.
    Gone,
}

/// The three states of a thing.
#[derive(Debug, Clone, Copy)]
pub struct States<'a> {
    /// By the configuration.
    pub wanted: &'a Value,
    /// In the cluster.
    pub found: Option<&'a Value>,
    /// By the last setup.
    pub written: Option<&'a Note>,
}

impl States<'_> {
    /// The step. `vital`: the sink cannot work without it, so it is created again.
    pub fn step(self, vital: bool, force: bool) -> Step {
        let Some(found) = self.found else {
            // What was only about to be written was not deleted by anybody.
            let made = self.written.is_some_and(|note| !note.pending);
            return if made && !vital && !force { Step::Gone } else { Step::Create };
        };
        let lines = differences(self.wanted, found);
        if lines.is_empty() {
            Step::Fits
        } else if force || self.untouched(found) {
            Step::Change(lines)
        } else {
            Step::Keep(lines)
        }
    }

    /// Whether a thing that is there is as it was written.
    pub fn untouched(self, found: &Value) -> bool {
        self.written.is_some_and(|note| note.pending || differences(&note.body, found).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hands_are_respected() {
        let (a, b, c) = (json!({"x": 1}), json!({"x": 2}), json!({"x": 3, "more": 4}));
        let lines = |from: u32| vec![format!("x: {from} → 1")];
        for (found, written, vital, force, want) in [
            (None, None, false, false, Step::Create),
            (None, Some(&a), false, false, Step::Gone),
            (None, Some(&a), true, false, Step::Create),
            (None, Some(&a), false, true, Step::Create),
            (Some(&a), None, false, false, Step::Fits),
            (Some(&a), Some(&b), false, false, Step::Fits),
            (Some(&b), Some(&b), false, false, Step::Change(lines(2))),
            (Some(&c), Some(&json!({"x": 3})), false, false, Step::Change(lines(3))),
            (Some(&c), Some(&b), false, false, Step::Keep(lines(3))),
            (Some(&c), Some(&a), true, false, Step::Keep(lines(3))),
            (Some(&c), None, false, false, Step::Keep(lines(3))),
            (Some(&c), None, false, true, Step::Change(lines(3))),
        ] {
            let note = written.map(|body| Note { body: body.clone(), pending: false });
            let states = States { wanted: &a, found, written: note.as_ref() };
            assert_eq!(states.step(vital, force), want, "{found:?} {written:?} {vital} {force}");
        }
        // After a crash between the note and the thing.
        let pending = Note { body: a.clone(), pending: true };
        for (found, want) in [(None, Step::Create), (Some(&a), Step::Fits), (Some(&b), Step::Change(lines(2)))] {
            let states = States { wanted: &a, found, written: Some(&pending) };
            assert_eq!(states.step(false, false), want, "{found:?}");
        }
    }
}
