//! What the background does to logs: retention, compaction, deletion of records.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::*;

fn put(producer: &FutureProducer, key: &str, value: Option<&str>) {
    let mut record: FutureRecord<'_, str, str> = FutureRecord::to("t").key(key);
    record.payload = value;
    runtime().block_on(producer.send(record, PATIENCE)).unwrap();
}

fn table(messages: &[OwnedMessage]) -> BTreeMap<String, String> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    messages.iter().map(|message| (text(message.key()), text(message.payload()))).collect()
}

fn watermarks(bootstrap: &str) -> (i64, i64) {
    let consumer: BaseConsumer = config(bootstrap).create().unwrap();
    consumer.fetch_watermarks("t", 0, PATIENCE).unwrap()
}

#[test]
fn compaction_keeps_the_newest_of_each_key_and_no_aborted_record() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "600000"),
    ];
    create_topic(&broker.bootstrap(), "t", 1, &settings);
    for codec in ["none", "lz4", "zstd", "gzip", "snappy"] {
        let producer: FutureProducer =
            config(&broker.bootstrap()).set("compression.type", codec).set("linger.ms", "5").create().unwrap();
        let large = "x".repeat(200);
        runtime().block_on(async {
            let sent: Vec<_> = (0..100)
                .map(|number| {
                    let (key, value) = (format!("k{}", number % 10), format!("{codec} {number} {large}"));
                    let record: FutureRecord<'_, String, String> = FutureRecord::to("t").key(&key).payload(&value);
                    producer.send_result(record).unwrap()
                })
                .collect();
            for delivery in sent {
                delivery.await.unwrap().unwrap();
            }
        });
    }
    let plain: FutureProducer = config(&broker.bootstrap()).create().unwrap();
    put(&plain, "k0", None);
    let transactional: FutureProducer = config(&broker.bootstrap()).set("transactional.id", "p").create().unwrap();
    transactional.init_transactions(PATIENCE).unwrap();
    for (key, commit) in [("k1", false), ("k2", true)] {
        transactional.begin_transaction().unwrap();
        put(&transactional, key, Some("in a transaction"));
        if commit {
            transactional.commit_transaction(PATIENCE).unwrap();
        } else {
            transactional.abort_transaction(PATIENCE).unwrap();
        }
    }
    put(&plain, "last", Some("last"));
    let expected = table(&read_all(&broker.bootstrap(), "t", 0, true));
    let end = watermarks(&broker.bootstrap());
    assert_eq!(expected.len(), 11);
    assert_eq!(expected["k0"], "");
    assert_eq!(expected["k2"], "in a transaction");
    wait_for("one record of each key", || read_all(&broker.bootstrap(), "t", 0, false).len() == 11);
    assert_eq!(table(&read_all(&broker.bootstrap(), "t", 0, true)), expected);
    assert_eq!(table(&read_all(&broker.bootstrap(), "t", 0, false)), expected);
    assert_eq!(watermarks(&broker.bootstrap()), end);
    drop(broker);
    let broker = Running::start(dir.path());
    assert_eq!(table(&read_all(&broker.bootstrap(), "t", 0, true)), expected);
    // And once more, over what is compacted already.
    put(&idempotent(&broker.bootstrap()), "k5", Some("new"));
    put(&idempotent(&broker.bootstrap()), "last", Some("newer"));
    wait_for("the old ones to go", || read_all(&broker.bootstrap(), "t", 0, false).len() == 11);
    assert_eq!(table(&read_all(&broker.bootstrap(), "t", 0, true))["k5"], "new");
}

#[test]
fn deletions_go_when_their_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "50"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", "0"),
    ];
    create_topic(&broker.bootstrap(), "t", 1, &settings);
    let producer = idempotent(&broker.bootstrap());
    put(&producer, "gone", Some("x"));
    put(&producer, "gone", None);
    let mut round = 0;
    wait_for("the deletion to go", || {
        round += 1;
        put(&producer, "kept", Some(&round.to_string()));
        let all = table(&read_all(&broker.bootstrap(), "t", 0, true));
        !all.contains_key("gone")
    });
}

