//! A client without a library: single requests for what rdkafka would never send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, ProduceRequest, RequestHeader, ResponseHeader, TopicName, TransactionalId};
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

use crate::support::{PATIENCE, now_ms};

pub struct Raw {
    stream: TcpStream,
}

pub fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(text: &str) -> TopicName {
    TopicName(string(text))
}

/// A request's bytes with their length.
pub fn frame<R: Request>(request: &R, version: i16) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(string("raw")));
    let mut body = BytesMut::new();
    let header_version = ApiKey::try_from(R::KEY).unwrap().request_header_version(version);
    header.encode(&mut body, header_version).unwrap();
    request.encode(&mut body, version).unwrap();
    let mut bytes = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

impl Raw {
    pub fn connect(bootstrap: &str) -> Self {
        let stream = TcpStream::connect(bootstrap).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Tells the broker that nothing follows, and waits only shortly for what it still says.
    pub fn finish(&mut self) {
        // Changed bytes may ask for a long wait, which is no failure.
        self.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// The next response, or `None` when the broker has ended the connection.
    pub fn read(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut body).ok()?;
        Some(body.into())
    }

    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.write(&frame(request, version)).unwrap();
        let mut body = self.read().expect("an answer");
        let header = ResponseHeader::decode(&mut body, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, 7);
        let response = R::Response::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "the answer has bytes left over");
        response
    }

    /// Gets a producer id, coming again as long as Kafka asks for it (its coordinator loads, or aborts).
    pub fn initialise(&mut self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        const COME_AGAIN: [i16; 4] = [14, 15, 16, 51];
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.call(request, 4);
            if COME_AGAIN.contains(&answer.error_code) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            assert_eq!(answer.error_code, 0);
            return answer;
        }
    }

    /// Sends one batch of one record to partition 0; returns its offset or the error's code.
    pub fn produce(&mut self, topic: &str, id: Option<&str>, batch: Bytes) -> Result<i64, i16> {
        let data = PartitionProduceData::default().with_index(0).with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(string(id))))
            .with_acks(-1)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let response = self.call(&request, 9);
        let answer = &response.responses[0].partition_responses[0];
        if answer.error_code == 0 { Ok(answer.base_offset) } else { Err(answer.error_code) }
    }
}

/// A batch of one record.
pub fn batch(producer_id: i64, producer_epoch: i16, sequence: i32, transactional: bool) -> Bytes {
    let record = Record {
        transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence,
        timestamp: now_ms(),
        key: None,
        value: Some(Bytes::from_static(b"raw")),
        headers: Default::default(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
    bytes.freeze()
}
