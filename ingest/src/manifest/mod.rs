//! A vendor's `manifest.yaml`: everything ingest must know of the vendor, as data from closed sets.
//!
//! Text in, checked [`Manifest`] out; all mistakes at once, each with file, line and hint. No I/O.

mod api;
mod stream;
mod webhook;

use std::sync::Arc;

use hirewire_yaml::{Map, Node, Problems, did_you_mean};

pub(crate) use api::url;
pub use api::{Api, Auth, ClientCredentials, Errors, NextToken, Paging, RateLimit, Send};
pub use stream::{Filter, One, Per, Repeats, Stream, Sync, TimeFormat, Window};
pub use webhook::{Algorithm, Claim, DeliveryId, Encoding, Hmac, SentAt, Signature, Signed, Webhook};

pub use crate::json::Path;

/// Records that a raw event can be about: the ones that own a partition, and those whose deletion names only them.
const SUBJECTS: &[&str] = &[
    "Application",
    "Candidate",
    "Job",
    "Opening",
    "JobPosting",
    "Department",
    "Office",
    "User",
    "Stage",
    "Source",
    "Reason",
    "Label",
    "Interview",
    "Scorecard",
    "Offer",
    "Attachment",
    "Activity",
];

/// One vendor, as ingest sees it.
#[derive(Debug)]
pub struct Manifest {
    /// The name of the vendor's folder, in topic names and headers.
    pub vendor: String,
    /// `None` when the vendor sends none.
    pub webhook: Option<Webhook>,
    /// `None` when there is nothing to poll.
    pub api: Option<Api>,
}

/// Where the remote id of the thing that a payload is about stands: the first place that has one counts.
#[derive(Debug, Clone)]
pub struct Subject(Vec<(&'static str, Path)>);

impl Manifest {
    /// Parses and checks a manifest. `file` is the name that messages show.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn parse(file: &str, text: &str) -> Result<Arc<Self>, Problems> {
        let node = hirewire_yaml::parse(file, text)?;
        let mut problems = Problems::new();
        let manifest = Self::read(&node, &mut problems);
        problems.into_result(manifest.map(Arc::new))
    }

    /// Where a polled answer holds its rows, in dotted form; `None`: the answer is the list.
    #[must_use]
    pub fn rows(&self) -> Option<String> {
        Some(self.api.as_ref()?.rows.to_string()).filter(|path| !path.is_empty())
    }

    /// The event that a webhook's body says it is.
    #[must_use]
    pub fn event_of(&self, body: &[u8]) -> Option<String> {
        crate::json::scalar(body, &self.webhook.as_ref()?.event)
    }

    /// What the mapping is told of the request that gave a row of `stream`, for a fixture: of what is another for each
    /// row, the name in the place of the value.
    #[must_use]
    pub fn request_of(&self, stream: &str) -> Vec<(String, String)> {
        let streams = self.api.iter().flat_map(|api| &api.streams);
        let Some(stream) = streams.into_iter().find(|known| known.name == stream) else { return Vec::new() };
        let named = |name: &String| (name.clone(), name.clone());
        let each = stream.each.iter().filter_map(|(name, values)| Some((name.clone(), values.first()?.clone())));
        let parent = stream.per.iter().map(|per| named(&per.param));
        let told = stream.tell.iter().map(|(name, _)| named(name));
        stream.params.iter().cloned().chain(each).chain(parent).chain(told).collect()
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let vendor = map.require("vendor", problems).and_then(|node| node.text(problems));
        let webhook = map.get("webhook").map(|node| Webhook::read(node, problems));
        let api = map.get("api").map(|node| Api::read(node, problems));
        map.finish(problems);
        let (webhook, api) = (optional(webhook)?, optional(api)?);
        if let Some(fetch) = node.peek("webhook").and_then(|webhook| webhook.peek("fetch")) {
            check_fetches(fetch, webhook.as_ref(), api.as_ref(), problems);
        }
        Some(Self { vendor: vendor?.to_owned(), webhook, api })
    }
}

/// What is fetched must be a list that can be asked for by an id, and the event one that is known.
fn check_fetches(node: &Node, webhook: Option<&Webhook>, api: Option<&Api>, problems: &mut Problems) {
    let entries = |node: &'_ Node| match &node.value {
        hirewire_yaml::Value::Map(entries) => entries.clone(),
        _ => Vec::new(),
    };
    let events: Vec<&str> = webhook.iter().flat_map(|webhook| webhook.subjects.keys().map(String::as_str)).collect();
    let streams: Vec<&Stream> = api.iter().flat_map(|api| &api.streams).collect();
    for (event, lists) in entries(node) {
        let name = event.scalar().unwrap_or_default();
        if !events.contains(&name) {
            let hint = match did_you_mean(name, events.iter().copied()) {
                hint if hint.is_empty() => "add the event to `subjects`".to_owned(),
                hint => hint,
            };
            problems.add(&event, format!("\"{name}\" is no event of `subjects`"), hint);
        }
        for (list, _) in entries(&lists) {
            let name = list.scalar().unwrap_or_default();
            match streams.iter().find(|stream| stream.name == name) {
                None => {
                    let known = streams.iter().map(|stream| stream.name.as_str());
                    problems.add(&list, format!("no list \"{name}\" in `api.streams`"), did_you_mean(name, known));
                }
                Some(stream) => fetchable(&list, stream, &streams, problems),
            }
        }
    }
}

