//! The outlier binary as a child process: started, killed, stopped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running outlier; killed when dropped.
pub struct Outlier {
    child: Child,
    pub log: PathBuf,
}

impl Outlier {
    /// Starts `outlier ARGS` with a configuration; its log goes to `NAME.log` beside the configuration.
    pub fn start(config: &Path, name: &str, args: &[&str]) -> Self {
        let dir = config.parent().unwrap();
        let log = dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_outlier"))
            .arg("--config")
            .arg(config)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Runs a command that ends by itself within two minutes.
    pub fn run_to_end(config: &Path, name: &str, args: &[&str]) -> ExitStatus {
        let mut outlier = Self::start(config, name, args);
        let mut status = None;
        super::wait(&format!("the end of {name}"), Duration::from_secs(120), || {
            status = outlier.ended();
            status.is_some()
        });
        status.unwrap()
    }

    /// The address where a service answers for its health and metrics, once it has said so in its log.
    pub fn telemetry(&self) -> String {
        let mut address = None;
        super::wait("the address of /metrics", Duration::from_secs(30), || {
            let log = super::read(&self.log);
            let said = log.lines().rev().find_map(|line| line.split_once("health and metrics address="));
            address = said.map(|(_, address)| address.trim().to_owned());
            address.is_some()
        });
        address.unwrap()
    }

    /// SIGKILL: no goodbye.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// SIGTERM, and the exit status.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let mut status = None;
        super::wait("the end of outlier", Duration::from_secs(30), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Outlier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = super::read(&self.log);
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            println!("--- {}", self.log.display());
            tail.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}
