//! The envelope of every canonical record.

use super::wire::record;
use super::{Operation, Provenance};

record! {
    /// Where the exact bytes of a fact stand.
    RawRef {
        topic: String,
        partition: i32,
        offset: i64,
    }
}

record! {
    /// A source value that has no canonical field.
    CustomField {
        name: String,
        path: String,
        r#type: Option<String>,
        value: Option<String>,
    }
}

record! {
    /// See `avro/types/Meta.avsc` for what each field means.
    Meta {
        event_id: String,
        tenant_id: String,
        connection_id: String,
        source_system: String,
        source_api_version: Option<String>,
        op: Operation,
        id: String,
        remote_id: String,
        remote_url: Option<String>,
        remote_created_at: Option<i64>,
        remote_updated_at: Option<i64>,
        remote_deleted_at: Option<i64>,
        observed_at: i64,
        ingested_at: i64,
        provenance: Provenance,
        raw_refs: Vec<RawRef>,
        mapping_version: String,
        custom_fields: Vec<CustomField>,
        absent_fields: Vec<String>,
        unreadable_fields: Vec<String>,
    }
}
