//! Rows that a story writes into an account, in place of those that the account makes of examples.

use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::Value;

use super::Examples;
use super::account::{Account, Row, Version};
use super::fault::Fault;
use super::queue::Queue;
use crate::rules::{End, Rules, Stream};
use crate::settings::Faults;

/// Rows of a page: few, so that a story of some dozen rows has pages.
const PAGE_ROWS: u64 = 25;

/// An answer arrives within this time: a row without a clock of its own is true as of then for who gets it.
const ARRIVES_WITHIN_MS: i64 = 1_000;

/// A row as it is from now on.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) list: String,
    pub(crate) owner: Vec<String>,
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) changed: i64,
    pub(crate) visible_at: i64,
    /// `None`: it is gone.
    pub(crate) value: Option<Value>,
}

impl Written {
    pub(crate) fn gone(self) -> Self {
        Self { value: None, ..self }
    }
}

/// Answers that go wrong by shares, whatever is asked.
pub(super) struct Weather {
    faults: Faults,
    rng: Rng,
    /// The status of an answer beyond the limit.
    limit: u16,
}

impl Weather {
    pub(super) fn fault(&mut self) -> Option<Fault> {
        let (rng, faults) = (&mut self.rng, &self.faults);
        if rng.f64() < faults.api_429 {
            return Some(if rng.bool() { Fault::RetryAfter(self.limit, 1) } else { Fault::Status(self.limit) });
        }
        if rng.f64() < faults.api_5xx {
            return Some(Fault::Status(if rng.bool() { 500 } else { 503 }));
        }
        let cut = rng.f64() < faults.api_truncated;
        cut.then(|| if rng.bool() { Fault::Half } else { Fault::BrokenOff })
    }
}

impl Account {
    /// An account without a row, whose clock is ours. Its rows will be like the examples.
    pub(crate) fn of_story(rules: Arc<Rules>, examples: &Examples, seed: u64, faults: &Faults) -> Self {
        let limit = rules.rate.status;
        let mut account = Self::new(rules, examples, 0, 0);
        account.page_rows = PAGE_ROWS;
        account.weather = Some(Weather { faults: faults.clone(), rng: Rng::with_seed(seed ^ 0x0bad_da75), limit });
        account
    }

    /// Its queue is the one of this file, and outlives it there.
    pub(crate) fn keep_queue(&mut self, file: &Path) -> std::io::Result<()> {
        self.queue = Queue::kept_in(file)?;
        Ok(())
    }

    /// Whether somebody made a queue.
    pub(crate) fn has_queue(&self) -> bool {
        self.queue.is_made()
    }

    /// Events that nobody has read yet.
    pub(crate) fn unread(&self) -> usize {
        self.queue.waiting()
    }

    /// Writes a row; nothing, if it is what it was.
    pub(crate) fn write(&mut self, written: Written) {
        let Written { list, owner, id, created, changed, visible_at, value } = written;
        let rows = self.lists.entry(list).or_default();
        let known = rows.iter_mut().find(|row| row.id == id && row.owner == owner);
        let newest = Version { changed, visible_at, value: value.unwrap_or_default() };
        match known {
            Some(row) if row.newest.value == newest.value => {}
            Some(row) => {
                // What shows later does not show what was before it again.
                let visible_at = newest.visible_at.max(row.newest.visible_at);
                let before = std::mem::replace(&mut row.newest, Version { visible_at, ..newest });
                row.older.push(before);
            }
            None if newest.value.is_null() => {}
            None => rows.push(Row { id, owner, created, hidden: false, newest, older: Vec::new() }),
        }
    }

    /// When the first page of a run was asked for, and whether the last one was given: what it told of, and until when.
    pub(super) fn heard(&mut self, streams: &[&Stream], first: bool, last: bool, params: &[(String, String)]) {
        let now = self.now();
        for stream in streams.iter().filter(|stream| stream.owner.is_none()) {
            if first {
                self.began.insert(stream.name.clone(), now);
            }
            let ends = stream.filters.iter().filter(|filter| matches!(filter.end, End::AtMost));
            let end = ends.filter_map(|filter| params.iter().find(|(name, _)| *name == filter.param));
            let end = end.filter_map(|(_, text)| stream.times.parse(text)).min();
            let began = self.began.get(&stream.name).copied().unwrap_or(i64::MIN);
            if last {
                let told = self.told.entry(stream.name.clone()).or_insert(i64::MIN);
                *told = (*told).max(end.map_or(began, |end| end.min(began)));
            }
        }
    }

    /// Per list: until when everything that was shown by then was told.
    pub(crate) fn told_until(&self) -> std::collections::BTreeMap<String, i64> {
        self.told.clone()
    }

    /// When the last row shows.
    pub(crate) fn all_visible_at(&self) -> i64 {
        self.lists.values().flatten().map(|row| row.newest.visible_at).max().unwrap_or(i64::MIN)
    }

    /// These lists told of a row to who asked by its id.
    pub(super) fn was_read(&mut self, streams: &[&Stream], id: &str) {
        let now = self.now();
        for stream in streams.iter().filter(|_| self.weather.is_some()) {
            self.reads.entry((stream.name.clone(), id.to_owned())).or_default().push(now);
        }
    }

    /// Whether the list of a row has told it as it is now; a row that is not there is told by nobody.
    pub(crate) fn has_told(&self, row: &Written) -> bool {
        let rows = self.lists.get(&row.list).into_iter().flatten();
        let found = rows.into_iter().find(|known| known.id == row.id && known.owner == row.owner);
        let Some(newest) = found.map(|known| &known.newest) else { return true };
        match row.owner.first() {
            Some(owner) => {
                let arrived = self.now() - ARRIVES_WITHIN_MS;
                let last = self.reads.get(&(row.list.clone(), owner.clone())).and_then(|reads| reads.last());
                last.is_some_and(|last| *last >= newest.changed && *last <= arrived)
            }
            None => self.told.get(&row.list).is_some_and(|until| *until >= newest.visible_at),
        }
    }

    /// When it was told first from an instant on.
    pub(crate) fn read_after(&self, list: &str, id: &str, instant: i64) -> Option<i64> {
        self.reads.get(&(list.to_owned(), id.to_owned()))?.iter().copied().find(|at| *at >= instant)
    }

    /// What is asked for by an id, a row or the list of an owner, or as of a moment, is told by a story as it is; only lists
    /// of everything lag.
    pub(super) fn now_by_id(&self) -> i64 {
        if self.weather.is_some() { i64::MAX } else { self.now() }
    }
}
