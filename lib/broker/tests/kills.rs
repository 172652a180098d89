//! `kill -9` of the broker under load, again and again on one data directory, at times with a torn last write: nothing acknowledged
//! is lost or doubled, nothing aborted is seen, no offset is ahead of its data. And the same on a disk that is full at times.
//! Six kills by default; `BROKER_KILLS` says how many.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::disk::{Disk, on_a_small_disk};
use running::*;

const PARTITIONS: i32 = 4;
/// Transactions, and records of each partition, without which a good verdict says nothing.
const TRANSACTIONS: i64 = 20;
const RECORDS: i64 = 50;

/// What was confirmed so far.
#[derive(Default)]
struct Confirmed {
    transactions: AtomicI64,
    records: [AtomicI64; PARTITIONS as usize],
}

impl Confirmed {
    fn is_enough(&self) -> bool {
        self.transactions.load(Ordering::Relaxed) > TRANSACTIONS
            && self.records.iter().all(|records| records.load(Ordering::Relaxed) > RECORDS)
    }
}

/// Not a test: the broker, when the binary is started as one.
#[test]
fn broker_process() {
    serve_if_child();
}

/// On a slow machine it goes on until enough was confirmed for a verdict, and the lives of the broker become longer: clients that were
/// left alone again and again wait longer and longer before they connect.
fn kill_again_and_again(process: &mut Process, dir: &Path, disk: Option<&Disk>, confirmed: &Confirmed) {
    let kills: u64 = std::env::var("BROKER_KILLS").map_or(6, |kills| kills.parse().unwrap());
    for round in 0..10 * kills {
        if round >= kills && confirmed.is_enough() {
            return;
        }
        // Long enough for work and checkpoints, at no regular point of either.
        std::thread::sleep(Duration::from_millis((300 + round * 137 % 700) * (1 + round / kills)));
        let full = disk.filter(|_| round % 2 == 0);
        if let Some(disk) = full {
            disk.fill(process);
            std::thread::sleep(Duration::from_millis(round * 211 % 900));
            if round % 4 == 0 {
                // Sometimes there is space before the end, sometimes only after it.
                disk.free(Some(process));
            }
        }
        process.kill();
        if let Some(disk) = full.filter(|_| round % 4 != 0) {
            disk.free(None);
        }
        if round % 3 == 2 {
            tear(dir, round);
        }
        process.restart();
    }
}

#[test]
fn kills_under_load_lose_double_and_uncover_nothing() {
    let dir = tempfile::tempdir().unwrap();
    kills(dir.path(), None);
}

#[test]
fn kills_on_a_disk_that_is_full_at_times_lose_double_and_uncover_nothing() {
    on_a_small_disk("kills_on_a_disk_that_is_full_at_times_lose_double_and_uncover_nothing", |disk| {
        kills(&disk.dir().join("data"), Some(disk));
    });
}

