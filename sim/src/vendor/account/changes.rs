//! What happens to rows: they change, change back, move, are deleted.

use serde_json::Value;

use super::super::body::{at, insert as put_or_add, put, scalar};
use super::super::row::{marked, moved};
use super::{Account, Change, HOUR_MS, Version};
use crate::rules::{Moves, Stream};

impl Account {
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
    pub(super) fn agree(&mut self, list: &str, index: usize) {
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
}
