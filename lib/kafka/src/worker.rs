//! The worker of one partition number: records in, one transaction after another.
//!
//! The inputs of the open transaction are kept until its end, so that an abort is followed by the same work again
//! without asking the broker. After an indefinite error the producer is replaced under the same id (which ends the
//! old transaction one way or the other) and the committed offset tells whether the work was done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::offset_of;
use crate::hidden::Hidden;
use crate::inbox::{Inbox, Look, Taken};
use crate::lag::Lag;
use crate::metrics::PartitionedMetrics;
use crate::outcome::{self, Action, Who};
use crate::partitioned::{PartitionedConsumer, ToWorker};
use crate::restoring::Restoring;
use crate::transaction::TransactionalProducer;
use crate::{Inbound, Outbox, Settings, Step, Stop, TransactionError};

pub(crate) struct Worker {
    pub(crate) partition: i32,
    pub(crate) inputs: Vec<Arc<str>>,
    /// The index of the anchor.
    pub(crate) anchor: usize,
    pub(crate) hidden: Arc<Hidden>,
    pub(crate) settings: Settings,
    pub(crate) transactional_id: String,
    pub(crate) commit_interval: Duration,
    pub(crate) commit_max_records: usize,
    pub(crate) group: String,
    /// For the group's generation, which goes into every commit. Weak: the consumer's own thread must drop it.
    pub(crate) consumer: Weak<PartitionedConsumer>,
    pub(crate) metrics: PartitionedMetrics,
    pub(crate) step: Box<dyn Step>,
    pub(crate) restoring: Restoring,
    /// Set when the partition was given back while this worker was still at work.
    pub(crate) given_back: Arc<AtomicBool>,
    /// Set while it waits for unread records of an input.
    pub(crate) waits: Arc<AtomicBool>,
    pub(crate) lag: Arc<Lag>,
}

/// Why a batch ended.
enum End {
    Commit,
    CommitAndLeave,
    Abandon,
}

/// Why a transaction did not commit: Kafka's reasons can be met by doing the work again, the step's cannot.
enum Failure {
    Transaction(TransactionError),
    Stop(Stop),
}

