//! The judge finds nothing in a faithful ledger, and each kind of mistake in a spoilt one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use hirewire_sim::judge::{Evidence, LedgerEntry, LedgerStage, Verdict, judge};
use hirewire_sim::{ChangeKind, Received, TrueChange, TrueHire, TrueStage, WebhookLog};
use serde_json::{Value, json};

const APPLICATION: &str = "5000000006";

fn canonical(entity: &str, id: &str) -> String {
    format!("{entity}/{id}")
}

/// Applied, tested, offered, hired, unhired: ten seconds apart, each told by a webhook acknowledged after a moment.
fn evidence() -> Evidence {
    let stage = |id: &str, name: &str| Some(TrueStage { id: id.to_owned(), name: name.to_owned() });
    let review = stage("1", "Application Review");
    let test = stage("2", "Assessment");
    let offer = stage("3", "Offer");
    let steps = [
        (ChangeKind::Created, None, review.clone(), None, "ACTIVE"),
        (ChangeKind::Stage, review, test.clone(), Some("ACTIVE"), "ACTIVE"),
        (ChangeKind::Stage, test, offer.clone(), Some("ACTIVE"), "ACTIVE"),
        (ChangeKind::Hire, offer.clone(), offer.clone(), Some("ACTIVE"), "HIRED"),
        (ChangeKind::Unhire, offer.clone(), offer, Some("HIRED"), "ACTIVE"),
    ];
    let mut found = Evidence { start_ms: 1_000_000, least_lag_ms: 100, ..Evidence::default() };
    for ((kind, from_stage, to_stage, from_status, to_status), n) in steps.into_iter().zip(0_i64..) {
        let at = 2_000_000 + n * 10_000;
        let event_id = format!("event-{n}");
        found.webhooks.push(WebhookLog {
            event_id: event_id.clone(),
            action: "x".to_owned(),
            application: Some(APPLICATION.to_owned()),
            step: n,
            copy: 0,
            happened_at: at,
            state: "acked".to_owned(),
            attempts: 1,
            first_sent_at: Some(at + 10),
            acked_at: Some(at + 20),
        });
        found.truth.push(TrueChange {
            application: APPLICATION.to_owned(),
            at,
            kind,
            from_stage,
            to_stage,
            from_status: from_status.map(str::to_owned),
            to_status: Some(to_status.to_owned()),
            from_job: (n > 0).then(|| "9".to_owned()),
            to_job: Some("9".to_owned()),
            past: false,
            webhook: Some(event_id),
            unobservable_if_lost: true,
            hire: (kind == ChangeKind::Hire).then(|| TrueHire {
                job: "Developer".to_owned(),
                starts_on: "2027-01-04".to_owned(),
                salary_cents: 8_000_050,
                currency: "USD".to_owned(),
            }),
        });
    }
    let hire = json!({"type": "hire", "key": "k1", "application_id": canonical("Application", "5000000006"),
        "start_date": "2027-01-04", "job": {"name": "Developer"}, "person": {"id": "p"}});
    let pay = json!({"type": "pay", "key": "k2", "application_id": canonical("Application", "5000000006"),
        "start_date": "2027-01-04", "compensation": [{"kind": "SALARY", "amount": "80000.50", "currency": "USD", "period": "YEAR"}]});
    let cancel = |kind: &str, key: &str, of: &str| json!({"type": kind, "key": key, "cancels": of, "application_id": canonical("Application", "5000000006")});
    let order = json!({"type": "assessment_order", "key": "k5", "application_id": canonical("Application", "5000000006"),
        "stage": {"id": "Stage/2"}});
    receive(&mut found, "assessment", &order);
    receive(&mut found, "onboarding", &hire);
    receive(&mut found, "payroll", &pay);
    receive(&mut found, "onboarding", &cancel("hire_cancelled", "k3", "k1"));
    receive(&mut found, "payroll", &cancel("pay_cancelled", "k4", "k2"));
    found
}

