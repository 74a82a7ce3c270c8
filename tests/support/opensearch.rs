//! What tests ask of an OpenSearch at `host:port`, in plain HTTP.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The `host:port` of a URL.
pub fn address(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}

/// Documents that a search finds in the index; 0 while there is no index.
pub fn documents(server: &str, index: &str) -> u64 {
    let refreshed = get(server, &format!("/{index}/_refresh"));
    let answer = refreshed.and_then(|_| get(server, &format!("/{index}/_count")));
    let answer = answer.and_then(|body| serde_json::from_str::<Value>(&body).ok());
    answer.and_then(|body| body["count"].as_u64()).unwrap_or(0)
}

/// Deletes everything whose name begins so. What cannot be deleted stays, with a line that says why.
pub fn delete_all(server: &str, prefix: &str) {
    // A data stream's template and indices can only go after it.
    for (kind, options) in
        [("_data_stream/", ""), ("", "?expand_wildcards=all"), ("_index_template/", ""), ("_ingest/pipeline/", "")]
    {
        let path = format!("/{kind}{prefix}*{options}");
        match send(server, "DELETE", &path) {
            Ok(answer) if status(&answer, "200") || status(&answer, "404") => {}
            answer => println!("{path} stays: {answer:?}"),
        }
    }
}

/// The body of a good answer to GET.
pub fn get(server: &str, path: &str) -> Option<String> {
    let answer = send(server, "GET", path).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    status(head, "200").then(|| body.to_owned())
}

fn status(answer: &str, wanted: &str) -> bool {
    answer.split(' ').nth(1) == Some(wanted)
}

fn send(server: &str, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "{method} {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Every document of an index by its id. What the server keeps for it ends by itself.
pub fn all(server: &str, index: &str) -> BTreeMap<String, Value> {
    get(server, &format!("/{index}/_refresh"));
    let mut documents = BTreeMap::new();
    let mut page = format!("/{index}/_search?size=10000&scroll=1m");
    loop {
        let answer = get(server, &page).unwrap_or_else(|| panic!("no answer to {page}"));
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        let hits = answer["hits"]["hits"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if hits.is_empty() {
            return documents;
        }
        for mut hit in hits {
            documents.insert(hit["_id"].as_str().unwrap_or_default().to_owned(), hit["_source"].take());
        }
        page = format!("/_search/scroll?scroll=1m&scroll_id={}", answer["_scroll_id"].as_str().unwrap_or_default());
    }
}
