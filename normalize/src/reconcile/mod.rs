//! Many claims about one record become one state, and the state becomes a canonical record.
//!
//! [`EntityState`] keeps the Avro slice and the version of each top-level field; [`merge`] lets newer claims win field by
//! field; [`record`] writes the canonical bytes: envelope and slices, no value tree between.

mod merge;
mod record;
mod state;

pub use merge::{Merged, merge};
pub use record::{Envelope, Ids, Operation, put_ref, put_state_record, write_canonical};
pub use state::{Deleted, EntityState, FORMAT, Held, RawRef, RowState};
