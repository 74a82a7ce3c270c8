//! Builds the Kafka Streams application of `bench/streams` with Maven, where there is Maven and Java.

use std::path::Path;
use std::process::{Command, Stdio};

/// Builds into `out`; the class path, or nothing, having said why.
pub fn build(out: &Path) -> Option<String> {
    let pom = concat!(env!("CARGO_MANIFEST_DIR"), "/streams/pom.xml");
    let libraries = out.join("lib");
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f", pom]).arg(format!("-Dout={}", out.display()));
    maven.args(["compile", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", libraries.display())).stdin(Stdio::null());
    match maven.status() {
        Ok(status) if status.success() => Some(format!("{}:{}/*", out.join("classes").display(), libraries.display())),
        Ok(status) => {
            println!("skipped: Kafka Streams, as mvn ended with {status}");
            None
        }
        Err(error) => {
            println!("skipped: Kafka Streams, as mvn cannot be run: {error}");
            None
        }
    }
}