fn fetchable(at: &Node, stream: &Stream, streams: &[&Stream], problems: &mut Problems) {
    let name = &stream.name;
    match &stream.per {
        None if stream.one.is_none() => {
            problems.add(at, format!("nothing says how a row of {name} is asked for"), "add `one` to the list");
        }
        Some(_) if !stream.tell.is_empty() => {
            let hint = "fetch the parent instead: its list follows";
            problems.add(at, format!("{name} needs its parent's row (`tell`), which an event does not hold"), hint);
        }
        Some(per) if stream.subject.is_none() => {
            let parent = streams.get(per.parent).filter(|parent| parent.own_subject("").is_some());
            if parent.is_none() {
                let hint = "give the list a `subject` of its own";
                problems.add(at, format!("whom the rows of {name} belong to stands in the parent's row"), hint);
            }
        }
        _ => {}
    }
}

impl Subject {
    /// The record, if the remote id is looked for at `path` first.
    pub(crate) fn at(&self, path: &Path) -> Option<&'static str> {
        self.0.first().filter(|(_, place)| place == path).map(|(record, _)| *record)
    }

    /// Reads `{Application: payload.application.id, Candidate: …}`, looked up in the order written.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mut places = Vec::new();
        for (key, record, at) in map.entries() {
            match SUBJECTS.iter().find(|known| **known == record) {
                None => problems.add(
                    key,
                    format!("\"{record}\" is no record that an event can be about"),
                    did_you_mean(record, SUBJECTS.iter().copied()),
                ),
                Some(record) => places.extend(path(at, problems).map(|path| (*record, path))),
            }
        }
        if places.is_empty() {
            problems.add(node, "no place of a remote id", "write for example {Application: payload.application.id}");
        }
        Some(Self(places))
    }

    /// The record's name and the remote id, if `body` holds one.
    #[must_use]
    pub fn find(&self, body: &[u8]) -> Option<(&'static str, String)> {
        self.0.iter().find_map(|(record, path)| Some((*record, crate::json::scalar(body, path)?)))
    }
}

/// `Some(None)` for what is absent, `None` for what is there and wrong.
#[expect(clippy::option_option, reason = "absent, wrong and good are three things")]
fn optional<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(good) => Some(good),
    }
}

fn path(node: &Node, problems: &mut Problems) -> Option<Path> {
    let path = Path::parse(node.text(problems)?);
    if path.is_none() {
        problems.add(node, "a path with an empty key", "write keys separated by dots: payload.application.id");
    }
    path
}

