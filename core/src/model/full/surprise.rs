//! The surprise of a point: nine components, each with its tail and its record, added up.
//!
//! Steps one to three. Components: the step from the point before; the residual from the level or the bin's
//! mean, whichever errs less; its mean over 12 and over 48 points; the difference from the nearest value at
//! this time of the day, and its mean over 12; the mean step over 24; the fall; the shift. The first seven are the
//! measured prototype. The fall is how far the value lies below the middle (the median of what was at this time of the
//! day, else the level), on a logarithmic scale: where values are skewed upwards, a fall is never among the largest
//! residuals, and needs a tail of its own. The shift is the mean distance from the middle over 12 points. A mean would
//! not do for either: one odd day moves it, and the next ordinary one then lies below it. Invariant: surprise is
//! 0 or more, and depends on the past and the point alone.

use super::bins::Bins;
use super::cell::Cell;
use super::recent::Recent;
use super::record::Record;
use super::tail::Tail;
use libm::asinh;

/// Components.
pub const COMPONENTS: usize = 9;
/// Sums of recent values.
pub(super) const SUMS: usize = 5;
/// Weight of the record term.
const RECORD: f64 = 0.75;
/// Gain of the level, once there were enough points.
const LEVEL: f64 = 0.01;
/// Gain of the errors of level and bin.
const ERROR: f64 = 0.002;
/// Gain of the mean absolute value, once there were enough points.
const SIZE: f64 = 0.001;
/// The least size that is divided by.
const LEAST_SIZE: f64 = 1e-12;
/// Points of the short and the long mean residual, and of the mean step.
pub(super) const SHORT: usize = 12;
pub(super) const LONG: usize = 48;
pub(super) const STEPS: usize = 24;

/// What is learned of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Surprise<C> {
    /// Points learned.
    pub(super) seen: u64,
    pub(super) level: f64,
    pub(super) previous: f64,
    /// Mean error of the level, and of the bin's mean.
    pub(super) level_error: f64,
    pub(super) bin_error: f64,
    /// Mean absolute value: where the logarithmic scale of the fall begins.
    pub(super) size: f64,
    pub(super) bins: Bins<C>,
    pub(super) residuals: Recent<C, LONG>,
    pub(super) nearest: Recent<C, SHORT>,
    pub(super) steps: Recent<C, STEPS>,
    pub(super) shifts: Recent<C, SHORT>,
    /// Of the residuals, short and long; of the differences from the nearest; of the steps; of those from the middle.
    pub(super) sums: [f64; SUMS],
    pub(super) tails: [Tail<C>; COMPONENTS],
    pub(super) records: [Record; COMPONENTS],
}

impl<C: Cell> Surprise<C> {
    /// Knows nothing.
    pub fn new() -> Surprise<C> {
        Surprise {
            seen: 0,
            level: 0.0,
            previous: 0.0,
            level_error: 0.0,
            bin_error: 0.0,
            size: 0.0,
            bins: Bins::new(),
            residuals: Recent::new(),
            nearest: Recent::new(),
            steps: Recent::new(),
            shifts: Recent::new(),
            sums: [0.0; SUMS],
            tails: std::array::from_fn(|_| Tail::new()),
            records: [Record::default(); COMPONENTS],
        }
    }

    /// What the value would be at this time (seconds).
    pub(super) fn expected(&self, time: i64) -> f64 {
        match self.bins.mean(Bins::<C>::of(time)) {
            Some(mean) if self.bin_error < self.level_error => mean,
            _ => self.level,
        }
    }

    /// How far from what is expected a value lies with this probability.
    pub(super) fn reach(&self, p: f64) -> f64 {
        match &self.tails[1].fit {
            Some(fit) => fit.quantile(p),
            // While nothing is fitted: four mean residuals.
            None => 4.0 * self.records[1].mean,
        }
    }

    /// Surprise of a finite value at this time (seconds); then learns it.
    pub fn observe(&mut self, time: i64, value: f64) -> f64 {
        self.parts(time, value).iter().sum()
    }

    /// What each component adds to the surprise of a finite value at this time (seconds); then learns it.
    pub fn parts(&mut self, time: i64, value: f64) -> [f64; COMPONENTS] {
        let mut parts = self.components(time, value);
        let i = self.seen as f64;
        self.seen = self.seen.saturating_add(1);
        for (part, (tail, record)) in parts.iter_mut().zip(self.tails.iter_mut().zip(&mut self.records)) {
            *part = tail.observe(*part, i) + RECORD * record.observe(*part, i);
        }
        parts
    }

    fn components(&mut self, time: i64, value: f64) -> [f64; COMPONENTS] {
        let bin = Bins::<C>::of(time);
        self.bins.take(bin, value);
        if self.seen == 0 {
            (self.level, self.previous, self.size) = (value, value, value.abs());
            return [0.0; COMPONENTS];
        }
        let step = C::of((value - self.previous).abs());
        let residual = C::of(self.residual(bin, value));
        let nearest = C::of(self.bins.off_nearest(bin, value));
        let middle = self.bins.middle().unwrap_or(self.level);
        let shift = C::of(value - middle);
        let [short, long, near, steps, shifts] = &mut self.sums;
        self.residuals.push(residual, [(short, SHORT), (long, LONG)]);
        self.nearest.push(nearest, [(near, SHORT)]);
        self.steps.push(step, [(steps, STEPS)]);
        self.shifts.push(shift, [(shifts, SHORT)]);
        let [short, long, near, steps, shifts] = self.sums;
        let i = self.seen as f64;
        let mean = |sum: f64, points: usize| sum / i.min(points as f64);
        let components = [
            step.get(),
            residual.get().abs(),
            mean(short.abs(), SHORT),
            mean(long.abs(), LONG),
            nearest.get().abs(),
            mean(near.abs(), SHORT),
            mean(steps.max(0.0), STEPS),
            self.fall(middle, value),
            mean(shifts.abs(), SHORT),
        ];
        self.level += LEVEL.max(1.0 / (i + 2.0)) * (value - self.level);
        self.previous = value;
        self.size += SIZE.max(1.0 / (i + 1.0)) * (value.abs() - self.size);
        components
    }

    /// How far the value lies below the middle, on a scale that is logarithmic beyond the usual size.
    fn fall(&self, middle: f64, value: f64) -> f64 {
        let size = self.size.max(LEAST_SIZE);
        (asinh(middle / size) - asinh(value / size)).max(0.0)
    }

    /// From the bin's mean where that has erred less, else from the level.
    fn residual(&mut self, bin: usize, value: f64) -> f64 {
        let from_level = value - self.level;
        let Some(mean) = self.bins.mean(bin) else { return from_level };
        let from_bin = value - mean;
        self.level_error += ERROR * (from_level.abs() - self.level_error);
        self.bin_error += ERROR * (from_bin.abs() - self.bin_error);
        if self.bin_error < self.level_error { from_bin } else { from_level }
    }
}

impl<C: Cell> Default for Surprise<C> {
    fn default() -> Self {
        Surprise::new()
    }
}
