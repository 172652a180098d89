//! The APIs this broker speaks, version by version. The README's table is held against this one by a test.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};

#[derive(Debug, Clone, Copy)]
pub struct Supported {
    pub api: ApiKey,
    pub min: i16,
    pub max: i16,
}

const fn api(api: ApiKey, min: i16, max: i16) -> Supported {
    Supported { api, min, max }
}

/// Produce is announced from 0, as Kafka 4 does, because old librdkafka looks there for compression; below
/// [`OLDEST_PRODUCE`] it is not spoken.
pub const SUPPORTED: &[Supported] = &[
    api(ApiKey::Produce, 0, 11),
    api(ApiKey::Fetch, 4, 12),
    api(ApiKey::ListOffsets, 1, 9),
    api(ApiKey::Metadata, 0, 12),
    api(ApiKey::OffsetCommit, 2, 9),
    api(ApiKey::OffsetFetch, 1, 8),
    api(ApiKey::FindCoordinator, 0, 4),
    api(ApiKey::JoinGroup, 0, 9),
    api(ApiKey::Heartbeat, 0, 4),
    api(ApiKey::LeaveGroup, 0, 5),
    api(ApiKey::SyncGroup, 0, 5),
    api(ApiKey::DescribeGroups, 0, 6),
    api(ApiKey::ListGroups, 0, 5),
    api(ApiKey::SaslHandshake, 1, 1),
    api(ApiKey::ApiVersions, 0, 3),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 4),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    api(ApiKey::AddPartitionsToTxn, 0, 3),
    api(ApiKey::AddOffsetsToTxn, 0, 3),
    api(ApiKey::EndTxn, 0, 3),
    api(ApiKey::TxnOffsetCommit, 0, 3),
    api(ApiKey::DescribeAcls, 1, 3),
    api(ApiKey::CreateAcls, 1, 3),
    api(ApiKey::DeleteAcls, 1, 3),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::AlterConfigs, 0, 2),
    api(ApiKey::DescribeLogDirs, 1, 4),
    api(ApiKey::SaslAuthenticate, 0, 2),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::DeleteGroups, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::OffsetDelete, 0, 0),
    api(ApiKey::DescribeCluster, 0, 1),
    api(ApiKey::DescribeProducers, 0, 0),
    api(ApiKey::DescribeTransactions, 0, 0),
    api(ApiKey::ListTransactions, 0, 1),
];

pub const OLDEST_PRODUCE: i16 = 3;

/// Whether requests of this version are taken.
pub(crate) fn is_supported(api: ApiKey, version: i16) -> bool {
    let oldest = if api == ApiKey::Produce { OLDEST_PRODUCE } else { 0 };
    SUPPORTED.iter().any(|entry| entry.api == api && (entry.min.max(oldest)..=entry.max).contains(&version))
}

/// The answer to ApiVersions. No tagged fields: librdkafka 2.0 fails on them.
pub(crate) fn response(error_code: i16) -> ApiVersionsResponse {
    let keys = SUPPORTED.iter().map(|entry| {
        ApiVersion::default().with_api_key(entry.api as i16).with_min_version(entry.min).with_max_version(entry.max)
    });
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(keys.collect())
}
