//! Fewer points for a chart: what the eye would see of all of them.
//!
//! Invariants: at most `limit` points come out, in order, each one of those that went in; every anomaly stays (beyond
//! `limit`, those of the highest score); the newest point, the smallest and the largest value stay while there is room.

use super::history::Point;

/// At most `limit` of the points.
pub fn downsample(points: &[Point], limit: usize) -> Vec<Point> {
    if points.len() <= limit {
        return points.to_vec();
    }
    let mut anomalies: Vec<usize> = (0..points.len()).filter(|&i| points[i].anomaly).collect();
    if anomalies.len() > limit {
        anomalies.sort_by(|&a, &b| points[b].score.total_cmp(&points[a].score));
        anomalies.truncate(limit);
    }
    let mut keep = vec![false; points.len()];
    for &i in &anomalies {
        keep[i] = true;
    }
    keep_outline(points, &mut keep, limit - anomalies.len());
    points.iter().zip(keep).filter(|(_, keep)| *keep).map(|(point, _)| *point).collect()
}

/// Marks up to `room` more points: the newest, then the smallest and the largest value of equal stretches.
fn keep_outline(points: &[Point], keep: &mut [bool], mut room: usize) {
    let mut mark = |i: usize| {
        if room > 0 && !keep[i] {
            keep[i] = true;
            room -= 1;
        }
    };
    // The ends of the whole range come first: with little room they must not depend on where a stretch ends.
    let all: Vec<usize> = (0..points.len()).collect();
    mark(points.len() - 1);
    let (lowest, highest) = extremes(points, &all);
    mark(highest);
    mark(lowest);
    let rest: Vec<usize> = all.into_iter().filter(|&i| !keep[i]).collect();
    let stretches = room / 2;
    if stretches == 0 || rest.is_empty() {
        return;
    }
    for stretch in rest.chunks(rest.len().div_ceil(stretches)) {
        let (lowest, highest) = extremes(points, stretch);
        keep[lowest] = true;
        keep[highest] = true;
    }
}

/// Where the smallest and the largest value of a stretch (not empty) are.
fn extremes(points: &[Point], stretch: &[usize]) -> (usize, usize) {
    let mut ends = (stretch[0], stretch[0]);
    for &i in stretch {
        if points[i].value < points[ends.0].value {
            ends.0 = i;
        }
        if points[i].value > points[ends.1].value {
            ends.1 = i;
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::testing::point;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn anomalies_and_the_outline_stay(
            values in prop::collection::vec((0.0f64..1000.0, prop::bool::weighted(0.05)), 1..400),
            limit in 1usize..120,
        ) {
            let points: Vec<Point> =
                values.iter().enumerate().map(|(i, (value, anomaly))| point(i as i64, *value, *anomaly)).collect();
            let few = downsample(&points, limit);
            prop_assert!(few.len() <= limit.max(1));
            prop_assert!(few.windows(2).all(|pair| pair[0].end < pair[1].end));
            prop_assert!(few.iter().all(|p| points[p.end as usize] == *p));
            let anomalies = |points: &[Point]| points.iter().filter(|p| p.anomaly).count();
            prop_assert_eq!(anomalies(&few), anomalies(&points).min(limit));
            if points.len() <= limit {
                prop_assert_eq!(few.len(), points.len());
            } else if limit >= anomalies(&points) + 3 {
                let largest = |points: &[Point]| points.iter().map(|p| p.value).fold(f64::MIN, f64::max);
                let smallest = |points: &[Point]| points.iter().map(|p| p.value).fold(f64::MAX, f64::min);
                prop_assert_eq!(largest(&few), largest(&points));
                prop_assert_eq!(smallest(&few), smallest(&points));
                prop_assert_eq!(few.last(), points.last());
            }
        }
    }
}
