//! Files into batches of lines: gzip and Zstandard are recognised by their first bytes, long lines are skipped in
//! bounded memory.
//!
//! Invariants: a batch holds at most [`BATCH_BYTES`] and one line more; blank lines are no records; `\r\n` ends a
//! line as `\n` does, and the end of a file ends its last line.

use anyhow::Context;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Sender;

/// A batch is handed on when it has so many bytes, or when its input would have to be waited for.
const BATCH_BYTES: usize = 256 * 1024;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Lines of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Range<usize>>,
    /// Lines that were longer than allowed, and are not in here.
    pub too_long: u64,
}

impl Batch {
    /// The lines, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter_map(|line| self.bytes.get(line.clone()))
    }
}

/// Reads every input to its end, or to the first error, or until nobody listens any more.
pub(super) fn read_all(inputs: &[PathBuf], longest: usize, to: &Sender<anyhow::Result<Batch>>) {
    for input in inputs {
        match read_one(input, longest, to) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                // Nobody listens any more: the run is over anyway.
                let _ = to.blocking_send(Err(error));
                return;
            }
        }
    }
}

/// False when nobody listens any more.
fn read_one(input: &Path, longest: usize, to: &Sender<anyhow::Result<Batch>>) -> anyhow::Result<bool> {
    let name = if input.as_os_str() == "-" { "standard input".to_owned() } else { input.display().to_string() };
    let (plain, is_live): (Box<dyn BufRead>, bool) = if input.as_os_str() == "-" {
        (Box::new(io::stdin().lock()), true)
    } else {
        let file = File::open(input).with_context(|| format!("{name} cannot be opened"))?;
        (Box::new(BufReader::with_capacity(BATCH_BYTES, file)), false)
    };
    let mut lines = Lines::of(plain, longest, is_live).with_context(|| format!("{name} cannot be read"))?;
    loop {
        let batch = lines.next_batch();
        let (batch, end) = match batch {
            Ok(batch) => batch,
            Err((batch, error)) => {
                let _ = to.blocking_send(Ok(batch));
                let told = format!("{name} cannot be read after line {}: is it complete?", lines.number);
                return Err(anyhow::Error::new(error).context(told));
            }
        };
        if batch.too_long > 0 {
            let (count, before) = (batch.too_long, lines.number);
            tracing::warn!("{name}: skipped {count} lines over {longest} bytes, up to line {before}");
        }
        if to.blocking_send(Ok(batch)).is_err() {
            return Ok(false);
        }
        if end {
            return Ok(true);
        }
    }
}

/// Splits an input into lines.
pub(crate) struct Lines<R> {
    input: R,
    longest: usize,
    /// What was read is handed on at once.
    is_live: bool,
    /// Lines read so far.
    pub number: u64,
}

impl Lines<Box<dyn BufRead>> {
    /// The lines of an input, unpacked if it begins as gzip or Zstandard does; those over `longest` bytes are skipped. A
    /// live input's lines are handed on as soon as they are there.
    pub fn of(mut plain: Box<dyn BufRead>, longest: usize, is_live: bool) -> io::Result<Self> {
        let start = plain.fill_buf()?;
        let (gzip, zstd) = (start.starts_with(&GZIP), start.starts_with(&ZSTD));
        let unpacked: Box<dyn Read> = match (gzip, zstd) {
            (true, _) => Box::new(MultiGzDecoder::new(plain)),
            (_, true) => Box::new(zstd::Decoder::with_buffer(plain)?),
            _ => return Ok(Self::new(plain, longest, is_live)),
        };
        Ok(Self::new(Box::new(BufReader::with_capacity(BATCH_BYTES, unpacked)), longest, is_live))
    }
}

impl<R: BufRead> Lines<R> {
    fn new(input: R, longest: usize, is_live: bool) -> Self {
        Self { input, longest, is_live, number: 0 }
    }

