//! What a crash leaves behind: torn tails, open transactions, damage, a directory in use. Crashes under load are in kills.rs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::*;

/// Not a test: the broker of this file's tests, when the binary is started as one.
#[test]
fn broker_process() {
    serve_if_child();
}

#[test]
fn a_second_process_is_refused_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _process = Process::start(dir.path());
    let refused = hirewire_broker::Broker::open(settings(dir.path())).map(|_| ()).unwrap_err();
    assert!(matches!(refused, hirewire_broker::OpenError::InUse { .. }), "{refused}");
}

#[test]
fn a_torn_tail_is_cut_and_the_rest_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let bootstrap = process.address.to_string();
    create_topic(&bootstrap, "t", 1, &[]);
    let producer = idempotent(&bootstrap);
    let runtime = runtime();
    let mut count = 0;
    for round in 0..4 {
        for _ in 0..20 {
            let value = count.to_string();
            let record: FutureRecord<'_, str, str> = FutureRecord::to("t").payload(value.as_str());
            runtime.block_on(producer.send(record, PATIENCE)).unwrap();
            count += 1;
        }
        process.kill();
        let journal = newest_journal(dir.path());
        let mut bytes = std::fs::read(&journal).unwrap();
        match round {
            0 => bytes.extend_from_slice(&[0; 100]),
            1 => bytes.extend_from_slice(&[0xab; 5]),
            // A frame that was begun and has half its bytes.
            2 => bytes.extend_from_slice(&[0, 0, 1, 0, 1, 2, 3, 4, 9, 9, 9]),
            // One that has all its bytes, but not the right ones.
            _ => bytes.extend_from_slice(&[0, 0, 0, 3, 1, 2, 3, 4, 9, 9, 9]),
        }
        std::fs::write(&journal, bytes).unwrap();
        process.restart();
        let expected: Vec<String> = (0..count).map(|number: i32| number.to_string()).collect();
        assert_eq!(values(&read_all(&bootstrap, "t", 0, true)), expected);
    }
}

#[test]
fn a_torn_tail_is_no_damage_to_the_start_after_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let bootstrap = process.address.to_string();
    create_topic(&bootstrap, "t", 1, &[]);
    // No checkpoint can be written, so all journal files stay.
    std::fs::create_dir(dir.path().join("checkpoint.new")).unwrap();
    let producer = idempotent(&bootstrap);
    let runtime = runtime();
    for value in ["0", "1", "2"] {
        let record: FutureRecord<'_, str, str> = FutureRecord::to("t").payload(value);
        runtime.block_on(producer.send(record, PATIENCE)).unwrap();
        process.kill();
        let journal = newest_journal(dir.path());
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes.extend_from_slice(&[0, 0, 0, 3, 1, 2, 3, 4, 9, 9, 9]);
        std::fs::write(&journal, bytes).unwrap();
        process.restart();
    }
    assert_eq!(values(&read_all(&bootstrap, "t", 0, true)), ["0", "1", "2"]);
}

#[test]
fn a_transaction_goes_on_over_a_crash_with_all_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let bootstrap = process.address.to_string();
    create_topic(&bootstrap, "in", 1, &[]);
    create_topic(&bootstrap, "out", 1, &[]);
    let consumer: BaseConsumer = config(&bootstrap).set("group.id", "g").create().unwrap();
    let producer = transactional(&bootstrap, "p", 30_000);
    producer.begin_transaction().unwrap();
    send(&producer, "out", 0, "x");
    producer.flush(PATIENCE).unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("in", 0, Offset::Offset(3)).unwrap();
    producer.send_offsets_to_transaction(&offsets, &consumer.group_metadata().unwrap(), PATIENCE).unwrap();
    process.kill();
    process.restart();
    assert!(read_all(&bootstrap, "out", 0, true).is_empty());
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(values(&read_all(&bootstrap, "out", 0, true)), ["x"]);
    assert_eq!(committed_offset(&bootstrap), 3);
}

#[test]
fn damage_that_is_no_torn_tail_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    drop(Running::start(dir.path()));
    let checkpoint = dir.path().join("checkpoint");
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&checkpoint, bytes).unwrap();
    let refused = hirewire_broker::Broker::open(settings(dir.path())).map(|_| ()).unwrap_err();
    assert!(matches!(refused, hirewire_broker::OpenError::Damaged { .. }), "{refused}");
}

#[test]
fn a_restart_is_quick() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    process.kill();
    let started = Instant::now();
    process.restart();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_broker_whose_directory_is_gone_still_ends() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    std::fs::remove_dir_all(dir.path()).unwrap();
    drop(broker);
}
