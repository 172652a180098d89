//! Work shared by the group protocol: who owns partition p of a small topic may do p's work.
//!
//! The topic holds no records that matter; its partitions are the leases. Pair each lease with a
//! [`crate::TransactionalWriter`] whose id names p: that is what fences a member that does not know yet that it lost p.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use hirewire_service::Shutdown;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;

use crate::group::Done;
use crate::{Settings, Stop, client};

/// A change of what this member may do.
#[derive(Debug)]
pub enum LeaseEvent {
    /// The whole of what is ours now.
    Gained(BTreeSet<i32>),
    /// Stop all work, then drop the [`Done`].
    Lost(Done),
    /// The member is out of the group for good.
    Failed(Stop),
}

/// A running member. Dropping the receiver leaves the group.
pub struct Leases {
    pub events: mpsc::UnboundedReceiver<LeaseEvent>,
}

struct Member {
    events: mpsc::UnboundedSender<LeaseEvent>,
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = false;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::report(&error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let gained = partitions.elements().iter().map(|element| element.partition()).collect();
                let _gone = self.events.send(LeaseEvent::Gained(gained)).is_err();
                // Nothing is read: the assignment alone is the lease.
                consumer.assign(partitions).and_then(|()| consumer.pause(partitions))
            }
            _ => {
                self.give_back();
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            let _gone = self.events.send(LeaseEvent::Failed(Stop::kafka("rebalance of leases", &error))).is_err();
        }
    }
}

/// Below the session timeout: a slower holder is fenced by its transactional id.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(8);

impl Member {
    fn give_back(&self) {
        let (done, given_back) = sync_channel(1);
        if self.events.send(LeaseEvent::Lost(Done::new(done))).is_err() {
            return;
        }
        let until = Instant::now() + GIVE_BACK_LIMIT;
        while !matches!(given_back.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Disconnected)) {
            if Instant::now() > until {
                tracing::warn!("a lease was not given back in time; its holder will be fenced");
                return;
            }
        }
    }
}

impl Leases {
    /// Joins the group, on a thread of its own.
    ///
    /// # Errors
    /// When the settings are refused.
    pub fn start(settings: &Settings, group: &str, topic: &str, shutdown: Shutdown) -> Result<Self, Stop> {
        let (events, received) = mpsc::unbounded_channel();
        let mut config = settings.consumer(group)?;
        // Nothing is read; a missing offset must not be an error here.
        config.set("partition.assignment.strategy", "range").set("auto.offset.reset", "latest");
        let consumer: BaseConsumer<Member> = config
            .create_with_context(Member { events: events.clone() })
            .map_err(|error| Stop::kafka("create a consumer", &error))?;
        consumer.subscribe(&[topic]).map_err(|error| Stop::kafka("subscribe", &error))?;
        std::thread::Builder::new()
            .name("leases".to_owned())
            .spawn(move || {
                while !shutdown.is_requested() && !events.is_closed() {
                    if let Some(Err(error)) = consumer.poll(Duration::from_millis(100)) {
                        tracing::debug!(%error, "leases go on after an error");
                    }
                }
                consumer.context().give_back();
                consumer.unsubscribe();
            })
            .map_err(|error| Stop::retryable("no-thread", error.to_string()))?;
        Ok(Self { events: received })
    }
}
