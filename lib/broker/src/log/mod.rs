//! The durable log: one journal for everything, segment files per partition behind it, checkpoints that let both start anew.

pub(crate) mod backup;
pub(crate) mod batch;
pub(crate) mod checkpoint;
pub(crate) mod codec;
pub(crate) mod compaction;
pub(crate) mod decompress;
pub(crate) mod housekeeping;
pub(crate) mod inspect;
pub(crate) mod journal;
pub(crate) mod op;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod read;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod segment;
pub(crate) mod writer;
