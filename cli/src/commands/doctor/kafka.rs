//! Kafka: the way to the brokers, what we may do there, topics, how far groups are behind, dead letters.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hirewire_kafka::{Admin, Probe, Settings, TransactionalWriter};

use super::finding::{Findings, State};
use crate::commands::topics::{Difference, Wanted, What, differences, existing};
use crate::config::Config;

/// For a connection to a broker, and for its first answer.
const CONNECT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);
/// A group further behind than this deserves a look; the alerts go by seconds.
const FAR_BEHIND: i64 = 10_000;

/// Existing topics by their partition counts.
type Topics = BTreeMap<String, i32>;

pub(super) async fn look(config: &Config, wanted: &Wanted, findings: &mut Findings) {
    let mut reachable = false;
    for server in config.kafka.bootstrap_servers().split(',').map(str::trim) {
        reachable |= reach(server, findings).await;
    }
    let skip = |what: &str, findings: &mut Findings| {
        for area in ["access", "topics", "lag", "dead letters"] {
            findings.add(State::Skipped, area, "", what, "mend Kafka first");
        }
    };
    if !reachable {
        return skip("not looked at: no broker can be reached", findings);
    }
    let (kafka, group) = (config.kafka.with_role("doctor"), config.names.group("doctor"));
    let of_kafka = kafka.clone();
    let connecting = tokio::task::spawn_blocking(move || Probe::connect(&of_kafka, &group, PATIENCE)).await;
    let probe = match connecting {
        Ok(Ok((probe, brokers))) => {
            findings.add(State::Well, "kafka", "", &format!("{brokers} brokers answer"), "");
            Arc::new(probe)
        }
        Ok(Err(stop)) => {
            let remedy = "compare kafka.tls (the authority of the brokers' certificates) and kafka.sasl (mechanism, \
                          user, password) with the brokers; docs/errors.md, kafka-unavailable";
            findings.add(State::Failed, "kafka", "", &format!("the brokers do not let us in: {}", stop.what), remedy);
            return skip("not looked at: the brokers do not let us in", findings);
        }
        Err(error) => {
            findings.add(State::Failed, "kafka", "", &error.to_string(), "please report it");
            return skip("not looked at", findings);
        }
    };
    let of_topics = topics(&kafka, wanted, &probe, findings).await;
    access(&kafka, config, wanted, probe, &of_topics, findings).await;
    standing(&kafka, config, &of_topics, findings).await;
    dead_letters(&kafka, wanted, &of_topics, findings).await;
    let what = "not compared: they tell the time to who writes alone, as `hirewire check --connect` does";
    findings.add(State::Skipped, "clock", "the brokers", what, "");
}

/// DNS and TCP.
async fn reach(server: &str, findings: &mut Findings) -> bool {
    let addresses: Vec<SocketAddr> = match tokio::time::timeout(CONNECT, tokio::net::lookup_host(server)).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let what = format!("no address: {error}");
            findings.add(
                State::Failed,
                "kafka",
                server,
                &what,
                "mend kafka.bootstrap_servers, or the DNS of this machine",
            );
            return false;
        }
        Err(_) => {
            findings.add(State::Failed, "kafka", server, "no address in 5 s", "look at the DNS of this machine");
            return false;
        }
    };
    for address in &addresses {
        if let Ok(Ok(_)) = tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(address)).await {
            findings.add(State::Well, "kafka", server, &format!("{address} takes connections"), "");
            return true;
        }
    }
    let what = format!("none of {} addresses takes a connection", addresses.len());
    let remedy = "is the broker up, is the port right, does a firewall or network policy stand between?";
    findings.add(State::Failed, "kafka", server, &what, remedy);
    false
}

async fn topics(kafka: &Settings, wanted: &Wanted, probe: &Arc<Probe>, findings: &mut Findings) -> Topics {
    let of_all = async {
        let admin = Arc::new(Admin::new(kafka)?);
        let existing = existing(&admin).await?;
        let different = differences(&admin, &existing, wanted).await;
        let probe = Arc::clone(probe);
        let look = move |mut found: Difference| {
            if matches!(found.what, What::Missing) && probe.is_hidden(&found.topic).unwrap_or_default() {
                found.what = What::Hidden(None);
            }
            found
        };
        let looking = tokio::task::spawn_blocking(move || different.into_iter().map(look).collect::<Vec<_>>());
        anyhow::Ok((existing, looking.await?))
    };
    match of_all.await {
        Ok((existing, different)) => {
            if different.is_empty() {
                let what = format!("{} topics are as they must be", wanted.topics().len());
                findings.add(State::Well, "topics", "", &what, "");
            }
            for Difference { topic, what } in different {
                let remedy = match what {
                    // What is said of it says what to do.
                    What::Partitions { .. } => "",
                    What::Hidden(_) => {
                        "ask as the operator, whose access rules `hirewire topics acls` prints, or give this principal DESCRIBE and DESCRIBE_CONFIGS"
                    }
                    What::Missing | What::Settings(_) => "hirewire topics apply",
                };
                findings.add(State::Failed, "topics", &topic, &what.to_string(), remedy);
            }
            existing
        }
        Err(error) => {
            findings.add(State::Failed, "topics", "", &format!("{error:#}"), "docs/errors.md, kafka-unavailable");
            Topics::new()
        }
    }
}

