//! From surprise to a tail probability: peaks over a threshold, of the surprise itself.
//!
//! Last step of a point. Surprise adds eight rarities that are not independent, and records; it is not a
//! probability. [`PRIOR`] is its upper tail as measured on simulated stationary traffic (Poisson and
//! negative binomial counts, flat and with a daily rhythm). How often a series
//! exceeds two and three decades of that prior is counted, and the mean excess over three taken, each with
//! the weight of some prior exceedances (a streaming fit with a prior): a series that surprises more often, or more strongly, than simulated traffic gets a larger
//! probability for the same surprise. Invariants: decades are 0 or more, finite, and rise with the surprise.

use libm::log10;

/// Surprise, and the decades (`-log10`) of its tail probability in simulated traffic. It rises.
const PRIOR: [(f64, f64); 10] = [
    (0.0, 0.0),
    (3.6, 1.5),
    (6.1, 2.0),
    (8.5, 2.5),
    (11.2, 3.0),
    (14.5, 3.5),
    (17.7, 4.0),
    (21.2, 4.5),
    (25.0, 5.0),
    (34.0, 6.0),
];
/// Decades above which a series is counted by itself: often enough to be known soon, and near to what alarms.
const OFTEN: f64 = 2.0;
const SELDOM: f64 = 3.0;
/// Mean excess of an exponential tail, in decades.
const EXCESS: f64 = std::f64::consts::LOG10_E;
/// Exceedances that the prior is worth, above the first and above the second level.
const EVIDENCE: f64 = 30.0;
const EVIDENCE_SELDOM: f64 = 5.0;
/// What is left of the evidence with each point: a memory of 50,000 points.
const KEPT: f64 = 1.0 - 1.0 / 50_000.0;
/// An incident's excess counts at most this much, in decades.
const MOST: f64 = 2.0;

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
}

impl Calibration {
    /// Decades of the tail probability of this surprise.
    pub(super) fn decades(&self, surprise: f64) -> f64 {
        let prior = prior(surprise);
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
        let excess = (self.excess + EXCESS * EVIDENCE_SELDOM) / (self.seldom + EVIDENCE_SELDOM);
        first + further + (prior - SELDOM) * EXCESS / excess.clamp(0.5 * EXCESS, 4.0 * EXCESS)
    }

    /// Counts this surprise.
    pub(super) fn learn(&mut self, surprise: f64) {
        let prior = prior(surprise);
        let above = |level: f64| f64::from(u8::from(prior > level));
        self.points = self.points * KEPT + 1.0;
        self.often = self.often * KEPT + above(OFTEN);
        self.seldom = self.seldom * KEPT + above(SELDOM);
        self.excess = self.excess * KEPT + (prior - SELDOM).clamp(0.0, MOST);
    }
}

/// Decades by simulated traffic, linear between the table's rows and beyond the last.
fn prior(surprise: f64) -> f64 {
    let k = PRIOR.iter().skip(1).position(|row| surprise < row.0).unwrap_or(PRIOR.len() - 2);
    let ((s0, d0), (s1, d1)) = (PRIOR[k], PRIOR[k + 1]);
    d0 + (surprise - s0) / (s1 - s0) * (d1 - d0)
}
