//! Readiness and liveness by what the parts of a process say of themselves.
//!
//! Ready: every component said so. Live: every component made progress lately, or declared itself idle-safe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// All components of a process. Cheap to clone.
#[derive(Clone, Default, Debug)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, State>>>,
}

#[derive(Debug)]
struct State {
    /// Why it is not ready yet; `None` when it is.
    waiting_for: Option<String>,
    /// When it last made progress, and how long it may stay without.
    progress: Option<(Instant, Duration)>,
}

/// One part's own view. Dropping it takes nothing back: a part that ended is as it last was.
#[derive(Clone, Debug)]
pub struct Component {
    health: Health,
    name: String,
}

impl Health {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new component, not ready until it says so.
    #[must_use]
    pub fn component(&self, name: &str) -> Component {
        self.with(name, |_| ());
        Component { health: self.clone(), name: name.to_owned() }
    }

    /// What is waited for, a line each; empty when ready.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.iter().filter_map(|(name, state)| Some(format!("{name}: {}", state.waiting_for.as_ref()?))).collect()
    }

    /// Which components are stuck, a line each; empty when live.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        components
            .iter()
            .filter_map(|(name, state)| {
                let (last, limit) = state.progress?;
                let age = last.elapsed();
                (age > limit)
                    .then(|| format!("{name}: no progress for {} s, limit {} s", age.as_secs(), limit.as_secs()))
            })
            .collect()
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut State)) {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        let state = components
            .entry(name.to_owned())
            .or_insert_with(|| State { waiting_for: Some("start".to_owned()), progress: None });
        change(state);
    }
}

impl Component {
    pub fn ready(&self) {
        self.health.with(&self.name, |state| state.waiting_for = None);
    }

    /// Not ready, and why: named on `/readyz`.
    pub fn waiting(&self, for_what: impl Into<String>) {
        let for_what = for_what.into();
        self.health.with(&self.name, |state| state.waiting_for = Some(for_what));
    }

    /// It has ended because somebody wanted it: nothing is waited for of it any more.
    pub fn ended(&self) {
        self.health.components.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }

    /// Progress was made; without another within `limit` the process counts as stuck.
    pub fn progress(&self, limit: Duration) {
        self.health.with(&self.name, |state| state.progress = Some((Instant::now(), limit)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_it_waits_for_and_liveness_goes_by_progress() {
        let health = Health::new();
        let part = health.component("state");
        assert_eq!(health.waiting(), ["state: start"]);
        part.waiting("partition 3 to be restored");
        assert_eq!(health.waiting(), ["state: partition 3 to be restored"]);
        part.ready();
        assert!(health.waiting().is_empty());
        assert!(health.stuck().is_empty());
        part.progress(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(health.stuck().len(), 1);
        part.waiting("partitions");
        part.ended();
        assert!(health.stuck().is_empty() && health.waiting().is_empty());
    }
}
