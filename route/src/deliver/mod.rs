//! Brings one delivery to its end: attempts, back-off, hold, verdict.
//!
//! In: a [`Delivery`]. Out: an [`End`]. After a 2xx there is no further attempt; a partition that is taken away ends
//! the waiting, never an attempt that is under way (unless the drain limit passed).

pub(crate) mod backoff;
pub(crate) mod gate;
pub(crate) mod outcome;

use std::sync::Arc;
use std::time::Duration;

use hirewire_service::TraceParent;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::engine::Lease;
use crate::metrics::SinkMetrics;
use crate::request::Request;
use crate::row::Row;
use backoff::Retry;
use gate::{Gate, Pass};
use outcome::{Attempt, Code, HoldReason, Verdict, judge};

/// What goes to a sink for one event and one route.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The same for every attempt, before and after a crash: UUIDv5 over route and event.
    pub(crate) idempotency_key: uuid::Uuid,
    pub(crate) trace: TraceParent,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Request(Request),
    Row(Row),
}

/// Makes one attempt. One implementation per sink kind, and the tests' own.
pub(crate) trait Transport: Send + Sync + 'static {
    fn attempt(&self, delivery: &Delivery) -> impl Future<Output = Attempt> + Send;
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Dead(Failure),
    /// The partition was taken away.
    Abandoned,
}

/// What a dead letter tells of the attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) attempts: u32,
    pub(crate) first_failed_at: jiff::Timestamp,
    /// What the last attempt came to. Never what the receiver wrote.
    pub(crate) what: String,
}

/// One sink's way of delivering, shared by all its deliveries.
pub(crate) struct Deliverer<S> {
    pub(crate) sink: S,
    pub(crate) name: Arc<str>,
    pub(crate) gate: Gate,
    pub(crate) retry: Retry,
    /// Attempts under way at the same time.
    pub(crate) attempts: Semaphore,
    pub(crate) metrics: SinkMetrics,
}

impl<S: Transport> Deliverer<S> {
    pub(crate) async fn deliver(&self, delivery: &Delivery, lease: &Lease) -> End {
        let started = Instant::now();
        let (mut attempts, mut failures): (u32, u32) = (0, 0);
        let mut first_failure: Option<(Instant, jiff::Timestamp)> = None;
        loop {
            let Some((pass, attempt)) = self.attempt(delivery, lease).await else { return End::Abandoned };
            attempts += 1;
            self.metrics.attempt(attempt.label());
            let verdict = judge(&attempt);
            self.tell_gate(pass, verdict, &attempt);
            let failed = |code, first_failed_at| {
                End::Dead(Failure { code, attempts, first_failed_at, what: attempt.to_string() })
            };
            match verdict {
                Verdict::Delivered => {
                    self.metrics.delivered(started.elapsed());
                    return End::Delivered;
                }
                Verdict::DeadLetter(code) => {
                    let at = first_failure.map_or_else(jiff::Timestamp::now, |(_, at)| at);
                    return failed(code, at);
                }
                // A hold is the sink's failure, not the record's: it does not age the record.
                Verdict::Hold(_) => (failures, first_failure) = (0, None),
                Verdict::Retry { after } => {
                    let (since, at) = *first_failure.get_or_insert_with(|| (Instant::now(), jiff::Timestamp::now()));
                    if since.elapsed() >= self.retry.give_up_after {
                        return failed(Code::RetriesExhausted, at);
                    }
                    failures += 1;
                    let wait = self.retry.wait(failures, after, fastrand::f64());
                    if !wait_or_drain(wait, lease).await {
                        return End::Abandoned;
                    }
                }
            }
        }
    }

    /// `None` when the partition was taken away before or during it.
    async fn attempt(&self, delivery: &Delivery, lease: &Lease) -> Option<(Pass, Attempt)> {
        let permit = tokio::select! {
            biased;
            () = lease.draining() => return None,
            permit = self.attempts.acquire() => permit.ok()?,
        };
        // The permit is taken first, so that a record never passes an open gate and then waits behind a closed one.
        let pass = tokio::select! {
            biased;
            () = lease.draining() => return None,
            pass = self.gate.pass() => pass,
        };
        let attempt = tokio::select! {
            biased;
            attempt = self.sink.attempt(delivery) => attempt,
            () = lease.lost() => return None,
        };
        drop(permit);
        Some((pass, attempt))
    }

    fn tell_gate(&self, pass: Pass, verdict: Verdict, attempt: &Attempt) {
        match verdict {
            Verdict::Hold(reason) => self.hold(reason, attempt),
            // An answer about the record itself shows that the sink lets us in again.
            Verdict::Delivered | Verdict::DeadLetter(_) => {
                if pass == Pass::Probe && self.gate.open() {
                    self.opened("a probe got through");
                }
            }
            Verdict::Retry { .. } => {}
        }
    }

    fn hold(&self, reason: HoldReason, attempt: &Attempt) {
        if self.gate.hold(reason) {
            self.metrics.held(true);
            tracing::error!(
                sink = %self.name, code = reason.code(), last = %attempt, remedy = reason.remedy(),
                "the sink is held: nothing is sent to it and nothing is lost"
            );
        }
    }

    /// Tells that the gate opened.
    pub(crate) fn opened(&self, why: &str) {
        self.metrics.held(false);
        tracing::info!(sink = %self.name, why, "the sink is open again");
    }
}

/// False when the partition is being taken away.
pub(crate) async fn wait_or_drain(wait: Duration, lease: &Lease) -> bool {
    tokio::select! {
        biased;
        () = lease.draining() => false,
        () = tokio::time::sleep(wait) => true,
    }
}
