//! How much goes to the index at once: more as long as that makes it faster, half when it is too much.
//!
//! Hill climbing on bytes a second, which is what is on the way over how long an answer takes (Little's law; ADR 37). It begins
//! with a slow start, as TCP does: twice as many requests after every few answers, up to the most, or until some are
//! refused. A comparison of so few would often be wrong, and requests that are too few are time lost. Then, in turn,
//! twice the size, one request more and one less are tried: more is kept if it brings at least [`WORTH`] of what it brings
//! an index that has room, less if it never costs more than that. Pure: times come in.
//!
//! Invariant: the size stays from [`SMALLEST`] to `most_bytes`, the number from 1 to `most`.

use std::time::Duration;

/// Requests never get smaller than that; bytes, as [`super::batch::Batch::bytes`] counts them.
const SMALLEST: usize = 64 * 1024;
/// Where they begin.
const FIRST: usize = 1 << 20;
/// Twice the size must be faster by this share: it saves what does not depend on the size.
const LARGER: f64 = 0.05;
/// One more of n requests brings an index that has room 1/n. An index that shares two cores with everything else was seen
/// to give a third of that for the second, and a tenth for those after it; a step that brings less than a twentieth only
/// makes documents wait.
const WORTH: f64 = 0.05;
/// Answers to a step before the other one has its turn, and how often each has.
const LEG: usize = 5;
const LEGS: usize = 3;
/// Answers after a round of tries, and after a refusal.
const REST: u32 = 64;
/// A try of less costs speed: as long as it fails, it is left out of so many rounds, at most.
const MOST_LEFT_OUT: u32 = 4;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answered {
    /// The index took it.
    Took {
        /// Of its records.
        bytes: usize,
        /// How long the answer took.
        after: Duration,
        /// It was as large as it might be, so it says what the index can do.
        full: bool,
    },
    /// The index refused some or all of it for now, or did not answer.
    TooMuch,
}

/// How much goes to the index at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// A request is full with so many bytes of records.
    pub bytes: usize,
    /// So many requests may be on the way.
    pub requests: usize,
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    Larger,
    More,
    Less,
}

/// A step that is compared with the one in use: one after the other, several times, as an index is not always equally
/// fast.
#[derive(Debug, Clone, PartialEq)]
struct Trial {
    /// The one in use, and the one that is tried.
    steps: [Step; 2],
    /// The other must be faster by this share.
    gain: f64,
    /// In so many of the pairs of legs.
    pairs: usize,
    /// Bytes a second of the legs that are done.
    legs: Vec<f64>,
    /// Bytes a second by each answer of the one under way.
    rates: Vec<f64>,
}

/// Decides on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    now: Step,
    most: Step,
    /// Answers to this step of the slow start; `None`: it is over.
    slow_start: Option<usize>,
    trial: Option<Trial>,
    turn: Try,
    /// Rounds that leave out the try of less: still, and after its next failure.
    left_out: u32,
    leave_out: u32,
    /// Answers that still belong to an earlier step, or to a rest.
    skip: u32,
}

impl Pace {
    /// Begins with one request of a moderate size.
    pub fn new(most_bytes: usize, most: usize) -> Self {
        let most = Step { bytes: most_bytes.max(SMALLEST), requests: most.max(1) };
        let now = Step { bytes: FIRST.min(most.bytes), requests: 1 };
        Self { now, most, slow_start: Some(0), trial: None, turn: Try::Larger, left_out: 0, leave_out: 1, skip: 0 }
    }

    /// How much goes now.
    pub fn step(&self) -> Step {
        self.now
    }

