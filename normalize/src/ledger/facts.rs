//! What is known of one application: a bounded set of facts, whatever their order and multiplicity.
//!
//! In: snapshots, history rows, switches without a clock, deletions. Out: [`Facts`], read by `derive`.
//! Invariant: the content depends only on the *set* of facts added (sources excepted: the first to tell is kept).

use super::value::{Cause, ChangeType, JobIx, Micros, SECOND, Source, StageIx, Status};

/// Most snapshots kept. Beyond it, snapshots inside a run of equal ones go first.
const MOST_SNAPSHOTS: usize = 192;
/// Most sightings kept; a stay that is changed more often than that while it lasts tells nothing new.
const MOST_SIGHTINGS: usize = 64;

/// The application as a record showed it at an instant of the source's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    pub at: Micros,
    /// Clock resolution: the record was true somewhere in `[at, at + width)`.
    pub width: Micros,
    /// None: not said. Some(None): said to have none.
    pub stage: Option<Option<StageIx>>,
    pub status: Option<Status>,
    pub job: Option<Option<JobIx>>,
    /// When the status began, if the record says so (`rejected_at`, `hired_at` ...).
    pub since: Option<Micros>,
    /// The move that this very record reports.
    pub change: Option<ChangeType>,
    pub cause: Cause,
    /// `at` is our own clock, for the source has none.
    pub observed: bool,
    pub source: Source,
}

impl Snapshot {
    /// From when on it was true for sure: of an answer that has no other clock, when it was received.
    pub(super) fn surely_at(&self) -> Micros {
        if self.at + self.width == self.source.seen_at + 1 { self.source.seen_at } else { self.at }
    }

    fn key(&self) -> impl Ord + use<> {
        let stage = self.stage.map(|s| s.map_or(-1, i32::from));
        let job = self.job.map(|j| j.map_or(-1, i32::from));
        (self.at, self.width, stage, self.status, job, self.since)
    }

    /// A status and its instant alone may come from a history row.
    fn shows_the_application(&self) -> bool {
        let more = self.stage.is_some() || self.job.is_some() || self.since.is_some() || self.change.is_some();
        more || self.observed
    }

    fn same_state(&self, other: &Self) -> bool {
        self.stage == other.stage && self.status == other.status && self.job == other.job && self.since == other.since
    }
}

/// A history row: one stay in one stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visit {
    pub stage: StageIx,
    pub job: Option<JobIx>,
    pub entered: Option<Micros>,
    pub exited: Option<Micros>,
    /// The row's own version: of two versions of one stay the newer is right.
    pub version: Micros,
    pub source: Source,
}

/// A move told without the source's clock: it happened before `seen_by`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Switch {
    pub change: ChangeType,
    pub seen_by: Micros,
    /// Identity of the delivery; repetitions of it are one.
    pub delivery: u64,
    pub cause: Cause,
    pub source: Source,
}

/// A row that was still open when it was last changed: the application was in that stage then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    pub at: Micros,
    pub stage: StageIx,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deletion {
    pub at: Micros,
    pub observed: bool,
    pub cause: Cause,
    pub source: Source,
}

/// All that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// In order of time.
    pub snapshots: Vec<Snapshot>,
    /// A record without any clock, for what nothing else tells.
    pub weak: Option<Snapshot>,
    pub visits: Vec<Visit>,
    pub sightings: Vec<Sighting>,
    pub switches: Vec<Switch>,
    /// Times of rejections that are known to be the candidate's own decision.
    pub withdrawals: Vec<Micros>,
    pub deletion: Option<Deletion>,
    /// By stage: the job that it belongs to, where stages belong to jobs.
    pub stage_jobs: Vec<Option<JobIx>>,
    /// When the person applied; else when the record was made.
    pub applied_at: Option<Micros>,
    pub created_at: Option<Micros>,
    /// Our earliest sight of it.
    pub first_seen: Option<Micros>,
}

/// Resolution of an instant: sources cut to seconds or milliseconds.
#[must_use]
pub fn width_of(at: Micros) -> Micros {
    if at % SECOND == 0 {
        SECOND
    } else if at % 1000 == 0 {
        1000
    } else {
        1
    }
}

/// Keeps the smaller, tells whether anything changed.
pub(crate) fn keep_least(slot: &mut Option<Micros>, value: Option<Micros>) -> bool {
    match (*slot, value) {
        (_, None) => false,
        (Some(old), Some(new)) if old <= new => false,
        (_, Some(new)) => {
            *slot = Some(new);
            true
        }
    }
}

