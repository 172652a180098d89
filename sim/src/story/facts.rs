//! The facts of the story about one thing, in the words of one vendor.
//!
//! In: the world as it stands, and the section `story` of the vendor's `api.yaml`. Out: values by the names that
//! `rules::facts` lists. What there is none of is null.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::clock::parse_ms;
use crate::rules::{Ending, Ids, Said, Story, Times};
use crate::world::World;
use crate::world::company::{Job, Reason};
use crate::world::people::{Application, Candidate, Offer, Status, Visit};

/// Facts by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts(BTreeMap<&'static str, Fact>);

#[derive(Debug, Clone)]
enum Fact {
    Value(Value),
    /// An instant, which each list writes in its own way.
    At(i64),
}

/// A status in the words of the ledger.
pub(crate) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Active => "ACTIVE",
        Status::Rejected { by_candidate: false } => "REJECTED",
        Status::Rejected { by_candidate: true } => "WITHDRAWN",
        Status::Hired => "HIRED",
        Status::Converted => "CONVERTED",
    }
}

impl Facts {
    /// What stands at a place of a row, or of a body.
    pub(crate) fn say(&self, said: &Said, times: &Times) -> Value {
        match said {
            Said::Constant(value) => value.clone(),
            Said::Joined(_) => self.text(said).into(),
            Said::Fact(name) => match self.0.get(name) {
                Some(Fact::Value(value)) => value.clone(),
                Some(Fact::At(ms)) => times.write(*ms),
                None => Value::Null,
            },
        }
    }

    /// The same as a text.
    pub(crate) fn text(&self, said: &Said) -> String {
        match said {
            Said::Constant(value) => plain(value),
            Said::Fact(name) => self.word(name),
            Said::Joined(parts) => {
                let part = |(n, part): (usize, &String)| if n % 2 == 0 { part.clone() } else { self.word(part) };
                parts.iter().enumerate().map(part).collect()
            }
        }
    }

