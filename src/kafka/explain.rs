//! Kafka's errors in words that say what the operator must do.

use super::client;
use crate::config::Kafka;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a failed connection is watched for its reason.
const WATCH: Duration = Duration::from_secs(5);

/// The remedy for an error code, when there is a usual one.
pub fn remedy(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => {
            "no broker answers: check kafka.bootstrap_servers and that Kafka runs, and that security.protocol fits the listener"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the broker refused the credentials: check sasl.mechanism, sasl.username and sasl.password in [kafka.properties]"
        }
        Code::SSL => "the TLS handshake failed: check ssl.ca.location and the broker's certificate",
        Code::UnknownTopicOrPartition | Code::UnknownTopic => {
            "the topic does not exist: run `outlier setup` (with --dry-run it prints the topics and rights needed)"
        }
        Code::TopicAuthorizationFailed => {
            "the user may not use the topic: `outlier setup --dry-run` prints the ACLs needed"
        }
        Code::GroupAuthorizationFailed => {
            "the user may not use the consumer group: `outlier setup --dry-run` prints the ACLs needed"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "the user may not use the transactional id: `outlier setup --dry-run` prints the ACLs needed"
        }
        Code::ClusterAuthorizationFailed => {
            "the user may not create topics: create them with the rights that `outlier setup --dry-run` prints"
        }
        Code::LeaderNotAvailable => "a partition has no leader: check the brokers that hold its replicas",
        Code::MessageSizeTooLarge => "the broker takes no record of this size: raise max.message.bytes of the topic",
        _ => return None,
    })
}

/// The error and, where there is a usual one, its remedy.
pub fn explain(error: &KafkaError) -> String {
    match error.rdkafka_error_code().and_then(remedy) {
        Some(remedy) => format!("{error}: {remedy}"),
        None => error.to_string(),
    }
}

/// The error is about a connection, who we are, or a topic that is not there: it is over as soon as a broker answers for
/// the topic. What others are about, such as a right to read, that does not tell.
pub fn an_answer_ends(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::SSL
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::LeaderNotAvailable
        )
    )
}

/// Keeps the first error that says more than that a connection broke.
#[derive(Default)]
struct Reason(Mutex<Option<String>>);

impl ClientContext for Reason {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL | Code::Resolve)) {
            let remedy = code.and_then(remedy).unwrap_or_default();
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| format!("{remedy} ({reason})"));
        }
    }
}

impl ConsumerContext for Reason {}

/// Why no broker answers, when a new connection shows it within 5 s: a refused password, a certificate, a name that
/// does not resolve. A client's calls themselves only say that the transport failed. Blocks.
pub fn diagnose(kafka: &Kafka) -> Option<String> {
    let consumer: BaseConsumer<Reason> = client::reader(kafka).create_with_context(Reason::default()).ok()?;
    let started = Instant::now();
    while started.elapsed() < WATCH {
        let _ = consumer.poll(Duration::from_millis(50));
        let first =
            rdkafka::consumer::Consumer::context(&consumer).0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if first.is_some() {
            return first;
        }
    }
    None
}
