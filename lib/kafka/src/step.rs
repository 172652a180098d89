//! What a worker does with its records, and what it sends in the same transaction.

use crate::{Inbound, Record, Settings, Stop};

/// The work on one partition number. All methods run on the worker's own thread; blocking is fine.
pub trait Step: Send {
    /// After the predecessor was fenced, before the first record. Read state to the high watermark here.
    ///
    /// # Errors
    /// [`Stop`] when this partition cannot be worked on.
    fn restore(&mut self, settings: &Settings) -> Result<(), Stop>;

    /// One record of one of the inputs. Bad input is this step's business (a dead-letter record), not a `Stop`.
    ///
    /// # Errors
    /// [`Stop`] when the partition cannot go on.
    fn process(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop>;

    /// The last records of this transaction, for example changed state.
    ///
    /// # Errors
    /// [`Stop`] when the partition cannot go on; with [`Stop::WORK_AGAIN`] the transaction is aborted and its inputs
    /// come again.
    fn before_commit(&mut self, out: &mut Outbox) -> Result<(), Stop>;

    /// The transaction is durable.
    ///
    /// # Errors
    /// [`Stop`] when the partition cannot go on.
    fn committed(&mut self) -> Result<(), Stop>;

    /// Forget everything since the last commit: the same inputs come again.
    ///
    /// # Errors
    /// [`Stop`] when the partition cannot go on.
    fn aborted(&mut self) -> Result<(), Stop>;
}

/// Records of the open transaction, in the order of sending.
#[derive(Default)]
pub struct Outbox {
    pub(crate) records: Vec<Record>,
}

impl Outbox {
    pub fn send(&mut self, record: Record) {
        self.records.push(record);
    }

    /// For tests of steps: what was sent.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}
