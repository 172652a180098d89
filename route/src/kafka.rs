//! Kafka behind route's own boundaries: a [`Source`], a [`Commit`] and the [`DeadLetters`].

use std::sync::Arc;

use hirewire_kafka::{Committer, GroupConsumer, GroupEvent, Inbound, Producer, Record};
use hirewire_service::Component;

use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::source::{Arrival, Commit, Head, Slot, Source, SourceEvent};

/// A group member. Its window is bounded by the consumer, so everything it hands out may be taken at once.
pub(crate) struct GroupSource {
    consumer: GroupConsumer,
    owned: Vec<Slot>,
    component: Component,
}

impl GroupSource {
    pub(crate) fn new(consumer: GroupConsumer, component: Component) -> Self {
        Self { consumer, owned: Vec::new(), component }
    }
}

impl Source for GroupSource {
    async fn next(&mut self) -> Option<SourceEvent> {
        Some(match self.consumer.events.recv().await? {
            GroupEvent::Assigned(partitions) => {
                self.owned = partitions.into_iter().map(|(topic, partition)| Slot { topic, partition }).collect();
                self.component.ready();
                SourceEvent::Assigned(self.owned.clone())
            }
            GroupEvent::Record(inbound) => SourceEvent::Record(arrival(inbound)),
            GroupEvent::Full(topic, partition) => SourceEvent::Full(Slot { topic, partition }),
            GroupEvent::Revoked(done) => {
                SourceEvent::Revoked { slots: std::mem::take(&mut self.owned), done: Box::new(done) }
            }
            GroupEvent::Failed(stop) => SourceEvent::Failed(stop),
        })
    }
}

fn arrival(inbound: Inbound) -> Arrival {
    Arrival {
        slot: Slot { topic: inbound.topic, partition: inbound.partition },
        offset: inbound.offset,
        timestamp_ms: inbound.timestamp_ms,
        key: inbound.key,
        value: inbound.value,
        headers: inbound.headers,
    }
}

pub(crate) struct Commits(pub(crate) Committer);

impl Commit for Commits {
    // Sinks that stage have commits of their own.
    fn commit(&self, slot: &Slot, head: Head) {
        self.0.commit(&slot.topic, slot.partition, head.next_offset);
    }
}

/// The dead-letter topic of one sink.
pub(crate) struct DeadLetterTopic {
    pub(crate) producer: Producer,
    pub(crate) topic: Arc<str>,
}

impl DeadLetters for DeadLetterTopic {
    async fn put(&self, letter: DeadLetter) -> Result<(), String> {
        let record = Record {
            topic: Arc::clone(&self.topic),
            partition: Some(letter.partition),
            key: letter.key,
            value: letter.value,
            headers: letter.headers.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            timestamp_ms: Some(letter.timestamp_ms),
        };
        self.producer.send(record).await.map(drop).map_err(|error| error.to_string())
    }
}
