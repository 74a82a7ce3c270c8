//! The points of one series, oldest first: what the charts are drawn from.
//!
//! Invariants: points are ordered by time, one a window; there are never more than the capacity; a point that comes
//! again (the scores topic is read again after a reconnect) replaces itself. When it is full, what is older than
//! [`RETENTION`] goes first; then the older half is thinned to every second point, anomalies kept while possible.

use outlier_core::pipeline::Millis;
use outlier_core::score::Score;
use std::collections::VecDeque;

/// What the page can look back; milliseconds.
pub const RETENTION: Millis = 2 * 24 * 60 * 60 * 1000;

/// One closed window. Half the size of a [`Score`]: there are many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// End of the window; epoch milliseconds.
    pub end: Millis,
    /// The measure's value.
    pub value: f64,
    /// The value that was to be expected.
    pub expected: f32,
    /// Lower end of the expected band.
    pub lower: f32,
    /// Upper end of the expected band.
    pub upper: f32,
    /// 0 to 100.
    pub score: f32,
    /// The score reached the threshold.
    pub anomaly: bool,
    /// Too little was learned to score.
    pub learning: bool,
}

impl From<&Score> for Point {
    fn from(score: &Score) -> Self {
        Self {
            end: score.window_end,
            value: score.value,
            expected: score.expected as f32,
            lower: score.lower as f32,
            upper: score.upper as f32,
            score: score.score as f32,
            anomaly: score.anomaly,
            learning: score.learning,
        }
    }
}

/// The points of one series.
#[derive(Debug)]
pub struct History {
    points: VecDeque<Point>,
    capacity: usize,
}

impl History {
    /// Holds at most `capacity` points, at least 4.
    pub fn new(capacity: usize) -> Self {
        Self { points: VecDeque::new(), capacity: capacity.max(4) }
    }

    /// Adds a point in its place.
    pub fn insert(&mut self, point: Point) {
        let at = self.points.partition_point(|p| p.end < point.end);
        match self.points.get_mut(at) {
            Some(same) if same.end == point.end => *same = point,
            _ => self.points.insert(at, point),
        }
        if self.points.len() > self.capacity {
            self.make_room();
        }
    }

    /// The points whose windows end from `from` to `to`, both included; epoch milliseconds.
    pub fn range(&self, from: Millis, to: Millis) -> impl DoubleEndedIterator<Item = &Point> + ExactSizeIterator {
        let first = self.points.partition_point(|p| p.end < from);
        let last = self.points.partition_point(|p| p.end <= to).max(first);
        self.points.range(first..last)
    }

    /// The newest `count` points, oldest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &Point> {
        self.points.range(self.points.len().saturating_sub(count)..)
    }

    fn make_room(&mut self) {
        let newest = self.points.back().map_or(0, |p| p.end);
        let expired = self.points.partition_point(|p| p.end < newest.saturating_sub(RETENTION));
        self.points.drain(..expired);
        if self.points.len() <= self.capacity {
            return;
        }
        let half = self.points.len() / 2;
        let mut position = 0;
        self.points.retain(|point| {
            position += 1;
            position > half || point.anomaly || position % 2 == 0
        });
        // Only when nearly all of the older half are anomalies.
        let excess = self.points.len().saturating_sub(self.capacity - self.capacity / 8);
        if self.points.len() > self.capacity {
            self.points.drain(..excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::testing::point;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn points_are_ordered_unique_and_bounded(
            capacity in 4usize..60,
            ends in prop::collection::vec((0i64..400, any::<bool>()), 0..600),
        ) {
            let mut history = History::new(capacity);
            for (end, anomaly) in &ends {
                history.insert(point(*end, 1.0, *anomaly));
                prop_assert!(history.points.len() <= capacity);
            }
            let kept: Vec<i64> = history.range(i64::MIN, i64::MAX).map(|p| p.end).collect();
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            if ends.len() <= capacity {
                let all: std::collections::BTreeSet<i64> = ends.iter().map(|(end, _)| *end).collect();
                prop_assert_eq!(kept, all.into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_newest_stay_the_expired_go_and_anomalies_outlive_their_neighbours() {
        let mut history = History::new(100);
        history.insert(point(-2 * RETENTION, 1.0, false));
        for end in 0..150 {
            history.insert(point(end, 1.0, end == 10));
        }
        let kept: Vec<i64> = history.range(i64::MIN, i64::MAX).map(|p| p.end).collect();
        assert_eq!(kept.last(), Some(&149));
        assert!(kept[0] >= 0, "the expired point is still there: {kept:?}");
        assert!(kept.contains(&10), "the anomaly was thinned away: {kept:?}");
    }
}
