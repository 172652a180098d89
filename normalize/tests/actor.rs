//! Who moved an application, where the vendor's history says it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "the cluster has more than these tests need")]

mod cluster;

use cluster::{Cluster, connection, fixture_of, text};
use hirewire_normalize::step::Source;
use hirewire_schemas::{Entity, ids};

const LEVER: &str = "acme-lever";

#[test]
fn the_ledger_says_who_moved_an_application_where_the_history_does() {
    let mut cluster = Cluster::with(|shared| {
        shared.sources.insert(LEVER.to_owned(), Source::from(connection("acme", LEVER, "lever")));
    });
    let answer: serde_json::Value = serde_json::from_str(&fixture_of("lever", "poll__opportunities.json")).unwrap();
    let row = answer["data"][0].clone();
    let id = row["id"].as_str().unwrap().to_owned();
    cluster.read(LEVER, "opportunities", "1", ("Application", &id), &row.to_string());
    let user = row["stageChanges"][1]["userId"].as_str().unwrap();
    let user = ids::canonical_id("acme", LEVER, "User", user).to_string();
    let changes = cluster.of(Entity::StageChange);
    let told = |change: &&apache_avro::types::Value| text(change, "change_type") == "STAGE";
    let actors: Vec<_> = changes
        .iter()
        .filter(told)
        .map(|change| (text(change, "actor.kind.value"), text(change, "actor.id")))
        .collect();
    assert_eq!(actors, [("USER".to_owned(), user)], "{changes:?}");
}
