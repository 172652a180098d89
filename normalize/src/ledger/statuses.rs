//! The status over time, from snapshots, the begin times they carry, and switches that no source clock dates.
//!
//! In: [`Facts`]. Out: [`StatusRun`]s in order, neighbours differ. An application begins ACTIVE unless its first status is unmapped.
//! A switch (a delivery "hired" without a time) is matched with a run that snapshots show; what is left makes a run of its own
//! at the time of receipt. Hires and unhires alternate, so that a late delivery is taken for the one that is missing.

use super::facts::{Facts, Switch};
use super::track::{Assertion, push_source, settle};
use super::value::{Cause, ChangeType, Micros, SECOND, Source, Status};

/// Our clock and the source's may differ by this much when nothing better fits.
const SKEW: Micros = 5 * SECOND;

#[derive(Clone, Debug)]
pub(crate) struct StatusRun {
    pub(crate) class: Status,
    pub(crate) withdrawn: bool,
    /// The begin as the source tells it.
    pub(crate) since: Option<Micros>,
    /// It began before `hi`; at `lo` it was so.
    pub(crate) lo: Micros,
    pub(crate) hi: Micros,
    pub(crate) observed: bool,
    pub(crate) reported: bool,
    /// A switch was found that reports its begin.
    confirmed: bool,
    /// Instants at which it was seen so, ascending. Empty: nobody saw it, others imply it.
    seen: Vec<Micros>,
    pub(crate) cause: Cause,
    pub(crate) sources: Vec<Source>,
}

impl StatusRun {
    pub(crate) fn status(&self) -> Status {
        if self.withdrawn { Status::Withdrawn } else { self.class }
    }

    /// Latest instant at which it is known to have been so.
    pub(crate) fn last(&self) -> Option<Micros> {
        self.seen.last().copied().into_iter().chain(self.since).max()
    }

    fn implied(class: Status, lo: Micros, hi: Micros) -> Self {
        Self {
            class,
            withdrawn: false,
            since: None,
            lo,
            hi,
            observed: false,
            reported: false,
            confirmed: false,
            seen: Vec::new(),
            cause: Cause::Unknown,
            sources: Vec::new(),
        }
    }

    fn switched(class: Status, switch: &Switch) -> Self {
        Self {
            observed: true,
            confirmed: true,
            withdrawn: switch.change == ChangeType::Withdrawal,
            seen: vec![switch.seen_by],
            cause: switch.cause,
            sources: vec![switch.source],
            ..Self::implied(class, switch.seen_by, switch.seen_by)
        }
    }
}

pub(crate) fn status_runs(facts: &Facts) -> Vec<StatusRun> {
    let mut runs = snapshot_runs(facts);
    for class in [Status::Rejected, Status::Hired] {
        weave(&mut runs, &facts.switches, class);
    }
    mark_withdrawals(&mut runs, &facts.withdrawals);
    runs
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    class: Status,
    since: Option<Micros>,
    withdrawn: bool,
    cause: Cause,
}

fn snapshot_runs(facts: &Facts) -> Vec<StatusRun> {
    let mut shown: Vec<Assertion<Shown>> = Vec::with_capacity(facts.snapshots.len());
    for s in &facts.snapshots {
        let Some(status) = s.status.filter(|status| *status != Status::Unknown) else { continue };
        let value =
            Shown { class: status.class(), since: s.since, withdrawn: status == Status::Withdrawn, cause: s.cause };
        let reported = s.change.is_some_and(|change| {
            matches!(
                change,
                ChangeType::Rejection
                    | ChangeType::Withdrawal
                    | ChangeType::Unrejection
                    | ChangeType::Hire
                    | ChangeType::Unhire
            )
        });
        let source = Some(s.source);
        shown.push(Assertion {
            lo: s.at,
            hi: s.at + s.width,
            value,
            exact: false,
            observed: s.observed,
            reported,
            source,
        });
    }
    let mut runs: Vec<StatusRun> = Vec::new();
    for a in settle_classes(shown) {
        extend(&mut runs, &a);
    }
    let begins_active = runs.first().is_none_or(|first| !matches!(first.class, Status::Active | Status::Unmapped));
    if begins_active {
        runs.insert(0, StatusRun::implied(Status::Active, Micros::MIN, Micros::MIN));
    }
    runs
}

