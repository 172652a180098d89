//! The topics and their partitions.
//!
//! In: names and ids; out: shared, immutable [`Topic`]s. A change of settings or partitions puts a new `Topic` in the old
//! one's place; partitions themselves are shared between the two.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use uuid::Uuid;

use crate::log::op::Op;
use crate::log::partition::Partition;
use crate::sync::{read, write};
use crate::topic_settings::TopicSettings;

/// More partitions than any directory has: a topic that claims them is damage, and no settings allow them.
pub(crate) const MAX_PARTITIONS: i32 = 100_000;

pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) name: Arc<str>,
    pub(crate) settings: TopicSettings,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The entry that makes this topic.
    pub(crate) fn op(&self) -> Op {
        Op::PutTopic {
            id: self.id,
            name: self.name.to_string(),
            partitions: self.partition_count(),
            settings: self.settings.overrides.clone().into_iter().collect(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Map {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Map {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(crate) fn put(&mut self, topic: Arc<Topic>) {
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        if self.by_name.get(&topic.name).is_some_and(|named| named.id == id) {
            self.by_name.remove(&topic.name);
        }
        Some(topic)
    }
}

pub(crate) struct Topics {
    pub(crate) root: PathBuf,
    map: RwLock<Map>,
}

impl Topics {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, map: RwLock::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.map).by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        read(&self.map).by_id.get(&id).cloned()
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partition(index).cloned()
    }

    pub(crate) fn partition_by_id(&self, id: Uuid, index: i32) -> Option<Arc<Partition>> {
        self.by_id(id)?.partition(index).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        read(&self.map).by_name.values().cloned().collect()
    }

    /// Changes the map; entries for the journal are submitted inside, so that their order is that of the changes.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Map) -> T) -> T {
        change(&mut write(&self.map))
    }

    /// A topic with the given number of partitions; those that `old` has are taken over.
    pub(crate) fn build(
        &self,
        id: Uuid,
        name: Arc<str>,
        settings: TopicSettings,
        count: i32,
        old: Option<&Topic>,
    ) -> Topic {
        let partitions = (0..count)
            .map(|index| {
                let existing = old.and_then(|old| old.partition(index).cloned());
                existing.unwrap_or_else(|| Arc::new(Partition::new(id, index, &self.root)))
            })
            .collect();
        Topic { id, name, settings, partitions }
    }
}
