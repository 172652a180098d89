//! Where ingest writes: topic names of this deployment, made once, and keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use hirewire_schemas::{Names, ids};

use crate::connection::Connection;

/// Topic names by vendor.
#[derive(Debug, Clone)]
pub struct Topics {
    raw: BTreeMap<String, (Arc<str>, Arc<str>)>,
    pub cursor: Arc<str>,
    pub leases: Arc<str>,
    pub fetch: Arc<str>,
}

impl Topics {
    #[must_use]
    pub fn new<'a>(names: &Names, vendors: impl IntoIterator<Item = &'a str>) -> Self {
        let raw = vendors.into_iter().map(|vendor| {
            let (open, restricted) = (names.raw(vendor), names.raw_restricted(vendor));
            (vendor.to_owned(), (Arc::from(open), Arc::from(restricted)))
        });
        let internal = |name| names.internal(name).into();
        Self { raw: raw.collect(), cursor: internal("cursor"), leases: internal("leases"), fetch: internal("fetch") }
    }

    /// The raw topic of `vendor`.
    pub(crate) fn raw(&self, vendor: &str, restricted: bool) -> Arc<str> {
        match self.raw.get(vendor) {
            Some((_, closed)) if restricted => closed.clone(),
            Some((open, _)) => open.clone(),
            // Topics are made of the same connections that records come from.
            None => Arc::from(""),
        }
    }
}

/// The Kafka key of what is known by `remote_id` at this connection.
pub(crate) fn canonical_key(connection: &Connection, record: &str, remote_id: &str) -> String {
    ids::canonical_id(&connection.tenant, &connection.name, record, remote_id).to_string()
}
