//! What the vendor has: rows in their versions, a clock, and the faults that wait for requests.
//!
//! All instants are milliseconds since 1970. A version is shown from its `visible_at` on; until then the one before is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::body::{at, every, insert as put_or_add, put, scalar};
use super::fault::{Fault, Planned, When};
use super::fixtures::Examples;
use super::login::Logins;
use super::queue::Queue;
use super::row::{in_the_form, marked, moved, new_id};
use super::written::Weather;
use super::xml::text;
use crate::clock::now_ms;
use crate::rules::{Moves, Owner, Rules, Stream};

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

    /// Changes the row of a list at `index`, counted from the oldest; in a list that only grows, one is added.
    pub fn change(&mut self, list: &str, index: usize, change: Change) {
        self.change_alone(list, index, change);
        self.agree(list, index);
    }

    /// The row, and whose it is.
    fn change_alone(&mut self, list: &str, index: usize, change: Change) {
        let rules = self.rules.clone();
        let Some(stream) = rules.stream(list) else { return };
        let changed = change.at.unwrap_or_else(|| self.now());
        let visible_at = changed + change.shown_after_ms;
        self.changes += 1;
        let owner = self.lists.get(list).and_then(|rows| rows.get(index)).map(|row| row.owner.clone());
        if stream.grows {
            let created = self.now() - 1000 * HOUR_MS;
            self.add(stream, owner.clone().unwrap_or_default(), created, changed);
            if let Some(row) = self.lists.get_mut(list).and_then(|rows| rows.last_mut()) {
                row.newest.visible_at = visible_at;
                marked(&mut row.newest.value, self.changes);
            }
        } else {
            let value = self.changed(stream, index, changed, change);
            let Some(row) = self.lists.get_mut(list).and_then(|rows| rows.get_mut(index)) else { return };
            let Some(value) = value else { return };
            let before = std::mem::replace(&mut row.newest, Version { changed, visible_at, value });
            row.older.push(before);
            if let Some(moves) = change.moves.and_then(|way| stream.moves.get(way)) {
                self.enter(stream, moves, index, changed);
            }
        }
        if let Some((of, index)) = self.place_of(stream, owner.as_deref()) {
            self.change_alone(&of, index, change);
        }
    }

    /// The list and the place of whom a row is of.
    fn place_of(&self, stream: &Stream, owner: Option<&[String]>) -> Option<(String, usize)> {
        let (of, id) = (&stream.owner.as_ref()?.stream, owner?.first()?);
        let index = self.lists.get(of)?.iter().position(|row| row.id == *id)?;
        Some((of.clone(), index))
    }

    /// A row that is its owner, told in full, is where its owner is: at the same stage, with the same status. What the row
    /// of `list` at `index` says counts.
    fn agree(&mut self, list: &str, index: usize) {
        let rules = self.rules.clone();
        let Some(stream) = rules.stream(list) else { return };
        let Some((id, owner, value)) = self
            .lists
            .get(list)
            .and_then(|rows| rows.get(index))
            .map(|row| (row.id.clone(), row.owner.clone(), row.newest.value.clone()))
        else {
            return;
        };
        let said = |stream: &Stream| [stream.stage.clone(), stream.status.clone()];
        let others: Vec<(&Stream, String)> = match owner.first().filter(|_| stream.single) {
            Some(owner) => {
                let of = stream.owner.as_ref().and_then(|owner| rules.stream(&owner.stream));
                of.map(|of| (of, owner.clone())).into_iter().collect()
            }
            None => {
                let single = |other: &&Stream| other.single && other.owner.as_ref().is_some_and(|of| of.stream == list);
                rules.streams.iter().filter(single).map(|other| (other, id.clone())).collect()
            }
        };
        for (other, id) in others {
            let row = self.lists.get_mut(&other.name).and_then(|rows| rows.iter_mut().find(|row| row.id == id));
            let Some(row) = row else { continue };
            for (own, place) in said(stream).iter().zip(said(other)).filter_map(|(own, place)| own.as_ref().zip(place))
            {
                if let Some(now) = at(&value, own) {
                    put(&mut row.newest.value, &place, now.clone());
                }
            }
        }
    }

    /// A row is again what it was before its last change, but for its time of change; so is whose it is.
    pub fn take_back(&mut self, list: &str, index: usize) {
        let rules = self.rules.clone();
        let Some(stream) = rules.stream(list) else { return };
        let now = self.now();
        let Some(row) = self.lists.get_mut(list).and_then(|rows| rows.get_mut(index)) else { return };
        let Some(mut value) = row.older.last().map(|before| before.value.clone()) else { return };
        if let Some(place) = &stream.times.changed {
            put(&mut value, place, stream.times.write(now));
        }
        let before = std::mem::replace(&mut row.newest, Version { changed: now, visible_at: now, value });
        row.older.push(before);
        let owner = row.owner.clone();
        if let Some((of, index)) = self.place_of(stream, Some(&owner)) {
            self.take_back(&of, index);
        }
    }

    /// What a row is after a change: at another stage, with another status, as far as there are others, and a mark.
    fn changed(&self, stream: &Stream, index: usize, changed: i64, change: Change) -> Option<Value> {
        let rows = self.lists.get(&stream.name)?;
        let mut value = rows.get(index)?.newest.value.clone();
        let moves = change.moves.and_then(|way| stream.moves.get(way));
        if let Some(moves) = moves {
            moved(&mut value, moves, &moves.to, stream.times.write(changed));
        }
        for place in stream.stage.iter().chain(&stream.status).filter(|_| moves.is_none()) {
            let now = at(&value, place).cloned();
            let mut others = rows.iter().filter_map(|other| at(&other.newest.value, place));
            if let Some(other) = others.find(|other| Some(*other) != now.as_ref()) {
                put(&mut value, place, other.clone());
            }
        }
        if let Some(place) = stream.times.changed.as_ref().filter(|_| !change.quiet) {
            put(&mut value, place, stream.times.write(changed));
        }
        marked(&mut value, self.changes);
        Some(value)
    }

    /// The first row of a list begins at the stage that the rules say, with a history that knows no other.
    pub fn begin(&mut self, list: &str, way: usize) {
        let rules = self.rules.clone();
        let Some((stream, moves)) = rules.stream(list).and_then(|stream| Some((stream, stream.moves.get(way)?))) else {
            return;
        };
        let Some(row) = self.lists.get_mut(list).and_then(|rows| rows.first_mut()) else { return };
        if let Some(appends) = &moves.appends {
            put(&mut row.newest.value, &appends.place, Value::Array(Vec::new()));
        }
        let created = row.created;
        moved(&mut row.newest.value, moves, &moves.from, stream.times.write(created));
        self.agree(list, 0);
        if let Some(rows) = moves.history.as_ref().and_then(|history| self.lists.get_mut(&history.stream)) {
            rows.clear();
        }
        self.enter(stream, moves, 0, created);
    }

    /// The stage that a row has now gets its row in the history; the one before it ends.
    fn enter(&mut self, stream: &Stream, moves: &Moves, index: usize, at_ms: i64) {
        let rules = self.rules.clone();
        let Some((history, list)) =
            moves.history.as_ref().and_then(|history| Some((history, rules.stream(&history.stream)?)))
        else {
            return;
        };
        let Some((id, value)) = self.row(&stream.name, index) else { return };
        let time = list.times.write(at_ms);
        if let Some(row) = self.lists.get_mut(&list.name).and_then(|rows| rows.last_mut()) {
            if let Some(left) = &history.left {
                put_or_add(&mut row.newest.value, left, time.clone());
                if let Some(place) = &list.times.changed {
                    put(&mut row.newest.value, place, time.clone());
                }
                row.newest.changed = at_ms;
            }
            if let Some(current) = &history.current {
                put_or_add(&mut row.newest.value, current, false.into());
            }
        }
        let within = list.owner.as_ref().and_then(|owner| owner.within.first());
        let within = within.and_then(|place| at(&value, place)).and_then(scalar);
        let owner = if list.owner.is_some() { [Some(id), within].into_iter().flatten().collect() } else { Vec::new() };
        self.add(list, owner, at_ms, at_ms);
        let Some(row) = self.lists.get_mut(&list.name).and_then(|rows| rows.last_mut()) else { return };
        for (field, place) in &history.row {
            put_or_add(&mut row.newest.value, field, at(&value, place).cloned().unwrap_or_default());
        }
        if let Some(left) = &history.left {
            put(&mut row.newest.value, left, Value::Null);
        }
        if let Some(current) = &history.current {
            put_or_add(&mut row.newest.value, current, true.into());
        }
        put_or_add(&mut row.newest.value, &history.entered, time);
    }

    /// The first row of a list is gone, and the list of what is gone tells it.
    pub fn delete(&mut self, list: &str, told_by: &str) {
        let rules = self.rules.clone();
        let Some((id, stream)) = self.row(list, 0).map(|(id, _)| id).zip(rules.stream(told_by)) else { return };
        let now = self.now();
        self.remove(&id);
        self.add(stream, Vec::new(), now, now);
        let Some(row) = self.lists.get_mut(told_by).and_then(|rows| rows.last_mut()) else { return };
        if let Some(place) = &stream.id {
            put(&mut row.newest.value, place, id.as_str().into());
        }
        row.id = id;
    }

    /// A row is gone, with all that is its own.
    pub fn remove(&mut self, id: &str) {
        for rows in self.lists.values_mut() {
            rows.retain(|row| row.id != id && row.owner.first().is_none_or(|owner| owner != id));
        }
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
