//! Finding a record by its time inside one batch, for ListOffsets.
//!
//! The log finds the batch, this finds the record. Runs outside of every lock.
//!
//! Invariant: damaged records never panic; the search then falls back to the batch's first offset.

use std::io::{BufReader, Read, copy, sink};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};

use super::batch::{HEADER_BYTES, Header};
use super::decompress;
use crate::clock::Millis;

/// As far into a batch's decompressed records a search goes. Clients' batches hold some megabytes; one that claims more
/// than this is taken as damaged.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// A record's time and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) timestamp: Millis,
    pub(crate) offset: i64,
}

/// The first record of the batch whose time is at least `at`; the batch must hold one.
pub(crate) fn first_at_or_after(batch: &Bytes, at: Millis) -> Option<Found> {
    first_within(batch, at, MAX_RECORD_BYTES)
}

fn first_within(batch: &Bytes, at: Millis, limit: u64) -> Option<Found> {
    let header = Header::parse(batch)?;
    let base_offset = batch.clone().get_i64();
    let first = Found { timestamp: header.base_timestamp, offset: base_offset };
    if header.base_timestamp >= at || header.records == 1 {
        return Some(first);
    }
    let records = decompress::reader(header.codec(), batch.slice(HEADER_BYTES..), limit);
    let found = records.and_then(|records| scan(BufReader::new(records), &header, base_offset, at));
    Some(found.unwrap_or(first))
}

fn scan(mut records: impl Read, header: &Header, base_offset: i64, at: Millis) -> Result<Found> {
    for _ in 0..header.records {
        let length = u64::try_from(varint(&mut records)?).context("negative record length")?;
        let mut record = records.by_ref().take(length);
        // Its attributes, which are unused.
        byte(&mut record)?;
        let timestamp = header.base_timestamp.saturating_add(varint(&mut record)?);
        let offset = base_offset.saturating_add(varint(&mut record)?);
        if timestamp >= at {
            return Ok(Found { timestamp, offset });
        }
        copy(&mut record, &mut sink())?;
        ensure!(record.limit() == 0, "a record reaches beyond its batch");
    }
    bail!("no record of the batch is as late as its header says")
}

/// A zigzag-encoded integer of at most ten bytes.
fn varint(bytes: &mut impl Read) -> Result<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = byte(bytes)?;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    bail!("a number is longer than ten bytes")
}

fn byte(bytes: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    bytes.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Batch;
    use crate::log::marker::tests::timed_batch;
    use kafka_protocol::records::Compression;

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn finds_the_record_in_every_codec() {
        for codec in CODECS {
            let mut bytes = timed_batch(-1, -1, -1, false, codec, &[10, 30, 20, 40]).bytes;
            Batch::place(&mut bytes, 100);
            let bytes = bytes.freeze();
            for (at, timestamp, offset) in [(0, 10, 100), (10, 10, 100), (11, 30, 101), (31, 40, 103), (40, 40, 103)] {
                let found = first_at_or_after(&bytes, at);
                assert_eq!(found, Some(Found { timestamp, offset }), "{codec:?} at {at}");
            }
        }
    }

    #[test]
    fn a_search_takes_no_more_than_its_limit() {
        // 20,000 records of 7 to 9 bytes, of which the last is the latest.
        let times = [vec![10; 20_000], vec![30]].concat();
        let (first, last) = (Found { timestamp: 10, offset: 0 }, Found { timestamp: 30, offset: 20_000 });
        for codec in CODECS {
            let bytes = timed_batch(-1, -1, -1, false, codec, &times).bytes.freeze();
            let compressed = codec != Compression::None;
            assert!(!compressed || bytes.len() < 140_000, "{codec:?}: {} bytes", bytes.len());
            for (limit, reaches_last) in [(1 << 20, true), (100_000, !compressed), (0, !compressed)] {
                let expected = if reaches_last { last } else { first };
                assert_eq!(first_within(&bytes, 20, limit), Some(expected), "{codec:?} within {limit}");
            }
        }
    }

    #[test]
    fn a_size_that_lies_takes_no_memory() {
        // One snappy block that claims 4 GiB, alone and framed.
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
        let framed = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x05".as_slice(), &claim].concat();
        for body in [claim.to_vec(), framed] {
            assert!(decompress::reader(2, body.into(), MAX_RECORD_BYTES).is_err());
        }
    }

    #[test]
    fn damage_is_not_a_panic() {
        for codec in CODECS {
            let sound = timed_batch(-1, -1, -1, false, codec, &[10, 30, 20, 40]).bytes.to_vec();
            for at in 0..sound.len() {
                first_at_or_after(&Bytes::copy_from_slice(&sound[..at]), 35);
                for value in [0, 0x7f, 0x80, 0xff] {
                    let mut damaged = sound.clone();
                    damaged[at] = value;
                    first_at_or_after(&damaged.into(), 35);
                }
            }
        }
    }
}
