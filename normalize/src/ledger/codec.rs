//! A ledger as bytes in the entity's state, and back. Versioned by the state record's format number.

use bytes::Bytes;

use super::facts::{Deletion, Facts, Sighting, Snapshot, Switch, Visit};
use super::publish::{Effective, Published};
use super::value::{Cause, ChangeType, Precision, Provenance, Source, State, Status};
use super::{Ledger, Named};
use crate::wire::{Damaged, Reader, put_bytes, put_int, put_len, put_option};

impl Ledger {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for table in [&self.stages, &self.jobs, &self.topics] {
            put_list(out, table, |out, named| {
                put_bytes(out, &named.key);
                put_bytes(out, &named.bytes);
            });
        }
        put_list(out, &self.statuses, |out, (status, bytes)| {
            put_int(out, status.index());
            put_bytes(out, bytes);
        });
        put_facts(out, &self.facts);
        put_int(out, i64::from(self.published.last_sequence));
        put_list(out, &self.published.effective, |out, e| {
            put_int(out, i64::from(e.sequence));
            put_int(out, e.change.index());
            put_state(out, e.from);
            put_state(out, e.to);
            put_int(out, e.at);
            put_int(out, e.precision.index());
            put_option(out, e.not_before);
            put_option(out, e.not_after);
        });
    }

    /// `share` makes bytes to keep of a part of what is read.
    ///
    /// # Errors
    /// [`Damaged`] if these are not such bytes.
    pub fn decode(from: &mut Reader<'_>, share: &dyn Fn(&[u8]) -> Bytes) -> Result<Self, Damaged> {
        let named = |from: &mut Reader<'_>| Ok(Named { key: share(from.bytes()?), bytes: share(from.bytes()?) });
        let (stages, jobs, topics) = (list(from, named)?, list(from, named)?, list(from, named)?);
        let statuses = list(from, |from| Ok((status(from)?, share(from.bytes()?))))?;
        let facts = facts(from)?;
        let last_sequence = u32::try_from(from.int()?).map_err(|_| Damaged)?;
        let effective = list(from, |from| {
            Ok(Effective {
                sequence: u32::try_from(from.int()?).map_err(|_| Damaged)?,
                change: change(from)?,
                from: state(from)?,
                to: state(from)?,
                at: from.int()?,
                precision: Precision::from_index(from.int()?).ok_or(Damaged)?,
                not_before: from.option()?,
                not_after: from.option()?,
            })
        })?;
        Ok(Self {
            facts,
            published: Published { effective, last_sequence },
            stages,
            jobs,
            topics,
            statuses,
            actors: Vec::new(),
            dated_stages: Vec::new(),
        })
    }

    /// Whether there is anything for [`Self::encode_rest`].
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !self.actors.is_empty() || !self.dated_stages.is_empty()
    }

    /// Appends what stands behind everything else of the state, for states of before have none of it.
    pub fn encode_rest(&self, out: &mut Vec<u8>) {
        put_list(out, &self.actors, |out, (stage, entered, bytes)| {
            put_int(out, i64::from(*stage));
            put_int(out, *entered);
            put_bytes(out, bytes);
        });
        if !self.dated_stages.is_empty() {
            put_list(out, &self.dated_stages, |out, (stage, since, bytes)| {
                put_int(out, i64::from(*stage));
                put_int(out, *since);
                put_bytes(out, bytes);
            });
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Damaged`] if these are not such bytes.
    pub fn decode_rest(&mut self, from: &mut Reader<'_>, share: &dyn Fn(&[u8]) -> Bytes) -> Result<(), Damaged> {
        let at_times = |from: &mut Reader<'_>| Ok((index(from.int()?)?, from.int()?, share(from.bytes()?)));
        self.actors = list(from, at_times)?;
        if !from.is_empty() {
            self.dated_stages = list(from, at_times)?;
        }
        Ok(())
    }
}

/// Damaged input may claim to be long.
const MOST_AT_ONCE: usize = 1024;

fn put_list<T>(out: &mut Vec<u8>, all: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_len(out, all.len());
    for one in all {
        put(out, one);
    }
}

fn list<T>(from: &mut Reader<'_>, one: impl Fn(&mut Reader<'_>) -> Result<T, Damaged>) -> Result<Vec<T>, Damaged> {
    let len = from.len()?;
    let mut all = Vec::with_capacity(len.min(MOST_AT_ONCE));
    for _ in 0..len {
        all.push(one(from)?);
    }
    Ok(all)
}

fn put_facts(out: &mut Vec<u8>, facts: &Facts) {
    put_list(out, &facts.snapshots, put_snapshot);
    put_list(out, facts.weak.as_slice(), put_snapshot);
    put_list(out, &facts.visits, |out, v| {
        put_int(out, i64::from(v.stage));
        put_option(out, v.job.map(i64::from));
        put_option(out, v.entered);
        put_option(out, v.exited);
        put_int(out, v.version);
        put_source(out, v.source);
    });
    put_list(out, &facts.sightings, |out, s| {
        put_int(out, s.at);
        put_int(out, i64::from(s.stage));
        put_source(out, s.source);
    });
    put_list(out, &facts.switches, |out, s| {
        put_int(out, s.change.index());
        put_int(out, s.seen_by);
        out.extend_from_slice(&s.delivery.to_be_bytes());
        put_int(out, s.cause.index());
        put_source(out, s.source);
    });
    put_list(out, &facts.withdrawals, |out, at| put_int(out, *at));
    put_list(out, facts.deletion.as_slice(), |out, d| {
        put_int(out, d.at);
        out.push(u8::from(d.observed));
        put_int(out, d.cause.index());
        put_source(out, d.source);
    });
    put_list(out, &facts.stage_jobs, |out, job| put_option(out, job.map(i64::from)));
    put_option(out, facts.applied_at);
    put_option(out, facts.created_at);
    put_option(out, facts.first_seen);
}

fn facts(from: &mut Reader<'_>) -> Result<Facts, Damaged> {
    Ok(Facts {
        snapshots: list(from, snapshot)?,
        weak: list(from, snapshot)?.pop(),
        visits: list(from, |from| {
            Ok(Visit {
                stage: index(from.int()?)?,
                job: from.option()?.map(index).transpose()?,
                entered: from.option()?,
                exited: from.option()?,
                version: from.int()?,
                source: source(from)?,
            })
        })?,
        sightings: list(from, |from| {
            Ok(Sighting { at: from.int()?, stage: index(from.int()?)?, source: source(from)? })
        })?,
        switches: list(from, |from| {
            Ok(Switch {
                change: change(from)?,
                seen_by: from.int()?,
                delivery: from.fixed()?,
                cause: cause(from)?,
                source: source(from)?,
            })
        })?,
        withdrawals: list(from, |from| from.int())?,
        deletion: list(from, |from| {
            Ok(Deletion { at: from.int()?, observed: from.flag()?, cause: cause(from)?, source: source(from)? })
        })?
        .pop(),
        stage_jobs: list(from, |from| from.option()?.map(index).transpose())?,
        applied_at: from.option()?,
        created_at: from.option()?,
        first_seen: from.option()?,
    })
}

/// -1: not said, 0: said to have none, else the position and one.
fn put_said(out: &mut Vec<u8>, said: Option<Option<u16>>) {
    put_int(out, said.map_or(-1, |inner| inner.map_or(0, |index| i64::from(index) + 1)));
}

fn said(from: &mut Reader<'_>) -> Result<Option<Option<u16>>, Damaged> {
    match from.int()? {
        -1 => Ok(None),
        0 => Ok(Some(None)),
        more => Ok(Some(Some(index(more - 1)?))),
    }
}

fn put_snapshot(out: &mut Vec<u8>, s: &Snapshot) {
    put_int(out, s.at);
    put_int(out, s.width);
    put_said(out, s.stage);
    put_said(out, s.job);
    put_option(out, s.status.map(Status::index));
    put_option(out, s.since);
    put_option(out, s.change.map(ChangeType::index));
    put_int(out, s.cause.index());
    out.push(u8::from(s.observed));
    put_source(out, s.source);
}

fn snapshot(from: &mut Reader<'_>) -> Result<Snapshot, Damaged> {
    Ok(Snapshot {
        at: from.int()?,
        width: from.int()?,
        stage: said(from)?,
        job: said(from)?,
        status: from.option()?.map(|index| Status::from_index(index).ok_or(Damaged)).transpose()?,
        since: from.option()?,
        change: from.option()?.map(|index| ChangeType::from_index(index).ok_or(Damaged)).transpose()?,
        cause: cause(from)?,
        observed: from.flag()?,
        source: source(from)?,
    })
}

fn put_source(out: &mut Vec<u8>, source: Source) {
    put_int(out, source.provenance.index());
    put_int(out, i64::from(source.topic));
    put_int(out, i64::from(source.partition));
    put_int(out, source.offset);
    put_int(out, source.seen_at);
}

fn source(from: &mut Reader<'_>) -> Result<Source, Damaged> {
    Ok(Source {
        provenance: Provenance::from_index(from.int()?).ok_or(Damaged)?,
        topic: index(from.int()?)?,
        partition: i32::try_from(from.int()?).map_err(|_| Damaged)?,
        offset: from.int()?,
        seen_at: from.int()?,
    })
}

fn put_state(out: &mut Vec<u8>, state: State) {
    put_option(out, state.stage.map(i64::from));
    put_int(out, state.status.index());
    put_option(out, state.job.map(i64::from));
}

fn state(from: &mut Reader<'_>) -> Result<State, Damaged> {
    Ok(State {
        stage: from.option()?.map(index).transpose()?,
        status: status(from)?,
        job: from.option()?.map(index).transpose()?,
    })
}

fn status(from: &mut Reader<'_>) -> Result<Status, Damaged> {
    Status::from_index(from.int()?).ok_or(Damaged)
}

fn change(from: &mut Reader<'_>) -> Result<ChangeType, Damaged> {
    ChangeType::from_index(from.int()?).ok_or(Damaged)
}

fn cause(from: &mut Reader<'_>) -> Result<Cause, Damaged> {
    Cause::from_index(from.int()?).ok_or(Damaged)
}

fn index(value: i64) -> Result<u16, Damaged> {
    u16::try_from(value).map_err(|_| Damaged)
}
