//! The ledger against the truth, by effective history: what nothing supersedes, in the order of time.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::align::{Pair, align};
use super::summary::StageChangeCounts;
use super::time::lie;
use super::{CanonicalId, Evidence};
use crate::effects::{ChangeKind, TrueChange, TrueStage};
use crate::store::WebhookLog;

/// One stage change as the caller read it. Enum values are the symbols' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Canonical.
    pub application_id: String,
    /// The vendor's.
    pub application_remote_id: String,
    pub event_id: String,
    pub sequence_no: i64,
    pub supersedes: Vec<String>,
    pub change_type: String,
    /// `LIVE` or `CORRECTION`.
    pub revision: String,
    pub from_stage: Option<LedgerStage>,
    pub to_stage: Option<LedgerStage>,
    pub from_status: String,
    pub to_status: String,
    pub from_job_id: Option<String>,
    pub to_job_id: Option<String>,
    pub occurred_at_micros: Option<i64>,
    /// What that time is worth: `EXACT`, `BOUNDED` or `OBSERVED`.
    pub precision: String,
    pub not_before_micros: Option<i64>,
    pub not_after_micros: Option<i64>,
    /// Whether nothing but the first load of the account shows it: then no sink acts on it, live or not.
    pub first_load_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerStage {
    /// Canonical.
    pub id: Option<String>,
    pub name: Option<String>,
}

impl LedgerEntry {
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.revision == "LIVE"
    }
}

/// The word of a kind in the ledger.
pub(super) fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "CREATED",
        ChangeKind::Stage => "STAGE",
        ChangeKind::Status => "STATUS",
        ChangeKind::Rejection => "REJECTION",
        ChangeKind::Withdrawal => "WITHDRAWAL",
        ChangeKind::Unrejection => "UNREJECTION",
        ChangeKind::Hire => "HIRE",
        ChangeKind::Unhire => "UNHIRE",
        ChangeKind::JobTransfer => "JOB_TRANSFER",
        ChangeKind::Deleted => "DELETED",
    }
}

/// Counts, and a finding for each place that differs.
#[must_use]
pub fn stage_changes(
    evidence: &Evidence,
    ledger: &[LedgerEntry],
    canonical: CanonicalId<'_>,
    findings: &mut Vec<String>,
) -> StageChangeCounts {
    let mut counts = StageChangeCounts::default();
    let mut true_by: BTreeMap<&str, Vec<&TrueChange>> = BTreeMap::new();
    for change in &evidence.truth {
        true_by.entry(&change.application).or_default().push(change);
    }
    let mut found_by: BTreeMap<&str, Vec<&LedgerEntry>> = BTreeMap::new();
    for entry in ledger {
        found_by.entry(&entry.application_remote_id).or_default().push(entry);
    }
    let logs: HashMap<&str, &WebhookLog> =
        evidence.webhooks.iter().filter(|log| log.copy == 0).map(|log| (log.event_id.as_str(), log)).collect();
    let mut logs_of: HashMap<&str, Vec<&WebhookLog>> = HashMap::new();
    for log in &evidence.webhooks {
        logs_of.entry(log.application.as_deref().unwrap_or_default()).or_default().push(log);
    }

    let all: HashSet<&str> = true_by.keys().copied().chain(found_by.keys().copied()).collect();
    let mut all: Vec<&str> = all.into_iter().collect();
    all.sort_unstable();
    let none = Vec::new();
    for application in all {
        let truth = true_by.get(application).map_or(&[][..], Vec::as_slice);
        let entries = found_by.get(application).unwrap_or(&none);
        counts.sequence_gaps += gaps(application, entries, findings);
        let one = One { application, truth, entries, canonical, logs: &logs, evidence };
        one.compare(&mut counts, findings);
        let own = truth.first().and_then(|change| logs_of.get(change.application.as_str()));
        counts.live_expected_but_correction += one.not_live(own.map_or(&[][..], Vec::as_slice), findings);
    }
    counts
}

