//! The stage-change ledger of one application.
//!
//! In: facts (`observe_*`). Out: events (`publish`). The effective history is a function of the set of facts, so that order,
//! repetition and lateness of deliveries end in the same history. Stages, jobs and statuses are opaque encoded slices here:
//! they are compared by key and copied into events.

mod codec;
mod derive;
mod facts;
mod publish;
mod stages;
mod statuses;
mod track;
mod value;

use bytes::Bytes;

pub use derive::{Move, derive};
pub use facts::{Deletion, Facts, Sighting, Snapshot, Switch, Visit, width_of};
pub use publish::{Effective, Event, Published, publish};
pub use value::{
    Cause, ChangeType, JobIx, Micros, Precision, Provenance, Revision, SECOND, Source, StageIx, State, Status,
};

/// A value with its key: a stage's id (or name), a job's id, a topic's name.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    key: Bytes,
    bytes: Bytes,
}

/// All that normalize keeps of one application's history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub facts: Facts,
    pub published: Published,
    stages: Vec<Named>,
    /// The same by what holds since a moment, where that changes with time; sorted.
    dated_stages: Vec<(StageIx, Micros, Bytes)>,
    jobs: Vec<Named>,
    topics: Vec<Named>,
    /// The encoded coded status, per symbol, as last seen.
    statuses: Vec<(Status, Bytes)>,
    /// Who made it enter a stage at an instant, as history rows tell it: the encoded actor.
    actors: Vec<(StageIx, Micros, Bytes)>,
}

/// Most actors kept; the earliest entries go first.
const MOST_ACTORS: usize = 192;

impl Ledger {
    /// Position of a stage. Of its encodings the newest is kept, but none that says less than one before.
    pub fn stage(&mut self, key: &[u8], bytes: &[u8], says: impl Fn(&[u8]) -> u8) -> StageIx {
        let known = self.stages.iter().position(|named| *named.key == *key);
        match known {
            Some(index) if says(bytes) < says(&self.stages[index].bytes) => u16::try_from(index).unwrap_or(u16::MAX),
            _ => intern(&mut self.stages, key, bytes),
        }
    }

    /// Keeps how a stage is encoded by what holds since that moment, in the same way.
    pub fn note_stage(&mut self, stage: StageIx, since: Micros, bytes: &[u8], says: impl Fn(&[u8]) -> u8) {
        match self.dated_stages.binary_search_by_key(&(stage, since), |(stage, since, _)| (*stage, *since)) {
            Ok(index) if says(bytes) < says(&self.dated_stages[index].2) => {}
            Ok(index) => self.dated_stages[index].2 = Bytes::copy_from_slice(bytes),
            Err(index) => self.dated_stages.insert(index, (stage, since, Bytes::copy_from_slice(bytes))),
        }
    }

    /// Offers each stage's key and encoding; what comes back takes the encoding's place.
    pub fn improve_stages(&mut self, better: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>) {
        for (stage, _, bytes) in &mut self.dated_stages {
            let key = self.stages.get(usize::from(*stage)).map(|named| &named.key);
            if let Some(found) = key.and_then(|key| better(key, bytes)) {
                *bytes = found.into();
            }
        }
        for named in &mut self.stages {
            if let Some(bytes) = better(&named.key, &named.bytes) {
                named.bytes = bytes.into();
            }
        }
    }

    pub fn job(&mut self, key: &[u8], bytes: &[u8]) -> JobIx {
        intern(&mut self.jobs, key, bytes)
    }

    pub fn topic(&mut self, name: &str) -> u16 {
        intern(&mut self.topics, name.as_bytes(), &[])
    }

    /// Keeps how the source words a status.
    pub fn word_status(&mut self, status: Status, bytes: &[u8]) {
        match self.statuses.iter_mut().find(|(known, _)| *known == status) {
            Some((_, old)) if **old == *bytes => {}
            Some((_, old)) => *old = Bytes::copy_from_slice(bytes),
            None => self.statuses.push((status, Bytes::copy_from_slice(bytes))),
        }
    }

    /// Where the entry of a stage at an instant stands among the actors, or would stand.
    fn actor_place(&self, stage: StageIx, entered: Micros) -> Result<usize, usize> {
        self.actors.binary_search_by_key(&(entered, stage), |(stage, entered, _)| (*entered, *stage))
    }

