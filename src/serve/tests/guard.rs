//! Who is let in, and the button.

use super::super::trigger::PAUSE;
use super::{World, text, world};
use axum::http::header;

/// Names and values.
type Headers = &'static [(&'static str, &'static str)];

const BODY: &str = r#"{"field":"action"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");
const HOST: (&str, &str) = ("host", "localhost:8080");

#[tokio::test]
async fn only_this_page_or_no_browser_may_press_the_button() {
    let cases: [(Headers, u16); 12] = [
        (&[HOST, JSON], 202),
        (&[HOST, JSON, ("origin", "http://localhost:8080")], 202),
        (&[HOST, JSON, ("origin", "http://LOCALHOST:8080"), ("sec-fetch-site", "same-origin")], 202),
        (&[HOST, JSON, ("origin", "http://localhost:8081")], 403),
        (&[HOST, JSON, ("origin", "http://localhost")], 403),
        (&[HOST, JSON, ("origin", "http://evil.example")], 403),
        (&[HOST, JSON, ("origin", "http://localhost:8080.evil.example")], 403),
        (&[HOST, JSON, ("origin", "null")], 403),
        (&[HOST, JSON, ("origin", "")], 403),
        (&[HOST, JSON, ("origin", "http://localhost:8080"), ("origin", "http://evil.example")], 403),
        (&[HOST, JSON, ("sec-fetch-site", "cross-site")], 403),
        (&[("host", "evil.example"), JSON, ("origin", "http://evil.example")], 421),
    ];
    for (headers, expected) in cases {
        let mut world = world("");
        let response = world.send("POST", "/api/anomaly", headers, BODY).await;
        assert_eq!(response.status().as_u16(), expected, "{headers:?}");
        assert_eq!(world.requests.try_recv().is_ok(), expected == 202, "{headers:?}");
    }
}

#[tokio::test]
async fn a_wish_must_be_small_json_of_a_known_field() {
    let long = format!(r#"{{"field":"{}"}}"#, "a".repeat(2_000));
    let cases = [
        (r#"{"field":"method"}"#, Some(JSON), 400),
        (r#"{"field":"action","more":1}"#, Some(JSON), 422),
        (r#"{"field":1}"#, Some(JSON), 422),
        ("{", Some(JSON), 400),
        (long.as_str(), Some(JSON), 413),
        (BODY, None, 415),
        (BODY, Some(("content-type", "text/plain")), 415),
    ];
    for (body, kind, expected) in cases {
        let headers: Vec<(&str, &str)> = [Some(HOST), kind].into_iter().flatten().collect();
        let response = world("").send("POST", "/api/anomaly", &headers, body).await;
        assert_eq!(response.status().as_u16(), expected, "{body:.40} {kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_button_is_rate_limited() {
    let mut world = world("");
    assert_eq!(press(&world).await, 202);
    assert_eq!(press(&world).await, 429);
    tokio::time::advance(PAUSE).await;
    assert_eq!(press(&world).await, 429, "the generator has not taken the first request");
    assert_eq!(world.requests.recv().await.as_deref(), Some("action"));
    assert_eq!(press(&world).await, 202);
}

async fn press(world: &World) -> u16 {
    world.send("POST", "/api/anomaly", &[HOST, JSON], BODY).await.status().as_u16()
}

#[tokio::test]
async fn a_token_is_needed_where_there_is_one() {
    let world = world("[serve]\ntoken = \"s3cret token\"\n");
    let cases: [(&str, Headers, u16); 16] = [
        ("/api/overview", &[], 401),
        ("/api/overview?token=s3cret%20token", &[], 401),
        ("/api/tail", &[], 401),
        ("/api/events", &[], 401),
        ("/metrics", &[], 401),
        ("/api/overview", &[("authorization", "Bearer s3cret token")], 200),
        ("/api/overview", &[("authorization", "bearer s3cret token")], 200),
        ("/api/overview", &[("authorization", "Bearer s3cret toke")], 401),
        ("/api/overview", &[("authorization", "Bearer s3cret tokenn")], 401),
        ("/api/overview", &[("authorization", "Basic s3cret token")], 401),
        ("/api/overview", &[("authorization", "Bearer")], 401),
        ("/api/overview", &[("cookie", "a=b; outlier_token=73336372657420746f6b656e")], 200),
        ("/api/overview", &[("cookie", "outlier_token=s3cret token")], 401),
        ("/", &[], 401),
        ("/?token=s3cret%20token", &[], 401),
        ("/assets/style.css", &[], 200),
    ];
    for (path, headers, expected) in cases {
        // A token also opens other names than localhost: a proxy stands before it.
        let headers = [headers, &[("host", "logs.example")]].concat();
        let response = world.send("GET", path, &headers, "").await;
        assert_eq!(response.status().as_u16(), expected, "{path} {headers:?}");
    }
    for (path, headers, form, expected) in [
        ("/", &[][..], "token=s3cret%20token", 303),
        ("/", &[], "token=wrong", 401),
        ("/", &[], "", 401),
        // As browsers send it, from a page that names no referrer.
        ("/", &[("origin", "null"), ("sec-fetch-site", "same-origin")], "token=s3cret+token", 303),
        ("/", &[("cookie", "outlier_token=73336372657420746f6b656e")], "token=s3cret+token", 303),
        ("/api/anomaly", &[], "token=s3cret+token", 401),
    ] {
        let headers = [headers, &[("host", "logs.example")]].concat();
        let response = world.send("POST", path, &headers, form).await;
        assert_eq!(response.status().as_u16(), expected, "{path} {headers:?} {form}");
    }
    let long = format!("token=s3cret+token&x={}", "x".repeat(1 << 20));
    assert_eq!(world.send("POST", "/", &[], &long).await.status().as_u16(), 401);
    let login = world.send("POST", "/", &[], "token=s3cret+token").await;
    assert_eq!(login.headers()[header::LOCATION], "/");
    let set = login.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
    assert!(set.starts_with("outlier_token=73336372657420746f6b656e; ") && set.contains("HttpOnly; SameSite=Strict"));
    let health = world.send("GET", "/health", &[], "").await;
    assert_eq!((health.status().as_u16(), text(health).await.as_str()), (200, ""), "no details without the token");
}

#[tokio::test]
async fn another_name_for_a_loopback_address_reads_nothing() {
    let world = world("");
    for (host, expected) in [("localhost:8080", 200), ("127.0.0.1:8080", 200), ("rebound.example:8080", 421)] {
        for path in ["/", "/api/overview", "/api/tail", "/metrics"] {
            let response = world.send("GET", path, &[("host", host)], "").await;
            assert_eq!(response.status().as_u16(), expected, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let world = world("");
    for path in ["/", "/assets/app.js", "/api/overview", "/none", "/health", "/api/events"] {
        let response = world.send("GET", path, &[HOST], "").await;
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self' 'sha256-"),
            "{path}: {policy}"
        );
        let kept = path.starts_with("/assets/");
        let cache = headers["cache-control"].to_str().expect("text");
        assert_eq!(cache.contains("immutable"), kept, "{path}: {cache}");
    }
}