fn kills(dir: &Path, disk: Option<&Disk>) {
    let mut process = Process::start(dir);
    let bootstrap = process.address.to_string();
    create_topic(&bootstrap, "t", PARTITIONS, &[]);
    create_topic(&bootstrap, "in", 1, &[]);
    create_topic(&bootstrap, "out", 2, &[]);
    let (stop, enough) = (AtomicBool::new(false), AtomicBool::new(false));
    let confirmed = Confirmed::default();
    let (acknowledged, read) = std::thread::scope(|scope| {
        let (stop, enough, confirmed, bootstrap) = (&stop, &enough, &confirmed, bootstrap.as_str());
        let producers = (0..PARTITIONS).zip(&confirmed.records);
        let producers: Vec<_> = producers
            .map(|(partition, count)| scope.spawn(move || produce_until(stop, bootstrap, partition, count)))
            .collect();
        let transactions = scope.spawn(move || transact_until(stop, bootstrap, &confirmed.transactions));
        let members: Vec<_> = (0..2).map(|_| scope.spawn(move || consume_until(enough, bootstrap))).collect();
        kill_again_and_again(&mut process, dir, disk, confirmed);
        stop.store(true, Ordering::Relaxed);
        for producer in producers {
            producer.join().unwrap();
        }
        let acknowledged: Vec<i64> = confirmed.records.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        transactions.join().unwrap();
        // The group has read all when its offsets say so.
        wait_for("the group to read everything", || group_offsets(bootstrap) == acknowledged);
        enough.store(true, Ordering::Relaxed);
        (acknowledged, members.into_iter().flat_map(|member| member.join().unwrap()).collect::<Vec<_>>())
    });
    for (partition, count) in acknowledged.iter().enumerate() {
        let partition = i32::try_from(partition).unwrap();
        let found = values(&read_all(&bootstrap, "t", partition, true));
        let expected: Vec<String> = (0..*count).map(|number| number.to_string()).collect();
        assert_eq!(found, expected, "partition {partition}");
        assert!(*count > RECORDS, "too little was written to tell anything");
        // The group saw every record, each at its own place.
        let mut seen: Vec<i64> = read.iter().filter(|(of, _)| *of == partition).map(|(_, offset)| *offset).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (0..*count).collect::<Vec<_>>(), "the group's share of partition {partition}");
    }
    check_transactions(&bootstrap, confirmed.transactions.load(Ordering::Relaxed));
}

/// Transaction n wrote n to both partitions, and committed offset n.
fn check_transactions(bootstrap: &str, last: i64) {
    assert!(last > TRANSACTIONS, "too little was committed to tell anything: {last}");
    let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
    for partition in 0..2 {
        let found = values(&read_all(bootstrap, "out", partition, true));
        let numbers: Vec<i64> = found.iter().map(|value| value.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "partition {partition}");
        for number in numbers {
            *seen.entry(number).or_default() += 1;
        }
    }
    let expected: BTreeMap<i64, usize> = (1..=last).map(|number| (number, 2)).collect();
    assert_eq!(seen, expected);
    assert_eq!(committed_offset(bootstrap), last);
}

fn group_offsets(bootstrap: &str) -> Vec<i64> {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", "readers").create().unwrap();
    let mut places = TopicPartitionList::new();
    places.add_partition_range("t", 0, PARTITIONS - 1);
    let offsets = consumer.committed_offsets(places, PATIENCE).unwrap();
    offsets.elements().iter().map(|place| place.offset().to_raw().unwrap()).collect()
}

/// A member of the group: reads, checks each value against its place, commits. Gives all partitions and offsets it saw.
fn consume_until(enough: &AtomicBool, bootstrap: &str) -> Vec<(i32, i64)> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "readers")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200")
        .create()
        .unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let mut seen = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        // An error is a broker that is just away: the client connects again by itself.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
            // A commit that failed is made good when there is nothing else to do.
            consumer.commit_consumer_state(CommitMode::Sync).ok();
            continue;
        };
        assert_eq!(message.payload().unwrap(), message.offset().to_string().as_bytes(), "a record at another's place");
        seen.push((message.partition(), message.offset()));
        if message.offset() % 10 == 9 {
            // Refused while members change or the broker is away; then the next one covers it.
            consumer.commit_message(&message, CommitMode::Sync).ok();
        }
    }
    seen
}

/// Sends 0, 1, 2, … one after another in small bursts, and counts how many were acknowledged: in the end all that were sent.
fn produce_until(stop: &AtomicBool, bootstrap: &str, partition: i32, acknowledged: &AtomicI64) {
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
        acknowledged.store(next, Ordering::Relaxed);
    }
}

/// Transaction n writes n to both partitions and commits offset n; every fifth is aborted first. A producer that is left with an
/// unknown outcome is replaced, and goes on from the committed offset.
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
                let now = committed_offset(bootstrap);
                // The one whose outcome was unknown may have been committed; none that was confirmed may be gone.
                assert!(now == number || now == number - 1, "{now} is committed, {} was confirmed", number - 1);
                committed.store(now, Ordering::Relaxed);
            }
        }
    }
}
