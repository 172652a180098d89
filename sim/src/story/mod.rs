//! A vendor tells the story: rows that its lists show, events that it sends.
//!
//! In: the world after a step, and the section `story` of `api.yaml` with the fixtures that rows are like. Out: rows for
//! an [`Account`](crate::vendor::Account), which serves them by the vendor's own filters and pages, and messages to be
//! signed. A row is written when it is another one than before, so that a step that the vendor has no word for shows
//! only in the times of what it touched.

mod facts;

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::Value;

pub(crate) use facts::{Facts, status_word};

use crate::effects::Webhook;
use crate::outbox::event_id;
use crate::plan::{Planned, Step};
use crate::rules::{Event, Of, Rules, Said, Show, Story, Stream, Times};
use crate::vendor::{Examples, Vendor, Written, field, message, put_or_add, text_of};
use crate::world::World;
use crate::world::people::Application;

/// Who tells the story at one vendor.
pub(crate) struct Narrator {
    rules: Arc<Rules>,
    pub(crate) story: Arc<Story>,
    examples: Examples,
    /// By event.
    bodies: BTreeMap<String, Value>,
    pub(crate) vendor: Arc<Vendor>,
    /// What a write waits before lists show it, between the two.
    lag_ms: (i64, i64),
}

impl Narrator {
    pub(crate) fn new(
        (rules, story): (Arc<Rules>, Arc<Story>),
        (examples, bodies): (Examples, BTreeMap<String, Value>),
        vendor: Arc<Vendor>,
        lag_ms: (i64, i64),
    ) -> Self {
        Self { rules, story, examples, bodies, vendor, lag_ms }
    }

    /// The company as it was before the first application.
    pub(crate) fn open(&self, world: &World, start: i64) {
        let (story, company) = (&*self.story, &world.company);
        let mut written = Vec::new();
        for show in &story.shows {
            let found: Vec<Facts> = match show.of {
                Of::Reason => company.reasons.iter().map(|reason| Facts::of_reason(story, reason)).collect(),
                Of::Job => company.jobs.iter().map(|job| Facts::of_job(story, job)).collect(),
                Of::Stage => {
                    let jobs = company.jobs.iter().enumerate();
                    let places = jobs.flat_map(|(job, own)| (0..own.stages.len()).map(move |stage| (job, stage)));
                    let ends = company.jobs.first().into_iter();
                    let ends = ends.flat_map(|job| story.ends.values().map(|end| Facts::of_end_at(story, end, job)));
                    places.map(|place| Facts::of_stage(world, story, place)).chain(ends).collect()
                }
                Of::Person | Of::Application | Of::Visit | Of::Offer | Of::Deletion => continue,
            };
            written.extend(found.iter().filter_map(|facts| self.written(show, facts, &[], start, start)));
        }
        self.vendor.with(|account| written.into_iter().for_each(|row| account.write(row)));
    }

    /// What is true of an application, before or after a step.
    pub(crate) fn facts(&self, world: &World, app: usize) -> Facts {
        let app = world.applications.get(&app);
        app.map(|app| Facts::of_application(world, &self.story, app)).unwrap_or_default()
    }

    /// The rows of an application, and of who applied, as they are now. `rng` decides how late they show.
    pub(crate) fn rows(&self, world: &World, index: usize, at: i64, rng: &mut Rng) -> Vec<Written> {
        let Some(app) = world.applications.get(&index) else { return Vec::new() };
        let mut facts = self.facts(world, index);
        facts.set_at("now", at);
        let visits = self.visits(world, app, &facts);
        let gone_person = world.candidate(app.candidate).is_none_or(|person| person.gone);
        let mut written = Vec::new();
        for show in &self.story.shows {
            let (low, high) = self.lag_ms;
            let visible_at = at + rng.i64(low..=high.max(low));
            let (found, there): (Vec<Facts>, bool) = match show.of {
                Of::Reason | Of::Stage | Of::Job => continue,
                Of::Person => (vec![facts.clone()], !gone_person),
                Of::Application => (vec![facts.clone()], !app.gone),
                Of::Visit => (visits.clone(), !app.gone),
                Of::Offer => {
                    let offers = app.offers.iter().map(|offer| facts.with_offer(&self.story, offer));
                    (offers.collect(), !app.gone)
                }
                Of::Deletion if !app.gone => continue,
                Of::Deletion => (vec![facts.clone()], true),
            };
            for facts in &found {
                let row = self.written(show, facts, &visits, at, visible_at);
                written.extend(row.map(|row| if there && fits(show, facts) { row } else { row.gone() }));
            }
        }
        written
    }

