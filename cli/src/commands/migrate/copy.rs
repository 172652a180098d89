//! The records of one partition, from one broker to another, in order; and read again there.
//!
//! In: committed records of the old side; out: the same key, value, headers and time on the new one, in the same partition, with the old
//! place in a header; where each went ([`Moves`]); and a [`Digest`] of what was sent, which what is read again must have.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, ensure};
use hirewire_kafka::{Inbound, Isolation, Record, Settings, Stop, TransactionalWriter, not_ahead, read_table};
use hirewire_route::replay::Place;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::table::Moves;

/// Where a record stood before it was moved, as `topic/partition/offset`.
pub(super) const MOVED_FROM: &str = "hirewire-migrated-from";

/// Of one transaction.
const CHUNK_RECORDS: usize = 1000;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Stands for all records of a partition, in their order.
#[derive(Clone, Default)]
pub(super) struct Digest(Sha256);

impl Digest {
    fn add(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Arc<str>, bytes::Bytes)],
        timestamp_ms: i64,
    ) {
        // Lengths in front, so that no two records look like one.
        let mut part = |bytes: Option<&[u8]>| {
            let length = bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
            self.0.update(length.to_be_bytes());
            self.0.update(bytes.unwrap_or_default());
        };
        part(key);
        part(value);
        for (name, value) in headers {
            part(Some(name.as_bytes()));
            part(Some(value));
        }
        self.0.update(timestamp_ms.to_be_bytes());
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Reads a partition to its end; the channel closes behind the last record, and the task tells the end.
fn read(
    kafka: &Settings,
    topic: &str,
    partition: i32,
) -> (mpsc::Receiver<Inbound>, tokio::task::JoinHandle<Result<i64, Stop>>) {
    let (sender, receiver) = mpsc::channel(CHUNK_RECORDS);
    let (kafka, topic) = (kafka.clone(), topic.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        read_table(&kafka, &topic, partition, 0, Isolation::Committed, &mut |record| {
            sender
                .blocking_send(record)
                .map_err(|_| Stop::permanent("worker-panicked", "nobody takes the records any more"))
        })
    });
    (receiver, reading)
}

/// Moves one partition. `rewrite` changes what tells of positions inside the record.
pub(super) async fn copy<F: Future<Output = anyhow::Result<Inbound>>>(
    from: &Settings,
    to: &TransactionalWriter,
    topic: &str,
    partition: i32,
    mut rewrite: impl FnMut(Inbound) -> F,
) -> anyhow::Result<(Moves, [u8; 32])> {
    let (mut records, reading) = read(from, topic, partition);
    let (mut moves, mut digest) = (Moves::default(), Digest::default());
    let (mut chunk, mut olds, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(inbound) = records.recv().await {
        olds.push(inbound.offset);
        let record = outgoing(rewrite(inbound).await?);
        digest.add(
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
            record.timestamp_ms.unwrap_or_default(),
        );
        bytes += record.value.as_ref().map_or(0, bytes::Bytes::len);
        chunk.push(record);
        if chunk.len() >= CHUNK_RECORDS || bytes >= CHUNK_BYTES {
            flush(to, &mut chunk, &mut olds, &mut moves).await?;
            bytes = 0;
        }
    }
    moves.old_end = reading.await??;
    flush(to, &mut chunk, &mut olds, &mut moves).await?;
    Ok((moves, digest.finish()))
}

async fn flush(
    to: &TransactionalWriter,
    chunk: &mut Vec<Record>,
    olds: &mut Vec<i64>,
    moves: &mut Moves,
) -> anyhow::Result<()> {
    if chunk.is_empty() {
        return Ok(());
    }
    let positions = to.write(std::mem::take(chunk)).await.context("a record could not be written to the new Kafka")?;
    ensure!(
        positions.len() == olds.len(),
        "the new Kafka told the places of {} of {} records",
        positions.len(),
        olds.len()
    );
    for (old, position) in olds.drain(..).zip(positions) {
        moves.push(old, position.offset);
    }
    Ok(())
}

fn outgoing(inbound: Inbound) -> Record {
    let place = Place { topic: inbound.topic.to_string(), partition: inbound.partition, offset: inbound.offset };
    let mut headers: Vec<(Arc<str>, bytes::Bytes)> =
        inbound.headers.into_iter().map(|(name, value)| (Arc::from(name), value)).collect();
    headers.push((MOVED_FROM.into(), place.to_string().into()));
    Record {
        topic: inbound.topic,
        partition: Some(inbound.partition),
        key: inbound.key,
        value: inbound.value,
        headers,
        // As it will be sent: the digest is of that.
        timestamp_ms: Some(not_ahead(inbound.timestamp_ms)),
    }
}

/// Reads what was moved again: every record at the place that the table says, and all of them as they were sent.
pub(super) async fn check(
    to: &Settings,
    topic: &str,
    partition: i32,
    moves: &Moves,
    sent: [u8; 32],
) -> anyhow::Result<()> {
    let (mut records, reading) = read(to, topic, partition);
    let (mut digest, mut count) = (Digest::default(), 0);
    while let Some(record) = records.recv().await {
        let from: Option<Place> = record
            .headers
            .iter()
            .rfind(|(name, _)| name == MOVED_FROM)
            .and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        let Some(from) = from else {
            anyhow::bail!("{topic} partition {partition} offset {}: this record was not moved", record.offset)
        };
        ensure!(
            moves.exact(from.offset) == Some(record.offset),
            "{topic} partition {partition} offset {}: the table has the record of old offset {} elsewhere",
            record.offset,
            from.offset
        );
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (Arc::from(name.as_str()), value.clone())).collect();
        digest.add(record.key.as_deref(), record.value.as_deref(), &headers, record.timestamp_ms);
        count += 1;
    }
    reading.await??;
    ensure!(
        count == moves.records(),
        "{topic} partition {partition}: {} records were sent, {count} are there",
        moves.records()
    );
    ensure!(digest.finish() == sent, "{topic} partition {partition}: what is there is not what was sent");
    Ok(())
}
