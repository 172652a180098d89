//! What is over a limit is refused by the right code, harms nobody else, and is counted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;
mod wire;

use std::io::Write;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::*;
use prometheus::Registry;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use running::*;
use wire::{Wire, text};

/// The value of a metric with these labels; 0 if there is none.
fn metric(registry: &Registry, name: &str, labels: &[(&str, &str)]) -> f64 {
    let families = registry.gather();
    let metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
    let wanted = |metric: &&prometheus::proto::Metric| {
        let found = metric.get_label();
        labels.iter().all(|(key, value)| found.iter().any(|label| label.name() == *key && label.value() == *value))
    };
    let value = |metric: &prometheus::proto::Metric| {
        let histogram = metric.get_histogram().get_sample_count();
        metric.get_counter().get_value() + metric.get_gauge().get_value() + f64::from(u32::try_from(histogram).unwrap())
    };
    metrics.filter(wanted).map(value).sum()
}

#[test]
fn connections_over_the_limit_are_closed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.max_connections = 2;
    let registry = settings.metrics.clone();
    let broker = Running::with(settings, 0);
    let ask = |wire: &mut Wire| {
        let request = RequestKind::ApiVersions(ApiVersionsRequest::default());
        wire.try_ask(ApiKey::ApiVersions, 0, &request).is_some()
    };
    let connect = || Wire::connect(&broker);
    let (mut first, mut second) = (connect(), connect());
    assert!(ask(&mut first) && ask(&mut second));
    assert!(!ask(&mut connect()));
    assert!(ask(&mut first), "who was there stays");
    drop(second);
    // A place that was left is free again.
    wait_for("a free place", || ask(&mut connect()));
    assert!(metric(&registry, "broker_refused_connections_total", &[]) >= 1.0);
}

#[test]
fn a_request_over_the_limit_ends_its_connection_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.max_request_bytes = 1000;
    let broker = Running::with(settings, 0);
    let mut wire = Wire::connect(&broker);
    wire.stream.write_all(&[0, 0, 0x03, 0xe9, 0, 18, 0, 0, 0, 0, 0, 1]).unwrap();
    assert!(wire.receive().is_none());
}

fn fetch(session: (i32, i32)) -> RequestKind {
    let partition = FetchPartition::default().with_partition_max_bytes(1);
    let topic = FetchTopic::default().with_topic(TopicName(text("t"))).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_min_bytes(1).with_max_bytes(1).with_topics(vec![topic]);
    request.with_session_id(session.0).with_session_epoch(session.1).into()
}

#[test]
fn a_client_that_does_not_read_its_answers_is_given_no_more_of_them_until_it_does() {
    const REQUESTS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.max_connection_bytes = 1024 * 1024;
    let registry = settings.metrics.clone();
    let broker = Running::with(settings, 0);
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let producer = idempotent(&broker.bootstrap());
    let large = "x".repeat(900 * 1024);
    let record: rdkafka::producer::FutureRecord<'_, str, str> =
        rdkafka::producer::FutureRecord::to("t").payload(large.as_str());
    runtime().block_on(producer.send(record, PATIENCE)).unwrap();
    let mut wire = Wire::connect(&broker);
    for _ in 0..REQUESTS {
        wire.send(ApiKey::Fetch, 12, &fetch((0, -1))).unwrap();
    }
    // What the operating system holds for the two ends is some answers more.
    let handled = || metric(&registry, "broker_requests_total", &[("api", "Fetch")]);
    let (mut last, mut since) = (0.0, std::time::Instant::now());
    wait_for("the broker to stop", || {
        let now = handled();
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
        now > 1.0 && since.elapsed() > std::time::Duration::from_millis(500)
    });
    assert!(last < 30.0, "{last} of {REQUESTS} answers wait for a client that reads none");
    for _ in 0..REQUESTS {
        assert!(wire.receive().unwrap().len() > large.len());
    }
}

#[test]
fn a_fetch_session_is_not_given_and_nobody_can_go_on_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let mut wire = Wire::connect(&broker);
    // Epoch 0 asks for a session, -1 for none or for the end of one; all others go on with one.
    for (session, error) in [((0, 0), 0), ((0, -1), 0), ((77, -1), 0), ((77, 0), 0), ((77, 1), 70), ((0, 1), 70)] {
        let ResponseKind::Fetch(answer) = wire.ask(ApiKey::Fetch, 12, &fetch(session)) else { panic!("no answer") };
        assert_eq!((answer.error_code, answer.session_id), (error, 0), "{session:?}");
        assert_eq!(answer.responses.len(), usize::from(error == 0), "{session:?}");
    }
}

fn commit(bootstrap: &str, group: &str) -> Result<(), KafkaError> {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", group).create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset("t", 0, Offset::Offset(0)).unwrap();
    consumer.commit(&place, CommitMode::Sync)
}

#[test]
fn partitions_and_groups_over_the_limit_are_refused_and_counted_by_api_and_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.max_partitions = 3;
    settings.max_groups = 2;
    let registry = settings.metrics.clone();
    let broker = Running::with(settings, 0);
    let bootstrap = broker.bootstrap();
    let create = |name, partitions| try_create_topic(&bootstrap, name, partitions, &[]);
    assert_eq!(create("t", 2), Ok(()));
    assert_eq!(create("u", 2), Err(RDKafkaErrorCode::PolicyViolation));
    assert_eq!(create("u", 1), Ok(()));
    commit(&bootstrap, "one").unwrap();
    commit(&bootstrap, "two").unwrap();
    let refused = commit(&bootstrap, "three").unwrap_err();
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::GroupMaxSizeReached));
    commit(&bootstrap, "one").unwrap();
    let refused = |api: &str, code: &str| metric(&registry, "broker_errors_total", &[("api", api), ("code", code)]);
    assert!(refused("CreateTopics", "44") >= 1.0);
    assert!(refused("OffsetCommit", "81") >= 1.0);
}

#[test]
fn the_metrics_tell_what_the_broker_holds_and_does() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let registry = settings.metrics.clone();
    let broker = Running::with(settings, 0);
    create_topic(&broker.bootstrap(), "t", 2, &[]);
    let producer = transactional(&broker.bootstrap(), "p", 30_000);
    producer.begin_transaction().unwrap();
    send(&producer, "t", 0, "x");
    producer.flush(PATIENCE).unwrap();
    let consumer: BaseConsumer = config(&broker.bootstrap()).set("group.id", "g").create().unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let value = |name: &str, labels: &[(&str, &str)]| metric(&registry, name, labels);
    wait_for("a stable group", || {
        consumer.poll(std::time::Duration::from_millis(20));
        value("broker_groups", &[("state", "Stable")]) > 0.0
    });
    wait_for("the open transaction", || value("broker_transactions", &[("state", "Ongoing")]) > 0.0);
    producer.commit_transaction(PATIENCE).unwrap();
    wait_for("the committed transaction", || value("broker_transactions", &[("state", "CompleteCommit")]) > 0.0);
    assert_eq!(value("broker_transactions", &[("state", "Ongoing")]), 0.0);
    wait_for("the log", || value("broker_log_bytes", &[]) > 0.0 && value("broker_partitions", &[]) == 2.0);
    for (name, labels) in [
        ("broker_requests_total", &[("api", "Produce")][..]),
        ("broker_received_bytes_total", &[]),
        ("broker_sent_bytes_total", &[]),
        ("broker_log_segments", &[]),
        ("broker_journal_sync_seconds", &[]),
        ("broker_connections", &[]),
    ] {
        assert!(value(name, labels) > 0.0, "{name}");
    }
}
