//! Completeness: by which ways each stage change came, deliveries and polling.
//!
//! In: what each committed transaction told and saw of applications. Out: counters by connection, for changes that both ways
//! told, and for those that one alone did within [`Settings::confirm_within`](crate::Settings). A change that only a delivery
//! told points to a list that is not read as it should be; one that only polling found, to webhooks that do not come.
//!
//! A memory, not a truth: what waits when a partition is given away or the process ends is counted in no way, so that a
//! restart makes nothing look lost. It is bounded ([`MOST_WAITING`]), and so is what is shown of it ([`SHOWN`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounterVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::claim::{Id, Origin};
use crate::ledger::{Micros, Provenance, StageIx, State, Status};

/// Changes of a process that wait to be told the other way; beyond it a change is not watched, and counted in no way.
const MOST_WAITING: usize = 50_000;
/// So many connections are told of one by one: all, or those of which something was told one way only, the latest first.
const SHOWN: usize = 100;

/// How a statement came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By itself, or read because what came by itself named it.
    Event,
    /// Found in a list.
    Poll,
    /// Found in a list when all of it was read for the first time: no delivery need have told of that.
    FirstLoad,
}

impl Way {
    fn is_list(self) -> bool {
        match self {
            Self::Event => false,
            Self::Poll | Self::FirstLoad => true,
        }
    }

    /// As the metric has it.
    fn word(self) -> &'static str {
        if self.is_list() { "poll" } else { "webhook" }
    }

    /// None: what is ours need not come twice.
    #[must_use]
    pub fn of(origin: &Origin<'_>) -> Option<Self> {
        match origin.provenance {
            Provenance::Webhook => Some(Self::Event),
            Provenance::Poll | Provenance::HistoryEndpoint | Provenance::Diff if origin.by_event => Some(Self::Event),
            Provenance::Poll | Provenance::HistoryEndpoint | Provenance::Diff => Some(Self::Poll),
            Provenance::Backfill => Some(Self::FirstLoad),
            Provenance::Unknown | Provenance::Unmapped | Provenance::WriteBack | Provenance::Manual => None,
        }
    }
}

/// What a statement says of where an application stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    pub way: Way,
    /// None: not said.
    pub stage: Option<Option<StageIx>>,
    pub status: Option<Status>,
    pub at: Micros,
}

/// A change of the present that was told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub from: State,
    pub to: State,
    pub at: Micros,
}

impl Change {
    /// Whether it moved the application to another stage or status. A deletion shows in no list.
    fn counts(&self) -> bool {
        self.to != State::NONE && (self.moves_stage() || self.moves_status())
    }

    fn moves_stage(&self) -> bool {
        self.from.stage != self.to.stage
    }

    fn moves_status(&self) -> bool {
        self.from.status.class() != self.to.status.class()
    }

    /// Whether the statement tells of this change: of what it moved it says something, and nothing else than where it led to.
    /// A list shows the last state only, so that one that is newer stands for those before it.
    fn is_told_by(&self, shown: &Shown) -> bool {
        let stage = shown.stage.filter(|_| self.moves_stage()).map(|stage| stage == self.to.stage);
        let status =
            shown.status.filter(|_| self.moves_status()).map(|status| status.class() == self.to.status.class());
        let newer = shown.way.is_list() && shown.at > self.at;
        match (stage, status) {
            (None, None) => false,
            (stage, status) => newer || (stage != Some(false) && status != Some(false)),
        }
    }
}

/// What a transaction told and saw of one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub id: Id,
    pub connection: String,
    pub changes: Vec<Change>,
    pub shown: Vec<Shown>,
}

/// The watch over the changes of a process. Cheap to clone; clones watch together.
#[derive(Clone, Debug)]
pub struct Completeness {
    state: Arc<Mutex<Watch>>,
    told: IntCounterVec,
}

#[derive(Debug, Default)]
struct Watch {
    connections: BTreeMap<String, Counts>,
    waiting: HashMap<Id, Vec<Waiting>>,
    /// In the order in which they are given up; what was told both ways meanwhile stands here too.
    due: VecDeque<(Instant, Id, u64)>,
    last_number: u64,
}

#[derive(Debug, Default)]
struct Counts {
    both: u64,
    event: u64,
    poll: u64,
    /// When something was told one way only.
    missed: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    partition: i32,
    connection: String,
    change: Change,
    told: Way,
}

impl Completeness {
    /// Nothing is watched yet. `told` has the labels connection and word.
    #[must_use]
    pub fn new(told: IntCounterVec) -> Self {
        Self { state: Arc::default(), told }
    }

