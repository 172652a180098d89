//! Spans of what services do, sent to an OpenTelemetry collector by OTLP: over HTTP in JSON, or over gRPC.
//!
//! Spans in from anywhere in the process by [`record`], batches out by a task of its own. Off until [`Exporter::start`];
//! then never in the way: a queue with a bound, and what does not fit, or what the collector does not take, is counted and
//! forgotten. A span holds ids, names of the deployment and words of closed lists; nothing of a record.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

mod grpc;
mod json;
mod protobuf;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hirewire_yaml::{Node, Problems};
use prometheus::{IntCounter, IntCounterVec, Opts};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{Metrics, Shutdown, TraceParent};

/// Spans that wait to be sent.
const QUEUE: usize = 8_192;
const BATCH: usize = 512;
/// Most links of one span: what OpenTelemetry's own libraries keep.
const LINKS: usize = 128;
/// A batch that is not full goes after this long.
const EVERY: Duration = Duration::from_secs(1);
/// No attempt for so long after one that failed.
const AWAY: Duration = Duration::from_secs(2);
/// For the collector's answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
    pub attributes: Vec<(&'static str, String)>,
    /// Spans of other traces that this one does the work of, when it does that of many at once.
    pub links: Vec<TraceParent>,
    /// A word of a closed list, when it failed.
    pub failed: Option<&'static str>,
}

/// The checked `traces:` of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    endpoint: Endpoint,
    /// Of this many traces one is sent, the same in every service.
    one_in: u64,
}

/// Where the collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Endpoint {
    /// The whole address: `http://collector:4318/v1/traces`.
    Http(String),
    /// `collector:4317`
    Grpc(String),
}

impl Settings {
    /// Reads `{endpoint: URL, protocol: grpc, one_in: 10}`.
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let grpc =
            map.get("protocol").map_or(Some(false), |node| node.choice(&[("http", false), ("grpc", true)], problems));
        let endpoint = map.require("endpoint", problems).and_then(|node| read_endpoint(node, grpc?, problems));
        let one_in = map.get("one_in").map_or(Some(1), |node| node.whole(1, problems));
        map.finish(problems);
        Some(Self { endpoint: endpoint?, one_in: one_in? })
    }
}

fn read_endpoint(node: &Node, grpc: bool, problems: &mut Problems) -> Option<Endpoint> {
    let text = node.text(problems)?;
    let url = reqwest::Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.port() != Some(0));
    let Some(mut url) = url.filter(|url| url.username().is_empty() && url.password().is_none()) else {
        // Not repeated: it may hold a password.
        problems.add(node, "this is no address of a collector", "for example http://127.0.0.1:4318");
        return None;
    };
    if !grpc {
        if url.path() == "/" {
            url.set_path("/v1/traces");
        }
        return Some(Endpoint::Http(url.to_string()));
    }
    if url.scheme() != "http" || url.path() != "/" || url.query().is_some() {
        problems.add(
            node,
            "gRPC is spoken without TLS, and has no path",
            "http://HOST:4317; with TLS leave `protocol` out and name the collector's port of HTTP",
        );
        return None;
    }
    Some(Endpoint::Grpc(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)))
}

struct Outlet {
    queue: Sender<Span>,
    one_in: u64,
    dropped: IntCounter,
}

static OUTLET: OnceLock<Outlet> = OnceLock::new();

/// Whether spans of this trace are wanted: whoever asks saves the work of making them.
#[must_use]
pub fn wanted(trace: &TraceParent) -> bool {
    OUTLET.get().is_some_and(|outlet| outlet.takes(trace))
}

/// Of the traces that one step does the work of at once those whose spans are wanted; of fewer than two none: such a step needs no
/// span of its own.
#[must_use]
pub fn links(of: impl Iterator<Item = TraceParent>) -> Vec<TraceParent> {
    let links: Vec<TraceParent> = of.filter(wanted).take(LINKS).collect();
    if links.len() < 2 { Vec::new() } else { links }
}

/// Hands a span over; never waits.
pub fn record(span: Span) {
    if let Some(outlet) = OUTLET.get() {
        outlet.hand_over(span);
    }
}

impl Outlet {
    fn takes(&self, trace: &TraceParent) -> bool {
        trace.is_sampled() && trace.low_bits().is_multiple_of(self.one_in)
    }

