//! A claim meets the state: newer versions win field by field.
//!
//! - A claim with a version replaces what is older or has none; an older one only fills what nothing has set.
//! - A claim without a version (an embedded copy) fills what is absent and replaces only what has no version either.
//! - A whole claim clears the fields that its rule maps and its payload lacks; a partial one leaves them.
//! - What was deleted stays deleted; rows of array fields are merged by their ids.

use bytes::Bytes;
use hirewire_mapping::Slice;

use super::state::{Deleted, EntityState, Held, RawRef, RowState};
use crate::catalog::KindInfo;
use crate::claim::{Claim, Row};
use crate::ledger::Micros;

/// What a claim did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The canonical record is another now.
    pub content: bool,
    /// Something that has to be kept changed.
    pub state: bool,
    /// Parts of the claim were older than what is known.
    pub stale: bool,
}

/// Claims that one version of a record names.
const MOST_REFS: usize = 8;

/// Applies the claim.
pub fn merge(state: &mut EntityState, info: &KindInfo, claim: &Claim<'_>) -> Merged {
    let mut done = Merged::default();
    if claim.delete {
        delete(state, info, claim, &mut done);
    } else if state.deleted.is_some() {
        done.stale = true;
        return done;
    } else if let Some(row) = &claim.element {
        merge_row(state, row, claim.version, &mut done);
    } else {
        for index in 1..info.schema.fields.len() {
            merge_field(state, info, claim, index, &mut done);
        }
        if let Some(custom) = claim.custom_fields {
            merge_custom(state, claim, custom, &mut done);
        }
    }
    if done.content {
        note_origin(state, claim);
    }
    note_times(state, claim, &mut done);
    done.state |= done.content;
    done
}

/// Whether a claim of version `new` may replace what version `old` set.
fn wins(old: Option<Micros>, new: Option<Micros>) -> bool {
    match (old, new) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(old), Some(new)) => new >= old,
    }
}

fn merge_field(state: &mut EntityState, info: &KindInfo, claim: &Claim<'_>, index: usize, done: &mut Merged) {
    let value = match claim.field(index) {
        Slice::NotMapped => return,
        Slice::Absent if !claim.whole => return,
        Slice::Absent => info.schema.fields[index].default_bytes.as_slice(),
        Slice::Bytes(bytes) => bytes,
    };
    match &mut state.fields[index] {
        Some(held) if !wins(held.version, claim.version) => done.stale |= held.value != value,
        Some(held) => {
            done.state |= held.version != claim.version;
            held.version = claim.version;
            if held.value != value {
                held.value = Bytes::copy_from_slice(value);
                done.content = true;
            }
        }
        slot @ None => {
            done.content |= value != info.schema.fields[index].default_bytes;
            done.state = true;
            *slot = Some(Held { version: claim.version, value: Bytes::copy_from_slice(value) });
        }
    }
}

fn merge_row(state: &mut EntityState, row: &Row<'_>, version: Option<Micros>, done: &mut Merged) {
    let value = (!row.delete).then(|| Bytes::copy_from_slice(row.bytes));
    let place = state.rows.binary_search_by(|held| {
        (held.field, held.group.as_str())
            .cmp(&(row.field, row.group))
            .then_with(|| compare_ids(&held.row_id, row.row_id))
    });
    match place {
        Ok(at) => {
            let held = &mut state.rows[at];
            if !wins(held.version, version) {
                done.stale |= held.value != value;
                return;
            }
            done.state |= held.version != version;
            done.content |= held.value != value;
            held.version = version;
            held.value = value;
        }
        Err(at) => {
            done.content |= value.is_some();
            done.state = true;
            let (group, row_id) = (row.group.to_owned(), row.row_id.to_owned());
            state.rows.insert(at, RowState { field: row.field, group, row_id, version, value });
        }
    }
}

/// Numbers by size, all else as text.
fn compare_ids(a: &str, b: &str) -> std::cmp::Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

