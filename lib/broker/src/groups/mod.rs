//! The consumer groups: membership and offsets of each, behind one lock per group.
//!
//! In: a group's name; out: the [`Group`], made when asked for. A group with members has a task that sleeps until its next
//! deadline. Lock order: transaction, partitions, group.

mod member;
pub(crate) mod membership;
pub(crate) mod messages;
pub(crate) mod offsets;
mod rebalance;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::membership::Membership;
use self::offsets::Offsets;
use crate::log::journal::Lsn;
use crate::log::op::Op;
use crate::sync::lock;

pub(crate) struct GroupState {
    pub(crate) membership: Membership,
    pub(crate) offsets: Offsets,
    /// The last change of the offsets: durable before anybody is told of them.
    pub(crate) offsets_changed: Lsn,
    /// Taken out of the map: who still holds it must ask for it again.
    pub(crate) deleted: bool,
    driven: bool,
    /// When the last member left, in ms: offsets are kept for a time from then on.
    pub(crate) empty_since_ms: i64,
}

pub(crate) struct Group {
    pub(crate) id: String,
    state: Mutex<GroupState>,
    changed: Notify,
}

impl Group {
    pub(crate) fn lock(&self) -> MutexGuard<'_, GroupState> {
        lock(&self.state)
    }

    /// After a change of deadlines: starts the group's task, or lets it look again.
    pub(crate) fn drive(self: &Arc<Self>) {
        let start = {
            let mut state = self.lock();
            let start = !state.driven && !state.membership.is_idle();
            state.driven |= start;
            start
        };
        if start {
            tokio::spawn(keep_time(self.clone()));
        } else {
            self.changed.notify_one();
        }
    }
}

async fn keep_time(group: Arc<Group>) {
    loop {
        let next = {
            let mut state = group.lock();
            state.membership.pass_time(Instant::now());
            if state.membership.is_idle() || state.deleted {
                state.driven = false;
                state.empty_since_ms = crate::sync::now_ms();
                return;
            }
            state.membership.next_deadline()
        };
        match next {
            // Who wakes the task has changed a deadline; both ways it looks again.
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), group.changed.notified()).await.ok();
            }
            None => group.changed.notified().await,
        }
    }
}

pub(crate) struct Groups {
    map: Mutex<BTreeMap<String, Arc<Group>>>,
    initial_delay: Duration,
    max_groups: usize,
}

impl Groups {
    pub(crate) fn new(initial_delay: Duration, max_groups: usize) -> Self {
        Self { map: Mutex::default(), initial_delay, max_groups }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Group>> {
        lock(&self.map).get(id).cloned()
    }

    /// `None` if there are too many groups.
    pub(crate) fn get_or_create(&self, id: &str) -> Option<Arc<Group>> {
        let mut map = lock(&self.map);
        if let Some(group) = map.get(id) {
            return Some(group.clone());
        }
        if map.len() >= self.max_groups {
            return None;
        }
        let group = Arc::new(self.build(id, 0, String::new()));
        map.insert(id.to_owned(), group.clone());
        Some(group)
    }

    /// In recovery.
    pub(crate) fn restore(&self, id: &str, generation: i32, protocol_type: String) {
        let group = Arc::new(self.build(id, generation, protocol_type));
        let mut map = lock(&self.map);
        if let Some(old) = map.get(id) {
            let mut old = old.lock();
            group.lock().offsets = std::mem::take(&mut old.offsets);
        }
        map.insert(id.to_owned(), group);
    }

    fn build(&self, id: &str, generation: i32, protocol_type: String) -> Group {
        let state = GroupState {
            membership: Membership::new(self.initial_delay, generation, protocol_type),
            offsets: Offsets::default(),
            offsets_changed: 0,
            deleted: false,
            driven: false,
            empty_since_ms: crate::sync::now_ms(),
        };
        Group { id: id.to_owned(), state: Mutex::new(state), changed: Notify::new() }
    }

    /// Takes a group out; call it with the group's lock held and `deleted` set.
    pub(crate) fn forget(&self, id: &str) {
        lock(&self.map).remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        lock(&self.map).values().cloned().collect()
    }

    /// The entries that make the groups again.
    pub(crate) fn ops(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        for group in self.all() {
            let state = group.lock();
            if state.deleted {
                continue;
            }
            let membership = &state.membership;
            ops.push(Op::PutGroup {
                group: group.id.clone(),
                generation: membership.generation,
                protocol_type: membership.protocol_type.clone(),
            });
            ops.extend(state.offsets.ops(&group.id));
        }
        ops
    }
}
