//! A broker that a test may kill and start again.

use std::process::{Command, Stdio};

/// The command of `OUTLIER_KAFKA_CONTROL`: with the argument `kill` it ends the broker of `KAFKA_BOOTSTRAP_SERVERS`
/// without a goodbye, with `up` it starts it again with what it had, and waits until it answers.
pub struct Control(String);

impl Control {
    /// `None`, with a line that says so, where there is no such command. The embedded broker keeps its log in memory.
    pub fn find() -> Option<Self> {
        let real = std::env::var("KAFKA_BOOTSTRAP_SERVERS").is_ok();
        let command = std::env::var("OUTLIER_KAFKA_CONTROL").ok().filter(|command| real && !command.is_empty());
        if command.is_none() {
            println!("skipped: broker kills: OUTLIER_KAFKA_CONTROL is not set, or the broker is the embedded one");
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
