//! State before the first record: the local store, brought up to the state topic's end.

use hirewire_kafka::{Admin, Inbound, Isolation, Settings, Stop, read_table};

use super::NormalizeStep;
use crate::claim::Id;
use crate::store::Store;
use crate::work::id_of_state;

impl NormalizeStep {
    pub(super) fn open_store(&self, settings: &Settings) -> Result<Store, Stop> {
        let failed = |error: &dyn std::error::Error| Stop::retryable("local-store", error.to_string());
        std::fs::create_dir_all(&self.shared.store_dir).map_err(|error| failed(&error))?;
        let path = self.shared.store_dir.join(format!("partition-{}.sqlite", self.partition));
        let mut store = Store::open(&path, share_of(self.shared.cache_bytes, self.shared.partitions))
            .map_err(|error| failed(&error))?;
        let topic = &self.shared.catalog.state.topic;
        let (_, end) = Admin::new(settings)?.watermarks(topic, self.partition)?;
        if end < store.next_offset() {
            tracing::warn!(
                partition = self.partition,
                "the state topic is another than the local store's: store thrown away"
            );
            store.clear().map_err(|error| failed(&error))?;
        }
        let from = store.next_offset();
        // Counted as they are read: the rate says whether it gets on.
        let (mut count, restored) = (0u64, &self.shared.metrics.restored);
        let next = read_table(settings, topic, self.partition, from, Isolation::Committed, &mut |record: Inbound| {
            count += 1;
            restored.inc();
            restore_one(&mut store, &record, self.partition)
        })?;
        store.advance(next);
        store.flush().map_err(|error| failed(&error))?;
        tracing::info!(partition = self.partition, from, next, states = count, "state restored");
        Ok(store)
    }
}

/// What one partition may take of the memory for states: a process may come to have all of them.
fn share_of(cache_bytes: usize, partitions: i32) -> usize {
    cache_bytes / usize::try_from(partitions).unwrap_or(1).max(1)
}

fn restore_one(store: &mut Store, record: &Inbound, partition: i32) -> Result<(), Stop> {
    let failed = |error: crate::store::DiskError| Stop::retryable("local-store", error.to_string());
    let Some(value) = &record.value else {
        return match record.key.as_deref().and_then(|key| Id::try_from(key).ok()) {
            Some(id) => store.put(id, None).map_err(failed),
            None => Ok(()),
        };
    };
    let state = value.get(5..).map(|state| value.slice_ref(state)).unwrap_or_default();
    let id = id_of_state(&state).map_err(|_| {
        Stop::permanent(
            "state-unreadable",
            format!(
                "state record at offset {} of partition {partition} is damaged or of another release: run the release that wrote it",
                record.offset
            ),
        )
    })?;
    store.put(id, Some(state)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_partitions_together_take_no_more_memory_than_is_set() {
        for partitions in [1, 4, 12, 200] {
            let all = share_of(64 << 20, partitions) * usize::try_from(partitions).unwrap();
            assert!((60 << 20..=64 << 20).contains(&all), "{partitions}: {all}");
        }
    }
}
