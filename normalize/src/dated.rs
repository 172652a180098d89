//! Connections whose overlay changes with time: how a stage is encoded for who came into it at a moment.
//!
//! A stay keeps the category that held when it began, in all that is told of it: what a customer changes from a day on
//! leaves the past as it was. It depends on the vendor's times alone, so that the same records give the same bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use hirewire_mapping::Plan;

use crate::application::{split_category, stage_says};
use crate::claim::Claim;
use crate::ledger::{Ledger, Micros, StageIx};

/// The enum of a stage's category.
const CATEGORY: &str = "StageCategory";

/// The plans that change with time, by connection.
#[derive(Default)]
pub struct Dated(HashMap<String, Arc<Plan>>);

impl Dated {
    #[must_use]
    pub fn of<'p>(plans: impl Iterator<Item = (&'p String, &'p Arc<Plan>)>) -> Self {
        let dated = plans.filter(|(_, plan)| plan.is_dated());
        Self(dated.map(|(name, plan)| (name.clone(), Arc::clone(plan))).collect())
    }

    #[must_use]
    pub fn times(&self, connection: &str) -> Times {
        Times(self.0.get(connection).cloned())
    }
}

/// What one connection's overlay says when. Of most the same at all times.
pub struct Times(Option<Arc<Plan>>);

impl Times {
    /// The stage that a claim names by `key` and encodes as `slice`.
    pub fn learn(&self, ledger: &mut Ledger, claim: &Claim<'_>, key: &[u8], slice: &[u8]) -> StageIx {
        let stage = ledger.stage(key, slice, stage_says);
        if let Some(plan) = &self.0 {
            // As the mapping took its words: by the vendor's time; where it has none, when it was received.
            let at = claim.version.unwrap_or(claim.origin.observed_at);
            ledger.note_stage(stage, plan.holds_since(at), slice, stage_says);
        }
        stage
    }

    /// The encoding of a stage for who entered it then.
    #[must_use]
    pub fn stage<'l>(&self, ledger: &'l Ledger, stage: StageIx, entered: Micros) -> Cow<'l, [u8]> {
        let Some(plan) = &self.0 else { return Cow::Borrowed(ledger.stage_bytes(stage)) };
        let bytes = ledger.stage_bytes_of(stage, plan.holds_since(entered));
        // It may have been told at another time, or by the stage's own record.
        let Some((head, category)) = split_category(bytes) else { return Cow::Borrowed(bytes) };
        let mut out = head.to_vec();
        if plan.recode(CATEGORY, category, entered, &mut out) { Cow::Owned(out) } else { Cow::Borrowed(bytes) }
    }
}
