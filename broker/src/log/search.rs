//! Finding a record by its time inside one batch, for ListOffsets.
//!
//! The only place where the broker decompresses: the log finds the batch, this finds the record. Runs outside of
//! every lock.
//!
//! Invariant: damaged records never panic; the search then falls back to the batch's first offset.

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy, Zstd};

use super::batch::{HEADER_BYTES, Header};
use crate::clock::Millis;

/// A record's time and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) timestamp: Millis,
    pub(crate) offset: i64,
}

/// The first record of the batch whose time is at least `at`; the batch must hold one.
pub(crate) fn first_at_or_after(batch: &Bytes, at: Millis) -> Option<Found> {
    let header = Header::parse(batch)?;
    let base_offset = batch.clone().get_i64();
    let first = Found { timestamp: header.base_timestamp, offset: base_offset };
    if header.base_timestamp >= at || header.records == 1 {
        return Some(first);
    }
    Some(search(batch, &header, base_offset, at).unwrap_or(first))
}

fn search(batch: &Bytes, header: &Header, base_offset: i64, at: Millis) -> Result<Found> {
    let mut body = batch.slice(HEADER_BYTES..);
    let find = |records: &mut Bytes| scan(records, header, base_offset, at);
    match header.codec() {
        0 => find(&mut body),
        1 => Gzip::decompress(&mut body, find),
        2 => Snappy::decompress(&mut body, find),
        3 => Lz4::decompress(&mut body, find),
        4 => Zstd::decompress(&mut body, find),
        codec => bail!("unknown codec {codec}"),
    }
}

fn scan(records: &mut Bytes, header: &Header, base_offset: i64, at: Millis) -> Result<Found> {
    for _ in 0..header.records {
        let length = usize::try_from(varint(records)?).context("negative record length")?;
        if length > records.remaining() {
            bail!("a record reaches beyond its batch");
        }
        let mut record = records.split_to(length);
        record.try_get_i8()?;
        let timestamp = header.base_timestamp.saturating_add(varint(&mut record)?);
        let offset = base_offset.saturating_add(varint(&mut record)?);
        if timestamp >= at {
            return Ok(Found { timestamp, offset });
        }
    }
    bail!("no record of the batch is as late as its header says")
}

/// A zigzag-encoded integer of at most ten bytes.
fn varint(bytes: &mut Bytes) -> Result<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = bytes.try_get_u8()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    bail!("a number is longer than ten bytes")
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
