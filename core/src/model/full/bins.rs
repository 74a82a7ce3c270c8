//! What the series was at this time of the day: 144 bins, each with a mean and its last 21 days.
//!
//! First step of a point. Invariants: a value never enters its own reference, because a bin is stored only
//! when the next one begins; the middle is that of the bin that is being filled.

use super::cell::Cell;

/// Bins of a day: ten minutes each.
pub(super) const BINS: usize = 144;
/// Days remembered in a bin.
pub(super) const DAYS: usize = 21;
/// Gain of a bin's mean, once there were enough days.
const GAIN: f64 = 0.3;
/// Seconds.
const DAY: i64 = 86_400;
/// Values that the nearest one and the middle one need.
const FEWEST: usize = 3;

/// The day of a series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bins<C> {
    /// Bin that is being filled, its sum and points.
    pub(super) current: usize,
    pub(super) sum: f64,
    pub(super) points: u32,
    /// Mean of each bin.
    pub(super) mean: Vec<C>,
    /// Days that each bin has seen.
    pub(super) seen: Vec<u32>,
    /// The last days of each bin, `DAYS` cells a bin, oldest overwritten.
    pub(super) days: Vec<C>,
    /// Median of what is remembered about the bin that is being filled; follows from the rest.
    middle: Option<C>,
}

impl<C: Cell> Bins<C> {
    pub(super) fn new() -> Bins<C> {
        Bins {
            current: 0,
            sum: 0.0,
            points: 0,
            mean: vec![C::default(); BINS],
            seen: vec![0; BINS],
            days: vec![C::default(); BINS * DAYS],
            middle: None,
        }
    }

    /// The bin of a time in seconds.
    pub(super) fn of(time: i64) -> usize {
        (time.rem_euclid(DAY) as usize) * BINS / DAY as usize
    }

    /// Takes a value into its bin; the bin before is stored when this is another.
    pub(super) fn take(&mut self, bin: usize, value: f64) {
        if bin != self.current || self.points == 0 {
            if self.points > 0 {
                self.store();
            }
            (self.current, self.sum, self.points) = (bin, value, 1);
            self.find_middle();
        } else {
            self.sum += value;
            self.points = self.points.saturating_add(1);
        }
    }

    fn store(&mut self) {
        let bin = self.current;
        let mean = C::of(self.sum / f64::from(self.points));
        let seen = self.seen[bin];
        let old = self.mean[bin].get();
        self.mean[bin] = match seen {
            0 => mean,
            _ => C::of(old + GAIN.max(1.0 / (f64::from(seen) + 1.0)) * (mean.get() - old)),
        };
        self.days[bin * DAYS + seen as usize % DAYS] = mean;
        // Wraps to a multiple of the days, so that the ring stays full.
        self.seen[bin] = seen.checked_add(1).unwrap_or(DAYS as u32 + (u32::MAX % DAYS as u32) + 1);
    }

    /// Mean of the bin, once it has seen a day.
    pub(super) fn mean(&self, bin: usize) -> Option<f64> {
        (self.seen[bin] > 0).then(|| self.mean[bin].get())
    }

    /// The days remembered in the bin, in no order.
    pub(super) fn remembered(&self, bin: usize) -> &[C] {
        let seen = (self.seen[bin] as usize).min(DAYS);
        &self.days[bin * DAYS..bin * DAYS + seen]
    }

    /// Median of what is remembered of the bin that is being filled and of its neighbours; none of fewer than three. One
    /// odd day does not move it.
    pub(super) fn middle(&self) -> Option<f64> {
        self.middle.map(C::get)
    }

    /// Finds the middle: when a bin begins, and when the days come from elsewhere.
    pub(super) fn find_middle(&mut self) {
        let (mut all, mut known) = ([C::default(); 3 * DAYS], 0);
        for near in around(self.current) {
            let days = self.remembered(near);
            all[known..known + days.len()].copy_from_slice(days);
            known += days.len();
        }
        let all = &mut all[..known];
        self.middle =
            (known >= FEWEST).then(|| *all.select_nth_unstable_by(known / 2, |a, b| a.get().total_cmp(&b.get())).1);
    }

    /// The value less the nearest one of this bin and its neighbours; 0 while fewer than three are known.
    pub(super) fn off_nearest(&self, bin: usize, value: f64) -> f64 {
        let (mut known, mut best, mut least) = (0, 0.0, f64::INFINITY);
        for near in around(bin) {
            let days = self.remembered(near);
            known += days.len();
            for day in days {
                let apart = value - day.get();
                if apart.abs() < least {
                    (best, least) = (apart, apart.abs());
                }
            }
        }
        if known < FEWEST { 0.0 } else { best }
    }
}

/// A bin and its neighbours.
fn around(bin: usize) -> [usize; 3] {
    [(bin + BINS - 1) % BINS, bin, (bin + 1) % BINS]
}
