//! A simulation that is killed outright, again and again, tells one history to the end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hirewire_sim::{Running, Simulator};
use support::{Inbox, quick, until};

const DIR: &str = "HIREWIRE_SIM_TEST_DIR";
const URL: &str = "HIREWIRE_SIM_TEST_URL";

async fn start(dir: &Path, url: &str) -> Running {
    let mut settings = quick(dir, 33, 60);
    settings.webhook_url = Some(url.to_owned());
    Simulator::start(settings).await.unwrap()
}

/// Not a test: what the killed process does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test below, in a process of its own"]
async fn child() {
    let (dir, url) = (std::env::var(DIR).unwrap(), std::env::var(URL).unwrap());
    let sim = start(Path::new(&dir), &url).await;
    sim.play().unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
}

fn spawn(dir: &Path, url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored"])
        .env(DIR, dir)
        .env(URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_that_is_not_kept_and_everything_is_told_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let url = inbox.listen().await;
    let mut seen = 0;
    for _ in 0..4 {
        let mut child = spawn(dir.path(), &url);
        until("some webhooks", Duration::from_secs(60), || inbox.got.lock().unwrap().len() > seen + 40).await;
        child.kill().unwrap();
        child.wait().unwrap();
        seen = inbox.got.lock().unwrap().len();
    }
    let sim = start(dir.path(), &url).await;
    let kept: BTreeSet<String> = sim.truth().unwrap().into_iter().map(|change| change.application).collect();
    for body in inbox.bodies() {
        if let Some(id) = body.pointer("/payload/application/id").and_then(serde_json::Value::as_i64) {
            assert!(kept.contains(&id.to_string()), "application {id} was told of, but is not kept");
        }
    }
    sim.play().unwrap();
    until("the end", Duration::from_secs(120), || sim.finished().unwrap()).await;
    let told: BTreeSet<String> = inbox
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|(headers, _)| headers["greenhouse-event-id"].to_str().unwrap().to_owned())
        .collect();
    let logs = sim.webhooks().unwrap();
    for log in logs.iter().filter(|log| log.state != "dropped") {
        assert_eq!(log.state, "acked");
        assert!(log.attempts > 1 || told.contains(&log.event_id));
    }
    let truth = sim.truth().unwrap();
    for pair in truth.windows(2).filter(|pair| pair[0].application == pair[1].application) {
        assert!(pair[1].at - pair[0].at >= 1_000);
    }
    // The same plan without kills comes to the same changes.
    let quiet = tempfile::tempdir().unwrap();
    let other = start(quiet.path(), &url).await;
    other.play().unwrap();
    until("the other", Duration::from_secs(120), || other.finished().unwrap()).await;
    let key = |sim: &Running| -> BTreeSet<String> {
        let changes = sim.truth().unwrap();
        changes.iter().map(|c| format!("{:?} {:?} {:?} {:?}", c.kind, c.from_stage, c.to_stage, c.webhook)).collect()
    };
    assert_eq!(key(&sim), key(&other));
}
