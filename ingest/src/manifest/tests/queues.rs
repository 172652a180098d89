//! Sessions, refresh tokens and queues: what is right, and every mistake.

use super::mistakes;
use crate::manifest::{Auth, BaseUrl, Manifest};

const SESSION: &str = "{session_login: {servers: {url: https://x.example/info, user: u, oauth: a, login: b, within: x.example}, \
                       authorize: authorize, token: token, expires_in: e, login: {path: login, token: t, session: s, header: X-S}}}";

fn api(base_url: &str, auth: &str, queue: &str) -> String {
    format!(
        "vendor: x\n{queue}api:\n  base_url: {base_url}\n  auth: {auth}\n  paging: {{offset: {{param: start}}}}\n  lag: 0s\n  \
         overlap: 0s\n  streams: {{jobs: {{subject: {{Job: id}}, whole: true, one: {{path: \"jobs/{{id}}\"}}}}}}\n"
    )
}

fn of_auth(auth: &str) -> String {
    Manifest::parse("m.yaml", &api("https://x.example", auth, "")).err().map(|p| p.to_string()).unwrap_or_default()
}

#[test]
fn a_session_or_a_refresh_token_says_where_and_how_it_is_asked_for() {
    let read = |base_url: &str, auth: &str| Manifest::parse("m.yaml", &api(base_url, auth, ""));
    let manifest = read("{session: url}", SESSION).unwrap();
    let api_of = manifest.api.as_ref().unwrap();
    assert!(matches!((&api_of.auth, &api_of.base_url), (Auth::SessionLogin(_), BaseUrl::Session(_))));
    assert_eq!(of_auth(SESSION), "", "the address need not be told by the login");
    let refresh = "{oauth2_refresh_token: {token_url: https://x.example/t, expires_in: expires_in, client: form}}";
    assert_eq!(of_auth(refresh), "");
    assert_eq!(
        of_auth("{oauth2_client_credentials: {token_url: https://x.example/t, expires_in: e, client: query}}"),
        ""
    );
    let shown = read("{session: url}", refresh).unwrap_err().to_string();
    assert!(shown.contains("m.yaml:3: an address that no login tells"), "{shown}");
    let shown = read("{sesion: url}", SESSION).unwrap_err().to_string();
    assert!(shown.contains("did you mean \"session\"?"), "{shown}");
    for (auth, part) in [
        ("{oauth2_refresh_token: {expires_in: e}}", "`token_url` is missing"),
        ("{oauth2_refresh_token: {token_url: https://x.example/t}}", "`expires_at` is missing"),
        (
            "{oauth2_refresh_token: {token_url: https://x.example/t, expires_at: a, expires_in: e}}",
            "both `expires_at` and `expires_in`",
        ),
        (
            "{oauth2_refresh_token: {token_url: https://x.example/t, expires_in: e, client: boddy}}",
            "\"boddy\" is not known here",
        ),
        (
            "{oauth2_refresh_token: {token_url: https://x.example/t, expires_in: e, act_as: u}}",
            "unknown key \"act_as\"",
        ),
        ("{oauth2_refresh_tokn: {}}", "did you mean \"oauth2_refresh_token\"?"),
    ] {
        let shown = of_auth(auth);
        assert!(shown.contains(part), "{auth}: {shown}");
    }
    for (good, wrong, part) in [
        ("within: x.example", "within: https://x.example", "is not a domain (write vendor.example"),
        ("within: x.example", "within: example", "is not a domain"),
        (", within: x.example", "", "`within` is missing"),
        ("https://x.example/info", "http://x.example/info", "a URL that cannot be used here"),
        ("user: u, ", "", "`user` is missing"),
        ("oauth: a", "oauth: a..b", "a path with an empty key"),
        ("authorize: authorize", "authorize: /authorize", "is not the path of a list"),
        ("token: token", "token: \"../token\"", "is not the path of a list"),
        ("header: X-S", "header: X S", "is not the name of a header"),
        ("session: s", "sesion: s", "did you mean \"session\"?"),
    ] {
        assert!(SESSION.contains(good), "{good}");
        let shown = of_auth(&SESSION.replacen(good, wrong, 1));
        assert!(shown.contains(part), "{wrong}: {shown}");
    }
    let fixed = format!("{SESSION}\n  headers: {{X-S: a}}");
    assert!(of_auth(&fixed).contains("the header x-s is made for each request"));
}

const QUEUE: &str = "queue:\n  batches: {path: \"q/{queue}\", events: events, number: n, param: n, \
                     last: {path: \"q/{queue}/last\", number: n}, make: {params: {names: a}, number: n}}\n  \
                     delivery_id: {field: id}\n  event: e\n  subjects: {made: {Job: job}}\n  fetch: {made: {jobs: job}}\n";

#[test]
fn a_queue_names_its_batches_and_its_events_are_those_of_webhooks() {
    let of = |queue: &str| mistakes_or_none(&api("https://x.example", "{basic_api_key: {}}", queue));
    assert_eq!(of(QUEUE), "");
    let manifest = Manifest::parse("m.yaml", &api("https://x.example", "{basic_api_key: {}}", QUEUE)).unwrap();
    assert_eq!(manifest.event_of(&[], b"{\"e\":\"made\"}").as_deref(), Some("made"));
    assert_eq!(manifest.events().count(), 1);
    for (good, wrong, part) in [
        ("path: \"q/{queue}\",", "path: q,", "the queue's name stands nowhere (write {queue} as a part of the path)"),
        ("path: \"q/{queue}\",", "path: \"q/{id}\",", "is not the path of a list"),
        ("path: \"q/{queue}/last\"", "path: last", "the queue's name stands nowhere"),
        (", param: n", "", "`param` is missing"),
        (", make: {params: {names: a}, number: n}", "", "`make` is missing"),
        ("events: events", "evnts: events", "did you mean \"events\"?"),
        ("event: e", "event: {header: E}", "an event of a queue has no headers"),
        ("delivery_id: {field: id}", "delivery_id: {header: E}", "an event of a queue has no headers"),
        ("{made: {jobs: job}}", "{made: {job: job}}", "no list \"job\" in `api.streams` (did you mean \"jobs\"?)"),
        ("{made: {jobs: job}}", "{mad: {jobs: job}}", "\"mad\" is no event of `subjects`"),
    ] {
        assert!(QUEUE.contains(good), "{good}");
        let shown = of(&QUEUE.replacen(good, wrong, 1));
        assert!(shown.contains(part), "{wrong}: {shown}");
    }
    let alone = format!("vendor: x\n{}", QUEUE.replace("  fetch: {made: {jobs: job}}\n", ""));
    assert!(mistakes(&alone).contains("a queue without `api`"), "{}", mistakes(&alone));
}

fn mistakes_or_none(text: &str) -> String {
    Manifest::parse("m.yaml", text).err().map(|problems| problems.to_string()).unwrap_or_default()
}