/// Order by class; what a status carries besides does not count as a change.
fn settle_classes(shown: Vec<Assertion<Shown>>) -> Vec<Assertion<Shown>> {
    let classes = shown
        .iter()
        .enumerate()
        .map(|(index, a)| Assertion {
            value: Ranked { class: a.value.class, index },
            lo: a.lo,
            hi: a.hi,
            exact: a.exact,
            observed: a.observed,
            reported: a.reported,
            source: a.source,
        })
        .collect();
    settle(classes).into_iter().map(|a| Assertion { reported: a.reported, ..shown[a.value.index] }).collect()
}

#[derive(Clone, Copy, Debug)]
struct Ranked {
    class: Status,
    index: usize,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.class == other.class
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.class.cmp(&other.class)
    }
}

fn extend(runs: &mut Vec<StatusRun>, a: &Assertion<Shown>) {
    let Shown { class, withdrawn, cause, .. } = a.value;
    // A begin that lies before what was seen since is another tenure's.
    let before = runs.iter().rev().find(|run| run.class != class).and_then(StatusRun::last);
    let since = a.value.since.filter(|since| before.is_none_or(|before| *since + SECOND > before));
    let again = match runs.last_mut().filter(|run| run.class == class) {
        None => None,
        Some(run) => match (run.since, since) {
            (Some(old), Some(new)) if new >= old + SECOND => Some(run.seen.last().copied().unwrap_or(run.lo)),
            (old, new) => {
                run.since = old.or(new);
                run.withdrawn |= withdrawn;
                run.seen.push(a.lo);
                run.reported |= a.reported && a.lo <= run.hi;
                if a.lo <= run.hi {
                    push_source(&mut run.sources, a.source);
                }
                return;
            }
        },
    };
    if let Some(last) = again {
        // Begun twice without an end that anybody saw.
        let end = since.unwrap_or(a.lo);
        runs.push(StatusRun::implied(Status::Active, (end - 1).max(last), end));
    }
    runs.push(StatusRun {
        withdrawn,
        since,
        observed: a.observed,
        reported: a.reported,
        seen: vec![a.lo],
        cause,
        sources: a.source.into_iter().collect(),
        ..StatusRun::implied(class, a.lo, a.hi)
    });
}

fn enters(change: ChangeType, class: Status) -> bool {
    match class {
        Status::Hired => change == ChangeType::Hire,
        _ => matches!(change, ChangeType::Rejection | ChangeType::Withdrawal),
    }
}

fn leaves(change: ChangeType, class: Status) -> bool {
    match class {
        Status::Hired => change == ChangeType::Unhire,
        _ => change == ChangeType::Unrejection,
    }
}

/// Matches switches into and out of `class` with the runs that snapshots show, and adds runs for the rest.
fn weave(runs: &mut Vec<StatusRun>, switches: &[Switch], class: Status) {
    let mut entering: Vec<&Switch> = switches.iter().filter(|s| enters(s.change, class)).collect();
    let mut leaving: Vec<&Switch> = switches.iter().filter(|s| leaves(s.change, class)).collect();
    if entering.is_empty() && leaving.is_empty() {
        return;
    }
    for index in 1..runs.len() {
        let floor = runs[index - 1].last().unwrap_or(Micros::MIN);
        if runs[index].class == class
            && let Some(switch) = take(&mut entering, floor)
        {
            confirm(&mut runs[index], switch, floor);
        }
    }
    let mut index = 1;
    while index < runs.len() {
        let floor = runs[index - 1].last().unwrap_or(Micros::MIN);
        if runs[index - 1].class == class
            && let Some(switch) = take(&mut leaving, floor)
        {
            leave(runs, index, switch, floor);
        }
        index += 1;
    }
    if runs.last().is_some_and(|run| run.class == class) {
        let floor = runs.last().and_then(StatusRun::last).unwrap_or(Micros::MIN);
        if let Some(at) = leaving.iter().position(|s| s.seen_by > floor) {
            let switch = leaving.remove(at);
            runs.push(StatusRun::switched(Status::Active, switch));
        }
    }
    add_rest(runs, entering, leaving, class);
}

/// The earliest switch received after `floor`.
fn take<'a>(from: &mut Vec<&'a Switch>, floor: Micros) -> Option<&'a Switch> {
    let strict = from.iter().position(|s| s.seen_by > floor);
    let index = strict.or_else(|| from.iter().position(|s| s.seen_by > floor.saturating_sub(SKEW)))?;
    Some(from.remove(index))
}