fn merge_custom(state: &mut EntityState, claim: &Claim<'_>, custom: &[u8], done: &mut Merged) {
    match state.customs.iter_mut().find(|(rule, _)| rule == claim.rule) {
        Some((_, held)) if wins(held.version, claim.version) => {
            done.state |= held.version != claim.version;
            held.version = claim.version;
            if held.value != custom {
                held.value = Bytes::copy_from_slice(custom);
                done.content = true;
            }
        }
        Some(_) => {}
        None => {
            done.content |= custom != [0];
            done.state = true;
            let held = Held { version: claim.version, value: Bytes::copy_from_slice(custom) };
            let at = state.customs.partition_point(|(rule, _)| rule.as_str() < claim.rule);
            state.customs.insert(at, (claim.rule.to_owned(), held));
        }
    }
}

/// Keeps ids only.
fn delete(state: &mut EntityState, info: &KindInfo, claim: &Claim<'_>, done: &mut Merged) {
    if state.deleted.is_some() {
        return;
    }
    let at = claim.deleted_at.or(claim.version).unwrap_or(claim.origin.observed_at);
    for index in 1..info.schema.fields.len() {
        if info.kept_on_delete[index] {
            if let Slice::Bytes(value) = claim.field(index) {
                state.fields[index] = Some(Held { version: claim.version, value: Bytes::copy_from_slice(value) });
            }
        } else {
            state.fields[index] = None;
        }
    }
    state.rows.clear();
    state.customs.clear();
    state.deleted = Some(Deleted { at });
    done.content = true;
}

fn note_origin(state: &mut EntityState, claim: &Claim<'_>) {
    let origin = &claim.origin;
    state.observed_at = origin.observed_at;
    state.ingested_at = origin.ingested_at;
    state.provenance = origin.provenance.index();
    if state.mapping_version != origin.mapping_version {
        origin.mapping_version.clone_into(&mut state.mapping_version);
    }
    if state.absent_fields != origin.absent_fields {
        state.absent_fields = Bytes::copy_from_slice(origin.absent_fields);
    }
    let raw = RawRef { topic: origin.topic.to_owned(), partition: origin.partition, offset: origin.offset };
    if !state.raw_refs.contains(&raw) {
        if state.raw_refs.len() >= MOST_REFS {
            state.raw_refs.remove(0);
        }
        state.raw_refs.push(raw);
    }
}

