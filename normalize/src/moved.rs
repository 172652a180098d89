//! A record that follows its owner into another partition (an attachment after a merge of candidates) leaves the old one.
//!
//! The new partition knows nothing of the old. So each owned record has a *home*: a note of where it lives, kept in the
//! partition of the home's own id. Whoever sees the record under a new owner tells its home; the home tells the owner with
//! the older knowledge that the record has left, and there it is deleted. Both are statements like others: in this partition
//! they are applied at once, to another they go as fragments.
//!
//! The home also helps rows whose payload does not name the owner (an interviewer's): they go to the home, which sends them
//! on to the owner, or keeps them until the first owner is told.

use hirewire_mapping::Slice;

use crate::claim::{Claim, Fields, Id, Kin, Row};
use crate::ledger::Micros;
use crate::reconcile::{EntityState, RowState};

/// Pseudo-record: "it lives with this owner".
pub const HOME: &str = "Home";
/// Pseudo-record: "it no longer lives with this owner".
pub const LEAVE: &str = "Leave";

/// Who has to be told, and what the sender knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The owner: of [`HOME`] the one it lives with, of [`LEAVE`] the one it has left.
    pub owner: Id,
    pub version: Micros,
}

/// The record that [`HOME`]s of `record` have in canonical ids: a home is another thing than what lives in it.
#[must_use]
pub fn home_record(record: &str) -> String {
    format!("{HOME}/{record}")
}

/// A notice about the record of `claim`, which is about the record itself or a notice about it.
#[must_use]
pub fn notice<'a>(what: &'static str, claim: &Claim<'a>, notice: &'a Notice) -> Claim<'a> {
    let about = if is_notice(claim.record) { claim.rule } else { claim.record };
    Claim {
        record: what,
        rule: about,
        remote_id: claim.remote_id,
        owner: None,
        kin: Kin::Own,
        whole: false,
        delete: false,
        version: Some(notice.version),
        created_at: None,
        updated_at: None,
        deleted_at: None,
        url: None,
        custom_fields: None,
        element: None,
        change: None,
        cause: None,
        fields: Fields::Own(vec![Slice::Bytes(&notice.owner)]),
        origin: claim.origin,
    }
}

/// In [`RowState::field`]: no row, but a whole statement that waits for its owner.
pub const STATEMENT: usize = u32::MAX as usize;

/// A row that waited at the home of the record that `home` is a notice about, now that its owner is known.
#[must_use]
pub fn row_claim<'a>(home: &Claim<'a>, row: &'a RowState) -> Claim<'a> {
    let bytes = row.value.as_deref().unwrap_or_default();
    Claim {
        record: home.rule,
        rule: "waited",
        version: row.version,
        element: Some(Row {
            field: row.field,
            group: &row.group,
            row_id: &row.row_id,
            bytes,
            delete: row.value.is_none(),
        }),
        fields: Fields::Own(Vec::new()),
        ..home.clone()
    }
}

#[must_use]
pub fn is_notice(record: &str) -> bool {
    record == HOME || record == LEAVE
}

/// What a notice says. None: it is none, or damaged.
#[must_use]
pub fn said(claim: &Claim<'_>) -> Option<Notice> {
    let owner = Id::try_from(claim.bytes(0)?).ok()?;
    Some(Notice { owner, version: claim.version? })
}

/// The newest that is known of the record.
#[must_use]
pub fn known_at(state: &EntityState) -> Micros {
    let fields = state.fields.iter().flatten().filter_map(|held| held.version);
    let rows = state.rows.iter().filter_map(|row| row.version);
    fields.chain(rows).max().unwrap_or(state.observed_at)
}

/// Whether the record left: it may come back, unlike one that was deleted.
#[must_use]
pub fn has_left(state: &EntityState) -> bool {
    state.deleted.is_some() && state.owner.is_none() && state.forget_after.is_none()
}

/// Of records that may live in several partitions each begins to count elsewhere, for event ids are made of the count.
#[must_use]
pub fn first_revision(owner: &Id) -> u64 {
    let digits = owner.iter().filter_map(|digit| char::from(*digit).to_digit(16));
    digits.take(8).fold(0, |value, digit| value << 4 | u64::from(digit)) << 24
}

/// The home's note: who is told to leave, if there are two.
pub fn settle(home: &mut EntityState, told: Notice) -> Option<Notice> {
    let (held, known) = (home.owner, home.updated_at.unwrap_or(Micros::MIN));
    match held {
        Some(owner) if owner != told.owner && told.version < known => {
            Some(Notice { owner: told.owner, version: known })
        }
        Some(owner) => {
            home.owner = Some(told.owner);
            home.updated_at = Some(told.version.max(known));
            (owner != told.owner).then_some(Notice { owner, version: told.version })
        }
        None => {
            home.owner = Some(told.owner);
            home.updated_at = Some(told.version);
            None
        }
    }
}
