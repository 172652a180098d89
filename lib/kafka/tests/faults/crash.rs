//! T3: a process that is killed with SIGKILL at each step of a transaction, and its successor. What the dead one had
//! sent may still arrive afterwards. K5: one that only stands still, and goes on.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;

use crate::Place;
use crate::broker::wait_for;
use crate::proxy::Fault;
use crate::scene::Scene;

const CHILD: &str = "HIREWIRE_FAULTS_CHILD";

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let (proxy, name) = arguments.split_once(' ').unwrap();
    let scene = Scene::existing(proxy, name);
    let role = scene.role("child");
    let member = scene.member(role);
    // Until it is killed, or left alone by a test that failed.
    std::thread::sleep(Duration::from_secs(120));
    drop(member);
}

fn spawn(proxy: &str, scene: &Scene) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD, format!("{proxy} {}", scene.name))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// When the request of the dead process arrives after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrives {
    Never,
    /// While the successor waits to fence.
    BeforeTheFence,
    AfterTheFence,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_neither_loses_nor_doubles() {
    use Arrives::{AfterTheFence, BeforeTheFence, Never};
    use Fault::{HoldAnswer, HoldRequest};
    let place = Arc::new(Place::start().await);
    let mut running = tokio::task::JoinSet::new();
    for (step, api, skip, fault, arrives) in [
        ("begin", ApiKey::AddPartitionsToTxn, 1, HoldRequest, Never),
        ("begin", ApiKey::AddPartitionsToTxn, 1, HoldRequest, AfterTheFence),
        ("produce", ApiKey::Produce, 1, HoldRequest, Never),
        ("produce", ApiKey::Produce, 2, HoldRequest, BeforeTheFence),
        ("produce", ApiKey::Produce, 2, HoldRequest, AfterTheFence),
        ("produced", ApiKey::Produce, 2, HoldAnswer, Never),
        ("send offsets", ApiKey::TxnOffsetCommit, 1, HoldRequest, Never),
        ("send offsets", ApiKey::TxnOffsetCommit, 1, HoldRequest, AfterTheFence),
        ("offsets sent", ApiKey::TxnOffsetCommit, 1, HoldAnswer, Never),
        ("commit sent", ApiKey::EndTxn, 1, HoldRequest, Never),
        ("commit sent", ApiKey::EndTxn, 1, HoldRequest, BeforeTheFence),
        ("commit sent", ApiKey::EndTxn, 1, HoldRequest, AfterTheFence),
        ("commit applied", ApiKey::EndTxn, 1, HoldAnswer, Never),
    ] {
        let place = Arc::clone(&place);
        running.spawn(async move {
            let held = (api, skip, fault);
            kill(&place, &format!("{step}, arrives {arrives:?}"), held, arrives).await;
        });
    }
    running.join_all().await;
}

async fn kill(place: &Place, what: &str, (api, skip, fault): (ApiKey, usize, Fault), arrives: Arrives) {
    let scene = place.scene().await;
    scene.feed(0..40).await;
    let held = place.proxy.fault(&scene.role("child").client, api, skip, fault);
    let mut child = spawn(&place.proxy.address, &scene);
    held.met().await;
    child.kill().unwrap();
    child.wait().unwrap();
    let role = scene.role("successor");
    let client = role.client.clone();
    let fence = place.proxy.fault(&client, ApiKey::InitProducerId, 0, Fault::HoldRequest);
    let member = scene.member(role);
    fence.met().await;
    if arrives == Arrives::BeforeTheFence {
        held.release();
        assert_eq!(held.answered().await, 0, "{what}");
    }
    fence.release();
    // Kafka answers only when it has ended what was open: CONCURRENT_TRANSACTIONS until then.
    let fenced = || place.proxy.seen(&client, ApiKey::InitProducerId).iter().any(|seen| seen.answered == Some(0));
    wait_for("the successor's fence", fenced).await;
    if arrives == Arrives::AfterTheFence {
        held.release();
        assert_ne!(held.answered().await, 0, "{what}: the broker took a request of the dead");
    }
    if fault == Fault::HoldAnswer {
        assert_eq!(held.answered().await, 0, "{what}");
    }
    scene.until_last("39").await;
    assert!(member.stops.lock().unwrap().is_empty(), "{what}: {:?}", member.stops);
    scene.all_once(vec![member], 40).await;
}

/// SIGSTOP or SIGCONT.
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// K5: a process stands still within a transaction for longer than its group waits for it. When it goes on, another has its partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_too_long_commits_nothing_and_goes_on_as_a_new_member() {
    let place = Place::start().await;
    for (api, skip) in [(ApiKey::Produce, 2), (ApiKey::TxnOffsetCommit, 1), (ApiKey::EndTxn, 1)] {
        let scene = place.scene().await;
        scene.feed(0..40).await;
        let client = scene.role("child").client;
        let held = place.proxy.fault(&client, api, skip, Fault::HoldRequest);
        let mut child = spawn(&place.proxy.address, &scene);
        held.met().await;
        signal(&child, "-STOP");
        let member = scene.member(scene.role("successor"));
        scene.until_last("39").await;
        let joined = place.proxy.seen(&client, ApiKey::JoinGroup).len();
        signal(&child, "-CONT");
        held.release();
        assert_ne!(held.answered().await, 0, "{api:?}: the broker took a request of who has no partition any more");
        wait_for("it to join again", || place.proxy.seen(&client, ApiKey::JoinGroup).len() > joined).await;
        // Whoever has the partition now goes on.
        scene.feed(40..60).await;
        scene.until_last("59").await;
        child.kill().unwrap();
        child.wait().unwrap();
        scene.all_once(vec![member], 60).await;
    }
}