/// The source's own times: the earliest creation, the latest update.
fn note_times(state: &mut EntityState, claim: &Claim<'_>, done: &mut Merged) {
    if let Some(created) = claim.created_at
        && state.created_at.is_none_or(|old| created < old)
    {
        state.created_at = Some(created);
        done.state = true;
    }
    if let Some(updated) = claim.updated_at
        && state.updated_at.is_none_or(|old| updated > old)
    {
        state.updated_at = Some(updated);
        done.state = true;
    }
    if let Some(url) = claim.url
        && state.url.as_deref() != Some(url)
        && state.deleted.is_none()
        && (state.url.is_none() || claim.version.is_some())
    {
        state.url = Some(url.to_owned());
        done.state = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::claim::{Fields, Origin};
    use crate::ledger::Provenance;
    use hirewire_schemas::Names;

    const ORIGIN: Origin<'static> = Origin {
        tenant: "t",
        connection: "c",
        vendor: "v",
        provenance: Provenance::Poll,
        by_event: false,
        asked_at: 9,
        observed_at: 9,
        ingested_at: 9,
        topic: "raw",
        partition: 0,
        offset: 0,
        delivery: 0,
        mapping_version: "1",
        absent_fields: &[0],
        trace: &[],
    };

    struct Department {
        catalog: Catalog,
        state: EntityState,
    }

    impl Department {
        fn new() -> Self {
            let catalog = Catalog::new(&Names::new(""), &|_| Some(1)).unwrap();
            let count = catalog.info(catalog.kind("Department").unwrap()).schema.fields.len();
            Self { catalog, state: EntityState::new(count, "v") }
        }

        fn claim<'a>(&self, version: Option<Micros>, whole: bool, name: Slice<'a>) -> Claim<'a> {
            let mut fields = vec![Slice::NotMapped; self.state.fields.len()];
            fields[1] = name;
            Claim {
                record: "Department",
                remote_id: "1",
                rule: "r",
                owner: None,
                kin: crate::claim::Kin::Own,
                whole,
                delete: false,
                version,
                created_at: None,
                updated_at: None,
                deleted_at: None,
                url: None,
                custom_fields: None,
                element: None,
                change: None,
                cause: None,
                fields: Fields::Own(fields),
                origin: ORIGIN,
            }
        }

        fn tell(&mut self, claim: &Claim<'_>) -> Merged {
            let info = self.catalog.info(self.catalog.kind("Department").unwrap());
            merge(&mut self.state, info, claim)
        }

        fn name(&self) -> Option<&[u8]> {
            self.state.field(1).map(|value| &value[..])
        }
    }

    const A: Slice<'static> = Slice::Bytes(b"\x02\x02A");
    const B: Slice<'static> = Slice::Bytes(b"\x02\x02B");
    const NULL: &[u8] = &[0];

    #[test]
    fn the_newer_version_wins_whatever_comes_first() {
        for order in [[0, 1], [1, 0]] {
            let mut department = Department::new();
            let claims = [department.claim(Some(5), true, A), department.claim(Some(6), true, B)];
            for index in order {
                department.tell(&claims[index]);
            }
            assert_eq!(department.name(), Some(&b"\x02\x02B"[..]));
        }
    }

    #[test]
    fn a_stale_claim_changes_nothing_and_is_told_apart() {
        let mut department = Department::new();
        let (new, old) = (department.claim(Some(6), true, B), department.claim(Some(5), true, A));
        assert!(department.tell(&new).content);
        assert_eq!(department.tell(&old), Merged { content: false, state: false, stale: true });
        assert_eq!(department.tell(&new), Merged::default(), "a repetition is no news");
    }

    #[test]
    fn a_claim_without_version_fills_what_is_absent_and_yields_to_any_version() {
        let mut department = Department::new();
        let (copy, newer_copy) = (department.claim(None, false, A), department.claim(None, false, B));
        department.tell(&copy);
        department.tell(&newer_copy);
        assert_eq!(department.name(), Some(&b"\x02\x02B"[..]));
        let versioned = department.claim(Some(1), true, A);
        department.tell(&versioned);
        department.tell(&newer_copy);
        assert_eq!(department.name(), Some(&b"\x02\x02A"[..]));
    }

    #[test]
    fn a_whole_claim_clears_what_its_payload_lacks_and_a_part_keeps_it() {
        let mut department = Department::new();
        let (first, part) = (department.claim(Some(1), true, A), department.claim(Some(2), false, Slice::Absent));
        let whole = department.claim(Some(3), true, Slice::Absent);
        department.tell(&first);
        assert!(!department.tell(&part).content);
        assert!(department.tell(&whole).content);
        assert_eq!(department.name(), Some(NULL));
    }

    #[test]
    fn nothing_revives_what_was_deleted() {
        let mut department = Department::new();
        let mut deletion = department.claim(None, true, Slice::NotMapped);
        deletion.delete = true;
        let late = department.claim(Some(99), true, A);
        department.tell(&deletion);
        assert!(department.tell(&late).stale);
        assert_eq!(department.name(), None);
    }

    #[test]
    fn rows_of_an_array_stand_in_the_order_of_their_ids() {
        let mut department = Department::new();
        let mut row = |id: &'static str, bytes: &'static [u8], version| {
            let mut claim = department.claim(Some(version), false, Slice::NotMapped);
            claim.element = Some(Row { field: 1, group: "g", row_id: id, bytes, delete: bytes.is_empty() });
            department.tell(&claim)
        };
        row("10", b"ten", 1);
        row("9", b"nine", 1);
        row("10", b"", 2);
        assert!(row("10", b"ten", 1).stale, "a deleted row is not revived by an older one");
        let ids: Vec<&str> = department.state.rows.iter().map(|row| row.row_id.as_str()).collect();
        assert_eq!(ids, ["9", "10"]);
        assert!(department.state.rows[1].value.is_none());
    }

    #[test]
    fn the_stored_form_is_the_whole_of_a_state() {
        let mut department = Department::new();
        let mut claim = department.claim(Some(1), true, A);
        claim.custom_fields = Some(&[2, 2, 97, 2, 98, 0, 0, 0]);
        claim.url = Some("https://example.com/1");
        department.tell(&claim);
        let mut bytes = Vec::new();
        department.state.encode(&mut bytes);
        let stored = Bytes::from(bytes);
        assert_eq!(EntityState::decode(&stored, department.state.fields.len()).unwrap(), department.state);
        for end in 0..stored.len() {
            assert!(EntityState::decode(&stored.slice(..end), department.state.fields.len()).is_err(), "cut at {end}");
        }
    }
}
