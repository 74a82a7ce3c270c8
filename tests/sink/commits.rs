//! What is done is committed, though a broker refuses commits while its group rebalances.

use super::*;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

const PARTITIONS: i32 = 2;
/// More than one commit's worth, fewer than the sink tries when it stops.
const REFUSED: [RDKafkaRespErr; 3] = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS; 3];

struct Scene {
    cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    config: Config,
    topic: String,
    _folder: Folder,
}

impl Scene {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let servers = cluster.bootstrap_servers();
        let folder = Folder::new();
        let path = folder.0.join("index.sqlite");
        let head = format!(
            "[kafka]\nbootstrap_servers = {servers:?}\n[sink]\nindex = \"sqlite\"\nwhat = [\"raw\"]\nflush_interval = \"100ms\"\n[sqlite]\npath = {path:?}"
        );
        let config = support::parse(&support::text(&head, "p"));
        let topic = config.pipelines[0].topics.raw.clone();
        cluster.create_topic(&topic, PARTITIONS, 1).unwrap();
        Self { cluster, config, topic, _folder: folder }
    }

    /// Writes so many records to each partition.
    async fn fill(&self, records: usize) {
        let servers = self.cluster.bootstrap_servers();
        let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        for n in 0..records {
            for partition in 0..PARTITIONS {
                let body = format!(r#"{{"n":{n}}}"#);
                let record = FutureRecord::to(&self.topic).partition(partition).payload(&body).key("k");
                producer.send(record, Duration::from_secs(30)).await.unwrap();
            }
        }
    }

    fn refuse(&self) {
        self.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &REFUSED);
    }

    fn committed(&self) -> Vec<Offset> {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", self.cluster.bootstrap_servers());
        settings.set("group.id", outlier::sink::worker::group(&self.config, &self.config.pipelines[0]));
        let consumer: BaseConsumer = settings.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, PARTITIONS - 1);
        let found = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
        found.elements().iter().map(|element| element.offset()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_is_tried_again() {
    let scene = Scene::new();
    // All is there from the beginning: one or two commits, and then nothing that would bring others.
    scene.fill(10).await;
    scene.refuse();
    let running = Running::start(&scene.config);
    let all = |records| vec![Offset::Offset(records); PARTITIONS as usize];
    until("all is committed, with nothing new to read", || scene.committed() == all(10)).await;
    // And before it leaves.
    scene.refuse();
    scene.fill(5).await;
    until("all is there", || outcomes(&running.telemetry, "p").1 == 30).await;
    assert_eq!(running.stop().await, (30, 30, 0, 0));
    assert_eq!(scene.committed(), all(15));
}
