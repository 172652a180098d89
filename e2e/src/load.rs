//! Moves of applications as fast as they are acknowledged, and the verdict on what became of them.
//!
//! What goes wrong ends the test that called.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::deployment::{Deployment, Ends, Moved};
use crate::http::Receiver;

pub const APPLICATIONS: u64 = 24;
/// Longer than a webhook is refused by who comes back.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
pub struct Sent {
    /// When the moves of each application were acknowledged.
    moves: BTreeMap<u64, Vec<Instant>>,
    /// Webhooks that were not answered 200; each was sent again until it was.
    pub refused: usize,
}

impl Sent {
    /// Moves of all applications in turn while `work` is done.
    pub fn during<T>(&mut self, deployment: &Deployment, work: impl FnOnce() -> T) -> T {
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.go_on(&enough, deployment));
            let _ends = Ends(&enough);
            work()
        })
    }

    /// The next move of an application; returns when it is acknowledged.
    pub fn next(&mut self, deployment: &Deployment, application: u64) {
        let moves = self.moves.entry(application).or_default();
        let number = moves.len() as u64 + 1;
        let at = format!("2026-02-09T{:02}:{:02}:{:02}Z", number / 3600, number / 60 % 60, number % 60);
        let (stage_id, stage) = (100 + number, "Assessment");
        let moved = Moved { application, stage_id, stage, at: &at, traceparent: None };
        let began = Instant::now();
        while !deployment.post(&moved).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            assert!(began.elapsed() < PATIENCE, "nobody takes webhooks any more");
            self.refused += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        moves.push(Instant::now());
    }

    fn go_on(&mut self, enough: &AtomicBool, deployment: &Deployment) {
        for application in (1..=APPLICATIONS).cycle() {
            if enough.load(Ordering::SeqCst) {
                return;
            }
            self.next(deployment, application);
        }
    }

    pub fn count(&self) -> usize {
        self.moves.values().map(Vec::len).sum()
    }

    /// Every move is in the ledger and was delivered, once and in order; says how long the longest took.
    pub fn judge(&self, deployment: &Deployment, receiver: &Receiver) -> String {
        let received = deliveries(receiver);
        let led = led(deployment);
        assert_eq!(deployment.ledger().len(), self.moves.len(), "numbered without gaps, and no other application");
        let (mut slowest, mut longest) = (Duration::ZERO, Duration::ZERO);
        for (application, sent) in &self.moves {
            let application = application.to_string();
            let moves = &led[&application];
            assert_eq!(moves.len(), sent.len(), "application {application}");
            assert!(moves.is_sorted_by(|one, next| one.0 < next.0), "application {application}: {moves:?}");
            let own: Vec<&Delivery> = received.iter().filter(|delivery| delivery.application == application).collect();
            let delivered: Vec<&Value> = own.iter().map(|delivery| &delivery.stage).collect();
            let led: Vec<&Value> = moves.iter().map(|(_, stage)| stage).collect();
            assert_eq!(delivered, led, "application {application}");
            let ways = own.iter().zip(sent).map(|(delivery, sent)| delivery.at.saturating_duration_since(*sent));
            slowest = slowest.max(ways.max().unwrap());
            longest = longest.max(own.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or_default());
        }
        let again = receiver.requests().len() - received.len();
        format!(
            "{} moves of {APPLICATIONS} applications: 0 lost, 0 doubled, 0 out of order, {} webhooks refused and sent again, \
             {again} deliveries repeated under their key; longest pause of an application's events {longest:.1?}, \
             longest way of an event from its webhook to the sink {slowest:.1?}",
            self.count(),
            self.refused
        )
    }
}

/// A move as a sink's receiver was told of it.
pub struct Delivery {
    application: String,
    stage: Value,
    at: Instant,
}

/// Each once: a receiver knows by its key what was under way at a stop and comes again.
pub fn deliveries(receiver: &Receiver) -> Vec<Delivery> {
    let requests = receiver.requests();
    let mut seen = BTreeSet::new();
    let taken = requests.iter().filter(|request| request.answered == 200);
    let new = taken.filter(|request| seen.insert(&request.headers["idempotency-key"]));
    new.map(|request| {
        let body = request.json();
        let application = body["application_remote_id"].as_str().unwrap().to_owned();
        Delivery { application, stage: body["stage"]["id"].clone(), at: request.at }
    })
    .collect()
}

/// The longest time without any delivery that began after each of these moments and before the next.
pub fn silences(receiver: &Receiver, moments: &[Instant]) -> Vec<Duration> {
    let times: Vec<Instant> = deliveries(receiver).into_iter().map(|delivery| delivery.at).collect();
    let gaps: Vec<(Instant, Duration)> = times.windows(2).map(|pair| (pair[0], pair[1] - pair[0])).collect();
    let within = |number: usize, at: Instant| {
        let (from, to) = (moments[number], moments.get(number + 1).copied());
        at + Duration::from_secs(1) >= from && to.is_none_or(|to| at < to)
    };
    let longest =
        |number| gaps.iter().filter(|(at, _)| within(number, *at)).map(|(_, gap)| *gap).max().unwrap_or_default();
    (0..moments.len()).map(longest).collect()
}

/// The ledger's moves of each application: when each was, and the stage that it led to.
fn led(deployment: &Deployment) -> BTreeMap<String, Vec<(String, Value)>> {
    let mut moves: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for record in deployment.tail("stage-change") {
        let value = &record["value"];
        if value["to_stage"]["id"] != value["from_stage"]["id"] {
            let (application, stage) = (value["meta"]["remote_id"].as_str().unwrap(), value["to_stage"]["id"].clone());
            moves.entry(application.to_owned()).or_default().push((value["occurred_at"].to_string(), stage));
        }
    }
    moves
}
