//! The two dashboards of a pipeline: the executive's and the analyst's.

use super::charts::{Chart, Place};
use super::{Of, Saved};
use serde_json::{Value, json};

/// Columns of the grid.
const WIDTH: usize = 48;

pub(super) fn wanted(of: &Of<'_>, charts: &[Chart]) -> Vec<Saved> {
    use Place::{Detail, Number, Offenders, Overview, Story, Table};
    let executive = board(of, "executive", "now-24h", charts, &[Number, Overview, Story, Offenders]);
    let analyst = board(of, "analyst", "now-4h", charts, &[Number, Table, Overview, Detail, Story, Offenders]);
    vec![executive, analyst]
}

fn size(place: Place) -> (usize, usize) {
    match place {
        Place::Number => (WIDTH / 2, 6),
        Place::Overview | Place::Detail => (WIDTH / 2, 12),
        Place::Story => (WIDTH / 3, 12),
        Place::Offenders => (WIDTH / 3, 10),
        Place::Table | Place::Discover => (WIDTH, 14),
    }
}

/// The charts of these places in rows, one place below the other.
fn board(of: &Of<'_>, name: &str, since: &str, charts: &[Chart], places: &[Place]) -> Saved {
    let (mut panels, mut references) = (Vec::new(), Vec::new());
    let (mut x, mut y) = (0, 0);
    for place in places {
        let (width, height) = size(*place);
        for chart in charts.iter().filter(|chart| chart.place == *place) {
            if x + width > WIDTH {
                (x, y) = (0, y + height);
            }
            let i = (panels.len() + 1).to_string();
            let reference = format!("panel_{i}");
            panels.push(json!({
                "version": "2.0.0",
                "gridData": {"x": x, "y": y, "w": width, "h": height, "i": i},
                "panelIndex": i,
                "embeddableConfig": own_time(chart),
                "panelRefName": reference,
            }));
            references.push(json!({"name": reference, "type": chart.saved.kind, "id": chart.saved.id}));
            x += width;
        }
        if x > 0 {
            (x, y) = (0, y + height);
        }
    }
    let source = json!({"query": {"query": "", "language": "kuery"}, "filter": []});
    let attributes = json!({
        "title": format!("{}: {name}", of.pipeline.name),
        "description": "Made by outlier setup",
        "hits": 0,
        "panelsJSON": Value::from(panels).to_string(),
        "optionsJSON": json!({"hidePanelTitles": false, "useMargins": true}).to_string(),
        "version": 1,
        "timeRestore": true,
        "timeFrom": since,
        "timeTo": "now",
        "refreshInterval": {"pause": false, "value": 30_000},
        "kibanaSavedObjectMeta": {"searchSourceJSON": source.to_string()},
    });
    Saved { kind: "dashboard", id: of.id(name), attributes, references }
}

fn own_time(chart: &Chart) -> Value {
    chart.since.map_or(json!({}), |since| json!({"timeRange": {"from": since, "to": "now"}}))
}
