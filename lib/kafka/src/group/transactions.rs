//! A group member's commits as transactions: heads and the records that came of them in, both committed or neither.
//!
//! What fences a member that the group has given up is the group's generation in each transaction (KIP-447), so the
//! transactional id need not be known to its successor. Any failure is the end of this producer: nothing is tried
//! again here, since the next member begins at what is committed, whatever became of the last transaction.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use crate::outcome::{self, Who};
use crate::transaction::TransactionalProducer;
use crate::{Record, Settings, Stop, TransactionError};

/// A transaction costs some round trips: meanwhile, and for so long between two, heads gather.
const INTERVAL: Duration = Duration::from_millis(20);
/// For the coordinator to be found and to end what an older transaction left open.
const OPEN_DEADLINE: Duration = Duration::from_secs(45);

pub(super) struct Transactions {
    producer: TransactionalProducer,
    last: Instant,
}

impl Transactions {
    pub(super) fn open(settings: &Settings, transactional_id: &str) -> Result<Self, Stop> {
        let producer = TransactionalProducer::new(settings, transactional_id, OPEN_DEADLINE)?;
        Ok(Self { producer, last: Instant::now() })
    }

    pub(super) fn are_due(&self) -> bool {
        self.last.elapsed() >= INTERVAL
    }

    /// Nothing is done when there are no offsets.
    pub(super) fn commit<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        offsets: &TopicPartitionList,
        records: &[Record],
    ) -> Result<(), Stop> {
        if offsets.count() == 0 {
            return Ok(());
        }
        let done = self.transaction(consumer, offsets, records).map_err(|error| outcome::stop(Who::Member, &error));
        self.last = Instant::now();
        done
    }

    fn transaction<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        offsets: &TopicPartitionList,
        records: &[Record],
    ) -> Result<(), TransactionError> {
        let lost = || TransactionError::Fenced("the partitions were lost to another member".to_owned());
        if consumer.assignment_lost() {
            return Err(lost());
        }
        // Read anew for every transaction: the generation in it is what fences a zombie.
        let group = consumer.group_metadata().ok_or_else(lost)?;
        self.producer.begin()?;
        for record in records {
            self.producer.send(record, false)?;
        }
        self.producer.commit(Some((offsets, &group)))
    }
}
