//! Small records that mappings look up (stages, reasons, sources, users ...): canonical records in, field slices out.
//!
//! One table per process, fed by a follower of all their topics and, at once, by what this process's workers make of raw records.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hirewire_schemas::RecordSchema;

use crate::claim::Id;
use crate::reconcile::Operation;
use crate::shape::Shape;

/// The fields of a record, by index.
pub type Fields = Box<[Bytes]>;

#[derive(Default)]
pub struct Lookups {
    records: RwLock<HashMap<Id, Fields>>,
    arrived: Condvar,
    /// Held only to wait on `arrived`.
    gate: Mutex<u64>,
}

impl Lookups {
    /// Appends a field of a record; false if the record is unknown.
    pub fn read(&self, id: &Id, field: usize, out: &mut Vec<u8>) -> bool {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        match records.get(id).and_then(|fields| fields.get(field)) {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    #[must_use]
    pub fn knows(&self, id: &Id) -> bool {
        self.records.read().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    /// Puts a record's fields. `None`: it is deleted.
    pub fn put(&self, id: Id, fields: Option<Fields>) {
        {
            let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
            match fields {
                Some(fields) => records.insert(id, fields),
                None => records.remove(&id),
            };
        }
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.arrived.notify_all();
    }

    /// Waits until all of `ids` are known. False when time is up.
    pub fn wait_for(&self, ids: &[Id], patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if ids.iter().all(|id| self.knows(id)) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            gate = self.arrived.wait_timeout(gate, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.records.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Finds the fields of an encoded record.
pub struct RecordShape {
    fields: Vec<Shape>,
    /// Position of `op` in the envelope and the shapes before it.
    before_operation: Vec<Shape>,
}

impl RecordShape {
    /// None if the schema has something that canonical records never have.
    #[must_use]
    pub fn of(schema: &RecordSchema) -> Option<Self> {
        let fields = Shape::of_fields(&schema.avro)?;
        let Some(Shape::Record(meta)) = fields.first() else { return None };
        let at = match &schema.avro {
            apache_avro::Schema::Record(record) => match &record.fields.first()?.schema {
                apache_avro::Schema::Record(meta) => meta.fields.iter().position(|field| field.name == "op")?,
                _ => return None,
            },
            _ => return None,
        };
        let before_operation = meta.get(..at)?.to_vec();
        Some(Self { fields, before_operation })
    }

    /// The slices of a record (without frame, by our own schema), unless it was deleted or does not fit.
    #[must_use]
    pub fn split(&self, record: &Bytes) -> Option<Fields> {
        let mut rest: &[u8] = record;
        for shape in &self.before_operation {
            shape.skip(&mut rest)?;
        }
        if hirewire_mapping::avro::read_long(&mut rest)? == Operation::Delete as i64 {
            return None;
        }
        let mut rest: &[u8] = record;
        let mut fields = Vec::with_capacity(self.fields.len());
        for shape in &self.fields {
            let begin = rest;
            shape.skip(&mut rest)?;
            fields.push(record.slice_ref(&begin[..begin.len() - rest.len()]));
        }
        Some(fields.into())
    }
}
