//! What the vendor has: rows in their versions, a clock, and the faults that wait for requests.
//!
//! All instants are milliseconds since 1970. A version is shown from its `visible_at` on; until then the one before is.

mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::body::{at, every, put, scalar};
use super::fault::{Fault, Planned, When};
use super::fixtures::Examples;
use super::login::Logins;
use super::queue::Queue;
use super::row::{in_the_form, new_id};
use super::written::Weather;
use super::xml::text;
use crate::clock::now_ms;
use crate::rules::{Owner, Rules, Stream};

/// The rows of one owner.
const PER_OWNER: usize = 3;
const HOUR_MS: i64 = 3_600_000;

/// One account at the vendor.
pub struct Account {
    rules: Arc<Rules>,
    pub(super) lists: BTreeMap<String, Vec<Row>>,
    examples: Examples,
    /// The vendor's clock minus ours.
    ahead_ms: i64,
    /// Changes so far; each makes a row that is like no other.
    changes: u64,
    /// Rows of a page, whatever was asked for: a vendor may always give fewer.
    pub page_rows: u64,
    /// Pages of an earlier generation are not known any more.
    pub(super) generation: u64,
    /// Tokens of an earlier one are refused.
    pub(super) tokens: u64,
    fault: Option<Planned>,
    /// Rows in all answers so far.
    pub served: u64,
    /// Once that many rows were given, requests are answered 503: whoever reads on reads the same for ever.
    pub most: u64,
    /// When each request for a page came, by our clock.
    pub asked: Vec<std::time::Instant>,
    pub(super) logins: Logins,
    pub(super) queue: Queue,
    /// What is done when the next page was given that another one follows.
    between: Option<(String, usize)>,
    /// `None`: only what is planned goes wrong.
    pub(super) weather: Option<Weather>,
    /// Per list: when its last run began, and until when all was told.
    pub(super) began: BTreeMap<String, i64>,
    pub(super) told: BTreeMap<String, i64>,
    /// When a list told of a row to who asked by its id.
    pub(super) reads: BTreeMap<(String, String), Vec<i64>>,
}

pub(super) struct Row {
    pub(super) id: String,
    /// Whose list it is in: the id of a row, and the value within it if the row has several such lists.
    pub(super) owner: Vec<String>,
    pub(super) created: i64,
    /// It shows only to who asks for such rows.
    pub(super) hidden: bool,
    pub(super) newest: Version,
    /// Those before it, in the order of their changes.
    pub(super) older: Vec<Version>,
}

#[derive(Clone)]
pub(super) struct Version {
    pub(super) changed: i64,
    pub(super) visible_at: i64,
    /// Null: the row is gone.
    pub(super) value: Value,
}

/// How a row changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// From the change until a list shows it.
    pub shown_after_ms: i64,
    /// The row's own time of change stays as it was.
    pub quiet: bool,
    /// When it happened; `None`: now.
    pub at: Option<i64>,
    /// It moves in that way of those that the rules say, and nothing else changes.
    pub moves: Option<usize>,
}

/// A row as it is now, whether it is shown yet or not.
#[derive(Debug, Clone)]
pub struct Shown {
    pub id: String,
    /// When the vendor takes it to have changed: of a list per owner, its owner.
    pub changed: i64,
    pub visible_at: i64,
    /// Its exact text.
    pub body: String,
}

impl Account {
    /// An account with `rows` rows in each list, made so many hours before now, which is also what its clock shows.
    #[must_use]
    pub fn new(rules: Arc<Rules>, examples: &Examples, rows: usize, hours_before: i64) -> Self {
        let mut account = Self {
            rules: rules.clone(),
            lists: BTreeMap::new(),
            examples: examples.clone(),
            ahead_ms: -hours_before * HOUR_MS,
            changes: 0,
            page_rows: 2,
            generation: 0,
            tokens: 0,
            fault: None,
            served: 0,
            most: u64::MAX,
            asked: Vec::new(),
            logins: Logins::default(),
            queue: Queue::default(),
            between: None,
            weather: None,
            began: BTreeMap::new(),
            told: BTreeMap::new(),
            reads: BTreeMap::new(),
        };
        for stream in rules.streams.iter().filter(|stream| stream.part_of.is_none()) {
            account.fill(stream, rows);
        }
        for stream in &rules.streams {
            for index in 0..account.len_of(&stream.name) {
                account.agree(&stream.name, index);
            }
        }
        account
    }

