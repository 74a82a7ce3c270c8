//! From surprise to a tail probability: peaks over a threshold, of the surprise itself.
//!
//! Last step of a point. Surprise adds nine rarities that are not independent, and records; it is not a
//! probability. [`PRIOR`] is its upper tail as measured on simulated stationary traffic (Poisson and
//! negative binomial counts, flat and with a daily rhythm). How often a series
//! exceeds two and three decades of that prior is counted, and by how much it exceeds three, each with
//! the weight of some prior exceedances (a streaming fit with a prior): a series that surprises more often, or more
//! strongly, than simulated traffic gets a larger probability for the same surprise. An incident is counted as long as
//! ordinary traffic's are at most, so that an hour of one does not make the next one look usual.
//!
//! Beyond three decades the excess is exponential, and of how strongly it falls little is known: so many exceedances
//! with such a sum. The probability is that of the next one given those (the predictive distribution of an exponential
//! with a gamma prior, a Lomax or Pareto II), not that of the exponential with their mean, which of ten or twenty
//! exceedances is too small several times over where alarms are. Invariants: decades are 0 or more, finite, and rise with
//! the surprise.

use libm::log10;
use std::f64::consts::LOG10_E;

/// Surprise, and the decades (`-log10`) of its tail probability in simulated traffic. It rises.
const PRIOR: [(f64, f64); 10] = [
    (0.0, 0.0),
    (4.0, 1.5),
    (7.3, 2.0),
    (10.4, 2.5),
    (13.8, 3.0),
    (17.3, 3.5),
    (21.3, 4.0),
    (25.0, 4.5),
    (29.0, 5.0),
    (38.0, 6.0),
];
/// Decades above which a series is counted by itself: often enough to be known soon, and near to what alarms.
const OFTEN: f64 = 2.0;
const SELDOM: f64 = 3.0;
/// Where the prior's last row is: beyond it the tail goes on as it ends there.
const LAST: f64 = 6.0;
/// Mean excess of an exponential tail, in decades.
const EXCESS: f64 = LOG10_E;
/// Exceedances that the prior is worth, above the first and above the second level.
const EVIDENCE: f64 = 30.0;
const EVIDENCE_SELDOM: f64 = 5.0;
/// What is left of the evidence with each point: a memory of 50,000 points.
const KEPT: f64 = 1.0 - 1.0 / 50_000.0;
/// A window's excess counts at most this much, in decades.
const MOST: f64 = 2.0;
/// Windows of one incident that count, above the first and above the second level: in simulated traffic hardly any goes
/// on for longer.
const COUNTED: u8 = 12;
const COUNTED_SELDOM: u8 = 3;
/// Windows below the level that end an incident: as many as the short components remember.
const APART: u8 = 12;

/// What a series' exceedances were.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Calibration {
    /// Points.
    pub(super) points: f64,
    /// Points above each level.
    pub(super) often: f64,
    pub(super) seldom: f64,
    /// Sum of what exceeded the second level, in decades.
    pub(super) excess: f64,
    /// The last incident above each level.
    pub(super) incidents: [Incident; 2],
}

/// Windows above a level, none of them alone for long (a run, in the terms of extreme values).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Incident {
    /// Windows that counted.
    pub(super) counted: u8,
    /// Windows since the last one.
    pub(super) quiet: u8,
}

impl Incident {
    /// Whether this window counts, of which at most `most` do.
    fn counts(&mut self, above: bool, most: u8) -> bool {
        if !above {
            self.quiet = self.quiet.saturating_add(1);
            return false;
        }
        if self.quiet >= APART {
            self.counted = 0;
        }
        self.quiet = 0;
        let counts = self.counted < most;
        self.counted += u8::from(counts);
        counts
    }
}

impl Calibration {
    /// Decades of the tail probability of this surprise.
    pub(super) fn decades(&self, surprise: f64) -> f64 {
        let prior = prior_decades(surprise);
        let often = (self.often + EVIDENCE) / (self.points + 100.0 * EVIDENCE);
        let first = -log10(often.clamp(1e-3, 0.5));
        if prior <= OFTEN {
            return prior / OFTEN * first;
        }
        let seldom = (self.seldom + EVIDENCE_SELDOM) / (self.often + 10.0 * EVIDENCE_SELDOM);
        let further = -log10(seldom.clamp(0.02, 0.7));
        if prior <= SELDOM {
            return first + (prior - OFTEN) / (SELDOM - OFTEN) * further;
        }
        let known = self.seldom + EVIDENCE_SELDOM;
        let mean = (self.excess + EXCESS * EVIDENCE_SELDOM) / known;
        let sum = known * mean.clamp(0.5 * EXCESS, 4.0 * EXCESS);
        let (measured, beyond) = (prior.min(LAST) - SELDOM, (prior - LAST).max(0.0));
        first + further + known * (log10(1.0 + measured / sum) + LOG10_E * beyond / (sum + measured))
    }

    /// Counts this surprise.
    pub(super) fn learn(&mut self, surprise: f64) {
        let prior = prior_decades(surprise);
        let [often, seldom] = &mut self.incidents;
        let often = often.counts(prior > OFTEN, COUNTED);
        let seldom = seldom.counts(prior > SELDOM, COUNTED_SELDOM);
        let one = |counts: bool| f64::from(u8::from(counts));
        self.points = self.points * KEPT + 1.0;
        self.often = self.often * KEPT + one(often);
        self.seldom = self.seldom * KEPT + one(seldom);
        self.excess = self.excess * KEPT + one(seldom) * (prior - SELDOM).clamp(0.0, MOST);
    }
}

/// Decades by simulated traffic, linear between the table's rows and beyond the last.
fn prior_decades(surprise: f64) -> f64 {
    let k = PRIOR.iter().skip(1).position(|row| surprise < row.0).unwrap_or(PRIOR.len() - 2);
    let ((s0, d0), (s1, d1)) = (PRIOR[k], PRIOR[k + 1]);
    d0 + (surprise - s0) / (s1 - s0) * (d1 - d0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decades of this surprise after a day of windows of 10 s with as much surprise as simulated traffic has, and then an
    /// incident of so many windows.
    fn after(incident: usize, surprise: f64) -> f64 {
        let mut calibration = Calibration::default();
        for i in 0..8640 {
            let ordinary = match i {
                _ if i % 1000 == 999 => 15.0,
                _ if i % 100 == 50 => 8.0,
                _ => 0.0,
            };
            calibration.learn(ordinary);
        }
        (0..incident).for_each(|_| calibration.learn(60.0));
        (0..100).for_each(|_| calibration.learn(0.0));
        calibration.decades(surprise)
    }

    /// A minute, an hour and a day of it say the same of the next one, which is still an alarm.
    #[test]
    fn an_incident_dulls_no_more_the_longer_it_is() {
        for surprise in [16.0, 30.0, 50.0] {
            let [none, minute, hour, day] = [0, 12, 360, 8640].map(|windows| after(windows, surprise));
            let what = format!("{surprise}: {none}, {minute}, {hour}, {day}");
            assert!(minute < none && minute > 0.6 * none, "{what}");
            // A little more, for the windows themselves are counted.
            assert!([hour, day].iter().all(|longer| (minute..1.15 * minute).contains(longer)), "{what}");
        }
        assert!(after(360, 50.0) >= 5.0, "{}", after(360, 50.0));
    }
}