    /// Takes in what a committed transaction of `partition` told and saw, at `now`.
    pub fn note(&self, partition: i32, seen: impl IntoIterator<Item = Seen>, now: Instant, within: Duration) {
        let mut watch = self.locked();
        watch.settle(now);
        for seen in seen {
            watch.meet(&seen);
            if seen.changes.last().is_some_and(|last| last.to == State::NONE) {
                // No list will show any more what it was before.
                watch.waiting.remove(&seen.id);
                continue;
            }
            for change in seen.changes.iter().filter(|change| change.counts()) {
                watch.begin(partition, &seen, *change, now + within);
            }
        }
    }

    /// The partition is another's from now on: what it is told of its applications is not seen here.
    pub fn forget(&self, partition: i32) {
        self.locked().waiting.retain(|_, waiting| {
            waiting.retain(|one| one.partition != partition);
            !waiting.is_empty()
        });
    }

    fn locked(&self) -> MutexGuard<'_, Watch> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect_at(&self, now: Instant) -> Vec<MetricFamily> {
        // Held to the end: of two scrapes at a time each shows the whole.
        let mut watch = self.locked();
        watch.settle(now);
        self.told.reset();
        for (connection, counts) in watch.shown() {
            for (by, count) in
                [("both", counts.both), (Way::Event.word(), counts.event), (Way::Poll.word(), counts.poll)]
            {
                self.told.with_label_values(&[connection.as_str(), by]).inc_by(count);
            }
        }
        self.told.collect()
    }
}

impl Collector for Completeness {
    fn desc(&self) -> Vec<&Desc> {
        self.told.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.collect_at(Instant::now())
    }
}

impl Watch {
    /// What was seen tells of changes that wait.
    fn meet(&mut self, seen: &Seen) {
        let Some(waiting) = self.waiting.get_mut(&seen.id) else { return };
        let told = |one: &Waiting| {
            let other_way = |shown: &Shown| shown.way.is_list() != one.told.is_list();
            seen.shown.iter().any(|shown| other_way(shown) && one.change.is_told_by(shown))
        };
        let both = waiting.extract_if(.., |one| told(one)).count();
        if waiting.is_empty() {
            self.waiting.remove(&seen.id);
        }
        if both > 0 {
            self.counts(&seen.connection).both += both as u64;
        }
    }

    /// Watches a change that one way alone has told in its own transaction.
    fn begin(&mut self, partition: i32, seen: &Seen, change: Change, until: Instant) {
        let by = |way: Way| seen.shown.iter().any(|shown| shown.way == way && change.is_told_by(shown));
        let (event, poll) = (by(Way::Event), by(Way::Poll));
        let told = match (event, poll || by(Way::FirstLoad)) {
            (true, true) => return self.counts(&seen.connection).both += 1,
            (true, false) => Way::Event,
            (false, true) if poll => Way::Poll,
            (false, _) => return,
        };
        if self.due.len() >= MOST_WAITING {
            return;
        }
        self.last_number += 1;
        let (number, connection) = (self.last_number, seen.connection.clone());
        self.waiting.entry(seen.id).or_default().push(Waiting { number, partition, connection, change, told });
        self.due.push_back((until, seen.id, number));
    }

    /// Gives up what has waited for long enough.
    fn settle(&mut self, now: Instant) {
        while let Some((_, id, number)) = self.due.pop_front_if(|(until, ..)| *until <= now) {
            let Some(waiting) = self.waiting.get_mut(&id) else { continue };
            let Some(place) = waiting.iter().position(|one| one.number == number) else { continue };
            let one = waiting.remove(place);
            if waiting.is_empty() {
                self.waiting.remove(&id);
            }
            let application = std::str::from_utf8(&id).unwrap_or_default();
            tracing::debug!(
                application,
                connection = one.connection,
                by = one.told.word(),
                "a change was told one way alone"
            );
            let counts = self.counts(&one.connection);
            *(if one.told.is_list() { &mut counts.poll } else { &mut counts.event }) += 1;
            counts.missed = Some(now);
        }
    }

    fn counts(&mut self, connection: &str) -> &mut Counts {
        self.connections.entry(connection.to_owned()).or_default()
    }

    fn shown(&self) -> Vec<(&String, &Counts)> {
        let mut shown: Vec<_> = self.connections.iter().collect();
        if shown.len() > SHOWN {
            shown.retain(|(_, counts)| counts.missed.is_some());
            shown.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.missed));
            shown.truncate(SHOWN);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::SECOND;

    const HOUR: Duration = Duration::from_secs(3600);
    const AT: Micros = 1_000 * SECOND;

    fn state(stage: StageIx) -> State {
        State { stage: Some(stage), status: Status::Active, job: Some(0) }
    }

    fn moved(to: StageIx) -> Change {
        Change { from: state(0), to: state(to), at: AT }
    }

    fn stage(way: Way, stage: StageIx) -> Shown {
        Shown { way, stage: Some(Some(stage)), status: Some(Status::Active), at: AT }
    }

