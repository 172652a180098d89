//! Another topic as a sink, on the embedded broker or on the Kafka that `HIREWIRE_TEST_BROKERS` names.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hirewire_kafka::{Admin, Inbound, NewTopic};
use hirewire_schemas::Entity;
use serde_json::{Value, json};

use super::ground::{Ground, JOB, PARTITIONS, application_id, now};
use super::process::Process;
use super::support::until;

const APPLICATIONS: usize = 24;

/// A topic of somebody else's; its name begins with the ground's prefix, so that nothing is shared with other tests.
async fn topic(ground: &Ground, name: &str) -> String {
    let name = format!("{}{name}", ground.place.prefix);
    let new = NewTopic { name: name.clone(), partitions: PARTITIONS, replication: 1, config: BTreeMap::default() };
    Admin::new(&ground.kafka).unwrap().create_topics(&[new]).await.unwrap();
    name
}

/// The values of each key, in the order of the log.
fn by_key(all: &[Inbound]) -> HashMap<Bytes, Vec<Bytes>> {
    let mut found: HashMap<Bytes, Vec<Bytes>> = HashMap::new();
    for inbound in all {
        found.entry(inbound.key.clone().unwrap()).or_default().push(inbound.value.clone().unwrap());
    }
    found
}

async fn round(ground: &Ground, sequence_nos: std::ops::Range<i64>) {
    for sequence_no in sequence_nos {
        for number in 0..APPLICATIONS {
            ground.put_change(&application_id(number), sequence_no, "STAGE", now(), "WEBHOOK").await;
        }
    }
}

/// A replica joins as a process of its own, the first one leaves, the process is killed with work in hand, a third one
/// goes on: readers of committed data see the very records of each application, once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_our_own_cluster_has_each_record_exactly_once_through_rebalances_and_a_kill() {
    let ground = Ground::lay().await;
    let out = topic(&ground, "moves").await;
    // A record in between that no route sends: the head goes on over it all the same.
    let config = format!(
        "sinks: {{moves: {{system: stream, kafka: {{topic: {out}}}}}}}\n\
         routes: {{moves: {{sink: moves, entity: stage-change, when: {{change_type: STAGE}}}}}}\n"
    );
    let data = |name: &str| ground.folder.path().join(name);
    let count = || ground.read_all(&out).len();
    round(&ground, 1..40).await;
    let first = ground.start(&config, &data("first")).await;
    let mut killed = Process::start(&ground, &config).await;
    round(&ground, 40..60).await;
    first.stop().await;
    round(&ground, 60..100).await;
    ground.put_change(&application_id(0), 0, "CREATED", now(), "WEBHOOK").await;
    until("the process to have work in hand", || count() > 65 * APPLICATIONS).await;
    killed.kill();
    let third = ground.start(&config, &data("third")).await;
    round(&ground, 100..110).await;
    until("everything", || count() >= 109 * APPLICATIONS).await;
    third.stop().await;

    let mut expected = by_key(&ground.read_all(&ground.names.entity(Entity::StageChange)));
    expected.get_mut(application_id(0).as_bytes()).unwrap().remove(99);
    let found = ground.read_all(&out);
    assert_eq!(by_key(&found), expected, "the very bytes, in order, once");
    assert!(found.iter().all(|inbound| inbound.header_str("traceparent").is_some()));
    let keys: std::collections::HashSet<_> = found.iter().map(|inbound| inbound.header("idempotency-key")).collect();
    assert_eq!(keys.len(), found.len());
}

/// The test's broker as another cluster, into which plain text goes only where `network` says so.
fn other_cluster(ground: &Ground, topic: &str, network: &str) -> String {
    let port = ground.place.brokers.rsplit_once(':').unwrap().1;
    format!(
        "sinks: {{hires: {{system: onboarding, kafka: {{topic: {topic}, cluster: {{bootstrap_servers: 'localhost:{port}', \
         allow: {{hosts: [localhost, 127.0.0.1], networks: ['{network}']}}}}}}}}}}\n\
         routes: {{hires: {{sink: hires}}}}\n"
    )
}

