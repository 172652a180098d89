//! One transactional producer, driven from one thread, and what to do after each of its errors.
//!
//! librdkafka's traps are kept in here (FAULTS: flush costs 100 ms, so deliveries are awaited first; there is no
//! KIP-890, so after any indefinite error the producer is replaced under the same id).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use crate::client;
use crate::outcome::From;
use crate::record::{not_ahead, owned_headers};
use crate::{Position, Record, Settings, Stop};

/// A transaction did not commit, or nobody knows whether it did.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransactionError {
    /// The transaction was, or must be, aborted; the same work may be tried again with this producer.
    #[error("transaction aborted: {0}")]
    Aborted(String),
    /// The outcome is unknown, or the producer is unusable: replace it, then see whether the work was committed.
    #[error("transaction outcome unknown: {0}")]
    Indefinite(String),
    /// Another producer with the same id took over. This one must do nothing more.
    #[error("fenced by a newer producer: {0}")]
    Fenced(String),
    /// The broker will never take one of the records.
    #[error("record refused: {0}")]
    Refused(String),
    /// The principal may not do this.
    #[error("not allowed: {0}")]
    Forbidden(String),
}

/// Counts what is still on its way, and keeps the first failure and the positions asked for.
#[derive(Default)]
pub(crate) struct InFlight {
    counted: Mutex<Counted>,
    settled: Condvar,
}

#[derive(Default)]
struct Counted {
    outstanding: usize,
    failure: Option<KafkaError>,
    positions: Vec<(usize, Position)>,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is on its way; `false` when that did not happen in time.
    fn wait(&self, limit: Duration) -> bool {
        let waited = self.settled.wait_timeout_while(self.lock(), limit, |counted| counted.outstanding > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.outstanding == 0
    }
}

/// No position wanted for this record.
const UNTRACKED: usize = 0;

impl ClientContext for InFlight {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::report(&error, reason);
    }
}

impl ProducerContext for InFlight {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let mut counted = self.lock();
        match result {
            Ok(message) if ticket != UNTRACKED => {
                counted.positions.push((ticket, Position { partition: message.partition(), offset: message.offset() }));
            }
            Ok(_) => {}
            Err((error, _)) => {
                counted.failure.get_or_insert_with(|| error.clone());
            }
        }
        counted.outstanding -= 1;
        if counted.outstanding == 0 {
            self.settled.notify_all();
        }
    }
}

/// A transactional producer after `init_transactions`. Delivery reports are served by a thread of its own: an abort
/// would otherwise wait for reports that nobody takes.
pub(crate) struct TransactionalProducer {
    producer: ThreadedProducer<InFlight>,
    tickets: usize,
    /// How long the broker keeps a transaction open.
    timeout: Duration,
    /// The last transaction.
    began: Instant,
    /// How long one call to the coordinator may take: less, so that an unknown outcome is met before the broker acts.
    call_timeout: Duration,
}

impl TransactionalProducer {
    /// Creates the producer and ends whatever its predecessor left open.
    pub(crate) fn new(settings: &Settings, transactional_id: &str, deadline: Duration) -> Result<Self, Stop> {
        let timeout = settings.transaction_timeout();
        let call_timeout = timeout * 2 / 3;
        let mut config = settings.producer()?;
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", timeout.as_millis().to_string())
            .set("message.timeout.ms", (timeout * 14 / 15).as_millis().to_string())
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "500000");
        let producer: ThreadedProducer<InFlight> = config
            .create_with_context(InFlight::default())
            .map_err(|error| Stop::kafka("create a producer", &error))?;
        let until = Instant::now() + deadline;
        loop {
            match producer.init_transactions(call_timeout.min(deadline)) {
                Ok(()) => {
                    return Ok(Self { producer, tickets: UNTRACKED, timeout, began: Instant::now(), call_timeout });
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < until => {
                    tracing::debug!(transactional_id, %error, "init_transactions is tried again");
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => {
                    let doing = format!("init_transactions of {transactional_id}");
                    let told = TransactionError::of(From::Call { must_abort: false }, &error, None);
                    return Err(match told {
                        TransactionError::Forbidden(why) => Stop::retryable(
                            "not-authorized",
                            format!("{doing}: {why}; give this principal WRITE on the transactional id"),
                        ),
                        TransactionError::Aborted(_)
                        | TransactionError::Indefinite(_)
                        | TransactionError::Fenced(_)
                        | TransactionError::Refused(_) => Stop::kafka(&doing, &error),
                    });
                }
            }
        }
    }

    fn failed(&self, from: From, error: &KafkaError) -> TransactionError {
        TransactionError::of(from, error, self.producer.client().fatal_error())
    }

    /// What a call said, with librdkafka's word on whether the transaction must be aborted.
    fn of_call(&self, error: &KafkaError) -> TransactionError {
        let must_abort = matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort());
        self.failed(From::Call { must_abort }, error)
    }

