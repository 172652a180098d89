//! Records of the internal topics.

use serde::{Deserialize, Serialize};

use super::wire::{get_bytes, put_bytes, record};
use super::{Get, Put, RawRef};

/// Avro bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blob(#[serde(with = "apache_avro::serde::bytes")] pub Vec<u8>);

impl Put for Blob {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(&self.0, out);
    }
}

impl Get for Blob {
    fn get(from: &mut &[u8]) -> Option<Self> {
        get_bytes(from).map(|bytes| Self(bytes.to_vec()))
    }
}

record! {
    /// What normalize knows of one entity beyond the public record.
    State {
        format: i32,
        entity: String,
        id: String,
        tenant_id: String,
        connection_id: String,
        remote_id: String,
        body: Blob,
    }
}

record! {
    /// A fact on its way to the partition that owns its entity.
    Fragment {
        tenant_id: String,
        connection_id: String,
        entity: String,
        remote_id: String,
        id: String,
        body: Blob,
        hash: Blob,
    }
}

record! {
    /// One connection to poll.
    Lease {
        tenant_id: String,
        connection_id: String,
        source_system: String,
        enabled: bool,
        config_fingerprint: Option<String>,
        updated_at: Option<i64>,
    }
}

record! {
    /// How far one stream of one connection was read.
    Cursor {
        connection_id: String,
        stream: String,
        phase: String,
        window_from: Option<i64>,
        window_to: i64,
        next_page: Option<String>,
        complete: bool,
        rows: i64,
        written_at: i64,
        sync_token: Option<String>,
    }
}

record! {
    /// A named text.
    NameValue {
        name: String,
        value: String,
    }
}

record! {
    /// Something to be read from the source, for an event only named it.
    Fetch {
        tenant_id: String,
        connection_id: String,
        source_system: String,
        resource: String,
        remote_id: String,
        url: Option<String>,
        params: Vec<NameValue>,
        cause: Option<RawRef>,
        requested_at: Option<i64>,
        attempts: Option<i32>,
    }
}

record! {
    /// What route is about to change in the source.
    WriteBack {
        tenant_id: String,
        connection_id: String,
        application_id: String,
        route: String,
        idempotency_key: String,
        action: String,
        to_stage_id: Option<String>,
        to_status: Option<String>,
        cause_event_id: Option<String>,
        intended_at: i64,
        expires_at: Option<i64>,
    }
}

record! {
    /// From when on a route acts.
    RouteStart {
        route: String,
        sink: String,
        from: i64,
        enabled_at: i64,
    }
}