    fn fill(&mut self, stream: &Stream, rows: usize) {
        let owners: Vec<Vec<String>> = match &stream.owner {
            None => vec![Vec::new(); rows],
            Some(owner) => {
                let count = if stream.single { 1 } else { PER_OWNER };
                let rows = self.lists.get(&owner.stream).into_iter().flatten();
                rows.flat_map(|row| owners(row, owner)).flat_map(|owner| vec![owner; count]).collect()
            }
        };
        let count = i64::try_from(owners.len()).unwrap_or(0);
        for (index, owner) in (0..).zip(owners) {
            let created = self.now() - (count - index + 1) * HOUR_MS;
            self.add(stream, owner, created, created);
        }
    }

    /// Adds a row like one of the examples, with an id of its own, or its owner's.
    fn add(&mut self, stream: &Stream, owner: Vec<String>, created: i64, changed: i64) {
        let list = self.lists.entry(stream.name.clone()).or_default();
        let examples = self.examples.get(&stream.name).map(Vec::as_slice).unwrap_or_default();
        let Some(mut value) = examples.get(list.len() % examples.len().max(1)).cloned() else { return };
        let like = stream.id.as_ref().and_then(|place| at(&value, place));
        let id = match owner.first().filter(|_| stream.single) {
            Some(own) => in_the_form(like, own),
            None => new_id(like, list.len()),
        };
        if let Some(place) = &stream.id {
            put(&mut value, place, id.clone());
        }
        for place in &stream.ids {
            if let Some(own) = at(&value, place).map(|like| new_id(Some(like), list.len())) {
                put(&mut value, place, own);
            }
        }
        put(&mut value, &stream.times.created, stream.times.write(created));
        if let Some(place) = &stream.times.changed
            && at(&value, place).is_some_and(|time| !time.is_null())
        {
            put(&mut value, place, stream.times.write(changed));
        }
        // Every second one.
        let hidden = stream.hidden.as_ref().is_some_and(|hidden| !hidden.alone) && list.len() % 2 == 1;
        let newest = Version { changed, visible_at: changed, value };
        let id = scalar(&id).unwrap_or_default();
        list.push(Row { id, owner, created, hidden, newest, older: Vec::new() });
    }

