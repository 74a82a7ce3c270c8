//! The benchmark's scoring, written from its paper (Lavin and Ahmad 2015, "Evaluating Real-time Anomaly
//! Detection Algorithms"): early detection inside a window earns most, each further one in it nothing,
//! a false alarm costs little just behind a window and the whole weight far from one.
//!
//! Invariants: points of the probationary period never count; scores of thresholds are those of all points
//! at or above it.

use super::corpus::Series;

/// What right and wrong are worth.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// As the benchmark calls it.
    pub name: &'static str,
    /// Cost of a false alarm.
    pub false_positive: f64,
    /// Cost of a window without an alarm.
    pub false_negative: f64,
}

/// The benchmark's three.
pub const PROFILES: [Profile; 3] = [
    Profile { name: "standard", false_positive: 0.11, false_negative: 1.0 },
    Profile { name: "reward low FP", false_positive: 0.22, false_negative: 1.0 },
    Profile { name: "reward low FN", false_positive: 0.11, false_negative: 2.0 },
];

/// One point that counts: how anomalous the detector calls it, and what an alarm here is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The detector's output, 0 to 1.
    pub output: f64,
    /// In units of a perfect detection inside a window, else of the cost of a false alarm.
    pub worth: f64,
    /// The window it lies in.
    pub window: Option<usize>,
}

/// 1 long before 0, -1 long after it.
fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// The points at which a series' detector can win or lose. `first` is the number of its first window.
pub fn candidates(series: &Series, outputs: &[f64], first: usize) -> Vec<Candidate> {
    let points = outputs.len();
    let probation = (0.15 * points.min(5000) as f64) as usize;
    let mut windows = series.windows.iter().enumerate().peekable();
    let mut before: Option<(usize, usize)> = None;
    let mut all = Vec::with_capacity(points);
    for (i, &output) in outputs.iter().enumerate() {
        while let Some((_, window)) = windows.next_if(|(_, window)| window.1 < i) {
            before = Some(*window);
        }
        let (worth, window) = match (windows.peek(), before) {
            (Some(&(k, &(from, to))), _) if from <= i => {
                let position = -((to - i + 1) as f64) / (to - from + 1) as f64;
                (sigmoid(position) / sigmoid(-1.0), Some(first + k))
            }
            (_, Some((from, to))) => (sigmoid((i - to) as f64 / ((to - from) as f64).max(1.0)), None),
            (_, None) => (-1.0, None),
        };
        if i >= probation {
            all.push(Candidate { output, worth, window });
        }
    }
    all
}

/// The raw score at every threshold, from "no alarm" down.
fn sweep(candidates: &[Candidate], windows: usize, profile: &Profile) -> Vec<(f64, f64)> {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by(|a, b| b.output.total_cmp(&a.output));
    let mut best: Vec<f64> = vec![-profile.false_negative; windows];
    let mut score = -profile.false_negative * windows as f64;
    let mut scores = vec![(1.1, score)];
    for (k, candidate) in sorted.iter().enumerate() {
        score += match candidate.window {
            Some(window) => {
                let gain = (candidate.worth - best[window]).max(0.0);
                best[window] += gain;
                gain
            }
            None => profile.false_positive * candidate.worth,
        };
        if sorted.get(k + 1).is_none_or(|next| next.output != candidate.output) {
            scores.push((candidate.output, score));
        }
    }
    scores
}

/// The threshold that scores best, and the raw score there; of equals the highest.
pub fn optimum(candidates: &[Candidate], windows: usize, profile: &Profile) -> (f64, f64) {
    let mut best = (1.1, f64::NEG_INFINITY);
    for (threshold, score) in sweep(candidates, windows, profile) {
        if score > best.1 {
            best = (threshold, score);
        }
    }
    best
}

/// The raw score at a threshold.
pub fn at(candidates: &[Candidate], windows: usize, profile: &Profile, threshold: f64) -> f64 {
    let reached = sweep(candidates, windows, profile).into_iter().rev().find(|s| s.0 >= threshold);
    reached.map_or(-profile.false_negative * windows as f64, |s| s.1)
}

/// 0 for a detector that never raises an alarm, 100 for one that raises each at a window's beginning.
pub fn normalised(raw: f64, windows: usize, profile: &Profile) -> f64 {
    let null = -profile.false_negative * windows as f64;
    100.0 * (raw - null) / (windows as f64 - null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: usize, windows: &[(usize, usize)]) -> Series {
        let points = (0..points).map(|i| (i as i64, 0.0)).collect();
        Series { name: "a/b.csv".to_owned(), points, windows: windows.to_vec() }
    }

    /// Alarms at these points of 100 with one window from 50 to 59; the probation is 15.
    #[test]
    fn each_alarm_earns_what_the_paper_says() {
        // By hand: sigma(y) = 2 / (1 + e^(5y)) - 1; sigma(-1) = 0.98661, sigma(-0.5) = 0.84828,
        // sigma(-0.1) = 0.24492; behind the window y = k / 9: sigma(1/9) = -0.27084, sigma(27/9) = -1.0.
        let [standard, low_fp, low_fn] = PROFILES;
        for (alarms, profile, due) in [
            (&[][..], standard, -1.0),
            (&[][..], low_fn, -2.0),
            (&[14], standard, -1.0),
            (&[15], standard, -1.11),
            (&[15, 20], low_fp, -1.44),
            (&[50], standard, 1.0),
            (&[50, 51, 59], standard, 1.0),
            (&[55], standard, 0.859_79),
            (&[59], low_fn, 0.248_24),
            (&[60], standard, -1.029_79),
            (&[50, 60], low_fp, 0.940_42),
            (&[95], standard, -1.11),
        ] {
            let outputs: Vec<f64> = (0..100).map(|i| f64::from(u8::from(alarms.contains(&i)))).collect();
            let candidates = candidates(&series(100, &[(50, 59)]), &outputs, 0);
            assert_eq!(candidates.len(), 85);
            let got = at(&candidates, 1, &profile, 0.5);
            assert!((got - due).abs() < 1e-4, "{alarms:?} {}: {got}, due {due}", profile.name);
        }
    }

    #[test]
    fn the_threshold_that_scores_best_is_found() {
        // A false alarm at 0.9, the window's first point at 0.8, more false alarms at 0.3.
        let mut outputs = vec![0.0; 100];
        (outputs[20], outputs[50], outputs[30], outputs[31]) = (0.9, 0.8, 0.3, 0.3);
        let candidates = candidates(&series(100, &[(50, 59)]), &outputs, 0);
        let (threshold, score) = optimum(&candidates, 1, &PROFILES[0]);
        assert_eq!(threshold, 0.8);
        assert!((score - 0.89).abs() < 1e-9);
        assert!((normalised(score, 1, &PROFILES[0]) - 94.5).abs() < 1e-9);
    }

    #[test]
    fn null_and_perfect_detectors_have_0_and_100() {
        for profile in PROFILES {
            let never = candidates(&series(100, &[(50, 59), (70, 79)]), &[0.0; 100], 0);
            let silent = at(&never, 2, &profile, 0.5);
            assert_eq!(normalised(silent, 2, &profile), 0.0);
            assert_eq!(normalised(2.0, 2, &profile), 100.0);
        }
    }
}