fn receive(evidence: &mut Evidence, receiver: &str, body: &Value) {
    let number = i64::try_from(evidence.received.len()).unwrap();
    evidence.received.push(Received {
        number,
        receiver: receiver.to_owned(),
        webhook_id: body["key"].as_str().unwrap().to_owned(),
        at_ms: 3_000_000 + number,
        status: 200,
        note: "processed".to_owned(),
        body: body.to_string().into_bytes(),
    });
}

fn faithful(evidence: &Evidence) -> Vec<LedgerEntry> {
    let stage = |stage: &Option<TrueStage>| {
        stage
            .as_ref()
            .map(|stage| LedgerStage { id: Some(canonical("Stage", &stage.id)), name: Some(stage.name.clone()) })
    };
    let words = ["CREATED", "STAGE", "STAGE", "HIRE", "UNHIRE"];
    evidence
        .truth
        .iter()
        .zip(1_i64..)
        .map(|(change, n)| LedgerEntry {
            application_id: canonical("Application", &change.application),
            application_remote_id: change.application.clone(),
            event_id: format!("ledger-{n}"),
            sequence_no: n,
            supersedes: Vec::new(),
            change_type: words[usize::try_from(n - 1).unwrap()].to_owned(),
            revision: "LIVE".to_owned(),
            from_stage: stage(&change.from_stage),
            to_stage: stage(&change.to_stage),
            from_status: change.from_status.clone().unwrap_or("UNKNOWN".to_owned()),
            to_status: change.to_status.clone().unwrap(),
            from_job_id: change.from_job.as_deref().map(|id| canonical("Job", id)),
            to_job_id: change.to_job.as_deref().map(|id| canonical("Job", id)),
            occurred_at_micros: Some(change.at * 1000),
            precision: "EXACT".to_owned(),
            not_before_micros: None,
            not_after_micros: None,
            first_load_only: false,
        })
        .collect()
}

fn verdict(evidence: &Evidence, ledger: &[LedgerEntry]) -> Verdict {
    let rows: Vec<String> = ledger.iter().map(|entry| entry.event_id.clone()).collect();
    judge(evidence, ledger, &canonical, &rows, &BTreeMap::new())
}

#[test]
fn a_faithful_ledger_is_clean() {
    let evidence = evidence();
    let found = verdict(&evidence, &faithful(&evidence));
    assert!(found.is_clean(), "{:#?}", found.findings);
    assert_eq!(found.stage_changes.expected, 5);
    assert_eq!(found.stage_changes.found, 5);
    assert_eq!(found.deliveries["onboarding"].delivered, 2);
    assert_eq!(found.deliveries["payroll"].delivered, 2);
    assert_eq!(found.deliveries["assessment"].delivered, 1);
    assert_eq!(found.deliveries["analytics"].delivered, 5);
}

#[test]
fn a_corrected_history_is_compared_by_what_is_effective() {
    let evidence = evidence();
    let mut ledger = faithful(&evidence);
    // The move to the test was learnt late: review -> offer was published first.
    let mut late = ledger.remove(1);
    ledger[1].from_stage = late.from_stage.clone();
    let mut again = faithful(&evidence)[2].clone();
    late.revision = "CORRECTION".to_owned();
    late.event_id = "late".to_owned();
    late.supersedes = vec![ledger[1].event_id.clone()];
    again.revision = "CORRECTION".to_owned();
    again.event_id = "again".to_owned();
    ledger.extend([late, again]);
    for (entry, n) in ledger.iter_mut().zip(1..) {
        entry.sequence_no = n;
    }
    let found = verdict(&evidence, &ledger);
    assert_eq!(found.stage_changes.missing + found.stage_changes.extra + found.stage_changes.wrong_from, 0);
    // ... but the webhook told of it in time.
    assert_eq!(found.stage_changes.live_expected_but_correction, 1);
    // Had the webhook not come, it would be all right, and no order would be due.
    let mut excused = evidence.clone();
    excused.webhooks[1].acked_at = None;
    excused.received.remove(0);
    assert!(verdict(&excused, &ledger).is_clean());
}