    /// Whether each list that shows an application has told what it is now.
    pub(crate) fn is_told(&self, world: &World, index: usize) -> bool {
        let Some(app) = world.applications.get(&index) else { return true };
        let facts = self.facts(world, index);
        let visits = self.visits(world, app, &facts);
        let shows = self.story.shows.iter().filter(|show| show.of == Of::Application && fits(show, &facts));
        let rows: Vec<Written> = shows.filter_map(|show| self.written(show, &facts, &visits, 0, 0)).collect();
        self.vendor.with(|account| rows.iter().all(|row| account.has_told(row)))
    }

    /// The rows of what was kept before.
    pub(crate) fn show_again(&self, world: &World, index: usize, at: i64, rng: &mut Rng) {
        let rows = self.rows(world, index, at, rng);
        self.vendor.with(|account| rows.into_iter().for_each(|row| account.write(row)));
    }

    fn visits(&self, world: &World, app: &Application, facts: &Facts) -> Vec<Facts> {
        app.visits.iter().map(|visit| facts.with_visit(world, &self.story, visit)).collect()
    }

    fn written(&self, show: &Show, facts: &Facts, visits: &[Facts], at: i64, visible_at: i64) -> Option<Written> {
        let stream = self.rules.stream(&show.list)?;
        let value = self.row(show, stream, facts, visits);
        let (name, created, changed) = match show.of {
            Of::Reason => ("reason.id", None, None),
            Of::Stage => ("stage.id", None, None),
            Of::Job => ("job.id", facts.at("job.created"), facts.at("job.changed")),
            Of::Person => ("person.id", facts.at("person.created"), facts.at("person.changed")),
            Of::Application => ("application.id", facts.at("application.created"), facts.at("application.changed")),
            Of::Visit => ("visit.id", facts.at("visit.entered"), facts.at("visit.changed")),
            Of::Offer => ("offer.id", facts.at("offer.created"), facts.at("offer.changed")),
            Of::Deletion => ("application.id", None, None),
        };
        let id = stream.id.as_ref().and_then(|place| text_of(&value, place));
        Some(Written {
            list: show.list.clone(),
            owner: show.owner.iter().map(|said| facts.text(said)).collect(),
            id: id.unwrap_or_else(|| facts.word(name)),
            created: created.unwrap_or(at),
            changed: changed.unwrap_or(at),
            visible_at,
            value: Some(value),
        })
    }

    /// A row like its example, with the story in its places.
    fn row(&self, show: &Show, stream: &Stream, facts: &Facts, visits: &[Facts]) -> Value {
        let examples = self.examples.get(&show.list).map(Vec::as_slice).unwrap_or_default();
        let mut row = examples.get(show.example).or(examples.first()).cloned().unwrap_or_default();
        if let Some((place, entry)) = &show.visits {
            let like = field(&row, &format!("{place}.0")).cloned().unwrap_or_default();
            let entries = visits.iter().map(|visit| {
                let mut value = like.clone();
                put(&mut value, entry, visit, &stream.times);
                value
            });
            let entries: Value = entries.collect();
            put_or_add(&mut row, place, entries);
        }
        put(&mut row, &show.row, facts, &stream.times);
        if let Some(puts) = show.by_status.get(facts.word("application.status").as_str()) {
            put(&mut row, puts, facts, &stream.times);
        }
        row
    }

