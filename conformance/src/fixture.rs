//! A fixture: one payload, with a name that says what it is, and what the mapping makes of it.
//!
//! `webhook__<case>.json` is the body of a delivery, `poll__<stream>[__<case>].json` (or `.xml`) an answer to a poll. An invalid one
//! ends with `__<CODE>.json`, the code of the dead letter that it must become. Where a header names a delivery's event,
//! the case begins with it: `webhook__<event>[__<case>].json`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use hirewire_ingest::manifest::{EventName, Place};
use hirewire_mapping::tool::{MetaValue, Report, World, map_file, rows};
use hirewire_mapping::{Input, Reject, RejectCode};
use hirewire_schemas::avro_schema;
use hirewire_schemas::ids::{canonical_id, record_key};

use crate::rules::Rules;

/// What golden files have in the place of what is another each time.
const TENANT: &str = "acme";
const CONNECTION: &str = "acme-ats";
const EVENT_ID: &str = "EVENT";
/// 2026-03-08T20:00:00Z.
const RECEIVED_MICROS: i64 = 1_773_000_000_000_000;

/// One payload of a vendor.
#[derive(Debug, Clone)]
pub struct Fixture {
    pub path: PathBuf,
    /// Its file's name.
    pub name: String,
    pub kind: Kind,
    /// The dead letter that an invalid one must become.
    pub code: Option<RejectCode>,
}

/// How the payload came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Webhook,
    /// With the stream's name.
    Poll(String),
}

impl Fixture {
    /// Reads the name of a fixture, which must end with a code if it is `invalid`.
    ///
    /// # Errors
    /// How it should be named.
    pub(crate) fn of(path: &Path, invalid: bool) -> Result<Self, String> {
        let form = if invalid { "__<CODE>.json" } else { ".json" };
        let hint = || format!("webhook__<case>{form} or poll__<stream>__<case>{form}");
        let stem = path.file_stem().and_then(|stem| stem.to_str()).ok_or_else(hint)?;
        let mut parts: Vec<&str> = stem.split("__").collect();
        let code = if invalid && parts.len() > 2 { parts.pop() } else { None };
        let code = code.and_then(|code| RejectCode::ALL.into_iter().find(|known| known.as_str() == code));
        if invalid && code.is_none() {
            let known = RejectCode::ALL.map(RejectCode::as_str).join(", ");
            return Err(format!("{}; a code is one of {known}", hint()));
        }
        let kind = match parts.as_slice() {
            ["webhook", case, ..] if !case.is_empty() => Kind::Webhook,
            ["poll", stream, ..] if !stream.is_empty() => Kind::Poll((*stream).to_owned()),
            _ => return Err(hint()),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { path: path.to_owned(), name, kind, code })
    }

