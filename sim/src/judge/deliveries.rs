//! The receivers' logs against what each should have got.
//!
//! What should arrive follows from the ledger's LIVE entries (a change learnt late fires nothing), what it should say
//! follows from the truth: the pay of the accepted offer, the start date, the hire that a cancellation names.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::ledger::LedgerEntry;
use super::summary::DeliveryCounts;
use super::{CanonicalId, Evidence};
use crate::effects::{ChangeKind, TrueChange, TrueHire};
use crate::receivers::{RECEIVERS, Received};
use crate::world::company::is_assessment;

pub struct DeliveryInput<'a> {
    pub evidence: &'a Evidence,
    pub ledger: &'a [LedgerEntry],
    pub canonical: CanonicalId<'a>,
    /// Event ids of the analytics store's rows, one per row.
    pub analytics: &'a [String],
    pub dead: &'a BTreeMap<String, u64>,
}

/// One thing that a receiver should get.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    /// The `type` of the body.
    kind: String,
    /// For an assessment: the canonical id of the stage.
    stage: Option<String>,
}

/// Counts per sink.
#[must_use]
pub fn deliveries(input: &DeliveryInput<'_>, findings: &mut Vec<String>) -> BTreeMap<String, DeliveryCounts> {
    let mut found = BTreeMap::new();
    for receiver in RECEIVERS {
        let mut counts = receiver_counts(input, receiver, findings);
        counts.dead = input.dead.get(receiver).copied().unwrap_or(0);
        counts.not_applicable = input.evidence.not_applicable.get(receiver).cloned();
        found.insert(receiver.to_owned(), counts);
    }
    let mut analytics = analytics(input, findings);
    analytics.dead = input.dead.get("analytics").copied().unwrap_or(0);
    found.insert("analytics".to_owned(), analytics);
    found
}

fn analytics(input: &DeliveryInput<'_>, findings: &mut Vec<String>) -> DeliveryCounts {
    let wanted: HashSet<&str> = input.ledger.iter().map(|entry| entry.event_id.as_str()).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut counts = DeliveryCounts { expected: wanted.len() as u64, ..DeliveryCounts::default() };
    for row in input.analytics {
        if !wanted.contains(row.as_str()) || !seen.insert(row) {
            counts.duplicated += 1;
            findings.push(format!("analytics: event {row} is there twice, or is not of the ledger"));
        }
    }
    counts.delivered = seen.len() as u64;
    if counts.delivered < counts.expected {
        findings.push(format!(
            "analytics: {} of {} events are missing",
            counts.expected - counts.delivered,
            counts.expected
        ));
    }
    counts
}

fn receiver_counts(input: &DeliveryInput<'_>, receiver: &str, findings: &mut Vec<String>) -> DeliveryCounts {
    let mut counts = DeliveryCounts::default();
    let mut entries: BTreeMap<&str, Vec<&LedgerEntry>> = BTreeMap::new();
    for entry in input.ledger {
        entries.entry(&entry.application_id).or_default().push(entry);
    }
    let (mut got, resent) = processed(input.evidence, receiver, findings);
    counts.resent = resent;
    let truth_of = by_canonical(input);
    let logs = input.evidence.webhooks.iter().filter(|log| log.action == "candidate_anonymized");
    let anonymised: HashSet<&str> = logs.filter_map(|log| log.application.as_deref()).collect();
    let none = Vec::new();
    for (application, mut entries) in entries {
        entries.sort_by_key(|entry| entry.sequence_no);
        let arrived = got.remove(application).unwrap_or_default();
        let truth = truth_of.get(application).unwrap_or(&none);
        let wanted = wanted(input, receiver, &entries, truth);
        // What was on its way when the application or its person vanished may never arrive.
        let vanished = truth.first().is_some_and(|change| anonymised.contains(change.application.as_str()));
        let gone = vanished || truth.iter().any(|change| change.kind == ChangeKind::Deleted);
        // People find an application by the vendor's id.
        let label =
            truth.first().map_or(application.to_owned(), |change| format!("application {}", change.application));
        one_application(receiver, &label, &wanted, &arrived, truth, gone, &mut counts, findings);
    }
    for (application, arrived) in got {
        counts.duplicated += arrived.len() as u64;
        findings.push(format!(
            "{receiver}: {} deliveries for {application}, which no ledger entry is about",
            arrived.len()
        ));
    }
    counts
}

/// Truth by canonical application id.
fn by_canonical<'a>(input: &DeliveryInput<'a>) -> HashMap<String, Vec<&'a TrueChange>> {
    let mut known: HashMap<&str, String> = HashMap::new();
    let mut found: HashMap<String, Vec<&TrueChange>> = HashMap::new();
    for change in &input.evidence.truth {
        let id =
            known.entry(&change.application).or_insert_with(|| (input.canonical)("Application", &change.application));
        found.entry(id.clone()).or_default().push(change);
    }
    found
}

