//! Why there was no answer, or none that helps, in one sentence each with what to do. No I/O.
//!
//! Invariant: what is told to the operator names a key of the configuration or a thing to do on the cluster's side.

/// A server, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it is.
    pub name: &'static str,
    /// Its address.
    pub url: String,
    /// The configuration's key that has it.
    pub key: &'static str,
}

/// What to do about a request that never got an answer. `why` is the innermost cause, as the HTTP client or the TLS
/// library words it; `timed_out` wins over it.
pub fn no_answer(server: &Server, why: &str, timed_out: bool) -> String {
    let Server { name, url, key } = server;
    let why = cause(why);
    let said = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
    if timed_out {
        format!(
            "{name} at {url} did not answer in time: it is overloaded or stuck; see its log, or raise sink.request_timeout"
        )
    } else if said(&["AWSV4 Signing Failed"]) {
        format!(
            "requests to {url} cannot be signed ({why}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or give the machine a role"
        )
    } else if said(&["certificate required", "alert bad certificate", "alert unknown ca"]) {
        format!(
            "{name} at {url} asks for a client certificate that it knows ({why}): set opensearch.client_cert_file and opensearch.client_key_file"
        )
    } else if said(&["certificate has expired", "certificate is not yet valid"]) {
        format!(
            "the certificate of {name} at {url} is not valid today ({why}): renew it on the server, or set this machine's clock"
        )
    } else if said(&["hostname mismatch", "IP address mismatch", "Hostname mismatch"]) {
        format!("the certificate of {name} is not for the address in {url} ({why}): use a name that it holds in {key}")
    } else if said(&["certificate", "self-signed", "self signed"]) {
        format!(
            "the certificate of {name} at {url} is not trusted ({why}): set opensearch.ca_file to the authority's certificate"
        )
    } else if said(&["wrong version number", "packet length too long", "record layer failure", "http request"]) {
        format!("{name} at {url} does not speak TLS ({why}): write http:// in {key}")
    } else if said(&["failed to lookup address", "Name or service not known", "nodename nor servname"]) {
        format!("the name in {url} is not known to this machine ({why}): check {key}, and DNS")
    } else if url.starts_with("http://") && said(&["connection closed before message completed", "reset by peer"]) {
        format!(
            "{name} at {url} closed the connection without an answer ({why}): if it speaks TLS there, write https:// in {key}; else see its log"
        )
    } else {
        format!("{name} at {url} does not answer ({why}): check that it runs, and {key}")
    }
}

/// What to do about refused credentials.
pub fn unauthorised(server: &Server) -> String {
    format!(
        "{} refused the credentials (401): check opensearch.username and opensearch.password, or opensearch.token",
        server.name
    )
}

/// Of OpenSSL's `error:0A000086:SSL routines:function:reason:file:line: (detail)` the detail, or the reason.
fn cause(why: &str) -> &str {
    if !why.starts_with("error:") {
        return why;
    }
    let detail = why.strip_suffix(')').and_then(|start| Some(start.rsplit_once(": (")?.1));
    detail.or_else(|| why.split(':').nth(4)).unwrap_or(why)
}

/// What to do about a refusal that is about rights, blocks or load and not about what was sent.
pub fn remedy(status: u16, reason: &str) -> &'static str {
    let said = |parts: &[&str]| parts.iter().any(|part| reason.contains(part));
    if said(&["no handler found"]) {
        "it has no such function: check its version (2.7 or later) and its plugins"
    } else if said(&["read-only", "disk usage", "create-index blocked"]) {
        "free disk space on its nodes; a block that somebody set is lifted with \"index.blocks.read_only_allow_delete\": null in the index's settings"
    } else if said(&["cluster_block_exception"]) {
        "lift the block on the index or the cluster"
    } else {
        match status {
            401 | 403 => "give the user of [opensearch] this right",
            404 => "run `outlier setup`",
            429 | 500.. => "it is overloaded or starting; if it lasts, see its log",
            _ => "check opensearch.urls",
        }
    }
}

/// What to do about a refusal with the status of a bad document that is about its index. Told by the error's type and
/// how its own sentence begins: what follows may quote the document.
pub fn index_remedy(kind: &str, reason: &str) -> Option<&'static str> {
    const SETUP: &str = "run `outlier setup`, which says what is in the way";
    match kind {
        // Too many shards in the cluster, an alias in the way of an index or the reverse.
        "validation_exception"
        | "invalid_alias_name_exception"
        | "invalid_index_name_exception"
        | "index_create_block_exception" => Some(SETUP),
        "index_closed_exception" => Some("open it again: POST /<index>/_open"),
        "illegal_argument_exception" if reason.starts_with("no write index is defined") => Some(SETUP),
        "illegal_argument_exception" if reason.starts_with("Number of documents in the index can't exceed") => Some(
            "one of its shards is full: set opensearch.indices = \"daily\" or raise opensearch.shards, which counts for new indices, and reindex or delete this one",
        ),
        "illegal_argument_exception" if reason.starts_with("pipeline with id [") => Some(
            "its setting index.default_pipeline or index.final_pipeline names an ingest pipeline that is gone: restore the pipeline, or take the setting out of the index and of its template",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server { name: "It", url: url.to_owned(), key: "a.key" }
    }

    #[test]
    fn each_cause_has_its_remedy() {
        for (why, timed_out, want) in [
            ("operation timed out", true, "raise sink.request_timeout"),
            ("Connection refused (os error 111)", false, "check that it runs"),
            ("failed to lookup address information: Name or service not known", false, "DNS"),
            (
                "certificate verify failed: (self-signed certificate in certificate chain)",
                false,
                "set opensearch.ca_file",
            ),
            ("certificate verify failed: (unable to get local issuer certificate)", false, "set opensearch.ca_file"),
            ("certificate verify failed: (certificate has expired)", false, "renew it"),
            ("certificate verify failed: (IP address mismatch)", false, "use a name that it holds"),
            ("tlsv13 alert certificate required", false, "opensearch.client_cert_file"),
            ("AWSV4 Signing Failed: no providers in chain provided credentials", false, "AWS_ACCESS_KEY_ID"),
            ("error:0A00010B:SSL routines:tls_validate_record_header:wrong version number", false, "write http://"),
            ("connection closed before message completed", false, "write https://"),
            ("Connection reset by peer (os error 104)", false, "write https://"),
        ] {
            let told = no_answer(&server("http://h:1"), why, timed_out);
            assert!(told.contains(want) && told.contains("http://h:1"), "{why}: {told}");
        }
        let told = no_answer(&server("https://h:1"), "connection closed before message completed", false);
        assert!(told.contains("check that it runs, and a.key"), "{told}");
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        for (status, reason, want) in [
            (
                403,
                "cluster_block_exception: index [x] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)]",
                "disk",
            ),
            (429, "cluster_block_exception: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]", "disk"),
            (403, "cluster_block_exception: blocked by: [FORBIDDEN/10/cluster create-index blocked (api)]", "disk"),
            (403, "cluster_block_exception: index [x] blocked by: [FORBIDDEN/8/index write (api)]", "lift the block"),
            (403, "security_exception: no permissions for [indices:data/write/bulk[s]]", "this right"),
            (404, "index_not_found_exception: no such index [x]", "outlier setup"),
            (503, "unavailable_shards_exception: none", "overloaded or starting"),
            (400, "no handler found for uri [/_bulk]", "check its version"),
        ] {
            assert!(remedy(status, reason).contains(want), "{status} {reason}");
        }
    }
}
