//! Other settings while the service runs, on a broker: nothing is lost, nothing is sent twice, mistakes change nothing.

use std::collections::HashMap;

use hirewire_schemas::Entity;
use serde_json::json;

use super::ground::{Ground, JOB, Service, application_id, now};
use super::support::{Answer, Received, Receiver, until};

/// FAULTS C2. Two sinks change in all that can be changed in place, a third comes and goes, while the receivers fail now
/// and then, so that there is always something under way and something that waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_lose_nothing_and_send_nothing_twice() {
    const APPLICATIONS: usize = 12;
    const RELOADS: u64 = 100;
    let ground = Ground::lay().await;
    let receivers = [flaky(1).await, flaky(2).await, Receiver::start(|_| Answer::Status(200)).await];
    let config = |turn: u64| {
        let sink = |name: &str, at: usize| {
            format!(
                "  {name}: {{system: assessment, http: {{url: 'http://{}/{}', timeout: {}s, allow: {{networks: ['127.0.0.0/8']}}}}, \
                 retry: {{first: 20ms, longest: 200ms}}, concurrency: {}}}\n",
                receivers[at].address,
                turn % 3,
                2 + turn % 2,
                500 + turn % 2
            )
        };
        let third = (turn / 20).is_multiple_of(2);
        let mut text = format!("sinks:\n{}{}", sink("one", 0), sink("two", 1));
        if third {
            text += &sink("three", 2);
        }
        text += &format!("routes:\n  one: {{sink: one, requires_within: {}m}}\n  two: {{sink: two}}\n", 1 + turn % 5);
        if third { text + "  three: {sink: three}\n" } else { text }
    };
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    for number in 0..APPLICATIONS {
        ground.put_context(&application_id(number)).await;
    }
    let service = ground.start(&config(0), &ground.folder.path().join("data")).await;
    let mut sequence_no = 0;
    for turn in 1..=RELOADS {
        if turn % 2 == 1 {
            sequence_no += 1;
            for number in 0..APPLICATIONS {
                ground.put_change(&application_id(number), sequence_no, "STAGE", now(), "WEBHOOK").await;
            }
        }
        if turn % 10 == 0 {
            service.reloads.send(Err("hirewire.yaml:1: a mistake".to_owned())).await.unwrap();
            until("the refusal", || service.reloads("refused") == turn / 10).await;
        }
        service.reloads.send(Ok(Ground::settings(&config(turn)))).await.unwrap();
        until("the reload", || service.reloads("applied") == turn).await;
    }
    // The same once more, from another place of the file.
    service.reloads.send(Ok(Ground::settings(&format!("# moved\n{}", config(RELOADS))))).await.unwrap();
    until("the reload that says nothing new", || service.reloads("unchanged") == 1).await;
    service.reloads.send(Ok(Ground::settings(&config(0)))).await.unwrap();
    let sent = sequence_no * APPLICATIONS as i64;
    for receiver in &receivers {
        until("all changes", || receiver.taken().len() as i64 >= sent).await;
    }
    service.stop().await;
    for receiver in &receivers {
        in_order_and_once(&receiver.taken(), sequence_no, APPLICATIONS);
    }
    let paths: std::collections::BTreeSet<String> =
        receivers[0].all().into_iter().map(|received| received.line).collect();
    assert_eq!(paths.len(), 3, "each of the settings was used: {paths:?}");
    for sink in ["one", "two", "three"] {
        assert!(ground.read_all(&ground.names.route_dead_letter(sink)).is_empty());
    }
}

async fn flaky(seed: u64) -> Receiver {
    let mut dice = fastrand::Rng::with_seed(seed);
    Receiver::start(move |_| match dice.u8(..10) {
        0..=2 => Answer::Status(500),
        3 => Answer::Throttle,
        _ => Answer::Slowly(200),
    })
    .await
}

fn in_order_and_once(taken: &[Received], last: i64, applications: usize) {
    let mut seen: HashMap<&str, i64> = HashMap::new();
    for received in taken {
        let stage: i64 = received.body["stage"]["id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        let before = seen.entry(received.application()).or_default();
        assert_eq!(stage, *before + 1, "of {}", received.application());
        *before = stage;
    }
    assert!(seen.len() == applications && seen.values().all(|stage| *stage == last), "{seen:?}");
}

/// What waits at a closed gate goes on by the new settings, and the metric says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_gone_goes_on_at_its_new_address_without_a_restart() {
    let ground = Ground::lay().await;
    let (gone, new) = (Receiver::start(|_| Answer::Status(410)).await, Receiver::start(|_| Answer::Status(200)).await);
    let config = |receiver: &Receiver| {
        format!(
            "sinks: {{assessment: {{http: {{url: 'http://{}/in', allow: {{networks: ['127.0.0.0/8']}}}}}}}}\n\
             routes: {{assessment: {{sink: assessment}}}}\n",
            receiver.address
        )
    };
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    let service = ground.start(&config(&gone), &ground.folder.path().join("data")).await;
    for number in 0..3 {
        ground.put_context(&application_id(number)).await;
        ground.put_change(&application_id(number), 1, "STAGE", now(), "WEBHOOK").await;
    }
    let held = |service: &Service| service.counter("hirewire_route_sink_held", "assessment");
    until("the hold", || held(&service) == 1).await;
    service.reloads.send(Ok(Ground::settings(&config(&new)))).await.unwrap();
    until("all of them at the new address", || new.taken().len() == 3).await;
    assert_eq!(held(&service), 0);
    service.stop().await;
    assert!(ground.read_all(&ground.names.route_dead_letter("assessment")).is_empty());
}

/// What hires are kept is forgotten with the sink that wanted them, so that those in between are read once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_brought_back_takes_back_what_came_while_it_was_gone() {
    let ground = Ground::lay().await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let config = |with_onboarding: bool| {
        let sink = |name: &str| {
            let url = format!("http://{}/{name}", receiver.address);
            format!("{name}: {{http: {{url: '{url}', allow: {{networks: ['127.0.0.0/8']}}}}}}")
        };
        let (sinks, routes) = match with_onboarding {
            true => (format!(", {}", sink("onboarding")), ", onboarding: {sink: onboarding}"),
            false => (String::new(), ""),
        };
        let kept = sink("assessment");
        format!("sinks: {{{kept}{sinks}}}\nroutes: {{assessment: {{sink: assessment}}{routes}}}\n")
    };
    ground.put(Entity::Job, JOB, JOB, json!({"name": "Engineer"})).await;
    ground.put_context(&application_id(1)).await;
    let service = ground.start(&config(true), &ground.folder.path().join("data")).await;
    let reload = async |with_onboarding, turn| {
        service.reloads.send(Ok(Ground::settings(&config(with_onboarding)))).await.unwrap();
        until("the reload", || service.reloads("applied") == turn).await;
    };
    let sent = |path: &str| receiver.taken().into_iter().filter(|one| one.line.contains(path)).collect::<Vec<_>>();
    reload(false, 1).await;
    ground.put_change(&application_id(1), 1, "HIRE", now(), "WEBHOOK").await;
    // An order is made of it only when the context has read the hire before it.
    ground.put_change(&application_id(1), 2, "STAGE", now(), "WEBHOOK").await;
    until("the order", || sent("assessment").len() == 1).await;
    reload(true, 2).await;
    ground.put_change(&application_id(1), 3, "UNHIRE", now(), "WEBHOOK").await;
    until("the hire and its cancellation", || sent("onboarding").len() == 2).await;
    let [hire, cancellation] = sent("onboarding").try_into().unwrap();
    assert_eq!(cancellation.body["cancels"], hire.body["key"]);
    service.stop().await;
}
