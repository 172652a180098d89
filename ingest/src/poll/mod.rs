//! Polls: which connections this process reads, by leases; and how each is read.
//!
//! A small topic is the work list: the member that owns partition p of it polls the connections whose names hash to p.
//! The transactional id of p fences a member that does not know yet that it lost p. Cursors are written to the same
//! partition number of the cursor topic, in the transaction of the rows they cover.

mod access;
mod client;
mod failure;
mod fetch;
mod journal;
mod lane;
mod page;
mod paging;
mod parents;
mod poller;
pub(crate) mod probe;
mod question;
mod queue;
pub(crate) mod rehearsal;
mod repeats;
mod retry;
mod rows;
mod rules;
mod soap;
mod sweep;
#[cfg(test)]
mod tests;
mod unpack;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hirewire_kafka::{Admin, Inbound, LeaseEvent, Leases, Stop, TableFollower, TransactionalWriter, partition_for};
use hirewire_registry::Codec;
use hirewire_schemas::records::Fetch;
use hirewire_service::{Component, Shutdown};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::fetch::{FetchRequests, Wanted};
use crate::metrics::Metrics;
use crate::process::Deps;
use crate::topics::Topics;
use access::Vault;
use client::Client;
use fetch::{Fetches, Queue};
use journal::CursorCodec;
use lane::Lane;
use poller::Poller;
use sweep::Known;

/// Before work on a partition begins anew after a failure. Longer than a member needs to learn that it lost the
/// partition, so that two never fence each other in turn.
const BEGIN_AGAIN_AFTER: Duration = Duration::from_secs(10);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What work on any partition needs.
struct Work {
    connections: Vec<Arc<Connection>>,
    topics: Topics,
    metrics: Metrics,
    kafka: hirewire_kafka::Settings,
    codec: Codec,
    health: hirewire_service::Health,
    /// The transactional id of a partition is this with its number.
    transactional_prefix: String,
}

/// Polls what the leases allow, until shutdown.
///
/// # Errors
/// When the member cannot join, or is out of the group for good.
pub(crate) async fn run(
    connections: Vec<Arc<Connection>>,
    topics: Topics,
    metrics: Metrics,
    deps: &Deps,
) -> Result<(), Stop> {
    let health = deps.health.component("ingest poll");
    let connections: Vec<_> = connections.into_iter().filter(|connection| connection.poll.is_some()).collect();
    if connections.is_empty() {
        health.ready();
        deps.shutdown.requested().await;
        return Ok(());
    }
    health.waiting("the leases topic");
    let Some(partitions) = lease_partitions(&deps.kafka, &topics.leases, &deps.shutdown).await else { return Ok(()) };
    let group = deps.names.group("ingest-poll");
    let codec = Codec::new(&deps.registry).map_err(|error| Stop::permanent("registry-url", error.to_string()))?;
    let work = Arc::new(Work {
        connections,
        topics,
        metrics,
        kafka: deps.kafka.clone(),
        codec,
        health: deps.health.clone(),
        transactional_prefix: group.clone(),
    });
    loop {
        health.waiting("its share of the connections");
        match member(&work, &group, partitions, &health, &deps.shutdown).await {
            Ok(()) => return Ok(()),
            Err(stop) if !stop.retryable => return Err(stop),
            Err(stop) => tracing::error!(code = stop.code, "the poller joins its group again: {}", stop.what),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {}
            () = deps.shutdown.requested() => return Ok(()),
        }
    }
}

/// One membership in the group, to its end.
async fn member(
    work: &Arc<Work>,
    group: &str,
    partitions: i32,
    health: &Component,
    shutdown: &Shutdown,
) -> Result<(), Stop> {
    let mut leases = Leases::start(&work.kafka, group, &work.topics.leases, shutdown.clone())?;
    let mut owned = Owned::default();
    while let Some(event) = leases.events.recv().await {
        match event {
            LeaseEvent::Gained(gained) => {
                work.metrics.leased(group, gained.len());
                health.ready();
                for partition in gained {
                    owned.begin(partition, partitions, work);
                }
            }
            LeaseEvent::Lost(done) => {
                work.metrics.leased(group, 0);
                owned.end().await;
                drop(done);
            }
            LeaseEvent::Failed(stop) => {
                owned.end().await;
                return Err(stop);
            }
        }
    }
    owned.end().await;
    Ok(())
}

