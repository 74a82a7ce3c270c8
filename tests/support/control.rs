//! A server that a test may kill and start again.

use std::process::{Command, Stdio};

/// A command that ends a server without a goodbye when it is called with the argument `kill`, starts it again with what
/// it had when it is called with `up`, and waits until it answers.
pub struct Control(String);

impl Control {
    /// That of `OUTLIER_KAFKA_CONTROL` for the broker of `KAFKA_BOOTSTRAP_SERVERS`. The embedded broker keeps its log in
    /// memory.
    pub fn kafka() -> Option<Self> {
        Self::find("OUTLIER_KAFKA_CONTROL", "KAFKA_BOOTSTRAP_SERVERS")
    }

    /// That of `OUTLIER_OPENSEARCH_CONTROL` for the OpenSearch of `OPENSEARCH_URL`.
    pub fn opensearch() -> Option<Self> {
        Self::find("OUTLIER_OPENSEARCH_CONTROL", "OPENSEARCH_URL")
    }

    /// `None`, with a line that says so, where there is no such command or no such server.
    fn find(variable: &str, server: &str) -> Option<Self> {
        let of = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let command = of(server).and(of(variable));
        if command.is_none() {
            println!("skipped: kills of the server: {variable} or {server} is not set");
        }
        command.map(Self)
    }

    pub fn kill(&self) {
        self.call("kill");
    }

    pub fn up(&self) {
        self.call("up");
    }

    fn call(&self, argument: &str) {
        let line = format!("{} {argument}", self.0);
        let status = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "{line}");
    }
}