    fn hand_over(&self, span: Span) {
        if self.takes(&span.own) && self.queue.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}

/// How batches go.
enum Way {
    Http(reqwest::Client),
    Grpc(grpc::Collector),
}

/// Sends what is recorded.
pub struct Exporter {
    queue: Receiver<Span>,
    way: Way,
    /// As it is told to people.
    endpoint: String,
    release: &'static str,
    sent: IntCounter,
    failed: IntCounter,
    /// Told once, until it works again.
    away: bool,
}

/// Defines the metrics of the exporter.
///
/// # Errors
/// When they are defined already.
pub fn metrics(registry: &Metrics) -> Result<IntCounterVec, prometheus::Error> {
    let opts = Opts::new("hirewire_spans_total", "Spans by what became of them: sent, dropped, failed.");
    let spans = IntCounterVec::new(opts, &["outcome"])?;
    registry.register(Box::new(spans.clone()))?;
    Ok(spans)
}

/// Spans cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the metrics of traces cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error("the HTTP client of traces cannot be set up")]
    Client(#[from] reqwest::Error),
    #[error("traces were started before in this process")]
    Twice,
}

impl Exporter {
    /// From now on [`record`] has an effect; [`Exporter::run`] sends.
    ///
    /// # Errors
    /// When it was started before, or TLS cannot be set up.
    pub fn start(settings: &Settings, registry: &Metrics, release: &'static str) -> Result<Self, StartError> {
        let spans = metrics(registry)?;
        let (way, endpoint) = match &settings.endpoint {
            Endpoint::Grpc(address) => (Way::Grpc(grpc::Collector::new(address)), address.clone()),
            Endpoint::Http(url) => {
                let client = reqwest::Client::builder()
                    .timeout(PATIENCE)
                    .redirect(reqwest::redirect::Policy::none())
                    .no_proxy()
                    .user_agent(concat!("hirewire/", env!("CARGO_PKG_VERSION")))
                    .build()?;
                (Way::Http(client), url.clone())
            }
        };
        let (queue, waiting) = channel(QUEUE);
        let outcome = |outcome: &str| spans.with_label_values(&[outcome]);
        let outlet = Outlet { queue, one_in: settings.one_in, dropped: outcome("dropped") };
        OUTLET.set(outlet).map_err(|_| StartError::Twice)?;
        Ok(Self {
            queue: waiting,
            way,
            endpoint,
            release,
            sent: outcome("sent"),
            failed: outcome("failed"),
            away: false,
        })
    }

    /// Sends until the stop, then what is left.
    pub async fn run(mut self, stop: Shutdown) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = tokio::time::sleep(EVERY);
            tokio::pin!(due);
            while batch.len() < BATCH {
                tokio::select! {
                    () = &mut due => break,
                    () = stop.requested() => break,
                    span = self.queue.recv() => match span {
                        Some(span) => batch.push(span),
                        None => break,
                    },
                }
            }
            if stop.is_requested() {
                while let Ok(span) = self.queue.try_recv() {
                    batch.push(span);
                }
                return self.send(&batch).await;
            }
            self.send(&batch).await;
            batch.clear();
            if self.away {
                // Meanwhile the queue fills, and what it does not take costs nothing.
                tokio::select! {
                    () = tokio::time::sleep(AWAY) => {}
                    () = stop.requested() => {}
                }
            }
        }
    }

    async fn send(&mut self, batch: &[Span]) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        match self.attempt(batch).await {
            Ok(()) => {
                self.sent.inc_by(count);
                if std::mem::replace(&mut self.away, false) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(problem) => {
                self.failed.inc_by(count);
                if !std::mem::replace(&mut self.away, true) {
                    tracing::warn!(
                        code = "traces-not-sent",
                        endpoint = self.endpoint,
                        "the collector takes no traces, which are lost; nothing else waits for it: {problem}"
                    );
                }
            }
        }
    }

    async fn attempt(&mut self, batch: &[Span]) -> Result<(), String> {
        match &mut self.way {
            Way::Http(client) => {
                let body = json::encode(batch, self.release).to_string();
                let request = client.post(&self.endpoint).header("content-type", "application/json").body(body);
                match request.send().await {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    Ok(answer) => Err(format!("it answers {}", answer.status().as_u16())),
                    Err(error) => Err(error.without_url().to_string()),
                }
            }
            Way::Grpc(collector) => {
                let message = protobuf::encode(batch, self.release);
                let sent = tokio::time::timeout(PATIENCE, collector.export(&message)).await;
                sent.unwrap_or_else(|_| Err(format!("it does not answer within {} s", PATIENCE.as_secs())))
            }
        }
    }
}

/// Spans of each service together.
fn by_service(batch: &[Span]) -> BTreeMap<&str, Vec<&Span>> {
    let mut services: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    batch.iter().for_each(|span| services.entry(span.service).or_default().push(span));
    services
}

/// Who sends.
fn resource(service: &str, release: &str) -> [(&'static str, String); 3] {
    [
        ("service.namespace", "hirewire".to_owned()),
        ("service.name", format!("hirewire-{service}")),
        ("service.version", release.to_owned()),
    ]
}

/// Since 1970; enough until 2554.
fn nanos(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
