//! Spans of what services do, sent to an OpenTelemetry collector by OTLP: protobuf over HTTP, or over gRPC.
//!
//! Spans in from anywhere in the process by [`record`], batches out by a task of its own. Off until [`Exporter::start`];
//! then never in the way: a queue with a bound, and what does not fit, or what the collector does not take, is counted and
//! forgotten. A span holds ids, names of the deployment and words of closed lists; nothing of a record.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

mod exporter;
mod grpc;
mod protobuf;
mod settings;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use prometheus::IntCounter;
use tokio::sync::Notify;

pub use exporter::{Exporter, StartError, metrics};
pub use settings::Settings;

use crate::TraceParent;

/// Spans that wait to be sent.
const QUEUE: usize = 8_192;
/// So many that wait are sent at once: few enough that the queue has room meanwhile.
const MUCH: usize = QUEUE / 4;
/// Most links of one span: what OpenTelemetry's own libraries keep.
const LINKS: usize = 128;

/// What a span is to the one before it (`SpanKind` of OTLP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step of ours between.
    Internal = 1,
    /// Somebody's request is answered.
    Server = 2,
    /// A request of ours.
    Client = 3,
    /// Something is put where others find it.
    Producer = 4,
    /// Something that was put there is processed.
    Consumer = 5,
}

/// One step of one trace, done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which service did it.
    pub service: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// Its own ids, as those who come after it are told.
    pub own: TraceParent,
    /// Who told us; `None`: the trace begins here.
    pub parent: Option<TraceParent>,
    pub began: SystemTime,
    pub ended: SystemTime,
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans of other traces that this one does the work of, when it does that of many at once.
    pub links: Vec<TraceParent>,
    /// A word of a closed list, when it failed.
    pub failed: Option<&'static str>,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Word(&'static str),
    Name(Arc<str>),
    Text(String),
    Number(i64),
}

struct Outlet {
    one_in: u64,
    /// A lock that is held for a push or a swap: cheaper than waking the exporter for each span.
    queue: Mutex<Vec<Span>>,
    much: Notify,
    /// No room is left: nobody need make a span.
    full: AtomicBool,
    dropped: IntCounter,
}

static OUTLET: OnceLock<Arc<Outlet>> = OnceLock::new();

/// Whether spans of this trace are wanted: whoever asks saves the work of making them.
#[must_use]
pub fn wanted(trace: &TraceParent) -> bool {
    OUTLET.get().is_some_and(|outlet| outlet.takes(trace) && outlet.has_room())
}

/// Of the traces that one step does the work of at once those whose spans are wanted; of fewer than two none: such a step needs no
/// span of its own.
#[must_use]
pub fn links(of: impl Iterator<Item = TraceParent>) -> Vec<TraceParent> {
    let Some(outlet) = OUTLET.get() else { return Vec::new() };
    let links: Vec<TraceParent> = of.filter(|trace| outlet.takes(trace)).take(LINKS).collect();
    if links.len() < 2 { Vec::new() } else { links }
}

/// Hands a span over; never waits.
pub fn record(span: Span) {
    record_all([span]);
}

/// Hands spans over, all at once; never waits.
pub fn record_all(spans: impl IntoIterator<Item = Span>) {
    if let Some(outlet) = OUTLET.get() {
        outlet.hand_over(spans);
    }
}

impl Outlet {
    fn new(one_in: u64, dropped: IntCounter) -> Self {
        Self { one_in, queue: Mutex::default(), much: Notify::new(), full: AtomicBool::new(false), dropped }
    }

    /// A span that is not made for want of room is counted as one that was dropped.
    fn has_room(&self) -> bool {
        let full = self.full.load(Ordering::Relaxed);
        if full {
            self.dropped.inc();
        }
        !full
    }

    fn takes(&self, trace: &TraceParent) -> bool {
        trace.is_sampled() && trace.low_bits().is_multiple_of(self.one_in)
    }

    fn hand_over(&self, spans: impl IntoIterator<Item = Span>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let before = queue.len();
        for span in spans.into_iter().filter(|span| self.takes(&span.own)) {
            if queue.len() < QUEUE {
                queue.push(span);
            } else {
                self.dropped.inc();
            }
        }
        self.full.store(queue.len() >= QUEUE, Ordering::Relaxed);
        if before < MUCH && queue.len() >= MUCH {
            self.much.notify_one();
        }
    }

    /// The oldest that wait, so many at most.
    fn take(&self, most: usize) -> Vec<Span> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.full.store(false, Ordering::Relaxed);
        let most = most.min(queue.len());
        let later = queue.split_off(most);
        std::mem::replace(&mut *queue, later)
    }

    async fn much_waits(&self) {
        self.much.notified().await;
    }
}

#[cfg(test)]
mod tests;
