//! Real schemas to map to, and ids that are the same for the same record.
#![allow(dead_code)]

use apache_avro::Schema;

pub(crate) fn schema_of(name: &str) -> Option<&'static Schema> {
    hirewire_schemas::schema(name).map(|schema| &schema.avro)
}

pub(crate) fn id(record: &str, remote_id: &str) -> String {
    hirewire_schemas::ids::canonical_id("acme", "account", record, remote_id).to_string()
}

pub(crate) fn key(record: &str, remote_id: &str, _: Option<(&str, &str)>) -> String {
    id(record, remote_id)
}
