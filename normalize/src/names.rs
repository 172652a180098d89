//! Canonical ids for mappings, kept for reuse, and look-ups by them.

use std::collections::HashMap;

use hirewire_mapping::Context;
use hirewire_schemas::ids::{canonical_id, key};

use crate::claim::Id;
use crate::lookups::Lookups;

/// Ids kept; then all are forgotten.
const MOST_KEPT: usize = 50_000;

#[derive(Default)]
pub struct IdCache {
    known: HashMap<Vec<u8>, Id>,
    name: Vec<u8>,
}

impl IdCache {
    pub fn id(&mut self, tenant: &str, connection: &str, record: &str, remote_id: &str) -> Id {
        self.name.clear();
        for part in [tenant, connection, record, remote_id] {
            self.name.extend_from_slice(part.as_bytes());
            self.name.push(0x1f);
        }
        if let Some(id) = self.known.get(&self.name) {
            return *id;
        }
        let id = key(canonical_id(tenant, connection, record, remote_id));
        if self.known.len() >= MOST_KEPT {
            self.known.clear();
        }
        self.known.insert(self.name.clone(), id);
        id
    }
}

/// What a mapping may ask of one connection's world.
pub struct World<'a> {
    pub ids: &'a mut IdCache,
    pub lookups: &'a Lookups,
    pub tenant: &'a str,
    pub connection: &'a str,
}

impl Context for World<'_> {
    fn id(&mut self, record: &str, remote_id: &str) -> Id {
        self.ids.id(self.tenant, self.connection, record, remote_id)
    }

    fn lookup(&mut self, record: &str, remote_id: &str, field: usize, out: &mut Vec<u8>) -> bool {
        let id = self.ids.id(self.tenant, self.connection, record, remote_id);
        self.lookups.read(&id, field, out)
    }
}
