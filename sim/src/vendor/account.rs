//! What the vendor has: rows in their versions, a clock, and the faults that wait for requests.
//!
//! All instants are milliseconds since 1970. A version is shown from its `visible_at` on; until then the one before is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::body::{at, put, scalar};
use super::fixtures::Examples;
use crate::clock::now_ms;
use crate::rules::{Rules, Stream};

/// The rows of one owner.
const PER_OWNER: usize = 3;
const HOUR_MS: i64 = 3_600_000;

/// One account at the vendor.
pub struct Account {
    rules: Arc<Rules>,
    lists: BTreeMap<String, Vec<Row>>,
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
    /// When each request for a page came, by our clock.
    pub asked: Vec<std::time::Instant>,
    /// What is done when the next page was given that another one follows.
    between: Option<(String, usize)>,
}

pub(super) struct Row {
    pub(super) id: String,
    /// The id of the row whose list it is in.
    pub(super) owner: Option<String>,
    pub(super) created: i64,
    newest: Version,
    /// Those before it, in the order of their changes.
    older: Vec<Version>,
}

#[derive(Clone)]
pub(super) struct Version {
    pub(super) changed: i64,
    pub(super) visible_at: i64,
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

/// What a request meets in the place of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Status(u16),
    /// With `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// 401, and the token is not known any more.
    TokenEnded,
    /// 200 with half of the body, said to be whole.
    Half,
    /// The connection breaks off in the body.
    BrokenOff,
    /// The refusal of the vendor with this code.
    Code(&'static str),
    /// The page names itself as the one that follows.
    Circle,
    /// No page that was named before is known any more.
    PagesForgotten,
}

/// Which requests meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    FirstPage,
    LaterPage,
}

#[derive(Debug, Clone)]
pub struct Planned {
    pub fault: Fault,
    pub when: When,
    /// How many requests.
    pub times: u32,
}

impl Account {
    /// An account with `rows` rows in each list, made `days` days before now, which is also what its clock shows.
    #[must_use]
    pub fn new(rules: Arc<Rules>, examples: &Examples, rows: usize, days: i64) -> Self {
        let mut account = Self {
            rules: rules.clone(),
            lists: BTreeMap::new(),
            examples: examples.clone(),
            ahead_ms: -days * 24 * HOUR_MS,
            changes: 0,
            page_rows: 2,
            generation: 0,
            tokens: 0,
            fault: None,
            served: 0,
            asked: Vec::new(),
            between: None,
        };
        for stream in &rules.streams {
            account.fill(stream, rows);
        }
        account
    }

    fn fill(&mut self, stream: &Stream, rows: usize) {
        let owners: Vec<Option<String>> = match &stream.owner {
            None => vec![None; rows],
            Some(owner) => {
                let ids = self.lists.get(&owner.stream).into_iter().flatten().map(|row| row.id.clone());
                ids.flat_map(|id| vec![Some(id); PER_OWNER]).collect()
            }
        };
        let count = i64::try_from(owners.len()).unwrap_or(0);
        for (index, owner) in (0..).zip(owners) {
            let created = self.now() - (count - index + 1) * HOUR_MS;
            self.add(stream, owner, created, created);
        }
    }

