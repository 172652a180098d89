//! Spans of what services do, sent to an OpenTelemetry collector by OTLP over HTTP, in JSON.
//!
//! Spans in from anywhere in the process by [`record`], batches out by a task of its own. Off until [`Exporter::start`];
//! then never in the way: a queue with a bound, and what does not fit, or what the collector does not take, is counted and
//! forgotten. A span holds ids, names of the deployment and words of closed lists; nothing of a record.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp> and its JSON mapping of `trace.proto`.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hirewire_yaml::{Node, Problems};
use prometheus::{IntCounter, IntCounterVec, Opts};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{Metrics, Shutdown, TraceParent};

/// Spans that wait to be sent.
const QUEUE: usize = 8_192;
const BATCH: usize = 512;
/// A batch that is not full goes after this long.
const EVERY: Duration = Duration::from_secs(1);
/// For the collector's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a span is to the one before it (`SpanKind` of OTLP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
    /// A word of a closed list, when it failed.
    pub failed: Option<&'static str>,
}

/// The checked `traces:` of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The whole address: `http://collector:4318/v1/traces`.
    endpoint: String,
    /// Of this many traces one is sent, the same in every service.
    one_in: u64,
}

impl Settings {
    /// Reads `{endpoint: URL, one_in: 10}`.
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let endpoint = map.require("endpoint", problems).and_then(|node| {
            let text = node.text(problems)?;
            let url = reqwest::Url::parse(text).ok();
            let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.port() != Some(0));
            match url.filter(|url| url.username().is_empty() && url.password().is_none()) {
                Some(mut url) => {
                    if url.path() == "/" {
                        url.set_path("/v1/traces");
                    }
                    Some(url.to_string())
                }
                // Not repeated: it may hold a password.
                None => {
                    problems.add(node, "this is no address of a collector", "for example http://127.0.0.1:4318");
                    None
                }
            }
        });
        let one_in = map.get("one_in").map_or(Some(1), |node| node.whole(1, problems));
        map.finish(problems);
        Some(Self { endpoint: endpoint?, one_in: one_in? })
    }
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