    fn seen(number: u8, changes: &[Change], shown: &[Shown]) -> Seen {
        Seen { id: [number; 36], connection: "acme".to_owned(), changes: changes.to_vec(), shown: shown.to_vec() }
    }

    /// What is counted of a connection: both, webhook, poll.
    fn counted_of(completeness: &Completeness, connection: &str, now: Instant) -> Option<[u64; 3]> {
        let families = completeness.collect_at(now);
        let of = |by: &str| {
            let has = |name: &str, value: &str, metric: &prometheus::proto::Metric| {
                metric.get_label().iter().any(|label| label.name() == name && label.value() == value)
            };
            let mut all = families.iter().flat_map(MetricFamily::get_metric);
            let found = all.find(|metric| has("connection", connection, metric) && has("by", by, metric))?;
            // A counter of whole numbers.
            format!("{:.0}", found.get_counter().get_value()).parse().ok()
        };
        Some([of("both")?, of("webhook")?, of("poll")?])
    }

    struct Played {
        completeness: Completeness,
        began: Instant,
    }

    impl Played {
        fn new() -> Self {
            let told = IntCounterVec::new(prometheus::Opts::new("told", "told"), &["connection", "by"]).unwrap();
            Self { completeness: Completeness::new(told), began: Instant::now() }
        }

        fn note(&self, after: Duration, seen: Seen) {
            self.completeness.note(1, [seen], self.began + after, HOUR);
        }

        fn counted(&self, after: Duration) -> [u64; 3] {
            counted_of(&self.completeness, "acme", self.began + after).unwrap_or_default()
        }
    }

    #[test]
    fn a_change_is_counted_once_by_those_who_told_it_in_time() {
        for (first, then, alone) in [(Way::Event, Way::Poll, [0, 1, 0]), (Way::Poll, Way::Event, [0, 0, 1])] {
            let played = Played::new();
            played.note(Duration::ZERO, seen(1, &[moved(1)], &[stage(first, 1)]));
            played.note(Duration::ZERO, seen(2, &[moved(1)], &[stage(first, 1)]));
            played.note(HOUR / 2, seen(1, &[], &[stage(first, 1)]));
            assert_eq!(played.counted(HOUR / 2), [0, 0, 0], "the same way again, and there is time");
            played.note(HOUR / 2, seen(1, &[], &[stage(then, 1)]));
            played.note(HOUR / 2, seen(1, &[], &[stage(then, 1)]));
            assert_eq!(played.counted(HOUR / 2), [1, 0, 0]);
            played.note(HOUR, seen(2, &[], &[stage(then, 1)]));
            assert_eq!(played.counted(2 * HOUR), [1, alone[1], alone[2]], "too late, and not counted twice");
        }
    }

    #[test]
    fn what_both_told_in_one_transaction_does_not_wait() {
        let played = Played::new();
        played.note(Duration::ZERO, seen(1, &[moved(1)], &[stage(Way::Poll, 1), stage(Way::Event, 1)]));
        assert_eq!(played.counted(Duration::ZERO), [1, 0, 0]);
        assert!(played.completeness.locked().due.is_empty());
    }

    #[test]
    fn a_statement_that_says_something_else_or_nothing_tells_of_no_change() {
        let hired = Change { from: state(1), to: State { status: Status::Hired, ..state(1) }, at: AT };
        let silent = Shown { way: Way::Poll, stage: None, status: Some(Status::Active), at: AT };
        let played = Played::new();
        played.note(Duration::ZERO, seen(1, &[moved(1)], &[stage(Way::Event, 1)]));
        played.note(Duration::ZERO, seen(1, &[], &[stage(Way::Poll, 0), silent]));
        let status = |way, status| Shown { way, stage: None, status: Some(status), at: AT };
        played.note(Duration::ZERO, seen(2, &[hired], &[status(Way::Event, Status::Hired)]));
        played.note(Duration::ZERO, seen(2, &[], &[status(Way::Poll, Status::Rejected)]));
        assert_eq!(played.counted(Duration::ZERO), [0, 0, 0]);
        played.note(Duration::ZERO, seen(2, &[], &[status(Way::Poll, Status::Hired)]));
        assert_eq!(played.counted(HOUR), [1, 1, 0]);
    }

    /// A list is asked from time to time, an event tells of one change.
    #[test]
    fn a_list_s_newer_state_stands_for_those_before_it_and_an_event_s_does_not() {
        let later = |way| Shown { at: AT + 60 * SECOND, ..stage(way, 2) };
        let played = Played::new();
        played.note(Duration::ZERO, seen(1, &[moved(1)], &[stage(Way::Event, 1)]));
        played.note(Duration::ZERO, seen(1, &[], &[later(Way::Poll)]));
        played.note(Duration::ZERO, seen(2, &[moved(1)], &[stage(Way::Poll, 1)]));
        played.note(Duration::ZERO, seen(2, &[], &[later(Way::Event)]));
        assert_eq!(played.counted(HOUR), [1, 0, 1]);
    }

