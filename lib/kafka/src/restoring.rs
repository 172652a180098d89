//! How far the workers of a member are with their state, and whether it is ready.

use std::sync::{Arc, Mutex, PoisonError};

use hirewire_service::Component;
use prometheus::IntGauge;

/// The member is ready when the last of its workers has restored its state; until then it says how many have.
#[derive(Clone)]
pub(crate) struct Restoring {
    all: usize,
    left: Arc<Mutex<usize>>,
    shown: IntGauge,
    component: Component,
}

impl Restoring {
    pub(crate) fn begin(all: usize, shown: IntGauge, component: Component) -> Self {
        shown.set(i64::try_from(all).unwrap_or(i64::MAX));
        component.waiting("workers to fence their predecessors and restore state");
        Self { all, left: Arc::new(Mutex::new(all)), shown, component }
    }

    pub(crate) fn one_is_done(&self) {
        self.shown.dec();
        // Held while it is told: what is told last is what is so.
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.component.ready();
        } else {
            let (done, all) = (self.all - *left, self.all);
            self.component.waiting(format!(
                "workers to fence their predecessors and restore state: {done} of {all} partitions are done"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use hirewire_service::Health;

    use super::*;

    #[test]
    fn a_member_says_how_many_of_its_partitions_have_their_state_until_all_have() {
        let (health, shown) = (Health::new(), IntGauge::new("left", "left").unwrap());
        let restoring = Restoring::begin(3, shown.clone(), health.component("normalize"));
        let waits = || health.waiting().pop().unwrap_or_default();
        assert_eq!((waits().ends_with("restore state"), shown.get()), (true, 3));
        restoring.one_is_done();
        restoring.clone().one_is_done();
        assert_eq!((waits().ends_with("restore state: 2 of 3 partitions are done"), shown.get()), (true, 1));
        restoring.one_is_done();
        assert_eq!((waits().as_str(), shown.get()), ("", 0));
    }
}
