//! What a person would write for one event by hand: types for serde_json, and fields written as Avro one after the other.
//!
//! For Greenhouse's `candidate_stage_change`, and the same fields of the same records as the mapping's. Of what no type
//! names nothing is kept, and nothing tells that it was there.

use std::borrow::Cow;
use std::ops::Deref;

use hirewire_mapping::avro::{put_bytes, put_long};
use serde::Deserialize;

pub(crate) const EVENT: &str = "candidate_stage_change";

type Text<'a> = Option<Word<'a>>;

/// Borrows where nothing is escaped: a `Cow` inside an `Option` or a `Vec` would always be an owned one.
#[derive(Deserialize)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Word<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    application: Application<'a>,
}

#[derive(Deserialize)]
struct Application<'a> {
    id: u64,
    prospect: bool,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    applied_at: Text<'a>,
    #[serde(borrow)]
    rejected_at: Text<'a>,
    #[serde(borrow)]
    last_activity_at: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow)]
    source: Option<Named<'a>>,
    #[serde(borrow)]
    credited_to: Option<User<'a>>,
    #[serde(borrow)]
    rejection_reason: Option<Named<'a>>,
    #[serde(borrow)]
    current_stage: Option<Named<'a>>,
    #[serde(borrow)]
    candidate: Candidate<'a>,
    #[serde(borrow)]
    jobs: Vec<Job<'a>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    id: u64,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    external_id: Text<'a>,
    #[serde(borrow, default)]
    location: Text<'a>,
}

#[derive(Deserialize)]
struct User<'a> {
    id: u64,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    email: Text<'a>,
    #[serde(borrow)]
    employee_id: Text<'a>,
}

#[derive(Deserialize)]
struct Contact<'a> {
    #[serde(borrow)]
    value: Text<'a>,
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
}

#[derive(Deserialize)]
struct Past<'a> {
    #[serde(borrow, alias = "school_name")]
    company_name: Text<'a>,
    #[serde(borrow, alias = "degree")]
    title: Text<'a>,
    #[serde(borrow, default)]
    discipline: Text<'a>,
    #[serde(borrow)]
    start_date: Text<'a>,
    #[serde(borrow)]
    end_date: Text<'a>,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    id: u64,
    #[serde(borrow)]
    first_name: Text<'a>,
    #[serde(borrow)]
    last_name: Text<'a>,
    #[serde(borrow)]
    title: Text<'a>,
    #[serde(borrow)]
    company: Text<'a>,
    #[serde(borrow)]
    created_at: Text<'a>,
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow)]
    phone_numbers: Vec<Contact<'a>>,
    #[serde(borrow)]
    email_addresses: Vec<Contact<'a>>,
    #[serde(borrow)]
    addresses: Vec<Contact<'a>>,
    #[serde(borrow)]
    website_addresses: Vec<Contact<'a>>,
    #[serde(borrow)]
    social_media_addresses: Vec<Contact<'a>>,
    #[serde(borrow)]
    educations: Vec<Past<'a>>,
    #[serde(borrow)]
    employments: Vec<Past<'a>>,
    #[serde(borrow)]
    recruiter: Option<User<'a>>,
    #[serde(borrow)]
    coordinator: Option<User<'a>>,
    #[serde(borrow)]
    tags: Vec<Word<'a>>,
}

#[derive(Deserialize)]
struct Job<'a> {
    id: u64,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    requisition_id: Text<'a>,
    #[serde(borrow)]
    notes: Text<'a>,
    confidential: bool,
    job_post_id: Option<u64>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    created_at: Text<'a>,
    #[serde(borrow)]
    opened_at: Text<'a>,
    #[serde(borrow)]
    closed_at: Text<'a>,
    #[serde(borrow)]
    departments: Vec<Named<'a>>,
    #[serde(borrow)]
    offices: Vec<Named<'a>>,
}

/// Maps one payload into `out`; `false`: it is none of these.
pub(crate) fn map(body: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Ok(event) = serde_json::from_slice::<Event<'_>>(body) else { return false };
    let (app, mut to) = (&event.payload.application, Out(out));
    application(app, &mut to);
    candidate(&app.candidate, app.id, &mut to);
    for job in &app.jobs {
        write_job(job, &mut to);
        job.departments.iter().for_each(|department| to.named(department));
        job.offices.iter().for_each(|office| to.named(office));
    }
    let users = [&app.credited_to, &app.candidate.recruiter, &app.candidate.coordinator];
    users.into_iter().for_each(|user| to.user(user.as_ref()));
    if let Some(stage) = &app.current_stage {
        to.named(stage);
        to.id(app.jobs.first().map(|job| job.id));
        to.coded(stage.name.as_deref(), stage_category);
    }
    if let Some(source) = &app.source {
        to.named(source);
    }
    true
}

fn application(app: &Application<'_>, to: &mut Out<'_>) {
    let job = app.jobs.first().filter(|_| !app.prospect);
    to.instant(app.last_activity_at.as_deref());
    to.text(app.url.as_deref());
    to.id(Some(app.candidate.id));
    to.id(job.map(|job| job.id));
    to.id(job.and_then(|job| job.job_post_id));
    put_long(if app.prospect { 3 } else { 2 }, to.0);
    to.coded(Some(&app.status), |status| match status {
        "active" => Some(2),
        "hired" => Some(3),
        "rejected" => Some(4),
        _ => None,
    });
    if let Some(stage) = &app.current_stage {
        to.id(Some(stage.id));
        to.text(stage.name.as_deref());
        to.coded(stage.name.as_deref(), stage_category);
    }
    to.instant(app.applied_at.as_deref());
    to.instant(app.rejected_at.as_deref());
    for named in [&app.rejection_reason, &app.source].into_iter().flatten() {
        to.id(Some(named.id));
        to.text(named.name.as_deref());
    }
    to.user(app.credited_to.as_ref());
}

