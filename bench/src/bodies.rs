//! Webhook bodies: Greenhouse's documented `candidate_stage_change`, varied. An [`Event`] in, the body's bytes out.
//!
//! The documented body is cut once at the values that vary; writing a body only joins pieces, so that the load's
//! maker costs little beside what it measures. Bodies are about 3.6 kB, compact, as the vendor sends them.

use anyhow::Context;
use jiff::Timestamp;

const DOCUMENTED: &str = include_str!("../../vendors/greenhouse/fixtures/webhook__candidate_stage_change.json");

/// One thing that happened to an application.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) action: &'static str,
    /// From 0; the vendor's id is [`application_id`].
    pub(crate) application: usize,
    /// An index into [`STAGES`].
    pub(crate) stage: usize,
    /// Unix seconds.
    pub(crate) applied_at: i64,
    pub(crate) last_activity_at: i64,
}

pub(crate) const CREATED: &str = "new_candidate_application";
pub(crate) const MOVED: &str = "candidate_stage_change";

/// Of each job; its stages have ids of their own, as in the vendor's accounts.
pub(crate) const STAGES: [&str; 7] = [
    "Application Review",
    "Preliminary Phone Screen",
    "Assessment",
    "Phone Interview",
    "Face to Face",
    "Reference Check",
    "Offer",
];
/// The stage that orders an assessment.
pub(crate) const ASSESSMENT: usize = 2;

const JOBS: usize = 50;

/// As JSON text, escaped in the several ways that are legal, and as it stands in an address.
const FIRST_NAMES: [(&str, &str); 8] = [
    ("Giuseppe", "giuseppe"),
    ("Zo\\u00eb", "zoe"),
    ("Łukasz", "lukasz"),
    ("Jos\\u00e9 Mar\\u00eda", "jose.maria"),
    ("\\u674e\\u5a1c", "li.na"),
    ("Ren\\\"\\u00e9\\\"e", "renee"),
    ("Ann\\/Marie", "ann.marie"),
    ("Sam \\ud83d\\ude00", "sam"),
];
const LAST_NAMES: [(&str, &str); 7] = [
    ("Hurley", "hurley"),
    ("O\\u0027Brien", "obrien"),
    ("Müller-Lüdenscheidt", "mueller"),
    ("Nguy\\u1ec5n", "nguyen"),
    ("van der Berg", "vanderberg"),
    ("\\u7530\\u4e2d", "tanaka"),
    ("Smith\\tJr.", "smith"),
];

/// What stands between two constant pieces of the documented body.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Action,
    Application,
    Candidate,
    Stage,
    Job,
    FirstName,
    LastName,
    Email,
    External,
    Phone,
    AppliedAt,
    LastActivityAt,
    /// Two more lines of documented shape, so that a body has the size that accounts really send.
    Questions,
    Employment,
}

/// The documented values and what takes their place.
const SLOTS: [(&str, Slot); 14] = [
    ("\"candidate_stage_change\"", Slot::Action),
    ("265277", Slot::Application),
    ("265772", Slot::Candidate),
    ("71416,\"name\":\"Assessment\"", Slot::Stage),
    ("3485,\"name\":\"Designer\"", Slot::Job),
    ("\"Giuseppe\"", Slot::FirstName),
    ("\"Hurley\"", Slot::LastName),
    ("giuseppe.hurley@example.com", Slot::Email),
    ("241b399ce4b0fd1c84e5528d", Slot::External),
    ("330-281-8004", Slot::Phone),
    ("2013-03-22T00:00:00Z", Slot::AppliedAt),
    ("2015-02-09T16:38:36Z", Slot::LastActivityAt),
    ("\"questions\":[]", Slot::Questions),
    ("\"employments\":[", Slot::Employment),
];

/// The vendor's id of an application.
pub(crate) fn application_id(application: usize) -> usize {
    70_000_000 + application
}

/// Which application has this id.
pub(crate) fn application_of(id: &str) -> Option<usize> {
    id.parse::<usize>().ok()?.checked_sub(70_000_000)
}

/// The documented body, cut.
pub(crate) struct Bodies {
    pieces: Vec<(String, Slot)>,
    rest: String,
}

