//! One record batch (format version 2): its header, and the checks before it may be appended.
//!
//! Stands between the Produce request and the log. The records behind the header stay compressed and unread.
//!
//! Invariant: a [`Batch`] was checked against its CRC and its size, and owns its bytes alone: it does not keep the
//! request frame it came in alive.

use bytes::{Buf, BytesMut};
use kafka_protocol::error::ResponseError;

use crate::clock::Millis;

/// Bytes of a batch's header.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before the length counts: base offset and length.
const PREFIX_BYTES: usize = 12;
/// Where the bytes begin that the CRC covers.
const CRC_COVERS_FROM: usize = 21;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const CODEC: i16 = 0b111;
/// The last codec there is (zstd).
const LAST_CODEC: i16 = 4;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: i32,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: Millis,
    pub(crate) max_timestamp: Millis,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
}

impl Header {
    /// Reads a header; `None` when the bytes are too few.
    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        bytes.advance(8);
        let length = bytes.get_i32();
        bytes.advance(4);
        Some(Self {
            length,
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            records: bytes.get_i32(),
        })
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn codec(&self) -> i16 {
        self.attributes & CODEC
    }

    /// The sequence number of the last record; numbers wrap from `i32::MAX` to 0.
    pub(crate) fn last_sequence(&self) -> i32 {
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        // After the wrap the value is below 2^31 again, so the conversion is exact.
        (last % (i64::from(i32::MAX) + 1)) as i32
    }
}

/// Bounds a topic sets on what may be appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Largest batch in bytes, header included.
    pub(crate) max_bytes: usize,
    /// How far a record's time may lie before now, in milliseconds.
    pub(crate) before_max_ms: i64,
    /// How far a record's time may lie after now, in milliseconds.
    pub(crate) after_max_ms: i64,
}

/// A batch that passed the checks and may be offered to a log.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) header: Header,
    pub(crate) bytes: BytesMut,
}

impl Batch {
    /// Checks the records of one partition in a Produce request: exactly one whole batch.
    ///
    /// # Errors
    /// The protocol's error for the first check that fails.
    pub(crate) fn check(bytes: &[u8], bounds: &Bounds, now: Millis) -> Result<Self, ResponseError> {
        // Old message sets have their magic at the same place, with a shorter header.
        match bytes.get(16) {
            Some(2) => {}
            Some(0 | 1) => return Err(ResponseError::UnsupportedForMessageFormat),
            _ => return Err(ResponseError::InvalidRecord),
        }
        let header = Header::parse(bytes).ok_or(ResponseError::CorruptMessage)?;
        let size = usize::try_from(header.length).ok().and_then(|length| length.checked_add(PREFIX_BYTES));
        if size != Some(bytes.len()) {
            // More than one batch, or a length that lies.
            return Err(match size {
                Some(size) if (HEADER_BYTES..bytes.len()).contains(&size) => ResponseError::InvalidRecord,
                _ => ResponseError::CorruptMessage,
            });
        }
        if bytes.len() > bounds.max_bytes {
            return Err(ResponseError::MessageTooLarge);
        }
        if crc32c::crc32c(&bytes[CRC_COVERS_FROM..]) != header.crc {
            return Err(ResponseError::CorruptMessage);
        }
        let records_match = header.records > 0 && header.last_offset_delta == header.records - 1;
        if !records_match || header.attributes & CONTROL != 0 || header.codec() > LAST_CODEC {
            return Err(ResponseError::InvalidRecord);
        }
        let idempotent = header.producer_id >= 0;
        if idempotent && (header.producer_epoch < 0 || header.base_sequence < 0) {
            return Err(ResponseError::InvalidRecord);
        }
        if header.is_transactional() && !idempotent {
            return Err(ResponseError::InvalidRecord);
        }
        let too_late = header.max_timestamp.saturating_sub(now) > bounds.after_max_ms;
        let too_early = header.base_timestamp >= 0 && now.saturating_sub(header.base_timestamp) > bounds.before_max_ms;
        if too_late || too_early {
            return Err(ResponseError::InvalidTimestamp);
        }
        Ok(Self { header, bytes: BytesMut::from(bytes) })
    }

    /// Writes the offset the log gave and the leader's epoch (always 0) into the header; the CRC does not cover them.
    pub(crate) fn place(bytes: &mut BytesMut, base_offset: i64) {
        bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[12..16].copy_from_slice(&0_i32.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::marker::tests::data_batch;

    const BOUNDS: Bounds = Bounds { max_bytes: 1000, before_max_ms: i64::MAX, after_max_ms: 3_600_000 };

    fn check(name: &str, change: impl FnOnce(&mut Vec<u8>), expected: Option<ResponseError>) {
        let mut bytes = data_batch(7, 0, 0, 3, false).bytes.to_vec();
        change(&mut bytes);
        assert_eq!(Batch::check(&bytes, &BOUNDS, 1_000).err(), expected, "{name}");
    }

    fn seal(bytes: &mut [u8]) {
        let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }

    #[test]
    fn refuses_what_kafka_refuses() {
        check("sound", |_| {}, None);
        check("empty", Vec::clear, Some(ResponseError::InvalidRecord));
        check("cut", |b| b.truncate(40), Some(ResponseError::CorruptMessage));
        check("one byte short", |b| b.truncate(b.len() - 1), Some(ResponseError::CorruptMessage));
        check("two batches", |b| b.extend(b.clone()), Some(ResponseError::InvalidRecord));
        check("old format", |b| b[16] = 1, Some(ResponseError::UnsupportedForMessageFormat));
        check("flipped bit", |b| *b.last_mut().unwrap() ^= 1, Some(ResponseError::CorruptMessage));
        let control = |b: &mut Vec<u8>| {
            b[22] |= CONTROL as u8;
            seal(b);
        };
        check("control bit", control, Some(ResponseError::InvalidRecord));
        let count = |b: &mut Vec<u8>| {
            b[60] = 9;
            seal(b);
        };
        check("count", count, Some(ResponseError::InvalidRecord));
        let future = |b: &mut Vec<u8>| {
            b[35..43].copy_from_slice(&3_700_000_i64.to_be_bytes());
            seal(b);
        };
        check("future", future, Some(ResponseError::InvalidTimestamp));
        let large = |b: &mut Vec<u8>| {
            b.extend([0; 1000]);
            let length = i32::try_from(b.len() - PREFIX_BYTES).unwrap();
            b[8..12].copy_from_slice(&length.to_be_bytes());
            seal(b);
        };
        check("large", large, Some(ResponseError::MessageTooLarge));
    }

    #[test]
    fn sequences_wrap() {
        let mut header = data_batch(7, 0, i32::MAX - 1, 4, false).header;
        assert_eq!(header.last_sequence(), 1);
        header.base_sequence = 5;
        assert_eq!(header.last_sequence(), 8);
    }
}
