//! Every advertised API in every advertised version: asked over a socket, answered in that version, without an error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod running;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use hirewire_broker::{OLDEST_PRODUCE, SUPPORTED};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use running::*;

struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    fn connect(broker: &Running) -> Self {
        Self { stream: TcpStream::connect(broker.address).unwrap(), correlation_id: 0 }
    }

    fn encode(api: ApiKey, version: i16, correlation_id: i32, request: &RequestKind) -> BytesMut {
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_correlation_id(correlation_id)
            .with_client_id(Some(text("wire")));
        let mut bytes = BytesMut::new();
        bytes.put_i32(0);
        header.encode(&mut bytes, api.request_header_version(version)).unwrap();
        request.encode(&mut bytes, version).unwrap();
        let size = i32::try_from(bytes.len() - 4).unwrap();
        bytes[..4].copy_from_slice(&size.to_be_bytes());
        bytes
    }

    fn send(&mut self, api: ApiKey, version: i16, request: &RequestKind) {
        self.correlation_id += 1;
        let bytes = Self::encode(api, version, self.correlation_id, request);
        self.stream.write_all(&bytes).unwrap();
    }

    fn receive(&mut self) -> Option<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).ok()?;
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
        self.stream.read_exact(&mut bytes).unwrap();
        Some(bytes.into())
    }

    fn ask(&mut self, api: ApiKey, version: i16, request: &RequestKind) -> ResponseKind {
        self.send(api, version, request);
        let mut bytes = self.receive().unwrap_or_else(|| panic!("{api:?} {version}: the connection was closed"));
        let header = ResponseHeader::decode(&mut bytes, api.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let response =
            ResponseKind::decode(api, &mut bytes, version).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert!(bytes.is_empty(), "{api:?} {version}: bytes are left over");
        response
    }
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn topic() -> TopicName {
    TopicName(text("t"))
}

/// A request that has work to do, in the fields of the given version.
fn request(api: ApiKey, version: i16) -> RequestKind {
    let group = GroupId(text("g"));
    let transactional_id = TransactionalId(text("p"));
    match api {
        ApiKey::Produce => {
            let data = produce_request::PartitionProduceData::default().with_index(0).with_records(Some(batch()));
            let data = produce_request::TopicProduceData::default().with_name(topic()).with_partition_data(vec![data]);
            ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![data]).into()
        }
        ApiKey::Fetch => {
            let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
            let topic = fetch_request::FetchTopic::default().with_topic(topic()).with_partitions(vec![partition]);
            let request = FetchRequest::default().with_max_bytes(1 << 20).with_min_bytes(1).with_topics(vec![topic]);
            request.with_isolation_level(1).with_session_epoch(if version >= 7 { -1 } else { 0 }).into()
        }
        ApiKey::ListOffsets => {
            let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
            let topic =
                list_offsets_request::ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![partition]);
            ListOffsetsRequest::default().with_topics(vec![topic]).into()
        }
        ApiKey::Metadata => {
            let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(topic()));
            MetadataRequest::default().with_topics(Some(vec![topic])).into()
        }
        ApiKey::OffsetCommit => {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default()
                .with_committed_offset(1)
                .with_committed_metadata(Some(text("m")));
            let topic = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default().with_group_id(GroupId(text("simple")));
            request.with_generation_id_or_member_epoch(-1).with_topics(vec![topic]).into()
        }
        ApiKey::OffsetFetch if version >= 8 => {
            let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(topic())
                .with_partition_indexes(vec![0]);
            let group = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(text("simple")))
                .with_topics(Some(vec![topic]));
            OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true).into()
        }
        ApiKey::OffsetFetch => {
            let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic())
                .with_partition_indexes(vec![0]);
            let request = OffsetFetchRequest::default().with_group_id(GroupId(text("simple")));
            request.with_topics(Some(vec![topic])).with_require_stable(version >= 7).into()
        }
        ApiKey::FindCoordinator if version >= 4 => {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]).into()
        }
        ApiKey::FindCoordinator => FindCoordinatorRequest::default().with_key(text("g")).into(),
        ApiKey::JoinGroup => {
            let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
            let request = JoinGroupRequest::default()
                .with_group_id(GroupId(text(&format!("join-{version}"))))
                .with_session_timeout_ms(10_000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol]);
            if version >= 1 { request.with_rebalance_timeout_ms(10_000) } else { request }.into()
        }
        ApiKey::SyncGroup => SyncGroupRequest::default().with_group_id(group).with_member_id(text("nobody")).into(),
        ApiKey::Heartbeat => HeartbeatRequest::default().with_group_id(group).with_member_id(text("nobody")).into(),
        ApiKey::LeaveGroup if version >= 3 => {
            let member = leave_group_request::MemberIdentity::default().with_member_id(text("nobody"));
            LeaveGroupRequest::default().with_group_id(group).with_members(vec![member]).into()
        }
        ApiKey::LeaveGroup => LeaveGroupRequest::default().with_group_id(group).with_member_id(text("nobody")).into(),
        ApiKey::DescribeGroups => DescribeGroupsRequest::default().with_groups(vec![GroupId(text("simple"))]).into(),
        ApiKey::ListGroups => ListGroupsRequest::default().into(),
        ApiKey::ApiVersions if version >= 3 => ApiVersionsRequest::default()
            .with_client_software_name(text("test"))
            .with_client_software_version(text("1"))
            .into(),
        ApiKey::ApiVersions => ApiVersionsRequest::default().into(),
        ApiKey::CreateTopics => {
            let topic = create_topics_request::CreatableTopic::default()
                .with_name(TopicName(text(&format!("created-{version}"))))
                .with_num_partitions(1)
                .with_replication_factor(1);
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000).into()
        }
        ApiKey::DeleteTopics if version >= 6 => {
            let topic = delete_topics_request::DeleteTopicState::default()
                .with_name(Some(TopicName(text(&format!("deleted-{version}")))));
            DeleteTopicsRequest::default().with_topics(vec![topic]).into()
        }
        ApiKey::DeleteTopics => {
            DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text(&format!("deleted-{version}")))]).into()
        }
        ApiKey::DeleteRecords => {
            let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(0);
            let topic = delete_records_request::DeleteRecordsTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            DeleteRecordsRequest::default().with_topics(vec![topic]).into()
        }
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::default().with_transactional_id(Some(transactional_id));
            request.with_transaction_timeout_ms(10_000).into()
        }
        ApiKey::OffsetForLeaderEpoch => {
            let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
            let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(topic())
                .with_partitions(vec![partition]);
            OffsetForLeaderEpochRequest::default().with_topics(vec![topic]).into()
        }
        ApiKey::AddPartitionsToTxn => {
            let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(topic())
                .with_partitions(vec![0]);
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(transactional_id)
                .with_v3_and_below_topics(vec![topic])
                .into()
        }
        ApiKey::AddOffsetsToTxn => {
            AddOffsetsToTxnRequest::default().with_transactional_id(transactional_id).with_group_id(group).into()
        }
        ApiKey::EndTxn => EndTxnRequest::default().with_transactional_id(transactional_id).into(),
        ApiKey::TxnOffsetCommit => {
            let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
            let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            TxnOffsetCommitRequest::default()
                .with_transactional_id(transactional_id)
                .with_group_id(group)
                .with_topics(vec![topic])
                .into()
        }
        ApiKey::SaslHandshake => SaslHandshakeRequest::default().with_mechanism(text("PLAIN")).into(),
        ApiKey::SaslAuthenticate => SaslAuthenticateRequest::default().with_auth_bytes("\0a\0b".into()).into(),
        ApiKey::DescribeAcls => DescribeAclsRequest::default().with_pattern_type_filter(1).into(),
        ApiKey::CreateAcls => {
            let acl = create_acls_request::AclCreation::default().with_resource_pattern_type(3);
            CreateAclsRequest::default().with_creations(vec![acl]).into()
        }
        ApiKey::DeleteAcls => {
            let acls = delete_acls_request::DeleteAclsFilter::default().with_pattern_type_filter(1);
            DeleteAclsRequest::default().with_filters(vec![acls]).into()
        }
        ApiKey::DescribeLogDirs => {
            let topic = describe_log_dirs_request::DescribableLogDirTopic::default()
                .with_topic(topic())
                .with_partitions(vec![0]);
            DescribeLogDirsRequest::default().with_topics(Some(vec![topic])).into()
        }
        ApiKey::DescribeProducers => {
            let topic =
                describe_producers_request::TopicRequest::default().with_name(topic()).with_partition_indexes(vec![0]);
            DescribeProducersRequest::default().with_topics(vec![topic]).into()
        }
        ApiKey::DescribeTransactions => {
            DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional_id]).into()
        }
        ApiKey::ListTransactions => {
            let request = ListTransactionsRequest::default()
                .with_state_filters(vec![text("Empty"), text("Lost")])
                .with_producer_id_filters(Vec::new());
            if version >= 1 { request.with_duration_filter(-1) } else { request }.into()
        }
        ApiKey::DescribeConfigs => {
            let topic = describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"));
            let request = DescribeConfigsRequest::default().with_resources(vec![topic]);
            request.with_include_synonyms(true).into()
        }
        ApiKey::AlterConfigs => {
            let config = alter_configs_request::AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1000000")));
            let topic = alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configs(vec![config]);
            AlterConfigsRequest::default().with_resources(vec![topic]).into()
        }
        ApiKey::IncrementalAlterConfigs => {
            let config = incremental_alter_configs_request::AlterableConfig::default()
                .with_name(text("cleanup.policy"))
                .with_config_operation(2)
                .with_value(Some(text("compact")));
            let topic = incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configs(vec![config]);
            IncrementalAlterConfigsRequest::default().with_resources(vec![topic]).into()
        }
        ApiKey::CreatePartitions => {
            let topic = create_partitions_request::CreatePartitionsTopic::default()
                .with_name(topic())
                .with_count(10 + i32::from(version));
            CreatePartitionsRequest::default().with_topics(vec![topic]).into()
        }
        ApiKey::DeleteGroups => DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("none"))]).into(),
        ApiKey::OffsetDelete => {
            let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
            let topic = offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            OffsetDeleteRequest::default().with_group_id(GroupId(text("simple"))).with_topics(vec![topic]).into()
        }
        ApiKey::DescribeCluster => DescribeClusterRequest::default().into(),
        other => panic!("{other:?} is advertised and has no test"),
    }
}

/// One record with value "x", from no producer.
fn batch() -> Bytes {
    use kafka_protocol::records::*;
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: 1_000,
        key: None,
        value: Some(Bytes::from_static(b"x")),
        headers: kafka_protocol::indexmap::IndexMap::new(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
    bytes.freeze()
}

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
    create_topic(&broker.bootstrap(), "t", 1, &[]);
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
    wire.send(ApiKey::ApiVersions, 4, &request(ApiKey::ApiVersions, 4));
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
