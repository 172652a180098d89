//! The simulator as its clients see it: lists, filters and pages, webhooks, receivers, and a resume after a stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use hirewire_sim::{Faults, GREENHOUSE_API, Rules, Simulator};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use support::{Inbox, list, quick, token, until};

#[tokio::test(flavor = "multi_thread")]
async fn rows_have_exactly_the_documented_fields_and_webhooks_are_signed() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 7, 60);
    settings.scenario.faults = Faults::none();
    settings.scenario.past_applications = 40;
    let inbox = Inbox::default();
    settings.webhook_url = Some(inbox.listen().await);
    let sim = Simulator::start(settings).await.unwrap();
    sim.play().unwrap();
    until("the play", Duration::from_secs(60), || sim.finished().unwrap()).await;

    tokio::time::sleep(Duration::from_millis(300)).await; // the visible lag
    let token = token(&sim).await;
    let rules = Rules::read("api.yaml", GREENHOUSE_API).unwrap();
    for stream in &rules.streams {
        let rows = list(&sim, &token, &stream.name, "per_page=37").await;
        assert!(!rows.is_empty(), "{} has no rows", stream.name);
        let ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "{}: ids must fall", stream.name);
        for row in &rows {
            let fields = row.as_object().unwrap();
            let known: BTreeSet<&String> = stream.fields.keys().collect();
            assert_eq!(fields.keys().collect::<BTreeSet<_>>(), known, "{}", stream.name);
            for (name, kind) in &stream.fields {
                assert!(fits(&fields[name], kind), "{}.{name} is {} and not {kind}", stream.name, fields[name]);
            }
        }
    }

    let actions: BTreeSet<String> =
        inbox.bodies().iter().map(|body| body["action"].as_str().unwrap().to_owned()).collect();
    for action in ["ping", "new_candidate_application", "candidate_stage_change", "hire_candidate", "unhire_candidate"]
    {
        assert!(actions.contains(action), "no {action} among {actions:?}");
    }
    for (headers, body) in inbox.got.lock().unwrap().iter() {
        let mut mac = Hmac::<Sha256>::new_from_slice(sim.webhook_secret.as_bytes()).unwrap();
        mac.update(body);
        let expected = format!("sha256 {}", hex::encode(mac.finalize().into_bytes()));
        assert_eq!(headers["signature"].to_str().unwrap(), expected);
        assert!(headers.contains_key("greenhouse-event-id"));
        assert!(!body.contains(&b'<'), "markup is escaped before it is signed");
    }
}