    /// Keeps who made it enter a stage at that instant.
    pub fn note_actor(&mut self, stage: StageIx, entered: Micros, bytes: &[u8]) {
        match self.actor_place(stage, entered) {
            Ok(index) if *self.actors[index].2 == *bytes => {}
            Ok(index) => self.actors[index].2 = Bytes::copy_from_slice(bytes),
            Err(index) => {
                self.actors.insert(index, (stage, entered, Bytes::copy_from_slice(bytes)));
                if self.actors.len() > MOST_ACTORS {
                    self.actors.remove(0);
                }
            }
        }
    }

    /// The encoded actor of a move: of the row that says when the stage was entered that it led to, or in which it ended.
    #[must_use]
    pub fn actor_of(&self, what: &Move) -> Option<&[u8]> {
        let place = self.actor_place(what.to.stage?, what.at).ok()?;
        self.actors.get(place).map(|(_, _, bytes)| &**bytes)
    }

    /// Encoded stage.
    #[must_use]
    pub fn stage_bytes(&self, stage: StageIx) -> &[u8] {
        self.stages.get(usize::from(stage)).map_or(&[], |named| &named.bytes)
    }

    /// As what holds since that moment makes it; if nothing told that, what held before it, or else after it.
    #[must_use]
    pub fn stage_bytes_of(&self, stage: StageIx, since: Micros) -> &[u8] {
        let told = || self.dated_stages.iter().filter(move |(known, ..)| *known == stage);
        let found = told().rfind(|(_, then, _)| *then <= since).or_else(|| told().next());
        found.map_or_else(|| self.stage_bytes(stage), |(_, _, bytes)| &**bytes)
    }

    #[must_use]
    pub fn stage_key(&self, stage: StageIx) -> &[u8] {
        self.stages.get(usize::from(stage)).map_or(&[], |named| &named.key)
    }

    /// Asks for the jobs of stages of which none is known: `job_of` gives a job's encoded id for a stage's key.
    pub fn learn_stage_jobs(&mut self, job_of: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        for index in 0..self.stages.len() {
            if self.facts.stage_jobs.get(index).copied().flatten().is_some() {
                continue;
            }
            if let Some(job) = job_of(&self.stages[index].key) {
                let job = self.job(&job, &job);
                self.facts.note_stage_job(u16::try_from(index).unwrap_or(u16::MAX), job);
            }
        }
    }

    /// Encoded job id.
    #[must_use]
    pub fn job_bytes(&self, job: JobIx) -> &[u8] {
        self.jobs.get(usize::from(job)).map_or(&[], |named| &named.bytes)
    }

    #[must_use]
    pub fn topic_name(&self, topic: u16) -> &str {
        self.topics.get(usize::from(topic)).and_then(|named| std::str::from_utf8(&named.key).ok()).unwrap_or_default()
    }

    /// Encoded coded status, if it was ever seen.
    #[must_use]
    pub fn status_bytes(&self, status: Status) -> Option<&[u8]> {
        self.statuses.iter().find(|(known, _)| *known == status).map(|(_, bytes)| &**bytes)
    }

    /// Tells what the facts add to what was told. Nothing while only history rows are known.
    pub fn publish(&mut self) -> Vec<Event> {
        publish(&mut self.published, derive(&self.facts))
    }

    /// Tells the newest move that `fits` anew, as a correction of the event that told it: something is known of it that no
    /// fact says. Only after [`Self::publish`].
    pub fn tell_again(&mut self, fits: impl Fn(&Self, &Move) -> bool) -> Option<Event> {
        let moves = derive(&self.facts);
        let index = moves.iter().rposition(|what| fits(self, what))?;
        publish::tell_again(&mut self.published, &moves, index)
    }
}

fn intern(table: &mut Vec<Named>, key: &[u8], bytes: &[u8]) -> u16 {
    if let Some(index) = table.iter().position(|named| *named.key == *key) {
        let named = &mut table[index];
        if *named.bytes != *bytes {
            named.bytes = Bytes::copy_from_slice(bytes);
        }
        return u16::try_from(index).unwrap_or(u16::MAX);
    }
    table.push(Named { key: Bytes::copy_from_slice(key), bytes: Bytes::copy_from_slice(bytes) });
    u16::try_from(table.len() - 1).unwrap_or(u16::MAX)
}
