//! The prototype's own outputs, to 1e-6.

use crate::model::full::{Gate, Habit, Surprise};
use crate::pipeline::TimeFormat;
use crate::record::event_time;
use std::path::Path;

#[test]
fn surprise_and_alarms_are_those_of_the_prototype() {
    let Ok(shared) = std::env::var("OUTLIER_SHARED") else {
        println!("skipped: OUTLIER_SHARED is not set");
        return;
    };
    let nab = Path::new(&shared).join("nab");
    let mut files = 0;
    for entry in std::fs::read_dir(nab.join("reference")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let data = nab.join("data").join(name.replacen('-', "/", 1));
        check(&name, &std::fs::read_to_string(data).unwrap(), &std::fs::read_to_string(path).unwrap());
        files += 1;
    }
    assert_eq!(files, 5);
}

fn check(name: &str, data: &str, reference: &str) {
    let (mut surprise, mut gate) = (Surprise::<f64>::new(), Gate::new(Habit::Half));
    assert_eq!(data.lines().count(), reference.lines().count());
    for (i, (row, due)) in data.lines().zip(reference.lines()).skip(1).enumerate() {
        let (time, value) = row.split_once(',').unwrap();
        let due: Vec<&str> = due.split(',').collect();
        assert_eq!(time, due[0]);
        let seconds = event_time(time.as_bytes(), TimeFormat::Iso8601).unwrap() / 1000;
        // The prototype has the first seven components, which do not depend on the others.
        let s = surprise.parts(seconds, value.parse().unwrap())[..7].iter().sum();
        let alarm = gate.observe(i as u64, seconds, s).unwrap_or(0.0);
        for (got, due) in [(s, due[1]), (alarm, due[2])] {
            let due: f64 = due.parse().unwrap();
            assert!((got - due).abs() < 1e-6, "{name} point {i}: {got}, prototype {due}");
        }
    }
}
