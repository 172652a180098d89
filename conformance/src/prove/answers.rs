//! Does a bad answer lose anything: refused, too often, broken, cut off, an error under 200, in a circle, forgotten?

use std::time::Duration;

use hirewire_ingest::manifest::Stream;
use hirewire_sim::vendor::{Fault, When};

use super::scene::Scene;
use super::{Answers, Kit};

/// As long as a whole read.
const THROUGHOUT: u32 = u32::MAX;
/// Faults of SOAP: one that may be asked again, and one that gives the same again.
const SERVER: &str = "Server.processingFault";
const CLIENT: &str = "Client.validationError";
/// What a vendor says with `Retry-After`.
const WAIT_SECS: u64 = 1;

pub(super) async fn prove(kit: &Kit, stream: &Stream, waits: bool) -> Answers {
    let mut answers = Answers::default();
    let mut scene = match Scene::new(kit, stream).await {
        Ok(scene) => scene,
        Err(why) => {
            answers.ask(Some(why));
            return answers;
        }
    };
    scene.read().await;
    scene.settle().await;
    if scene.judge("").is_some() {
        // Told by the proof of the cursor.
        return answers;
    }
    for (fault, times) in faults(kit, stream) {
        for when in [When::FirstPage, When::LaterPage] {
            // A first page names no page before it.
            if when == When::FirstPage && matches!(fault, Fault::Circle | Fault::PagesForgotten) {
                continue;
            }
            scene.disturb();
            scene.plan(fault.clone(), when, times);
            scene.read().await;
            let met = scene.fault_was_met(times);
            scene.settle().await;
            scene.settle().await;
            if met {
                answers.ask(scene.judge(&format!("after {}", said(&fault, when, times))));
            }
        }
    }
    if waits {
        answers.ask(waited(&mut scene).await);
    }
    answers
}

fn faults(kit: &Kit, stream: &Stream) -> Vec<(Fault, u32)> {
    let mut faults = vec![
        (Fault::TokenEnded, 1),
        (Fault::Status(401), THROUGHOUT),
        (Fault::Status(403), 1),
        (Fault::Status(kit.rules.rate.status), 2),
        (Fault::RetryAfter(kit.rules.rate.status, 0), 2),
        (Fault::Status(500), 1),
        (Fault::Status(503), THROUGHOUT),
        (Fault::Half, 1),
        (Fault::BrokenOff, 1),
        (Fault::BrokenOff, THROUGHOUT),
        (Fault::Circle, 1),
    ];
    if kit.rules.paging.unknown.is_some() {
        faults.push((Fault::PagesForgotten, 1));
    }
    if stream.request.is_some() {
        faults.extend([(Fault::Code(SERVER), 1), (Fault::Code(SERVER), THROUGHOUT), (Fault::Code(CLIENT), 1)]);
    }
    if kit.rules.refuses_under_200() {
        faults.extend([(Fault::Code("internal_error"), 1), (Fault::Code("internal_error"), THROUGHOUT)]);
    }
    faults
}

fn said(fault: &Fault, when: When, times: u32) -> String {
    let what = match fault {
        Fault::Status(status) => format!("{status}"),
        Fault::RetryAfter(status, _) => format!("{status} with Retry-After"),
        Fault::TokenEnded => "401 once".to_owned(),
        Fault::Half => "an answer that is cut off".to_owned(),
        Fault::BrokenOff => "a connection that broke off".to_owned(),
        Fault::Code(code @ (SERVER | CLIENT)) => format!("the SOAP fault {code}"),
        Fault::Code(code) => format!("the error {code} under 200"),
        Fault::Circle => "a page that names itself as the next".to_owned(),
        Fault::PagesForgotten => "a page that is not known any more".to_owned(),
    };
    let place = if when == When::FirstPage { "the first page" } else { "a later page" };
    let long = if times == THROUGHOUT { ", throughout a read" } else { "" };
    format!("{what} at {place}{long}")
}

/// Whether the next request came no earlier than the vendor said.
async fn waited(scene: &mut Scene) -> Option<String> {
    scene.disturb();
    scene.plan(Fault::RetryAfter(429, WAIT_SECS), When::FirstPage, 1);
    let before = scene.vendor.with(|account| account.asked.len());
    scene.read().await;
    let asked = scene.vendor.with(|account| account.asked.split_off(before));
    let early = match asked.as_slice() {
        [first, second, ..] => second.duration_since(*first) < Duration::from_secs(WAIT_SECS),
        _ => false,
    };
    early.then(|| format!("asked again before Retry-After: {WAIT_SECS} was over"))
}