    /// The next lines, and whether they are the last; on an error what was read before it.
    pub fn next_batch(&mut self) -> Result<(Batch, bool), (Batch, io::Error)> {
        let mut batch = Batch::default();
        // Where the line being read begins, and whether it is too long already.
        let mut begin = 0;
        let mut skipping = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err((batch, error)),
            };
            if available.is_empty() {
                let ended = self.end_line(&mut batch, begin, skipping);
                self.number += u64::from(ended);
                return Ok((batch, true));
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.unwrap_or(available.len());
            // One byte more is kept for a carriage return.
            skipping |= batch.bytes.len() - begin + taken > self.longest + 1;
            if skipping {
                batch.bytes.truncate(begin);
            } else {
                batch.bytes.extend_from_slice(&available[..taken]);
            }
            let drained = newline.map_or(taken, |at| at + 1);
            // A line whose end is not there yet may be long in coming.
            let waits = self.is_live && !available[drained..].contains(&b'\n');
            self.input.consume(drained);
            if newline.is_some() {
                self.end_line(&mut batch, begin, skipping);
                self.number += 1;
                begin = batch.bytes.len();
                skipping = false;
                if begin >= BATCH_BYTES || waits {
                    return Ok((batch, false));
                }
            }
        }
    }

    /// Notes the line that began at `begin`; false when there was none.
    fn end_line(&self, batch: &mut Batch, begin: usize, skipped: bool) -> bool {
        let line = &batch.bytes[begin..];
        let length = line.strip_suffix(b"\r").unwrap_or(line).len();
        if skipped || length > self.longest {
            batch.bytes.truncate(begin);
            batch.too_long += 1;
        } else if line.trim_ascii().is_empty() {
            let some = !line.is_empty();
            batch.bytes.truncate(begin);
            return some;
        } else {
            batch.lines.push(begin..begin + length);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &[u8], buffer: usize, longest: usize, is_live: bool) -> (Vec<Vec<u8>>, u64, u64) {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, text), longest, is_live);
        let mut got = Vec::new();
        let mut too_long = 0;
        loop {
            let (batch, end) = lines.next_batch().unwrap();
            got.extend(batch.lines().map(<[u8]>::to_vec));
            too_long += batch.too_long;
            if end {
                return (got, too_long, lines.number);
            }
        }
    }

    #[test]
    fn lines_are_split() {
        for (text, expected, too_long, number) in [
            ("", &[][..], 0, 0),
            ("a", &["a"], 0, 1),
            ("a\n", &["a"], 0, 1),
            ("a\r\nb\n\n  \nc\r", &["a", "b", "c"], 0, 5),
            ("12345678\n123456789\n12345678\r\n123456789\r\nx", &["12345678", "12345678", "x"], 2, 5),
            ("123456789", &[], 1, 1),
        ] {
            for buffer in 1..12 {
                let expected: Vec<Vec<u8>> = expected.iter().map(|line| line.as_bytes().to_vec()).collect();
                assert_eq!(
                    all(text.as_bytes(), buffer, 8, false),
                    (expected, too_long, number),
                    "{text:?} by {buffer}"
                );
            }
        }
    }

    /// A pipe that is filled in blocks ends in the middle of a line nearly always.
    #[test]
    fn a_live_line_waits_for_no_other() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut lines = Lines::new(BufReader::new(b"a\nb\nc".chain(Broken)), 8, true);
        let (batch, end) = lines.next_batch().unwrap();
        assert_eq!((batch.lines().collect::<Vec<_>>(), end), (vec![&b"a"[..], b"b"], false));
        assert!(lines.next_batch().is_err());
    }

    proptest! {
        #[test]
        fn as_the_plain_way_says(text in "[ab\r\n ]{0,60}", buffer in 1usize..70, live in any::<bool>()) {
            let expected: Vec<Vec<u8>> = text
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line))
                .filter(|line| !line.trim_ascii().is_empty() && line.len() <= 5)
                .map(|line| line.as_bytes().to_vec())
                .collect();
            prop_assert_eq!(all(text.as_bytes(), buffer, 5, live).0, expected);
        }
    }
}
