//! Claims go to the partition that owns their record: applied here, or forwarded as fragments. In: a claim, or another
//! partition's fragment. Out: the state in [`Work`](crate::work::Work) has it, or a fragment is in the outbox.

use hirewire_kafka::{Inbound, Outbox, Stop, partition_for};
use hirewire_mapping::foreign;

use super::NormalizeStep;
use crate::catalog::VISIT;
use crate::claim::{Claim, Id, Kin};
use crate::dead_letter::Code;
use crate::fragments;
use crate::intent::Told;
use crate::moved::{self, HOME, LEAVE, STATEMENT};
use crate::work::{Place, Waiting};

impl NormalizeStep {
    /// Reconciles a claim if this partition owns it, else forwards it to the partition that does.
    pub(super) fn place(&mut self, claim: &Claim<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let Some(owner) = self.owner_of(claim) else {
            if claim.kin == Kin::Awaited {
                let home = self.home_of(claim.record, claim);
                let to = partition_for(&home, self.shared.partitions);
                if to == self.partition {
                    return self.take_awaiting(claim, home, out);
                }
                self.forward(claim, &home, to, out);
                return Ok(());
            }
            if claim.element.is_some() {
                let home = self.home_of(claim.record, claim);
                let to = partition_for(&home, self.shared.partitions);
                if to == self.partition {
                    return self.take_row(claim, home, out);
                }
                self.forward(claim, &home, to, out);
                return Ok(());
            }
            let (id, here) = (self.id_of(claim), self.partition);
            for to in (0..self.shared.partitions).filter(|to| *to != here) {
                self.forward(claim, &id, to, out);
            }
            return self.apply(claim, id, true, out);
        };
        self.give(claim, owner, false, out)
    }

    /// Gives the claim to the partition of its owner: here, or through a fragment. `held_only`: the payload did not name the owner.
    fn give(&mut self, claim: &Claim<'_>, owner: Id, held_only: bool, out: &mut Outbox) -> Result<(), Stop> {
        let to = partition_for(&owner, self.shared.partitions);
        if to == self.partition {
            return self.apply(claim, owner, held_only, out);
        }
        self.forward(claim, &owner, to, out);
        Ok(())
    }

    fn forward(&mut self, claim: &Claim<'_>, owner: &Id, to: i32, out: &mut Outbox) {
        let record = fragments::forward(&mut self.sent, &self.shared.catalog, claim, owner, to);
        let fragments = &self.shared.metrics.fragments;
        match record {
            Some(record) => {
                fragments.sent.inc();
                out.send(record);
            }
            None => fragments.known.inc(),
        }
    }

    /// None: a deletion or a row whose payload does not name the owner, or what waits to be told.
    fn owner_of(&mut self, claim: &Claim<'_>) -> Option<Id> {
        match claim.kin {
            Kin::Own => {}
            Kin::Told(id) => return Some(id),
            Kin::Awaited => return None,
            Kin::Foreign => {
                let (record, text) = claim.owner?;
                let (connection, remote_id) = foreign(text)?;
                return Some(self.ids.id(claim.origin.tenant, connection, record, remote_id));
            }
        }
        match claim.owner {
            Some((record, remote_id)) => {
                Some(self.ids.id(claim.origin.tenant, claim.origin.connection, record, remote_id))
            }
            None if claim.delete || claim.element.is_some() => None,
            None => Some(self.id_of(claim)),
        }
    }

    fn id_of(&mut self, claim: &Claim<'_>) -> Id {
        self.ids.id(claim.origin.tenant, claim.origin.connection, claim.record, claim.remote_id)
    }

    fn apply(&mut self, claim: &Claim<'_>, owner: Id, held_only: bool, out: &mut Outbox) -> Result<(), Stop> {
        let id = if claim.record == VISIT { owner } else { self.id_of(claim) };
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        if claim.kin == Kin::Foreign && !self.work.knows(store, &owner)? {
            self.stray = Some("the tenant has no such record at the connection that the order names");
            return Ok(());
        }
        match self.work.apply(store, claim, Place { id, owner }, held_only)? {
            Some(arrived) => self.notify(&moved::notice(HOME, claim, &arrived), out),
            None => Ok(()),
        }
    }

    /// A row whose payload does not name the owner is at its record's home: on to the owner, or kept until one is known.
    fn take_row(&mut self, claim: &Claim<'_>, home: Id, out: &mut Outbox) -> Result<(), Stop> {
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        match self.work.keep_row(store, claim, home)? {
            Some(owner) => self.give(claim, owner, true, out),
            None => Ok(()),
        }
    }

