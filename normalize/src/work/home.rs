//! Homes: where it is known in whose partition a record lives, and where statements wait that do not say it.
//!
//! In: notices, rows and statements at the home of their record. Out: what must be told further, and to whom. See [`moved`].

use hirewire_kafka::Stop;

use super::Work;
use super::touched::Learnt;
use crate::claim::{Claim, Fields, Id};
use crate::moved::{self, Notice, STATEMENT};
use crate::reconcile::{RowState, merge};
use crate::store::Store;

/// Rows and statements that wait at one home for its owner.
const MOST_WAITING: usize = 64;

/// What became of a statement at its record's home.
pub enum Waiting {
    Owner(Id),
    Kept,
    /// As much waits there as may.
    Full,
}

impl Work {
    /// The home with this id learns where its record lives. What comes back is for the owner that it has left.
    ///
    /// # Errors
    /// The store or a state in it cannot be read.
    pub fn note_home(&mut self, store: &mut Store, claim: &Claim<'_>, id: Id) -> Result<Option<Notice>, Stop> {
        let (Some(kind), Some(told)) = (self.catalog.kind(claim.rule), moved::said(claim)) else { return Ok(None) };
        let touched = self.touch(store, kind, id, claim, claim.remote_id)?;
        touched.record = moved::HOME;
        touched.merged.state = true;
        Ok(moved::settle(&mut touched.state, told))
    }

    /// A row has come to its record's home. The owner, if it is known; else the row is kept until it is.
    ///
    /// # Errors
    /// The store or a state in it cannot be read.
    pub fn keep_row(&mut self, store: &mut Store, claim: &Claim<'_>, home: Id) -> Result<Option<Id>, Stop> {
        let Some(kind) = self.catalog.kind(claim.record) else { return Ok(None) };
        let catalog = std::sync::Arc::clone(&self.catalog);
        let touched = self.touch(store, kind, home, claim, claim.remote_id)?;
        if let Some(owner) = touched.state.owner {
            return Ok(Some(owner));
        }
        touched.record = moved::HOME;
        touched.merged.state |= merge(&mut touched.state, catalog.info(kind), claim).state;
        Ok(None)
    }

    /// A statement that names no owner has come to its record's home. The owner, if it is known; else the statement is kept
    /// until it is.
    ///
    /// # Errors
    /// The store or a state in it cannot be read.
    pub fn keep_statement(&mut self, store: &mut Store, claim: &Claim<'_>, home: Id) -> Result<Waiting, Stop> {
        let Some(kind) = self.catalog.kind(claim.record) else { return Ok(Waiting::Full) };
        let touched = self.touch(store, kind, home, claim, claim.remote_id)?;
        if let Some(owner) = touched.state.owner {
            return Ok(Waiting::Owner(owner));
        }
        touched.record = moved::HOME;
        let row_id = format!("{:016x}", claim.origin.delivery);
        let rows = &mut touched.state.rows;
        if rows.iter().any(|row| row.field == STATEMENT && row.group == claim.rule && row.row_id == row_id) {
            return Ok(Waiting::Kept);
        }
        if rows.len() >= MOST_WAITING {
            return Ok(Waiting::Full);
        }
        let mut value = Vec::with_capacity(256);
        claim.encode_content(&mut value);
        claim.encode_origin(&mut value);
        let (group, value) = (claim.rule.to_owned(), Some(value.into()));
        rows.push(RowState { field: STATEMENT, group, row_id, version: claim.version, value });
        touched.merged.state = true;
        Ok(Waiting::Kept)
    }

    /// Whether anything is known of the record with this id.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn knows(&self, store: &mut Store, id: &Id) -> Result<bool, Stop> {
        if let Some(touched) = self.touched.get(id) {
            return Ok(touched.existed || touched.merged.content || touched.learnt != Learnt::Nothing);
        }
        let stored = store.get(id).map_err(|error| Stop::retryable("local-store", error.to_string()))?;
        Ok(stored.is_some())
    }

    /// The rows that waited at this home, and for whom: they leave it.
    pub fn waiting_rows(&mut self, home: &Id) -> Option<(Id, Vec<RowState>)> {
        let touched = self.touched.get_mut(home)?;
        let owner = touched.state.owner?;
        let rows = std::mem::take(&mut touched.state.rows);
        touched.merged.state |= !rows.is_empty();
        Some((owner, rows))
    }

    /// The record no longer lives with this owner. What comes back is for its home: it does, for more is known here.
    ///
    /// # Errors
    /// The store or a state in it cannot be read.
    pub fn leave(&mut self, store: &mut Store, claim: &Claim<'_>, id: Id) -> Result<Option<Notice>, Stop> {
        let (Some(kind), Some(told)) = (self.catalog.kind(claim.rule), moved::said(claim)) else { return Ok(None) };
        let catalog = std::sync::Arc::clone(&self.catalog);
        let touched = self.touch(store, kind, id, claim, claim.remote_id)?;
        if touched.state.owner != Some(told.owner) || touched.state.deleted.is_some() {
            return Ok(None);
        }
        let known = moved::known_at(&touched.state);
        if known > told.version {
            return Ok(Some(Notice { owner: told.owner, version: known }));
        }
        let left =
            Claim { delete: true, deleted_at: Some(told.version), fields: Fields::Own(Vec::new()), ..claim.clone() };
        touched.state.raw_refs.clear();
        let done = merge(&mut touched.state, catalog.info(kind), &left);
        touched.state.owner = None;
        touched.merged.content |= done.content;
        touched.merged.state = true;
        self.moved.inc();
        Ok(None)
    }
}
