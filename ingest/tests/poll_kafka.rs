//! Polling with a broker: what readers see, who polls, and who is fenced.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/member.rs"]
mod member;
#[path = "../src/poll/tests/serving.rs"]
mod serving;
#[allow(dead_code)]
#[path = "../src/poll/tests/soap_vendor.rs"]
mod soap_vendor;
#[allow(dead_code)]
#[path = "../src/poll/tests/vendor.rs"]
mod vendor;

use std::collections::BTreeSet;
use std::sync::Arc;

use broker::{TestBroker, wait_for};
use hirewire_ingest::manifest::{Manifest, Signature};
use hirewire_ingest::{Connection, Role};
use hirewire_kafka::{Inbound, TransactionalWriter, partition_for};
use hirewire_yaml::Problems;
use jiff::Timestamp;
use member::Member;
use soap_vendor::Soap;
use tokio::net::TcpListener;
use vendor::Vendor;

const CONNECTION: &str = "acme-greenhouse";

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap()
}

fn connection(vendor: &Vendor, folder: &std::path::Path) -> Arc<Connection> {
    connection_by(include_str!("../../vendors/greenhouse/manifest.yaml"), vendor, folder)
}

fn connection_by(manifest: &str, vendor: &Vendor, folder: &std::path::Path) -> Arc<Connection> {
    let manifest = Manifest::parse("manifest.yaml", manifest).unwrap();
    let taken = hirewire_yaml::parse("hirewire.yaml", "{}").unwrap();
    let unsigned = manifest.webhook.as_ref().is_some_and(|webhook| matches!(webhook.signature, Signature::None));
    let (webhook, role) = if unsigned { (Some(&taken), Role::All) } else { (None, Role::Poll) };
    std::fs::write(folder.join("id"), "client").unwrap();
    std::fs::write(folder.join("secret"), "password").unwrap();
    let text = format!(
        "{{client_id: {{file: {0}/id}}, client_secret: {{file: {0}/secret}}, base_url: \"{1}/v3\", token_url: \
         \"{1}/token\", interval: 200ms, lag: 0s, overlap: 5s, retry_first: 10ms}}",
        folder.display(),
        vendor.address
    );
    let node = hirewire_yaml::parse("hirewire.yaml", &text).unwrap();
    let mut problems = Problems::new();
    let connection = Connection::read(CONNECTION, "acme", &manifest, webhook, Some(&node), Some(role), &mut problems);
    Arc::new(problems.into_result(connection).unwrap())
}

fn texts(records: &[Inbound]) -> Vec<String> {
    let mut texts: Vec<String> =
        records.iter().map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()).collect();
    texts.sort();
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_each_row_once_and_another_member_goes_on_where_the_first_stopped() {
    let broker = TestBroker::start().await;
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let manifest = include_str!("../../vendors/greenhouse/manifest.yaml");
    let ends = manifest.replacen("lifecycle: {", "lifecycle: {sunset: 2027-01-31, ", 1);
    let connection = connection_by(&ends, &vendor, folder.path());
    let mut all: Vec<String> = (1..=20).map(|id| vendor.put("jobs", id, ago(1000))).collect();
    let raw = broker.names.raw("greenhouse");

    let first = Member::start(&broker, &connection);
    wait_for("the first read", async || broker.read(raw.clone()).await.len() == 20).await;
    wait_for("its end", async || vendor.with(|account| account.requests.iter().any(|r| r.starts_with("eeoc")))).await;
    assert!(first.health.waiting().is_empty(), "{:?}", first.health.waiting());
    // The day that the manifest names, though no answer does.
    let told = prometheus::TextEncoder::new().encode_to_string(&first.metrics.gather()).unwrap();
    let sunset = "hirewire_ingest_poll_sunset_seconds{stream=\"jobs\",vendor=\"greenhouse\"} 1801353600\n";
    assert!(told.contains(sunset), "{told}");
    first.stop().await;
    all.push(vendor.put("jobs", 21, ago(0)));

    let second = Member::start(&broker, &connection);
    wait_for("the new row", async || broker.read(raw.clone()).await.len() >= 21).await;
    second.stop().await;
    let records = broker.read(raw.clone()).await;
    all.sort();
    assert_eq!(texts(&records), all);
    let origins: BTreeSet<&str> = records.iter().map(|record| record.header_str("hirewire-origin").unwrap()).collect();
    assert_eq!(origins, BTreeSet::from(["backfill", "poll"]));
    for record in &records {
        let key = record.key.as_deref().unwrap();
        assert_eq!(record.partition, partition_for(key, broker::PARTITIONS), "co-partitioned by the key");
    }
}

