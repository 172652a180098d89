//! Where inputs end behind what an open transaction hides from a reader of committed records.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{Logging, offset_of};
use crate::table::uncommitted;
use crate::{Settings, Stop};

/// Asked between two records: no longer than a broker that is well may need.
const PATIENCE: Duration = Duration::from_secs(2);

/// One for all workers of a consumer.
pub(crate) struct Hidden {
    /// Sees also what is open.
    plain: BaseConsumer<Logging>,
}

impl Hidden {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Stop> {
        Ok(Self { plain: uncommitted(settings)? })
    }

    /// Those of `topics` that have records which `committed` cannot see yet, each with the end behind them. None when a
    /// broker does not answer.
    pub(crate) fn ends<C: ConsumerContext>(
        &self,
        committed: &BaseConsumer<C>,
        topics: &[Arc<str>],
        partition: i32,
    ) -> Option<Vec<(Arc<str>, i64)>> {
        // In this order: what ends in between is not hidden.
        let asked = ends(&self.plain, topics, partition).and_then(|all| Ok((all, ends(committed, topics, partition)?)));
        let (all, seen) = match asked {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, partition, "nobody knows what open transactions hide");
                return None;
            }
        };
        let hidden = |topic: &Arc<str>| {
            let (all, seen) = (offset_of(&all, topic, partition)?, offset_of(&seen, topic, partition)?);
            (all > seen).then(|| (topic.clone(), all))
        };
        Some(topics.iter().filter_map(hidden).collect())
    }
}

/// The ends as this consumer sees them. One request to each leader.
fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &[Arc<str>],
    partition: i32,
) -> Result<TopicPartitionList, rdkafka::error::KafkaError> {
    let mut wanted = TopicPartitionList::new();
    for topic in topics {
        wanted.add_partition_offset(topic, partition, Offset::End)?;
    }
    consumer.offsets_for_times(wanted, PATIENCE)
}