/// The number of leases; waits for the topic to exist. `None` at shutdown.
async fn lease_partitions(kafka: &hirewire_kafka::Settings, topic: &Arc<str>, shutdown: &Shutdown) -> Option<i32> {
    let mut told = false;
    loop {
        let (kafka, name) = (kafka.clone(), topic.clone());
        let found = tokio::task::spawn_blocking(move || Admin::new(&kafka)?.partitions_of(&name)).await;
        match found {
            Ok(Ok(Some(partitions))) => return Some(partitions),
            Ok(Ok(None)) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%topic, "waiting for the topic: run `hirewire topics apply`");
            }
            Ok(Err(stop)) if !std::mem::replace(&mut told, true) => tracing::warn!(%stop, "waiting for Kafka"),
            Ok(Ok(None) | Err(_)) | Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {}
            () = shutdown.requested() => return None,
        }
    }
}

/// The partitions that this member works on.
#[derive(Default)]
struct Owned {
    stops: Vec<Shutdown>,
    tasks: JoinSet<()>,
}

impl Owned {
    fn begin(&mut self, partition: i32, partitions: i32, work: &Arc<Work>) {
        let of_partition =
            |connection: &&Arc<Connection>| partition_for(connection.name.as_bytes(), partitions) == partition;
        let connections: Vec<_> = work.connections.iter().filter(of_partition).cloned().collect();
        if connections.is_empty() {
            return;
        }
        let stop = Shutdown::new();
        self.stops.push(stop.clone());
        self.tasks.spawn(own(partition, connections, work.clone(), stop));
    }

    /// Returns when nothing is written any more.
    async fn end(&mut self) {
        self.stops.drain(..).for_each(|stop| stop.request());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(code = "poll-panicked", %error, "a poller panicked");
            }
        }
    }
}

/// Polls the connections of one lease until stopped; begins anew after a failure.
async fn own(partition: i32, connections: Vec<Arc<Connection>>, work: Arc<Work>, stop: Shutdown) {
    while !stop.is_requested() {
        tokio::select! {
            begun = begin(partition, &connections, &work, &stop) => match begun {
                Ok((mut pollers, _requests)) => {
                    while let Some(ended) = pollers.join_next().await {
                        if let Err(error) = ended {
                            tracing::error!(code = "poll-panicked", %error, "a poller panicked");
                        }
                    }
                }
                Err(failed) => {
                    tracing::error!(code = failed.code, partition, "polling cannot begin, and is tried again: {}", failed.what);
                }
            },
            () = stop.requested() => {}
        }
        tokio::select! {
            () = tokio::time::sleep(BEGIN_AGAIN_AFTER) => {}
            () = stop.requested() => {}
        }
    }
}