/// Sends what is recorded.
pub struct Exporter {
    queue: Receiver<Span>,
    client: reqwest::Client,
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
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("hirewire/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let (queue, waiting) = channel(QUEUE);
        let outcome = |outcome: &str| spans.with_label_values(&[outcome]);
        let outlet = Outlet { queue, one_in: settings.one_in, dropped: outcome("dropped") };
        OUTLET.set(outlet).map_err(|_| StartError::Twice)?;
        Ok(Self {
            queue: waiting,
            client,
            endpoint: settings.endpoint.clone(),
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
        }
    }

    async fn send(&mut self, batch: &[Span]) {
        if batch.is_empty() {
            return;
        }
        let body = encode(batch, self.release).to_string();
        let request = self.client.post(&self.endpoint).header("content-type", "application/json").body(body);
        let problem = match request.send().await {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status().as_u16())),
            Err(error) => Some(error.without_url().to_string()),
        };
        let count = batch.len() as u64;
        match problem {
            None => {
                self.sent.inc_by(count);
                if std::mem::replace(&mut self.away, false) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Some(problem) => {
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
}

/// An `ExportTraceServiceRequest` in OTLP's JSON.
fn encode(batch: &[Span], release: &str) -> Value {
    let mut services: Vec<&str> = batch.iter().map(|span| span.service).collect();
    services.sort_unstable();
    services.dedup();
    let of_service = |service: &str| {
        let spans: Vec<Value> = batch.iter().filter(|span| span.service == service).map(encode_span).collect();
        json!({
            "resource": {"attributes": [
                attribute("service.namespace", "hirewire"),
                attribute("service.name", &format!("hirewire-{service}")),
                attribute("service.version", release),
            ]},
            "scopeSpans": [{"scope": {"name": "hirewire", "version": release}, "spans": spans}],
        })
    };
    json!({"resourceSpans": services.into_iter().map(of_service).collect::<Vec<_>>()})
}

fn encode_span(span: &Span) -> Value {
    let nanos = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let attributes: Vec<Value> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    let mut encoded = json!({
        "traceId": span.own.trace_id(),
        "spanId": span.own.span_id(),
        "flags": 1,
        "name": span.name,
        "kind": span.kind as i32,
        "startTimeUnixNano": nanos(span.began),
        "endTimeUnixNano": nanos(span.ended.max(span.began)),
        "attributes": attributes,
        "status": {},
    });
    if let (Some(parent), Some(object)) = (&span.parent, encoded.as_object_mut()) {
        object.insert("parentSpanId".to_owned(), parent.span_id().into());
    }
    if let (Some(failed), Some(object)) = (span.failed, encoded.as_object_mut()) {
        object.insert("status".to_owned(), json!({"code": 2, "message": failed}));
    }
    encoded
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let mut problems = Problems::new();
        let settings = Settings::read(&hirewire_yaml::parse("s.yaml", text).unwrap(), &mut problems);
        problems.into_result(settings).map_err(|problems| problems.to_string())
    }

    #[test]
    fn an_address_without_a_path_is_that_of_a_collector_and_a_password_is_not_repeated() {
        assert_eq!(read("{endpoint: 'http://c:4318'}").unwrap().endpoint, "http://c:4318/v1/traces");
        assert_eq!(read("{endpoint: 'http://c:4318/otel/v1/traces', one_in: 10}").unwrap().one_in, 10);
        assert!(!read("{endpoint: 'http://u:hunter2@c:4318'}").unwrap_err().contains("hunter2"));
        for wrong in
            ["{endpoint: 'c:4318'}", "{endpoint: 'http://c:0'}", "{endpoint: 'http://c', one_in: 0}", "{one_in: 1}"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    fn span(own: TraceParent, parent: Option<TraceParent>) -> Span {
        let began = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
        Span {
            service: "ingest",
            name: "webhook",
            kind: Kind::Server,
            own,
            parent,
            began,
            ended: began + Duration::from_millis(2),
            attributes: vec![("hirewire.connection", "acme".to_owned())],
            failed: Some("not_kept"),
        }
    }

    #[test]
    fn a_span_is_encoded_as_the_specification_writes_it() {
        let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let own = parent.child();
        let body = encode(&[span(own, Some(parent))], "1.2.3");
        let resource = &body["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][1]["value"]["stringValue"], "hirewire-ingest");
        let span = &resource["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
        assert_eq!(span["spanId"], own.span_id());
        assert_eq!(span["kind"], 2);
        // 64-bit numbers are texts in protobuf's JSON.
        assert_eq!(span["startTimeUnixNano"], "1700000000000000001");
        assert_eq!(span["endTimeUnixNano"], "1700000000002000001");
        assert_eq!(span["status"], serde_json::json!({"code": 2, "message": "not_kept"}));
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_counted_and_nobody_waits() {
        let (queue, mut waiting) = channel(2);
        let outlet = Outlet { queue, one_in: 1, dropped: IntCounter::new("d", "d").unwrap() };
        for _ in 0..5 {
            outlet.hand_over(span(TraceParent::new_root(), None));
        }
        assert_eq!(outlet.dropped.get(), 3);
        assert!(waiting.try_recv().is_ok());
    }

    #[test]
    fn of_traces_the_same_are_chosen_everywhere_and_who_said_no_is_obeyed() {
        let (queue, mut waiting) = channel(4);
        let outlet = Outlet { queue, one_in: 4, dropped: IntCounter::new("d", "d").unwrap() };
        let taken = (0..4_000).map(|_| TraceParent::new_root()).filter(|trace| outlet.takes(trace)).count();
        assert!((700..1_300).contains(&taken), "{taken} of 4000");
        let trace = std::iter::repeat_with(TraceParent::new_root).find(|trace| outlet.takes(trace)).unwrap();
        assert!(outlet.takes(&trace.child().child()), "the whole trace or nothing of it");
        let unsampled = TraceParent::parse(&trace.to_string().replace("-01", "-00")).unwrap();
        assert!(!outlet.takes(&unsampled));
        assert!(waiting.try_recv().is_err());
    }
}