    /// A fact as a text; empty if there is none.
    pub(crate) fn word(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Fact::Value(value)) => plain(value),
            Some(Fact::At(ms)) => ms.to_string(),
            None => String::new(),
        }
    }

    /// An instant among the facts.
    pub(crate) fn at(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Fact::At(ms)) => Some(*ms),
            Some(Fact::Value(_)) | None => None,
        }
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.insert(name, Fact::Value(value.into()));
    }

    pub(crate) fn set_at(&mut self, name: &'static str, ms: impl Into<Option<i64>>) {
        if let Some(ms) = ms.into() {
            self.0.insert(name, Fact::At(ms));
        }
    }

    pub(crate) fn of_reason(story: &Story, reason: &Reason) -> Self {
        let mut facts = Self::default();
        facts.set("reason.id", id(story, reason.id));
        facts.set("reason.name", reason.name.as_str());
        let by = if reason.by_candidate { "CANDIDATE" } else { "ORGANIZATION" };
        facts.set("reason.by", story.word("reason", by).unwrap_or(by));
        facts
    }

    pub(crate) fn of_job(story: &Story, job: &Job) -> Self {
        let mut facts = Self::default();
        facts.set("job.id", id(story, job.id));
        facts.set("job.name", job.name.as_str());
        facts.set_at("job.created", job.created_at);
        facts.set_at("job.changed", job.updated_at);
        facts
    }

    /// A stage of a job, with its job.
    pub(crate) fn of_stage(world: &World, story: &Story, (job, stage): (usize, usize)) -> Self {
        let mut facts = world.company.jobs.get(job).map(|job| Self::of_job(story, job)).unwrap_or_default();
        let found = world.company.jobs.get(job).and_then(|job| job.stages.get(stage));
        if let Some(found) = found {
            let same = |other: &&crate::world::company::Stage| story.shared_stages && other.name == found.name;
            let first = world.company.jobs.iter().flat_map(|job| &job.stages).find(same).unwrap_or(found);
            let word = story.word("stage", found.name).unwrap_or_default();
            facts.name_stage(story, id(story, first.id), found.name, word);
            facts.set("stage.index", stage);
        }
        facts
    }

    /// A stage that is an end, in the way of some job.
    pub(crate) fn of_end_at(story: &Story, end: &Ending, job: &Job) -> Self {
        let mut facts = Self::of_job(story, job);
        facts.0.extend(Self::of_end(story, end).0);
        facts
    }

    fn of_end(story: &Story, end: &Ending) -> Self {
        let mut facts = Self::default();
        let own = end.id.as_str().into();
        facts.name_stage(story, own, &end.name, &end.word);
        facts
    }

    fn name_stage(&mut self, story: &Story, id: Value, own: &str, ours: &str) {
        self.set("stage.id", id);
        self.set("stage.name", own);
        self.set("stage.word", ours);
        if let Some(said) = story.names.get("stage") {
            let named = self.text(said);
            self.set("stage.id", named);
        }
    }

    /// The stage of `other`, under these names.
    fn put_stage(&mut self, names: [&'static str; 3], other: &Self) {
        for (name, own) in names.into_iter().zip(["stage.id", "stage.name", "stage.word"]) {
            self.set(name, other.value(own));
        }
    }

    pub(crate) fn of_person(story: &Story, person: &Candidate) -> Self {
        let mut facts = Self::default();
        let (first, last) = (person.first.clone().unwrap_or_default(), person.last.clone().unwrap_or_default());
        facts.set("person.id", id(story, person.id));
        facts.set("person.name", format!("{first} {last}"));
        facts.set("person.first", first);
        facts.set("person.last", last);
        facts.set("person.email", person.emails.first().map(|(email, _)| email.as_str()));
        facts.set_at("person.created", person.created_at);
        facts.set_at("person.changed", person.updated_at);
        facts
    }

    /// An application with its person, job, stage and reason.
    pub(crate) fn of_application(world: &World, story: &Story, app: &Application) -> Self {
        let job = app.job.unwrap_or(usize::MAX);
        let mut facts = Self::of_stage(world, story, (job, app.stage.unwrap_or(usize::MAX)));
        let status = status_word(app.status);
        if let Some(end) = story.ends.get(status) {
            facts.0.extend(Self::of_end(story, end).0);
        }
        if let Some(person) = world.candidate(app.candidate) {
            facts.0.extend(Self::of_person(story, person).0);
        }
        if let Some(reason) = app.reason.and_then(|reason| world.company.reasons.get(reason)) {
            facts.0.extend(Self::of_reason(story, reason).0);
        }
        facts.set("application.status", status);
        let phase = match (app.status, app.stage) {
            (Status::Hired, _) => "hired",
            (_, None | Some(0)) => "first",
            _ => "later",
        };
        facts.set("application.phase", phase);
        facts.set_at("application.created", app.created_at);
        facts.set_at("application.changed", app.updated_at);
        facts.set_at("application.ended", app.hired_at.or(app.rejected_at));
        facts.set_at("application.entered", app.visits.last().map(|visit| visit.entered_at));
        facts.set("application.id", id(story, app.id));
        if let Some(said) = story.names.get("application") {
            let named = facts.text(said);
            facts.set("application.id", named);
        }
        facts
    }

    /// The same with a stage that it entered.
    pub(crate) fn with_visit(&self, world: &World, story: &Story, visit: &Visit) -> Self {
        let mut facts = self.clone();
        let end = visit.end.and_then(|status| story.ends.get(status_word(status)));
        let stage = end.map_or_else(|| Self::of_stage(world, story, visit.stage), |end| Self::of_end(story, end));
        facts.put_stage(["visit.stage.id", "visit.stage.name", "visit.stage.word"], &stage);
        facts.set("visit.id", id(story, visit.id));
        facts.set_at("visit.entered", visit.entered_at);
        facts.set_at("visit.left", visit.exited_at);
        facts.set_at("visit.changed", visit.exited_at.unwrap_or(visit.entered_at));
        facts
    }

    /// The same with an offer.
    pub(crate) fn with_offer(&self, story: &Story, offer: &Offer) -> Self {
        let mut facts = self.clone();
        facts.set("offer.id", id(story, offer.id));
        facts.set("offer.word", story.word("offer", offer.status).unwrap_or(offer.status));
        facts.set_at("offer.created", offer.created_at);
        facts.set_at("offer.changed", offer.updated_at);
        facts.set("offer.starts_on", offer.starts_on.as_str());
        facts.set_at("offer.starts_at", parse_ms(&format!("{}T00:00:00Z", offer.starts_on)));
        // Half a unit is exact as a binary fraction.
        facts.set("offer.salary", offer.salary_cents as f64 / 100.0);
        facts
    }

    /// The same with the stage that was before.
    pub(crate) fn after(&self, before: &Self) -> Self {
        let mut facts = self.clone();
        facts.put_stage(["before.stage.id", "before.stage.name", "before.stage.word"], before);
        facts
    }

    fn value(&self, name: &str) -> Value {
        match self.0.get(name) {
            Some(Fact::Value(value)) => value.clone(),
            Some(Fact::At(_)) | None => Value::Null,
        }
    }
}

/// An id as the vendor writes it.
pub(crate) fn id(story: &Story, id: i64) -> Value {
    match story.ids {
        Ids::Number => id.into(),
        Ids::Text => id.to_string().into(),
        Ids::Uuid => {
            let hex = format!("{id:032x}");
            let (mut rest, mut parts) = (hex.chars(), Vec::new());
            for length in [8, 4, 4, 4, 12] {
                parts.push(rest.by_ref().take(length).collect::<String>());
            }
            parts.join("-").into()
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