    /// The vendor's clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        now_ms() + self.ahead_ms
    }

    pub fn pass(&mut self, secs: u64) {
        self.ahead_ms += i64::try_from(secs).unwrap_or(i64::MAX) * 1000;
    }

    /// How many rows a list has.
    #[must_use]
    pub fn len_of(&self, list: &str) -> usize {
        self.lists.get(list).map_or(0, Vec::len)
    }

    /// What a row of a list is now.
    #[must_use]
    pub fn row(&self, list: &str, index: usize) -> Option<(String, Value)> {
        let row = self.lists.get(list)?.get(index)?;
        Some((row.id.clone(), row.newest.value.clone()))
    }

    /// The texts of what is known by an id, and of what is its own, as they are now.
    #[must_use]
    pub fn known_by(&self, id: &str) -> Vec<String> {
        let own = |row: &&Row| row.id == id || row.owner.first().is_some_and(|owner| owner == id);
        let known = self.rules.streams.iter().flat_map(|stream| {
            let rows: Vec<&Row> = match &stream.part_of {
                Some((of, field)) => {
                    let is_its = |row: &&Row| at(&row.newest.value, field).and_then(scalar).is_some_and(|of| of == id);
                    self.lists.get(of).into_iter().flatten().filter(is_its).collect()
                }
                None => self.lists.get(&stream.name).into_iter().flatten().filter(own).collect(),
            };
            rows.into_iter().map(|row| text(&self.rules, stream, &row.newest.value))
        });
        known.collect()
    }

    /// Something happened that the vendor leaves in the queue: its exact text there. `None`: nobody made a queue that takes it.
    pub fn tell(&mut self, event: Value) -> Option<String> {
        let rules = self.rules.clone();
        self.queue.put(rules.queue.as_ref()?, event)
    }

    /// What was shown before this instant, a run that begins with the token will not show; `None`: no token of ours.
    #[must_use]
    pub fn token_time(token: &str) -> Option<i64> {
        token.strip_prefix('s')?.parse().ok()
    }

    /// Every row of a list as it is now.
    #[must_use]
    pub fn rows(&self, list: &str) -> Vec<Shown> {
        let of_owner = |row: &Row| {
            let stream = &self.rules.stream(list)?.owner.as_ref()?.stream;
            let id = row.owner.first()?;
            Some(self.lists.get(stream)?.iter().find(|owner| owner.id == *id)?.newest.clone())
        };
        let Some(stream) = self.rules.stream(list) else { return Vec::new() };
        let shown = |row: &Row| {
            let clock = of_owner(row).unwrap_or_else(|| row.newest.clone());
            let (id, body) = (row.id.clone(), text(&self.rules, stream, &row.newest.value));
            Shown { id, changed: clock.changed, visible_at: clock.visible_at, body }
        };
        self.lists.get(list).into_iter().flatten().map(shown).collect()
    }

    /// The texts of all rows that a list has, or ever had.
    #[must_use]
    pub fn ever(&self, list: &str) -> BTreeSet<String> {
        let Some(stream) = self.rules.stream(list) else { return BTreeSet::new() };
        let rows = self.lists.get(list).into_iter().flatten();
        let versions = rows.flat_map(|row| std::iter::once(&row.newest).chain(&row.older));
        versions.map(|version| text(&self.rules, stream, &version.value)).collect()
    }

    /// The rows of a list, or of one owner's, each in the version that is shown now; of those that happened up to `as_of`.
    pub(super) fn visible(&self, stream: &Stream, owner: &[String], as_of: i64) -> Vec<(&Row, &Version)> {
        let (list, field) = match &stream.part_of {
            Some((of, field)) => (of, Some(field)),
            None => (&stream.name, None),
        };
        let is_its = |row: &&Row| match field {
            Some(field) => at(&row.newest.value, field).and_then(scalar).as_ref() == owner.first(),
            None => row.owner == owner,
        };
        let rows = self.lists.get(list).into_iter().flatten().filter(is_its);
        let behind = owner.is_empty() && as_of == i64::MAX;
        let now = if behind { self.now() } else { self.now_by_id() };
        let shown = rows.filter_map(|row| Some((row, row.at(now, as_of)?)));
        shown.filter(|(_, version)| !version.value.is_null()).collect()
    }

    /// Whether any row of a list has this field, or would have it.
    pub(super) fn has_field(&self, list: &str, field: &str) -> bool {
        self.like(list).into_iter().any(|row| at(row, field).is_some())
    }

    /// What rows of a list are like.
    pub(super) fn like(&self, list: &str) -> Vec<&Value> {
        let rows = self.lists.get(list).into_iter().flatten().map(|row| &row.newest.value);
        rows.chain(self.examples.get(list).into_iter().flatten()).collect()
    }

    /// The row of a list with this id, as it is shown now.
    pub(super) fn one(&self, list: &str, id: &str) -> Option<&Version> {
        let version = self.lists.get(list)?.iter().find(|row| row.id == id)?.at(self.now_by_id(), i64::MAX)?;
        Some(version).filter(|version| !version.value.is_null())
    }

    /// Whether a list that is one per row of another one is there for `owner`.
    pub(super) fn has_lists_of(&self, owner: &Owner, id: &[String]) -> bool {
        self.lists.get(&owner.stream).into_iter().flatten().any(|row| owners(row, owner).contains(&id.to_vec()))
    }

    /// From now on requests meet this.
    pub fn plan(&mut self, fault: Planned) {
        self.fault = Some(fault);
    }

    /// Takes the plan back: what is left of it.
    pub fn take_plan(&mut self) -> Option<Planned> {
        self.fault.take()
    }

    /// The fault that this request meets.
    pub(super) fn meet(&mut self, when: When) -> Option<Fault> {
        let planned = self.fault.as_mut().filter(|planned| planned.when == when && planned.times > 0);
        let Some(planned) = planned else { return self.weather.as_mut().and_then(Weather::fault) };
        planned.times -= 1;
        let fault = planned.fault.clone();
        match fault {
            Fault::TokenEnded => {
                self.tokens += 1;
                self.logins.end();
            }
            Fault::PagesForgotten => self.generation += 1,
            _ => {}
        }
        Some(fault)
    }

    /// A row that changes as soon as a page was given that another one follows.
    pub fn change_between_pages(&mut self, list: &str, index: usize) {
        self.between = Some((list.to_owned(), index));
    }

    pub(super) fn page_was_given(&mut self, another_follows: bool) {
        if another_follows && let Some((list, index)) = self.between.take() {
            self.change(&list, index, Change::default());
        }
    }
}

impl Row {
    /// The version that is shown at an instant, of those that happened up to `as_of`; `None`: the row is not.
    fn at(&self, instant: i64, as_of: i64) -> Option<&Version> {
        let versions = std::iter::once(&self.newest).chain(self.older.iter().rev());
        versions.into_iter().find(|version| version.visible_at <= instant && version.changed <= as_of)
    }
}

/// Whose lists there are of one row: its own, or one for each value within it.
fn owners(row: &Row, owner: &Owner) -> Vec<Vec<String>> {
    if row.newest.value.is_null() {
        return Vec::new();
    }
    if owner.within.is_empty() {
        return vec![vec![row.id.clone()]];
    }
    let values = owner.within.iter().flat_map(|place| every(&row.newest.value, place));
    values.map(|value| vec![row.id.clone(), value]).collect()
}