    /// The list that it is an answer to; `None`: it is a delivery.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        match &self.kind {
            Kind::Webhook => None,
            Kind::Poll(stream) => Some(stream),
        }
    }

    /// What the list would have been asked with.
    #[must_use]
    pub fn params(&self, rules: &Rules) -> Vec<(String, String)> {
        self.stream().map(|stream| rules.manifest.request_of(stream)).unwrap_or_default()
    }

    /// The event that a delivery says it is; of a body that says none, nothing.
    #[must_use]
    pub fn event(&self, rules: &Rules, body: &[u8]) -> Option<String> {
        match self.kind {
            Kind::Webhook => Some(rules.manifest.event_of(&self.headers(rules), body).unwrap_or_default()),
            Kind::Poll(_) => None,
        }
    }

    /// Whether it only names what is read in its place, so that no rule need make anything of it.
    #[must_use]
    pub(crate) fn names_only(&self, rules: &Rules, body: &[u8]) -> bool {
        match &self.kind {
            Kind::Poll(stream) => rules.manifest.api.as_ref().is_some_and(|api| api.is_parent(stream)),
            Kind::Webhook => {
                let event = self.event(rules, body).unwrap_or_default();
                rules.manifest.events().any(|events| events.is_thin(&event))
            }
        }
    }

    /// The name of its golden file, which holds JSON whatever the payload is written in.
    #[must_use]
    pub fn golden(&self) -> String {
        format!("{}.json", self.path.file_stem().unwrap_or_default().to_string_lossy())
    }

    /// The header that names the event, if it is one that does.
    fn headers(&self, rules: &Rules) -> Vec<(String, String)> {
        let event = rules.manifest.webhook.as_ref().map(|webhook| &webhook.events.event);
        let Some(EventName::At(Place::Header(name))) = event else {
            return Vec::new();
        };
        vec![(name.clone(), self.case().to_owned())]
    }

    /// What stands behind the first `__` of its name: the stream, or the event where a header names it.
    pub(crate) fn case(&self) -> &str {
        self.name.trim_end_matches(".json").split("__").nth(1).unwrap_or_default()
    }

    /// Each payload of `body` as the mapping gets it: the delivery, or each row of a page.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn payloads<'b>(&self, rules: &Rules, body: &'b [u8]) -> Result<Vec<Cow<'b, [u8]>>, Reject> {
        match &self.kind {
            Kind::Webhook => Ok(vec![Cow::Borrowed(body)]),
            Kind::Poll(stream) => {
                rows(&rules.plan, body, Some(&rules.manifest.rows_of(stream).unwrap_or_else(|| stream.clone())))
            }
        }
    }

    /// What the mapping makes of `body`, without state.
    #[must_use]
    pub fn map(&self, rules: &Rules, body: &[u8]) -> Report {
        let event = self.event(rules, body);
        let stream = self.stream();
        let provenance = if stream.is_some() { "POLL" } else { "WEBHOOK" };
        let meta = [
            ("event_id", MetaValue::Text(EVENT_ID.to_owned())),
            ("tenant_id", MetaValue::Text(TENANT.to_owned())),
            ("connection_id", MetaValue::Text(CONNECTION.to_owned())),
            ("provenance", MetaValue::Symbol(provenance.to_owned())),
        ];
        let world = World { schema_of: &avro_schema, id: &id, key: &key, meta: &meta, meta_of: &|_, _, _| None };
        let params = self.params(rules);
        let received_micros = Some(RECEIVED_MICROS);
        let input =
            Input { body, event: event.as_deref(), stream, params: &params, received_micros, ..Input::default() };
        let rows = stream.and_then(|stream| rules.manifest.rows_of(stream));
        map_file(&rules.plan, &input, rows.as_deref(), &world)
    }
}

fn id(connection: Option<&str>, record: &str, remote_id: &str) -> String {
    canonical_id(TENANT, connection.unwrap_or(CONNECTION), record, remote_id).to_string()
}

fn key(record: &str, remote_id: &str, owner: Option<(&str, &str)>) -> String {
    record_key(TENANT, CONNECTION, record, remote_id, owner).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_header_names_the_event_the_fixture_s_name_begins_with_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors/smartrecruiters");
        let rules = crate::Folder::new(&folder).rules(None).unwrap();
        let event = |name: &str, invalid| {
            Fixture::of(Path::new(name), invalid).unwrap().event(&rules, b"{\"event\":\"other\"}").unwrap()
        };
        assert_eq!(event("webhook__candidate.deleted.json", false), "candidate.deleted");
        assert_eq!(event("webhook__candidate.deleted__odd.json", false), "candidate.deleted");
        assert_eq!(event("webhook__candidate.deleted__nobody__REQUIRED_MISSING.json", true), "candidate.deleted");
    }

    #[test]
    fn a_name_says_how_the_payload_came_and_what_must_become_of_it() {
        let of = |name: &str, invalid| Fixture::of(Path::new(name), invalid).map(|f| (f.kind, f.code));
        let poll = |stream: &str| Kind::Poll(stream.to_owned());
        assert_eq!(of("f/webhook__hired.json", false), Ok((Kind::Webhook, None)));
        assert_eq!(of("poll__jobs.json", false), Ok((poll("jobs"), None)));
        assert_eq!(of("poll__jobs__closed.json", false), Ok((poll("jobs"), None)));
        assert_eq!(of("poll__jobs__x__TOO_DEEP.json", true), Ok((poll("jobs"), Some(RejectCode::TooDeep))));
        for wrong in ["hired.json", "webhook__.json", "webhook.json", "hook__x.json"] {
            assert!(of(wrong, false).unwrap_err().starts_with("webhook__<case>.json or"), "{wrong}");
        }
        for wrong in ["webhook__x.json", "webhook__x__DEEP.json", "poll__TOO_DEEP.json"] {
            assert!(of(wrong, true).unwrap_err().contains("REQUIRED_MISSING"), "{wrong}");
        }
    }
}
