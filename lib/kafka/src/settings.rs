//! How to reach the brokers: the settings file's form, checked, then turned into librdkafka's.

use std::path::PathBuf;
use std::time::Duration;

use hirewire_service::Secret;
use hirewire_yaml::{Node, Problems};
use rdkafka::ClientConfig;

use crate::Stop;
use crate::guard::{Guard, Judge};

/// A checked `kafka:` section.
#[derive(Debug, Clone)]
pub struct Settings {
    bootstrap_servers: String,
    client_id: String,
    tls: Option<Tls>,
    sasl: Option<Sasl>,
    /// Most bytes that one consumer fetches ahead, in KiB.
    prefetch_kib: u64,
    transaction_timeout: Duration,
    session_timeout: Duration,
    poll_interval: Duration,
    judge: Option<Judge>,
}

#[derive(Debug, Clone, Default)]
struct Tls {
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Sasl {
    mechanism: &'static str,
    username: String,
    password: Secret,
}

impl Settings {
    /// Reads `{bootstrap_servers, client_id?, prefetch_kib?, tls?: {ca_file?, certificate_file?, key_file?},
    /// sasl?: {mechanism: PLAIN|SCRAM-SHA-256|SCRAM-SHA-512, username, password: {file|env}}}`.
    /// The keys `beside` them belong to the caller (`Node::peek`).
    pub fn read(node: &Node, beside: &[&'static str], problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let servers = map.require("bootstrap_servers", problems).and_then(|node| {
            let text = node.text(problems)?;
            let shaped = |one: &str| {
                one.rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
            };
            if text.split(',').all(|one| shaped(one.trim())) {
                return Some(text.to_owned());
            }
            problems.add(node, format!("\"{text}\" is not a list of brokers"), "write HOST:PORT[,HOST:PORT…]");
            None
        });
        let client_id = map.get("client_id").and_then(|node| node.name(problems)).unwrap_or("hirewire").to_owned();
        let prefetch_kib =
            map.get("prefetch_kib").and_then(|node| node.whole(64, problems)).unwrap_or(DEFAULT_PREFETCH_KIB);
        let tls = map.get("tls").and_then(|node| Tls::read(node, problems));
        let sasl = map.get("sasl").and_then(|node| Sasl::read(node, problems));
        beside.iter().for_each(|key| map.skip(key));
        map.finish(problems);
        Some(Self {
            bootstrap_servers: servers?,
            client_id,
            tls,
            sasl,
            prefetch_kib,
            transaction_timeout: TRANSACTION_TIMEOUT,
            session_timeout: SESSION_TIMEOUT,
            poll_interval: POLL_INTERVAL,
            judge: None,
        })
    }

