//! What ingest and normalize read of a vendor's folder.

use std::sync::Arc;

use hirewire_ingest::manifest::Manifest;
use hirewire_mapping::Plan;

/// The folder's manifest, and its mapping compiled.
#[derive(Debug)]
pub struct Rules {
    pub manifest: Arc<Manifest>,
    pub plan: Plan,
}
