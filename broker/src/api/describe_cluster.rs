//! DescribeCluster: the cluster's id and its one broker.
//!
//! Invariant: agrees with Metadata.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};

use super::support::{BROKER, host, port, text};
use crate::connection::Peer;

pub(super) fn handle(peer: &Peer, _request: DescribeClusterRequest) -> DescribeClusterResponse {
    let broker = DescribeClusterBroker::default().with_broker_id(BROKER).with_host(host(peer)).with_port(port(peer));
    DescribeClusterResponse::default()
        .with_cluster_id(text(peer.node.cluster_id.as_str()))
        .with_controller_id(BROKER)
        .with_brokers(vec![broker])
}