    /// Plain text, no authentication.
    #[must_use]
    pub fn local(bootstrap_servers: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            client_id: "hirewire".to_owned(),
            tls: None,
            sasl: None,
            prefetch_kib: DEFAULT_PREFETCH_KIB,
            transaction_timeout: TRANSACTION_TIMEOUT,
            session_timeout: SESSION_TIMEOUT,
            poll_interval: POLL_INTERVAL,
            judge: None,
        }
    }

    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Whether connections have TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The same brokers, for a [`Producer`](crate::Producer) or an [`Admin`](crate::Admin) whose every connection is
    /// judged before it is made. Other clients made of these settings connect nowhere.
    #[must_use]
    pub fn guarded(&self, judge: Judge) -> Self {
        Self { judge: Some(judge), ..self.clone() }
    }

    pub(crate) fn guard(&self) -> Option<Guard> {
        self.judge.clone().map(Guard::new)
    }

    /// The same brokers under the configured client id and what this client does, `<client_id>-<role>`.
    #[must_use]
    pub fn with_role(&self, role: &str) -> Self {
        self.with_client_id(format!("{}-{role}", self.client_id))
    }

    /// The same brokers under another client id, which brokers show in their logs and metrics.
    #[must_use]
    pub fn with_client_id(&self, client_id: impl Into<String>) -> Self {
        Self { client_id: client_id.into(), ..self.clone() }
    }

    /// Another bound, at least a second, for how long a producer that died blocks readers. A call to the coordinator may
    /// take two thirds of it.
    #[must_use]
    pub fn with_transaction_timeout(&self, timeout: Duration) -> Self {
        Self { transaction_timeout: timeout.max(Duration::from_secs(1)), ..self.clone() }
    }

    /// Another time after which a silent group member is given up.
    #[must_use]
    pub fn with_session_timeout(&self, timeout: Duration) -> Self {
        Self { session_timeout: timeout, ..self.clone() }
    }

    /// Another time, no shorter than the session's, after which a group member is given up that asks for nothing more.
    #[must_use]
    pub fn with_poll_interval(&self, interval: Duration) -> Self {
        Self { poll_interval: interval, ..self.clone() }
    }

    /// How often a group member hears from its group.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.session_timeout / 10
    }

    pub(crate) fn transaction_timeout(&self) -> Duration {
        self.transaction_timeout
    }

    /// What every client needs. Fails when a secret cannot be read.
    pub(crate) fn client(&self) -> Result<ClientConfig, Stop> {
        let mut config = ClientConfig::new();
        // A client behind a guard is told of its brokers when its guard is in place.
        if self.judge.is_none() {
            config.set("bootstrap.servers", &self.bootstrap_servers);
        }
        config
            .set("client.id", &self.client_id)
            // A broker that comes back is tried again within a second, not ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            .set("topic.metadata.refresh.interval.ms", "60000")
            .set("log.connection.close", "false");
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let files = [
                ("ssl.ca.location", &tls.ca_file),
                ("ssl.certificate.location", &tls.certificate_file),
                ("ssl.key.location", &tls.key_file),
            ];
            for (name, file) in files {
                if let Some(file) = file {
                    config.set(name, file.to_string_lossy());
                }
            }
        }
        if let Some(sasl) = &self.sasl {
            let password =
                sasl.password.text().map_err(|error| Stop::retryable("secret-unreadable", error.to_string()))?;
            config
                .set("sasl.mechanism", sasl.mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", password);
        }
        Ok(config)
    }

    /// For consumers. Offsets are committed by us only, and a missing offset is never silently `latest`.
    pub(crate) fn consumer(&self, group: &str) -> Result<ClientConfig, Stop> {
        let mut config = self.client()?;
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // The default of 1000 makes a consumer idle that once filled its queue.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", self.prefetch_kib.to_string())
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", self.heartbeat().as_millis().to_string())
            .set("max.poll.interval.ms", self.poll_interval.as_millis().to_string());
        Ok(config)
    }

    /// For producers: idempotent, `acks=all`, partitions as in Java.
    pub(crate) fn producer(&self) -> Result<ClientConfig, Stop> {
        let mut config = self.client()?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("message.max.bytes", "16000000");
        Ok(config)
    }
}

/// One consumer's share of the memory budget.
const DEFAULT_PREFETCH_KIB: u64 = 2048;
/// A producer that died blocks readers for at most this long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_secs(300);

impl Tls {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mut file = |key, problems: &mut Problems| map.get(key).and_then(|node| node.path(problems));
        let tls = Self {
            ca_file: file("ca_file", problems),
            certificate_file: file("certificate_file", problems),
            key_file: file("key_file", problems),
        };
        if tls.certificate_file.is_some() != tls.key_file.is_some() {
            problems.add(node, "certificate_file and key_file belong together", "give both or none");
        }
        map.finish(problems);
        Some(tls)
    }
}

impl Sasl {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mechanisms = [("PLAIN", "PLAIN"), ("SCRAM-SHA-256", "SCRAM-SHA-256"), ("SCRAM-SHA-512", "SCRAM-SHA-512")];
        let mechanism = map.require("mechanism", problems).and_then(|node| node.choice(&mechanisms, problems));
        let username = map.require("username", problems).and_then(|node| node.name(problems)).map(str::to_owned);
        let password = map.require("password", problems).and_then(|node| Secret::read(node, problems));
        map.finish(problems);
        Some(Self { mechanism: mechanism?, username: username?, password: password? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_client_id_is_kept_and_files_stand_beside_the_settings() {
        let text = "bootstrap_servers: a:1\nclient_id: acme\ntls: {ca_file: ca.pem}\n";
        let mut problems = Problems::new();
        let settings =
            Settings::read(&hirewire_yaml::parse("/etc/hw/k.yaml", text).unwrap(), &[], &mut problems).unwrap();
        let client = settings.with_role("route").client().unwrap();
        assert_eq!(client.get("client.id"), Some("acme-route"));
        assert_eq!(client.get("ssl.ca.location"), Some("/etc/hw/ca.pem"));
    }

    #[test]
    fn nothing_is_empty_and_no_port_is_0() {
        let text = "bootstrap_servers: a:0\nclient_id: ''\ntls: {ca_file: ''}\n";
        let mut problems = Problems::new();
        assert!(Settings::read(&hirewire_yaml::parse("k.yaml", text).unwrap(), &[], &mut problems).is_none());
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 2, 3], "{problems}");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text =
            "bootstrap_servers: localhost\nsasl: {mechanism: PLIAN, username: a, password: b}\ntls: {key_file: k}\n";
        let mut problems = Problems::new();
        assert!(Settings::read(&hirewire_yaml::parse("k.yaml", text).unwrap(), &[], &mut problems).is_none());
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 3, 2, 2], "{problems}");
    }
}
