//! A full disk: writes are refused by the right code, reads go on, writing goes on when there is space, nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod running;
mod wire;

use std::time::{Duration, Instant};

use client::{Batch, Client, Place};
use kafka_protocol::messages::*;
use running::disk::{Disk, on_a_small_disk};
use running::*;
use wire::{Wire, text};

const T: Place = Place("t", 0);
const STORAGE_ERROR: i16 = 56;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;

/// Not a test: the broker, when the binary is started as one.
#[test]
fn broker_process() {
    serve_if_child();
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    on_a_small_disk("a_full_disk_refuses_writes_and_nothing_else", refuses);
}

#[test]
fn files_that_may_not_grow_refuse_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    refuses(&Disk::Limited(dir.path().to_owned()));
}

/// An idempotent producer of the numbers 0, 1, 2, …, one in a batch.
struct Producer {
    client: Client,
    producer: (i64, i16),
    next: u64,
}

impl Producer {
    /// Sends the next number, or sends it again if it is not known what became of it.
    fn send(&mut self) -> client::Answer<i64> {
        let sequence = i32::try_from(self.next).unwrap();
        let batch = Batch { producer: self.producer, sequence, values: vec![self.next], padding: 500 };
        let answer = self.client.send(None, T, &batch);
        if let Some(Ok(offset)) = answer {
            assert_eq!(offset, i64::from(sequence));
            self.next += 1;
        }
        answer
    }

    fn send_many(&mut self, count: usize) {
        for _ in 0..count {
            wait_for("a write to be taken", || matches!(self.send(), Some(Ok(_))));
        }
    }

    /// Fills the disk and writes until it refuses: the batch that meets the full disk is kept, those after it are not taken.
    fn meet(&mut self, disk: &Disk, process: &Process) {
        disk.fill(process);
        wait_for("the disk to refuse", || self.send() == Some(Err(STORAGE_ERROR)));
    }

    /// What can be read is what was confirmed: all of it once, and perhaps the one that nobody knows of.
    fn check(&mut self) {
        let (mut position, mut found) = (0, Vec::new());
        loop {
            let fetched = self.client.fetch(T, position, 1 << 20, Duration::ZERO).unwrap().unwrap();
            found.extend(fetched.found.iter().map(|(_, value)| *value));
            position = fetched.next;
            if position >= fetched.high_watermark {
                break;
            }
        }
        assert!(
            found.len() as u64 == self.next || found.len() as u64 == self.next + 1,
            "{} of {}",
            found.len(),
            self.next
        );
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
    }
}

fn create(process: &Process, name: &str) -> i16 {
    let topic = create_topics_request::CreatableTopic::default()
        .with_name(TopicName(text(name)))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
    let mut wire = Wire::try_connect(process.address, PATIENCE).unwrap();
    let answer = wire.ask(ApiKey::CreateTopics, 7, &request.into());
    let ResponseKind::CreateTopics(answer) = answer else { panic!("{answer:?}") };
    answer.topics[0].error_code
}

fn refuses(disk: &Disk) {
    let dir = disk.dir().join("data");
    let mut process = Process::start(&dir);
    assert_eq!(create(&process, "t"), 0);
    let (address, deadline) = (process.address, Instant::now() + 10 * PATIENCE);
    let connect = || Client::new(address, deadline);
    let mut client = connect();
    let producer = client.init(None, PATIENCE).unwrap().unwrap();
    let mut producer = Producer { client, producer, next: 0 };
    producer.send_many(50);
    assert_eq!(producer.client.commit("g", "", -1, T, 50), Some(Ok(())));
    for round in 0..3 {
        producer.meet(disk, &process);
        let client = &mut producer.client;
        assert_eq!(client.commit("g", "", -1, T, 51), Some(Err(COORDINATOR_NOT_AVAILABLE)));
        assert_eq!(client.init(Some("x"), PATIENCE), Some(Err(COORDINATOR_NOT_AVAILABLE)));
        assert_eq!(create(&process, "u"), STORAGE_ERROR);
        // Reading goes on: records, and what the group has committed.
        producer.check();
        assert_eq!(producer.client.committed("g", T), Some(Ok(50)));
        if round == 1 {
            process.kill();
            if let Disk::Small(_) = disk {
                let refused = hirewire_broker::Broker::open(settings(&dir)).map(|_| ()).unwrap_err();
                assert!(matches!(refused, hirewire_broker::OpenError::Io { .. }), "{refused}");
            }
            disk.free(None);
            process.restart();
        } else {
            disk.free(Some(&process));
        }
        producer.send_many(50);
        producer.check();
        assert_eq!(producer.client.commit("g", "", -1, T, 50), Some(Ok(())));
    }
    process.kill();
    process.restart();
    producer.client = connect();
    producer.check();
    assert_eq!(producer.client.committed("g", T), Some(Ok(50)));
}
