//! One list on its own: a vendor with an account of its own, a poller of that list, and what it has seen.

use std::collections::{BTreeMap, BTreeSet};

use hirewire_ingest::manifest::{Stream, Window};
use hirewire_ingest::{Moment, Rehearsal, Round};
use hirewire_mapping::xml;
use hirewire_sim::vendor::{Account, Change, Fault, Planned, Vendor, When};
use jiff::Timestamp;

use super::Kit;

/// Rows of a list; a page holds two.
pub(super) const ROWS: usize = 5;
/// The vendor's clock begins this long before ours, so that it can be moved on and never passes ours.
pub(super) const HOURS_BEFORE: i64 = 400 * 24;
/// No list here has so many: who reads more reads the same page for ever.
const MOST_ROWS_OF_A_READ: u64 = 1000;
/// Beyond lag and delays, for the seconds of the `Date` header.
const A_BIT_SECS: u64 = 30;

/// How a list is narrowed, as the manifest has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Narrowed {
    Window,
    Sync,
    /// Read whole each time.
    No,
}

pub(super) struct Scene {
    pub(super) vendor: Vendor,
    rehearsal: Rehearsal,
    list: String,
    pub(super) narrowed: Narrowed,
    /// Texts of rows that were committed.
    seen: BTreeSet<String>,
    /// What was committed last of each row, by the identity of its records without what tells its states apart.
    last: BTreeMap<String, String>,
    /// Rows that the last read committed.
    kept: usize,
    /// What ingest takes out of a row of XML.
    leave_out: Vec<String>,
    /// Rows show the time that the list is narrowed by.
    has_versions: bool,
    /// By the identity of their records, where the row's time of change is part of it.
    named: BTreeMap<String, String>,
    /// What was wrong at a read, in words; each once.
    wrong: BTreeSet<String>,
    /// Until whatever happened must be asked for, and will be by no later window.
    settled_after_secs: u64,
    overlap_secs: u64,
}

impl Scene {
    /// # Errors
    /// Why there is none, in words.
    pub(super) async fn new(kit: &Kit, stream: &Stream) -> Result<Self, String> {
        let Some(api) = &kit.manifest.api else { return Err("nothing is polled".to_owned()) };
        let (vendor, connection) = kit.vendor(HOURS_BEFORE).await?;
        let rehearsal = kit.http.as_ref().and_then(|http| Rehearsal::new(http, &connection, &stream.name));
        let Some(rehearsal) = rehearsal else { return Err("no poller can be made".to_owned()) };
        let by = stream.per.as_ref().map_or(Some(stream), |per| api.streams.get(per.parent));
        let narrowed = match by.map(|by| (&by.window, &by.sync)) {
            Some((Some(_), _)) => Narrowed::Window,
            Some((None, Some(_))) => Narrowed::Sync,
            Some((None, None)) | None => Narrowed::No,
        };
        Ok(Self {
            vendor,
            rehearsal,
            list: stream.name.clone(),
            narrowed,
            seen: BTreeSet::new(),
            last: BTreeMap::new(),
            kept: 0,
            leave_out: stream.leave_out.clone(),
            has_versions: by.and_then(|by| by.window.as_ref()).is_some_and(Window::shows_changes),
            named: BTreeMap::new(),
            wrong: BTreeSet::new(),
            settled_after_secs: api.lag.as_secs() + api.overlap.as_secs() + kit.rules.visible_within_secs + A_BIT_SECS,
            overlap_secs: api.overlap.as_secs(),
        })
    }

    /// One round of the poller, and a look at what it committed.
    pub(super) async fn read(&mut self) -> Round {
        self.vendor.with(|account| account.most = account.served + MOST_ROWS_OF_A_READ);
        let ended = self.rehearsal.read().await;
        let rows = self.rehearsal.take();
        self.kept = rows.len();
        for row in rows {
            let body = String::from_utf8_lossy(&row.body).into_owned();
            let whose = row.id.rsplit_once('/').map_or(row.id.as_str(), |(whose, _)| whose);
            self.last.insert(whose.to_owned(), body.clone());
            if self.has_versions {
                self.named.insert(body.clone(), row.id);
            }
            self.seen.insert(body);
        }
        self.wrong.extend(self.passed_by());
        ended
    }

    /// The cursor may not pass what was not seen.
    fn passed_by(&self) -> Option<String> {
        let token = self.rehearsal.sync_tokens().iter().filter_map(|token| Account::token_time(token)).max();
        let reached = self.rehearsal.reached().map(|at| at.as_millisecond());
        let lost = |row: &hirewire_sim::vendor::Shown| match self.narrowed {
            Narrowed::Window => reached.is_some_and(|reached| row.changed < reached),
            Narrowed::Sync => token.is_some_and(|token| row.visible_at < token),
            Narrowed::No => false,
        };
        let rows = self.vendor.with(|account| account.rows(&self.list));
        let passed = rows.iter().find(|row| !self.seen.contains(&self.as_kept(&row.body)) && lost(row))?;
        Some(format!("the cursor passed a change of the row {} that was not seen", passed.id))
    }

