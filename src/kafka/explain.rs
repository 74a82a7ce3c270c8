//! Kafka's errors in words that say what the operator must do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

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
