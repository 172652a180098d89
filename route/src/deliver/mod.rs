//! Brings one delivery to its end: attempts, back-off, hold, verdict.
//!
//! In: a [`Delivery`]. Out: an [`End`]. After a 2xx there is no further attempt; a partition that is taken away ends
//! the waiting, never an attempt that is under way (unless the drain limit passed). Nothing becomes a dead letter
//! beyond the sink's flood limit. A [`Place`] comes before the work on a record, so that what waits for one costs no more
//! than its bytes.

pub(crate) mod backoff;
pub(crate) mod gate;
pub(crate) mod limits;
pub(crate) mod outcome;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hirewire_service::TraceParent;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::engine::Lease;
use crate::event::Event;
use crate::metrics::{Counted, SinkMetrics};
use crate::request::Request;
use crate::row::Row;
use backoff::Retry;
use gate::{Gate, Pass, Probes};
use limits::{Breaker, Flood, FloodLimit, Pace, RateLimit};
use outcome::{Attempt, Code, HoldReason, Verdict, judge};

/// What goes to a sink for one event and one route.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The same for every attempt, before and after a crash: UUIDv5 over route and event.
    pub(crate) idempotency_key: uuid::Uuid,
    /// Of the record that it is made of.
    pub(crate) key: Option<Bytes>,
    /// Of this delivery, all its attempts; the receiver is told it.
    pub(crate) trace: TraceParent,
    pub(crate) content: Content,
    pub(crate) on_refusal: OnRefusal,
}

/// What follows when a record cannot be delivered. The route's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRefusal {
    /// It is a dead letter, and the later ones of its key go on.
    Skip,
    /// It is tried again from time to time until it is taken, and the later ones of its key wait.
    Hold,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Request(Box<Request>),
    Row(Row),
    Copy(Copied),
}

/// A canonical record as it is.
#[derive(Debug, Clone)]
pub(crate) struct Copied {
    pub(crate) event: Arc<Event>,
    /// Avro, with the registry's id in front.
    pub(crate) framed: Bytes,
}

/// Makes one attempt. One implementation per sink kind, and the tests' own.
pub(crate) trait Transport: Send + Sync + 'static {
    fn attempt(&self, delivery: &Delivery) -> impl Future<Output = Attempt> + Send;

    /// Whether a delivery becomes real only with the commit of its record's offset: an attempt has just looked at it.
    fn stages(&self) -> bool {
        false
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Delivered {
        /// The id that the sink has told.
        created: Option<String>,
    },
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

/// How much of what a sink may be asked.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) retry: Retry,
    /// Attempts under way at the same time.
    pub(crate) concurrency: usize,
    /// `None`: as fast as it answers.
    pub(crate) rate: Option<RateLimit>,
    /// Deliveries that fail in a row until the circuit breaker opens.
    pub(crate) breaker: usize,
    pub(crate) probes: Probes,
    pub(crate) dead_letters: FloodLimit,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retry: Retry::default(),
            concurrency: 1_024,
            rate: None,
            breaker: 50,
            probes: Probes { held: Duration::from_secs(30), breaker: Duration::from_secs(5) },
            dead_letters: FloodLimit { most: 1_000, within: Duration::from_secs(10 * 60) },
        }
    }
}

/// One of as many as attempts may be under way. A record is decoded when it has one, and gives it back after each attempt
/// and whenever it waits for long.
pub(crate) struct Place<'a>(#[allow(dead_code, reason = "held for its drop")] SemaphorePermit<'a>);

/// One sink's way of delivering, shared by all its deliveries.
pub(crate) struct Deliverer<S> {
    pub(crate) sink: S,
    pub(crate) name: Arc<str>,
    pub(crate) gate: Gate,
    pub(crate) metrics: SinkMetrics,
    limits: Limits,
    places: Semaphore,
    /// Attempts begin one after the other: who has waited longest for the rate or at a closed gate is the next, and
    /// the next probe.
    turn: tokio::sync::Mutex<()>,
    pace: Pace,
    breaker: Breaker,
    flood: Flood,
    /// Another one has taken its place: what its last attempts say is told by that one.
    retired: AtomicBool,
}

impl<S: Transport> Deliverer<S> {
    pub(crate) fn new(sink: S, name: Arc<str>, limits: Limits, metrics: SinkMetrics) -> Self {
        Self {
            sink,
            name,
            gate: Gate::new(),
            metrics,
            places: Semaphore::new(limits.concurrency),
            turn: tokio::sync::Mutex::default(),
            pace: Pace::new(limits.rate),
            breaker: Breaker::new(limits.breaker),
            flood: Flood::new(limits.dead_letters),
            retired: AtomicBool::new(false),
            limits,
        }
    }

