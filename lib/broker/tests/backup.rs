//! A copy of a broker's data that is made while it works: what it must hold, and that it is one moment of all.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use hirewire_broker::{BackupError, OpenError, backup, inspect};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::*;

/// Copies that are made and opened under load.
const COPIES: usize = 4;

/// What the broker has confirmed so far: numbers in `t`, and the last transaction, which is as large as the group's offset.
#[derive(Default)]
struct Confirmed {
    stop: AtomicBool,
    numbers: AtomicI64,
    transaction: AtomicI64,
    read: AtomicI64,
    /// Records in `short` and in `state`, one in each.
    churned: AtomicI64,
}

impl Confirmed {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }
}

#[test]
fn a_copy_under_load_is_one_moment_and_holds_all_that_was_confirmed_before() {
    let (source, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut settings = settings(source.path());
    // Segments are closed, removed and rewritten, and the journal is cut, all the time.
    settings.housekeeping_interval = Duration::from_millis(20);
    settings.checkpoint_interval = Duration::ZERO;
    let broker = Running::with(settings, 0);
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    create_topic(&bootstrap, "out", 2, &[("segment.ms", "50")]);
    create_topic(&bootstrap, "short", 1, &[("segment.ms", "50"), ("retention.bytes", "40000")]);
    let compact = [("cleanup.policy", "compact"), ("segment.ms", "50"), ("min.cleanable.dirty.ratio", "0.01")];
    create_topic(&bootstrap, "state", 1, &compact);
    let confirmed = Confirmed::default();
    std::thread::scope(|scope| {
        let (confirmed, bootstrap) = (&confirmed, bootstrap.as_str());
        scope.spawn(|| produce(confirmed, bootstrap));
        scope.spawn(|| churn(confirmed, bootstrap));
        scope.spawn(|| transact(confirmed, bootstrap));
        scope.spawn(|| read_in_a_group(confirmed, bootstrap));
        let made =
            (0..COPIES).map(|number| copy_and_check(confirmed, source.path(), &copies.path().join(number.to_string())));
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| made.for_each(drop)));
        confirmed.stop.store(true, Ordering::SeqCst);
        made.unwrap();
    });
}

/// Waits for some more of everything, copies, opens the copy and looks.
fn copy_and_check(confirmed: &Confirmed, source: &Path, copy: &Path) {
    let counts = || {
        [&confirmed.numbers, &confirmed.transaction, &confirmed.read, &confirmed.churned]
            .map(|count| count.load(Ordering::SeqCst))
    };
    let before = counts();
    wait_for("all of the load to go on", || {
        counts().into_iter().zip(before).zip([50, 5, 0, 0]).all(|((now, before), more)| now > before + more)
    });
    let [numbers, transaction, read, churned] = counts();
    backup(source, copy).unwrap();

    let mut values = 0;
    let contents = inspect(copy, |_, value| values += i64::from(!value.is_empty())).unwrap();
    assert!(contents.ahead().is_empty(), "{contents:?}");
    let records: u64 =
        contents.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.records).sum();
    assert_eq!(values, i64::try_from(records).unwrap());

    let restored = Running::start(copy);
    let bootstrap = restored.bootstrap();
    // Whatever transaction was open is ended by its successor, as at any start.
    drop(transactional(&bootstrap, "p", 60_000));
    let found = numbers_in(&bootstrap, "t", 0);
    assert_eq!(found, (0..i64::try_from(found.len()).unwrap()).collect::<Vec<_>>());
    let last = i64::try_from(found.len()).unwrap();
    assert!(last >= numbers, "{numbers} were confirmed before, the copy has {last}");
    // What of `t` the transactions have done is in `out` and in the group's offset, all three the same.
    let done = committed(&bootstrap, "transactions");
    assert!(
        done >= transaction && done <= last,
        "transaction {transaction} was confirmed, the copy has {done} of {last}"
    );
    for partition in 0..2 {
        assert_eq!(numbers_in(&bootstrap, "out", partition), (1..=done).collect::<Vec<_>>(), "partition {partition}");
    }
    let position = committed(&bootstrap, "readers");
    assert!(position >= read && position <= last, "offset {read} was confirmed, the copy has {position} of {last}");
    let of_topic = |name: &str| contents.topics.iter().find(|topic| topic.name == name).unwrap().partitions[0];
    assert_eq!(of_topic("t").end, last);
    // Its latest number is the latest of the key.
    let (state, end) = (numbers_in(&bootstrap, "state", 0), of_topic("state").end);
    assert!(end >= churned, "{churned} records were confirmed before, the copy ends at {end}");
    assert_eq!(state.last(), Some(&(end - 1)), "{state:?}");
}

fn numbers_in(bootstrap: &str, topic: &str, partition: i32) -> Vec<i64> {
    let number = |value: String| value.split_whitespace().next().unwrap().parse().unwrap();
    values(&read_all(bootstrap, topic, partition, true)).into_iter().map(number).collect()
}

/// Where a group stands in `t`.
fn committed(bootstrap: &str, group: &str) -> i64 {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", group).create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition("t", 0);
    consumer.committed_offsets(place, PATIENCE).unwrap().elements()[0].offset().to_raw().unwrap().max(0)
}

fn produce(confirmed: &Confirmed, bootstrap: &str) {
    let (producer, runtime) = (idempotent(bootstrap), runtime());
    let mut next = 0;
    while confirmed.goes_on() {
        let values: Vec<String> = (next..next + 10).map(|number| number.to_string()).collect();
        let send = |value| producer.send_result(FutureRecord::<str, str>::to("t").partition(0).payload(value)).unwrap();
        let sent: Vec<_> = values.iter().map(|value| send(value.as_str())).collect();
        for delivery in sent {
            runtime.block_on(delivery).unwrap().unwrap();
        }
        next += 10;
        confirmed.numbers.store(next, Ordering::SeqCst);
    }
}