    /// Learns from a request.
    pub fn note(&mut self, answered: Answered) {
        let Answered::Took { bytes, after, full } = answered else {
            let Step { bytes, requests } = self.now;
            (self.slow_start, self.trial, self.left_out, self.leave_out) = (None, None, 0, 1);
            self.go(Step { bytes: (bytes / 2).max(SMALLEST), requests: (requests / 2).max(1) }, REST);
            return;
        };
        if !full {
            return;
        }
        if let Some(answers) = self.slow_start {
            return self.climb(answers + 1);
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let rate = self.now.requests as f64 * bytes as f64 / after.as_secs_f64().max(1e-6);
        match self.trial.take() {
            Some(trial) => self.compare(trial, rate),
            None => match self.tried() {
                Some((step, gain)) => {
                    // In doubt for more: an index that has too much says so, one that has too little does not.
                    let pairs = if self.turn == Try::Less { LEGS } else { LEGS / 2 + 1 };
                    let steps = [self.now, step];
                    self.trial = Some(Trial { steps, gain, pairs, legs: Vec::new(), rates: vec![rate] });
                }
                None => self.skip = self.next_turn(),
            },
        }
    }

    fn climb(&mut self, answers: usize) {
        let Step { bytes, requests } = self.now;
        if requests >= self.most.requests {
            self.slow_start = None;
        } else if answers >= LEG {
            self.slow_start = Some(0);
            self.go(Step { bytes, requests: (2 * requests).min(self.most.requests) }, 0);
        } else {
            self.slow_start = Some(answers);
        }
    }

    fn compare(&mut self, mut trial: Trial, rate: f64) {
        trial.rates.push(rate);
        if trial.rates.len() < LEG {
            self.trial = Some(trial);
            return;
        }
        trial.legs.push(median(std::mem::take(&mut trial.rates)));
        if trial.legs.len() < 2 * LEGS {
            self.go(trial.steps[trial.legs.len() % 2], self.now.requests as u32);
            self.trial = Some(trial);
            return;
        }
        let faster = |pair: &&[f64]| matches!(pair, [used, tried] if *tried >= used * (1.0 + trial.gain));
        if trial.legs.chunks(2).filter(faster).count() >= trial.pairs {
            // Its turn goes on.
            return;
        }
        if self.turn == Try::Less {
            self.left_out = self.leave_out;
            self.leave_out = (2 * self.leave_out).min(MOST_LEFT_OUT);
        }
        let skip = self.next_turn().max(self.now.requests as u32);
        self.go(trial.steps[0], skip);
    }

    /// The step of this turn, and by which share it must be faster; nothing at a bound.
    fn tried(&self) -> Option<(Step, f64)> {
        let (Step { bytes, requests }, most) = (self.now, self.most);
        let worth = WORTH / requests as f64;
        match self.turn {
            Try::Larger => {
                (bytes < most.bytes).then(|| (Step { bytes: (bytes * 2).min(most.bytes), requests }, LARGER))
            }
            Try::More => (requests < most.requests).then(|| (Step { bytes, requests: requests + 1 }, worth)),
            Try::Less if requests > 1 => Some((Step { bytes, requests: requests - 1 }, -worth)),
            Try::Less => (bytes > SMALLEST).then(|| (Step { bytes: (bytes / 2).max(SMALLEST), requests }, -LARGER)),
        }
    }

    /// The answers to rest for.
    fn next_turn(&mut self) -> u32 {
        let (turn, rest) = match self.turn {
            Try::Larger => (Try::More, 0),
            Try::More if self.left_out == 0 => (Try::Less, 0),
            Try::More | Try::Less => (Try::Larger, REST),
        };
        if self.turn == Try::More {
            self.left_out = self.left_out.saturating_sub(1);
        }
        self.turn = turn;
        rest
    }

    /// Goes on with a step; so many answers say nothing about it.
    fn go(&mut self, step: Step, skip: u32) {
        (self.now, self.skip) = (step, skip);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 5 << 20;

    /// An index with so many workers, each of which takes a request at this rate, and a fixed time for each request.
    fn answers(pace: &mut Pace, workers: usize, bytes_a_second: f64, count: usize) {
        for _ in 0..count {
            let share = (pace.now.requests as f64 / workers as f64).max(1.0);
            let after = Duration::from_secs_f64(0.005 + pace.now.bytes as f64 * share / bytes_a_second);
            pace.note(Answered::Took { bytes: pace.now.bytes, after, full: true });
        }
    }

    /// The step in use, apart from what is being tried.
    fn used(pace: &Pace) -> Step {
        pace.trial.as_ref().map_or(pace.now, |trial| trial.steps[0])
    }

    /// What goes through in a second, of an index with so many workers.
    fn through(pace: &Pace, workers: usize) -> f64 {
        let Step { bytes, requests } = used(pace);
        let share = (requests as f64 / workers as f64).max(1.0);
        requests as f64 * bytes as f64 / (0.005 + bytes as f64 * share / 10e6)
    }

    #[test]
    fn it_begins_fast() {
        let mut pace = Pace::new(MOST, 8);
        answers(&mut pace, 2, 10e6, 3 * LEG);
        assert_eq!(used(&pace).requests, 8, "{pace:?}");
        let mut pace = Pace::new(MOST, 8);
        answers(&mut pace, 2, 10e6, 2 * LEG);
        pace.note(Answered::TooMuch);
        answers(&mut pace, 2, 10e6, LEG);
        assert_eq!(used(&pace).requests, 2, "{pace:?}");
    }

    #[test]
    fn it_grows_to_what_the_index_has_room_for() {
        for (workers, low, high) in [(1, 1, 1), (2, 1, 3), (4, 3, 5), (100, 7, 8)] {
            let mut pace = Pace::new(MOST, 8);
            for count in [600, 1_000, 10_000, 10_001] {
                answers(&mut pace, workers, 10e6, count);
                let requests = used(&pace).requests;
                assert!((low..=high).contains(&requests), "{workers} workers, {count} answers: {pace:?}");
                let tried = (workers.min(8) - 1).max(1) as f64;
                assert!(through(&pace, workers) > 0.85 * 10e6 * tried, "{workers} workers, {count} answers: {pace:?}");
            }
        }
    }

    /// An index that is slow now and then is judged as one that is not.
    #[test]
    fn weather_is_not_climate() {
        let mut pace = Pace::new(1 << 20, 4);
        for answer in 0..3_000_u32 {
            // Some seconds at half the speed, then some at the full one.
            let speed = if answer % 200 < 80 { 5e6 } else { 10e6 };
            answers(&mut pace, 3, speed, 1);
            if answer > 600 {
                assert!(used(&pace).requests >= 2, "answer {answer}: {pace:?}");
            }
        }
    }

    #[test]
    fn refusals_halve_it_and_it_comes_back() {
        let mut pace = Pace::new(MOST, 8);
        answers(&mut pace, 100, 10e6, 600);
        let before = (pace.now.bytes, pace.now.requests);
        pace.note(Answered::TooMuch);
        assert_eq!((pace.now.bytes, pace.now.requests), (before.0 / 2, before.1 / 2));
        for _ in 0..40 {
            pace.note(Answered::TooMuch);
        }
        assert_eq!((pace.now.bytes, pace.now.requests), (SMALLEST, 1));
        answers(&mut pace, 100, 10e6, 1_000);
        assert!(through(&pace, 100) > 60e6, "{pace:?}");
    }

    /// An index that has become slower is sent less at once.
    #[test]
    fn it_gives_way() {
        let mut pace = Pace::new(MOST, 8);
        answers(&mut pace, 8, 10e6, 1_000);
        assert!(pace.now.requests >= 7, "{pace:?}");
        answers(&mut pace, 2, 10e6, 1_500);
        assert!(pace.now.requests <= 3, "{pace:?}");
    }

    /// A request that was sent because its time had come says nothing about what the index can do.
    #[test]
    fn small_requests_change_nothing() {
        let mut pace = Pace::new(MOST, 4);
        let before = pace.clone();
        pace.note(Answered::Took { bytes: 10, after: Duration::from_secs(9), full: false });
        assert_eq!(pace, before);
    }

    proptest! {
        #[test]
        fn bounds_hold(
            most_bytes in 1usize..1 << 27,
            most in 0usize..100,
            notes in prop::collection::vec((any::<u32>(), 0u64..100_000, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let mut pace = Pace::new(most_bytes, most);
            for (bytes, millis, full, took) in notes {
                let after = Duration::from_millis(millis);
                let answered = if took { Answered::Took { bytes: bytes as usize, after, full } } else { Answered::TooMuch };
                pace.note(answered);
                prop_assert!((SMALLEST..=most_bytes.max(SMALLEST)).contains(&pace.now.bytes));
                prop_assert!((1..=most.max(1)).contains(&pace.now.requests));
            }
        }
    }
}
