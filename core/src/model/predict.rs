//! From what was learned to the predictive distribution of the next window.
//!
//! Used by `model` before a window is learned. Invariant: every number of a [`Prediction`] is finite and every
//! variance above zero, whatever state was decoded.

use super::Model;
use super::baseline::Place;
use super::tail::{FEWEST, Tail};
use crate::measure::Kind;
use libm::exp;

/// Bound of a logarithm or log-odds before it is used.
const MOST_LOG: f64 = 60.0;

/// What the baseline says of its own ignorance is known about as well as a variance by this many degrees of freedom: how
/// fast it drifts is learned over the day, and how wrong it is goes with the hour.
const IGNORANCE_FREEDOM: f64 = 30.0;

/// A prediction in the terms that learning needs; variances of shares are those of the successes.
pub(super) struct Prediction {
    /// The distribution of the value.
    pub(super) tail: Tail,
    /// Variance of the value around a known mean without dispersion (amounts: with), and with it.
    pub(super) pure: f64,
    pub(super) scatter: f64,
    /// Variance of the mean on the link's scale, and how much the value moves per unit of that scale.
    pub(super) unsure: f64,
    slope: f64,
}

impl Prediction {
    /// Variance of the mean, in units of the value (shares: of the successes).
    pub(super) fn ignorance(&self) -> f64 {
        self.unsure * self.slope * self.slope
    }
}

impl Model {
    /// The prediction for a window of `n` records at `place`.
    pub(super) fn predict(&self, place: &Place, n: f64) -> Prediction {
        let (link, unsure) = self.baseline.at(place);
        let bounded = link.clamp(-MOST_LOG, MOST_LOG);
        match self.kind {
            Kind::Count => {
                let mean = exp(bounded).max(FEWEST);
                let factor = self.spread.factor(mean);
                let tail = Tail::count(mean, factor, cautious(unsure, unsure * mean / factor));
                Prediction { tail, pure: mean, scatter: mean * factor, unsure, slope: mean }
            }
            Kind::Share => {
                let p = 1.0 / (1.0 + exp(-bounded));
                let factor = self.spread.factor(n * p * (1.0 - p));
                let tail = Tail::share(p, n, factor, cautious(unsure, unsure * n * p * (1.0 - p) / factor));
                let pure = n * tail.mean * (1.0 - tail.mean);
                Prediction { tail, pure, scatter: pure * factor, unsure, slope: pure }
            }
            Kind::Amount => {
                let slope = f64::from(self.spread.scale);
                let own = self.spread.amount_variance(link);
                let scatter = 0.5 * (own[0] + own[1]);
                let ignorance = unsure * slope * slope;
                let variance = own.map(|v| v + cautious(ignorance, ignorance / scatter));
                Prediction {
                    tail: Tail::amount(link, variance, self.spread.freedom()),
                    pure: scatter,
                    scatter,
                    unsure,
                    slope,
                }
            }
        }
    }
}

/// Ignorance enlarged so that the tail at the score of 75 (`z² = 20`) is as likely as under Student's t whose variance is
/// the part known to [`IGNORANCE_FREEDOM`]: by `1 + z²/2ν` times its share. `odds` is ignorance over scatter.
fn cautious(ignorance: f64, odds: f64) -> f64 {
    ignorance * (1.0 + 10.0 / IGNORANCE_FREEDOM * odds / (1.0 + odds))
}
