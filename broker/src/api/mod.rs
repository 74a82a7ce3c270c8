//! The APIs: one file each, from a typed request to a typed response.
//!
//! Stands between the wire and the node. [`table`] says which there are, in which versions, and what they look like on
//! the wire; this file finds the API, proves the request's shape, decodes, calls and encodes.
//!
//! Invariants: an API's bytes are proved sound before its decoder sees them; a request that is not supported is
//! answered with `UNSUPPORTED_VERSION`, never with silence.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod end_txn;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod support;
mod sync_group;
pub(crate) mod table;
mod txn_offset_commit;
mod unsupported;

use anyhow::{Context, Result};
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable, Request};

use crate::connection::Peer;
use crate::wire::frame::Frame;
use crate::wire::header::Call;
use crate::wire::shape;

/// What to send back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nothing: the client asked for no acknowledgement.
    Nothing,
    Frame(Frame),
    /// An answer after which the connection ends, because the client's next bytes could mean anything.
    Last(Frame),
}

/// Answers one request.
///
/// # Errors
/// A request that cannot be understood; the connection should end.
pub(crate) async fn answer(peer: &Peer, call: Call) -> Result<Reply> {
    let Some(api) = table::find(call.key).filter(|api| api.supports(call.version)) else {
        return unsupported::answer(&call);
    };
    let flexible = api.key.request_header_version(call.version) >= 2;
    shape::check(api.shape, &call.body, call.version, flexible).context("the request is damaged")?;
    let version = call.version;
    match api.key {
        ApiKey::Produce => match produce::handle(peer, decode(&call)?).await? {
            Some(response) => respond(&call, &response),
            None => Ok(Reply::Nothing),
        },
        ApiKey::Fetch => {
            let mut frame = Frame::from(head(&call));
            fetch::handle(peer, decode(&call)?, version, &mut frame).await?;
            seal(frame)
        }
        ApiKey::ListOffsets => respond(&call, &list_offsets::handle(peer, decode(&call)?, version).await?),
        ApiKey::Metadata => sync(&call, |r| metadata::handle(peer, r, version)),
        ApiKey::OffsetCommit => sync(&call, |r| offset_commit::handle(peer, r)),
        ApiKey::OffsetFetch => sync(&call, |r| offset_fetch::handle(peer, r, version)),
        ApiKey::FindCoordinator => sync(&call, |r| find_coordinator::handle(peer, r, version)),
        ApiKey::JoinGroup => respond(&call, &join_group::handle(peer, &call, decode(&call)?).await?),
        ApiKey::Heartbeat => sync(&call, |r| heartbeat::handle(peer, r)),
        ApiKey::LeaveGroup => sync(&call, |r| leave_group::handle(peer, r, version)),
        ApiKey::SyncGroup => respond(&call, &sync_group::handle(peer, decode(&call)?, version).await?),
        ApiKey::DescribeGroups => sync(&call, |r| describe_groups::handle(peer, r)),
        ApiKey::ListGroups => sync(&call, |r| list_groups::handle(peer, r, version)),
        ApiKey::DeleteGroups => sync(&call, |r| delete_groups::handle(peer, r)),
        ApiKey::ApiVersions => sync(&call, api_versions::handle),
        ApiKey::CreateTopics => sync(&call, |r| create_topics::handle(peer, r, version)),
        ApiKey::DeleteTopics => sync(&call, |r| delete_topics::handle(peer, r, version)),
        ApiKey::DeleteRecords => sync(&call, |r| delete_records::handle(peer, r)),
        ApiKey::InitProducerId => sync(&call, |r| init_producer_id::handle(peer, r)),
        ApiKey::OffsetForLeaderEpoch => sync(&call, |r| offset_for_leader_epoch::handle(peer, r)),
        ApiKey::AddPartitionsToTxn => sync(&call, |r| add_partitions_to_txn::handle(peer, r, version)),
        ApiKey::AddOffsetsToTxn => sync(&call, |r| add_offsets_to_txn::handle(peer, r, version)),
        ApiKey::EndTxn => sync(&call, |r| end_txn::handle(peer, r, version)),
        ApiKey::TxnOffsetCommit => sync(&call, |r| txn_offset_commit::handle(peer, r)),
        ApiKey::DescribeConfigs => sync(&call, |r| describe_configs::handle(peer, r, version)),
        ApiKey::AlterConfigs => sync(&call, |r| alter_configs::handle(peer, r)),
        ApiKey::IncrementalAlterConfigs => sync(&call, |r| incremental_alter_configs::handle(peer, r)),
        ApiKey::CreatePartitions => sync(&call, |r| create_partitions::handle(peer, r)),
        ApiKey::DescribeCluster => sync(&call, |r| describe_cluster::handle(peer, r)),
        ApiKey::OffsetDelete => sync(&call, |r| offset_delete::handle(peer, r)),
        ApiKey::ConsumerGroupHeartbeat => sync(&call, consumer_group_heartbeat::handle),
        _ => unsupported::answer(&call),
    }
}

fn sync<R: Request>(call: &Call, handle: impl FnOnce(R) -> R::Response) -> Result<Reply> {
    respond(call, &handle(decode(call)?))
}

fn decode<R: Decodable>(call: &Call) -> Result<R> {
    R::decode(&mut call.body.clone(), call.version).context("the request could not be decoded")
}

fn respond<R: Encodable>(call: &Call, response: &R) -> Result<Reply> {
    let mut bytes = head(call);
    response.encode(&mut bytes, call.version).context("the answer could not be encoded")?;
    seal(Frame::from(bytes))
}

fn seal(frame: Frame) -> Result<Reply> {
    Ok(Reply::Frame(frame.sealed().context("the answer is too large")?))
}

/// The response's header: the correlation id and, in flexible versions, no tagged fields.
fn head(call: &Call) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_i32(call.correlation_id);
    let flexible = ApiKey::try_from(call.key).is_ok_and(|api| api.response_header_version(call.version) >= 1);
    if flexible {
        bytes.put_u8(0);
    }
    bytes
}
