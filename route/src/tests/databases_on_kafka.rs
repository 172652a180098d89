//! PostgreSQL as a sink, fed by the embedded broker or by the Kafka that `HIREWIRE_TEST_BROKERS` names.

use std::time::Duration;

use hirewire_kafka::Admin;
use hirewire_schemas::Entity;
use serde_json::json;
use tokio::time::Instant;

use super::ground::{Ground, JOB, PARTITIONS, application_id, now};
use super::postgres_server::Server;
use super::process::Process;
use super::rights;
use super::support::until;

const APPLICATIONS: usize = 24;
const CANDIDATE: &str = "40000000-0000-5000-8000-000000000001";
/// Its key is held: a trigger of the test does not let its changes in.
const HELD: usize = 3;

fn config(url: &str, on_refusal: &str) -> String {
    format!(
        "sinks: {{analytics: {{postgres: {{url: '{url}', allow: {{networks: ['127.0.0.0/8']}}}}, probe: 200ms}}}}\n\
         routes: {{analytics: {{sink: analytics, on_refusal: {on_refusal}}}}}\n"
    )
}

async fn change(ground: &Ground, application: &str, sequence_no: i64) {
    let tree = json!({
        "application_id": application, "candidate_id": CANDIDATE, "job_id": JOB, "change_type": "STAGE", "revision": "LIVE",
        "sequence_no": sequence_no, "occurred_at": now(), "occurred_at_precision": "EXACT",
        "evidence": [{"provenance": "WEBHOOK"}],
    });
    ground.put(Entity::StageChange, application, application, tree).await;
}

/// Each application changes and stands otherwise.
async fn round(ground: &Ground, sequence_nos: std::ops::Range<i64>) {
    for sequence_no in sequence_nos {
        for number in 0..APPLICATIONS {
            let application = application_id(number);
            change(ground, &application, sequence_no).await;
            let tree = json!({"candidate_id": CANDIDATE, "job_id": JOB});
            ground.put(Entity::Application, &application, &application, tree).await;
        }
    }
}

/// The numbers that a query's one row has.
async fn ask(client: &tokio_postgres::Client, sql: &str) -> Vec<i64> {
    // Before the sink has made its tables there is nothing.
    let Ok(row) = client.query_one(sql, &[]).await else { return Vec::new() };
    (0..row.len()).map(|column| row.get(column)).collect()
}

async fn wait_for(client: &tokio_postgres::Client, sql: &str, wanted: &[i64]) {
    let started = Instant::now();
    loop {
        let found = ask(client, sql).await;
        if found == wanted {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{sql}: {found:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const ROWS: &str = "SELECT (SELECT count(*) FROM stage_change), (SELECT count(DISTINCT event_id) FROM written)";

/// Notes every write of a row in `written`, and does not let one application's changes in.
async fn prepare(ground: &Ground, client: &tokio_postgres::Client) {
    change(ground, &application_id(900), 1).await;
    wait_for(client, "SELECT count(*) FROM stage_change", &[1]).await;
    let sql = format!(
        "CREATE TABLE written (event_id uuid, application_id uuid);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO written VALUES (new.event_id, new.application_id); RETURN NULL; END $$;
         CREATE TRIGGER note AFTER INSERT OR UPDATE ON application FOR EACH ROW EXECUTE FUNCTION note();
         CREATE TRIGGER note AFTER INSERT OR UPDATE ON stage_change FOR EACH ROW EXECUTE FUNCTION note();
         ALTER TABLE stage_change ADD CONSTRAINT held CHECK (application_id <> '{}')",
        application_id(HELD)
    );
    client.batch_execute(&sql).await.unwrap();
}

/// A process is killed with all but one key's rows in the database and the offsets of one partition not committed; two
/// others go on, and one of them leaves. No row is written twice, and in the end every position is the topic's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_written_once_though_the_process_is_killed_and_replicas_come_and_go() {
    let Some(server) = Server::start() else { return };
    let (ground, client) = (Ground::lay().await, server.client().await);
    let config = config(&server.url(), "hold");
    let data = |name: &str| ground.folder.path().join(name);
    let mut killed = Process::start(&ground, &config).await;
    prepare(&ground, &client).await;
    round(&ground, 1..6).await;
    let all = |rounds: i64| rounds * APPLICATIONS as i64;
    let others = format!(
        "SELECT (SELECT count(*) FROM stage_change),
                (SELECT count(DISTINCT event_id) FROM written WHERE application_id <> '{}')",
        application_id(HELD)
    );
    wait_for(&client, &others, &[1 + all(5) - 5, 2 * (all(5) - 5)]).await;
    killed.kill();
    client.batch_execute("ALTER TABLE stage_change DROP CONSTRAINT held").await.unwrap();

    let first = ground.start(&config, &data("first")).await;
    let second = ground.start(&config, &data("second")).await;
    round(&ground, 6..11).await;
    first.stop().await;
    round(&ground, 11..16).await;
    wait_for(&client, ROWS, &[1 + all(15), 2 * all(15)]).await;
    assert_eq!(ask(&client, "SELECT count(*) FROM written").await, [2 * all(15)], "each once");
    let admin = Admin::new(&ground.kafka).unwrap();
    let ends = [Entity::StageChange, Entity::Application].map(|entity| ground.names.entity(entity));
    let ends = ends.iter().flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition)));
    let end: i64 = ends.map(|(topic, partition)| admin.watermarks(topic, partition).unwrap().1).sum();
    let heads = "SELECT sum(next_offset)::bigint, count(*) FILTER (WHERE ahead <> '[]') FROM sink_position";
    wait_for(&client, heads, &[end, 0]).await;
    second.stop().await;
}