/// The switch reports this run's begin: it was before the receipt.
fn confirm(run: &mut StatusRun, switch: &Switch, floor: Micros) {
    run.confirmed = true;
    push_source(&mut run.sources, Some(switch.source));
    run.withdrawn |= switch.change == ChangeType::Withdrawal;
    if run.cause == Cause::Unknown {
        run.cause = switch.cause;
    }
    if switch.seen_by < run.lo && switch.seen_by > floor {
        run.lo = switch.seen_by;
        run.hi = run.hi.min(switch.seen_by + 1);
        run.seen.insert(0, switch.seen_by);
    }
}

/// The switch ends the run before `index`: it begins this one, or a time of activity before it.
fn leave(runs: &mut Vec<StatusRun>, index: usize, switch: &Switch, floor: Micros) {
    if runs[index].class == Status::Active {
        return confirm(&mut runs[index], switch, floor);
    }
    let next = runs[index].since.unwrap_or(runs[index].lo);
    let mut active = StatusRun::switched(Status::Active, switch);
    if active.lo >= next {
        active.lo = (next - 1).max(floor);
        active.hi = next;
        active.seen.clear();
    }
    runs.insert(index, active);
}

/// Runs for switches that no snapshot shows.
fn add_rest(runs: &mut Vec<StatusRun>, mut entering: Vec<&Switch>, mut leaving: Vec<&Switch>, class: Status) {
    while !(entering.is_empty() && leaving.is_empty()) {
        let enter_first = match (entering.first(), leaving.first()) {
            (Some(enter), Some(leave)) => enter.seen_by <= leave.seen_by,
            (enter, _) => enter.is_some(),
        };
        if enter_first {
            let switch = entering.remove(0);
            let index = run_at(runs, switch.seen_by);
            let soon = runs.get(index + 1).is_some_and(|next| next.class == class);
            if runs[index].class != class && !(soon && runs[index].last().is_none_or(|last| last <= switch.seen_by)) {
                insert(runs, index, StatusRun::switched(class, switch));
            }
        } else {
            let switch = leaving.remove(0);
            let index = run_at(runs, switch.seen_by);
            let ended = (1..=index).rev().find(|k| runs[k - 1].class == class && !runs[*k].confirmed);
            if runs[index].class == class {
                insert(runs, index, StatusRun::switched(Status::Active, switch));
            } else if let Some(ended) = ended {
                let floor = runs[ended - 1].last().unwrap_or(Micros::MIN);
                leave(runs, ended, switch, floor);
            } else {
                // Left what it was not seen to enter: the entry's delivery is late, or lost.
                let missing = if entering.is_empty() { None } else { Some(entering.remove(0)) };
                let mut begin = StatusRun::implied(class, switch.seen_by - 1, switch.seen_by);
                begin.observed = true;
                push_source(&mut begin.sources, missing.map(|m| m.source));
                insert(runs, index, begin);
                let again = run_at(runs, switch.seen_by);
                insert(runs, again, StatusRun::switched(Status::Active, switch));
            }
        }
    }
}

/// The run in effect at `at`.
fn run_at(runs: &[StatusRun], at: Micros) -> usize {
    runs.iter().rposition(|run| run.since.unwrap_or(run.lo) <= at).unwrap_or(0)
}

/// Puts a run behind `index`; if that one was seen later too, it goes on after the new one.
fn insert(runs: &mut Vec<StatusRun>, index: usize, new: StatusRun) {
    let cut = new.lo;
    let run = &mut runs[index];
    let later: Vec<Micros> = run.seen.iter().copied().filter(|at| *at > cut).collect();
    run.seen.retain(|at| *at <= cut);
    let resumed = later.first().map(|first| {
        let mut rest = StatusRun::implied(run.class, *first, *first + 1);
        rest.seen.clone_from(&later);
        rest
    });
    let joins = resumed.as_ref().is_some_and(|rest| rest.class == new.class);
    runs.insert(index + 1, new);
    if let Some(rest) = resumed.filter(|_| !joins) {
        runs.insert(index + 2, rest);
    }
    runs.dedup_by(|later, earlier| {
        let same = later.class == earlier.class && later.since.is_none();
        if same {
            earlier.seen.append(&mut later.seen);
        }
        same
    });
}

fn mark_withdrawals(runs: &mut [StatusRun], marks: &[Micros]) {
    for index in 0..runs.len() {
        let floor = index.checked_sub(1).and_then(|before| runs[before].last()).unwrap_or(Micros::MIN);
        let run = &mut runs[index];
        if run.class == Status::Rejected {
            let begin = run.since;
            let reach = run.last().unwrap_or(run.hi) + SECOND;
            run.withdrawn |= marks.iter().any(|mark| match begin {
                Some(since) => (mark - since).abs() < SECOND,
                None => *mark > floor && *mark < reach,
            });
        }
    }
}
