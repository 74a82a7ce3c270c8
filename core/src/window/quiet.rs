//! What the owner of a source partition knows of a quiet spell: no good record came, and none is left unread.
//!
//! ```text
//!            at its end, a reject            half a timeout            half a timeout, end reached
//!   active ──────────────────────► quiet ──────────────────► asked ─────────────────────────────► settled
//!     ▲                              ▲                         │                                    │
//!     └── a good record, from any    └── no answer, or behind ─┴──── rejects come: asked again ─────┘
//! ```
//!
//! Invariants: what the broker says is there was read before a spell counts: a worker that was held up, or that reads a
//! backlog of rejects, does not know what is behind. It is asked twice, half of the timeout apart. Rejects end no spell:
//! a partition that holds nothing else would hold the windows of all others.

use crate::pipeline::Millis;

/// What is known of the quiet spell of one partition.
#[derive(Default)]
pub(super) struct Quiet {
    /// Wall clock since when no good record was read; `None` before the partition was read to its end or a reject came.
    since: Option<Millis>,
    /// Read to its end, and no record since.
    at_end: bool,
    /// Behind the last reject.
    next: i64,
    asked: Option<Asked>,
}

/// What the broker said.
#[derive(Clone, Copy)]
struct Asked {
    /// Where the partition ended.
    end: i64,
    /// Wall clock.
    at: Millis,
    /// Everything before `end` was read.
    reached: bool,
}

impl Quiet {
    /// A record was rejected; `now` may be some time ago.
    pub(super) fn rejected(&mut self, now: Millis) {
        self.at_end = false;
        self.since.get_or_insert(now);
    }

    /// Everything before `next` was read; the last of it was rejected.
    pub(super) fn passed(&mut self, next: i64) {
        self.next = next;
        self.reached(|asked| asked.end <= next);
    }

    /// The partition was read to its end at wall clock `now`.
    pub(super) fn read_to_end(&mut self, now: Millis) {
        self.at_end = true;
        self.since.get_or_insert(now);
        self.reached(|_| true);
    }

    fn reached(&mut self, reached: impl Fn(&Asked) -> bool) {
        if let Some(asked) = &mut self.asked {
            asked.reached |= reached(asked);
        }
    }

    /// Read to its end, and no record since.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// The broker must be asked now where the partition ends: half-way through the timeout, at its end, and then, as
    /// long as rejects come, each half of it.
    pub(super) fn asks(&self, now: Millis, timeout: Millis) -> bool {
        let Some(since) = self.since else { return false };
        let quiet = now.saturating_sub(since);
        match self.asked {
            None => quiet >= timeout / 2,
            Some(Asked { at, .. }) => {
                let settled = self.at_end && self.settled(timeout);
                !settled && quiet >= timeout && now.saturating_sub(at) >= timeout / 2
            }
        }
    }

    /// The broker's answer at wall clock `now`; `None` if it did not say.
    pub(super) fn told(&mut self, end: Option<i64>, now: Millis, timeout: Millis) {
        let read = end.is_some_and(|end| end <= self.next);
        match (self.asked.take(), end) {
            // Half of the timeout lies between the two questions, also when the first one came late.
            (None, Some(end)) => {
                self.since = Some(now.saturating_sub(timeout / 2));
                self.asked = Some(Asked { end, at: now, reached: read });
            }
            // Ends of transactions are at the end, too, so that the last record need not be just before it. Half of the
            // timeout was enough to read what was there.
            (Some(before), Some(end)) if before.reached || read || (self.at_end && before.end == end) => {
                let reached = read || before.end == end;
                self.asked = Some(Asked { end, at: now, reached });
            }
            _ => self.since = Some(now),
        }
    }

    /// All that the partition held after the timeout was read, and there was no good record.
    pub(super) fn settled(&self, timeout: Millis) -> bool {
        let (Some(since), Some(asked)) = (self.since, self.asked) else { return false };
        asked.reached && asked.at.saturating_sub(since) >= timeout
    }

    /// What the broker last told of was read: nothing keeps the clock from moving stream time on.
    pub(super) fn caught_up(&self) -> bool {
        self.at_end || self.asked.is_some_and(|asked| asked.reached)
    }

    /// The spell has lasted for the timeout. False for an idle partition that rejects came to faster than they are read.
    pub(super) fn lasts(&self, now: Millis, timeout: Millis) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= timeout)
    }
}
