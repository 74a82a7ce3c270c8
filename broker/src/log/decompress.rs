//! The records of one batch as a reader, whatever codec they are in.
//!
//! The only place where the broker decompresses. A small batch can claim to hold any amount, so the caller says how
//! much it takes; beyond that the records end.
//!
//! Invariant: memory stays within the limit, and what zstd needs to look back (at most 128 MiB, as far as they are
//! written).

use std::io::Read;

use anyhow::{Result, bail, ensure};
use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use snap::raw::{Decoder as SnapDecoder, decompress_len};

/// How snappy blocks begin when they are framed as in Kafka; else the body is one block.
const SNAPPY_FRAMES: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// A reader of at most `limit` decompressed bytes; what is not compressed is not limited.
///
/// # Errors
/// An unknown codec, or damage that shows at once.
pub(crate) fn reader(codec: i16, body: Bytes, limit: u64) -> Result<Box<dyn Read>> {
    Ok(match codec {
        0 => Box::new(body.reader()),
        1 => Box::new(GzDecoder::new(body.reader()).take(limit)),
        2 => Box::new(Bytes::from(unsnap(body, limit)?).reader()),
        3 => Box::new(lz4::Decoder::new(body.reader())?.take(limit)),
        4 => Box::new(zstd::Decoder::with_buffer(body.reader())?.take(limit)),
        codec => bail!("unknown codec {codec}"),
    })
}

/// Snappy has no stream within a block, but says each block's size in front.
fn unsnap(mut body: Bytes, limit: u64) -> Result<Vec<u8>> {
    let mut records = Vec::new();
    if !body.starts_with(SNAPPY_FRAMES) {
        unsnap_block(&body, limit, &mut records)?;
        return Ok(records);
    }
    body.advance(SNAPPY_FRAMES.len());
    while body.has_remaining() {
        let length = usize::try_from(body.try_get_u32()?)?;
        ensure!(length <= body.remaining(), "a block reaches beyond its batch");
        unsnap_block(&body.split_to(length), limit, &mut records)?;
    }
    Ok(records)
}

fn unsnap_block(block: &[u8], limit: u64, records: &mut Vec<u8>) -> Result<()> {
    let from = records.len();
    let size = from.saturating_add(decompress_len(block)?);
    ensure!(size as u64 <= limit, "the records are larger than {limit} bytes");
    records.resize(size, 0);
    SnapDecoder::new().decompress(block, &mut records[from..])?;
    Ok(())
}