    /// The event that tells of a step, if one does. To be asked before the step shows; `before` is what was true before it.
    pub(crate) fn webhooks(&self, world: &World, planned: &Planned, before: &Facts, at: i64) -> Vec<Webhook> {
        let Some(tells) = happening(&planned.step).and_then(|name| self.story.tells.get(name)) else {
            return Vec::new();
        };
        let Some(event) = self.rules.event_named(&tells.event) else { return Vec::new() };
        let Some(app) = world.applications.get(&planned.app) else { return Vec::new() };
        let mut facts = self.facts(world, planned.app).after(before);
        facts.set_at("now", at);
        facts.set("event.id", event_id(world.seed, planned.index, 0));
        if let Some(offer) = app.offers.last() {
            facts = facts.with_offer(&self.story, offer);
        }
        let row = self.row_of(event, &facts, &self.visits(world, app, &facts));
        let mut message = message(&self.rules, event, self.bodies.get(&event.name), &row, &self.vendor.origin);
        let times = self.rules.stream(&event.of).map(|stream| &stream.times);
        if let Some(times) = times {
            put(&mut message.body, &tells.body, &facts, times);
        }
        // What it only names is known when it is read.
        let read = self.rules.stream(&event.of).and_then(|stream| text_of(&row, stream.id.as_ref()?));
        let read = read.filter(|_| event.thin);
        let body = serde_json::json!({"event": message.event, "body": message.body, "link": message.link, "of": event.of, "read": read});
        vec![Webhook { action: event.name.clone(), body }]
    }

    /// The row that an event is about: of its own list, or of another one that shows applications.
    fn row_of(&self, event: &Event, facts: &Facts, visits: &[Facts]) -> Value {
        let shows = || self.story.shows.iter().filter(|show| fits(show, facts));
        let own = shows().find(|show| show.list == event.of);
        let show = own.or_else(|| shows().find(|show| show.of == Of::Application));
        let row = show.and_then(|show| Some(self.row(show, self.rules.stream(&show.list)?, facts, visits)));
        row.unwrap_or_default()
    }

    /// The lists that nobody owns and that everything else hangs on: read past the end, all was told.
    pub(crate) fn roots(&self) -> Vec<String> {
        let mut roots: Vec<String> = Vec::new();
        for show in &self.story.shows {
            let mut list = self.rules.stream(&show.list);
            while let Some(owner) = list.and_then(|list| list.owner.as_ref()) {
                list = self.rules.stream(&owner.stream);
            }
            roots.extend(list.filter(|list| list.listed).map(|list| list.name.clone()));
        }
        roots.sort();
        roots.dedup();
        roots
    }
}

/// Whether there is a row of these facts.
fn fits(show: &Show, facts: &Facts) -> bool {
    show.when.iter().all(|(fact, values)| values.contains(&facts.word(fact)))
}

fn put(value: &mut Value, puts: &BTreeMap<String, Said>, facts: &Facts, times: &Times) {
    for (place, said) in puts {
        put_or_add(value, place, facts.say(said, times));
    }
}

/// The name of what happens, as `story.tells` has it.
fn happening(step: &Step) -> Option<&'static str> {
    match step {
        Step::Apply { .. } => Some("apply"),
        Step::Move { .. } => Some("move"),
        Step::Transfer { .. } => Some("transfer"),
        Step::Reject { by_candidate: false } => Some("reject"),
        Step::Reject { by_candidate: true } => Some("withdraw"),
        Step::Unreject => Some("unreject"),
        Step::Offer { .. } | Step::OfferApproved => Some("offer"),
        Step::Hire => Some("hire"),
        Step::Unhire => Some("unhire"),
        Step::DeleteApplication | Step::DeleteCandidate => Some("delete"),
        Step::UpdateApplication | Step::UpdateCandidate => Some("update"),
        Step::Prospect { .. }
        | Step::Convert { .. }
        | Step::Merge { .. }
        | Step::Anonymise
        | Step::Interview
        | Step::Scorecard
        | Step::Note
        | Step::InterviewDeleted
        | Step::ScorecardDeleted
        | Step::Company(_) => None,
    }
}
