//! Canonical ids for mappings, kept for reuse, and look-ups by them.

use std::hash::{BuildHasher, RandomState};

use hirewire_mapping::Context;
use hirewire_schemas::ids::{canonical_id, key};

use crate::claim::Id;
use crate::lookups::Lookups;

/// Places; a new name takes the place of another one.
const PLACES: usize = 1 << 13;

#[derive(Clone)]
struct Known {
    name: Box<[u8]>,
    id: Id,
}

/// The ids of names that were asked for lately: bounded, and never wrong, for whole names are compared.
pub struct IdCache {
    places: Vec<Option<Known>>,
    hasher: RandomState,
    name: Vec<u8>,
}

impl Default for IdCache {
    fn default() -> Self {
        Self { places: vec![None; PLACES], hasher: RandomState::new(), name: Vec::new() }
    }
}

impl IdCache {
    pub fn id(&mut self, tenant: &str, connection: &str, record: &str, remote_id: &str) -> Id {
        self.name.clear();
        for part in [tenant, connection, record, remote_id] {
            self.name.extend_from_slice(part.as_bytes());
            self.name.push(0x1f);
        }
        let hash = self.hasher.hash_one(self.name.as_slice());
        let place = &mut self.places[usize::try_from(hash % PLACES as u64).unwrap_or(0)];
        match place {
            Some(known) if *known.name == *self.name => known.id,
            _ => {
                let id = key(canonical_id(tenant, connection, record, remote_id));
                *place = Some(Known { name: self.name.as_slice().into(), id });
                id
            }
        }
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

    fn foreign_id(&mut self, connection: &str, record: &str, remote_id: &str) -> Id {
        self.ids.id(self.tenant, connection, record, remote_id)
    }

    fn lookup(&mut self, record: &str, remote_id: &str, field: usize, out: &mut Vec<u8>) -> bool {
        let id = self.ids.id(self.tenant, self.connection, record, remote_id);
        self.lookups.read(&id, field, out)
    }
}
