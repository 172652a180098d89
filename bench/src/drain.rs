//! A full topic is consumed by one process: how long, with how much CPU, in how much memory.

use std::time::{Duration, Instant};

use anyhow::Context;
use hirewire_kafka::Admin;
use serde::Serialize;

use crate::figures::rounded;
use crate::place::Place;
use crate::process::Process;
use crate::topic::ends;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drain {
    pub(crate) events: usize,
    /// From ready to the last committed offset.
    pub(crate) seconds: f64,
    /// Of the process, from its start: what starting costs is in it.
    pub(crate) cpu_seconds: f64,
    pub(crate) events_per_second: f64,
    pub(crate) events_per_cpu_second: f64,
    pub(crate) peak_rss_mb: f64,
    /// Of the embedded broker in the same time.
    pub(crate) broker_cpu_seconds: Option<f64>,
}

/// Waits until `group` has committed all of `topic`. `ready` is when the process became ready.
pub(crate) async fn drain(
    place: &Place,
    process: &mut Process,
    group: &str,
    topic: &str,
    ready: Instant,
) -> anyhow::Result<Drain> {
    let ends = ends(place, topic)?;
    let admin = Admin::new(&place.kafka)?;
    let broker_before = place.broker.as_ref().map(Process::cpu).transpose()?;
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let committed = tokio::task::block_in_place(|| admin.committed(group, topic, place.partitions))?;
        let done: i64 = committed.values().sum();
        if done >= ends.iter().sum() {
            break;
        }
        if done != last {
            (last, moved) = (done, Instant::now());
        }
        process.must_run()?;
        anyhow::ensure!(moved.elapsed() < Duration::from_secs(60), "{group} has committed nothing for 60 s");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let seconds = ready.elapsed().as_secs_f64();
    let cpu_seconds = process.cpu()?.seconds();
    let broker_cpu_seconds = match (broker_before, &place.broker) {
        (Some(before), Some(broker)) => Some(rounded(broker.cpu()?.since(before))),
        _ => None,
    };
    let events = usize::try_from(ends.iter().sum::<i64>()).context("offsets below zero")?;
    Ok(Drain {
        events,
        seconds: rounded(seconds),
        cpu_seconds: rounded(cpu_seconds),
        events_per_second: (events as f64 / seconds).round(),
        events_per_cpu_second: (events as f64 / cpu_seconds).round(),
        peak_rss_mb: process.memory()?.peak_mb,
        broker_cpu_seconds,
    })
}
