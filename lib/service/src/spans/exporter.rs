//! Sends what [`super::record`] keeps, batch by batch.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts};

use super::settings::{Endpoint, Settings};
use super::{OUTLET, Outlet, grpc, protobuf};
use crate::{Metrics, Shutdown};

/// Spans of one request: no collector refuses so few for their size.
const REQUEST: usize = 2_048;
/// What waits is sent after this long, and earlier where much waits.
const EVERY: Duration = Duration::from_secs(1);
/// No attempt for so long after one that failed.
const AWAY: Duration = Duration::from_secs(2);
/// For the collector's answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How batches go.
enum Way {
    Http(reqwest::Client),
    Grpc(grpc::Collector),
}

/// Sends what is recorded.
pub struct Exporter {
    outlet: Arc<Outlet>,
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
    #[error("TLS to the collector of traces cannot be set up")]
    Tls(#[from] native_tls::Error),
    #[error("the file of traces.tls.ca_file cannot be read")]
    Authorities(#[source] std::io::Error),
    #[error("traces were started before in this process")]
    Twice,
}

impl Exporter {
    /// From now on [`super::record`] has an effect; [`Exporter::run`] sends.
    ///
    /// # Errors
    /// When it was started before, or TLS cannot be set up.
    pub fn start(settings: &Settings, registry: &Metrics, release: &'static str) -> Result<Self, StartError> {
        let spans = metrics(registry)?;
        let authorities = settings.authorities().map_err(StartError::Authorities)?;
        let (way, endpoint) = match &settings.endpoint {
            Endpoint::Grpc { host, port, tls } => {
                let tls = tls.then(|| grpc::connector(authorities.as_deref())).transpose()?;
                (Way::Grpc(grpc::Collector::new(host, *port, tls)), format!("{host}:{port}"))
            }
            Endpoint::Http(url) => {
                let mut client = reqwest::Client::builder()
                    .timeout(PATIENCE)
                    .redirect(reqwest::redirect::Policy::none())
                    .no_proxy()
                    .user_agent(concat!("hirewire/", env!("CARGO_PKG_VERSION")));
                if let Some(pem) = authorities {
                    client = client.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?);
                }
                (Way::Http(client.build()?), url.clone())
            }
        };
        let outcome = |outcome: &str| spans.with_label_values(&[outcome]);
        let outlet = Arc::new(Outlet::new(settings.one_in, outcome("dropped")));
        OUTLET.set(Arc::clone(&outlet)).map_err(|_| StartError::Twice)?;
        Ok(Self { outlet, way, endpoint, release, sent: outcome("sent"), failed: outcome("failed"), away: false })
    }

    /// Sends until the stop, then what is left.
    pub async fn run(mut self, stop: Shutdown) {
        while !stop.is_requested() {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.outlet.much_waits() => {}
                () = stop.requested() => {}
            }
            self.send().await;
            if self.away {
                tokio::select! {
                    () = tokio::time::sleep(AWAY) => {}
                    () = stop.requested() => {}
                }
            }
        }
        self.send().await;
    }

    /// What waits, until the collector takes no more.
    async fn send(&mut self) {
        // One request is enough to ask whether the collector is back: the queue stays full meanwhile, and nobody makes spans in vain.
        let waiting = self.outlet.take(if self.away { REQUEST } else { usize::MAX });
        for (at, request) in waiting.chunks(REQUEST).enumerate() {
            match self.attempt(protobuf::encode(request, self.release)).await {
                Ok(()) => {
                    self.sent.inc_by(request.len() as u64);
                    if std::mem::replace(&mut self.away, false) {
                        tracing::info!("the collector takes traces again");
                    }
                }
                Err(problem) => {
                    self.failed.inc_by((waiting.len() - at * REQUEST) as u64);
                    if !std::mem::replace(&mut self.away, true) {
                        tracing::warn!(
                            code = "traces-not-sent",
                            endpoint = self.endpoint,
                            "the collector takes no traces, which are lost; nothing else waits for it: {problem}"
                        );
                    }
                    return;
                }
            }
        }
    }

    async fn attempt(&mut self, message: Vec<u8>) -> Result<(), String> {
        match &mut self.way {
            Way::Http(client) => {
                let request =
                    client.post(&self.endpoint).header("content-type", "application/x-protobuf").body(message);
                match request.send().await {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    Ok(answer) => Err(format!("it answers {}", answer.status().as_u16())),
                    Err(error) => Err(error.without_url().to_string()),
                }
            }
            Way::Grpc(collector) => {
                let sent = tokio::time::timeout(PATIENCE, collector.export(&message)).await;
                sent.unwrap_or_else(|_| Err(format!("it does not answer within {} s", PATIENCE.as_secs())))
            }
        }
    }
}
