//! What is done is committed, though a broker refuses commits while its group rebalances; what is not done is not, though
//! what was read behind it is.

use super::*;
use futures::future::{BoxFuture, FutureExt};
use outlier::index::{self, Unavailable};
use outlier::sink::worker::Worker;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

const PARTITIONS: i32 = 2;
/// More than one commit's worth, fewer than the sink tries when it stops.
const REFUSED: [RDKafkaRespErr; 3] = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS; 3];

/// A sink of raw records before librdkafka's mock broker.
pub struct Scene {
    pub cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    pub config: Config,
    pub topic: String,
    _folder: Folder,
}

impl Scene {
    pub fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let servers = cluster.bootstrap_servers();
        let folder = Folder::new();
        let path = folder.0.join("index.sqlite");
        let head = format!(
            "[kafka]\nbootstrap_servers = {servers:?}\n[sink]\nindex = \"sqlite\"\nwhat = [\"raw\"]\nflush_interval = \"100ms\"\nbulk_records = 2\n[sqlite]\npath = {path:?}"
        );
        let config = support::parse(&support::text(&head, "p"));
        let topic = config.pipelines[0].topics.raw.clone();
        cluster.create_topic(&topic, PARTITIONS, 1).unwrap();
        Self { cluster, config, topic, _folder: folder }
    }

    /// Writes so many records to each partition.
    pub async fn fill(&self, records: usize) {
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

/// Panics with one write, as soon as another that began later is done.
struct Panics {
    inner: Arc<dyn Index>,
    armed: AtomicBool,
    /// Partition and offset of its records.
    cut: Mutex<Vec<(usize, i64)>>,
    later: tokio::sync::Notify,
}

impl Index for Panics {
    fn add(&self, request: &mut index::Request, document: &Document<'_>) -> Result<(), String> {
        self.inner.add(request, document)
    }

    fn write<'a>(&'a self, request: &'a index::Request) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>> {
        async move {
            if self.armed.swap(false, Ordering::AcqRel) {
                let place = |document: Document<'_>| {
                    let mut parts = document.id.rsplit('-').map(|part| part.parse().unwrap());
                    let offset: i64 = parts.next().unwrap();
                    (parts.next().unwrap() as usize, offset)
                };
                self.cut.lock().unwrap().extend(request.documents().map(place));
                self.later.notified().await;
                panic!("this write is cut off");
            }
            let behind = !self.cut.lock().unwrap().is_empty();
            let written = self.inner.write(request).await;
            if behind {
                self.later.notify_one();
            }
            written
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_read_again() {
    let scene = Scene::new();
    let inner = outlier::index::open(&scene.config).unwrap();
    let index = Arc::new(Panics {
        inner,
        armed: AtomicBool::new(false),
        cut: Mutex::default(),
        later: tokio::sync::Notify::new(),
    });
    let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
    let pipeline = &scene.config.pipelines[0];
    let worker = Worker::new(&scene.config, pipeline, Arc::clone(&index) as Arc<dyn Index>, telemetry.clone()).unwrap();
    let run = tokio::spawn(worker.run(stop));
    // So many answers let it send several requests at a time.
    scene.fill(100).await;
    let all = |records| vec![Offset::Offset(records); PARTITIONS as usize];
    until("all is committed", || scene.committed() == all(100)).await;

    index.armed.store(true, Ordering::Release);
    scene.fill(50).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), run).await;
    let error = ended.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error:#}");
    let committed = scene.committed();
    for (partition, offset) in &*index.cut.lock().unwrap() {
        let Offset::Offset(next) = committed[*partition] else { panic!("{committed:?}") };
        assert!(next <= *offset, "{committed:?}, but {offset} of {partition} was not done");
    }
    until("some are done behind it", || outcomes(&telemetry, "p").1 > 200).await;

    let running = Running::start(&scene.config);
    until("all is committed", || scene.committed() == all(150)).await;
    let (read, created, there, rejected) = running.stop().await;
    assert_eq!((read, rejected), (created + there, 0));
    // A request that was on its way when the first one ended is counted when it is done.
    until("each is there once", || outcomes(&telemetry, "p").1 + created == 300).await;
}
