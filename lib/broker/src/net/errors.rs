//! The error codes that an answer carries, for the metric that counts them.
//!
//! In: a response; out: the codes that are not 0, one per part that was refused. Of rare administration only the codes at
//! the top are told.

use kafka_protocol::messages::ResponseKind;

pub(crate) fn codes(response: &ResponseKind) -> Vec<i16> {
    let mut codes: Vec<i16> = match response {
        ResponseKind::Produce(it) => {
            it.responses.iter().flat_map(|topic| &topic.partition_responses).map(|it| it.error_code).collect()
        }
        ResponseKind::Fetch(it) => {
            let partitions = it.responses.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code);
            partitions.chain([it.error_code]).collect()
        }
        ResponseKind::ListOffsets(it) => {
            it.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code).collect()
        }
        ResponseKind::Metadata(it) => it.topics.iter().map(|it| it.error_code).collect(),
        ResponseKind::OffsetCommit(it) => {
            it.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code).collect()
        }
        ResponseKind::TxnOffsetCommit(it) => {
            it.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code).collect()
        }
        ResponseKind::OffsetFetch(it) => {
            let single = it.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code);
            let topics = it.groups.iter().flat_map(|group| &group.topics);
            let batched = topics.flat_map(|topic| &topic.partitions).map(|it| it.error_code);
            single.chain(batched).chain([it.error_code]).collect()
        }
        ResponseKind::AddPartitionsToTxn(it) => it
            .results_by_topic_v3_and_below
            .iter()
            .flat_map(|topic| &topic.results_by_partition)
            .map(|it| it.partition_error_code)
            .collect(),
        ResponseKind::CreateTopics(it) => it.topics.iter().map(|it| it.error_code).collect(),
        ResponseKind::DeleteTopics(it) => it.responses.iter().map(|it| it.error_code).collect(),
        ResponseKind::CreatePartitions(it) => it.results.iter().map(|it| it.error_code).collect(),
        ResponseKind::DeleteRecords(it) => {
            it.topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.error_code).collect()
        }
        ResponseKind::DescribeConfigs(it) => it.results.iter().map(|it| it.error_code).collect(),
        ResponseKind::AlterConfigs(it) => it.responses.iter().map(|it| it.error_code).collect(),
        ResponseKind::IncrementalAlterConfigs(it) => it.responses.iter().map(|it| it.error_code).collect(),
        ResponseKind::DeleteGroups(it) => it.results.iter().map(|it| it.error_code).collect(),
        ResponseKind::DescribeGroups(it) => it.groups.iter().map(|it| it.error_code).collect(),
        ResponseKind::InitProducerId(it) => vec![it.error_code],
        ResponseKind::AddOffsetsToTxn(it) => vec![it.error_code],
        ResponseKind::EndTxn(it) => vec![it.error_code],
        ResponseKind::JoinGroup(it) => vec![it.error_code],
        ResponseKind::SyncGroup(it) => vec![it.error_code],
        ResponseKind::Heartbeat(it) => vec![it.error_code],
        ResponseKind::LeaveGroup(it) => vec![it.error_code],
        ResponseKind::SaslHandshake(it) => vec![it.error_code],
        ResponseKind::SaslAuthenticate(it) => vec![it.error_code],
        ResponseKind::ApiVersions(it) => vec![it.error_code],
        _ => Vec::new(),
    };
    codes.retain(|code| *code != 0);
    codes
}