/// One processed request of a receiver.
#[derive(Debug)]
struct Arrived<'a> {
    id: &'a str,
    body: Value,
}

/// What each application's requests came to, first processing only, and how many came again after a 2xx.
fn processed<'a>(
    evidence: &'a Evidence,
    receiver: &str,
    findings: &mut Vec<String>,
) -> (BTreeMap<String, Vec<Arrived<'a>>>, u64) {
    let mut got: BTreeMap<String, Vec<Arrived<'_>>> = BTreeMap::new();
    let mut slow: HashSet<&str> = HashSet::new();
    let mut resent = 0;
    for request in evidence.received.iter().filter(|request| request.receiver == receiver) {
        match request.note.as_str() {
            "processed" | "slow" => {
                if request.note == "slow" {
                    slow.insert(&request.webhook_id);
                }
                let arrived = read(request);
                match arrived {
                    Some((application, body)) => {
                        got.entry(application).or_default().push(Arrived { id: &request.webhook_id, body });
                    }
                    None => findings.push(format!("{receiver}: request {} has no readable body", request.number)),
                }
            }
            // The sender gave up on a slow answer: coming again is right, once.
            "again" if slow.remove(request.webhook_id.as_str()) => {}
            "again" => resent += 1,
            "bad_signature" => findings.push(format!("{receiver}: request {} has a bad signature", request.number)),
            _ => {}
        }
    }
    (got, resent)
}

fn read(request: &Received) -> Option<(String, Value)> {
    let body: Value = serde_json::from_slice(&request.body).ok()?;
    Some((body.get("application_id")?.as_str()?.to_owned(), body))
}

fn wanted(input: &DeliveryInput<'_>, receiver: &str, entries: &[&LedgerEntry], truth: &[&TrueChange]) -> Vec<Wanted> {
    let (hire, cancel) = match receiver {
        "onboarding" => ("hire", "hire_cancelled"),
        _ => ("pay", "pay_cancelled"),
    };
    let mut list = Vec::new();
    if input.evidence.not_applicable.contains_key(receiver) {
        return list;
    }
    let mut open_hires = 0;
    let assessments: HashSet<String> = truth
        .iter()
        .filter_map(|change| change.to_stage.as_ref())
        .filter(|stage| is_assessment(&stage.name))
        .map(|stage| (input.canonical)("Stage", &stage.id))
        .collect();
    for entry in entries.iter().filter(|entry| entry.is_live() && !is_history(input.evidence, entry)) {
        if receiver == "assessment" {
            let stage = |stage: &Option<super::LedgerStage>| stage.as_ref().and_then(|stage| stage.id.clone());
            let (from, to) = (stage(&entry.from_stage), stage(&entry.to_stage));
            let closes = matches!(entry.change_type.as_str(), "REJECTION" | "WITHDRAWAL" | "HIRE" | "DELETED");
            if !closes && from != to && to.as_ref().is_some_and(|to| assessments.contains(to)) {
                list.push(Wanted { kind: "assessment_order".to_owned(), stage: to });
            }
        } else if entry.change_type == "HIRE" {
            open_hires += 1;
            list.push(Wanted { kind: hire.to_owned(), stage: None });
        } else if entry.change_type == "UNHIRE" && open_hires > 0 {
            open_hires -= 1;
            list.push(Wanted { kind: cancel.to_owned(), stage: None });
        }
    }
    list
}

fn is_history(evidence: &Evidence, entry: &LedgerEntry) -> bool {
    entry.first_load_only || entry.occurred_at_micros.is_some_and(|at| at / 1000 < evidence.start_ms)
}