fn gaps(application: &str, entries: &[&LedgerEntry], findings: &mut Vec<String>) -> u64 {
    let mut numbers: Vec<i64> = entries.iter().map(|entry| entry.sequence_no).collect();
    numbers.sort_unstable();
    let wrong = numbers.iter().zip(1_i64..).filter(|(number, wanted)| *number != wanted).count();
    if wrong > 0 {
        findings.push(format!("application {application}: sequence numbers are {numbers:?}"));
    }
    wrong as u64
}

/// One application under judgement.
struct One<'a> {
    application: &'a str,
    truth: &'a [&'a TrueChange],
    entries: &'a [&'a LedgerEntry],
    canonical: CanonicalId<'a>,
    logs: &'a HashMap<&'a str, &'a WebhookLog>,
    evidence: &'a Evidence,
}

impl One<'_> {
    fn effective(&self) -> Vec<&LedgerEntry> {
        let superseded: HashSet<&str> =
            self.entries.iter().flat_map(|entry| entry.supersedes.iter().map(String::as_str)).collect();
        let mut list: Vec<&LedgerEntry> =
            self.entries.iter().copied().filter(|entry| !superseded.contains(entry.event_id.as_str())).collect();
        list.sort_by_key(|entry| (entry.occurred_at_micros.unwrap_or(i64::MAX), entry.sequence_no));
        list
    }

    fn compare(&self, counts: &mut StageChangeCounts, findings: &mut Vec<String>) {
        let effective = self.effective();
        let pairs = align(self.truth.len(), effective.len(), |i, j| {
            let (change, entry) = (self.truth.get(i)?, effective.get(j)?);
            self.same_kind(change, entry)
                .then(|| u32::from(!(self.left_side_fits(change, entry) && self.right_side_fits(change, entry))))
        });
        let lost = self.truth.iter().any(|change| self.lost(change));
        let mut wrong = Vec::new();
        let mut own = StageChangeCounts { expected: self.truth.len() as u64, ..StageChangeCounts::default() };
        for pair in pairs {
            match pair {
                Pair::Both(i, j) => {
                    let (Some(change), Some(entry)) = (self.truth.get(i), effective.get(j)) else { continue };
                    own.found += 1;
                    if !self.left_side_fits(change, entry) {
                        own.wrong_from += 1;
                        wrong.push(format!("wrong from in {}, found {}", show(change), show_entry(entry)));
                    }
                    if !self.right_side_fits(change, entry) {
                        own.wrong_to += 1;
                        wrong.push(format!("wrong to in {}, found {}", show(change), show_entry(entry)));
                    }
                    if let Some(why) = lie(change.at, entry) {
                        own.wrong_time += 1;
                        wrong.push(format!("wrong time ({why}) in {}, found {}", show(change), show_time(entry)));
                    }
                }
                Pair::Missing(i) => {
                    own.missing += 1;
                    wrong.extend(self.truth.get(i).map(|change| format!("missing {}", show(change))));
                }
                Pair::Extra(j) => {
                    own.extra += 1;
                    wrong.extend(effective.get(j).map(|entry| format!("extra {}", show_entry(entry))));
                }
            }
        }
        if lost {
            // The vendor lost what nothing else tells: what does not fit here is nobody's fault, and neither are the
            // times of what may stand beside the wrong neighbour.
            counts.unobservable += own.missing + own.wrong_from + own.wrong_to;
            counts.expected += own.found;
            counts.found += own.found;
            return;
        }
        findings.extend(wrong.into_iter().map(|line| format!("application {}: {line}", self.application)));
        counts.expected += own.expected;
        counts.found += own.found;
        counts.missing += own.missing;
        counts.extra += own.extra;
        counts.wrong_from += own.wrong_from;
        counts.wrong_to += own.wrong_to;
        counts.wrong_time += own.wrong_time;
    }

    fn lost(&self, change: &TrueChange) -> bool {
        let log = change.webhook.as_deref().and_then(|id| self.logs.get(id));
        change.unobservable_if_lost && log.is_some_and(|log| matches!(log.state.as_str(), "dropped" | "exhausted"))
    }

    /// A withdrawal of which rows told first is known as a rejection until its reason is read.
    fn told_by_rows_first(&self, change: &TrueChange) -> bool {
        let log = change.webhook.as_deref().and_then(|id| self.logs.get(id));
        let acked = log.and_then(|log| log.acked_at);
        acked.is_none_or(|acked| acked > change.at + self.evidence.least_lag_ms)
    }

    fn same_kind(&self, change: &TrueChange, entry: &LedgerEntry) -> bool {
        let rejection_will_do = change.kind == ChangeKind::Withdrawal && self.told_by_rows_first(change);
        entry.change_type == word(change.kind) || (rejection_will_do && entry.change_type == "REJECTION")
    }

    fn left_side_fits(&self, change: &TrueChange, entry: &LedgerEntry) -> bool {
        if change.kind == ChangeKind::Created {
            return entry.from_stage.is_none();
        }
        let jobs = change.kind != ChangeKind::JobTransfer
            || self.job_fits(change.from_job.as_deref(), entry.from_job_id.as_deref());
        self.stage_fits(change.from_stage.as_ref(), entry.from_stage.as_ref())
            && status_fits(change.from_status.as_deref(), &entry.from_status)
            && jobs
    }

    fn right_side_fits(&self, change: &TrueChange, entry: &LedgerEntry) -> bool {
        if change.kind == ChangeKind::Deleted {
            return true;
        }
        self.place_fits(change, entry) && status_fits(change.to_status.as_deref(), &entry.to_status)
    }

    /// Stage and job.
    fn place_fits(&self, change: &TrueChange, entry: &LedgerEntry) -> bool {
        let must_name = change.kind == ChangeKind::JobTransfer;
        let jobs = match (&entry.to_job_id, &change.to_job) {
            (None, _) => !must_name,
            (Some(_), None) => true,
            (Some(found), Some(_)) => self.job_fits(change.to_job.as_deref(), Some(found)),
        };
        self.stage_fits(change.to_stage.as_ref(), entry.to_stage.as_ref()) && jobs
    }

    fn job_fits(&self, wanted: Option<&str>, found: Option<&str>) -> bool {
        wanted.map(|id| (self.canonical)("Job", id)).as_deref() == found
    }

    fn stage_fits(&self, wanted: Option<&TrueStage>, found: Option<&super::LedgerStage>) -> bool {
        match (wanted, found) {
            (None, None) => true,
            (Some(wanted), Some(found)) => found.id.as_deref() == Some((self.canonical)("Stage", &wanted.id).as_str()),
            _ => false,
        }
    }

    /// Taking back a rejection or a hire that nobody told of yet moves nothing: known was the state that it goes back to.
    fn takes_back_what_was_unknown(&self, n: usize, acked: i64) -> bool {
        let takes_back = |change: &&TrueChange| matches!(change.kind, ChangeKind::Unrejection | ChangeKind::Unhire);
        let taken_back = n.checked_sub(1).and_then(|before| self.truth.get(before));
        let told = taken_back.and_then(|change| self.logs.get(change.webhook.as_deref()?)).and_then(|log| log.acked_at);
        self.truth.get(n).copied().as_ref().is_some_and(takes_back) && told.is_none_or(|told| told > acked)
    }

    /// Changes whose webhook was acknowledged before anything later of this application could be known, and of which
    /// the ledger has nothing that was published live.
    fn not_live(&self, logs: &[&WebhookLog], findings: &mut Vec<String>) -> u64 {
        let mut count = 0;
        if self.truth.iter().any(|change| self.lost(change)) {
            return 0;
        }
        for (n, change) in self.truth.iter().enumerate() {
            let log = change.webhook.as_deref().and_then(|id| self.logs.get(id));
            let Some(acked) = log.and_then(|log| log.acked_at).filter(|_| !change.past) else { continue };
            let later =
                logs.iter().filter(|other| other.happened_at > change.at).filter_map(|other| other.first_sent_at);
            let rows = self.truth.get(n + 1).map(|next| next.at + self.evidence.least_lag_ms);
            let first_later = later.chain(rows).min();
            if first_later.is_some_and(|first| first <= acked) || self.takes_back_what_was_unknown(n, acked) {
                continue;
            }
            let live = if change.kind == ChangeKind::Created {
                self.entries.iter().any(|entry| entry.is_live() && self.right_side_fits(change, entry))
            } else if matches!(change.kind, ChangeKind::Stage | ChangeKind::JobTransfer) {
                // It was entered, though the status that it was entered with may have been learnt only later.
                self.entries.iter().filter(|entry| entry.is_live()).any(|entry| {
                    let enters = entry.from_stage != entry.to_stage && self.place_fits(change, entry);
                    enters || self.right_side_fits(change, entry)
                })
            } else {
                // A hire is a hire, though the stage that it keeps may have been learnt only later.
                let nth = self.truth.get(..=n).unwrap_or(&[]).iter().filter(|earlier| earlier.kind == change.kind);
                let told = self.entries.iter().filter(|entry| entry.is_live() && self.same_kind(change, entry));
                told.count() >= nth.count()
            };
            if !live {
                count += 1;
                let has: Vec<String> = self.entries.iter().copied().map(show_time).collect();
                findings.push(format!(
                    "application {}: told in time (acknowledged {}, anything later known from {}), but not live: {}; the ledger has {}",
                    self.application,
                    crate::clock::iso_ms(acked),
                    first_later.map_or_else(|| "nowhere".to_owned(), crate::clock::iso_ms),
                    show(change),
                    has.join("; ")
                ));
            }
        }
        count
    }
}

