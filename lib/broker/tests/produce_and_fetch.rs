//! Plain and idempotent producing, reading, and what survives a restart.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use running::*;

#[test]
fn what_is_acknowledged_is_read_back_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 3, &[]);
    let producer = idempotent(&broker.bootstrap());
    runtime().block_on(async {
        for number in 0..100 {
            let value = number.to_string();
            let record: FutureRecord<'_, str, str> =
                FutureRecord::to("t").partition(number % 3).payload(value.as_str());
            let delivery = producer.send(record, PATIENCE).await.unwrap();
            assert_eq!(delivery.offset, i64::from(number / 3));
        }
    });
    let before = values(&read_all(&broker.bootstrap(), "t", 1, true));
    assert_eq!(before.len(), 33);
    drop(broker);
    let broker = Running::start(dir.path());
    assert_eq!(values(&read_all(&broker.bootstrap(), "t", 1, true)), before);
}

#[test]
fn headers_codecs_and_large_records_pass_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let large = "x".repeat(900 * 1024);
    for codec in codecs {
        let producer: rdkafka::producer::FutureProducer =
            config(&broker.bootstrap()).set("compression.type", codec).create().unwrap();
        let headers = OwnedHeaders::new()
            .insert(Header { key: "a", value: Some("1") })
            .insert(Header { key: "a", value: Some("2") })
            .insert(Header { key: "null", value: None::<&str> });
        let record: FutureRecord<'_, str, str> =
            FutureRecord::to("t").key(codec).payload(large.as_str()).headers(headers);
        runtime().block_on(producer.send(record, PATIENCE)).unwrap();
    }
    let messages = read_all(&broker.bootstrap(), "t", 0, true);
    assert_eq!(messages.len(), codecs.len());
    for (message, codec) in messages.iter().zip(codecs) {
        assert_eq!(message.key().unwrap(), codec.as_bytes());
        assert_eq!(message.payload().unwrap(), large.as_bytes());
        let headers = message.headers().unwrap();
        let found: Vec<_> =
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect();
        let expected = [("a", Some(b"1".to_vec())), ("a", Some(b"2".to_vec())), ("null", None)]
            .map(|(key, value)| (key.to_owned(), value));
        assert_eq!(found, expected);
    }
}

#[test]
fn a_record_over_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let producer: rdkafka::producer::FutureProducer =
        config(&broker.bootstrap()).set("message.max.bytes", "5000000").create().unwrap();
    let large = "x".repeat(3 * 1024 * 1024);
    let record: FutureRecord<'_, str, str> = FutureRecord::to("t").payload(large.as_str());
    let (error, _) = runtime().block_on(producer.send(record, PATIENCE)).unwrap_err();
    assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::MessageSizeTooLarge));
}

#[test]
fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    // The records are old: by default they would be gone at the next look.
    create_topic(&broker.bootstrap(), "t", 1, &[("retention.ms", "-1")]);
    let producer = idempotent(&broker.bootstrap());
    runtime().block_on(async {
        for number in 0..50i64 {
            let record: FutureRecord<'_, str, str> =
                FutureRecord::to("t").payload("x").timestamp(1_000_000 + number * 1000);
            producer.send(record, PATIENCE).await.unwrap();
        }
    });
    let consumer: BaseConsumer = config(&broker.bootstrap()).set("group.id", "g").create().unwrap();
    let ask = |time: i64| {
        let mut times = TopicPartitionList::new();
        times.add_partition_offset("t", 0, Offset::Offset(time)).unwrap();
        consumer.offsets_for_times(times, PATIENCE).unwrap().elements()[0].offset()
    };
    assert_eq!(ask(0), Offset::Offset(0));
    assert_eq!(ask(1_020_000), Offset::Offset(20));
    assert_eq!(ask(1_020_001), Offset::Offset(21));
    assert_eq!(ask(9_000_000), Offset::End);
    assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE).unwrap(), (0, 50));
}

#[test]
fn a_reader_that_waits_is_woken_by_the_next_record() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let consumer: BaseConsumer =
        config(&broker.bootstrap()).set("group.id", "g").set("fetch.wait.max.ms", "30000").create().unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset("t", 0, Offset::Beginning).unwrap();
    consumer.assign(&place).unwrap();
    assert!(consumer.poll(std::time::Duration::from_secs(1)).is_none());
    let producer = idempotent(&broker.bootstrap());
    let record: FutureRecord<'_, str, str> = FutureRecord::to("t").payload("x");
    runtime().block_on(producer.send(record, PATIENCE)).unwrap();
    let message = consumer.poll(std::time::Duration::from_secs(10)).expect("long before the fetch ends by itself");
    assert_eq!(message.unwrap().payload(), Some(b"x".as_slice()));
}

#[test]
fn a_record_from_the_far_future_is_refused_as_kafka_does_and_one_before_the_topics_limit_too() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[("message.timestamp.before.max.ms", "60000")]);
    let producer = idempotent(&broker.bootstrap());
    let now = now_ms();
    let send = |timestamp: i64| {
        let record: FutureRecord<'_, str, str> = FutureRecord::to("t").payload("x").timestamp(timestamp);
        runtime().block_on(producer.send(record, PATIENCE)).map(|_| ()).map_err(|(error, _)| error.rdkafka_error_code())
    };
    let refused = Err(Some(rdkafka::types::RDKafkaErrorCode::InvalidTimestamp));
    assert_eq!(send(now + 2 * 86_400_000), refused);
    assert_eq!(send(now - 86_400_000), refused);
    assert_eq!(send(now), Ok(()));
}
