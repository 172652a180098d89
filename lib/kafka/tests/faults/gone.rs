//! K7: a group stands where its topic has nothing any more, or never had anything: its members stop and say so, and pass over nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use hirewire_kafka::{Admin, GroupConsumer, GroupEvent, GroupMetrics, GroupOptions};
use hirewire_service::{Health, Shutdown};

use crate::Place;
use crate::broker::wait_for;
use crate::scene::Scene;

const GONE: &str = "offset-out-of-range";

/// A member of the transactional loop ends by it, and no restart mends it.
async fn stops(scene: &Scene, name: &str) {
    assert_eq!(scene.member(scene.role(name)).ended().await, [(GONE.to_owned(), false)], "{name}");
}

/// So does one that hands out records.
async fn is_told(place: &Place, scene: &Scene) {
    let options = GroupOptions {
        group: scene.name.clone(),
        topics: vec![scene.input.clone()],
        window_records: 10,
        window_bytes: 1 << 20,
        drain_deadline: Duration::from_secs(5),
        transactional_id: None,
        lag: GroupMetrics::register("test", &prometheus::Registry::new()).unwrap(),
    };
    let (shutdown, component) = (Shutdown::new(), Health::new().component("group"));
    let mut consumer = GroupConsumer::start(&place.broker.settings, options, component, shutdown.clone()).unwrap();
    let mut told = Vec::new();
    let events = async {
        while let Some(event) = consumer.events.recv().await {
            match event {
                GroupEvent::Failed(stop) => {
                    told.push((stop.code, stop.retryable));
                    shutdown.request();
                }
                GroupEvent::Record(inbound) => panic!("{} was handed out", inbound.offset),
                GroupEvent::Revoked(done) => drop(done),
                GroupEvent::Assigned(_) | GroupEvent::Full(..) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), events).await.expect("the member to be told");
    consumer.join();
    assert_eq!(told, [(GONE, false)]);
}

/// As a person does on purpose, when nobody is in the group.
async fn set(place: &Place, scene: &Scene, offset: i64) {
    let admin = Admin::new(&place.broker.settings).unwrap();
    let offsets = BTreeMap::from([((scene.input.clone(), 0), offset)]);
    wait_for("the group to be empty", || admin.commit(&scene.name, &offsets).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_before_it_was_read_stops_its_members_and_is_never_passed_over() {
    let place = Place::start().await;
    let scene = place.scene().await;
    scene.feed(0..20).await;
    let member = scene.member(scene.role("first"));
    scene.until_last("19").await;
    member.end().await;
    // The topic's retention was faster than a member that was away.
    scene.feed(20..40).await;
    let admin = Admin::new(&place.broker.settings).unwrap();
    admin.delete_records(&scene.input, &BTreeMap::from([(0, 30)])).await.unwrap();
    stops(&scene, "second").await;
    is_told(&place, &scene).await;
    // As of a topic that was made anew: the group stands behind its end.
    set(&place, &scene, 1_000).await;
    stops(&scene, "third").await;
    is_told(&place, &scene).await;
    let before: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(scene.visible().await, before);
    // On purpose it goes on.
    set(&place, &scene, 30).await;
    let member = scene.member(scene.role("fourth"));
    scene.until_last("39").await;
    member.end().await;
    let after = (30..40).map(|number| number.to_string());
    assert_eq!(scene.visible().await, before.into_iter().chain(after).collect::<Vec<_>>());
}
