//! A person's data, tokens and credentials never leave the rows: not in logs, metrics, keys or headers.

#[path = "../../../tests/support/listen_in.rs"]
pub(super) mod listen_in;

use listen_in::Logs;

use super::vendor::{Fault, Row};
use super::*;

const CANARIES: [&str; 5] = ["Cañary", "canary@person.example", "password", "Bearer", "good-for-a-page"];

fn clean(what: &str, text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} in {what}: {text}");
    }
}

#[tokio::test]
async fn nothing_of_a_row_a_token_or_a_credential_reaches_logs_metrics_keys_or_headers() {
    let (logs, _guard) = Logs::start();
    let vendor = Vendor::start().await;
    let person = r#"{"name":"Cañary","email":"canary@person.example"}"#;
    let bodies = [
        format!(r#"{{"id":1,"updated_at":"2026-01-01T00:00:00Z","p":{person}}}"#),
        format!(r#"{{"id":"canary@person.example Cañary","updated_at":{person}}}"#),
        format!(r#"{{"id":{person},"updated_at":"canary@person.example Cañary"}}"#),
        format!("[{person}]"),
    ];
    vendor.with(|account| {
        let rows = bodies.iter().zip(1..).map(|(body, id)| Row {
            id,
            created: ago(100),
            updated: ago(100),
            body: body.clone(),
        });
        account.lists.insert("jobs".into(), rows.collect());
        account.faults.extend([
            Fault::Body(r#"{"errors":["canary@person.example"]}"#),
            Fault::Status(403, vec![("x-person", "canary@person.example".into())]),
            Fault::Status(401, Vec::new()),
            Fault::Status(401, Vec::new()),
            Fault::CutConnection,
        ]);
    });
    let ledger = Arc::new(Ledger::default());
    *ledger.answers.lock().unwrap() = vec![NotCommitted::Again("a test".into())];
    let connection = connection(&vendor, "");
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    for _ in 0..4 {
        poller.one_round().await;
    }
    let records: Vec<Record> = std::mem::take(&mut *ledger.committed.lock().unwrap()).into_iter().flatten().collect();
    let rows: Vec<&Record> = records.iter().filter(|record| record.partition.is_none()).collect();
    assert!(rows.len() >= bodies.len());
    for row in rows {
        clean("a key", &String::from_utf8_lossy(row.key.as_ref().unwrap()));
        row.headers.iter().for_each(|(name, value)| clean(name, &String::from_utf8_lossy(value)));
    }
    assert!(logs.text().contains("poll-forbidden"), "the test hears the logs: {}", logs.text());
    let ours: String = logs.text().lines().filter(|line| line.contains("hirewire_ingest")).collect();
    clean("the logs", &ours);
}

#[test]
fn a_line_that_another_thread_came_to_first_is_heard_all_the_same() {
    fn say() {
        tracing::error!("a line");
    }
    let (logs, _guard) = Logs::start();
    std::thread::spawn(say).join().unwrap();
    say();
    assert_eq!(logs.text().matches("a line").count(), 1, "{}", logs.text());
}
