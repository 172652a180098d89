//! What waits: for a place, at a shut gate, for a retry, for its context. It is decoded when it has a place, and keeps none
//! from others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::support::{Answer, Options, Receiver, Running, arrival, change, context, retry, run, slot, until};
use crate::deliver::Limits;
use crate::deliver::backoff::Retry;
use crate::deliver::gate::Probes;
use crate::source::SourceEvent;
use crate::system::{Systems, carried};

/// Probes that do not come while a test lasts.
const NEVER: Probes = Probes { held: Duration::from_secs(600), breaker: Duration::from_secs(600) };

fn at_most(concurrency: usize) -> Limits {
    Limits { concurrency, probes: NEVER, retry: retry(), ..Limits::default() }
}

#[tokio::test]
async fn at_a_shut_gate_no_more_is_decoded_than_may_be_under_way() {
    const KEYS: i64 = 200;
    let receiver = Receiver::start(|_| Answer::Status(401)).await;
    let context = context();
    context.put_common();
    let running =
        run(&carried("assessment"), &receiver, &context, Options { limits: at_most(4), ..Options::default() });
    running.assign(&[0]);
    for offset in 0..KEYS {
        let application = format!("k{offset}");
        context.put_application(&application);
        running.record(arrival(0, offset, &application, &change(&application, 1, "STAGE")));
    }
    until("held", || running.deliverer.gate.held().is_some()).await;
    until("all taken in", || running.metric("hirewire_route_records_held") == KEYS).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Those that were tried, and those that have their places now.
    let decoded = running.decoder.0.load(Ordering::Relaxed);
    assert!((4..=8).contains(&decoded), "{decoded} of {KEYS} are decoded");
    receiver.answer(|_| Answer::Status(200));
    running.deliverer.gate.open();
    until("all delivered", || running.commits.head(0) == KEYS).await;
    assert_eq!(receiver.taken().len() as i64, KEYS);
    assert_eq!(running.decoder.0.load(Ordering::Relaxed) as i64, KEYS, "each once");
    running.end().await;
}

#[tokio::test]
async fn what_waits_for_a_retry_keeps_no_place_from_others() {
    let receiver = Receiver::start(|body| match body["application_id"] == "a" {
        true => Answer::Later,
        false => Answer::Status(200),
    })
    .await;
    let context = context();
    context.put_common();
    let patient = Retry { longest_asked: Duration::from_secs(60), ..retry() };
    let limits = Limits { retry: patient, ..at_most(1) };
    let running = run(&carried("assessment"), &receiver, &context, Options { limits, ..Options::default() });
    running.assign(&[0]);
    for (offset, application) in (0..).zip(["a", "b", "c"]) {
        context.put_application(application);
        running.record(arrival(0, offset, application, &change(application, 1, "STAGE")));
    }
    until("the others", || receiver.taken().len() == 2).await;
    assert_eq!(running.commits.head(0), 0);
    drop(running);
}

#[tokio::test]
async fn what_waits_for_its_context_keeps_no_place_from_others() {
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let context = context();
    context.put_common();
    let running =
        run(&carried("onboarding"), &receiver, &context, Options { limits: at_most(2), ..Options::default() });
    running.assign(&[0]);
    let applications = ["a", "b", "c", "d", "e"];
    for (offset, application) in (0..).zip(applications) {
        context.put_application(application);
        running.record(arrival(0, offset, application, &change(application, 1, "HIRE")));
    }
    until("all wait", || running.metric("hirewire_route_context_waits") == 5).await;
    context.put_application("z");
    context.put_accepted_offer("z");
    running.record(arrival(0, 5, "z", &change("z", 1, "HIRE")));
    until("one that has all", || receiver.taken().len() == 1).await;
    assert_eq!(running.commits.head(0), 0);
    applications.iter().for_each(|application| context.put_accepted_offer(application));
    until("all delivered", || running.commits.head(0) == 6).await;
    assert_eq!(receiver.taken().len(), 6);
    running.end().await;
}