fn status_fits(wanted: Option<&str>, found: &str) -> bool {
    match wanted {
        // Known as one or the other, by what told first.
        Some("WITHDRAWN") => matches!(found, "WITHDRAWN" | "REJECTED"),
        Some(wanted) => wanted == found,
        None => true,
    }
}

fn show(change: &TrueChange) -> String {
    let name = |stage: &Option<TrueStage>| stage.as_ref().map_or("-".to_owned(), |stage| stage.name.clone());
    format!(
        "{} {} -> {} ({} -> {}) at {}",
        word(change.kind),
        name(&change.from_stage),
        name(&change.to_stage),
        change.from_status.as_deref().unwrap_or("-"),
        change.to_status.as_deref().unwrap_or("-"),
        crate::clock::iso_ms(change.at)
    )
}

fn show_entry(entry: &LedgerEntry) -> String {
    let name = |stage: &Option<super::LedgerStage>| {
        stage.as_ref().and_then(|stage| stage.name.clone().or_else(|| stage.id.clone())).unwrap_or("-".to_owned())
    };
    format!(
        "{} {} #{} {} -> {} ({} -> {}) at {}",
        entry.revision,
        entry.change_type,
        entry.sequence_no,
        name(&entry.from_stage),
        name(&entry.to_stage),
        entry.from_status,
        entry.to_status,
        entry.occurred_at_micros.map_or("?".to_owned(), |at| crate::clock::iso_ms(at / 1000))
    )
}

fn show_time(entry: &LedgerEntry) -> String {
    let iso = |at: Option<i64>| at.map_or("-".to_owned(), |at| crate::clock::iso_ms(at / 1000));
    let (below, above) = (iso(entry.not_before_micros), iso(entry.not_after_micros));
    format!("{}, {} [{below}, {above}]", show_entry(entry), entry.precision)
}
