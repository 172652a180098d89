//! Leaves the outbox in the vendor's queue, for a vendor whose events wait until they are read.
//!
//! In: events that are due. Out: events in the queue, in this order; one that was left there counts as acknowledged. A kill
//! between the two leaves an event there twice, as a vendor may.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::outbox::sender::{AT_ONCE, Outcome, due, mark_sent, settle};
use crate::store::{self, StoreError};
use crate::vendor::Vendor;

pub(crate) struct Postman {
    pub(crate) vendor: Arc<Vendor>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Postman {
    /// Runs until told to stop. Blocks.
    pub(crate) fn run(self, file: &Path) -> Result<(), StoreError> {
        let mut connection = store::connect(file)?;
        while !self.stop.load(Ordering::SeqCst) {
            // Nothing waits where nobody made a queue.
            if self.vendor.with(|account| account.has_queue()) {
                let due = due(&connection, &[], AT_ONCE)?;
                mark_sent(&mut connection, &due)?;
                let mut outcomes = Vec::new();
                for event in &due {
                    let told: serde_json::Value = serde_json::from_slice(&event.body)?;
                    let body = told.get("body").cloned().unwrap_or_default();
                    let acknowledged = self.vendor.with(|account| account.tell(body)).is_some();
                    outcomes.push(Outcome { id: event.id, attempts: event.attempts + 1, acknowledged });
                }
                if !outcomes.is_empty() {
                    settle(&mut connection, &outcomes, &[])?;
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
