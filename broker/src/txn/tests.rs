//! The coordinator's transitions, as tables.

use super::*;

const TIMEOUT: i32 = 1_000;

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn init(transactions: &mut Transactions, expected: Option<ProducerEpoch>) -> ProducerEpoch {
    transactions.init(Some("x"), TIMEOUT, expected, 0).unwrap().0
}

fn begin(transactions: &mut Transactions, producer: ProducerEpoch) -> Result<Option<Millis>, ResponseError> {
    transactions.add_partitions("x", producer, std::iter::once(partition()), 0)
}

#[test]
fn a_transaction_commits_once() {
    let mut transactions = Transactions::default();
    let producer = init(&mut transactions, None);
    assert_eq!(transactions.end("x", producer, true, 0), Err(ResponseError::InvalidTxnState));
    assert_eq!(transactions.check_batch(producer, &partition()), Err(ResponseError::InvalidTxnState));
    assert_eq!(begin(&mut transactions, producer), Ok(Some(1_000)));
    assert_eq!(transactions.check_batch(producer, &partition()), Ok(()));
    transactions.add_group("x", producer, "g", 0).unwrap();
    let completion = transactions.end("x", producer, true, 0).unwrap().unwrap();
    assert_eq!(completion.partitions, [partition()].into());
    assert_eq!(completion.groups, ["g".to_owned()].into());
    assert!(completion.commit);
    assert_eq!(transactions.end("x", producer, true, 0), Ok(None));
    assert_eq!(transactions.end("x", producer, false, 0), Err(ResponseError::InvalidTxnState));
    assert_eq!(transactions.check_batch(producer, &partition()), Err(ResponseError::InvalidTxnState));
}

#[test]
fn a_second_producer_fences_the_first() {
    let mut transactions = Transactions::default();
    let first = init(&mut transactions, None);
    begin(&mut transactions, first).unwrap();
    let (second, aborted) = transactions.init(Some("x"), TIMEOUT, None, 0).unwrap();
    assert_eq!((second.producer_id, second.epoch), (first.producer_id, 1));
    let aborted = aborted.unwrap();
    assert_eq!((aborted.commit, aborted.producer), (false, second));
    assert_eq!(begin(&mut transactions, first), Err(ResponseError::ProducerFenced));
    assert_eq!(transactions.end("x", first, true, 0), Err(ResponseError::ProducerFenced));
    assert_eq!(transactions.check_batch(first, &partition()), Err(ResponseError::InvalidProducerEpoch));
    assert_eq!(transactions.init(Some("x"), TIMEOUT, Some(first), 0).err(), Some(ResponseError::ProducerFenced));
    begin(&mut transactions, second).unwrap();
    // The first one's retry must not abort the second's transaction.
    assert_eq!(transactions.init(Some("x"), TIMEOUT, Some(first), 0).err(), Some(ResponseError::ProducerFenced));
    assert!(transactions.end("x", second, true, 0).unwrap().is_some());
}

#[test]
fn a_producer_raises_its_own_epoch() {
    let mut transactions = Transactions::default();
    let first = init(&mut transactions, None);
    let raised = init(&mut transactions, Some(first));
    assert_eq!(raised.epoch, 1);
    assert_eq!(init(&mut transactions, Some(first)), raised, "the same request again");
    let other = init(&mut transactions, None);
    assert_eq!(other.epoch, 2);
    assert_eq!(transactions.init(Some("x"), TIMEOUT, Some(raised), 0).err(), Some(ResponseError::ProducerFenced));
}

#[test]
fn a_timeout_aborts_and_fences() {
    let mut transactions = Transactions::default();
    let producer = init(&mut transactions, None);
    begin(&mut transactions, producer).unwrap();
    assert_eq!(transactions.next_deadline(), Some(1_000));
    assert_eq!(transactions.expire(999), []);
    let ended = transactions.expire(1_000);
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].commit, ended[0].producer.epoch), (false, 1));
    assert_eq!(transactions.end("x", producer, true, 1_000), Err(ResponseError::ProducerFenced));
    assert_eq!(transactions.next_deadline(), None);
}

#[test]
fn epochs_run_out_into_a_new_producer_id() {
    let mut transactions = Transactions::default();
    let mut producer = init(&mut transactions, None);
    let first_id = producer.producer_id;
    while producer.producer_id == first_id {
        assert!(producer.epoch < i16::MAX);
        begin(&mut transactions, producer).unwrap();
        producer = init(&mut transactions, None);
    }
    assert_eq!(producer.epoch, 0);
    begin(&mut transactions, producer).unwrap();
    assert_eq!(transactions.check_batch(producer, &partition()), Ok(()));
}

#[test]
fn requests_are_checked() {
    let mut transactions = Transactions::default();
    for (id, timeout, error) in [
        ("", TIMEOUT, ResponseError::InvalidRequest),
        ("x", 0, ResponseError::InvalidTransactionTimeout),
        ("x", MAX_TIMEOUT_MS + 1, ResponseError::InvalidTransactionTimeout),
    ] {
        assert_eq!(transactions.init(Some(id), timeout, None, 0).err(), Some(error));
    }
    let idempotent = transactions.init(None, 0, None, 0).unwrap().0;
    assert_ne!(transactions.init(None, 0, None, 0).unwrap().0.producer_id, idempotent.producer_id);
    assert_eq!(begin(&mut transactions, idempotent), Err(ResponseError::InvalidProducerIdMapping));
}