impl Facts {
    /// Whether the application itself was seen: history rows alone publish nothing.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let shown = self.snapshots.iter().any(Snapshot::shows_the_application);
        shown || self.weak.is_some() || !self.switches.is_empty() || self.deletion.is_some()
    }

    /// Notes to which job a stage belongs. True if it was not known.
    pub fn note_stage_job(&mut self, stage: StageIx, job: JobIx) -> bool {
        let index = usize::from(stage);
        if self.stage_jobs.len() <= index {
            self.stage_jobs.resize(index + 1, None);
        }
        let news = self.stage_jobs[index] != Some(job);
        self.stage_jobs[index] = Some(job);
        news
    }

    /// The job that a stay belongs to, as rows, look-ups or snapshots tell it.
    #[must_use]
    pub fn job_of_stay(&self, stage: StageIx, entered: Option<Micros>) -> Option<JobIx> {
        let row = self.visits.iter().filter(|visit| visit.stage == stage && visit.job.is_some());
        let row = row.clone().find(|visit| visit.entered == entered).or_else(|| row.clone().next());
        if let Some(job) = row.and_then(|visit| visit.job) {
            return Some(job);
        }
        if let Some(Some(job)) = self.stage_jobs.get(usize::from(stage)) {
            return Some(*job);
        }
        let mut shown = self.snapshots.iter().filter(|s| s.stage == Some(Some(stage))).filter_map(|s| s.job.flatten());
        let first = shown.next()?;
        shown.all(|job| job == first).then_some(first)
    }

    /// Notes when it began as the source tells it; the earliest counts.
    pub fn note_begin(&mut self, applied_at: Option<Micros>, created_at: Option<Micros>) -> bool {
        keep_least(&mut self.applied_at, applied_at) | keep_least(&mut self.created_at, created_at)
    }

    /// Adds; false if it was known.
    pub fn add_snapshot(&mut self, new: Snapshot) -> bool {
        let seen = keep_least(&mut self.first_seen, Some(new.source.seen_at));
        match self.snapshots.binary_search_by(|old| old.key().cmp(&new.key())) {
            Ok(at) => {
                let old = &mut self.snapshots[at];
                let hinted = old.change.is_none() && new.change.is_some();
                if hinted {
                    old.change = new.change;
                }
                let caused = old.cause == Cause::Unknown && new.cause != Cause::Unknown;
                if caused {
                    old.cause = new.cause;
                }
                // An instant of our own clock may also have come from the source's.
                let timed = old.observed && !new.observed;
                old.observed &= new.observed;
                hinted || caused || timed || seen
            }
            Err(at) => {
                self.snapshots.insert(at, new);
                if self.snapshots.len() > MOST_SNAPSHOTS {
                    self.thin();
                }
                true
            }
        }
    }

    /// Adds what nothing dates; only the first seen is kept.
    pub fn add_weak(&mut self, new: Snapshot) -> bool {
        keep_least(&mut self.first_seen, Some(new.source.seen_at));
        match &self.weak {
            Some(old) if (old.source.seen_at, old.key()) <= (new.source.seen_at, new.key()) => false,
            _ => {
                self.weak = Some(new);
                true
            }
        }
    }

    /// Adds a row, or a newer version of one: stays are told apart by stage and entry.
    pub fn add_visit(&mut self, new: Visit) -> bool {
        let seen = new.exited.is_none()
            && new.entered.is_none_or(|entered| new.version > entered + SECOND)
            && self.add_sighting(new);
        seen | self.put_visit(new)
    }

    fn add_sighting(&mut self, visit: Visit) -> bool {
        match self.sightings.binary_search_by_key(&(visit.version, visit.stage), |old| (old.at, old.stage)) {
            Err(at) if self.sightings.len() < MOST_SIGHTINGS => {
                self.sightings.insert(at, Sighting { at: visit.version, stage: visit.stage, source: visit.source });
                true
            }
            _ => false,
        }
    }

    fn put_visit(&mut self, new: Visit) -> bool {
        match self.visits.binary_search_by_key(&(new.entered, new.stage), |old| (old.entered, old.stage)) {
            Ok(at) => {
                let old = &mut self.visits[at];
                let newer = (new.version, new.exited) > (old.version, old.exited);
                if !newer {
                    return false;
                }
                let changed = old.exited != new.exited || old.job != new.job;
                let moved = old.version != new.version;
                *old = Visit { source: old.source, job: new.job.or(old.job), ..new };
                changed || moved
            }
            Err(at) => {
                self.visits.insert(at, new);
                true
            }
        }
    }

    pub fn add_switch(&mut self, new: Switch) -> bool {
        keep_least(&mut self.first_seen, Some(new.source.seen_at));
        if let Some(old) = self.switches.iter_mut().find(|old| old.delivery == new.delivery && old.change == new.change)
        {
            let earlier = new.seen_by < old.seen_by;
            if earlier {
                old.seen_by = new.seen_by;
                self.switches.sort_by_key(|s| (s.seen_by, s.delivery));
            }
            return earlier;
        }
        self.switches.push(new);
        self.switches.sort_by_key(|s| (s.seen_by, s.delivery));
        true
    }

    pub fn add_withdrawal(&mut self, at: Micros) -> bool {
        match self.withdrawals.binary_search(&at) {
            Ok(_) => false,
            Err(index) => {
                self.withdrawals.insert(index, at);
                true
            }
        }
    }

    pub fn add_deletion(&mut self, new: Deletion) -> bool {
        keep_least(&mut self.first_seen, Some(new.source.seen_at));
        match &self.deletion {
            // The source's clock wins over ours, then the earlier.
            Some(old) if (old.observed, old.at) <= (new.observed, new.at) => false,
            _ => {
                self.deletion = Some(new);
                true
            }
        }
    }

    /// Drops snapshots that lie between two equal ones, the oldest first: they tell of no move.
    fn thin(&mut self) {
        let mut index = 1;
        while index + 1 < self.snapshots.len() {
            let (before, here, after) =
                (&self.snapshots[index - 1], &self.snapshots[index], &self.snapshots[index + 1]);
            if here.same_state(before) && here.same_state(after) && here.change.is_none() {
                self.snapshots.remove(index);
                if self.snapshots.len() <= MOST_SNAPSHOTS * 3 / 4 {
                    return;
                }
            } else {
                index += 1;
            }
        }
    }
}
