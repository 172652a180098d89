//! `kill -9` of the broker process under load: nothing acknowledged is lost, doubled or torn.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::*;

/// Not a test: the broker of this file's tests, when the binary is started as one.
#[test]
fn broker_process() {
    serve_if_child();
}

const KILLS: usize = 6;

fn kill_now_and_then(process: &mut Process) {
    for round in 0..KILLS {
        // Long enough for work and checkpoints, at no regular point of either.
        std::thread::sleep(Duration::from_millis(300 + 137 * round as u64));
        process.kill();
        process.restart();
    }
}

#[test]
fn acknowledged_records_are_there_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let bootstrap = process.address.to_string();
    create_topic(&bootstrap, "t", 4, &[]);
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|partition| {
                let (stop, bootstrap) = (&stop, bootstrap.as_str());
                scope.spawn(move || produce_until(stop, bootstrap, partition))
            })
            .collect();
        kill_now_and_then(&mut process);
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    for (partition, count) in acknowledged.iter().enumerate() {
        let found = values(&read_all(&bootstrap, "t", i32::try_from(partition).unwrap(), true));
        let expected: Vec<String> = (0..*count).map(|number| number.to_string()).collect();
        assert_eq!(found, expected, "partition {partition}");
        assert!(*count > 50, "too little was written to tell anything");
    }
}

/// Sends 0, 1, 2, … one after another in small bursts; returns how many were acknowledged, which is all that were sent.
fn produce_until(stop: &AtomicBool, bootstrap: &str, partition: i32) -> i64 {
    let producer = idempotent(bootstrap);
    let runtime = runtime();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let burst: Vec<String> = (next..next + 10).map(|number| number.to_string()).collect();
        let sent: Vec<_> = burst
            .iter()
            .map(|value| {
                let record: FutureRecord<'_, str, str> =
                    FutureRecord::to("t").partition(partition).payload(value.as_str());
                producer.send_result(record).unwrap()
            })
            .collect();
        for delivery in sent {
            runtime.block_on(delivery).unwrap().unwrap();
        }
        next += 10;
    }
    next
}

#[test]
fn transactions_and_their_offsets_are_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let bootstrap = process.address.to_string();
    create_topic(&bootstrap, "in", 1, &[]);
    create_topic(&bootstrap, "out", 2, &[]);
    let stop = AtomicBool::new(false);
    let committed = AtomicI64::new(0);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| transact_until(&stop, &bootstrap, &committed));
        kill_now_and_then(&mut process);
        stop.store(true, Ordering::Relaxed);
        worker.join().unwrap();
    });
    let last = committed.load(Ordering::Relaxed);
    assert!(last > 20, "too little was committed to tell anything");
    let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
    for partition in 0..2 {
        let found = values(&read_all(&bootstrap, "out", partition, true));
        let numbers: Vec<i64> = found.iter().map(|value| value.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "partition {partition}");
        for number in numbers {
            *seen.entry(number).or_default() += 1;
        }
    }
    let expected: BTreeMap<i64, usize> = (1..=last).map(|number| (number, 2)).collect();
    assert_eq!(seen, expected);
    assert_eq!(committed_offset(&bootstrap), last);
}

fn committed_offset(bootstrap: &str) -> i64 {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", "g").create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition("in", 0);
    match consumer.committed_offsets(place, PATIENCE).unwrap().elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    }
}

/// Transaction n writes n to both partitions and commits offset n; every fifth is aborted first. A producer that is left
/// with an unknown outcome is replaced, and goes on from the committed offset.
fn transact_until(stop: &AtomicBool, bootstrap: &str, committed: &AtomicI64) {
    let runtime = runtime();
    let consumer: BaseConsumer = config(bootstrap).set("group.id", "g").create().unwrap();
    let connect = || loop {
        let producer: FutureProducer = config(bootstrap)
            .set("transactional.id", "p")
            .set("transaction.timeout.ms", "10000")
            .set("linger.ms", "0")
            .create()
            .unwrap();
        if producer.init_transactions(PATIENCE).is_ok() {
            return producer;
        }
    };
    let mut producer = connect();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let number = committed.load(Ordering::Relaxed) + 1;
        round += 1;
        let attempt = || -> Result<bool, KafkaError> {
            producer.begin_transaction()?;
            let value = number.to_string();
            for partition in 0..2 {
                let record: FutureRecord<'_, str, str> =
                    FutureRecord::to("out").partition(partition).payload(value.as_str());
                runtime.block_on(producer.send(record, PATIENCE)).map_err(|(error, _)| error)?;
            }
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition_offset("in", 0, Offset::Offset(number))?;
            producer.send_offsets_to_transaction(&offsets, &consumer.group_metadata().unwrap(), PATIENCE)?;
            if round % 5 == 0 {
                producer.abort_transaction(PATIENCE)?;
                return Ok(false);
            }
            producer.commit_transaction(PATIENCE)?;
            Ok(true)
        };
        match attempt() {
            Ok(true) => committed.store(number, Ordering::Relaxed),
            Ok(false) => {}
            Err(_) => {
                producer = connect();
                committed.store(committed_offset(bootstrap), Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn a_second_process_is_refused_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _process = Process::start(dir.path());
    let refused = hirewire_broker::Broker::open(settings(dir.path())).map(|_| ()).unwrap_err();
    assert!(matches!(refused, hirewire_broker::OpenError::InUse { .. }), "{refused}");
}

fn newest_journal(dir: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(dir.join("journal")).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().unwrap()
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
