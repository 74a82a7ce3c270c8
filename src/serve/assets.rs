//! The page's files, embedded in the binary.
//!
//! Files are asked for with a hash of their content (`app.js?v=…`) and may be kept for ever; the page itself is always
//! asked for again. `plotly.js` is the one that the crate `plotly` ships; nothing comes from another server.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

const INDEX: &str = include_str!("../../web/index.html");
const LOGIN: &str = include_str!("../../web/login.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 3] = [
    ("app.js", SCRIPT, include_str!("../../web/app.js")),
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
    /// Unpacks the files and writes their hashes into the pages.
    pub fn new() -> Self {
        let mut files: HashMap<_, _> =
            FILES.into_iter().map(|(name, kind, text)| (name, (kind, Bytes::from_static(text.as_bytes())))).collect();
        files.insert("plotly.js", (SCRIPT, Bytes::from(plotly())));
        let (mut index, mut login) = (INDEX.to_owned(), LOGIN.to_owned());
        for (name, (_, content)) in &files {
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            for page in [&mut index, &mut login] {
                *page =
                    page.replace(&format!("/assets/{name}\""), &format!("/assets/{name}?v={:x}\"", hasher.finish()));
            }
        }
        Self { index, login, files }
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
        assert!(script.len() > 3_000_000 && !script.contains("MathJax-script"), "{} bytes", script.len());
        let end = &script[script.len() - 200..];
        assert!(end.contains("Plotly"), "the script is cut: {end:?}");
    }

    #[test]
    fn the_page_asks_only_for_its_own_files() {
        let assets = Assets::new();
        for page in [&assets.index, &assets.login] {
            let urls = page.split(['"', '\'']).filter(|text| text.contains("//") || text.starts_with("/assets/"));
            for url in urls {
                let name = url.strip_prefix("/assets/").and_then(|rest| rest.split_once("?v=")).map(|(name, _)| name);
                assert!(name.is_some_and(|name| assets.files.contains_key(name)), "{url}");
            }
        }
        for name in ["app.js", "style.css"] {
            let text = String::from_utf8_lossy(&assets.files[name].1).replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http:") && !text.contains("https:"), "{name} names another server");
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