    /// Another one takes its place, whose gate is open.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.metrics.breaker(false);
        self.metrics.held(false);
    }

    /// The place that is held, else the next that is free; `None` when the partition was taken away before.
    pub(crate) async fn place<'a>(&'a self, held: Option<Place<'a>>, lease: &Lease) -> Option<Place<'a>> {
        if held.is_some() {
            return held;
        }
        // Usually there is one, and nothing is in the way: then nobody has to be told of a change.
        if lease.is_running()
            && let Ok(permit) = self.places.try_acquire()
        {
            return Some(Place(permit));
        }
        tokio::select! {
            biased;
            () = self.no_more(lease) => None,
            permit = self.places.acquire() => permit.ok().map(Place),
        }
    }

    /// `place`: for the first attempt, of a record that has one.
    pub(crate) async fn deliver(&self, delivery: &Delivery, mut place: Option<Place<'_>>, lease: &Lease) -> End {
        let started = Instant::now();
        let (mut attempts, mut failures): (u32, u32) = (0, 0);
        let mut first_failure: Option<(Instant, jiff::Timestamp)> = None;
        let mut key_held = None;
        loop {
            let Some(place) = self.place(place.take(), lease).await else { return End::Abandoned };
            let Some((pass, attempt)) = self.attempt(delivery, place, lease).await else { return End::Abandoned };
            attempts += 1;
            self.metrics.attempt(attempt.label());
            let verdict = judge(&attempt);
            self.tell_gate(delivery, pass, verdict, &attempt);
            let dead = match verdict {
                Verdict::Delivered => {
                    self.metrics.delivered(started.elapsed());
                    return End::Delivered { created: attempt.created().map(str::to_owned) };
                }
                // A hold is the sink's failure, not the record's: it does not age the record.
                Verdict::Hold(_) => {
                    (failures, first_failure) = (0, None);
                    continue;
                }
                Verdict::DeadLetter(code) => code,
                Verdict::Retry { after } => {
                    failures += 1;
                    let (since, _) = *first_failure.get_or_insert_with(now);
                    if !self.limits.retry.is_over(failures, since.elapsed()) {
                        let wait = self.limits.retry.wait(failures, after, fastrand::f64());
                        if !wait_or_leave(wait, lease).await {
                            return End::Abandoned;
                        }
                        continue;
                    }
                    Code::RetriesExhausted
                }
            };
            let (_, first_failed_at) = *first_failure.get_or_insert_with(now);
            match delivery.on_refusal {
                OnRefusal::Skip if self.admits(&attempt) => {
                    return End::Dead(Failure { code: dead, attempts, first_failed_at, what: attempt.to_string() });
                }
                // Too many of them: it waits at the gate with all others, as if it had not been tried.
                OnRefusal::Skip => {}
                OnRefusal::Hold => {
                    key_held.get_or_insert_with(|| self.hold_key(dead, delivery, &attempt));
                    if !wait_or_leave(self.limits.probes.held, lease).await {
                        return End::Abandoned;
                    }
                }
            }
        }
    }

    /// `None` when the partition was taken away before or during it.
    async fn attempt(&self, delivery: &Delivery, place: Place<'_>, lease: &Lease) -> Option<(Pass, Attempt)> {
        // The gate is last, so that no record passes an open gate and then waits behind a closed one.
        let pass = match self.begin_at_once(lease) {
            Some(pass) => pass,
            None => tokio::select! {
                biased;
                () = self.no_more(lease) => return None,
                pass = self.begin() => pass,
            },
        };
        if !lease.begin() {
            return None;
        }
        let attempt = tokio::select! {
            biased;
            attempt = self.sink.attempt(delivery) => attempt,
            () = lease.lost() => return None,
        };
        drop(place);
        Some((pass, attempt))
    }

    /// Returns when no further attempt may begin; at a closed gate nothing is waited for either.
    async fn no_more(&self, lease: &Lease) {
        lease.leaving().await;
        if self.gate.held().is_none() {
            lease.draining().await;
        }
    }

    /// As [`Self::begin`], when nothing has to be waited for.
    fn begin_at_once(&self, lease: &Lease) -> Option<Pass> {
        let _turn = self.turn.try_lock().ok()?;
        let now = Instant::now();
        let free = lease.is_running() && self.gate.is_open() && self.pace.wait(now).is_zero();
        free.then(|| {
            self.pace.begin(now);
            Pass::Normal
        })
    }

    /// Waits for its turn, for the rate and for the gate.
    async fn begin(&self) -> Pass {
        let turn = self.turn.lock().await;
        let wait = self.pace.wait(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let pass = self.gate.pass().await;
        self.pace.begin(Instant::now());
        drop(turn);
        pass
    }

    fn tell_gate(&self, delivery: &Delivery, pass: Pass, verdict: Verdict, attempt: &Attempt) {
        match verdict {
            Verdict::Hold(reason) => self.hold(reason, attempt),
            Verdict::Delivered => {
                self.breaker.answered();
                if pass == Pass::Probe && self.gate.open() {
                    self.opened("a probe got through");
                }
            }
            // An answer about the record itself shows that the sink lets us in again, but not that the flood is over.
            Verdict::DeadLetter(_) => {
                self.breaker.answered();
                if pass == Pass::Probe && self.gate.held() != Some(HoldReason::Flood) && self.gate.open() {
                    self.opened("a probe was answered");
                }
            }
            Verdict::Retry { .. } => {
                if self.breaker.failed(delivery.idempotency_key) {
                    self.hold(HoldReason::Failing, attempt);
                }
            }
        }
    }

    fn hold(&self, reason: HoldReason, last: &dyn fmt::Display) {
        if !self.gate.hold(reason) || self.retired.load(Ordering::Acquire) {
            return;
        }
        if reason.is_breaker() {
            self.metrics.breaker(true);
            tracing::warn!(
                sink = %self.name, code = reason.code(), %last, remedy = reason.remedy(),
                "the sink's circuit breaker is open: one delivery at a time is tried"
            );
        } else {
            self.metrics.breaker(false);
            self.metrics.held(true);
            tracing::error!(
                sink = %self.name, code = reason.code(), %last, remedy = reason.remedy(),
                "the sink is held: nothing is sent to it and nothing is lost"
            );
        }
    }

    /// Frees probes and opens the gate when `fingerprint`, of the sink's secrets, changes. Never ends.
    pub(crate) async fn keep_gate(&self, fingerprint: impl Fn() -> u64) {
        self.gate.keep(self.limits.probes, fingerprint, || self.opened("its secret changed")).await;
    }

    /// Tells that the gate opened.
    fn opened(&self, why: &str) {
        self.breaker.answered();
        self.metrics.breaker(false);
        self.metrics.held(false);
        tracing::info!(sink = %self.name, why, "the sink is open again");
    }

    /// The key's record waits at the head of its lane; counted until it is dropped.
    fn hold_key(&self, code: Code, delivery: &Delivery, last: &Attempt) -> Counted {
        tracing::error!(
            sink = %self.name, code = code.name(), %last, trace = delivery.trace.trace_id(), remedy = code.remedy(),
            "a record cannot be delivered, and its route holds its key: the key's later records wait"
        );
        self.metrics.key_held()
    }

    /// Whether one more dead letter may be put; if not, the sink is held.
    fn admits(&self, last: &dyn fmt::Display) -> bool {
        let admitted = self.flood.admit(Instant::now());
        if !admitted {
            self.hold(HoldReason::Flood, last);
        }
        admitted
    }

    /// Waits until a dead letter may be put that no attempt has led to; it may also be let through as a probe. False
    /// when the partition is being taken away.
    pub(crate) async fn admit(&self, last: &str, lease: &Lease) -> bool {
        while !self.admits(&last) {
            let pass = tokio::select! {
                biased;
                () = lease.leaving() => return false,
                pass = self.gate.pass() => pass,
            };
            if pass == Pass::Probe {
                return true;
            }
        }
        true
    }
}

fn now() -> (Instant, jiff::Timestamp) {
    (Instant::now(), jiff::Timestamp::now())
}

/// As [`wait_or_leave`], for what another handler of the record must not do again.
pub(crate) async fn wait_while_ours(wait: Duration, lease: &Lease) -> bool {
    tokio::select! {
        biased;
        () = lease.revoked() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

/// False when the partition is being taken away.
pub(crate) async fn wait_or_leave(wait: Duration, lease: &Lease) -> bool {
    tokio::select! {
        biased;
        () = lease.leaving() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

/// As [`wait_or_leave`], for a moment: false when nothing more of the record may be begun.
pub(crate) async fn wait_or_drain(wait: Duration, lease: &Lease) -> bool {
    tokio::select! {
        biased;
        () = lease.draining() => false,
        () = tokio::time::sleep(wait) => true,
    }
}