    #[test]
    fn only_what_one_of_them_told_and_both_can_tell_is_watched() {
        let job = Change { from: state(1), to: State { job: Some(1), ..state(1) }, at: AT };
        let deleted = Change { from: state(1), to: State::NONE, at: AT };
        let played = Played::new();
        played.note(Duration::ZERO, seen(1, &[job, deleted], &[stage(Way::Event, 1)]));
        played.note(Duration::ZERO, seen(2, &[moved(1)], &[]));
        assert_eq!(played.counted(HOUR), [0, 0, 0]);
    }

    #[test]
    fn a_first_load_confirms_what_a_delivery_told_and_asks_for_none() {
        let played = Played::new();
        played.note(Duration::ZERO, seen(1, &[moved(1)], &[stage(Way::Event, 1)]));
        played.note(Duration::ZERO, seen(1, &[], &[stage(Way::FirstLoad, 1)]));
        played.note(Duration::ZERO, seen(2, &[moved(1)], &[stage(Way::FirstLoad, 1), stage(Way::Event, 1)]));
        played.note(Duration::ZERO, seen(3, &[moved(1)], &[stage(Way::FirstLoad, 1)]));
        played.note(Duration::ZERO, seen(4, &[moved(1)], &[stage(Way::Poll, 1)]));
        played.note(Duration::ZERO, seen(4, &[], &[stage(Way::FirstLoad, 1)]));
        assert_eq!(played.counted(HOUR), [2, 0, 1]);
    }

    #[test]
    fn what_was_deleted_is_waited_for_no_more() {
        let deleted = Change { from: state(1), to: State::NONE, at: AT };
        let played = Played::new();
        played.note(Duration::ZERO, seen(1, &[moved(1)], &[stage(Way::Event, 1)]));
        played.note(Duration::ZERO, seen(1, &[deleted], &[]));
        assert_eq!(played.counted(HOUR), [0, 0, 0]);
    }

    #[test]
    fn what_waits_when_its_partition_is_given_away_is_counted_in_no_way() {
        let played = Played::new();
        played.note(Duration::ZERO, seen(1, &[moved(1)], &[stage(Way::Event, 1)]));
        played.completeness.note(2, [seen(2, &[moved(1)], &[stage(Way::Poll, 1)])], played.began, HOUR);
        played.completeness.forget(1);
        assert_eq!(played.counted(HOUR), [0, 0, 1]);
        assert!(played.completeness.locked().waiting.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_goes() {
        let played = Played::new();
        for number in 0..2 * MOST_WAITING {
            let id = std::array::from_fn(|place| number.to_le_bytes().get(place).copied().unwrap_or_default());
            played.note(Duration::ZERO, Seen { id, ..seen(0, &[moved(1)], &[stage(Way::Event, 1)]) });
        }
        let most = MOST_WAITING as u64;
        assert_eq!(played.completeness.locked().waiting.len(), MOST_WAITING);
        assert_eq!(played.counted(HOUR), [0, most, 0]);
        let watch = played.completeness.locked();
        assert!(watch.waiting.is_empty() && watch.due.is_empty());
    }

    #[test]
    fn of_many_connections_those_that_missed_something_last_are_shown() {
        let played = Played::new();
        let of = |number: usize, shown: &[Shown]| Seen {
            connection: format!("account-{number}"),
            ..seen(u8::try_from(number % 250).unwrap(), &[moved(1)], shown)
        };
        let shown = |number: usize, after: Duration| {
            counted_of(&played.completeness, &format!("account-{number}"), played.began + after)
        };
        for number in 0..SHOWN {
            played.note(Duration::ZERO, of(number, &[stage(Way::Event, 1), stage(Way::Poll, 1)]));
        }
        assert_eq!(shown(7, Duration::ZERO), Some([1, 0, 0]), "few: all");
        for number in SHOWN..3 * SHOWN {
            let after = Duration::from_secs(number.try_into().unwrap());
            played.note(after, of(number, &[stage(Way::Event, 1)]));
            assert!(
                played.completeness.collect_at(played.began + after).iter().all(|f| f.get_metric().len() <= 3 * SHOWN)
            );
        }
        for number in SHOWN..3 * SHOWN {
            let after = HOUR + Duration::from_secs(number.try_into().unwrap());
            assert_eq!(shown(number, after), Some([0, 1, 0]), "the last to miss something is shown");
        }
        assert_eq!(shown(7, 2 * HOUR), None, "nothing amiss");
        assert_eq!(shown(SHOWN, 2 * HOUR), None, "long ago");
    }
}
