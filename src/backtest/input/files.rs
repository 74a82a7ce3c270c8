//! Log files and standard input as sources; lines are read and unpacked as `produce` replays them.
//!
//! Invariants: a file is open only while it is being read; the bar moves by the bytes of the files as they lie on the
//! disk.

use super::{Item, Next, Source};
use crate::produce::replay::{Lines, check};
use anyhow::Context;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

/// Read at once from a file.
const BUFFER: usize = 256 * 1024;
/// Read at once from a file that is only asked for its first time.
const PEEK_BUFFER: usize = 4 * 1024;
/// A file whose first lines, this many bytes of them, hold no time is one without a known start.
const PEEK: usize = 1 << 20;

struct LogFile {
    path: PathBuf,
    longest: usize,
    lines: Option<Lines<Box<dyn BufRead>>>,
    bar: ProgressBar,
}

/// The files as sources, and the bytes they hold. Lines over `longest` bytes are skipped.
///
/// # Errors
/// One is not there, or is a folder, or standard input is named twice.
pub fn open(paths: &[PathBuf], longest: usize, bar: &ProgressBar) -> anyhow::Result<(Vec<Box<dyn Source>>, u64)> {
    let bytes = check(paths)?;
    let standard = paths.iter().filter(|path| path.as_os_str() == "-").count();
    anyhow::ensure!(standard <= 1, "standard input (-) can be read only once");
    let source = |path: &PathBuf| -> Box<dyn Source> {
        Box::new(LogFile { path: path.clone(), longest, lines: None, bar: bar.clone() })
    };
    Ok((paths.iter().map(source).collect(), bytes))
}

/// For each file what `time` first says of one of its first lines; `None` for standard input, which cannot be read twice.
pub fn starts<T>(paths: &[PathBuf], longest: usize, mut time: impl FnMut(&[u8]) -> Option<T>) -> Vec<Option<T>> {
    let mut start = |path: &PathBuf| {
        let file = File::open(path).ok().filter(|_| path.as_os_str() != "-")?;
        // What cannot be read here is found again, and told, when the file is read.
        let plain = Box::new(BufReader::with_capacity(PEEK_BUFFER, file));
        let mut lines = Lines::of(plain, longest, true).ok()?;
        let mut seen = 0;
        while seen < PEEK {
            let (batch, end) = match lines.next_batch() {
                Ok(got) => got,
                Err((batch, _)) => (batch, true),
            };
            if let Some(time) = batch.lines().find_map(&mut time) {
                return Some(time);
            }
            seen += batch.lines().map(<[u8]>::len).sum::<usize>().max(1);
            if end {
                break;
            }
        }
        None
    };
    paths.iter().map(&mut start).collect()
}

impl LogFile {
    fn is_standard(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    fn open(&self) -> anyhow::Result<Lines<Box<dyn BufRead>>> {
        let plain: Box<dyn BufRead> = if self.is_standard() {
            Box::new(BufReader::with_capacity(BUFFER, self.bar.wrap_read(io::stdin())))
        } else {
            let file = File::open(&self.path).context("cannot be opened")?;
            Box::new(BufReader::with_capacity(BUFFER, self.bar.wrap_read(file)))
        };
        Lines::of(plain, self.longest, self.is_standard()).context("cannot be read")
    }
}

impl Source for LogFile {
    fn advance(&mut self, each: &mut dyn FnMut(Item<'_>)) -> anyhow::Result<Next> {
        let opened = match self.lines.take() {
            Some(lines) => Ok(lines),
            None => self.open(),
        };
        let mut lines = match opened {
            Ok(lines) => lines,
            Err(error) => return Ok(Next::Broken(format!("{error:#}"))),
        };
        let (batch, next) = match lines.next_batch() {
            Ok((batch, true)) => (batch, Next::End),
            Ok((batch, false)) => (batch, Next::More),
            Err((batch, error)) => {
                let number = lines.number;
                (batch, Next::Broken(format!("cannot be read after line {number}: is it complete? ({error})")))
            }
        };
        if batch.too_long > 0 {
            each(Item::TooLong(batch.too_long));
        }
        batch.lines().for_each(|line| each(Item::Record(Some(line), -1)));
        if next == Next::More {
            self.lines = Some(lines);
        }
        Ok(next)
    }

    fn name(&self) -> String {
        if self.is_standard() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    fn is_scarce(&self) -> bool {
        true
    }
}