    /// The vendor's clock moves on, and the poller hears of it.
    pub(super) fn pass(&mut self, secs: u64) {
        let now = self.vendor.with(|account| {
            account.pass(secs);
            account.now()
        });
        self.rehearsal.hear(Timestamp::from_millisecond(now).unwrap_or_default());
    }

    /// Enough time passes, and two rounds: the second one makes up for what failed in the first.
    pub(super) async fn settle(&mut self) {
        self.pass(self.settled_after_secs);
        self.read().await;
        self.read().await;
    }

    /// Makes rows all over the list change so that the next round is the one that must read them.
    pub(super) fn disturb(&mut self) {
        let before = self.vendor.with(|account| account.now());
        self.pass(self.settled_after_secs + 120);
        let at = before + 60_000;
        let shown_after_ms = self.vendor.with(|account| account.now()) - at;
        self.change_all(Change { at: Some(at), shown_after_ms, ..Change::default() });
        // A run that begins in the very millisecond would leave them to the next one too.
        self.pass(1);
    }

    /// Changes rows all over the list.
    pub(super) fn change_all(&self, change: Change) {
        self.vendor.with(|account| {
            for index in spread(account.len_of(&self.list)) {
                account.change(&self.list, index, change);
            }
        });
    }

    pub(super) fn change(&self, index: usize, change: Change) {
        self.vendor.with(|account| account.change(&self.list, index, change));
    }

    pub(super) fn kill_after(&mut self, commits: usize, moment: Moment) {
        self.rehearsal.kill_after(commits, moment);
    }

    pub(super) fn take_back(&self, index: usize) {
        self.vendor.with(|account| account.take_back(&self.list, index));
    }

    pub(super) fn restart(&mut self) {
        self.rehearsal.restart();
    }

    pub(super) fn plan(&self, fault: Fault, when: When, times: u32) {
        self.vendor.with(|account| account.plan(Planned { fault, when, times }));
    }

    /// Whether the fault that was planned met a request; it meets no other.
    pub(super) fn fault_was_met(&self, times: u32) -> bool {
        self.vendor.with(|account| account.take_plan()).is_none_or(|planned| planned.times < times)
    }

    /// A read that finds nothing new: how many rows came all the same.
    pub(super) async fn idle(&mut self) -> u64 {
        self.pass(self.overlap_secs + 2 * 3600);
        self.read().await;
        self.settle().await;
        let before = self.vendor.with(|account| account.served);
        self.pass(3600);
        self.read().await;
        self.vendor.with(|account| account.served) - before
    }

    /// What is wrong now: rows that were not seen, or what was noticed at a read; `after` says what had happened.
    pub(super) fn judge(&mut self, after: &str) -> Option<String> {
        let rows = self.vendor.with(|account| account.rows(&self.list));
        let unseen = rows.iter().filter(|row| !self.seen.contains(&self.as_kept(&row.body))).count();
        let failing = self.rehearsal.failing();
        let mut told: Vec<String> = std::mem::take(&mut self.wrong).into_iter().collect();
        if unseen > 0 {
            told.push(format!("{unseen} of {} rows were not seen as they are", rows.len()));
        }
        let own = self.vendor.with(|account| account.ever(&self.list)).iter().map(|row| self.as_kept(row)).collect();
        if !self.seen.is_subset(&own) {
            told.push("rows came that are none of the list's".to_owned());
        }
        if !failing.is_empty() {
            told.push(format!("the list fails with {}", failing.join(", ")));
        }
        (!told.is_empty()).then(|| format!("{after}: {}", told.join("; ")))
    }

    /// What is wrong now, also where a row was seen as it is, and as something else after that.
    pub(super) fn judge_last(&mut self, after: &str) -> Option<String> {
        let wrong = self.judge(after);
        let rows = self.vendor.with(|account| account.rows(&self.list));
        let told: BTreeSet<&String> = self.last.values().collect();
        let other = rows.iter().filter(|row| !told.contains(&self.as_kept(&row.body))).count();
        wrong.or_else(|| {
            (other > 0).then(|| format!("{after}: of {other} of {} rows something older was told last", rows.len()))
        })
    }

    /// A read of a list of which nothing changed: how many rows were kept again.
    pub(super) async fn again(&mut self) -> usize {
        self.settle().await;
        self.pass(3600);
        self.read().await;
        self.kept
    }

    /// What is kept of a row's text.
    fn as_kept(&self, row: &str) -> String {
        if self.leave_out.is_empty() {
            return row.to_owned();
        }
        let split = xml::split(row.as_bytes(), &[], &self.leave_out).unwrap_or_default();
        split.rows.first().map_or_else(|| row.to_owned(), |row| String::from_utf8_lossy(row).into_owned())
    }

    /// Two states of a row must not be one event: true where they are.
    pub(super) fn confuses(&self) -> bool {
        let names: BTreeSet<&String> = self.named.values().collect();
        names.len() < self.named.len()
    }
}

/// Rows all over a list of that length: of a list per owner, one of each owner.
fn spread(length: usize) -> impl Iterator<Item = usize> {
    (0..ROWS).map(move |part| part * length / ROWS)
}