fn candidate(person: &Candidate<'_>, application: u64, to: &mut Out<'_>) {
    to.id(Some(application));
    to.instant(person.created_at.as_deref());
    to.text(person.url.as_deref());
    let formatted = [&person.first_name, &person.last_name].into_iter().filter_map(|name| name.as_deref());
    let formatted: Vec<&str> = formatted.collect();
    to.text(person.first_name.as_deref());
    to.text(person.last_name.as_deref());
    to.text(Some(&formatted.join(" ")));
    let contacts = [
        &person.email_addresses,
        &person.phone_numbers,
        &person.addresses,
        &person.website_addresses,
        &person.social_media_addresses,
    ];
    for contacts in contacts {
        put_long(i64::try_from(contacts.len()).unwrap_or(0), to.0);
        for contact in contacts {
            to.text(contact.value.as_deref());
            to.coded(contact.kind.as_deref(), |kind| match kind {
                "personal" => Some(2),
                "work" => Some(3),
                "home" => Some(4),
                "mobile" => Some(5),
                _ => None,
            });
        }
    }
    to.text(person.company.as_deref());
    to.text(person.title.as_deref());
    for past in [&person.educations, &person.employments] {
        put_long(i64::try_from(past.len()).unwrap_or(0), to.0);
        for one in past {
            to.text(one.company_name.as_deref());
            to.text(one.title.as_deref());
            to.text(one.discipline.as_deref());
            to.day(one.start_date.as_deref());
            to.day(one.end_date.as_deref());
        }
    }
    put_long(i64::try_from(person.tags.len()).unwrap_or(0), to.0);
    person.tags.iter().for_each(|tag| to.text(Some(tag)));
    to.user(person.recruiter.as_ref());
    to.user(person.coordinator.as_ref());
}

fn write_job(job: &Job<'_>, to: &mut Out<'_>) {
    to.instant(job.created_at.as_deref());
    to.text(job.name.as_deref());
    to.text(job.requisition_id.as_deref());
    to.coded(job.status.as_deref(), |status| match status {
        "open" => Some(5),
        "closed" => Some(8),
        "draft" => Some(2),
        _ => None,
    });
    to.0.push(u8::from(job.confidential));
    for named in job.departments.iter().chain(&job.offices) {
        to.id(Some(named.id));
    }
    for office in &job.offices {
        to.text(office.location.as_deref().or(office.name.as_deref()));
    }
    to.text(job.notes.as_deref());
    to.instant(job.opened_at.as_deref());
    to.instant(job.closed_at.as_deref());
}

fn stage_category(name: &str) -> Option<i64> {
    let words = [("assessment", 8), ("interview", 9), ("offer", 12), ("review", 6), ("screen", 7), ("reference", 10)];
    words.iter().find(|(word, _)| name.contains(word)).map(|(_, symbol)| *symbol)
}

struct Out<'o>(&'o mut Vec<u8>);

impl Out<'_> {
    fn text(&mut self, text: Option<&str>) {
        put_long(i64::from(text.is_some()), self.0);
        if let Some(text) = text {
            put_bytes(text.as_bytes(), self.0);
        }
    }

    /// The canonical id of something: zeros, as the plan is given here.
    fn id(&mut self, id: Option<u64>) {
        put_long(i64::from(id.is_some()), self.0);
        if id.is_some() {
            put_bytes(&[b'0'; 36], self.0);
        }
    }

    fn instant(&mut self, text: Option<&str>) {
        let micros = text.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_microsecond);
        put_long(i64::from(micros.is_some()), self.0);
        micros.into_iter().for_each(|micros| put_long(micros, self.0));
    }

    /// `01/31/2012`, as days since 1970.
    fn day(&mut self, text: Option<&str>) {
        let day = text.and_then(|text| {
            let mut parts = text.split('/').map(str::parse);
            let (month, day, year) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
            let date = jiff::civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
            let since = date - jiff::civil::date(1970, 1, 1);
            Some(i64::from(since.get_days()))
        });
        put_long(i64::from(day.is_some()), self.0);
        day.into_iter().for_each(|day| put_long(day, self.0));
    }

    fn coded(&mut self, word: Option<&str>, symbol: impl Fn(&str) -> Option<i64>) {
        let found = word.and_then(|word| symbol(&word.to_lowercase()));
        put_long(word.map_or(0, |_| found.unwrap_or(1)), self.0);
        self.text(word);
        put_long(i64::from(found.is_some()), self.0);
        if found.is_some() {
            put_bytes(b"a rule", self.0);
        }
    }

    fn named(&mut self, named: &Named<'_>) {
        self.id(Some(named.id));
        self.text(named.name.as_deref());
        self.text(named.external_id.as_deref());
        self.text(named.location.as_deref());
    }

    fn user(&mut self, user: Option<&User<'_>>) {
        put_long(i64::from(user.is_some()), self.0);
        if let Some(user) = user {
            self.id(Some(user.id));
            self.text(user.name.as_deref());
            self.text(user.email.as_deref());
            self.text(user.employee_id.as_deref());
        }
    }
}
