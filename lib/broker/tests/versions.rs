//! Every advertised API in every advertised version: asked over a socket, answered in that version, without an error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod requests;
mod running;
mod wire;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use hirewire_broker::{OLDEST_PRODUCE, SUPPORTED};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;
use requests::{request, topic};
use running::*;
use wire::{Wire, text};

/// What a response must say, beyond being readable.
fn check(response: &ResponseKind) {
    match response {
        ResponseKind::Produce(response) => {
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        }
        ResponseKind::Fetch(response) => {
            let partition = &response.responses[0].partitions[0];
            assert_eq!(partition.error_code, 0);
            assert!(!partition.records.as_ref().unwrap().is_empty());
        }
        ResponseKind::ListOffsets(response) => assert!(response.topics[0].partitions[0].offset > 0),
        ResponseKind::Metadata(response) => {
            assert_eq!(response.topics[0].error_code, 0);
            assert!(!response.topics[0].partitions.is_empty());
        }
        ResponseKind::OffsetCommit(response) => assert_eq!(response.topics[0].partitions[0].error_code, 0),
        ResponseKind::OffsetFetch(response) => {
            let single = response.topics.first().map(|topic| topic.partitions[0].committed_offset);
            let batched = response.groups.first().map(|group| group.topics[0].partitions[0].committed_offset);
            assert_eq!(single.or(batched), Some(1));
        }
        ResponseKind::CreateTopics(response) => assert_eq!(response.topics[0].error_code, 0),
        ResponseKind::DeleteTopics(response) => assert_eq!(response.responses[0].error_code, 0),
        ResponseKind::CreatePartitions(response) => assert_eq!(response.results[0].error_code, 0),
        // This broker has no users: what comes with users is in security.rs.
        ResponseKind::SaslHandshake(response) => assert_eq!(response.error_code, 34),
        ResponseKind::SaslAuthenticate(response) => assert_eq!(response.error_code, 34),
        ResponseKind::DescribeAcls(response) => assert_eq!(response.error_code, 54),
        ResponseKind::CreateAcls(response) => assert_eq!(response.results[0].error_code, 54),
        ResponseKind::DeleteAcls(response) => assert_eq!(response.filter_results[0].error_code, 54),
        ResponseKind::DescribeLogDirs(response) => {
            assert_eq!(response.results[0].topics[0].partitions.len(), 1);
        }
        ResponseKind::DescribeProducers(response) => assert_eq!(response.topics[0].partitions[0].error_code, 0),
        ResponseKind::DescribeTransactions(response) => {
            assert_eq!(response.transaction_states[0].error_code, 0);
            assert!(!response.transaction_states[0].transaction_state.is_empty());
        }
        ResponseKind::ListTransactions(response) => {
            assert_eq!(response.unknown_state_filters, [text("Lost")]);
        }
        ResponseKind::InitProducerId(response) => assert_eq!(response.error_code, 0),
        ResponseKind::DescribeConfigs(response) => assert_eq!(response.results[0].configs.len(), 33),
        ResponseKind::AlterConfigs(response) => assert_eq!(response.responses[0].error_code, 0),
        ResponseKind::IncrementalAlterConfigs(response) => assert_eq!(response.responses[0].error_code, 0),
        ResponseKind::OffsetForLeaderEpoch(response) => {
            assert!(response.topics[0].partitions[0].end_offset > 0);
        }
        _ => {}
    }
}

#[test]
fn every_advertised_version_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    // Its record is of 1970, and would be gone at the broker's next look.
    create_topic(&broker.bootstrap(), "t", 1, &[("retention.ms", "-1")]);
    let mut wire = Wire::connect(&broker);
    wire.ask(ApiKey::Produce, 9, &request(ApiKey::Produce, 9));
    wire.ask(ApiKey::OffsetCommit, 8, &request(ApiKey::OffsetCommit, 8));
    for entry in SUPPORTED {
        let oldest = if entry.api == ApiKey::Produce { OLDEST_PRODUCE } else { entry.min };
        for version in oldest..=entry.max {
            if entry.api == ApiKey::DeleteTopics {
                create_topic(&broker.bootstrap(), &format!("deleted-{version}"), 1, &[]);
            }
            let response = wire.ask(entry.api, version, &request(entry.api, version));
            check(&response);
        }
    }
}

#[test]
fn a_topic_is_found_by_its_id_also_with_an_empty_name_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let mut wire = Wire::connect(&broker);
    let mut ask = |topic| {
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        match wire.ask(ApiKey::Metadata, 12, &request.into()) {
            ResponseKind::Metadata(response) => response.topics[0].clone(),
            other => panic!("{other:?}"),
        }
    };
    let wanted = metadata_request::MetadataRequestTopic::default;
    let id = ask(wanted().with_name(Some(topic()))).topic_id;
    for name in [None, Some(TopicName::default())] {
        let found = ask(wanted().with_name(name).with_topic_id(id));
        assert_eq!((found.error_code, found.name), (0, Some(topic())));
    }
    assert_eq!(ask(wanted().with_name(None).with_topic_id(uuid::Uuid::from_u128(9))).error_code, 100);
}

