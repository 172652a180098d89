//! The receiving systems: signatures, keys, prescribed faults, and what they keep.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hirewire_sim::{Faults, Receiver, Simulator};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use support::quick;

async fn send(receiver: &Receiver, id: &str, body: &str, key: &[u8]) -> u16 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = reqwest::Client::new().post(&receiver.url).header("webhook-id", id).header("webhook-timestamp", at);
    request.header("webhook-signature", signature).body(body.to_owned()).send().await.unwrap().status().as_u16()
}

fn key(receiver: &Receiver) -> Vec<u8> {
    STANDARD.decode(receiver.secret.strip_prefix("whsec_").unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_checks_keeps_and_processes_a_key_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 1, 4);
    settings.scenario.faults = Faults::none();
    let sim = Simulator::start(settings).await.unwrap();
    let receiver = sim.receivers[0].clone();
    assert_eq!(send(&receiver, "a", "{}", &key(&receiver)).await, 200);
    assert_eq!(send(&receiver, "a", "{}", &key(&receiver)).await, 200);
    assert_eq!(send(&receiver, "b", "{}", b"another key").await, 401);
    assert_eq!(send(&receiver, "c", "{}", &key(&sim.receivers[1])).await, 401, "each has a secret of its own");
    let notes: Vec<String> = sim.received().unwrap().into_iter().map(|request| request.note).collect();
    assert_eq!(notes, ["processed", "again", "bad_signature", "bad_signature"]);
    drop(sim);
    let again = Simulator::start(quick(dir.path(), 1, 4)).await.unwrap();
    assert_eq!(again.received().unwrap().len(), 4, "what was received is kept");
    assert_eq!(again.receivers[0].url, receiver.url, "a restarted simulation listens where it listened");
    assert_eq!(send(&again.receivers[0], "a", "{}", &key(&receiver)).await, 200);
    assert_eq!(again.received().unwrap()[4].note, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_gets_it_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 1, 4);
    settings.scenario.faults = Faults { receiver: 1.0, receiver_slow_ms: 10, ..Faults::none() };
    let sim = Simulator::start(settings).await.unwrap();
    let receiver = sim.receivers[2].clone();
    let mut statuses = Vec::new();
    for n in 0..12 {
        for _ in 0..3 {
            let status = send(&receiver, &format!("key-{n}"), "{}", &key(&receiver)).await;
            statuses.push(status);
            if status == 200 {
                break;
            }
        }
        assert_eq!(statuses.last(), Some(&200), "key-{n}");
    }
    assert!(statuses.contains(&500) || statuses.contains(&503));
    assert!(statuses.contains(&429));
}
