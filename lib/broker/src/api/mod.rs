//! The handlers, one file per family of APIs: a decoded request in, a response out.

mod acls;
mod configs;
mod fetch;
mod group_membership;
mod group_offsets;
mod groups_admin;
mod introspection;
mod metadata;
mod offsets;
mod produce;
mod topics;
mod transactions;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;

use crate::core::Core;
use crate::net::versions;

/// Who asks.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) host: String,
}

pub(crate) type Later = Pin<Box<dyn Future<Output = ResponseKind> + Send>>;

pub(crate) enum Reply {
    Now(Box<ResponseKind>),
    /// The next request of the connection may begin before this is there.
    Later(Later),
    /// The client wants no answer.
    Nothing,
}

pub(crate) async fn handle(core: &Arc<Core>, client: Client, request: RequestKind, version: i16) -> Reply {
    let core = core.clone();
    let response: ResponseKind = match request {
        RequestKind::Produce(request) => return produce::produce(core, request).await,
        RequestKind::ApiVersions(_) => versions::response(0).into(),
        RequestKind::Fetch(request) => Box::pin(fetch::fetch(&core, request)).await.into(),
        RequestKind::ListOffsets(request) => offsets::list(&core, request, version).await.into(),
        RequestKind::OffsetForLeaderEpoch(request) => offsets::for_leader_epoch(&core, request).into(),
        RequestKind::DeleteRecords(request) => offsets::delete_records(&core, request).await.into(),
        RequestKind::Metadata(request) => metadata::metadata(&core, request, version).await.into(),
        RequestKind::DescribeCluster(request) => metadata::describe_cluster(&core, &request).into(),
        RequestKind::FindCoordinator(request) => metadata::find_coordinator(&core, request, version).into(),
        RequestKind::CreateTopics(request) => topics::create(&core, request).await.into(),
        RequestKind::DeleteTopics(request) => topics::delete(&core, request, version).await.into(),
        RequestKind::CreatePartitions(request) => topics::create_partitions(&core, request).await.into(),
        RequestKind::DescribeConfigs(request) => configs::describe(&core, request, version).into(),
        RequestKind::AlterConfigs(request) => configs::alter(&core, request).await.into(),
        RequestKind::IncrementalAlterConfigs(request) => configs::alter_incrementally(&core, request).await.into(),
        RequestKind::InitProducerId(request) => transactions::init(&core, request, version).await.into(),
        RequestKind::AddPartitionsToTxn(request) => transactions::add_partitions(&core, request, version).await.into(),
        RequestKind::AddOffsetsToTxn(request) => transactions::add_offsets(&core, request, version).await.into(),
        RequestKind::TxnOffsetCommit(request) => transactions::commit_offsets(&core, request, version).await.into(),
        RequestKind::EndTxn(request) => transactions::end(&core, request, version).await.into(),
        RequestKind::JoinGroup(request) => group_membership::join(&core, client, request, version).await.into(),
        RequestKind::SyncGroup(request) => group_membership::sync(&core, request, version).await.into(),
        RequestKind::Heartbeat(request) => group_membership::heartbeat(&core, &request).into(),
        RequestKind::LeaveGroup(request) => group_membership::leave(&core, request, version).into(),
        RequestKind::OffsetCommit(request) => group_offsets::commit(&core, request).await.into(),
        RequestKind::OffsetFetch(request) => group_offsets::fetch(&core, request, version).await.into(),
        RequestKind::OffsetDelete(request) => group_offsets::delete(&core, request).await.into(),
        RequestKind::DescribeGroups(request) => groups_admin::describe(&core, request, version).into(),
        RequestKind::ListGroups(request) => groups_admin::list(&core, &request, version).into(),
        RequestKind::DescribeProducers(request) => introspection::producers(&core, request).into(),
        RequestKind::DescribeTransactions(request) => introspection::transactions(&core, request).into(),
        RequestKind::ListTransactions(request) => introspection::list_transactions(&core, &request, version).into(),
        RequestKind::DescribeLogDirs(request) => introspection::log_dirs(&core, request, version).into(),
        RequestKind::DescribeAcls(_) => acls::describe().into(),
        RequestKind::CreateAcls(request) => acls::create(&request).into(),
        RequestKind::DeleteAcls(request) => acls::delete(&request).into(),
        RequestKind::DeleteGroups(request) => groups_admin::delete(&core, request).await.into(),
        // Not in the table of supported APIs, so a connection never hands it here.
        _ => return Reply::Nothing,
    };
    Reply::Now(Box::new(response))
}

pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// The error code of a result; 0 is success.
pub(crate) fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

/// Waits for what was changed; where all was refused nothing waits, so that a refusing disk is told of at once.
pub(crate) async fn durable_if(core: &Core, changed: bool) {
    if changed {
        core.journal.durable_now().await;
    }
}
