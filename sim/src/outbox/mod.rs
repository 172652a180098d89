//! The vendor's outbox: which webhooks of a step are sent, how often, and when.

pub(crate) mod postman;
pub(crate) mod sender;

use fastrand::Rng;
use rusqlite::{Transaction, params};

use crate::effects::Effects;
use crate::plan::{Fate, Planned, Step};
use crate::settings::Scenario;
use crate::sign::uuid_like;
use crate::store::{self, StoreError};

/// The id of the nth event of a step.
pub(crate) fn event_id(seed: u64, step: usize, n: usize) -> String {
    uuid_like(seed, &format!("event/{step}/{n}"))
}

/// Puts the webhooks of a step into the outbox, each with its fate, and notes in the truth which one tells of it.
pub(crate) fn enqueue(
    tx: &Transaction<'_>,
    scenario: &Scenario,
    escaped: &[char],
    planned: &Planned,
    at: i64,
    effects: &mut Effects,
    rng: &mut Rng,
) -> Result<(), StoreError> {
    let application = effects.application.clone();
    for (n, webhook) in effects.webhooks.iter().enumerate() {
        // Only the first tells of the step; the rest is told by rows too.
        let fate = if n == 0 {
            planned.fate
        } else {
            // What a hire says of its offer may be overwritten before a poll sees it.
            let dropped = planned.step != Step::Hire && rng.f64() < scenario.faults.dropped;
            Fate { dropped, ..Fate::default() }
        };
        let body = store::escape(&webhook.body.to_string(), escaped);
        let event_id = event_id(scenario.seed, planned.index, n);
        let due = at + rng.i64(2..40) + fate.delay_ms;
        let state = if fate.dropped { "dropped" } else { "pending" };
        let insert = |event_id: &str, copy: i64, due: i64, state: &str| -> Result<(), StoreError> {
            let mut statement = tx.prepare_cached(
                "INSERT INTO outbox (event_id, action, application, step, copy, body, happened_at, due_at, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            let step = i64::try_from(planned.index).unwrap_or(0);
            statement.execute(params![
                event_id,
                webhook.action,
                application,
                step,
                copy,
                body.as_bytes(),
                at,
                due,
                state
            ])?;
            Ok(())
        };
        insert(&event_id, 0, due, state)?;
        if !fate.dropped {
            for copy in 1..=i64::from(fate.copies) {
                // Whether a repeated delivery keeps its id is not documented: both happen.
                let id = if rng.bool() {
                    event_id.clone()
                } else {
                    uuid_like(scenario.seed, &format!("copy/{}/{copy}", planned.index))
                };
                insert(&id, copy, due + rng.i64(0..900), state)?;
            }
        }
        if n == 0 {
            for change in &mut effects.truth {
                change.webhook = Some(event_id.clone());
            }
            // A converted prospect's own change has no webhook: only its row tells.
            if let (Step::Convert { .. }, Some(first)) = (&planned.step, effects.truth.first_mut()) {
                first.webhook = None;
            }
        }
    }
    Ok(())
}