/// The offset of a dead letter is behind the head by then. Its replay stands elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_is_replayed_is_written_though_its_offset_is_passed() {
    let Some(server) = Server::start() else { return };
    let (ground, client) = (Ground::lay().await, server.client().await);
    let service = ground.start(&config(&server.url(), "skip"), &ground.folder.path().join("data")).await;
    prepare(&ground, &client).await;
    round(&ground, 1..2).await;
    let all = APPLICATIONS as i64;
    wait_for(&client, ROWS, &[all, 2 * all - 1]).await;
    until("the dead letter", || service.counter("hirewire_route_dead_letters_total", "analytics") == 1).await;
    wait_for(&client, "SELECT count(*) FROM sink_position WHERE ahead <> '[]'", &[0]).await;
    client.batch_execute("ALTER TABLE stage_change DROP CONSTRAINT held").await.unwrap();
    let letters = ground.read_all(&ground.names.route_dead_letter("analytics"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header_str("dlq.reason"), Some("ROUTE_UNSTORABLE"));
    ground.replay("analytics", &letters[0], 0, false).await;
    wait_for(&client, ROWS, &[1 + all, 2 * all]).await;
    assert_eq!(ask(&client, "SELECT count(*) FROM written").await, [2 * all]);
    service.stop().await;
}

/// The tables are the owner's; the sink's user has the rights of the documentation, and loses one under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_holds_the_sink_and_nothing_is_lost_or_written_twice() {
    let Some(server) = Server::start() else { return };
    let ground = Ground::lay().await;
    let data = ground.folder.path().join("data");
    let (client, url) = rights::restricted(&server).await;
    let owner = ground.start(&config(&server.url(), "skip"), &data).await;
    prepare(&ground, &client).await;
    client.batch_execute("ALTER TABLE stage_change DROP CONSTRAINT held").await.unwrap();
    owner.stop().await;
    rights::give_all(&client).await;
    // Of the test's own trigger.
    client.batch_execute("GRANT INSERT ON written TO hirewire_sink").await.unwrap();

    let config = config(&url, "skip");
    let service = ground.start(&config, &data).await;
    let all = |rounds: i64| rounds * APPLICATIONS as i64;
    round(&ground, 1..3).await;
    wait_for(&client, ROWS, &[1 + all(2), 2 * all(2)]).await;
    client.batch_execute("REVOKE INSERT ON application FROM hirewire_sink").await.unwrap();
    round(&ground, 3..6).await;
    until("the sink to be held", || service.counter("hirewire_route_sink_held", "analytics") == 1).await;
    let probed = crate::probe(&Ground::settings(&config), &ground.kafka).await.remove(0);
    let unwell = probed.outcome.unwrap_err();
    assert_eq!(unwell.code, "SINK_STORE_REFUSED");
    assert!(unwell.what.ends_with("GRANT INSERT ON hirewire.application TO hirewire_sink"), "{unwell:?}");
    client.batch_execute("GRANT INSERT ON application TO hirewire_sink").await.unwrap();
    wait_for(&client, ROWS, &[1 + all(5), 2 * all(5)]).await;
    assert_eq!(ask(&client, "SELECT count(*) FROM written").await, [2 * all(5)], "each once");
    assert_eq!(service.counter("hirewire_route_dead_letters_total", "analytics"), 0);
    service.stop().await;
}