fn required_path(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<Path> {
    map.require(key, problems).and_then(|node| path(node, problems))
}

fn required_text(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    Some(map.require(key, problems)?.text(problems)?.to_owned())
}

/// A header's name, in lower case.
fn header(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    let name = axum::http::HeaderName::try_from(text).ok();
    if name.is_none() {
        problems.add(node, format!("\"{text}\" is not the name of a header"), "");
    }
    Some(name?.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> String {
        Manifest::parse("manifest.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn greenhouse_is_read_and_complete() {
        let text = include_str!("../../../vendors/greenhouse/manifest.yaml");
        let manifest = Manifest::parse("manifest.yaml", text).unwrap();
        assert_eq!(manifest.vendor, "greenhouse");
        assert_eq!(manifest.webhook.as_ref().unwrap().subjects.len(), 29);
        let api = manifest.api.as_ref().unwrap();
        let first_application = api.streams.iter().position(|stream| stream.name == "applications").unwrap();
        for lookup in ["users", "departments", "offices", "sources", "rejection_reasons", "job_interview_stages"] {
            let position = api.streams.iter().position(|stream| stream.name == lookup).unwrap();
            assert!(position < first_application, "{lookup} is a look-up and comes first");
        }
        let restricted: Vec<&str> = api.streams.iter().filter(|s| s.restricted).map(|s| s.name.as_str()).collect();
        assert_eq!(restricted, ["eeoc"]);
    }

    #[test]
    fn all_mistakes_come_at_once_with_line_and_hint() {
        let text = "vendr: x\nwebhook:\n  signature: {hmac: {algorithm: sha265, encoding: hex, header: \"a b\", signed: body}}\n  \
                    event: a..b\n  delivery_id: {header: x}\n  subjects:\n    created: {Aplication: id}\n";
        let shown = mistakes(text);
        for part in [
            "manifest.yaml:1: `vendor` is missing",
            "manifest.yaml:1: unknown key \"vendr\" (did you mean \"vendor\"?)",
            "manifest.yaml:3: \"sha265\" is not known here (did you mean \"sha256\"?)",
            "manifest.yaml:3: \"a b\" is not the name of a header",
            "manifest.yaml:4: a path with an empty key",
            "manifest.yaml:7: \"Aplication\" is no record that an event can be about (did you mean \"Application\"?)",
        ] {
            assert!(shown.contains(part), "{part}\nis not in\n{shown}");
        }
    }

    #[test]
    fn there_is_no_default_signature() {
        let shown = mistakes("vendor: x\nwebhook: {event: e, delivery_id: {header: x}, subjects: {a: {Job: id}}}\n");
        assert!(shown.contains("`signature` is missing"), "{shown}");
    }

    /// The mistakes of a signature with the keys of `hmac` beside the hash.
    fn of_signature(keys: &str) -> String {
        mistakes(&format!(
            "vendor: x\nwebhook:\n  signature: {{hmac: {{algorithm: sha256, encoding: hex, {keys}}}}}\n  \
             delivery_id: {{header: x}}\n  event: e\n  subjects: {{a: {{Job: id}}}}\n"
        ))
    }

    #[test]
    fn a_signature_stands_in_one_place_and_signs_something() {
        for (keys, part) in [
            ("signed: body", "manifest.yaml:3: neither `header` nor `field`"),
            ("header: a, field: b, signed: body", "both `header` and `field`"),
            ("field: signature, signed: body", "`field` and `signed: body` (a body cannot hold its own hash"),
            ("field: s, signed: {fields: []}", "nothing is signed"),
            ("field: s, signed: {fields: [a..b]}", "a path with an empty key"),
            ("field: s, signed: {field: [a]}", "\"field\" is not known here (did you mean \"fields\"?)"),
            ("header: s, signed: bdy", "\"bdy\" is not known here (did you mean \"body\"?)"),
            ("field: s, signed: {fields: [token]}, sent_at: {epoch_ms: at, within: 1h}", "a time that is not signed"),
            ("header: s, signed: body, sent_at: {epoch_ms: at, within: 0s}", "a time of nothing"),
            ("header: s, signed: body, sent_at: {epoch_ms: at}", "`within` is missing"),
        ] {
            let shown = of_signature(keys);
            assert!(shown.contains(part), "{keys}: {shown}");
        }
    }

    /// The mistakes of an API with these keys in the place of the sound ones.
    fn of_api(key: &str, value: &str) -> String {
        let mut keys = std::collections::BTreeMap::from([
            ("auth", "{basic_api_key: {}}"),
            ("paging", "{next_token: {param: offset, next: next, more: hasNext}}"),
            ("rows", "data"),
            ("window", "{from: a, to: b, field: u, format: epoch_ms}"),
            ("streams", "{jobs: {subject: {Job: id}}}"),
        ]);
        keys.insert(key, value);
        let lines: String = keys
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| format!("  {key}: {value}\n"))
            .collect();
        let text = format!("vendor: x\napi:\n  base_url: https://x.example\n  lag: 5m\n  overlap: 10m\n{lines}");
        Manifest::parse("manifest.yaml", &text).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn each_way_to_poll_has_its_own_keys() {
        assert_eq!(of_api("rows", "data"), "");
        assert_eq!(
            of_api("streams", "{gone: {subject: {Job: id}, path: jobs/deleted, window: {from: c, to: d, field: v}}}"),
            ""
        );
        assert_eq!(of_api("send", "json_body"), "");
        assert_eq!(of_api("errors", "{unless: success, codes: errors, expired: [gone]}"), "");
        assert_eq!(of_api("streams", "{jobs: {subject: {Job: id}, sync: {param: t, next: t, version: v}}}"), "");
        for (key, value, part) in [
            ("auth", "{basic_api_key: {user: x}}", "unknown key \"user\""),
            ("auth", "{basic: {}}", "\"basic\" is not known here"),
            ("paging", "{next_token: {param: offset, next: next}}", "`more` is missing"),
            ("paging", "{link_cursor: {param: cursor, next: next}}", "unknown key \"next\""),
            ("rows", "a..b", "a path with an empty key"),
            ("window", "{from: a, field: u}", "`to` is missing"),
            ("window", "{from: a, to: b, param: c, field: u}", "unknown key \"param\""),
            ("window", "{from: a, to: b, field: u, format: epoch_m}", "did you mean \"epoch_ms\"?"),
            ("window", "", "no `window` for the list jobs"),
            (
                "streams",
                "{jobs: {subject: {Job: id}, whole: true, window: {from: a, to: b, field: u}}}",
                "`window` and `whole: true`",
            ),
            ("window", "{from: a, to: b, field: u}\n  sync: {param: t, next: t}", "`window` and `sync`"),
            ("streams", "{jobs: {subject: {Job: id}, sync: {param: t}}}", "`next` is missing"),
            (
                "streams",
                "{jobs: {subject: {Job: id}, whole: true, sync: {param: t, next: t}}}",
                "`window` and `whole: true`",
            ),
            ("send", "json_bdy", "\"json_bdy\" is not known here (did you mean \"json_body\"?)"),
            ("errors", "{codes: errors}", "`unless` is missing"),
            ("errors", "{unless: ok, expired: [gone]}", "`expired` without `codes`"),
            ("streams", "{jobs: {subject: {Job: id}, path: ../v2/jobs}}", "\"../v2/jobs\" is not the path of a list"),
            ("streams", "{jobs: {subject: {Job: id}, path: \"jobs?x=1\"}}", "is not the path of a list"),
        ] {
            let shown = of_api(key, value);
            assert!(shown.contains(part), "{key}: {value}: {shown}");
        }
    }

    #[test]
    fn a_fetch_names_a_known_event_and_a_list_that_can_be_asked_for_by_an_id() {
        let of = |fetch: &str| {
            let text = format!(
                "vendor: x\nwebhook:\n  signature: {{none: {{}}}}\n  delivery_id: {{field: id}}\n  event: e\n  \
                 subjects: {{made: {{Job: id}}}}\n  fetch: {fetch}\napi:\n  base_url: https://x.example\n  \
                 auth: {{basic_api_key: {{}}}}\n  paging: {{link_cursor: {{param: c}}}}\n  lag: 0s\n  overlap: 0s\n  \
                 streams:\n    jobs: {{subject: {{Job: id}}, whole: true, one: {{path: \"jobs/{{id}}\"}}}}\n    \
                 tags: {{subject: {{Label: id}}, whole: true}}\n    \
                 notes: {{per: {{job: jobs}}}}\n    told: {{per: {{job: jobs}}, tell: {{a: b}}}}\n    \
                 files: {{subject: {{Job: job_id}}, whole: true}}\n    parts: {{per: {{file: files}}}}\n    \
                 own: {{per: {{file: files}}, subject: {{Job: id}}}}\n"
            );
            Manifest::parse("manifest.yaml", &text).err().map(|problems| problems.to_string()).unwrap_or_default()
        };
        assert_eq!(of("{made: {jobs: job.id, notes: job.id, own: file.id}}"), "");
        for (fetch, part) in [
            ("{mad: {jobs: id}}", "\"mad\" is no event of `subjects` (did you mean \"made\"?)"),
            ("{made: {job: id}}", "no list \"job\" in `api.streams` (did you mean \"jobs\"?)"),
            ("{made: {tags: id}}", "nothing says how a row of tags is asked for"),
            ("{made: {told: id}}", "told needs its parent's row (`tell`)"),
            ("{made: {parts: id}}", "whom the rows of parts belong to stands in the parent's row"),
            ("{made: {jobs: a..b}}", "a path with an empty key"),
        ] {
            let shown = of(fetch);
            assert!(shown.contains(part), "{fetch}: {shown}");
        }
        for (one, part) in [
            ("{path: jobs}", "the id stands nowhere, or in two places"),
            ("{path: \"jobs/{id}\", param: id}", "the id stands nowhere, or in two places"),
            ("{path: \"jobs/{job}\"}", "is not the path of a list"),
            ("{param: id}", "`path` is missing"),
        ] {
            let shown = of_api("streams", &format!("{{jobs: {{subject: {{Job: id}}, one: {one}}}}}"));
            assert!(shown.contains(part), "{one}: {shown}");
        }
    }

    #[test]
    fn a_list_per_parent_names_a_list_above_it_and_takes_its_window() {
        let of = |rest: &str| of_api("streams", &format!("{{jobs: {{subject: {{Job: id}}}}, {rest}}}"));
        assert_eq!(of("notes: {per: {job: jobs}, path: \"jobs/{job}/notes\"}"), "");
        assert_eq!(of("notes: {per: {jobId: jobs}, subject: {Activity: id}}"), "", "the id as a parameter");
        for (rest, part) in [
            ("notes: {per: {job: job}}", "no list \"job\" above this one (did you mean \"jobs\"?)"),
            ("notes: {per: {job: later}}, later: {subject: {Job: id}}", "no list \"later\" above this one"),
            ("notes: {per: {}}", "no parent"),
            ("notes: {per: {a: jobs, b: jobs}}", "a second parent"),
            ("notes: {per: {a: jobs}, whole: true}", "`per` beside `window`, `sync` or `whole`"),
            ("notes: {per: {a: jobs}, window: {from: a, to: b, field: u}}", "`per` beside `window`, `sync` or `whole`"),
            ("notes: {subject: {Job: id}, tell: {a: b}}", "`tell` without `per`"),
            ("notes: {per: {a: jobs}, tell: {a: b..c}}", "a path with an empty key"),
            ("notes: {per: {a: jobs}, each: {x: [y]}}", "`per` and `each`"),
            ("notes: {per: {a: jobs}, path: \"jobs/{b}/notes\"}", "is not the path of a list"),
            ("notes: {per: {a: jobs}}, deep: {per: {b: notes}}", "has `per` or `each` itself"),
            ("all: {subject: {Job: id}, each: {x: [y]}}, notes: {per: {a: all}}", "has `per` or `each` itself"),
            ("notes: {path: \"jobs/{job}/notes\", subject: {Job: id}}", "is not the path of a list"),
            ("notes: {}", "`subject` is missing"),
        ] {
            let shown = of(rest);
            assert!(shown.contains(part), "{rest}: {shown}");
        }
    }

    #[test]
    fn a_window_that_forgets_an_end_is_refused() {
        let text = "vendor: x\napi:\n  base_url: https://x.example\n  auth: {oauth2_client_credentials: {token_url: \"https://x.example/t\", \
                    expires_at: e}}\n  paging: {link_cursor: {param: cursor}}\n  window: {param: u, first: \"lte|{to}\", then: \"gt|{from}\", field: u}\n  \
                    lag: 5m\n  overlap: 10m\n  streams:\n    a: {subject: {Job: id}}\n";
        let shown = mistakes(text);
        assert!(shown.contains("manifest.yaml:6: `then` does not hold {to}"), "{shown}");
    }
}
