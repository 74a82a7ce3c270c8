//! Every API in every version that ApiVersions lists: the request is understood, the answer decodes to its last byte.

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use outlier_broker::Config;

use crate::raw::{Raw, string, topic_name};
use crate::support::*;

/// Versions of an API that were tried.
struct Sweep {
    raw: Raw,
    listed: Vec<(i16, i16, i16)>,
    tried: Vec<i16>,
}

impl Sweep {
    fn every<R: Request>(&mut self, make: impl Fn(i16) -> R, check: impl Fn(i16, R::Response)) {
        let (_, min, max) = *self.listed.iter().find(|(key, ..)| *key == R::KEY).expect("a listed API");
        for version in min..=max {
            println!("API {}, version {version}", R::KEY);
            check(version, self.raw.call(&make(version), version));
        }
        self.tried.push(R::KEY);
    }

    fn understood<R: Request + Default>(&mut self) {
        self.every(|_| R::default(), |_, _| {});
    }
}

#[test]
fn every_listed_version_works() {
    on_embedded(Config::default(), |server| {
        let topic = server.topic("sweep", 2, &[]);
        let producer = server.producer(&[]);
        send(&producer, &topic, "x");
        flush(&producer);
        let name = || topic_name(&topic);
        let group = || GroupId(string("sweep"));
        let mut raw = Raw::connect(&server.bootstrap);
        let listed = raw.call(&ApiVersionsRequest::default(), 3).api_keys;
        let listed = listed.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        let mut sweep = Sweep { raw, listed, tried: Vec::new() };
        data(&mut sweep, &name);
        offsets(&mut sweep, &name, &group);
        topics(&mut sweep, &name);
        sweep.understood::<ApiVersionsRequest>();
        sweep.understood::<FindCoordinatorRequest>();
        sweep.understood::<JoinGroupRequest>();
        sweep.understood::<SyncGroupRequest>();
        sweep.understood::<HeartbeatRequest>();
        sweep.understood::<LeaveGroupRequest>();
        sweep.understood::<OffsetDeleteRequest>();
        sweep.understood::<AddPartitionsToTxnRequest>();
        sweep.understood::<AddOffsetsToTxnRequest>();
        sweep.understood::<TxnOffsetCommitRequest>();
        sweep.understood::<EndTxnRequest>();
        sweep.understood::<DescribeClusterRequest>();
        sweep.understood::<ConsumerGroupHeartbeatRequest>();
        sweep.every(
            |_| DescribeGroupsRequest::default().with_groups(vec![group()]),
            |version, answer| assert_eq!(answer.groups[0].error_code, 0, "{version}"),
        );
        sweep.every(
            |_| ListGroupsRequest::default(),
            |version, answer| assert_eq!(answer.groups[0].group_id, group(), "{version}"),
        );
        sweep.understood::<DeleteGroupsRequest>();
        sweep.every(
            |_| {
                InitProducerIdRequest::default()
                    .with_transactional_id(None)
                    .with_producer_id((-1).into())
                    .with_producer_epoch(-1)
            },
            |version, answer| assert_eq!(answer.error_code, 0, "{version}"),
        );
        let missing: Vec<_> = sweep.listed.iter().filter(|(key, ..)| !sweep.tried.contains(key)).collect();
        assert!(missing.is_empty(), "not tried: {missing:?}");
    });
}

fn data(sweep: &mut Sweep, name: &impl Fn() -> TopicName) {
    // Without acknowledgements there would be no answer.
    sweep.every(|_| ProduceRequest::default().with_acks(-1), |_, _| {});
    let partition = || FetchPartition::default().with_partition_max_bytes(1_000);
    let fetch = |_| {
        let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition()]);
        FetchRequest::default().with_min_bytes(1).with_max_bytes(1_000).with_topics(vec![topic])
    };
    sweep.every(fetch, |version, answer| {
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, 1), "{version}");
        assert!(partition.records.as_ref().is_some_and(|records| !records.is_empty()), "{version}");
    });
    let list = |_| {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    };
    sweep.every(list, |version, answer| assert_eq!(answer.topics[0].partitions[0].offset, 1, "{version}"));
    sweep.every(
        |_| {
            MetadataRequest::default()
                .with_topics(Some(vec![metadata_request::MetadataRequestTopic::default().with_name(Some(name()))]))
        },
        |version, answer| assert_eq!(answer.topics[0].partitions.len(), 2, "{version}"),
    );
    sweep.understood::<OffsetForLeaderEpochRequest>();
    sweep.understood::<DeleteRecordsRequest>();
}

fn offsets(sweep: &mut Sweep, name: &impl Fn() -> TopicName, group: &impl Fn() -> GroupId) {
    let commit = |_| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic = OffsetCommitRequestTopic::default().with_name(name()).with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic])
    };
    sweep.every(commit, |version, answer| assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{version}"));
    let fetch = |version: i16| {
        if version >= 8 {
            let topic = OffsetFetchRequestTopics::default().with_name(name()).with_partition_indexes(vec![0]);
            let wanted = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
            return OffsetFetchRequest::default().with_groups(vec![wanted]);
        }
        let topic = OffsetFetchRequestTopic::default().with_name(name()).with_partition_indexes(vec![0]);
        OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]))
    };
    sweep.every(fetch, |version, answer| {
        let offset = match answer.groups.first() {
            Some(group) => group.topics[0].partitions[0].committed_offset,
            None => answer.topics[0].partitions[0].committed_offset,
        };
        assert_eq!(offset, 1, "{version}");
    });
}

fn topics(sweep: &mut Sweep, name: &impl Fn() -> TopicName) {
    let made = unique("made");
    let create = |version: i16| {
        let config = CreatableTopicConfig::default().with_name(string("retention.bytes")).with_value(Some(string("9")));
        let topic = CreatableTopic::default()
            .with_name(topic_name(&format!("{made}-{version}")))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        CreateTopicsRequest::default().with_topics(vec![topic])
    };
    sweep.every(create, |version, answer| assert_eq!(answer.topics[0].error_code, 0, "{version}"));
    // The same again fails, and that must be said in every version, too.
    sweep.every(create, |version, answer| assert_eq!(answer.topics[0].error_code, 36, "{version}"));
    sweep.understood::<CreatePartitionsRequest>();
    sweep.understood::<DeleteTopicsRequest>();
    let describe = |_| {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(name().0)
            .with_configuration_keys(None);
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true)
    };
    sweep.every(describe, |version, answer| assert!(answer.results[0].configs.len() > 20, "{version}"));
    let alter = |_| {
        let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(name().0);
        AlterConfigsRequest::default().with_resources(vec![resource])
    };
    sweep.every(alter, |version, answer| assert_eq!(answer.responses[0].error_code, 0, "{version}"));
    sweep.understood::<IncrementalAlterConfigsRequest>();
}
