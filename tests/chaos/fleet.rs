//! The instances of a disturbed group, and what is done to them.
//!
//! Every choice comes from the seed and from nothing that time decides, so a seed always gives the same course.

use crate::support::outlier::Outlier;
use rand::prelude::*;
use rand::rngs::StdRng;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Exit code of a process that was not done within `telemetry.shutdown_deadline`: it waited for what others held.
const FORCED: i32 = 130;

/// An instance of the group.
struct Member {
    name: String,
    configuration: PathBuf,
    process: Outlier,
    /// Stopped by SIGSTOP until this round and this moment.
    frozen: Option<(u64, Instant)>,
}

/// Some instances of `process`, each with a configuration of its own.
pub struct Fleet {
    configurations: Vec<PathBuf>,
    members: Vec<Member>,
    started: usize,
    size: usize,
    begun: Instant,
}

impl Fleet {
    /// Configurations are taken in turn.
    pub fn new(configurations: Vec<PathBuf>) -> Self {
        Self { configurations, members: Vec::new(), started: 0, size: 1, begun: Instant::now() }
    }

    /// Starts instances until there are as many as there should be. None may have ended by itself.
    pub fn fill(&mut self) {
        for member in &mut self.members {
            let ended = member.process.ended();
            assert!(ended.is_none(), "{} ended by itself: {ended:?}", member.name);
        }
        while self.members.len() < self.size {
            let configuration = &self.configurations[self.started % self.configurations.len()];
            self.started += 1;
            let kind = configuration.file_stem().unwrap().to_string_lossy();
            let name = format!("{}-{kind}", self.started);
            let process = Outlier::start(configuration, &name, &["process"]);
            self.members.push(Member {
                name: name.clone(),
                configuration: configuration.clone(),
                process,
                frozen: None,
            });
            self.say(&format!("start {name}"));
        }
    }

    /// Changes how many instances there should be; those that are too many are asked to stop.
    pub fn resize(&mut self, rng: &mut StdRng, size: usize) {
        self.size = size;
        while self.members.len() > size
            && let Some(victim) = self.awake(rng)
        {
            self.stop(victim);
        }
    }

    /// Asks every instance with this configuration to stop, and starts no other with it.
    pub fn retire(&mut self, configuration: &Path) {
        self.configurations.retain(|other| other != configuration);
        while let Some(victim) = self.members.iter().position(|member| member.configuration == configuration) {
            self.stop(victim);
        }
    }

    /// SIGKILL to an instance that is awake, if there is one.
    pub fn kill(&mut self, rng: &mut StdRng) {
        if let Some(victim) = self.awake(rng) {
            let Member { name, process, .. } = self.members.swap_remove(victim);
            process.kill();
            self.say(&format!("kill -9 {name}"));
        }
    }

    /// SIGSTOP to an instance that is awake, for so many ms and at least until `round`.
    pub fn freeze(&mut self, rng: &mut StdRng, round: u64, ms: Range<u64>) {
        let frozen = Duration::from_millis(rng.random_range(ms));
        if let Some(victim) = self.awake(rng) {
            let member = &mut self.members[victim];
            member.process.signal("STOP");
            member.frozen = Some((round, Instant::now() + frozen));
            let text = format!("freeze {} for {frozen:?}", member.name);
            self.say(&text);
        }
    }

    /// SIGCONT to those whose time has come in this round.
    pub fn thaw(&mut self, round: u64) {
        for i in 0..self.members.len() {
            let member = &mut self.members[i];
            if let Some((_, until)) = member.frozen.take_if(|(due, _)| *due <= round) {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                member.process.signal("CONT");
                let text = format!("thaw {}", member.name);
                self.say(&text);
            }
        }
    }

    /// The instances that there are, all awake at the end of a course.
    pub fn into_processes(self) -> Vec<Outlier> {
        assert!(self.members.iter().all(|member| member.frozen.is_none()));
        self.members.into_iter().map(|member| member.process).collect()
    }

    /// A line of the course.
    pub fn say(&self, what: &str) {
        println!("{:7.2} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn stop(&mut self, victim: usize) {
        let Member { name, process, .. } = self.members.swap_remove(victim);
        let status = process.stop();
        self.say(&format!("stop {name}: {status}"));
        assert!(status.success() || status.code() == Some(FORCED), "{name}: {status}");
    }

    fn awake(&self, rng: &mut StdRng) -> Option<usize> {
        let awake = |(i, member): (usize, &Member)| member.frozen.is_none().then_some(i);
        self.members.iter().enumerate().filter_map(awake).choose(rng)
    }
}
