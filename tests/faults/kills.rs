//! OpenSearch itself is killed (`kill -9`) and started again while the sink writes.

use crate::course::{Target, config};
use crate::records::{LARGEST, Records};
use crate::support::control::Control;
use crate::support::from_env;
use crate::support::kafka::Kafka;
use crate::support::proxy::{Plan, Proxy};
use crate::support::sink::check_offsets;
use crate::support::sink::{Running, outcomes};
use crate::support::within;
use crate::{SERVER, support};
use outlier::setup;
use rand::prelude::*;
use rand::rngs::StdRng;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_of_opensearch_loses_or_doubles_a_record() {
    let Some(server) = support::opensearch() else { return };
    let Some(control) = Control::opensearch() else { return };
    let _turn = SERVER.lock().await;
    let (seed, kills): (u64, u64) = (from_env("OUTLIER_SEED", 1), from_env("OUTLIER_FAULT_SEEDS", 1));
    let mut rng = StdRng::seed_from_u64(seed);
    let kafka = Kafka::start();
    let control = std::sync::Arc::new(control);
    for kill in 0..kills {
        // Enough that the sink is not done before the kill.
        let records = Records::produce(&kafka, 200).await;
        let own = support::Name::new("kill");
        let target = Target::server(&records, &own, &server).await;
        // Without faults of its own; documents that are too large are the same as ever.
        let plan = Plan { seed, faults: Vec::new(), most: 0, stall: Duration::ZERO, largest: LARGEST };
        let proxy = Proxy::start(&server, plan, None).await;
        let mut config = config(&records, &own, &format!("urls = [{:?}]", proxy.url));
        // Slow enough that the kill comes before the end.
        (config.sink.bulk_requests, config.sink.bulk_records) = (1, 10);
        setup::ensure_topics(&config).await.unwrap();
        let running = Running::start(&config);
        let (all, part) = (records.expected.all() as u64, rng.random_range(1..1_500));
        let what = format!("kill {kill} with seed {seed} after {part} of {all}");
        within(Duration::from_secs(60), &what, || outcomes(&running.telemetry, "p").0 >= part).await;
        let (control, telemetry) = (std::sync::Arc::clone(&control), running.telemetry.clone());
        let killed = tokio::task::spawn_blocking(move || {
            control.kill();
            let done = outcomes(&telemetry, "p").0;
            control.up();
            done
        });
        let done = killed.await.unwrap();
        assert!(done < all, "{what}: nothing was left to be indexed");
        within(Duration::from_secs(120), &what, || outcomes(&running.telemetry, "p").0 >= all).await;
        let (read, out, there, rejected) = running.stop().await;
        println!("{what}: {out} indexed, {there} there already, {rejected} rejected");
        assert_eq!(read, all, "{what}");
        assert_eq!((out + there) as usize, records.expected.indexed(), "{what}");
        target.check(&own, &records.expected, &what);
        records.expected.check_rejected(&kafka.read_all(&config.pipelines[0].topics.rejected), &what);
        check_offsets(&kafka.bootstrap, &config, &what);
    }
}
