//! `outlier alert list`.

use crate::scene::Scene;
use crate::support::fits_schema;
use std::process::Command;

#[test]
fn open_alerts_are_listed_the_worst_first() {
    let scene = Scene::new("alert-list", "");
    let list = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlier"));
        let output = command.arg("--config").arg(&scene.config).args(["alert", "list"]).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(list(&[]).contains("holds no open alert"));
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[95.0]);
    scene.rows("sum(good)", 0, &[99.0]);
    scene.rows("count", 0, &[95.0, 1.0, 1.0, 1.0]);
    scene.until("three alerts", |latest| latest.len() == 3 && latest.iter().any(|alert| alert["state"] == "resolved"));
    let text = list(&[]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].ends_with("  firing, critical  action sum(good)"), "{text}");
    assert!(lines[1].contains(", 10 s; 99 where 1 was expected, score 99"), "{text}");
    assert_eq!(lines[5], "    why: httpRequest.country XX: 90 % now, 2 % usually");
    assert!(list(&["--limit", "1"]).ends_with("1 more; --limit shows them\n"));
    fits_schema("alerts", &[serde_json::from_str(list(&["--json", "--limit", "1"]).trim()).unwrap()]);
    drop(alert);
}