impl Bodies {
    /// # Errors
    /// When the documented body no longer has one of the values that vary.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let compact = compact(DOCUMENTED);
        let mut rest = compact.as_str();
        let mut pieces = Vec::new();
        while let Some((before, slot, after)) = SLOTS
            .iter()
            .filter_map(|(value, slot)| rest.split_once(value).map(|(before, after)| (before, *slot, after)))
            .min_by_key(|(before, ..)| before.len())
        {
            pieces.push((before.to_owned(), slot));
            rest = after;
        }
        for (value, slot) in SLOTS {
            pieces
                .iter()
                .find(|(_, found)| *found == slot)
                .with_context(|| format!("the documented body has no {value}"))?;
        }
        Ok(Self { pieces, rest: rest.to_owned() })
    }

    pub(crate) fn body(&self, event: &Event) -> anyhow::Result<String> {
        let mut out = String::with_capacity(4096);
        for (before, slot) in &self.pieces {
            out += before;
            put(&mut out, *slot, event)?;
        }
        out += &self.rest;
        Ok(out)
    }
}

fn put(out: &mut String, slot: Slot, event: &Event) -> anyhow::Result<()> {
    let n = event.application;
    let (first, last) = (pick(&FIRST_NAMES, n)?, pick(&LAST_NAMES, n)?);
    let job = n % JOBS;
    match slot {
        Slot::Action => *out += &format!("\"{}\"", event.action),
        Slot::Application => *out += &application_id(n).to_string(),
        Slot::Candidate => *out += &(60_000_000 + n).to_string(),
        Slot::Stage => {
            let name = STAGES.get(event.stage).context("no such stage")?;
            *out += &format!("{},\"name\":\"{name}\"", 2_000_000 + job * 100 + event.stage);
        }
        Slot::Job => *out += &format!("{},\"name\":\"Designer \\u2013 team {job}\"", 300_000 + job),
        Slot::FirstName => *out += &format!("\"{}\"", first.0),
        Slot::LastName => *out += &format!("\"{}\"", last.0),
        Slot::Email => *out += &format!("{}.{}.{n}@example.com", first.1, last.1),
        Slot::External => *out += &format!("{:024x}", n * 7919),
        Slot::Phone => *out += &format!("330-281-{:04}", n % 10_000),
        Slot::AppliedAt => *out += &time(event.applied_at)?,
        Slot::LastActivityAt => *out += &time(event.last_activity_at)?,
        Slot::Questions => {
            *out += "\"questions\":[{\"id\":3136352,\"question\":\"Could you tell me about your previous experience?\"},\
                     {\"id\":3136353,\"question\":\"Why do you want to work with us?\"},\
                     {\"id\":3136354,\"question\":\"Which tools do you know well, and what have you built with them?\"},\
                     {\"id\":3136355,\"question\":\"How do you work in a team, and what do you need from it?\"},\
                     {\"id\":3136356,\"question\":\"Tell me of a decision of yours that turned out wrong. How did you find out?\"}]";
        }
        Slot::Employment => {
            *out += "\"employments\":[{\"company_name\":\"Schr\\u00f6der & S\\u00f6hne\",\"title\":\"Senior designer\",\
                     \"start_date\":\"02/01/2016\",\"end_date\":\"06/30/2019\"},";
        }
    }
    Ok(())
}

fn pick<'a>(names: &[(&'a str, &'a str)], n: usize) -> anyhow::Result<(&'a str, &'a str)> {
    names.get(n % names.len()).copied().context("no names")
}

fn time(seconds: i64) -> anyhow::Result<String> {
    Ok(Timestamp::from_second(seconds)?.to_string())
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        if !quoted && letter.is_whitespace() {
            continue;
        }
        out.push(letter);
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_is_json_of_the_documented_shape() {
        let bodies = Bodies::new().unwrap();
        let mut bytes = 0;
        for application in 0..56 {
            let event = Event {
                action: MOVED,
                application,
                stage: application % STAGES.len(),
                applied_at: 1_700_000_000,
                last_activity_at: 1_700_000_060,
            };
            let body = bodies.body(&event).unwrap();
            bytes += body.len();
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            let found = &value["payload"]["application"];
            assert_eq!(found["id"], application_id(application));
            assert_eq!(application_of(&found["id"].to_string()), Some(application));
            assert_eq!(found["last_activity_at"], "2023-11-14T22:14:20Z");
            assert_eq!(found["current_stage"]["name"], STAGES[application % STAGES.len()]);
            assert_eq!(found["candidate"]["employments"].as_array().unwrap().len(), 2);
        }
        let mean = bytes / 56;
        assert!((3_500..3_700).contains(&mean), "{mean} bytes");
    }
}
