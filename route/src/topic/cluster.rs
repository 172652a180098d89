//! `cluster` of a `kafka` sink: another cluster, whose brokers are connected to only where the guard lets us.
//!
//! A cluster tells its clients where its brokers are, so that each of its answers can lead anywhere. librdkafka has the
//! guard asked before each connection, with the broker's name and the address that the name led to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hirewire_kafka::Judge;
use hirewire_yaml::{Node, Problems};

use crate::http::guard::{Guard, Refusal, refusal_in};
use crate::settings::read_allow;

/// Brokers whose refusal is told; a cluster may make up as many as it likes.
const TOLD: usize = 100;

#[derive(Clone)]
pub(crate) struct Cluster {
    kafka: hirewire_kafka::Settings,
    guard: Guard,
}

impl Cluster {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        for layout in ["topic_prefix", "partitions", "replication"] {
            if let Some(node) = node.peek(layout) {
                let what = format!("`{layout}` has no effect on another cluster");
                problems.add(node, what, "remove it; `topic` is the whole name of a topic that is there");
            }
        }
        let beside = ["topic_prefix", "partitions", "replication", "allow"];
        let kafka = hirewire_kafka::Settings::read(node, &beside, problems);
        let (hosts, networks) = read_allow(&mut node.map(problems)?, problems);
        let (kafka, mut hosts, networks) = (kafka?, hosts?, networks?);
        if hosts.is_empty() {
            hosts.extend(brokers(&kafka).map(|broker| host_of(broker).to_owned()));
        }
        let plain_is_allowed = !networks.is_empty();
        let cluster = Self { guard: Guard::new(hosts, networks), kafka };
        let plain = cluster.is_plain();
        let refusal = brokers(&cluster.kafka).find_map(|broker| cluster.guard.check_host(host_of(broker), plain).err());
        if let Some(refusal) = refusal.or((plain && !plain_is_allowed).then_some(Refusal::Plain)) {
            problems.add(node.peek("bootstrap_servers").unwrap_or(node), refusal.to_string(), refusal.remedy());
            return None;
        }
        Some(cluster)
    }

    fn is_plain(&self) -> bool {
        !self.kafka.has_tls()
    }

    /// For clients that connect nowhere else.
    pub(super) fn guarded(&self) -> hirewire_kafka::Settings {
        self.noting(Noted::default())
    }

    /// As [`Self::guarded`]; which broker is refused is noted too.
    pub(super) fn noting(&self, noted: Noted) -> hirewire_kafka::Settings {
        let (guard, plain, told) = (self.guard.clone(), self.is_plain(), Mutex::new(BTreeSet::new()));
        self.kafka.guarded(Judge::new(move |broker, address: IpAddr| {
            let refusal = guard.check(host_of(broker), address, plain).err();
            if let Some(refusal) = refusal {
                *noted.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((broker.to_owned(), refusal));
            }
            // A broker is tried again each second.
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            match refusal {
                None => drop(told.remove(broker)),
                Some(refusal) if told.len() < TOLD && told.insert(broker.to_owned()) => {
                    tracing::warn!(?broker, %refusal, "a broker of the sink's cluster is refused: mend `allow` of the sink");
                }
                Some(_) => {}
            }
            refusal.is_none()
        }))
    }

    /// The first of these brokers that would be refused now, and why; of those that the settings name without a list.
    pub(super) async fn refused(&self, advertised: Option<&[String]>) -> Option<(String, Refusal)> {
        let all: Vec<&str> = match advertised {
            Some(advertised) => advertised.iter().map(String::as_str).collect(),
            None => brokers(&self.kafka).collect(),
        };
        for broker in all {
            let refusal = if self.guard.lists(host_of(broker)) {
                let found = self.guard.resolve(host_of(broker), self.is_plain()).await;
                found.err().and_then(|error| refusal_in(&error))
            } else {
                Some(Refusal::Host)
            };
            if let Some(refusal) = refusal {
                return Some((broker.to_owned(), refusal));
            }
        }
        None
    }
}

/// The last broker that a client did not connect to, and why.
#[derive(Clone, Default)]
pub(super) struct Noted(Arc<Mutex<Option<(String, Refusal)>>>);