/// Two sinks of one process: what shuts the gate of one, and takes all its places, is nothing to the other.
#[tokio::test]
async fn a_held_sink_holds_no_other() {
    let (refusing, taking) =
        (Receiver::start(|_| Answer::Status(401)).await, Receiver::start(|_| Answer::Status(200)).await);
    let context = context();
    context.put_common();
    let sink = |receiver| {
        let running =
            run(&carried("assessment"), receiver, &context, Options { limits: at_most(2), ..Options::default() });
        running.assign(&[0]);
        running
    };
    let feed = |running: &Running, offsets: std::ops::Range<i64>| {
        for offset in offsets {
            let application = format!("k{offset}");
            context.put_application(&application);
            running.record(arrival(0, offset, &application, &change(&application, 1, "STAGE")));
        }
    };
    let (held, other) = (sink(&refusing), sink(&taking));
    feed(&held, 0..10);
    until("held", || held.deliverer.gate.held().is_some()).await;
    feed(&other, 0..10);
    until("all of the other", || other.commits.head(0) == 10).await;
    assert_eq!((held.commits.head(0), other.deliverer.gate.held()), (0, None));
    refusing.answer(|_| Answer::Status(200));
    held.deliverer.gate.open();
    until("all of the one that was held", || held.commits.head(0) == 10).await;
    held.end().await;
    other.end().await;
}

/// Whoever gathers before he commits (Parquet) would wait for more that cannot come.
#[tokio::test]
async fn a_full_partition_is_pressed_for_when_all_of_it_is_done() {
    let receiver = Receiver::start(|_| Answer::Status(503)).await;
    let context = context();
    context.put_common();
    let running = run(&carried("assessment"), &receiver, &context, Options::default());
    running.assign(&[0, 1]);
    for offset in 0..3 {
        let application = format!("k{offset}");
        context.put_application(&application);
        running.record(arrival(0, offset, &application, &change(&application, 1, "STAGE")));
    }
    running.events.send(SourceEvent::Full(slot(0))).unwrap();
    until("told", || running.metric("hirewire_route_window_full_total") == 1).await;
    assert_eq!(running.commits.1.load(Ordering::Relaxed), 0, "it is under way");
    receiver.answer(|_| Answer::Status(200));
    until("all delivered", || running.commits.head(0) == 3).await;
    until("pressed", || running.commits.1.load(Ordering::Relaxed) == 1).await;
    running.events.send(SourceEvent::Full(slot(0))).unwrap();
    until("pressed at once", || running.commits.1.load(Ordering::Relaxed) == 2).await;
    running.end().await;
}

/// The store may be far behind, or away: who asks it nothing does not wait for it.
#[tokio::test]
async fn what_is_made_of_the_change_alone_waits_for_no_context() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [("alone", ""), ("joined", ", job: job.name")] {
        let fields = format!("{{application_id: change.application_id, key: delivery.key{more}}}");
        let text = format!(
            "system: {name}\nsummary: x\nrequests: {{move: {{entity: stage-change, body: {{fields: {fields}}}}}}}\n"
        );
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("sink.yaml"), text).unwrap();
    }
    let systems = Systems::of_folder(folder.path()).unwrap();
    let context = context();
    context.put_application_alone("a");
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let sink = |system| {
        let running = run(&systems.get(system).unwrap(), &receiver, &context, Options::default());
        running.assign(&[0]);
        running.record(arrival(0, 0, "a", &change("a", 1, "STAGE")));
        running
    };
    let (alone, joined) = (sink("alone"), sink("joined"));
    until("delivered", || alone.commits.head(0) == 1).await;
    until("the other to wait", || joined.metric("hirewire_route_context_waits") == 1).await;
    assert_eq!((receiver.taken().len(), joined.commits.head(0)), (1, 0));
    context.put_application("a");
    until("the other too", || joined.commits.head(0) == 1).await;
    alone.end().await;
    joined.end().await;
}