fn fits(value: &Value, kind: &str) -> bool {
    let plain = kind.trim_end_matches('?');
    if value.is_null() {
        return kind.ends_with('?');
    }
    match plain {
        "int" => value.is_i64(),
        "bool" => value.is_boolean(),
        "list" => value.is_array(),
        "object" => value.is_object(),
        "instant" => value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z')),
        "date" => value.as_str().is_some_and(|text| text.len() == 10),
        _ => value.is_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_obey_the_rules_of_the_vendor() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 8, 40);
    settings.scenario.faults = Faults::none();
    settings.scenario.pace.requests_per_window = 30;
    settings.scenario.pace.rate_window_ms = 2_000;
    let sim = Simulator::start(settings).await.unwrap();
    let client = reqwest::Client::new();

    let refused = client.get(format!("{}/users", sim.access.api_url)).send().await.unwrap();
    assert_eq!(refused.status(), 401, "no token");
    let wrong = client.post(&sim.access.token_url).basic_auth("x", Some("y")).send().await.unwrap();
    assert_eq!(wrong.status(), 401);

    let token = token(&sim).await;
    let get = |query: &str| {
        client.get(format!("{}/job_interview_stages?{query}", sim.access.api_url)).bearer_auth(&token).send()
    };
    let first = get("per_page=2").await.unwrap();
    let link = first.headers()["link"].to_str().unwrap().to_owned();
    let cursor = link.split("cursor=").nth(1).unwrap().split('>').next().unwrap().to_owned();
    assert_eq!(get(&format!("cursor={cursor}")).await.unwrap().status(), 200);
    let both = get(&format!("cursor={cursor}&per_page=2")).await.unwrap();
    assert_eq!(both.status(), 422);
    let body: Value = both.json().await.unwrap();
    assert_eq!(body["errors"][0], "When passing a cursor, do not include other query params.");
    assert_eq!(get("per_page=501").await.unwrap().status(), 422);
    assert_eq!(
        client.get(format!("{}/nothing", sim.access.api_url)).bearer_auth(&token).send().await.unwrap().status(),
        404
    );
    let service = list(&sim, &token, "users", "show_service_accounts=true").await;
    assert_eq!(service.len(), list(&sim, &token, "users", "").await.len() + 1);

    let built_in = list(&sim, &token, "rejection_reasons", "include_defaults=true").await;
    assert_eq!(built_in.len(), list(&sim, &token, "rejection_reasons", "").await.len() + 2);

    let mut last = 200;
    for _ in 0..60 {
        let answer = get("").await.unwrap();
        last = answer.status().as_u16();
        if last == 429 {
            assert!(answer.headers().contains_key("retry-after"));
            assert_eq!(answer.headers()["x-ratelimit-remaining"], "0");
            break;
        }
    }
    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_shows_what_changed_in_it_after_the_lag() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 12, 40);
    settings.scenario.faults = Faults::none();
    let inbox = Inbox::default();
    settings.webhook_url = Some(inbox.listen().await);
    let sim = Simulator::start(settings).await.unwrap();
    assert!(list(&sim, &token(&sim).await, "applications", "").await.is_empty());
    sim.play().unwrap();
    until("the play", Duration::from_secs(60), || sim.finished().unwrap()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let token = token(&sim).await;
    let all = list(&sim, &token, "applications", "").await;
    let mut times: Vec<String> = all.iter().map(|row| row["updated_at"].as_str().unwrap().to_owned()).collect();
    times.sort();
    let posts = list(&sim, &token, "job_posts", "active=false").await;
    assert!(posts.len() == 1 && posts[0]["active"] == false);
    assert!(list(&sim, &token, "job_posts", "active=true").await.iter().all(|post| post["active"] == true));
    let links = list(&sim, &token, "attachments", "").await;
    assert_ne!(links[0]["url"], list(&sim, &token, "attachments", "").await[0]["url"]);
    let middle = &times[times.len() / 2];
    let upper = list(&sim, &token, "applications", &format!("updated_at=gte%7C{middle}")).await;
    let lower = list(&sim, &token, "applications", &format!("updated_at=lt%7C{middle}")).await;
    assert_eq!(upper.len() + lower.len(), all.len());
    assert!(upper.iter().all(|row| row["updated_at"].as_str().unwrap() >= middle.as_str()));
    assert!(sim.polled_past_the_end(&["applications".to_owned()]));
    assert!(!sim.polled_past_the_end(&["applications", "offers"].map(str::to_owned)));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_webhooks_come_again_and_only_200_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 3, 4);
    settings.scenario.faults = Faults::none();
    let inbox = Inbox::default();
    inbox.answers.lock().unwrap().extend([204, 503, 500]);
    settings.webhook_url = Some(inbox.listen().await);
    let sim = Simulator::start(settings).await.unwrap();
    sim.play().unwrap();
    until("the play", Duration::from_secs(60), || sim.finished().unwrap()).await;
    let logs = sim.webhooks().unwrap();
    assert!(logs.iter().all(|log| log.state == "acked"));
    let attempts: i64 = logs.iter().map(|log| log.attempts).sum();
    assert_eq!(usize::try_from(attempts).unwrap(), logs.len() + 3);
    assert_eq!(inbox.got.lock().unwrap().len(), logs.len() + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_simulation_goes_on_with_the_same_history() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = Inbox::default();
    let url = inbox.listen().await;
    let start = || {
        let mut settings = quick(dir.path(), 21, 50);
        settings.webhook_url = Some(url.clone());
        settings
    };
    let sim = Simulator::start(start()).await.unwrap();
    sim.play().unwrap();
    until("half of the play", Duration::from_secs(30), || sim.progress().unwrap().played > 120).await;
    drop(sim);
    let resumed = Simulator::start(start()).await.unwrap();
    let before = resumed.truth().unwrap();
    let progress = resumed.progress().unwrap();
    assert!(progress.played >= 120 && progress.played < progress.total, "{progress:?}");
    resumed.play().unwrap();
    until("the rest", Duration::from_secs(60), || resumed.finished().unwrap()).await;
    let after = resumed.truth().unwrap();
    assert_eq!(after[..before.len()], before[..]);
    let hires = after.iter().filter(|change| change.kind == hirewire_sim::ChangeKind::Hire).count();
    assert!(hires >= 2);
    for pair in after.windows(2).filter(|pair| pair[0].application == pair[1].application) {
        assert!(pair[1].at - pair[0].at >= 1_000);
    }
    let file = std::fs::read_to_string(dir.path().join("truth.jsonl")).unwrap();
    assert_eq!(file.lines().count(), after.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_fails_in_every_way_that_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 2, 4);
    settings.scenario.faults = Faults { api_429: 0.2, api_5xx: 0.2, api_truncated: 0.4, ..Faults::none() };
    settings.scenario.pace.requests_per_window = 10_000;
    let sim = Simulator::start(settings).await.unwrap();
    let token = token(&sim).await;
    let client = reqwest::Client::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for _ in 0..200 {
        let Ok(answer) = client.get(format!("{}/jobs", sim.access.api_url)).bearer_auth(&token).send().await else {
            seen.insert("broken connection".to_owned());
            continue;
        };
        let (status, waits) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let whole = answer.text().await.map(|text| serde_json::from_str::<Value>(&text).is_ok());
        seen.insert(match (status, waits, whole) {
            (200, _, Ok(true)) => "good".to_owned(),
            (200, _, Ok(false)) => "half a body".to_owned(),
            (200, _, Err(_)) => "broken connection".to_owned(),
            (429, waits, _) => format!("429, says for how long: {waits}"),
            (status, ..) => status.to_string(),
        });
    }
    let expected = [
        "429, says for how long: false",
        "429, says for how long: true",
        "500",
        "503",
        "broken connection",
        "good",
        "half a body",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_at_the_instant_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 2, 4);
    settings.scenario.faults = Faults::none();
    settings.scenario.pace.token_lifetime_ms = 300;
    let sim = Simulator::start(settings).await.unwrap();
    let token = token(&sim).await;
    let client = reqwest::Client::new();
    let get = || client.get(format!("{}/jobs", sim.access.api_url)).bearer_auth(&token).send();
    assert_eq!(get().await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(get().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_told_are_counted_over_all_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = quick(dir.path(), 7, 60);
    settings.scenario.faults = Faults::none();
    let mut told = 0;
    for _ in 0..2 {
        let sim = Simulator::start(settings.clone()).await.unwrap();
        assert_eq!(sim.progress().unwrap().rows_served, told);
        told += list(&sim, &token(&sim).await, "users", "per_page=5").await.len() as u64;
        assert_eq!(sim.progress().unwrap().rows_served, told);
    }
    assert!(told >= 20, "{told}");
}
