//! The setup against answers as they were recorded from real servers, with all plugins, none, and some.

use super::plugins::{DETECTORS, MONITORS, REMOVE, TEMPLATES, channel, config, lines, rarely};
use super::support::cluster::Cluster;
use super::support::recorded::{self, Recordings};
use super::support::standin::{self, Reply};
use super::{INDEX, run, support};
use std::sync::{Arc, Mutex};

/// A cluster that remembers what is written, and answers in the words of the recordings.
async fn serve(cluster: Cluster) -> Option<(Arc<Mutex<(Cluster, Recordings)>>, String)> {
    let shared = support::shared()?;
    let files = recorded::WITH_PLUGINS.iter().chain([&recorded::PLAIN]);
    let exchanges = files.flat_map(|file| recorded::read(&shared.join("opensearch").join(file)));
    let server = Arc::new(Mutex::new((cluster, Recordings::new(exchanges.collect()))));
    let served = Arc::clone(&server);
    let url = standin::serve(move |request| {
        let (cluster, recordings) = &mut *served.lock().unwrap();
        match cluster.answer(&request) {
            Reply::Json(status, body) => {
                let ours = serde_json::from_str(&body).unwrap();
                Reply::Json(status, recordings.play(&request.method, &request.path, status, &ours).to_string())
            }
            other => other,
        }
    });
    Some((server, url.await))
}

/// The shipped pipeline: a second setup finds nothing to do, whatever the server added.
#[tokio::test]
async fn the_shipped_pipeline_is_made_once_and_taken_away() {
    let Some((server, url)) = serve(Cluster::default()).await else { return };
    let text = format!("[opensearch]\nurls = [{url:?}]\n{}[[pipeline]]\npreset = \"waf\"\n", channel("https://a"));
    let config = support::parse(&text);
    // Templates and indices; a detector a group; a monitor a detector and one a field; on series, flags, detectors.
    let made = TEMPLATES + 1 + 5 + 5 + 5 + 3;
    for (options, counts) in [(INDEX, [made, 0, 0]), (INDEX, [0, 0, 0]), (REMOVE, [0, 0, 4])] {
        let (found, result) = run(&config, options).await;
        result.unwrap();
        assert_eq!(["create", "change", "keep"].map(|start| lines(&found, start)), counts, "{found:#?}");
    }
    assert_eq!(server.lock().unwrap().0.stored.keys().filter(|id| !id.starts_with('/')).count(), 0);
}

#[tokio::test]
async fn what_was_recorded_is_understood_with_all_plugins_none_and_some() {
    let [detection, alerting, notifications, management] =
        ["_anomaly_detection", "_alerting", "_notifications", "_ism"];
    // What is made, what a change of the configuration changes, and how many kinds of requests recordings answered.
    for (absent, made, changed, played) in [
        (vec![], TEMPLATES + DETECTORS + MONITORS + 1, 2, 16),
        (vec![detection], TEMPLATES + MONITORS, 2, 11),
        (vec![alerting], TEMPLATES + DETECTORS + 1, 1, 11),
        (vec![notifications], TEMPLATES + DETECTORS + MONITORS, 1, 12),
        (vec![notifications, detection], TEMPLATES + MONITORS - 1, 1, 7),
        (vec![detection, alerting, notifications, management], TEMPLATES, 0, 3),
    ] {
        let cluster = Cluster { absent: absent.iter().copied().collect(), ..Cluster::default() };
        let Some((server, url)) = serve(cluster).await else { return };
        let [before, after] = [config(&url, &channel("https://a")), config(&url, &rarely(&channel("https://b")))];
        let (found, result) = run(&before, INDEX).await;
        result.unwrap();
        assert_eq!(lines(&found, "create"), made, "{absent:?}: {found:#?}");
        for (config, want) in [(&before, 0), (&after, changed), (&after, 0)] {
            let (found, result) = run(config, INDEX).await;
            result.unwrap();
            let counts = ["create", "change", "keep"].map(|start| lines(&found, start));
            assert_eq!(counts, [0, want, 0], "{absent:?}: {found:#?}");
        }
        let (found, result) = run(&after, REMOVE).await;
        result.unwrap();
        // Four indices hold data.
        assert_eq!(lines(&found, "delete"), made - 4, "{absent:?}: {found:#?}");
        let server = server.lock().unwrap();
        assert_eq!(server.1.played.len(), played, "{absent:?}: {:#?}", server.1.played);
    }
}