impl Noted {
    pub(super) fn take(&self) -> Option<(String, Refusal)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn brokers(kafka: &hirewire_kafka::Settings) -> impl Iterator<Item = &str> {
    kafka.bootstrap_servers().split(',').map(str::trim)
}

/// Of `HOST:PORT`, as settings or a cluster write it.
fn host_of(broker: &str) -> &str {
    let broker = broker.split_once("://").map_or(broker, |(_, broker)| broker);
    broker.rsplit_once(':').map_or(broker, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hirewire_kafka::{Producer, ProducerOptions, Record, SendError};

    use super::*;
    use crate::http::networks::Network;
    use crate::tests::support::{Trap, until};

    fn read(text: &str) -> Result<Cluster, String> {
        let mut problems = Problems::new();
        let cluster = Cluster::read(&hirewire_yaml::parse("s.yaml", text).unwrap(), &mut problems);
        problems.into_result(cluster).map_err(|problems| problems.to_string())
    }

    fn at(broker: &str, network: &str) -> Cluster {
        let guard = Guard::new(vec![host_of(broker).to_owned()], vec![Network::parse(network).unwrap()]);
        Cluster { kafka: hirewire_kafka::Settings::local(broker), guard }
    }

    #[test]
    fn what_could_only_be_refused_is_a_mistake() {
        for (text, expected) in [
            ("bootstrap_servers: 'k.example:9092'", "s.yaml:1: a connection without TLS is for allowed networks only"),
            ("{bootstrap_servers: '10.1.0.1:9092', tls: {}}", "s.yaml:1: the address is not public"),
            ("{bootstrap_servers: '[::ffff:127.0.0.1]:9092', tls: {}}", "s.yaml:1: the address is not public"),
            (
                "{bootstrap_servers: 'a:1,b:1', tls: {}, allow: {hosts: [a]}}",
                "s.yaml:1: the host is not in the allow-list",
            ),
            ("{bootstrap_servers: 'a:1', tls: {}, allow: {hots: [a]}}", "s.yaml:1: unknown key \"hots\""),
        ] {
            let found = read(text).err().unwrap_or_default();
            assert!(found.contains(expected), "{text}: {found}");
        }
        for text in [
            "{bootstrap_servers: 'a:1,SSL://b:1', tls: {}}",
            "{bootstrap_servers: 'a:1', allow: {networks: [10.1.0.0/16]}}",
            "{bootstrap_servers: '[fd00::1]:1', allow: {networks: ['fd00::/8']}}",
        ] {
            assert_eq!(read(text).err(), None, "{text}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_broker_at_an_address_that_is_not_allowed_is_ever_connected_to() {
        let trap = Trap::set().await;
        let options = ProducerOptions { delivery_timeout: Duration::from_secs(20), ..ProducerOptions::default() };
        let record = || Record { topic: "x".into(), ..Record::default() };
        let producer = |cluster: &Cluster| Producer::new(&cluster.guarded(), &options).unwrap();
        let mut sends = Vec::new();
        for host in ["127.0.0.1", "127.8.8.8", "0.0.0.0", "localhost", "[::1]", "[::ffff:127.0.0.1]"] {
            let cluster = at(&format!("{host}:{}", trap.port), "10.0.0.0/8");
            assert!(matches!(cluster.refused(None).await, Some((_, Refusal::Address))), "{host}");
            let producer = producer(&cluster);
            sends.push(tokio::spawn(async move { (host, producer.send(record()).await) }));
        }
        for send in sends {
            let (host, sent) = send.await.unwrap();
            assert!(matches!(sent, Err(SendError::NotAllowed)), "{host}: {sent:?}");
        }
        assert_eq!(trap.count(), 0, "connections that should not be");

        let allowed = at(&format!("127.0.0.1:{}", trap.port), "127.0.0.0/8");
        assert!(allowed.refused(None).await.is_none());
        let advertised = ["127.0.0.1:1".to_owned(), "other.example:9092".to_owned()];
        assert_eq!(allowed.refused(Some(&advertised)).await, Some((advertised[1].clone(), Refusal::Host)));
        let producer = producer(&allowed);
        let sending = tokio::spawn(async move { producer.send(record()).await });
        until("a connection", || trap.count() > 0).await;
        sending.abort();
    }
}