/// Killed and begun anew in the midst of a list that is asked for by SOAP, with a fault, a wrong password and a change of
/// an old row on the way.
#[tokio::test(flavor = "multi_thread")]
async fn rows_by_soap_are_there_once_whatever_the_vendor_answers_and_whoever_polls() {
    let broker = TestBroker::start().await;
    let soap = Soap::start().await;
    let folder = tempfile::tempdir().unwrap();
    let manifest = Manifest::parse("manifest.yaml", include_str!("../../vendors/workday/manifest.yaml")).unwrap();
    let settings = format!("{}interval: 100ms\noverlap: 5s\n", soap.settings(folder.path()));
    let node = hirewire_yaml::parse("hirewire.yaml", &settings).unwrap();
    let mut problems = Problems::new();
    let read = Connection::read("acme-workday", "acme", &manifest, None, Some(&node), Some(Role::Poll), &mut problems);
    let connection = Arc::new(problems.into_result(read).unwrap());
    for id in 0..7 {
        soap.put("Get_Job_Requisitions", &format!("r{id}"), ago(1000), "");
        soap.put("Get_Candidates", &format!("c{id}"), ago(1000), "<wd:File_Content>U0VDUkVU</wd:File_Content>");
    }
    soap.with(|account| {
        account.gzip = true;
        account.faults = [None, Some((500, soap_vendor::fault("SOAP-ENV:Server.processingFault")))].into();
    });
    let (jobs, people) = (broker.names.raw("workday"), broker.names.raw_restricted("workday"));
    let ids = |records: &[Inbound]| -> Vec<String> {
        let id = |text: &String| text.split_once("\"WID\">").unwrap().1.split_once('<').unwrap().0.to_owned();
        texts(records).iter().map(id).collect()
    };

    let first = Member::start(&broker, &connection);
    wait_for("the first page", async || !broker.read(jobs.clone()).await.is_empty()).await;
    first.stop().await;
    soap.with(|account| account.refuses = true);
    let second = Member::start(&broker, &connection);
    wait_for("a refusal", async || soap.with(|account| !account.asked.is_empty())).await;
    soap.with(|account| account.refuses = false);
    wait_for("people", async || broker.read(people.clone()).await.len() >= 7).await;
    soap.put("Get_Job_Requisitions", "r3", ago(0), "<wd:Job_Requisition_Data/>");
    wait_for("the change", async || broker.read(jobs.clone()).await.len() >= 8).await;
    second.stop().await;

    let records = broker.read(jobs).await;
    let mut expected: Vec<String> = (0..7).map(|id| format!("r{id}")).collect();
    expected.push("r3".to_owned());
    expected.sort();
    assert_eq!(ids(&records), expected);
    for record in records {
        assert_eq!(record.header_str("content-type"), Some("application/xml"));
        let told = record.header_str("hirewire-request").unwrap();
        assert!(told.starts_with("{\"as_of\":\"20") && told.ends_with("Z\"}"), "the moment of the answer: {told}");
        assert_eq!(record.header_str("hirewire-stream"), Some("Get_Job_Requisitions"));
    }
    let people = broker.read(people).await;
    // A list without a filter is kept once by each process.
    assert_eq!(ids(&people).into_iter().collect::<BTreeSet<_>>().len(), 7);
    assert!(texts(&people).iter().all(|text| !text.contains("File_Content")), "{:?}", texts(&people));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_never_poll_one_connection_and_one_takes_over_from_the_other() {
    let broker = TestBroker::start().await;
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let connection = connection(&vendor, folder.path());
    let members = [Member::start(&broker, &connection), Member::start(&broker, &connection)];
    wait_for("both members", async || members.iter().all(|member| member.health.waiting().is_empty())).await;
    wait_for("a round", async || vendor.with(|account| account.requests.iter().any(|r| r.starts_with("eeoc")))).await;
    vendor.take_requests();
    wait_for("five rounds", async || {
        vendor.with(|account| account.requests.iter().filter(|r| r.starts_with("eeoc")).count() >= 5)
    })
    .await;
    // A new token makes the one before it bad: two pollers at work would take one for each request. One for each
    // member's turn is what rebalancing at the start may cost.
    let tokens = vendor.with(|account| account.tokens);
    assert!(tokens <= 3, "{tokens}");
    // Whichever holds it, the row is read. A new owner may keep it again, as the same event: overlap shows it to both.
    let [one, other] = members;
    one.stop().await;
    let row = vendor.put("jobs", 1, ago(0));
    wait_for("the row", async || !broker.read(broker.names.raw("greenhouse")).await.is_empty()).await;
    other.stop().await;
    let records = broker.read(broker.names.raw("greenhouse")).await;
    let events: BTreeSet<&str> = records.iter().map(|record| record.header_str("ce_id").unwrap()).collect();
    assert_eq!((events.len(), texts(&records).last()), (1, Some(&row)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_that_lost_its_lease_without_knowing_writes_nothing_more() {
    let broker = TestBroker::start().await;
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let connection = connection(&vendor, folder.path());
    let member = Member::start(&broker, &connection);
    // By then rounds find nothing and write nothing: the zombie cannot find out before there is a row.
    wait_for("four rounds", async || {
        vendor.with(|account| account.requests.iter().filter(|r| r.starts_with("eeoc")).count() >= 4)
    })
    .await;
    // A newer owner of the same lease opens its writer.
    let lease = partition_for(CONNECTION.as_bytes(), broker::PARTITIONS);
    let id = format!("{}-{lease}", broker.names.group("ingest-poll"));
    let newer = TransactionalWriter::new(&broker.settings(), &id).await.unwrap();
    vendor.put("jobs", 1, ago(0));
    vendor.take_requests();
    wait_for("the zombie to find out", async || {
        vendor.with(|account| account.requests.iter().any(|request| request.starts_with("jobs")))
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(broker.read(broker.names.raw("greenhouse")).await.is_empty());
    drop(newer);
    member.stop().await;
}

const THIN: &str = r#"
vendor: greenhouse
webhook:
  signature: {none: {}}
  delivery_id: {field: id}
  event: event
  subjects: {made: {Job: job}}
  fetch: {made: {jobs: job}}
api:
  base_url: https://vendor.example/v3
  auth: {oauth2_client_credentials: {token_url: "https://vendor.example/token", expires_at: expires_at}}
  paging: {link_cursor: {param: cursor}}
  window: {param: updated_at, first: "lte|{to}", then: "gt|{from}|lte|{to}", field: updated_at}
  lag: 0s
  overlap: 5s
  streams: {jobs: {subject: {Job: id}, one: {path: "jobs/{id}"}}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_names_is_read_by_whoever_polls_its_connection_and_once_over_a_restart() {
    let broker = TestBroker::start().await;
    let vendor = Vendor::start().await;
    let folder = tempfile::tempdir().unwrap();
    let connection = connection_by(THIN, &vendor, folder.path());
    vendor.with(|account| {
        drop(account.broken.insert("jobs/7".into(), vendor::Fault::Body("{\"id\":7,\"t\":\"whole\"}")))
    });
    let raw = broker.names.raw("greenhouse");
    let asked = || vendor.with(|a| a.requests.iter().filter(|request| request.starts_with("jobs/7")).count());
    for (number, id) in [(1, "event-1"), (2, "event-2")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/webhooks/{CONNECTION}", listener.local_addr().unwrap());
        let member = Member::start_as(&broker, &connection, Role::All, Some(listener));
        // 503 until the registry answered.
        let body = format!("{{\"id\":\"{id}\",\"event\":\"made\",\"job\":7}}");
        wait_for("the event to be kept", async || {
            let answer = reqwest::Client::new().post(&url).body(body.clone()).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        wait_for("the row", async || {
            let rows = texts(&broker.read(raw.clone()).await);
            rows.iter().filter(|row| row.contains("whole")).count() == number
        })
        .await;
        member.stop().await;
        assert_eq!(asked(), number, "a request that is done is not done again");
    }
    let records = broker.read(raw.clone()).await;
    let row = records.iter().find(|record| record.header_str("hirewire-stream") == Some("jobs")).unwrap();
    let event = records.iter().find(|record| record.header_str("hirewire-event") == Some("made")).unwrap();
    assert_eq!((&row.key, row.partition), (&event.key, event.partition), "in the order of what it is about");
    assert_eq!(row.header_str("hirewire-origin"), Some("poll"));
}