async fn begin(
    partition: i32,
    connections: &[Arc<Connection>],
    work: &Work,
    stop: &Shutdown,
) -> Result<(JoinSet<()>, Requests), Stop> {
    // First the fence, then the cursors: after it no other member can move them.
    let id = format!("{}-{partition}", work.transactional_prefix);
    let writer = Arc::new(TransactionalWriter::new(&work.kafka, &id).await?);
    let cursor_codec = CursorCodec::register(&work.topics, &work.codec).await?;
    let cursors = journal::read_cursors(&work.kafka, &work.topics.cursor, partition, &work.codec).await?;
    let requests = FetchRequests::new(work.topics.fetch.clone());
    if connections.iter().any(|connection| connection.queue_fetches()) {
        requests.register(&work.codec, stop).await;
    }
    let mut pollers = JoinSet::new();
    let mut queues = HashMap::new();
    for connection in connections {
        let (Some(api), Some(poll)) = (&connection.manifest.api, &connection.poll) else { continue };
        let token = cursors.get(&journal::key(&connection.name, access::LANE));
        let vault = Vault::new(writer.clone(), cursor_codec.clone(), partition, &connection.name, token);
        let client =
            Client::new(poll, vault).map_err(|error| Stop::permanent("poll-http-client", error.to_string()))?;
        let health = work.health.component(&format!("poll of {}", connection.name));
        health.ready();
        tracing::info!(connection = connection.name, partition, "polling begins");
        let manifest = &connection.manifest;
        let metrics = work.metrics.polled(&connection.name, &manifest.vendor, manifest.ends());
        if let Some(ends) = connection.poll.as_ref().and_then(|poll| poll.expires) {
            metrics.credential_ends(ends);
        }
        let lanes = Lane::all(connection, api, &cursors);
        for lane in &lanes {
            metrics.begins(&lane.name, lane.stream_name());
            let is_swept = api.streams.get(lane.stream).is_some_and(|stream| stream.sweep.is_some());
            if let Some(until) = lane.cursor.as_ref().filter(|_| !is_swept).and_then(window::settled) {
                metrics.settled(&lane.name, until);
            }
        }
        let fetches = connection.fetches().then(|| {
            let cursor = cursors.get(&journal::key(&connection.name, fetch::LANE));
            let queue = Arc::new(Queue::new(cursor));
            metrics.fetches(queue.oldest());
            queues.insert(connection.name.clone(), queue.clone());
            Fetches::new(queue)
        });
        let poller = Poller {
            connection: connection.clone(),
            lanes,
            known: Known::all(connection, api, &cursors),
            client,
            journal: writer.clone(),
            cursors: cursor_codec.clone(),
            partition,
            topics: work.topics.clone(),
            metrics,
            health,
            stop: stop.clone(),
            fetches,
            queue: connection.manifest.queue.is_some().then(|| {
                let cursor = cursors.get(&journal::key(&connection.name, queue::LANE));
                queue::Position::new(cursor, requests.clone())
            }),
            turn: poller::TURN,
        };
        pollers.spawn(poller.run());
    }
    let requests = Requests::follow(work, partition, queues, stop).await?;
    Ok((pollers, requests))
}

/// Brings requests to fetch from their topic to the pollers of one lease. Ends when it is dropped.
struct Requests {
    queues: HashMap<String, Arc<Queue>>,
    follower: Option<TableFollower>,
}

impl Requests {
    async fn follow(
        work: &Work,
        partition: i32,
        queues: HashMap<String, Arc<Queue>>,
        stop: &Shutdown,
    ) -> Result<Self, Stop> {
        let Some(from) = queues.values().map(|queue| queue.next()).min() else {
            return Ok(Self { queues, follower: None });
        };
        let schema =
            hirewire_schemas::schema("Fetch").ok_or_else(|| Stop::permanent("schema-missing", "no schema Fetch"))?;
        let (runtime, codec, own, stopped) =
            (tokio::runtime::Handle::current(), work.codec.clone(), queues.clone(), stop.clone());
        let take = move |record: Inbound| {
            let Some(value) = record.value else { return };
            let read = async {
                loop {
                    match codec.decode_into::<Fetch>(&value, &schema.avro).await {
                        Ok(fetch) => return Some(fetch),
                        Err(error) if error.is_retryable() && !stopped.is_requested() => {
                            tracing::warn!(%error, "a request to fetch waits for the registry");
                            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
                        }
                        Err(error) => {
                            tracing::error!(code = "fetch-unreadable", partition, offset = record.offset, %error,
                                "a request to fetch cannot be read; it is left to the lists");
                            return None;
                        }
                    }
                }
            };
            if let Some(fetch) = runtime.block_on(read)
                && let Some(queue) = own.get(&fetch.connection_id)
            {
                queue.put(record.offset, record.timestamp_ms / 1000, Wanted::of(fetch));
            }
        };
        let (kafka, topic, shutdown) = (work.kafka.clone(), work.topics.fetch.clone(), stop.clone());
        let start = move || TableFollower::start_partition(&kafka, &topic, partition, from, shutdown, take);
        let follower = tokio::task::spawn_blocking(start).await;
        let follower = follower.map_err(|error| Stop::retryable("worker-panicked", error.to_string()))??;
        Ok(Self { queues, follower: Some(follower) })
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Its thread may wait for room.
        self.queues.values().for_each(|queue| queue.close());
        drop(self.follower.take());
    }
}
