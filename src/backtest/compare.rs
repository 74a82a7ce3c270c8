//! The difference between two configurations over the same records: who would have been told of what.
//!
//! Invariant: an incident that no incident of the other side's same series overlaps is in the list of its side; every other
//! one of the first configuration is in `both`, with the worst that overlaps it.

use super::incidents::Incident;
use serde::Serialize;
use std::collections::BTreeSet;

/// An incident that both see.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// As the first configuration sees it.
    pub first: Incident,
    /// As the second does: of those of the same series that overlap it, the one of the highest score.
    pub second: Incident,
    /// Peak score of the second less that of the first.
    pub score_difference: f64,
}

/// Incidents by who sees them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Difference {
    /// Only the first configuration.
    pub only_first: Vec<Incident>,
    /// Only the second.
    pub only_second: Vec<Incident>,
    /// Both, at least partly.
    pub both: Vec<Pair>,
}

/// Compares incidents of the same series by overlap.
pub fn difference(first: &[Incident], second: &[Incident]) -> Difference {
    let mut by_series: std::collections::BTreeMap<_, Vec<usize>> = Default::default();
    for (i, incident) in second.iter().enumerate() {
        by_series.entry(&incident.name).or_default().push(i);
    }
    let mut difference = Difference::default();
    let mut seen = BTreeSet::new();
    for incident in first {
        let same = by_series.get(&incident.name).into_iter().flatten().copied();
        let overlapping: Vec<usize> = same.filter(|&i| second[i].overlaps(incident.start, incident.end)).collect();
        seen.extend(overlapping.iter().copied());
        let best = overlapping.into_iter().max_by(|&a, &b| {
            let (a, b) = (&second[a], &second[b]);
            a.peak.score.total_cmp(&b.peak.score).then(b.start.cmp(&a.start))
        });
        match best {
            None => difference.only_first.push(incident.clone()),
            Some(best) => difference.both.push(Pair {
                first: incident.clone(),
                second: second[best].clone(),
                score_difference: second[best].peak.score - incident.peak.score,
            }),
        }
    }
    let unseen = second.iter().enumerate().filter(|(i, _)| !seen.contains(i));
    difference.only_second = unseen.map(|(_, incident)| incident.clone()).collect();
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtest::incidents::{Incidents, tests::row};

    fn incidents(rows: &[(&str, i64, f64)]) -> Vec<Incident> {
        let mut incidents = Incidents::default();
        for (series, start, score) in rows {
            incidents.insert(&row(series, *start, *score), 10_000, 0);
        }
        incidents.into_sorted()
    }

    #[test]
    fn by_series_and_overlap() {
        let first = incidents(&[("a", 0, 91.0), ("a", 10_000, 95.0), ("a", 60_000, 92.0), ("b", 0, 90.0)]);
        let second = incidents(&[("a", 10_000, 99.0), ("b", 10_000, 90.0), ("c", 0, 90.0)]);
        let found = difference(&first, &second);
        let name = |i: &Incident| (i.name.series.clone(), i.start);
        assert_eq!(found.only_first.iter().map(name).collect::<Vec<_>>(), [("b".into(), 0), ("a".to_owned(), 60_000)]);
        assert_eq!(found.only_second.iter().map(name).collect::<Vec<_>>(), [("c".to_owned(), 0), ("b".into(), 10_000)]);
        assert_eq!(found.both.len(), 1);
        assert_eq!(found.both[0].score_difference, 4.0);
    }
}