#[test]
fn transactions_and_producers_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let producer = transactional(&broker.bootstrap(), "p", 30_000);
    rdkafka::producer::Producer::begin_transaction(&producer).unwrap();
    send(&producer, "t", 0, "x");
    rdkafka::producer::Producer::flush(&producer, PATIENCE).unwrap();
    let mut wire = Wire::connect(&broker);
    let list = |states: &[&str]| {
        let states = states.iter().map(|state| text(state)).collect();
        ListTransactionsRequest::default().with_state_filters(states).with_duration_filter(-1).into()
    };
    let mut listed = |request: RequestKind| match wire.ask(ApiKey::ListTransactions, 1, &request) {
        ResponseKind::ListTransactions(response) => response.transaction_states,
        other => panic!("{other:?}"),
    };
    assert_eq!(listed(list(&["Ongoing"]))[0].transactional_id.as_str(), "p");
    assert!(listed(list(&["Empty"])).is_empty());
    let long = ListTransactionsRequest::default().with_duration_filter(3_600_000);
    assert!(listed(long.into()).is_empty());
    match wire.ask(ApiKey::DescribeTransactions, 0, &request(ApiKey::DescribeTransactions, 0)) {
        ResponseKind::DescribeTransactions(response) => {
            let state = &response.transaction_states[0];
            assert_eq!((state.transaction_state.as_str(), state.transaction_timeout_ms), ("Ongoing", 30_000));
            assert_eq!((&state.topics[0].topic, &state.topics[0].partitions), (&topic(), &vec![0]));
        }
        other => panic!("{other:?}"),
    }
    match wire.ask(ApiKey::DescribeProducers, 0, &request(ApiKey::DescribeProducers, 0)) {
        ResponseKind::DescribeProducers(response) => {
            let state = &response.topics[0].partitions[0].active_producers[0];
            assert_eq!((state.last_sequence, state.current_txn_start_offset), (0, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newer_version_of_api_versions_is_told_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    let mut wire = Wire::connect(&broker);
    wire.send(ApiKey::ApiVersions, 4, &request(ApiKey::ApiVersions, 4)).unwrap();
    let mut bytes = wire.receive().unwrap();
    ResponseHeader::decode(&mut bytes, 0).unwrap();
    let response = ApiVersionsResponse::decode(&mut bytes, 0).unwrap();
    assert_eq!(response.error_code, 35);
    assert_eq!(response.api_keys.len(), SUPPORTED.len());
}

#[test]
fn what_cannot_be_understood_ends_that_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    let mut good = Wire::connect(&broker);
    let nonsense: [&[u8]; 6] = [
        &[0, 0, 0, 8, 0, 99, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 8, 0, 3, 0, 99, 0, 0, 0, 1],
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        // Metadata with an array of two thousand million topics, in the old and in the new notation.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 16, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    for bytes in nonsense {
        let mut bad = Wire::connect(&broker);
        bad.stream.write_all(bytes).unwrap();
        assert!(bad.receive().is_none(), "{bytes:?}");
    }
    good.ask(ApiKey::Metadata, 1, &request(ApiKey::Metadata, 1));
}

/// Requests with a few wrong bytes: some are refused, some are taken for others, none stops the broker.
#[test]
fn damaged_requests_harm_nobody() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let dir = tempfile::tempdir().unwrap();
    let broker = Running::start(dir.path());
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let mut seed = 42u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for round in 0..40 {
        for entry in SUPPORTED {
            let version =
                entry.max - i16::try_from(random(usize::try_from(entry.max - entry.min + 1).unwrap())).unwrap();
            if entry.api == ApiKey::Produce && version < OLDEST_PRODUCE {
                continue;
            }
            let mut bytes = Wire::encode(entry.api, version, round, &request(entry.api, version)).to_vec();
            for _ in 0..=random(3) {
                let at = 12 + random(bytes.len() - 12);
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, u8::try_from(random(256)).unwrap()][random(6)];
            }
            let mut wire = Wire::connect(&broker);
            wire.stream.write_all(&bytes).unwrap();
        }
    }
    Wire::connect(&broker).ask(ApiKey::ApiVersions, 0, &request(ApiKey::ApiVersions, 0));
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[test]
fn the_readme_tells_the_versions() {
    let readme = include_str!("../README.md");
    let told: Vec<&str> = readme
        .lines()
        .skip_while(|line| *line != "| API | versions |")
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let real: Vec<String> = SUPPORTED
        .iter()
        .map(|entry| {
            let versions =
                if entry.min == entry.max { entry.min.to_string() } else { format!("{}–{}", entry.min, entry.max) };
            format!("| {:?} | {versions} |", entry.api)
        })
        .collect();
    assert_eq!(told, real);
}
