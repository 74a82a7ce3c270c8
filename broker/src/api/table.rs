//! Which APIs there are, in which versions, and their requests' shapes.
//!
//! ApiVersions tells clients this table, and the dispatcher holds every request against it. Versions end where the
//! next one would bring what the broker has not: topic ids in Fetch, the second transaction protocol, KIP-848 groups.
//!
//! Invariant: the decoder knows every version listed here, and each shape fits it (tested).

use kafka_protocol::messages::ApiKey;

/// One API.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) min: i16,
    pub(crate) max: i16,
    /// See [`crate::wire::shape`].
    pub(crate) shape: &'static str,
}

impl Api {
    pub(crate) fn supports(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

const fn api(key: ApiKey, min: i16, max: i16, shape: &'static str) -> Api {
    Api { key, min, max, shape }
}

/// All APIs in the order of their keys.
pub(crate) const APIS: &[Api] = &[
    api(ApiKey::Produce, 3, 11, "s h i [ s [ i y ] ]"),
    api(ApiKey::Fetch, 4, 12, "i i i i b 7:i 7:i [ s [ i 9:i l 12:i 5:l i ] ] 7:[ s { i } ] 11:s"),
    api(ApiKey::ListOffsets, 1, 7, "i 2:b [ s [ i 4:i l ] ]"),
    api(ApiKey::Metadata, 0, 12, "[ 10:u s ] 4:b 8-10:b 8:b"),
    api(ApiKey::OffsetCommit, 2, 9, "s i s 7:s 2-4:l [ s [ i l 6:i s ] ]"),
    api(ApiKey::OffsetFetch, 1, 9, "1-7:s 1-7:[ s { i } ] 8:[ s 9:s 9:i [ s { i } ] ] 7:b"),
    api(ApiKey::FindCoordinator, 0, 4, "0-3:s 1:b 4:{ s }"),
    api(ApiKey::JoinGroup, 0, 9, "s i 1:i s 5:s s [ s y ] 8:s"),
    api(ApiKey::Heartbeat, 0, 4, "s i s 3:s"),
    api(ApiKey::LeaveGroup, 0, 5, "s 0-2:s 3:[ s s 5:s ]"),
    api(ApiKey::SyncGroup, 0, 5, "s i s 3:s 5:s 5:s [ s y ]"),
    api(ApiKey::DescribeGroups, 0, 5, "{ s } 3:b"),
    api(ApiKey::ListGroups, 0, 5, "4:{ s } 5:{ s }"),
    api(ApiKey::ApiVersions, 0, 4, "3:s 3:s"),
    api(ApiKey::CreateTopics, 2, 7, "[ s i h [ i { i } ] [ s s ] ] i b"),
    api(ApiKey::DeleteTopics, 1, 6, "6:[ s u ] 1-5:{ s } i"),
    api(ApiKey::DeleteRecords, 0, 2, "[ s [ i l ] ] i"),
    api(ApiKey::InitProducerId, 0, 4, "s i 3:l 3:h"),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4, "3:i [ s [ i i i ] ]"),
    api(ApiKey::AddPartitionsToTxn, 0, 3, "s l h [ s { i } ]"),
    api(ApiKey::AddOffsetsToTxn, 0, 3, "s l h s"),
    api(ApiKey::EndTxn, 0, 3, "s l h b"),
    api(ApiKey::TxnOffsetCommit, 0, 3, "s s l h 3:i 3:s 3:s [ s [ i l 2:i s ] ]"),
    api(ApiKey::DescribeConfigs, 1, 4, "[ b s { s } ] b 3:b"),
    api(ApiKey::AlterConfigs, 0, 2, "[ b s [ s s ] ] b"),
    api(ApiKey::CreatePartitions, 0, 3, "[ s i [ { i } ] ] i b"),
    api(ApiKey::DeleteGroups, 0, 2, "{ s }"),
    api(ApiKey::IncrementalAlterConfigs, 0, 1, "[ b s [ s b s ] ] b"),
    api(ApiKey::OffsetDelete, 0, 0, "s [ s [ i ] ]"),
    api(ApiKey::DescribeCluster, 0, 1, "b 1:b"),
    // Listed only to be refused: see its file.
    api(ApiKey::ConsumerGroupHeartbeat, 0, 1, "s s i s s i { s } 1:s s [ u { i } ]"),
];

/// The API of this key.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}