    /// Adds a row like one of the examples, with an id of its own.
    fn add(&mut self, stream: &Stream, owner: Option<String>, created: i64, changed: i64) {
        let list = self.lists.entry(stream.name.clone()).or_default();
        let examples = self.examples.get(&stream.name).map(Vec::as_slice).unwrap_or_default();
        let Some(mut value) = examples.get(list.len() % examples.len().max(1)).cloned() else { return };
        let id = new_id(at(&value, &stream.id), list.len());
        put(&mut value, &stream.id, id.clone());
        put(&mut value, &stream.times.created, stream.times.write(created));
        if at(&value, &stream.times.changed).is_some_and(|time| !time.is_null()) {
            put(&mut value, &stream.times.changed, stream.times.write(changed));
        }
        let newest = Version { changed, visible_at: changed, value };
        list.push(Row { id: scalar(&id).unwrap_or_default(), owner, created, newest, older: Vec::new() });
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
        let rules = self.rules.clone();
        let Some(stream) = rules.stream(list) else { return };
        let changed = change.at.unwrap_or_else(|| self.now());
        let visible_at = changed + change.shown_after_ms;
        if stream.grows {
            let created = self.now() - 1000 * HOUR_MS;
            self.add(stream, None, created, changed);
            if let Some(row) = self.lists.get_mut(list).and_then(|rows| rows.last_mut()) {
                row.newest.visible_at = visible_at;
            }
            return;
        }
        self.changes += 1;
        let mark = self.changes;
        let others: Vec<Value> =
            self.lists.get(list).into_iter().flatten().map(|row| row.newest.value.clone()).collect();
        let Some(row) = self.lists.get_mut(list).and_then(|rows| rows.get_mut(index)) else { return };
        let mut value = row.newest.value.clone();
        for place in stream.stage.iter().chain(&stream.status) {
            let now = at(&value, place).cloned();
            let other = others.iter().filter_map(|other| at(other, place)).find(|other| Some(*other) != now.as_ref());
            if let Some(other) = other {
                put(&mut value, place, other.clone());
            }
        }
        if !change.quiet {
            put(&mut value, &stream.times.changed, stream.times.write(changed));
        }
        if let Some(object) = value.as_object_mut() {
            object.insert("changeOfTheKit".to_owned(), mark.into());
        }
        let before = std::mem::replace(&mut row.newest, Version { changed, visible_at, value });
        row.older.push(before);
        let owner = row.owner.clone().zip(stream.owner.as_ref().map(|owner| owner.stream.clone()));
        if let Some((id, of)) = owner {
            let index = self.lists.get(&of).and_then(|rows| rows.iter().position(|row| row.id == id));
            if let Some(index) = index {
                self.change(&of, index, change);
            }
        }
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
            let id = row.owner.as_ref()?;
            Some(self.lists.get(stream)?.iter().find(|owner| owner.id == *id)?.newest.clone())
        };
        let shown = |row: &Row| {
            let clock = of_owner(row).unwrap_or_else(|| row.newest.clone());
            let (id, body) = (row.id.clone(), row.newest.value.to_string());
            Shown { id, changed: clock.changed, visible_at: clock.visible_at, body }
        };
        self.lists.get(list).into_iter().flatten().map(shown).collect()
    }

    /// The rows of a list, or of one owner's, each in the version that is shown now.
    pub(super) fn visible(&self, list: &str, owner: Option<&str>) -> Vec<(&Row, &Version)> {
        let now = self.now();
        let rows = self.lists.get(list).into_iter().flatten().filter(|row| row.owner.as_deref() == owner);
        rows.filter_map(|row| Some((row, row.at(now)?))).collect()
    }

    pub(super) fn knows(&self, list: &str, id: &str) -> bool {
        self.lists.get(list).into_iter().flatten().any(|row| row.id == id)
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
        let planned = self.fault.as_mut().filter(|planned| planned.when == when && planned.times > 0)?;
        planned.times -= 1;
        let fault = planned.fault.clone();
        match fault {
            Fault::TokenEnded => self.tokens += 1,
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
    /// The version that is shown at an instant; `None`: the row is not.
    fn at(&self, instant: i64) -> Option<&Version> {
        std::iter::once(&self.newest).chain(self.older.iter().rev()).find(|version| version.visible_at <= instant)
    }
}

/// An id in the form of `like`, that no other row of a list has.
fn new_id(like: Option<&Value>, index: usize) -> Value {
    match like {
        Some(Value::Number(number)) => {
            let base = number.as_i64().unwrap_or(1);
            (base + 1_000_000 * i64::try_from(index).unwrap_or(0)).into()
        }
        Some(Value::String(text)) => format!("{text}-{index}").into(),
        _ => index.to_string().into(),
    }
}
