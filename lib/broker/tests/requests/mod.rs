//! One request of each API that the broker advertises: an API and a version in, a request that has work to do out.
#![allow(unreachable_pub)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;

use crate::wire::text;

pub fn topic() -> TopicName {
    TopicName(text("t"))
}

/// A request that has work to do, in the fields of the given version.
pub fn request(api: ApiKey, version: i16) -> RequestKind {
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