    /// A statement whose owner another one names is at its record's home: on to the owner, or kept until one is known.
    fn take_awaiting(&mut self, claim: &Claim<'_>, home: Id, out: &mut Outbox) -> Result<(), Stop> {
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        match self.work.keep_statement(store, claim, home)? {
            Waiting::Owner(owner) => self.give(&Claim { kin: Kin::Told(owner), ..claim.clone() }, owner, false, out),
            Waiting::Kept => {
                if let Some((id, record)) = self.shared.issues.awaits_order(&self.shared.catalog, claim) {
                    self.told.push(id);
                    out.send(record);
                }
                Ok(())
            }
            Waiting::Full => {
                self.stray = Some("as many results as are kept wait for the same order already");
                Ok(())
            }
        }
    }

    /// Tells a record's home, or the owner that the record has left, here or through a fragment.
    fn notify(&mut self, notice: &Claim<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let Some(said) = moved::said(notice) else { return Ok(()) };
        let to = if notice.record == LEAVE { said.owner } else { self.home_of(notice.rule, notice) };
        let partition = partition_for(&to, self.shared.partitions);
        if partition != self.partition {
            self.forward(notice, &to, partition, out);
            return Ok(());
        }
        self.take_notice(notice, out)
    }

    fn take_notice(&mut self, notice: &Claim<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let (home, tenant) = (self.home_of(notice.rule, notice), notice.origin.tenant);
        let id = self.ids.id(tenant, notice.origin.connection, notice.rule, notice.remote_id);
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        if notice.record == LEAVE {
            return match self.work.leave(store, notice, id)? {
                Some(answer) => self.notify(&moved::notice(HOME, notice, &answer), out),
                None => Ok(()),
            };
        }
        if let Some(answer) = self.work.note_home(store, notice, home)? {
            self.notify(&moved::notice(LEAVE, notice, &answer), out)?;
        }
        if let Some((owner, rows)) = self.work.waiting_rows(&home) {
            for row in &rows {
                if row.field != STATEMENT {
                    self.give(&moved::row_claim(notice, row), owner, true, out)?;
                } else if let Ok(claim) = Claim::decode(row.value.as_deref().unwrap_or_default(), b"") {
                    self.give(&Claim { kin: Kin::Told(owner), ..claim }, owner, false, out)?;
                }
            }
        }
        Ok(())
    }

    /// Where it is known in whose partition the record of this name with the claim's remote id lives.
    fn home_of(&mut self, record: &str, claim: &Claim<'_>) -> Id {
        let record = moved::home_record(record);
        self.ids.id(claim.origin.tenant, claim.origin.connection, &record, claim.remote_id)
    }

    /// What route is about to change at a source.
    pub(super) fn intend(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let Some(told) = input.value.as_deref().and_then(Told::read) else {
            return self.bury(input, Code::DamagedFragment, "the intent cannot be read".to_owned(), None, out);
        };
        let store = self.store.as_mut().ok_or_else(not_restored)?;
        self.work.intend(store, told.application, told.intent)
    }

    /// A claim that another partition found.
    pub(super) fn fragment(&mut self, input: &Inbound, out: &mut Outbox) -> Result<(), Stop> {
        let trace = input.header("traceparent").unwrap_or_default();
        let claim = input.value.as_deref().and_then(fragments::body).and_then(|body| Claim::decode(body, trace).ok());
        let Some(claim) = claim else {
            return self.bury(input, Code::DamagedFragment, "the fragment cannot be read".to_owned(), None, out);
        };
        if moved::is_notice(claim.record) {
            self.shared.metrics.fragments.received.inc();
            return self.take_notice(&claim, out);
        }
        if claim.record != VISIT && self.shared.catalog.kind(claim.record).is_none() {
            return self.bury(input, Code::UnknownRecord, format!("record {}", claim.record), None, out);
        }
        self.shared.metrics.fragments.received.inc();
        if claim.kin == Kin::Awaited {
            let home = self.home_of(claim.record, &claim);
            return self.take_awaiting(&claim, home, out);
        }
        let owner = self.owner_of(&claim);
        if owner.is_none() && claim.element.is_some() {
            // Here as its record's home; if the home is elsewhere, it knew the owner and sent the row on.
            let home = self.home_of(claim.record, &claim);
            if partition_for(&home, self.shared.partitions) == self.partition {
                return self.take_row(&claim, home, out);
            }
        }
        let id = self.id_of(&claim);
        self.apply(&claim, owner.unwrap_or(id), owner.is_none(), out)
    }
}

fn not_restored() -> Stop {
    Stop::retryable("not-restored", "a record came before state was restored")
}
