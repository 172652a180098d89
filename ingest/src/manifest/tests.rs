//! Manifests that are right, and every mistake that one can hold.

use super::*;

mod queues;

fn mistakes(text: &str) -> String {
    Manifest::parse("manifest.yaml", text).unwrap_err().to_string()
}

#[test]
fn greenhouse_is_read_and_complete() {
    let text = include_str!("../../../vendors/greenhouse/manifest.yaml");
    let manifest = Manifest::parse("manifest.yaml", text).unwrap();
    assert_eq!(manifest.vendor, "greenhouse");
    assert_eq!(manifest.webhook.as_ref().unwrap().events.subjects.len(), 29);
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
fn a_token_stands_in_a_header_and_hashes_may_stand_in_several() {
    let of = |signature: &str| {
        let text = format!(
            "vendor: x\nwebhook:\n  signature: {signature}\n  delivery_id: {{header: x}}\n  event: e\n  \
             subjects: {{a: {{Job: id}}}}\n"
        );
        Manifest::parse("manifest.yaml", &text).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    assert_eq!(of("{token: {header: Authorization, before: \"Bearer \"}}"), "");
    assert_eq!(of("{hmac: {algorithm: sha256, encoding: base64, header: [X-1, X-2], signed: body}}"), "");
    for (signature, part) in [
        ("{token: {}}", "`header` is missing"),
        ("{token: {header: a, befor: b}}", "unknown key \"befor\" (did you mean \"before\"?)"),
        ("{token: {header: \"a b\"}}", "is not the name of a header"),
        ("{tokn: {header: a}}", "\"tokn\" is not known here (did you mean \"token\"?)"),
        ("{hmac: {algorithm: sha256, encoding: hex, header: [], signed: body}}", "manifest.yaml:3: no header"),
        ("{hmac: {algorithm: sha256, encoding: hex, header: [a, \"b c\"], signed: body}}", "\"b c\" is not the name"),
    ] {
        let shown = of(signature);
        assert!(shown.contains(part), "{signature}: {shown}");
    }
}

#[test]
fn a_signature_stands_in_one_place_and_signs_something() {
    for (keys, part) in [
        ("signed: body", "manifest.yaml:3: neither `header` nor `field`"),
        ("header: a, field: b, signed: body", "both `header` and `field`"),
        (
            "field: signature, signed: body",
            "a signature in the body that signs the body (a body cannot hold its own hash",
        ),
        ("field: s, signed: {joined: {parts: [body], by: \".\"}}", "a signature in the body that signs the body"),
        ("header: s, signed: {joined: {parts: [{header: t}], by: \".\"}}", "the body is not signed (whoever saw one"),
        (
            "header: s, signed: {joined: {parts: [bdy, body], by: \".\"}}",
            "\"bdy\" is not known here (did you mean \"body\"?)",
        ),
        ("header: s, signed: {joined: {parts: [body, {header: \"a b\"}], by: \".\"}}", "is not the name of a header"),
        ("header: s, signed: {joined: {parts: [body]}}", "`by` is missing"),
        ("header: s, signed: {joined: {by: \".\"}}", "`parts` is missing"),
        ("header: s, between: \"\", signed: body", "expected a text, found an empty one"),
        (
            "header: s, signed: {joined: {parts: [body], by: \".\"}}, sent_at: {epoch_s: {header: t}, within: 1h}",
            "a time that is not signed",
        ),
        ("header: s, signed: body, sent_at: {epoch_s: {header: t}, within: 1h}", "a time that is not signed"),
        ("header: s, signed: body, sent_at: {epoch_s: a, epoch_ms: b, within: 1h}", "both `epoch_ms` and `epoch_s`"),
        ("header: s, signed: body, sent_at: {within: 1h}", "neither `epoch_ms` nor `epoch_s`"),
        ("field: s, signed: {fields: []}", "nothing is signed"),
        ("field: s, signed: {fields: [a..b]}", "a path with an empty key"),
        ("field: s, signed: {field: [a]}", "\"field\" is not known here (did you mean \"fields\"?)"),
        ("header: s, signed: bdy", "\"bdy\" is not known here (did you mean \"body\"?)"),
        ("field: s, signed: {fields: [token]}, sent_at: {epoch_ms: at, within: 1h}", "a time that is not signed"),
        ("header: s, signed: body, sent_at: {epoch_ms: at, within: 0s}", "a time of nothing"),
        ("header: s, signed: body, sent_at: {epoch_ms: at}", "`within` is missing"),
        ("header: s, decoded: hex, signed: body", "\"hex\" is not known here"),
        ("header: s, decodd: base64, signed: body", "did you mean \"decoded\"?"),
        ("header: s, signed: {joined: {parts: [body, {claim: t}], by: \".\"}}", "`claim` without `between`"),
        (
            "header: s, between: \",\", signed: {joined: {parts: [body, {clam: t}], by: \".\"}}",
            "did you mean \"claim\"?",
        ),
        (
            "header: s, between: \",\", signed: {joined: {parts: [body, {claim: \"\"}], by: \".\"}}",
            "found an empty one",
        ),
        (
            "header: s, between: \",\", signed: {joined: {parts: [body, {claim: u}], by: \".\"}}, \
             sent_at: {epoch_s: {claim: t}, within: 1h}",
            "a time that is not signed",
        ),
        (
            "header: s, between: \",\", signed: body, sent_at: {epoch_s: {claim: t}, within: 1h}",
            "a time that is not signed",
        ),
        ("header: s, signed: body, sent_at: {epoch_s: {clam: t}, within: 1h}", "did you mean \"claim\"?"),
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
    let lines: String =
        keys.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("  {key}: {value}\n")).collect();
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
    for (key, value) in [
        ("auth", "{basic_api_key: {password: x}}"),
        ("auth", "{api_key_header: {header: X-Key}}"),
        ("auth", "{api_key_header: {header: Authorization, before: \"Key \"}}"),
        ("headers", "{X-Version: \"20210218\", Accept: application/vnd.api+json}"),
        ("paging", "{next_link: {next: links.next, param: \"page[number]\"}}"),
        ("rate_limit", "{remaining: X-Left, reset_after: X-Reset}"),
        ("paging", "{next_token: {param: pageId, next: nextPageId}}"),
        ("paging", "{page_number: {param: page, last: complete}}"),
        ("paging", "{offset: {param: start}}"),
        ("window", "{after: where, first: id > 0, then: \"changed > {from}\", field: changed, format: epoch_ms}"),
        ("streams", "{jobs: {subject: {Job: id}, one: {path: \"jobs/{id}\", row: [data, .], params: as_list}}}"),
        ("streams", "{jobs: {subject: {Job: id}}, notes: {per: {job: jobs}, path: \"jobs/{job}\", listed: false}}"),
        ("rows", "."),
        ("rows", "\"users.*\""),
        ("window", "{after: updatedAfter, field: updatedOn, format: rfc3339_ms}"),
        ("streams", "{jobs: {subject: {Job: id}, rows: \"*\", paged: false, repeats: {bytes_but: [lead.photo]}}}"),
        ("streams", "{jobs: {subject: {Job: [id, uuid]}, listed: false, one: {path: \"jobs/{id}\"}}}"),
    ] {
        assert_eq!(of_api(key, value), "", "{key}: {value}");
    }
    assert_eq!(of_api("send", "json_body"), "");
    assert_eq!(of_api("errors", "{unless: success, codes: errors, expired: [gone]}"), "");
    assert_eq!(of_api("streams", "{jobs: {subject: {Job: id}, sync: {param: t, next: t, version: v}}}"), "");
    for (key, value, part) in [
        ("auth", "{basic_api_key: {user: x}}", "unknown key \"user\""),
        ("auth", "{basic_api_key: {password: \"\"}}", "expected a text, found an empty one"),
        ("auth", "{api_key_header: {}}", "`header` is missing"),
        ("auth", "{api_key_header: {header: \"a b\"}}", "is not the name of a header"),
        ("auth", "{api_key_headr: {header: a}}", "did you mean \"api_key_header\"?"),
        ("auth", "{api_key_header: {header: a, befor: b}}", "did you mean \"before\"?"),
        ("auth", "{api_key_header: {header: a, before: \"b\\n\"}}", "a text that no header can hold"),
        ("headers", "[X-Version]", "expected a mapping, found a list"),
        ("headers", "{\"a b\": c}", "\"a b\" is not the name of a header"),
        ("headers", "{X-Version: \"a\\nHost: b\"}", "a text that no header can hold"),
        ("headers", "{X-Version: \"\"}", "found an empty one"),
        ("headers", "{X-Version: [a]}", "expected a text, found a list"),
        ("headers", "{X-Version: a, x-version: b}", "this header a second time"),
        ("headers", "{Authorization: Bearer x}", "the header authorization is made for each request"),
        (
            "auth",
            "{api_key_header: {header: x-key}}\n  headers: {X-Key: x}",
            "the header x-key is made for each request (leave it out",
        ),
        ("paging", "{next_link: {next: links.next}}", "`param` is missing"),
        ("paging", "{next_link: {param: page}}", "`next` is missing"),
        ("paging", "{next_link: {param: page, next: next, more: more}}", "unknown key \"more\""),
        ("paging", "{next_lnk: {param: page, next: next}}", "did you mean \"next_link\"?"),
        ("rate_limit", "{reset_epoch: a, reset_after: b}", "both `reset_epoch` and `reset_after`"),
        ("rate_limit", "{reset_aftr: b}", "did you mean \"reset_after\"?"),
        ("rate_limit", "{reset_after: \"a b\"}", "is not the name of a header"),
        ("paging", "{offset: {}}", "`param` is missing"),
        ("paging", "{offset: {param: start, size: 20}}", "unknown key \"size\""),
        ("paging", "{ofset: {param: start}}", "did you mean \"offset\"?"),
        ("window", "{after: where, then: changed, field: u}", "`then` does not hold {from}"),
        ("window", "{after: where, first: [a], field: u}", "expected a text, found a list"),
        ("streams", "{jobs: {subject: {Job: id}, one: {path: \"j/{id}\", row: []}}}", "no place of a row"),
        ("streams", "{jobs: {subject: {Job: id}, one: {path: \"j/{id}\", row: [a..b]}}}", "a path with an empty key"),
        (
            "streams",
            "{jobs: {subject: {Job: id}, one: {path: \"j/{id}\", params: as_lst}}}",
            "\"as_lst\" is not known here (did you mean \"as_list\"?)",
        ),
        ("paging", "{page_number: {param: page}}", "`last` is missing"),
        ("paging", "{page_number: {last: done}}", "`param` is missing"),
        ("paging", "{page_number: {param: page, last: a..b}}", "a path with an empty key"),
        ("rows", "\"a..*\"", "a path with an empty key"),
        ("window", "{after: a}", "`field` is missing"),
        ("window", "{after: a, to: b, field: u}", "unknown key \"to\""),
        ("streams", "{jobs: {subject: {}}}", "no place of a remote id"),
        ("streams", "{jobs: {subject: {Job: id}, paged: maybe}}", "maybe"),
        ("streams", "{jobs: {subject: {Job: id}, repeats: {bytes_but: [a..b]}}}", "a path with an empty key"),
        ("streams", "{jobs: {subject: {Job: id}, repeats: {but: [a]}}}", "\"but\" is not known here"),
        ("streams", "{jobs: {subject: {Job: id}, row: .}}", "`row` without `per`"),
        ("streams", "{jobs: {subject: {Job: id}, each_in: {a: [b]}}}", "`each_in` without `per`"),
        ("streams", "{jobs: {subject: {Job: id}, listed: false}}", "nothing reads jobs"),
        (
            "streams",
            "{jobs: {subject: {Job: id}, listed: false, whole: true, one: {path: \"jobs/{id}\"}}}",
            "`listed: false` beside `window`, `sync` or `whole`",
        ),
        ("auth", "{basic: {}}", "\"basic\" is not known here"),
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
             own: {{per: {{file: files}}, subject: {{Job: id}}}}\n    \
             visits: {{per: {{job: jobs}}, each_in: {{step: [steps.id]}}, path: \"jobs/{{job}}/steps/{{step}}\"}}\n    \
             calls: {{subject: {{Job: id}}, listed: false, one: {{path: calls, param: id}}}}\n"
        );
        Manifest::parse("manifest.yaml", &text).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    assert_eq!(of("{made: {jobs: job.id, notes: job.id, own: file.id, calls: id}}"), "");
    assert_eq!(of("{made: {jobs: {link: self}, visits: {link: self}}}"), "");
    for (fetch, part) in [
        ("{mad: {jobs: id}}", "\"mad\" is no event of `subjects` (did you mean \"made\"?)"),
        ("{made: {job: id}}", "no list \"job\" in `api.streams` (did you mean \"jobs\"?)"),
        ("{made: {tags: id}}", "nothing says how a row of tags is asked for"),
        ("{made: {told: id}}", "told needs its parent's row (`tell`)"),
        ("{made: {parts: id}}", "whom the rows of parts belong to stands in the parent's row"),
        ("{made: {jobs: a..b}}", "a path with an empty key"),
        ("{made: {jobs: {lnk: self}}}", "\"lnk\" is not known here (did you mean \"link\"?)"),
        ("{made: {visits: job.id}}", "visits is asked for by more than one id"),
        ("{made: {notes: {link: self}}}", "a link cannot name what notes is asked for by"),
        ("{made: {calls: {link: self}}}", "a link cannot name what calls is asked for by"),
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
    assert_eq!(of("detail: {per: {job: jobs}, path: \"jobs/{job}\", row: .}"), "");
    assert_eq!(of("all: {subject: {Job: id}, whole: true}, one: {per: {a: all}, row: ., in_common: [state.id]}"), "");
    assert_eq!(
        of("visits: {per: {job: jobs}, each_in: {step: [first.id, steps.id]}, path: \"jobs/{job}/{step}\"}"),
        ""
    );
    for (rest, part) in [
        ("notes: {per: {job: job}}", "no list \"job\" above this one (did you mean \"jobs\"?)"),
        ("notes: {per: {job: later}}, later: {subject: {Job: id}}", "no list \"later\" above this one"),
        ("notes: {per: {}}", "no parameter"),
        ("notes: {per: {a: jobs, b: jobs}}", "a second parameter"),
        ("notes: {per: {a: jobs}, row: ., rows: data}", "both `rows` and `row`"),
        (
            "all: {subject: {Job: id}, whole: true}, one: {per: {a: all}, row: .}",
            "no `in_common`, and the parent's row",
        ),
        ("notes: {per: {a: jobs}, in_common: [a]}", "`in_common` without `row`"),
        ("notes: {per: {a: jobs}, row: ., in_common: [a..b]}", "a path with an empty key"),
        ("notes: {per: {a: jobs}, each_in: {}}", "no parameter"),
        ("notes: {per: {a: jobs}, each_in: {b: []}}", "no place of a value"),
        ("notes: {per: {a: jobs}, each_in: {b: [c..d]}}", "a path with an empty key"),
        ("notes: {per: {a: jobs}, each_in: {b: [c], d: [e]}}", "a second parameter"),
        (
            "one: {subject: {Job: id}, listed: false, one: {path: \"o/{id}\"}}, notes: {per: {a: one}}",
            "`listed: false` itself",
        ),
        ("notes: {per: {a: jobs}, whole: true}", "`per` beside `window`, `sync` or `whole`"),
        ("notes: {per: {a: jobs}, window: {from: a, to: b, field: u}}", "`per` beside `window`, `sync` or `whole`"),
        ("notes: {subject: {Job: id}, tell: {a: b}}", "`tell` without `per`"),
        ("notes: {per: {a: jobs}, tell: {a: b..c}}", "a path with an empty key"),
        ("notes: {per: {a: jobs}, each: {x: [y]}}", "`per` and `each`"),
        ("notes: {per: {a: jobs}, path: \"jobs/{b}/notes\"}", "is not the path of a list"),
        ("notes: {per: {a: jobs}}, deep: {per: {b: notes}}", "has `per`, `each`, `sweep` or `listed: false` itself"),
        (
            "all: {subject: {Job: id}, each: {x: [y]}}, notes: {per: {a: all}}",
            "has `per`, `each`, `sweep` or `listed: false` itself",
        ),
        ("notes: {path: \"jobs/{job}/notes\", subject: {Job: id}}", "is not the path of a list"),
        ("notes: {}", "`subject` is missing"),
    ] {
        let shown = of(rest);
        assert!(shown.contains(part), "{rest}: {shown}");
    }
}

#[test]
fn a_sweep_names_a_list_above_it_and_nothing_else() {
    let of = |rest: &str| of_api("streams", &format!("{{jobs: {{subject: {{Job: id}}}}, {rest}}}"));
    assert_eq!(of("gone: {subject: {Job: id}, sweep: {of: jobs, every: 24h}}"), "");
    for (rest, part) in [
        (
            "gone: {subject: {Job: id}, sweep: {of: job, every: 24h}}",
            "no list \"job\" above this one (did you mean \"jobs\"?)",
        ),
        ("gone: {subject: {Job: id}, sweep: {of: jobs}}", "`every` is missing"),
        ("gone: {subject: {Job: id}, sweep: {of: jobs, every: 0s}}", "a time of nothing"),
        ("gone: {subject: {Job: id}, sweep: {of: jobs, evry: 1h}}", "did you mean \"every\"?"),
        ("gone: {subject: {Job: id}, path: jobs, sweep: {of: jobs, every: 1h}}", "`path` beside `sweep`"),
        ("gone: {subject: {Job: id}, whole: true, sweep: {of: jobs, every: 1h}}", "`whole` beside `sweep`"),
        ("gone: {sweep: {of: jobs, every: 1h}}", "`subject` is missing"),
        (
            "notes: {per: {a: jobs}}, gone: {subject: {Job: id}, sweep: {of: notes, every: 1h}}",
            "has `per`, `each`, `sweep` or `listed: false` itself",
        ),
        (
            "gone: {subject: {Job: id}, sweep: {of: jobs, every: 1h}}, notes: {per: {a: gone}}",
            "`sweep` or `listed: false` itself",
        ),
    ] {
        let shown = of(rest);
        assert!(shown.contains(part), "{rest}: {shown}");
    }
}

#[test]
fn a_mistake_of_a_parents_list_is_told_once() {
    for parents in ["{subject: {Jb: id}}", "{subject: {Job: id}, repeats: often}"] {
        let shown = of_api(
            "streams",
            &format!("{{jobs: {parents}, notes: {{per: {{job: jobs}}, path: \"jobs/{{job}}/notes\"}}}}"),
        );
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    let rest = "per: {job: jobs}, each_in: {step: [a..b]}, path: \"jobs/{job}/{step}\"";
    let shown = of_api("streams", &format!("{{jobs: {{subject: {{Job: id}}}}, visits: {{{rest}}}}}"));
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

#[test]
fn a_window_that_forgets_an_end_is_refused() {
    let text = "vendor: x\napi:\n  base_url: https://x.example\n  auth: {oauth2_client_credentials: {token_url: \"https://x.example/t\", \
                expires_at: e}}\n  paging: {link_cursor: {param: cursor}}\n  window: {param: u, first: \"lte|{to}\", then: \"gt|{from}\", field: u}\n  \
                lag: 5m\n  overlap: 10m\n  streams:\n    a: {subject: {Job: id}}\n";
    let shown = mistakes(text);
    assert!(shown.contains("manifest.yaml:6: `then` does not hold {to}"), "{shown}");
}

/// The mistakes of a webhook with these keys beside the sound ones.
fn of_webhook(keys: &str) -> String {
    let text = format!(
        "vendor: x\nwebhook:\n  signature: {{none: {{}}}}\n  delivery_id: {{header: x}}\n  subjects: {{a: {{Job: id}}}}\n{keys}"
    );
    Manifest::parse("manifest.yaml", &text).err().map(|problems| problems.to_string()).unwrap_or_default()
}

#[test]
fn a_handshake_an_answer_and_an_event_s_header_are_of_closed_sets() {
    assert_eq!(of_webhook("  event: {header: Event-Name}\n  handshake: {echo: X-Hook-Secret}\n  answer: 202\n"), "");
    assert_eq!(of_webhook("  event: {always: made}\n"), "");
    for (keys, part) in [
        ("  event: {headr: Event-Name}\n", "\"headr\" is not known here (did you mean \"header\"?)"),
        ("  event: {header: \"a b\"}\n", "is not the name of a header"),
        ("  event: {always: [made]}\n", "expected"),
        ("  event: {always: made, header: x}\n", "expected"),
        ("  event: e\n  handshake: {ecko: X}\n", "\"ecko\" is not known here (did you mean \"echo\"?)"),
        ("  event: e\n  handshake: {echo: \"a b\"}\n", "is not the name of a header"),
        ("  event: e\n  handshake: yes\n", "expected `kind: {…}`"),
        ("  event: e\n  answer: 203\n", "\"203\" is not known here"),
        ("  event: e\n  answer: 404\n", "\"404\" is not known here"),
    ] {
        let shown = of_webhook(keys);
        assert!(shown.contains(part), "{keys}: {shown}");
    }
}

#[test]
fn an_event_is_named_by_the_body_or_by_a_header_and_a_subject_at_the_first_place_that_has_one() {
    let of = |event: &str| {
        let text = format!(
            "vendor: x\nwebhook:\n  signature: {{none: {{}}}}\n  delivery_id: {{header: x}}\n  \
             subjects: {{made: {{Job: [job_id, id], Candidate: person}}}}\n  event: {event}\n"
        );
        Manifest::parse("manifest.yaml", &text).unwrap()
    };
    let headers = [("event-name".to_owned(), "made".to_owned())];
    assert_eq!(of("{header: Event-Name}").event_of(&headers, b"{\"e\":\"other\"}").as_deref(), Some("made"));
    assert_eq!(of("{header: Event-Name}").event_of(&[], b"{\"e\":\"other\"}"), None);
    assert_eq!(of("e").event_of(&headers, b"{\"e\":\"other\"}").as_deref(), Some("other"));
    assert_eq!(of("{always: made}").event_of(&[], b"{\"e\":\"other\"}").as_deref(), Some("made"));
    let manifest = of("e");
    let subject = &manifest.webhook.as_ref().unwrap().events.subjects["made"];
    let found = |body: &str| subject.find(body.as_bytes()).map(|(record, id)| format!("{record} {id}"));
    assert_eq!(found("{\"id\":1,\"job_id\":2}").as_deref(), Some("Job 2"));
    assert_eq!(found("{\"id\":1,\"person\":3}").as_deref(), Some("Job 1"));
    assert_eq!(found("{\"person\":3}").as_deref(), Some("Candidate 3"));
}

#[test]
fn a_vendor_with_an_address_for_each_customer_says_what_one_looks_like() {
    let of = |base_url: &str| {
        let text = format!(
            "vendor: x\napi:\n  base_url: {base_url}\n  auth: {{basic_api_key: {{}}}}\n  paging: {{link_cursor: {{param: c}}}}\n  \
             lag: 0s\n  overlap: 0s\n  streams: {{jobs: {{subject: {{Job: id}}, whole: true}}}}\n"
        );
        Manifest::parse("manifest.yaml", &text)
    };
    let manifest = of("{per_connection: https://company.x.example/v1}").unwrap();
    assert_eq!(manifest.api.as_ref().unwrap().base_url.example(), Some("https://company.x.example/v1"));
    for (wrong, part) in [
        ("{per_conection: https://x.example}", "did you mean \"per_connection\"?"),
        ("{per_connection: company}", "not a URL"),
        ("http://x.example", "a URL that cannot be used here"),
    ] {
        let shown = of(wrong).unwrap_err().to_string();
        assert!(shown.contains(part), "{wrong}: {shown}");
    }
}