/// Requests made of changes, by an acknowledged send each; and a restart sends nothing again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_gets_the_requests_of_an_acting_system_in_order() {
    let ground = Ground::lay().await;
    let out = topic(&ground, "hires").await;
    let config = other_cluster(&ground, &out, "127.0.0.0/8");
    let data = ground.folder.path().join("data");
    let hire = async |number: usize| {
        let application = application_id(number);
        ground.put_context(&application).await;
        for (sequence_no, kind) in (1..).zip(["CREATED", "HIRE", "UNHIRE"]) {
            ground.put_change(&application, sequence_no, kind, now(), "WEBHOOK").await;
        }
    };
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let service = ground.start(&config, &data).await;
    for number in 0..APPLICATIONS {
        hire(number).await;
    }
    until("all hires and what undid them", || ground.read_all(&out).len() >= 2 * APPLICATIONS).await;
    service.stop().await;
    let service = ground.start(&config, &data).await;
    hire(APPLICATIONS).await;
    until("the last hire", || ground.read_all(&out).len() >= 2 * APPLICATIONS + 2).await;
    service.stop().await;

    let found = ground.read_all(&out);
    assert_eq!(found.len(), 2 * APPLICATIONS + 2);
    for (key, values) in by_key(&found) {
        let bodies: Vec<Value> = values.iter().map(|value| serde_json::from_slice(value).unwrap()).collect();
        let [hire, undone] = bodies.as_slice() else { panic!("{bodies:?}") };
        assert_eq!([&hire["type"], &undone["type"]], ["hire", "hire_cancelled"]);
        assert_eq!(hire["application_id"].as_str().unwrap().as_bytes(), key);
        assert_eq!(undone["cancels"], hire["key"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_where_the_guard_lets_nobody_holds_its_sink_and_nothing_is_lost() {
    let ground = Ground::lay().await;
    let out = topic(&ground, "hires").await;
    let data = ground.folder.path().join("data");
    let probe = async |config: &str| crate::probe(&Ground::settings(config), &ground.kafka).await.remove(0).outcome;
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let refused = other_cluster(&ground, &out, "10.0.0.0/8");
    let service = ground.start(&refused, &data).await;
    for number in 0..APPLICATIONS {
        let application = application_id(number);
        ground.put_context(&application).await;
        ground.put_change(&application, 1, "CREATED", now(), "WEBHOOK").await;
        ground.put_change(&application, 2, "HIRE", now(), "WEBHOOK").await;
    }
    until("the sink to be held", || service.counter("hirewire_route_sink_held", "hires") == 1).await;
    assert_eq!(probe(&refused).await.err().map(|unwell| unwell.code), Some("SINK_ADDRESS_REFUSED"));
    service.stop().await;
    assert_eq!(ground.read_all(&out).len(), 0);

    let allowed = other_cluster(&ground, &out, "127.0.0.0/8");
    let service = ground.start(&allowed, &data).await;
    until("all hires", || ground.read_all(&out).len() >= APPLICATIONS).await;
    assert_eq!(probe(&allowed).await, Ok(format!("{out} is there, with {PARTITIONS} partitions")));
    service.stop().await;
    assert_eq!(ground.read_all(&out).len(), APPLICATIONS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_there_is_waited_for() {
    let ground = Ground::lay().await;
    let name = format!("{}later", ground.place.prefix);
    let config = format!(
        "sinks: {{moves: {{system: stream, kafka: {{topic: {name}, format: json}}}}}}\n\
         routes: {{moves: {{sink: moves, entity: stage-change}}}}\n"
    );
    let settings = Ground::settings(&config);
    let probe = async || crate::probe(&settings, &ground.kafka).await.remove(0).outcome;
    assert_eq!(probe().await.err().map(|unwell| unwell.code), Some("topic-missing"));
    round(&ground, 1..2).await;
    let data = ground.folder.path().join("data");
    let ready = async {
        // Not ready until the topic is there.
        let (service, _) = tokio::join!(ground.start(&config, &data), async {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            topic(&ground, "later").await
        });
        service
    };
    let service = ready.await;
    until("everything", || ground.read_all(&name).len() == APPLICATIONS).await;
    service.stop().await;
    assert_eq!(probe().await, Ok(format!("{name} is there, with {PARTITIONS} partitions")));
    let record: Value = serde_json::from_slice(ground.read_all(&name)[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(record["change_type"], "STAGE");
    assert_eq!(record["to_stage"]["category"]["value"], "ASSESSMENT");
}
