//! The services of a course, and what kills them.

use crate::support::outlier::Outlier;
use rand::prelude::*;
use rand::rngs::StdRng;
use std::path::{Path, PathBuf};

/// Services that run at a time, with their configuration and arguments.
#[derive(Default)]
pub struct Fleet {
    /// In the order of their start.
    services: Vec<(&'static str, PathBuf, Vec<String>, Outlier)>,
    started: u32,
}

impl Fleet {
    pub fn start(&mut self, name: &'static str, config: &Path, args: &[&str]) {
        self.started += 1;
        let running = Outlier::start(config, &format!("{name}-{}", self.started), args);
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.services.push((name, config.to_owned(), args, running));
    }

    /// SIGKILL to any service, and a new one in its place.
    pub fn kill_any(&mut self, rng: &mut StdRng) {
        self.kill(rng.random_range(0..self.services.len()));
    }

    /// SIGKILL to the one of these services that runs for the longest time, and a new one in its place.
    pub fn kill_oldest(&mut self, wanted: &str) {
        self.kill(self.services.iter().position(|(name, ..)| *name == wanted).unwrap());
    }

    fn kill(&mut self, victim: usize) {
        let (name, config, args, running) = self.services.remove(victim);
        println!("kill -9 {name} ({})", config.file_stem().unwrap().display());
        running.kill();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.start(name, &config, &args);
    }

    pub fn stop(&mut self, wanted: &str) {
        let (stopped, rest) = std::mem::take(&mut self.services).into_iter().partition(|(name, ..)| *name == wanted);
        self.services = rest;
        for (name, .., running) in stopped {
            assert!(running.stop().success(), "{name} ends well");
        }
    }
}