/// By trying: reads the end of every topic, opens a transactional id. Writes nothing.
async fn access(
    kafka: &Settings,
    config: &Config,
    wanted: &Wanted,
    probe: Arc<Probe>,
    existing: &Topics,
    findings: &mut Findings,
) {
    let names: Vec<String> =
        wanted.topics().into_iter().map(|topic| topic.name).filter(|name| existing.contains_key(name)).collect();
    let tried = names.len();
    let reading = tokio::task::spawn_blocking(move || {
        let read = |name: String| probe.read(&name, CONNECT).err().map(|stop| (name, stop.what));
        names.into_iter().filter_map(read).collect::<Vec<_>>()
    });
    match reading.await {
        Ok(refused) if refused.is_empty() => {
            findings.add(State::Well, "access", "", &format!("{tried} topics can be read"), "");
        }
        Ok(refused) => {
            for (topic, what) in refused {
                findings.add(
                    State::Failed,
                    "access",
                    &topic,
                    &what,
                    "give the principal READ and DESCRIBE on the topic",
                );
            }
        }
        Err(error) => findings.add(State::Failed, "access", "", &error.to_string(), "please report it"),
    }
    let id = config.names.group("doctor");
    match tokio::time::timeout(PATIENCE * 2, TransactionalWriter::new(kafka, &id)).await {
        Ok(Ok(_)) => findings.add(State::Well, "access", &id, "transactions can be opened", ""),
        Ok(Err(stop)) => {
            let remedy = "ask as the operator, whose access rules `hirewire topics acls` prints, or give this principal WRITE on that transactional id";
            findings.add(State::Failed, "access", &id, &format!("no transaction can be opened: {}", stop.what), remedy);
        }
        Err(_) => {
            let remedy = "look at the brokers' transaction coordinator and at __transaction_state";
            findings.add(State::Failed, "access", &id, "no transaction can be opened in 20 s", remedy);
        }
    }
}

/// How far our groups are behind.
async fn standing(kafka: &Settings, config: &Config, existing: &Topics, findings: &mut Findings) {
    let sinks = config.route.sink_names();
    let services = std::iter::once("normalize".to_owned()).chain(sinks.iter().map(|sink| format!("route.{sink}")));
    for group in services.map(|service| config.names.group(&service)) {
        let (kafka, asked, of_group) = (kafka.clone(), group.clone(), existing.clone());
        let lag = tokio::task::spawn_blocking(move || lag_of(&kafka, &asked, &of_group)).await;
        match lag {
            Ok(Ok(None)) => {
                let remedy = "nothing, before its service first ran; else it is another prefix or cluster than before";
                findings.add(State::Warned, "lag", &group, "the group has read nothing yet", remedy);
            }
            Ok(Ok(Some(lag))) if lag > FAR_BEHIND => {
                let remedy = "does its service run (hirewire health)? docs/runbooks: HirewireNormalizeIsBehind, HirewireRouteIsBehind";
                findings.add(State::Warned, "lag", &group, &format!("{lag} records behind"), remedy);
            }
            Ok(Ok(Some(lag))) => findings.add(State::Well, "lag", &group, &format!("{lag} records behind"), ""),
            Ok(Err(stop)) => {
                findings.add(State::Failed, "lag", &group, &stop.what, "give the principal READ on the group");
            }
            Err(error) => findings.add(State::Failed, "lag", &group, &error.to_string(), "please report it"),
        }
    }
}

/// `None`: it has committed nothing.
fn lag_of(kafka: &Settings, group: &str, topics: &Topics) -> Result<Option<i64>, hirewire_kafka::Stop> {
    let committed = Probe::committed(kafka, group, topics)?;
    let admin = Admin::new(kafka)?;
    let mut lag = None;
    for ((topic, partition), offset) in committed {
        let (_, end) = admin.watermarks(&topic, partition)?;
        *lag.get_or_insert(0) += (end - offset).max(0);
    }
    Ok(lag)
}

async fn dead_letters(kafka: &Settings, wanted: &Wanted, existing: &Topics, findings: &mut Findings) {
    let dead = format!("{}ats.dlq.", wanted.names.prefix());
    let topics: Topics = existing
        .iter()
        .filter(|(name, _)| name.starts_with(&dead))
        .map(|(name, count)| (name.clone(), *count))
        .collect();
    let kafka = kafka.clone();
    let counting = tokio::task::spawn_blocking(move || {
        let admin = Admin::new(&kafka)?;
        let mut found = Vec::new();
        for (topic, partitions) in topics {
            let mut stored = 0;
            for partition in 0..partitions {
                let (start, end) = admin.watermarks(&topic, partition)?;
                stored += end - start;
            }
            found.push((topic, stored));
        }
        Ok::<_, hirewire_kafka::Stop>(found)
    });
    match counting.await {
        Ok(Ok(found)) => {
            for (topic, stored) in found.iter().filter(|(_, stored)| *stored > 0) {
                // Marks of transactions count as well, so that it may be fewer.
                let what = format!("holds dead letters, at most {stored}");
                let remedy = "hirewire dlq list says why; docs/errors.md explains each code";
                findings.add(State::Warned, "dead letters", topic, &what, remedy);
            }
            if found.iter().all(|(_, stored)| *stored == 0) {
                findings.add(State::Well, "dead letters", "", &format!("none in {} topics", found.len()), "");
            }
        }
        Ok(Err(stop)) => {
            let remedy = "give the principal DESCRIBE on the dead-letter topics";
            findings.add(State::Failed, "dead letters", "", &stop.what, remedy);
        }
        Err(error) => findings.add(State::Failed, "dead letters", "", &error.to_string(), "please report it"),
    }
}
