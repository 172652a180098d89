//! Reads the ledger's topic as it grows and notes when each record of each application could be read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hirewire_kafka::{Admin, Isolation, TableFollower, TableStart};
use hirewire_schemas::ids::{canonical_id, key};
use hirewire_service::Shutdown;

use crate::bodies::application_id;
use crate::place::{CONNECTION, Place, TENANT};

pub(crate) struct Ledger {
    _follower: TableFollower,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    records: usize,
    times: Vec<Vec<Instant>>,
}

/// The Kafka key of an application.
pub(crate) fn application_key(application: usize) -> [u8; 36] {
    key(canonical_id(TENANT, CONNECTION, "Application", &application_id(application).to_string()))
}

impl Ledger {
    /// From the topic's present end.
    pub(crate) async fn follow(place: &Place, applications: usize) -> anyhow::Result<Self> {
        let topic = place.names.stage_change();
        let mut from = TableStart::new();
        let admin = Admin::new(&place.kafka)?;
        for partition in 0..place.partitions {
            let (_, end) = tokio::task::block_in_place(|| admin.watermarks(&topic, partition))?;
            from.insert((topic.clone(), partition), end);
        }
        let numbers: HashMap<[u8; 36], usize> = (0..applications).map(|n| (application_key(n), n)).collect();
        let seen = Arc::new(Mutex::new(Seen { records: 0, times: vec![Vec::new(); applications] }));
        let noted = Arc::clone(&seen);
        let on = move |record: hirewire_kafka::Inbound| {
            let now = Instant::now();
            let number = record.key.as_deref().and_then(|key| numbers.get(key));
            let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
            seen.records += 1;
            if let Some(times) = number.and_then(|number| seen.times.get_mut(*number)) {
                times.push(now);
            }
        };
        let topics = [topic];
        let follower = TableFollower::start(&place.kafka, &topics, from, Isolation::Committed, Shutdown::new(), on)?;
        while !follower.caught_up() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Then it begins to follow, and its client may take a second to find the partitions' leaders.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        Ok(Self { _follower: follower, seen })
    }

    pub(crate) fn records(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).records
    }

    /// Per application, when its records could be read, in the order of the topic.
    pub(crate) fn times(&self) -> Vec<Vec<Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).times.clone()
    }
}

/// Waits until `count` says `wanted`, or until nothing has come for 30 s.
pub(crate) async fn until_quiet(wanted: usize, count: impl Fn() -> usize) {
    let (mut last, mut since) = (count(), Instant::now());
    while last < wanted && since.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = count();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