#[expect(clippy::too_many_arguments, reason = "one call, made for reading")]
fn one_application(
    receiver: &str,
    application: &str,
    wanted: &[Wanted],
    arrived: &[Arrived<'_>],
    truth: &[&TrueChange],
    gone: bool,
    counts: &mut DeliveryCounts,
    findings: &mut Vec<String>,
) {
    let mut open: Vec<Option<&Wanted>> = wanted.iter().map(Some).collect();
    let mut furthest = 0;
    let mut taken = 0;
    let mut times: HashMap<Wanted, usize> = HashMap::new();
    for (n, request) in arrived.iter().enumerate() {
        let got = kind_of(&request.body);
        let seen = times.entry(got.clone()).or_default();
        *seen += 1;
        let place = open.iter().position(|wanted| *wanted == Some(&got));
        let Some(place) = place.filter(|_| *seen <= truly(&got, truth)) else {
            counts.duplicated += 1;
            findings.push(format!("{receiver}: one {} too many for {application}", got.kind));
            continue;
        };
        if let Some(slot) = open.get_mut(place) {
            *slot = None;
        }
        if place < furthest {
            counts.out_of_order += 1;
            findings.push(format!("{receiver}: {} for {application} came after a later one", got.kind));
        }
        furthest = furthest.max(place);
        match contents(&got, request, arrived.get(..n).unwrap_or(&[]), truth) {
            Ok(()) => taken += 1,
            Err(wrong) => findings.push(format!("{receiver}: {} for {application}: {wrong}", got.kind)),
        }
    }
    let expected = if gone { taken } else { wanted.len() as u64 };
    counts.expected += expected;
    counts.delivered += taken;
    if taken < expected {
        let line = format!("{receiver}: {} of {expected} for {application} are missing or wrong", expected - taken);
        findings.push(line);
    }
}

/// How often the thing truly happened: a second delivery for one true event is one too many, whatever the ledger says.
fn truly(wanted: &Wanted, truth: &[&TrueChange]) -> usize {
    let kind = match wanted.kind.as_str() {
        "hire" | "pay" => ChangeKind::Hire,
        "hire_cancelled" | "pay_cancelled" => ChangeKind::Unhire,
        _ => {
            let entered = |change: &&&TrueChange| {
                change.from_stage != change.to_stage
                    && change.to_stage.as_ref().is_some_and(|stage| is_assessment(&stage.name))
            };
            return truth.iter().filter(entered).count();
        }
    };
    truth.iter().filter(|change| change.kind == kind).count()
}

fn kind_of(body: &Value) -> Wanted {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    Wanted { kind: text(body.get("type")).unwrap_or_default(), stage: text(body.pointer("/stage/id")) }
}

/// What the body must say.
fn contents(
    wanted: &Wanted,
    request: &Arrived<'_>,
    before: &[Arrived<'_>],
    truth: &[&TrueChange],
) -> Result<(), String> {
    let body = &request.body;
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or("");
    if text("/key") != request.id {
        return Err("its key is not the idempotency key of its header".to_owned());
    }
    if wanted.kind.ends_with("_cancelled") {
        let named = before.iter().any(|earlier| earlier.id == text("/cancels"));
        return if named { Ok(()) } else { Err("it names no hire that was delivered before it".to_owned()) };
    }
    if wanted.kind == "assessment_order" {
        return Ok(());
    }
    // After an unhire and another hire a late delivery may already know the newer offer.
    let hires = truth.iter().filter_map(|change| change.hire.as_ref());
    let mut wrong = "no hire".to_owned();
    for hire in hires {
        match agrees(wanted, body, hire) {
            Ok(()) => return Ok(()),
            Err(text) => wrong = text,
        }
    }
    Err(wrong)
}

fn agrees(wanted: &Wanted, body: &Value, hire: &TrueHire) -> Result<(), String> {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or("");
    if text("/start_date") != hire.starts_on {
        return Err(format!("start date {} instead of {}", text("/start_date"), hire.starts_on));
    }
    if wanted.kind == "pay" {
        let list = body.pointer("/compensation").and_then(Value::as_array);
        let salary = list.and_then(|list| list.iter().find(|part| coded(part.get("kind")) == Some("SALARY")));
        let amount = salary.and_then(|part| part.get("amount")).and_then(cents);
        if amount != Some(hire.salary_cents) {
            return Err(format!("salary {amount:?} cents instead of {}", hire.salary_cents));
        }
        if salary.and_then(|part| coded(part.get("currency"))) != Some(&hire.currency) {
            return Err("another currency".to_owned());
        }
        if salary.and_then(|part| coded(part.get("period"))).is_none() {
            return Err("no period".to_owned());
        }
    } else if text("/job/name") != hire.job {
        return Err("another job than the one of the hire".to_owned());
    } else if body.pointer("/person/id").is_none_or(Value::is_null) {
        return Err("no person".to_owned());
    }
    Ok(())
}

/// The symbol of a coded value, written plainly or as `{value, raw, rule}`.
fn coded(value: Option<&Value>) -> Option<&str> {
    let value = value?;
    value.as_str().or_else(|| value.get("value")?.as_str())
}

/// A decimal as text or number, in hundredths.
fn cents(value: &Value) -> Option<i64> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let hundredths: String = part.chars().chain("00".chars()).take(2).collect();
    Some(whole.parse::<i64>().ok()? * 100 + hundredths.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_as_decimals() {
        for text in ["\"80000\"", "80000", "\"80000.00\"", "80000.0", "\"80000.0000\""] {
            assert_eq!(cents(&serde_json::from_str(text).unwrap()), Some(8_000_000), "{text}");
        }
        assert_eq!(cents(&serde_json::json!("72500.5")), Some(7_250_050));
    }
}