#[test]
fn a_record_without_a_key_is_refused_by_a_compacted_topic() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[("cleanup.policy", "compact")]);
    let producer = idempotent(&broker.bootstrap());
    let record: FutureRecord<'_, str, str> = FutureRecord::to("t").payload("x");
    let (error, _) = runtime().block_on(producer.send(record, PATIENCE)).unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::InvalidRecord));
}

#[test]
fn old_records_go_and_readers_start_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[("retention.ms", "1800000")]);
    let producer = idempotent(&broker.bootstrap());
    // Old by its own time: the new one stays, however long this test takes.
    let old: FutureRecord<'_, str, str> = FutureRecord::to("t").key("a").payload("old").timestamp(now_ms() - 3_600_000);
    runtime().block_on(producer.send(old, PATIENCE)).unwrap();
    wait_for("the old one to go", || watermarks(&broker.bootstrap()) == (1, 1));
    put(&producer, "a", Some("new"));
    assert_eq!(values(&read_all(&broker.bootstrap(), "t", 0, true)), ["new"]);
    drop(broker);
    let broker = Running::start(dir.path());
    assert_eq!(watermarks(&broker.bootstrap()).1, 2);
}

#[test]
fn a_log_stays_below_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    let limit = 3 * 1024 * 1024;
    create_topic(&broker.bootstrap(), "t", 1, &[("retention.bytes", &limit.to_string()), ("segment.bytes", "1048576")]);
    let producer = idempotent(&broker.bootstrap());
    let large = "x".repeat(100_000);
    for number in 0..100 {
        put(&producer, "k", Some(&format!("{number} {large}")));
    }
    let files = || -> u64 {
        let mut bytes = 0;
        for topic in std::fs::read_dir(dir.path().join("topics")).unwrap() {
            for file in std::fs::read_dir(topic.unwrap().path().join("0")).unwrap() {
                // A file may be removed between the listing and the question.
                bytes += file.unwrap().metadata().map_or(0, |metadata| metadata.len());
            }
        }
        bytes
    };
    // Files are written behind the acknowledgements, so early on they are small without any having gone.
    wait_for("the log to shrink", || files() < limit + 2 * 1024 * 1024 && watermarks(&broker.bootstrap()).0 > 50);
    let (start, end) = watermarks(&broker.bootstrap());
    assert_eq!(end, 100);
    assert!(start > 50, "{start}");
    assert_eq!(read_all(&broker.bootstrap(), "t", 0, true).len(), usize::try_from(end - start).unwrap());
}

#[test]
fn deleted_records_are_gone_and_topics_take_their_files_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let producer = idempotent(&broker.bootstrap());
    for number in 0..10 {
        put(&producer, "k", Some(&number.to_string()));
    }
    let mut before = TopicPartitionList::new();
    before.add_partition_offset("t", 0, Offset::Offset(7)).unwrap();
    let admin = admin(&broker.bootstrap());
    let options = rdkafka::admin::AdminOptions::new();
    runtime().block_on(admin.delete_records(&before, &options)).unwrap();
    assert_eq!(values(&read_all(&broker.bootstrap(), "t", 0, true)), ["7", "8", "9"]);
    drop(broker);
    let broker = Running::start(dir.path());
    assert_eq!(watermarks(&broker.bootstrap()), (7, 10));
    let admin = running::admin(&broker.bootstrap());
    runtime().block_on(admin.delete_topics(&["t"], &options)).unwrap().remove(0).unwrap();
    wait_for("the files to go", || std::fs::read_dir(dir.path().join("topics")).unwrap().count() == 0);
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    assert_eq!(watermarks(&broker.bootstrap()), (0, 0));
}
