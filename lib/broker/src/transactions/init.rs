//! InitProducerId: a producer gets its id and epoch, and whoever had the transactional id before is out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::{NO_EPOCH, Producer, Status, Transaction, TransactionState};
use crate::core::Core;
use crate::log::journal::{Frame, Lsn};
use crate::log::op::Op;
use crate::sync::{lock, now_ms};

/// Producer ids are reserved in the journal in blocks of this size.
const BLOCK: i64 = 1000;

/// Gives out producer ids, none twice, not even over a crash.
#[derive(Default)]
pub(crate) struct ProducerIds {
    range: Mutex<(i64, i64)>,
}

impl ProducerIds {
    /// In recovery: ids below `next` may have been given out.
    pub(crate) fn restore(&self, next: i64) {
        let mut range = lock(&self.range);
        if next > range.1 {
            *range = (next, next);
        }
    }

    pub(crate) fn op(&self) -> Op {
        Op::ReserveProducerIds { next: lock(&self.range).1 }
    }
}

impl Core {
    /// A new producer id.
    pub(crate) fn new_producer_id(&self) -> (i64, Lsn) {
        let mut range = lock(&self.producer_ids.range);
        if range.0 == range.1 {
            range.1 += BLOCK;
            self.journal.submit(Frame::of(&Op::ReserveProducerIds { next: range.1 }));
        }
        range.0 += 1;
        (range.0 - 1, self.journal.submitted())
    }

    /// The id and epoch of a transactional producer. `known` is what a producer that recovers believes it has (KIP-360).
    pub(crate) fn init_transactional(
        &self,
        id: &str,
        timeout: Duration,
        known: Option<Producer>,
    ) -> Result<(Producer, Lsn), ResponseError> {
        if timeout.is_zero() || timeout > self.settings.max_transaction_timeout {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let transaction = {
            let mut map = lock(&self.transactions.map);
            if let Some(transaction) = map.get(id) {
                transaction.clone()
            } else {
                let (producer_id, _) = self.new_producer_id();
                // One below the first epoch: the bump below makes it 0.
                let fresh = TransactionState::new(Producer { id: producer_id, epoch: NO_EPOCH }, timeout);
                let transaction = Arc::new(Transaction { id: id.to_owned(), state: Mutex::new(fresh) });
                map.insert(id.to_owned(), transaction.clone());
                transaction
            }
        };
        let mut state = transaction.lock();
        if state.deleted {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if let Some(known) = known {
            if known.id != state.producer.id {
                return Err(ResponseError::ProducerFenced);
            }
            if known.epoch != state.producer.epoch {
                if state.last_epoch != NO_EPOCH && known.epoch == state.last_epoch && state.status != Status::Ongoing {
                    // The answer to the same request was lost.
                    return Ok((state.producer, self.journal.submitted()));
                }
                return Err(ResponseError::ProducerFenced);
            }
        }
        let mut frame = Frame::default();
        state.last_epoch = if known.is_some() { state.producer.epoch } else { NO_EPOCH };
        self.bump_epoch(&mut state);
        if state.status == Status::Ongoing {
            return Ok(self.end_locked(&transaction, state, false, timeout));
        }
        state.status = Status::Empty;
        state.timeout = timeout;
        state.updated_ms = now_ms();
        frame.push(&state.op(id));
        let lsn = self.journal.submit(frame);
        Ok((state.producer, lsn))
    }

    /// Fences all who use the present epoch.
    pub(super) fn bump_epoch(&self, state: &mut TransactionState) {
        if state.producer.epoch < i16::MAX - 1 {
            state.producer.epoch += 1;
        } else if state.status != Status::Ongoing {
            let (id, _) = self.new_producer_id();
            state.producer = Producer { id, epoch: 0 };
            state.last_epoch = NO_EPOCH;
        } else {
            // The markers of what is open need this id; the next call takes a new one.
            state.producer.epoch = i16::MAX;
        }
    }
}