#[test]
fn a_hire_is_live_though_the_stage_before_it_was_learnt_late() {
    let mut evidence = evidence();
    let mut ledger = faithful(&evidence);
    // The vendor lost the move to the offer stage; a row told of it after the hire.
    evidence.webhooks[2].state = "dropped".to_owned();
    evidence.webhooks[2].acked_at = None;
    evidence.truth[2].unobservable_if_lost = false;
    let mut hire = ledger[3].clone();
    (hire.event_id, hire.sequence_no) = ("early".to_owned(), 3);
    (hire.from_stage, hire.to_stage) = (ledger[2].from_stage.clone(), ledger[2].from_stage.clone());
    ledger[2].sequence_no = 4;
    ledger[2].supersedes = vec!["early".to_owned()];
    ledger[3].sequence_no = 5;
    ledger[4].sequence_no = 6;
    for n in [2, 3] {
        ledger[n].revision = "CORRECTION".to_owned();
    }
    ledger.push(hire);
    let found = verdict(&evidence, &ledger);
    assert!(found.is_clean(), "{:#?}", found.findings);
    // Without the live one nobody would have acted.
    ledger.pop();
    ledger[2].supersedes.clear();
    let found = verdict(&evidence, &ledger);
    assert_eq!(found.stage_changes.live_expected_but_correction, 1);
}

#[test]
fn a_stage_is_live_though_the_status_that_it_was_entered_with_was_learnt_late() {
    let evidence = evidence();
    let mut ledger = faithful(&evidence);
    // A row told of the move to the offer stage while the application was still believed to be rejected.
    let mut early = ledger[2].clone();
    (early.event_id, early.sequence_no) = ("early".to_owned(), 3);
    (early.from_status, early.to_status) = ("REJECTED".to_owned(), "REJECTED".to_owned());
    ledger[2].revision = "CORRECTION".to_owned();
    ledger[2].supersedes = vec!["early".to_owned()];
    for (entry, number) in ledger[2..].iter_mut().zip(4..) {
        entry.sequence_no = number;
    }
    ledger.push(early);
    let found = verdict(&evidence, &ledger);
    assert!(found.is_clean(), "{:#?}", found.findings);
    // The unhire leaves it in the same stage: live, it would show that stage too.
    ledger[4].revision = "CORRECTION".to_owned();
    assert_eq!(verdict(&evidence, &ledger).stage_changes.live_expected_but_correction, 1, "the unhire");
    ledger.pop();
    ledger[2].supersedes.clear();
    assert_eq!(verdict(&evidence, &ledger).stage_changes.live_expected_but_correction, 2, "and the stage");
}

#[test]
fn what_takes_back_a_hire_that_is_told_later_need_not_be_live() {
    let mut evidence = evidence();
    let mut ledger = faithful(&evidence);
    // The webhook of the hire was late; until then the unhire found the application as it leaves it.
    let taken_back = evidence.webhooks[4].acked_at.unwrap();
    evidence.webhooks[3].acked_at = Some(taken_back + 1_000);
    for n in [3, 4] {
        ledger[n].revision = "CORRECTION".to_owned();
    }
    assert_eq!(verdict(&evidence, &ledger).stage_changes.live_expected_but_correction, 0);
    // Had the hire been told before, the unhire was a move.
    evidence.webhooks[3].acked_at = Some(taken_back - 1);
    assert_eq!(verdict(&evidence, &ledger).stage_changes.live_expected_but_correction, 1);
}

