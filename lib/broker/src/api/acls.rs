//! DescribeAcls, CreateAcls and DeleteAcls: refused, as Kafka does where no authorizer is set up.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsResponse};
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsResponse};

use super::text;

const MESSAGE: &str = "this broker has no access control lists";

pub(crate) fn describe() -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(text(MESSAGE)))
}

pub(crate) fn create(request: &CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(text(MESSAGE)));
    CreateAclsResponse::default().with_results(vec![refused; request.creations.len()])
}

pub(crate) fn delete(request: &DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(text(MESSAGE)));
    DeleteAclsResponse::default().with_filter_results(vec![refused; request.filters.len()])
}
