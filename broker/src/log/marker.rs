//! Control batches: the commit and abort markers that end a transaction in a partition's log.
//!
//! Written by the log when the transaction coordinator completes a transaction; clients read and hide them.
//!
//! Invariant: the bytes are a real control batch of the record format, as a client of Kafka expects.

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

use crate::clock::Millis;

/// The end of one producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) commit: bool,
}

impl Marker {
    /// The marker as a control batch at `offset`.
    ///
    /// # Errors
    /// Only when the encoder refuses the record, which would be a defect.
    pub(crate) fn encode(&self, offset: i64, now: Millis) -> Result<BytesMut, ResponseError> {
        // Key: version 0 and the type (0 abort, 1 commit). Value: version 0 and the coordinator's epoch 0.
        let key: &'static [u8] = if self.commit { &[0, 0, 0, 1] } else { &[0, 0, 0, 0] };
        let record = Record {
            transactional: true,
            control: true,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            timestamp_type: TimestampType::Creation,
            offset,
            sequence: -1,
            timestamp: now,
            key: Some(Bytes::from_static(key)),
            value: Some(Bytes::from_static(&[0; 6])),
            headers: Default::default(),
        };
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, [&record], &options).map_err(|_| ResponseError::UnknownServerError)?;
        Ok(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::log::batch::{Batch, Bounds, Header};
    use kafka_protocol::records::RecordBatchDecoder;

    /// A sound batch of `records` empty records at times 1, 2, …
    pub(crate) fn data_batch(producer_id: i64, epoch: i16, sequence: i32, records: i32, transactional: bool) -> Batch {
        timed_batch(
            producer_id,
            epoch,
            sequence,
            transactional,
            Compression::None,
            &(1..=i64::from(records)).collect::<Vec<_>>(),
        )
    }

    pub(crate) fn timed_batch(
        producer_id: i64,
        epoch: i16,
        sequence: i32,
        transactional: bool,
        compression: Compression,
        times: &[Millis],
    ) -> Batch {
        let records: Vec<Record> = (0_i32..)
            .zip(times)
            .map(|(i, time)| Record {
                transactional,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id,
                producer_epoch: epoch,
                timestamp_type: TimestampType::Creation,
                offset: i64::from(i),
                sequence: sequence.wrapping_add(i),
                timestamp: *time,
                key: None,
                value: None,
                headers: Default::default(),
            })
            .collect();
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &records, &RecordEncodeOptions { version: 2, compression }).unwrap();
        let bounds = Bounds { max_bytes: 1 << 20, before_max_ms: i64::MAX, after_max_ms: i64::MAX };
        Batch::check(&bytes, &bounds, 0).unwrap()
    }

    #[test]
    fn a_marker_is_a_control_batch() {
        for commit in [true, false] {
            let bytes = Marker { producer_id: 4, epoch: 2, commit }.encode(9, 77).unwrap();
            let header = Header::parse(&bytes).unwrap();
            assert_eq!((header.attributes, header.records, header.base_sequence), (0b11_0000, 1, -1));
            let set = RecordBatchDecoder::decode(&mut bytes.freeze()).unwrap();
            let record = &set.records[0];
            assert_eq!((record.offset, record.producer_id, record.producer_epoch), (9, 4, 2));
            assert_eq!(record.key.as_deref(), Some([0, 0, 0, u8::from(commit)].as_slice()));
        }
    }
}