/// What makes old segments go: a topic that keeps little, and one that keeps the last of a key.
fn churn(confirmed: &Confirmed, bootstrap: &str) {
    let (producer, runtime) = (idempotent(bootstrap), runtime());
    let padding = "x".repeat(2000);
    for number in 0.. {
        if !confirmed.goes_on() {
            return;
        }
        let value = format!("{number} {padding}");
        for topic in ["short", "state"] {
            let record = FutureRecord::to(topic).partition(0).key("key").payload(&value);
            runtime.block_on(producer.send(record, PATIENCE)).unwrap();
        }
        confirmed.churned.fetch_add(1, Ordering::SeqCst);
    }
}

/// Transaction n takes the n-th number of `t`: n to both partitions of `out`, and offset n. Every fifth is aborted first.
fn transact(confirmed: &Confirmed, bootstrap: &str) {
    let producer = transactional(bootstrap, "p", 60_000);
    let consumer: BaseConsumer = config(bootstrap).set("group.id", "transactions").create().unwrap();
    let (mut done, mut round) = (0, 0);
    while confirmed.goes_on() {
        if confirmed.numbers.load(Ordering::SeqCst) <= done {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        round += 1;
        producer.begin_transaction().unwrap();
        for partition in 0..2 {
            send(&producer, "out", partition, &(done + 1).to_string());
        }
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("t", 0, Offset::Offset(done + 1)).unwrap();
        producer.send_offsets_to_transaction(&offsets, &consumer.group_metadata().unwrap(), PATIENCE).unwrap();
        if round % 5 == 0 {
            producer.abort_transaction(PATIENCE).unwrap();
            continue;
        }
        producer.commit_transaction(PATIENCE).unwrap();
        done += 1;
        confirmed.transaction.store(done, Ordering::SeqCst);
    }
}

fn read_in_a_group(confirmed: &Confirmed, bootstrap: &str) {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "readers")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&["t"]).unwrap();
    while confirmed.goes_on() {
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let message = message.unwrap();
        if rdkafka::Message::offset(&message) % 7 == 0 && consumer.commit_message(&message, CommitMode::Sync).is_ok() {
            confirmed.read.store(rdkafka::Message::offset(&message) + 1, Ordering::SeqCst);
        }
    }
}

#[test]
fn only_a_brokers_data_is_copied_and_only_into_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, to) = (folder.path().join("empty"), folder.path().join("to"));
    std::fs::create_dir(&empty).unwrap();
    assert!(matches!(backup(&empty, &to), Err(BackupError::Open(OpenError::NotThere { dir })) if dir == empty));
    assert!(!to.exists(), "nothing is made for what cannot be");
    let source = with_records(folder.path());
    assert!(matches!(backup(&source, folder.path()), Err(BackupError::NotEmpty { .. })));
    backup(&source, &to).unwrap();
    assert!(matches!(backup(&source, &to), Err(BackupError::NotEmpty { .. })));
}

/// A copy with 100 records in segments and as many in the journal.
fn with_records(folder: &Path) -> PathBuf {
    let (source, copy) = (folder.join("source"), folder.join("source-copy"));
    let broker = Running::start(&source);
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    write_numbers(&broker, 0..100);
    // Closed with a checkpoint.
    drop(broker);
    let broker = Running::start(&source);
    write_numbers(&broker, 100..200);
    backup(&source, &copy).unwrap();
    copy
}

fn write_numbers(broker: &Running, numbers: std::ops::Range<i64>) {
    let (producer, runtime) = (idempotent(&broker.bootstrap()), runtime());
    for number in numbers {
        let value = number.to_string();
        let record = FutureRecord::<str, str>::to("t").partition(0).payload(&value);
        runtime.block_on(producer.send(record, PATIENCE)).unwrap();
    }
}

#[test]
fn what_is_there_is_told_and_what_is_damaged_is_found_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let source = with_records(folder.path());
    let mut seen = Vec::new();
    let contents = inspect(&source, |topic, value| seen.push((topic.to_owned(), value.to_vec()))).unwrap();
    let expected: Vec<_> = (0..200).map(|number: i64| ("t".to_owned(), number.to_string().into_bytes())).collect();
    assert_eq!(seen, expected);
    let partition = contents.topics[0].partitions[0];
    assert_eq!((partition.start, partition.end, partition.records), (0, 200, 200));

    let files = |extension: &str| {
        let mut found = Vec::new();
        let mut folders = vec![source.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|it| it == extension) {
                    found.push(entry);
                }
            }
        }
        found
    };
    let (log, journal, index) = (files("log"), files("journal"), files("index"));
    assert!(!log.is_empty() && !journal.is_empty() && !index.is_empty());
    let told = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let good = std::fs::read(path).unwrap();
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
        let told = inspect(&source, |_, _| ()).map(drop);
        std::fs::write(path, good).unwrap();
        told.unwrap_err().to_string()
    };
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    };
    for path in [&log[0], &source.join("checkpoint")] {
        let told = told(path, &flip);
        assert!(told.starts_with(&format!("{} is damaged at byte ", path.display())), "{told}");
    }
    for path in [&log[0], &index[0]] {
        let told = told(path, &|bytes| bytes.truncate(bytes.len() - 1));
        assert!(told.starts_with(&format!("{} is damaged at byte ", path.display())), "{told}");
    }
    inspect(&source, |_, _| ()).unwrap();
}
