use super::support::*;
use crate::model::Model;
use rand::SeedableRng;

#[test]
fn explore() {
    let t = |law, mean, rhythm, window: i64| Traffic {
        law,
        mean,
        rhythm,
        window,
    };
    use Law::*;
    for tr in [
        t(Poisson, 0.05, 3.0, 10_000),
        t(Poisson, 0.2, 1.0, 10_000),
        t(Poisson, 0.2, 3.0, 10_000),
        t(Poisson, 5.0, 3.0, 10_000),
        t(Poisson, 50.0, 1.0, 10_000),
        t(Poisson, 50.0, 3.0, 10_000),
        t(Poisson, 300.0, 3.0, 60_000),
        t(Poisson, 5000.0, 3.0, 60_000),
        t(Poisson, 50.0, 3.0, 1_000),
        t(Negative(5.0), 50.0, 1.0, 10_000),
        t(Negative(5.0), 50.0, 3.0, 10_000),
        t(Dispersed(4.0), 50.0, 3.0, 10_000),
        t(Negative(20.0), 1000.0, 3.0, 60_000),t(Negative(20.0), 1000.0, 3.0, 10_000),
        t(Dispersed(2.0), 0.2, 3.0, 10_000),
        t(Share(50), 0.005, 1.0, 10_000),
        t(Share(50), 0.2, 3.0, 10_000),
        t(Share(5000), 0.2, 3.0, 10_000),
        t(MixedShare(5000, 0.04), 0.2, 3.0, 10_000),
        t(MixedShare(50, 0.04), 0.2, 3.0, 10_000),
        t(Share(50), 0.995, 1.0, 10_000),
        t(Normal(0.1), 1000.0, 3.0, 10_000),
        t(LogNormal(0.5), 1000.0, 3.0, 10_000),
        t(LogNormal(0.25), 1000.0, 3.0, 10_000),
    ] {
        let mut out = String::new();
        let mut tot = [[0usize; 3]; 2];
        let mut n = 0;
        let mut d = vec![];
        let t0 = std::time::Instant::now();
        for seed in 0..8 {
            let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
            let mut m = Model::new(tr.law.kind());
            for day in 0..3 {
                let v = tr.run(&mut m, &mut rng, BEGIN + day * DAY, DAY);
                let half = (day > 0) as usize;
                for (k, s) in [50.0, 75.0, 90.0].into_iter().enumerate() {
                    tot[half][k] += reaching(&v, s);
                }
                if day > 0 {
                    n += v.len();
                }
            }
            d.push((
                m.spread.dispersion,
                m.spread.freedom() as f32,
                m.baseline.variance,
            ));
        }
        let el = t0.elapsed().as_nanos() as f64 / (n as f64 * 1.5);
        let exp = n as f64 * 4.64e-4;
        out += &format!(
            "day1 {:?} later {:?} of {n}: rate50/doc {:.2} rate75/doc {:.2} {el:.0}ns {:?}",
            tot[0],
            tot[1],
            tot[1][0] as f64 / exp,
            tot[1][1] as f64 / (n as f64 * 1e-5),
            d[0]
        );
        println!("{tr:?}\n   {out}");
    }
}