    pub(crate) fn begin(&mut self) -> Result<(), TransactionError> {
        self.tickets = UNTRACKED;
        self.began = Instant::now();
        let mut counted = self.producer.context().lock();
        counted.positions.clear();
        counted.failure = None;
        drop(counted);
        self.producer.begin_transaction().map_err(|error| self.of_call(&error))
    }

    /// Whether the last transaction began so long ago that the broker has ended it by itself, if it was still open.
    pub(crate) fn outlived(&self) -> bool {
        self.began.elapsed() >= self.timeout
    }

    /// Adds a record to the open transaction. A full queue is back-pressure: waits for deliveries.
    pub(crate) fn send(&mut self, record: &Record, tracked: bool) -> Result<(), TransactionError> {
        let ticket = if tracked {
            self.tickets += 1;
            self.tickets
        } else {
            UNTRACKED
        };
        let mut outgoing = BaseRecord::with_opaque_to(&record.topic, ticket);
        outgoing.partition = record.partition;
        outgoing.timestamp = record.timestamp_ms.map(not_ahead);
        outgoing.headers = owned_headers(&record.headers);
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        let until = Instant::now() + self.call_timeout;
        loop {
            self.producer.context().lock().outstanding += 1;
            match self.producer.send(outgoing) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    self.producer.context().lock().outstanding -= 1;
                    match error.rdkafka_error_code() {
                        Some(RDKafkaErrorCode::QueueFull) if Instant::now() < until => {
                            std::thread::sleep(Duration::from_millis(5));
                            outgoing = back;
                        }
                        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                            return Err(TransactionError::Refused(format!("{} for {}", error, record.topic)));
                        }
                        _ => return Err(self.failed(From::Send, &error)),
                    }
                }
            }
        }
    }

    /// Waits until every record of the transaction is acknowledged: a bare commit would wait 100 ms for its flush.
    pub(crate) fn settle(&self) -> Result<(), TransactionError> {
        if !self.producer.context().wait(self.timeout) {
            return Err(TransactionError::Indefinite("records were not acknowledged in time".to_owned()));
        }
        // A report comes some microseconds before librdkafka takes the record off its queue; a commit that finds it
        // there sleeps for 100 ms.
        let until = Instant::now() + Duration::from_millis(20);
        while self.producer.in_flight_count() > 0 && Instant::now() < until {
            std::thread::yield_now();
        }
        let failure = self.producer.context().lock().failure.take();
        match failure {
            None => Ok(()),
            Some(error) => Err(self.failed(From::Delivery, &error)),
        }
    }

    /// Commits, with the consumed offsets if there are any. Retryable errors are retried inside.
    pub(crate) fn commit(
        &self,
        offsets: Option<(&TopicPartitionList, &ConsumerGroupMetadata)>,
    ) -> Result<(), TransactionError> {
        if let Err(error) = self.settle() {
            return Err(self.reason(error, offsets));
        }
        if let Some((offsets, group)) = offsets {
            self.retrying(|| self.producer.send_offsets_to_transaction(offsets, group, self.call_timeout))
                .map_err(|error| self.of_call(&error))?;
        }
        self.retrying(|| self.producer.commit_transaction(self.call_timeout)).map_err(|error| self.of_call(&error))
    }

    /// A record that was never sent, because the transaction had failed before, does not say why; the next call does.
    /// Sending offsets changes nothing in a transaction that will be aborted.
    fn reason(
        &self,
        error: TransactionError,
        offsets: Option<(&TopicPartitionList, &ConsumerGroupMetadata)>,
    ) -> TransactionError {
        let (TransactionError::Aborted(_), Some((offsets, group))) = (&error, offsets) else { return error };
        match self.producer.send_offsets_to_transaction(offsets, group, self.call_timeout) {
            Err(KafkaError::Transaction(told)) if told.txn_requires_abort() => {
                self.of_call(&KafkaError::Transaction(told))
            }
            _ => error,
        }
    }

    /// Fails as [`TransactionError::Fenced`] or [`TransactionError::Indefinite`] only.
    pub(crate) fn abort(&self) -> Result<(), TransactionError> {
        self.retrying(|| self.producer.abort_transaction(self.call_timeout))
            .map_err(|error| self.failed(From::Abort, &error))?;
        // Purged records report their end; none may be counted in the next transaction.
        if self.producer.context().wait(self.call_timeout) {
            Ok(())
        } else {
            Err(TransactionError::Indefinite("aborted records did not report back".to_owned()))
        }
    }

    /// Positions of tracked records of the transaction that just committed, in the order in which they were sent.
    pub(crate) fn positions(&self) -> Vec<Position> {
        let mut positions = std::mem::take(&mut self.producer.context().lock().positions);
        positions.sort_by_key(|(ticket, _)| *ticket);
        positions.into_iter().map(|(_, position)| position).collect()
    }

    /// One coordinator call, retried while librdkafka says that it may be. A timeout that outlasts the bound leaves
    /// the outcome open.
    fn retrying(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        let until = Instant::now() + self.call_timeout;
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error),
            }
        }
    }
}
