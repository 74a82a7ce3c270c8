//! Who may ask, and what browsers must hold to.
//!
//! Invariants:
//! - With a token, nothing is answered without it but the login page, the page's static files, and whether the service
//!   is healthy and ready (without details).
//! - Without a token on a loopback address, the request's `Host` must be local: another site that lets its own name
//!   point at 127.0.0.1 reads nothing.
//! - Only this page, or what is no browser, may change something; whoever knows the token may sign in.
//! - Every answer carries the security headers.

use super::api::Service;
use crate::config::Secret;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

const COOKIE: &str = "outlier_token";
/// What a login form may have, and how long it may take.
const FORM_BYTES: usize = 8 * 1024;
const FORM_TIME: Duration = Duration::from_secs(10);
/// All comes from this server. Plotly sets style attributes, and makes a style element that is empty (hence the hash of
/// nothing) and filled rule by rule.
const POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; style-src-attr 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Lets a request through or answers in its place.
pub async fn guard(State(service): State<Service>, request: Request, next: Next) -> Response {
    let mut response = admit(&service, request, next).await;
    let api = !response.headers().contains_key(header::CACHE_CONTROL);
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

async fn admit(service: &Service, request: Request, next: Next) -> Response {
    let (hub, path) = (&service.hub, request.uri().path());
    let probe = matches!(path, "/health" | "/ready");
    let Some(token) = &hub.token else {
        if hub.address.ip().is_loopback() && !probe && !local(host(request.headers(), request.uri())) {
            let text = "this dashboard answers only under a local name, such as localhost; \
                        behind a proxy set serve.listen's token";
            return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
        }
        return changing(request, next).await;
    };
    // Also from somebody who is logged in, by another tab.
    if path == "/" && request.method() == Method::POST {
        return match login(request).await {
            Some(text) if same(text.as_bytes(), token.expose().as_bytes()) => welcome(token),
            _ => service.assets.login(),
        };
    }
    if authorized(request.headers(), token) {
        return changing(request, next).await;
    }
    match path {
        "/" => service.assets.login(),
        "/health" | "/ready" => next.run(request).await.status().into_response(),
        path if path.starts_with("/assets/") => next.run(request).await,
        _ => {
            let text = "a token is needed: send it as `Authorization: Bearer …`";
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response()
        }
    }
}

/// Refuses what another site's page makes a browser send.
async fn changing(request: Request, next: Next) -> Response {
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    if reading || same_origin(request.headers(), host(request.headers(), request.uri())) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "another site's page may not do this").into_response()
    }
}

/// `Origin` is absent (no browser) or names the host that was asked.
fn same_origin(headers: &HeaderMap, host: Option<&str>) -> bool {
    let site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => {
            let name = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, name)| name);
            name.zip(host).is_some_and(|(name, host)| name.eq_ignore_ascii_case(host))
        }
        (Some(_), Some(_)) => false,
    };
    site && origin
}

/// The host, and port, that was asked.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| uri.authority().map(|authority| authority.as_str()))
}

/// A name that only this machine has. An address cannot be pointed elsewhere; what has no host is no browser.
fn local(host: Option<&str>) -> bool {
    let Some(host) = host else {
        return true;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// The token is in `Authorization` or in the cookie that [`welcome`] set.
fn authorized(headers: &HeaderMap, token: &Secret) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    if bearer.is_some_and(|given| same(given.as_bytes(), token.expose().as_bytes())) {
        return true;
    }
    let expected = hex(token);
    let cookies = text(header::COOKIE).unwrap_or_default().split(';');
    let mut given = cookies.filter_map(|cookie| cookie.trim().split_once('=')).filter(|(name, _)| *name == COOKIE);
    given.any(|(_, given)| same(given.as_bytes(), expected.as_bytes()))
}

/// Keeps the token in a cookie.
fn welcome(token: &Secret) -> Response {
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000", hex(token));
    let response = Response::builder().status(StatusCode::SEE_OTHER);
    let response = response.header(header::LOCATION, "/").header(header::SET_COOKIE, cookie).body(Body::empty());
    response.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The token that the login page's form sends: in its body, as addresses are kept in histories and in logs of proxies.
/// Where the form came from does not matter: who sends the token knows it, and browsers hide the page's origin (`null`), as
/// [`HEADERS`] ask them to.
async fn login(request: Request) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Login {
        token: String,
    }
    let body = timeout(FORM_TIME, to_bytes(request.into_body(), FORM_BYTES)).await.ok()?.ok()?;
    // A form is written as a query is.
    let uri = Uri::builder().path_and_query(format!("/?{}", str::from_utf8(&body).ok()?)).build().ok()?;
    axum::extract::Query::<Login>::try_from_uri(&uri).ok().map(|login| login.0.token)
}

/// Any bytes as text that a cookie may hold.
fn hex(token: &Secret) -> String {
    token.expose().bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that depends on the lengths alone.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let difference = given.iter().zip(expected).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    given.len() == expected.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_names_are_local() {
        let cases = [
            (None, true),
            (Some("localhost"), true),
            (Some("LOCALHOST:8080"), true),
            (Some("127.0.0.1:8080"), true),
            (Some("[::1]:8080"), true),
            (Some("[::1]"), true),
            (Some("evil.example:8080"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("localhost.evil.example:8080"), false),
            (Some(""), false),
        ];
        for (host, expected) in cases {
            assert_eq!(local(host), expected, "{host:?}");
        }
    }

    #[test]
    fn texts_are_the_same_when_all_bytes_are() {
        let cases = [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false), ("ab", "a", false)];
        for (a, b, expected) in cases {
            assert_eq!(same(a.as_bytes(), b.as_bytes()), expected, "{a:?} {b:?}");
        }
    }
}
