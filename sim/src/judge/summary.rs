//! The summary that `demo --json` prints as its last line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Absent for Greenhouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    pub seed: u64,
    pub applications: u64,
    pub webhooks: WebhookCounts,
    pub polled_records: u64,
    pub raw_events: u64,
    /// Records per canonical entity, named as in the topics.
    pub canonical: BTreeMap<String, u64>,
    pub stage_changes: StageChangeCounts,
    pub deliveries: BTreeMap<String, DeliveryCounts>,
    /// Of normalize. The simulated vendor sends nothing that cannot be mapped: each one is a fault.
    pub dead_letters: u64,
    /// The same by code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dead_letter_codes: BTreeMap<String, u64>,
    pub elapsed_ms: u64,
}

impl Summary {
    /// Whether the exit code is 0.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.dead_letters == 0
            && self.stage_changes.is_clean()
            && self.deliveries.values().all(DeliveryCounts::is_clean)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCounts {
    /// Deliveries that were tried at least once, without repetitions.
    pub sent: u64,
    pub acknowledged: u64,
    /// Never sent, or given up after the last attempt.
    pub dropped_by_vendor: u64,
    /// Repetitions of a delivery that the vendor made on its own.
    pub duplicated: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageChangeCounts {
    /// True changes that can be known.
    pub expected: u64,
    pub found: u64,
    pub missing: u64,
    pub extra: u64,
    pub wrong_from: u64,
    pub wrong_to: u64,
    /// Times that cannot be true, by their own precision and bounds.
    #[serde(default)]
    pub wrong_time: u64,
    /// Places where `sequence_no` of an application does not go on with the next number.
    pub sequence_gaps: u64,
    /// Changes that were told in time and in order, and yet were published as learnt late.
    pub live_expected_but_correction: u64,
    /// True changes of applications of which the vendor lost what nothing else tells.
    pub unobservable: u64,
}

impl StageChangeCounts {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missing == 0
            && self.extra == 0
            && self.wrong_from == 0
            && self.wrong_to == 0
            && self.wrong_time == 0
            && self.sequence_gaps == 0
            && self.live_expected_but_correction == 0
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCounts {
    pub expected: u64,
    pub delivered: u64,
    /// What a receiver that honours the idempotency key would have processed twice.
    pub duplicated: u64,
    /// Came again under the same key after it was answered 2xx.
    pub resent: u64,
    pub out_of_order: u64,
    pub dead: u64,
    /// Why the vendor cannot feed this sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_applicable: Option<String>,
}

impl DeliveryCounts {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.expected == self.delivered && self.duplicated == 0 && self.out_of_order == 0 && self.dead == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_or_a_wrong_time_is_not_clean() {
        assert!(Summary::default().is_clean());
        assert!(!Summary { dead_letters: 1, ..Summary::default() }.is_clean());
        let wrong = StageChangeCounts { wrong_time: 1, ..StageChangeCounts::default() };
        assert!(!Summary { stage_changes: wrong, ..Summary::default() }.is_clean());
    }
}