#[test]
fn every_kind_of_mistake_in_the_ledger_is_counted() {
    let evidence = evidence();
    type Spoil = fn(&mut Vec<LedgerEntry>);
    type Read = fn(&Verdict) -> u64;
    let cases: [(&str, Spoil, Read); 10] = [
        ("missing", |l| drop(l.remove(4)), |v| v.stage_changes.missing),
        (
            "extra",
            |l| l.push(LedgerEntry { event_id: "x".into(), sequence_no: 6, ..l[4].clone() }),
            |v| v.stage_changes.extra,
        ),
        ("wrong from", |l| l[2].from_stage = l[1].from_stage.clone(), |v| v.stage_changes.wrong_from),
        ("wrong to", |l| l[2].to_stage = None, |v| v.stage_changes.wrong_to),
        ("wrong status", |l| l[3].to_status = "ACTIVE".into(), |v| v.stage_changes.wrong_to),
        ("wrong time", |l| l[2].occurred_at_micros = Some(2_020_001_000), |v| v.stage_changes.wrong_time),
        ("a time worth nothing", |l| l[2].precision = "UNKNOWN".into(), |v| v.stage_changes.wrong_time),
        ("gap", |l| l[4].sequence_no = 7, |v| v.stage_changes.sequence_gaps),
        ("wrong type", |l| l[4].change_type = "REOPEN".into(), |v| v.stage_changes.missing.min(v.stage_changes.extra)),
        ("unknown application", |l| l[0].application_remote_id = "1".into(), |v| v.stage_changes.extra),
    ];
    for (what, spoil, read) in cases {
        let mut ledger = faithful(&evidence);
        spoil(&mut ledger);
        let found = verdict(&evidence, &ledger);
        assert!(read(&found) >= 1 && !found.is_clean(), "{what}: {:?}", found.stage_changes);
    }
}

#[test]
fn every_kind_of_mistake_at_a_receiver_is_counted() {
    let whole = evidence();
    let ledger = faithful(&whole);
    let body = |n: usize| serde_json::from_slice::<Value>(&whole.received[n].body).unwrap();

    let mut missing = whole.clone();
    missing.received.remove(1);
    assert_eq!(verdict(&missing, &ledger).deliveries["onboarding"].delivered, 0, "and the cancellation names nothing");

    let mut twice = whole.clone();
    let mut second = body(1);
    second["key"] = json!("another key");
    receive(&mut twice, "onboarding", &second);
    assert_eq!(verdict(&twice, &ledger).deliveries["onboarding"].duplicated, 1);

    let mut resent = whole.clone();
    let copy = Received { note: "again".to_owned(), ..resent.received[1].clone() };
    resent.received.push(copy);
    let found = verdict(&resent, &ledger);
    assert_eq!(found.deliveries["onboarding"].resent, 1);
    assert!(found.is_clean(), "the same key is harmless");

    let mut turned = whole.clone();
    turned.received.swap(1, 3);
    assert_eq!(verdict(&turned, &ledger).deliveries["onboarding"].out_of_order, 1);

    let mut underpaid = whole.clone();
    let mut pay = body(2);
    pay["compensation"][0]["amount"] = json!("80000.00");
    underpaid.received[2].body = pay.to_string().into_bytes();
    let found = verdict(&underpaid, &ledger);
    assert_eq!(found.deliveries["payroll"].delivered, 1, "{:?}", found.findings);

    let mut early = whole.clone();
    early.start_ms = 9_000_000;
    let found = verdict(&early, &ledger);
    assert_eq!(found.deliveries["onboarding"].duplicated, 2, "history must not act");

    let rows = vec!["ledger-1".to_owned(), "ledger-1".to_owned()];
    let found = judge(&whole, &ledger, &canonical, &rows, &BTreeMap::new());
    assert_eq!(found.deliveries["analytics"].duplicated, 1);
    assert_eq!(found.deliveries["analytics"].delivered, 1);
}

#[test]
fn what_the_vendor_lost_for_good_is_nobodys_fault() {
    let mut evidence = evidence();
    let mut ledger = faithful(&evidence);
    evidence.webhooks[4].state = "exhausted".to_owned();
    evidence.webhooks[4].acked_at = None;
    evidence.received.truncate(3);
    ledger.remove(4);
    let found = verdict(&evidence, &ledger);
    assert!(found.is_clean(), "{:?}", found.findings);
    assert_eq!(found.stage_changes.unobservable, 1);
    assert_eq!(found.stage_changes.expected, 4);
}
