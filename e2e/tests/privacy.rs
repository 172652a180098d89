//! Nothing personal in logs, metrics, keys or headers: the demo's people are looked for where they must not be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use hirewire_e2e::{Running, hirewire};
use hirewire_kafka::{Admin, Isolation, Settings, read_table};

/// Names, e-mail addresses and telephone numbers of everybody that the simulated vendor knows.
fn people(simulator: &Path) -> Vec<String> {
    let database = rusqlite::Connection::open(simulator.join("sim.sqlite")).unwrap();
    let mut statement =
        database.prepare("SELECT body FROM row WHERE stream = 'candidates' AND body IS NOT NULL").unwrap();
    let bodies = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut found = Vec::new();
    for body in bodies {
        let body: serde_json::Value = serde_json::from_str(&body.unwrap()).unwrap();
        for list in ["email_addresses", "phone_numbers"] {
            let values = body[list].as_array().cloned().unwrap_or_default();
            found.extend(values.iter().filter_map(|entry| Some(entry["value"].as_str()?.to_owned())));
        }
        if let (Some(first), Some(last)) = (body["first_name"].as_str(), body["last_name"].as_str()) {
            found.push(format!("{first} {last}"));
        }
    }
    assert!(found.len() > 40, "the simulator knows only {} names and addresses", found.len());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_person_is_in_logs_metrics_keys_or_headers() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let output = hirewire(&["demo", "--applications", "40", "--seed", "5", "--json", "--log", "debug", "--data"])
        .unwrap()
        .arg(&data)
        .output()
        .unwrap();
    let logs = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}", logs.lines().rev().take(40).collect::<Vec<_>>().join("\n"));
    let metrics = std::fs::read_to_string(data.join("metrics.prom")).unwrap();
    let people = people(&data.join("simulator"));

    let broker =
        hirewire(&["broker", "--listen", "127.0.0.1:0", "--data"]).unwrap().arg(&data).stdout(Stdio::piped()).spawn();
    let mut broker = Running(broker.unwrap());
    let mut line = String::new();
    BufReader::new(broker.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("broker on ").unwrap().to_owned();
    let outside = tokio::task::spawn_blocking(move || keys_and_headers(&Settings::local(&address))).await.unwrap();

    assert!(outside.len() > 1000 && logs.len() > 10_000 && metrics.len() > 1000);
    for person in &people {
        for (place, text) in [("a log", &logs), ("the metrics", &metrics), ("a key or header", &outside)] {
            assert!(!text.contains(person.as_str()), "{person} stands in {place}");
        }
    }
}

fn keys_and_headers(settings: &Settings) -> String {
    let mut text = String::new();
    for (topic, partitions) in Admin::new(settings).unwrap().topics().unwrap() {
        for partition in 0..partitions {
            read_table(settings, &topic, partition, 0, Isolation::Committed, &mut |inbound| {
                text.push_str(&String::from_utf8_lossy(inbound.key.as_deref().unwrap_or_default()));
                for (name, value) in &inbound.headers {
                    text.push_str(name);
                    text.push_str(&String::from_utf8_lossy(value));
                }
                text.push('\n');
                Ok(())
            })
            .unwrap();
        }
    }
    text
}
