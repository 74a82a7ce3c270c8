//! The page's files, embedded in the binary.
//!
//! Files are asked for with a hash of them all (`app.js?v=…`) and may be kept for ever; the page itself is always asked
//! for again. `plotly.js` is the one that the crate `plotly` ships; nothing comes from another server.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

const INDEX: &str = include_str!("../../web/index.html");
const LOGIN: &str = include_str!("../../web/login.html");

const PLOTLY: &str = "plotly.js";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 9] = [
    ("app.js", SCRIPT, include_str!("../../web/app.js")),
    ("head.js", SCRIPT, include_str!("../../web/head.js")),
    ("chart.js", SCRIPT, include_str!("../../web/chart.js")),
    ("anomalies.js", SCRIPT, include_str!("../../web/anomalies.js")),
    ("tail.js", SCRIPT, include_str!("../../web/tail.js")),
    ("state.js", SCRIPT, include_str!("../../web/state.js")),
    ("text.js", SCRIPT, include_str!("../../web/text.js")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../web/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../../web/icon.svg")),
];

/// The page and its files.
pub struct Assets {
    index: String,
    login: String,
    files: HashMap<&'static str, (&'static str, Bytes)>,
}

impl Assets {
    /// Unpacks the files and writes their version wherever one names another.
    pub fn new() -> Self {
        let plotly = plotly();
        let mut hasher = DefaultHasher::new();
        (&plotly, FILES).hash(&mut hasher);
        let version = format!("?v={:x}\"", hasher.finish());
        let versioned = |text: &str| {
            let names = FILES.iter().map(|(name, ..)| *name).chain([PLOTLY]);
            names.fold(text.to_owned(), |text, name| {
                let quoted = format!("/assets/{name}\"");
                text.replace(&quoted, &(quoted.trim_end_matches('"').to_owned() + &version))
            })
        };
        let mut files: HashMap<_, _> =
            FILES.iter().map(|(name, kind, text)| (*name, (*kind, Bytes::from(versioned(text))))).collect();
        files.insert(PLOTLY, (SCRIPT, Bytes::from(plotly)));
        Self { index: versioned(INDEX), login: versioned(LOGIN), files }
    }

    /// The dashboard.
    pub fn index(&self) -> Response {
        page(StatusCode::OK, &self.index)
    }

    /// Asks for the token.
    pub fn login(&self) -> Response {
        page(StatusCode::UNAUTHORIZED, &self.login)
    }

    /// A file of the page.
    pub fn file(&self, name: &str) -> Response {
        match self.files.get(name) {
            Some((kind, content)) => {
                let headers =
                    [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
                (headers, content.clone()).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

fn page(status: StatusCode, text: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (status, headers, text.to_owned()).into_response()
}

/// The script of the first of the tags that the crate gives: plotly.js itself; MathJax, the second, is not needed.
fn plotly() -> String {
    let tags = plotly::Plot::offline_js_sources();
    let body = tags.split_once('>').map_or("", |(_, rest)| rest);
    body.split_once("</script>\n").map_or("", |(script, _)| script).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plotly_is_whole() {
        let script = plotly();
        assert!(script.starts_with("/**\n* plotly.js v"), "{:.80}", script);
        assert!(script.len() > 3_000_000, "{} bytes", script.len());
        let end = &script[script.len() - 200..];
        assert!(end.contains("Plotly"), "the script is cut: {end:?}");
    }

    #[test]
    fn the_page_asks_only_for_its_own_files() {
        let assets = Assets::new();
        let files = assets.files.iter().filter(|(name, _)| **name != PLOTLY);
        let files = files.map(|(name, (_, text))| (*name, String::from_utf8_lossy(text).into_owned()));
        let pages = [("index.html", assets.index.clone()), ("login.html", assets.login.clone())];
        for (page, text) in files.chain(pages) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http:") && !text.contains("https:"), "{page} names another server");
            for url in text.split('"').filter(|text| text.starts_with("/assets/")) {
                let name = url.strip_prefix("/assets/").and_then(|rest| rest.split_once("?v=")).map(|(name, _)| name);
                assert!(name.is_some_and(|name| assets.files.contains_key(name)), "{page} asks for {url}");
            }
        }
    }

    #[test]
    fn the_page_never_parses_values_as_html() {
        let ways =
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "Function("];
        for (name, _, text) in FILES {
            for way in ways {
                assert!(!text.contains(way), "{name} uses {way}: make text nodes (textContent) instead");
            }
        }
        for handler in ["onclick=", "onload=", "javascript:", "<script>", "<style>", "style=\""] {
            assert!(!INDEX.contains(handler) && !LOGIN.contains(handler), "the policy forbids {handler}");
        }
    }
}
