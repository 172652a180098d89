//! Ids of what a sink has created, on a broker: they outlive the process and its disk, and are waited for.

use std::sync::Arc;

use hirewire_kafka::partition_for;
use hirewire_schemas::Entity;
use serde_json::json;

use super::answers;
use super::ground::{Ground, JOB, PARTITIONS, application_id, now};
use super::support::{Answer, Receiver, until};
use crate::context::store::{Seen, Store};
use crate::created::{self, CreatedKey, CreatedTopic, Ids, Known};
use crate::engine::{Lease, Phase};
use crate::source::Slot;

/// The first owner is killed when the id is safe and the offset is not, for a record before it has no answer yet. The
/// next one, on an empty disk, creates nothing again and knows what to change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_owner_creates_nothing_twice_and_changes_what_the_first_created() {
    let ground = Ground::lay().await;
    let partition = |application: &String| partition_for(application.as_bytes(), PARTITIONS);
    let slow = application_id(0);
    let quick = (1..).map(application_id).find(|one| partition(one) == partition(&slow)).unwrap();
    let waiting = slow.clone();
    let created = r#"{"ok": true, "id": "p1"}"#;
    let receiver = Receiver::start(move |body| match body["application_id"] == waiting {
        true => Answer::Silence,
        false => Answer::Says(201, created),
    })
    .await;
    let systems = answers::folder("", "");
    let config = format!(
        "sinks: {{directory: {{settings: {{domain: x}}, http: {{url: 'http://{}/in', allow: {{networks: ['127.0.0.0/8']}}}}}}}}\n\
         routes: {{people: {{sink: directory}}}}\nroute: {{sinks_dir: {}}}\n",
        receiver.address,
        systems.path().display()
    );
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let first = ground.start(&config, &ground.folder.path().join("first")).await;
    for application in [&slow, &quick] {
        ground.put_context(application).await;
        ground.put_change(application, 1, "HIRE", now(), "WEBHOOK").await;
    }
    let topic = ground.names.internal(created::TOPIC);
    until("the id to be safe", || ground.read_all(&topic).len() == 1).await;
    first.task.abort();

    receiver.answer(move |_| Answer::Says(201, created));
    let second = ground.start(&config, &ground.folder.path().join("second")).await;
    ground.put_change(&quick, 2, "UNHIRE", now(), "WEBHOOK").await;
    let lines = || receiver.all().into_iter().map(|received| received.line).collect::<Vec<_>>();
    until("the change of what was created", || lines().contains(&"PATCH /in/people/p1".to_owned())).await;
    until("the slow one", || receiver.taken().iter().any(|received| received.application() == slow)).await;
    let created = receiver.all().into_iter().filter(|received| received.application() == quick);
    assert_eq!(created.count(), 1, "{:?}", lines());
    assert!(
        !lines().iter().any(|line| line.starts_with("PUT")),
        "what is done is not sent in another way: {:?}",
        lines()
    );
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_known_when_the_context_has_followed_to_those_of_earlier_owners_and_our_own() {
    let ground = Ground::lay().await;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&folder.path().join("c.sqlite"), Vec::new()).unwrap());
    let topic = ground.names.internal(created::TOPIC);
    let ids =
        || CreatedTopic::new(ground.kafka.clone(), ground.producer.clone(), topic.as_str().into(), Arc::clone(&store));
    let key = CreatedKey { sink: "s", request: "create", application_id: "a" };
    let known = |id: &str| Known { id: id.to_owned(), event_id: format!("e-{id}") };
    let follow = |next_offset: i64| {
        let seen = Seen { entity: None, id: "x".into(), tree: None, topic: topic.clone(), partition: 1, next_offset };
        store.put(&[seen]).unwrap();
    };
    let slot = Slot { topic: "t".into(), partition: 1 };
    let lease = || Lease::new(tokio::sync::watch::channel(Phase::Running).1);
    let (first, owner) = (lease(), ids());
    assert_eq!(owner.reached(&slot, &first).await, Ok(true), "nobody has kept any");
    owner.keep(&key, &known("1"), 1).await.unwrap();
    assert_eq!(owner.reached(&slot, &first).await, Ok(false), "our own is not there yet");
    follow(1);
    assert_eq!(owner.reached(&slot, &first).await, Ok(true));

    // Another owner keeps one, and the partition comes back.
    ids().keep(&key, &known("2"), 1).await.unwrap();
    assert_eq!(owner.reached(&slot, &first).await, Ok(true), "in one ownership it is asked for once");
    let again = lease();
    assert_eq!(owner.reached(&slot, &again).await, Ok(false), "not as far as the owner in between");
    follow(2);
    assert_eq!(owner.reached(&slot, &again).await, Ok(true));
    let records = ground.read_all(&topic);
    let told: Vec<_> = records.iter().map(|record| created::told(record).unwrap()).collect();
    assert_eq!(told, [json!({"id": "1", "event_id": "e-1"}), json!({"id": "2", "event_id": "e-2"})]);
    assert!(records.iter().all(|record| record.key.as_deref() == Some(b"s/create/a".as_slice())));
}
