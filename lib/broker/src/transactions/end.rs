//! The end of a transaction: by its producer, by its successor, or by time.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tracing::{info, warn};

use super::{Producer, Status, Transaction, TransactionState};
use crate::core::Core;
use crate::log::batch::{self, Header};
use crate::log::journal::{Frame, Lsn};
use crate::log::op::Op;
use crate::sync::now_ms;

impl Core {
    /// EndTxn: commits or aborts the producer's transaction.
    pub(crate) fn end_transaction(&self, id: &str, producer: Producer, commit: bool) -> Result<Lsn, ResponseError> {
        let transaction = self.transactions.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let state = transaction.lock();
        state.check(producer)?;
        match (state.status, commit) {
            (Status::Ongoing, _) => {
                let timeout = state.timeout;
                let (_, lsn) = self.end_locked(&transaction, state, commit, timeout);
                Ok(lsn)
            }
            // The answer to the same request was lost.
            (Status::Committed, true) | (Status::Aborted, false) => Ok(self.journal.submitted()),
            (Status::Committed, false) | (Status::Aborted, true) | (Status::Empty, _) => {
                Err(ResponseError::InvalidTxnState)
            }
        }
    }

    /// Ends what is open under the state's present epoch: markers, offsets and status in one frame.
    pub(super) fn end_locked(
        &self,
        transaction: &Transaction,
        mut state: MutexGuard<'_, TransactionState>,
        commit: bool,
        timeout: Duration,
    ) -> (Producer, Lsn) {
        let now = now_ms();
        let producer = state.producer;
        let mut frame = Frame::default();
        // A deleted topic has nothing to mark.
        let partitions: Vec<_> =
            state.partitions.iter().filter_map(|(topic, index)| self.topics.partition_by_id(*topic, *index)).collect();
        let groups: Vec<_> = state.groups.iter().filter_map(|group| self.groups.get(group)).collect();
        let mut logs = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            let mut log = partition.lock();
            if log.deleted {
                continue;
            }
            let marker = batch::marker(log.end, producer.id, producer.epoch, commit, now);
            if let Ok(header) = Header::parse(&marker) {
                self.append_locked(partition, &mut log, &header, marker, u64::MAX, &mut frame);
            }
            logs.push(log);
        }
        let mut states = Vec::with_capacity(groups.len());
        for group in &groups {
            let mut state = group.lock();
            state.offsets.end_pending(producer.id, commit);
            frame.push(&Op::EndPending { group: group.id.clone(), producer_id: producer.id, commit });
            states.push(state);
        }
        state.partitions.clear();
        state.groups.clear();
        state.status = if commit { Status::Committed } else { Status::Aborted };
        state.timeout = timeout;
        state.updated_ms = now;
        frame.push(&state.op(&transaction.id));
        // Submitted with all locks held: the journal sees these changes in the order in which others saw them.
        let lsn = self.journal.submit(frame);
        for group in &mut states {
            group.offsets_changed = lsn;
        }
        (producer, lsn)
    }

    /// Aborts the transactions that are older than they may be, for ever.
    pub(crate) async fn abort_overdue(self: Arc<Self>) {
        loop {
            let mut next: Option<Duration> = None;
            for transaction in self.transactions.all() {
                let mut state = transaction.lock();
                match state.left() {
                    Some(Duration::ZERO) => {
                        warn!(transactional_id = %transaction.id, "the transaction ran out of time and is aborted");
                        self.bump_epoch(&mut state);
                        let timeout = state.timeout;
                        self.end_locked(&transaction, state, false, timeout);
                    }
                    Some(left) => next = Some(next.map_or(left, |next| next.min(left))),
                    None => {}
                }
            }
            let began = self.transactions.began.notified();
            match next {
                Some(left) => {
                    // Woken or not, it looks again.
                    tokio::time::timeout(left, began).await.ok();
                }
                None => began.await,
            }
        }
    }

    /// After a start: what was open before may go on until its time is over.
    pub(crate) fn report_open_transactions(&self) {
        let open =
            self.transactions.all().iter().filter(|transaction| transaction.lock().status == Status::Ongoing).count();
        if open > 0 {
            info!(open, "transactions of before the start are still open");
        }
    }
}