impl Failure {
    /// A step may ask for the same inputs again, in a new transaction.
    fn of_step(stop: Stop) -> Self {
        if stop.code == Stop::WORK_AGAIN {
            Self::Transaction(TransactionError::Aborted(stop.what))
        } else {
            Self::Stop(stop)
        }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        Self::Transaction(error)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Worker {
    pub(crate) fn run(
        mut self,
        channel: Receiver<ToWorker>,
        fenced: &SyncSender<Result<(), Stop>>,
    ) -> Result<(), Stop> {
        let producer = TransactionalProducer::new(&self.settings, &self.transactional_id, Duration::from_secs(45));
        let mut producer = match producer {
            Ok(producer) => {
                // Nobody listens any more if another worker failed: then this one is told to end.
                let _unheard = fenced.send(Ok(())).is_err();
                producer
            }
            Err(stop) => {
                let _unheard = fenced
                    .send(Err(Stop { code: stop.code, what: stop.what.clone(), retryable: stop.retryable }))
                    .is_err();
                return Err(stop);
            }
        };
        self.step.restore(&self.settings)?;
        let mut inbox = Inbox::new(channel, &self.inputs, self.waits.clone(), self.anchor, self.look());
        self.expect_unread(&mut inbox)?;
        self.restoring.one_is_done();
        loop {
            let first = match inbox.take(None) {
                Taken::Record(record) => record,
                Taken::Nothing => continue,
                Taken::Drain | Taken::Abandon => return Ok(()),
            };
            let (batch, end) = self.gather(&mut producer, first, &mut inbox)?;
            match end {
                End::Abandon => return self.step.aborted(),
                End::Commit => {}
                End::CommitAndLeave => return self.finish(&mut producer, &batch),
            }
            self.finish(&mut producer, &batch)?;
        }
    }

    fn look(&self) -> Look {
        let (hidden, consumer, partition) = (self.hidden.clone(), self.consumer.clone(), self.partition);
        let in_front: Vec<Arc<str>> = self.inputs.iter().take(self.anchor).cloned().collect();
        Box::new(move || match consumer.upgrade() {
            Some(consumer) if !in_front.is_empty() => hidden.ends(&consumer, &in_front, partition),
            _ => Some(Vec::new()),
        })
    }

    /// Tells the inbox what the predecessor left unread. Only asked after it was fenced.
    fn expect_unread(&self, inbox: &mut Inbox) -> Result<(), Stop> {
        let mut positions = TopicPartitionList::new();
        for topic in &self.inputs {
            positions.add_partition(topic, self.partition);
        }
        let consumer = self.consumer()?;
        let committed = self.committed_offsets(positions)?;
        for topic in &self.inputs {
            let (low, high) = consumer
                .fetch_watermarks(topic, self.partition, Duration::from_secs(30))
                .map_err(|error| Stop::kafka("read an input's end", &error))?;
            if high > offset_of(&committed, topic, self.partition).unwrap_or(low) {
                inbox.expect(topic, high);
            }
        }
        Ok(())
    }

    /// Takes records, earliest first, until it is time to commit.
    fn gather(
        &mut self,
        producer: &mut TransactionalProducer,
        first: Inbound,
        inbox: &mut Inbox,
    ) -> Result<(Batch, End), Stop> {
        let until = Instant::now() + self.commit_interval;
        let mut batch = Batch::default();
        batch.attempt(producer.begin());
        batch.take(first, &mut *self.step, producer)?;
        while batch.inputs.len() < self.commit_max_records {
            match inbox.take(Some(until)) {
                Taken::Record(record) => batch.take(record, &mut *self.step, producer)?,
                Taken::Drain => return Ok((batch, End::CommitAndLeave)),
                Taken::Abandon => return Ok((batch, End::Abandon)),
                Taken::Nothing => break,
            }
        }
        Ok((batch, End::Commit))
    }

    /// Commits the batch; whatever happens, the step's view and the broker's agree when this returns.
    fn finish(&mut self, producer: &mut TransactionalProducer, batch: &Batch) -> Result<(), Stop> {
        let mut result = match &batch.failed {
            Some(error) => Err(Failure::Transaction(error.clone())),
            None => self.commit(producer, &batch.inputs).map(|sent| batch.sent + sent),
        };
        let mut attempt = 1;
        loop {
            let error = match result {
                Ok(sent) => return self.committed(&batch.inputs, sent),
                Err(Failure::Transaction(error)) => error,
                Err(Failure::Stop(stop)) => {
                    self.step.aborted()?;
                    return Err(stop);
                }
            };
            result = match outcome::after(&error, attempt, producer.outlived()) {
                Action::AbortAndRepeat => {
                    tracing::info!(partition = self.partition, attempt, %error, "the same work is done again");
                    self.metrics.transactions.with_label_values(&["aborted"]).inc();
                    match producer.abort() {
                        Ok(()) => self.again(producer, &batch.inputs),
                        Err(error) => Err(error.into()),
                    }
                }
                Action::ReplaceAndLook => {
                    tracing::warn!(partition = self.partition, attempt, %error, "producer replaced");
                    self.metrics.transactions.with_label_values(&["indefinite"]).inc();
                    if matches!(error, TransactionError::Fenced(_)) {
                        // By the broker, for it was open too long, as while brokers die; or by who has the partition now, of
                        // whom the group tells within a heartbeat or two.
                        std::thread::sleep(self.settings.heartbeat() * 2);
                    }
                    self.replace(producer)?;
                    if self.was_committed(&batch.inputs)? { Ok(0) } else { self.again(producer, &batch.inputs) }
                }
                Action::End => {
                    self.step.aborted()?;
                    return Err(outcome::stop(Who::Worker { partition: self.partition, attempt }, &error));
                }
            };
            attempt += 1;
        }
    }

    fn committed(&mut self, taken: &[Inbound], sent: usize) -> Result<(), Stop> {
        self.metrics.transactions.with_label_values(&["committed"]).inc();
        self.metrics.records_in.inc_by(taken.len() as u64);
        for last in last_of_each(&self.inputs, taken) {
            self.lag.done(&last.topic, last.partition, last.offset + 1, last.timestamp_ms);
        }
        self.metrics.records_out.inc_by(sent as u64);
        self.step.committed()
    }

    /// The same inputs in a new transaction. How many records were sent.
    fn again(&mut self, producer: &mut TransactionalProducer, inputs: &[Inbound]) -> Result<usize, Failure> {
        // A transaction of somebody else's partition would stay open until Kafka ended it.
        self.still_ours()?;
        self.step.aborted()?;
        std::thread::sleep(Duration::from_millis(20));
        producer.begin()?;
        let mut sent = 0;
        for input in inputs {
            sent += process(input, &mut *self.step, producer)?;
        }
        Ok(sent + self.commit(producer, inputs)?)
    }

    /// Sends the step's last records and commits with the offsets after `inputs`.
    fn commit(&mut self, producer: &mut TransactionalProducer, inputs: &[Inbound]) -> Result<usize, Failure> {
        let mut outbox = Outbox::default();
        self.step.before_commit(&mut outbox).map_err(Failure::of_step)?;
        let sent = send(&outbox, producer)?;
        self.still_ours()?;
        let started = Instant::now();
        let offsets = offsets_after(&self.inputs, inputs)?;
        let group =
            self.group_metadata().ok_or_else(|| TransactionError::Fenced("the consumer is closed".to_owned()))?;
        producer.commit(Some((&offsets, &group)))?;
        self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        Ok(sent)
    }

    /// Read anew for every transaction: the generation in it is what fences a zombie.
    fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.upgrade()?.group_metadata()
    }

    /// Whether this worker may still act for its partition. The group's generation alone does not say so: this member
    /// may be in the next generation already, without the partition.
    fn still_ours(&self) -> Result<(), Stop> {
        let lost = self.given_back.load(Ordering::Acquire)
            || self.consumer.upgrade().is_none_or(|consumer| consumer.assignment_lost());
        if !lost {
            return Ok(());
        }
        Err(Stop::retryable("fenced", format!("partition {} was lost to another member", self.partition)))
    }

    /// A new producer fences whoever has the id: never after the partition went to somebody else.
    fn replace(&self, producer: &mut TransactionalProducer) -> Result<(), Stop> {
        self.still_ours()?;
        self.metrics.replaced.with_label_values(&["indefinite"]).inc();
        *producer = TransactionalProducer::new(&self.settings, &self.transactional_id, Duration::from_secs(60))?;
        Ok(())
    }

    fn consumer(&self) -> Result<Arc<PartitionedConsumer>, Stop> {
        self.consumer
            .upgrade()
            .ok_or_else(|| Stop::retryable("fenced", format!("the consumer of {} is closed", self.group)))
    }

    /// Whether the group's committed offsets stand after `inputs`. Only asked when no transaction is open any more.
    fn was_committed(&self, inputs: &[Inbound]) -> Result<bool, Stop> {
        let offsets = offsets_after(&self.inputs, inputs)?;
        let committed = self.committed_offsets(offsets)?;
        let stands_after = |last: &Inbound| {
            offset_of(&committed, &last.topic, last.partition).is_some_and(|offset| offset > last.offset)
        };
        Ok(last_of_each(&self.inputs, inputs).all(stands_after))
    }

    /// What the group committed of these partitions.
    fn committed_offsets(&self, partitions: TopicPartitionList) -> Result<TopicPartitionList, Stop> {
        self.consumer()?
            .committed_offsets(partitions, Duration::from_secs(30))
            .map_err(|error| Stop::kafka("read committed offsets", &error))
    }
}

/// The inputs of one transaction and how it went so far.
#[derive(Default)]
struct Batch {
    inputs: Vec<Inbound>,
    sent: usize,
    /// The first error of the producer: the rest of the batch is then only gathered, and done again.
    failed: Option<TransactionError>,
}

impl Batch {
    fn attempt(&mut self, result: Result<(), TransactionError>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    fn take(&mut self, input: Inbound, step: &mut dyn Step, producer: &mut TransactionalProducer) -> Result<(), Stop> {
        if self.failed.is_none() {
            match process(&input, step, producer) {
                Ok(sent) => self.sent += sent,
                Err(Failure::Transaction(error)) => self.failed = Some(error),
                Err(Failure::Stop(stop)) => return Err(stop),
            }
        }
        self.inputs.push(input);
        Ok(())
    }
}

/// Sends what the step makes of one input. How many records it was.
fn process(input: &Inbound, step: &mut dyn Step, producer: &mut TransactionalProducer) -> Result<usize, Failure> {
    let mut outbox = Outbox::default();
    step.process(input, &mut outbox)?;
    Ok(send(&outbox, producer)?)
}

fn send(outbox: &Outbox, producer: &mut TransactionalProducer) -> Result<usize, TransactionError> {
    for record in &outbox.records {
        producer.send(record, false)?;
    }
    Ok(outbox.records.len())
}

/// The last input of each topic that has one. All are of one partition number.
fn last_of_each<'a>(topics: &'a [Arc<str>], inputs: &'a [Inbound]) -> impl Iterator<Item = &'a Inbound> {
    topics.iter().filter_map(|topic| inputs.iter().rfind(|input| input.topic == *topic))
}

/// The offsets that follow the last input of each topic.
fn offsets_after(topics: &[Arc<str>], inputs: &[Inbound]) -> Result<TopicPartitionList, Stop> {
    let mut offsets = TopicPartitionList::new();
    for last in last_of_each(topics, inputs) {
        offsets
            .add_partition_offset(&last.topic, last.partition, Offset::Offset(last.offset + 1))
            .map_err(|error| Stop::kafka("note an offset", &error))?;
    }
    Ok(offsets)
}
