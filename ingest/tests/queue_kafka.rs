//! A vendor with sessions and a queue of events, with a broker: what readers see over restarts and crashes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/broker.rs"]
mod broker;
#[allow(dead_code)]
#[path = "../src/poll/tests/house.rs"]
mod house;
#[path = "support/member.rs"]
mod member;
#[path = "../src/poll/tests/serving.rs"]
mod serving;

use std::collections::BTreeSet;
use std::sync::Arc;

use broker::{TestBroker, wait_for};
use hirewire_ingest::manifest::Manifest;
use hirewire_ingest::{Connection, Role};
use hirewire_kafka::Inbound;
use hirewire_schemas::records::{Cursor, decode};
use hirewire_yaml::Problems;
use house::{House, REFRESHING, SESSIONS};
use member::Member;

fn connection(manifest: &str, folder: &std::path::Path, more: &str) -> Arc<Connection> {
    let manifest = Manifest::parse("manifest.yaml", manifest).unwrap();
    for (name, value) in [
        ("id", "client"),
        ("secret", "secret"),
        ("password", "password"),
        ("refresh", "refresh-0"),
        ("user", "api.user"),
    ] {
        std::fs::write(folder.join(name), value).unwrap();
    }
    let text = format!(
        "client_id: {{file: FOLDER/id}}\nclient_secret: {{file: FOLDER/secret}}\ninterval: 100ms\nretry_first: 10ms\n{more}"
    );
    let text = text.replace("FOLDER", &folder.display().to_string());
    let node = hirewire_yaml::parse("hirewire.yaml", &text).unwrap();
    let mut problems = Problems::new();
    let role = Some(Role::Poll);
    let connection = Connection::read("acme", "tenant", &manifest, None, Some(&node), role, &mut problems);
    Arc::new(problems.into_result(connection).unwrap())
}

fn texts(records: &[Inbound], with: &str) -> Vec<String> {
    let text = |record: &Inbound| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
    records.iter().map(text).filter(|text| text.contains(with)).collect()
}

/// The newest of the connection's records of this name among the cursors.
async fn cursor(broker: &TestBroker, name: &str) -> Option<Cursor> {
    let records = broker.read(broker.names.internal("cursor")).await;
    let key = format!("acme/{name}");
    let newest = records.iter().rfind(|record| record.key.as_deref() == Some(key.as_bytes()))?;
    let schema = hirewire_schemas::schema("Cursor").unwrap();
    Some(decode(schema, newest.value.as_ref().unwrap().get(5..).unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_kept_once_over_restarts_and_what_they_name_is_read() {
    let broker = TestBroker::start().await;
    let (house, folder) = (House::open().await, tempfile::tempdir().unwrap());
    let more = "username: {file: FOLDER/user}\npassword: {file: FOLDER/password}";
    let connection = connection(&house.manifest(SESSIONS), folder.path(), more);
    let raw = broker.names.raw("greenhouse");
    let first = Member::start(&broker, &connection);
    wait_for("the queue to be made", async || cursor(&broker, "@queue").await.is_some()).await;
    let mut all = vec![house.event(1, "Job", 7), house.event(2, "Person", 2), house.event(3, "Person", 3)];
    wait_for("the events", async || texts(&broker.read(raw.clone()).await, "eventId").len() == 3).await;
    // Asked for by the topic of requests, as after a webhook.
    wait_for("what the first names", async || texts(&broker.read(raw.clone()).await, "bare").len() == 1).await;
    first.stop().await;
    all.push(house.event(4, "Person", 4));
    // Handed out to a process that was killed before it kept it: nothing waits any more.
    house.with(|rooms| {
        let queue = rooms.queue.as_mut().unwrap();
        let lost = queue.waiting.drain(..).collect();
        queue.last += 1;
        queue.handed.insert(queue.last, lost);
    });
    let second = Member::start(&broker, &connection);
    wait_for("what was handed out", async || texts(&broker.read(raw.clone()).await, "eventId").len() == 4).await;
    second.stop().await;
    let records = broker.read(raw.clone()).await;
    let kept: BTreeSet<String> = texts(&records, "eventId").into_iter().collect();
    assert_eq!(kept, all.into_iter().collect());
    assert_eq!(house.count("GET /rest/events/acme batch=3"), 1);
    // The second login was by the refresh token that the first process kept.
    assert_eq!((house.count("GET /oauth/authorize"), house.count("POST /services/login")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_anywhere_leaves_a_refresh_token_that_works_or_none_was_spent() {
    let broker = TestBroker::start().await;
    let (house, folder) = (House::open().await, tempfile::tempdir().unwrap());
    house.with(|rooms| {
        rooms.refresh = Some("refresh-0".to_owned());
        // Good for no request: each renews it.
        rooms.token_life = 0;
    });
    let connection = connection(&house.manifest(REFRESHING), folder.path(), "refresh_token: {file: FOLDER/refresh}");
    for round in 1..=3 {
        let process = Member::start(&broker, &connection);
        let before = house.count("GET /rest/jobs");
        wait_for("a list", async || house.count("GET /rest/jobs") > before + 3).await;
        process.stop().await;
        let refused = house.with(|rooms| rooms.refused);
        assert_eq!(refused, 0, "round {round}: a token was asked for by one that was spent");
    }
    assert!(cursor(&broker, "@token").await.is_some());
    let token = house.with(|rooms| rooms.refresh.clone()).unwrap();
    let records = broker.read(broker.names.internal("cursor")).await;
    let shows = |record: &Inbound| {
        record.value.as_ref().is_some_and(|value| value.windows(token.len()).any(|part| part == token.as_bytes()))
    };
    assert!(!records.iter().any(shows), "a token in the clear");
}
