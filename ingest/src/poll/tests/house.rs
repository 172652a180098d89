//! A vendor of several data centres in a test's own process: tokens that work once, sessions that end, lists by offset, and
//! a queue that hands its events out in numbered batches.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;

use super::serving::{plain, serve};

/// A user's session, a queue, a list of jobs and their history. `HOME` is the house's address.
pub(super) const SESSIONS: &str = r#"
vendor: greenhouse
queue:
  batches:
    path: "events/{queue}"
    params: {max: 2}
    events: events
    number: batch
    param: batch
    last: {path: "events/{queue}/last", number: result}
    make: {params: {names: "Job,Person"}, number: last}
  delivery_id: {field: eventId}
  event: name
  subjects: {Job: {Job: id}, Person: {Candidate: id}}
  fetch: {Job: {jobs: id}}
api:
  base_url: {session: restUrl}
  auth:
    session_login:
      servers: {url: "HOME/loginInfo", user: username, oauth: oauthUrl, login: restUrl, within: vendor.example}
      authorize: authorize
      params: {action: Login}
      token: token
      client: query
      expires_in: expires_in
      login: {path: login, token: access_token, params: {version: "*"}, session: key, header: X-Session}
  paging: {offset: {param: start}}
  rows: data
  first_page: {count: 2}
  window: {after: where, first: all, then: "changed > {from}", field: changed, format: epoch_ms}
  lag: 0s
  overlap: 20s
  streams:
    jobs: {subject: {Job: id}, params: {fields: "id,changed"}, one: {path: "job/{id}", row: [data, .], params: as_list}}
"#;

/// The same list, by a refresh token that a person's consent gave.
pub(super) const REFRESHING: &str = r#"
vendor: greenhouse
api:
  base_url: HOME/rest
  auth: {oauth2_refresh_token: {token_url: "HOME/oauth/token", client: form, expires_in: expires_in}}
  paging: {offset: {param: start}}
  rows: data
  first_page: {count: 2}
  window: {after: where, first: all, then: "changed > {from}", field: changed, format: epoch_ms}
  lag: 0s
  overlap: 20s
  streams: {jobs: {subject: {Job: id}}}
"#;

/// What a request meets, once.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    Status(u16),
    /// What was asked for is done, and the answer is lost.
    Lost,
    /// The right place is elsewhere.
    Moved(String),
}

#[derive(Default)]
pub(super) struct Rooms {
    /// The refresh token that works; `None`: none is given.
    pub(super) refresh: Option<String>,
    pub(super) gives_refresh: bool,
    /// Seconds.
    pub(super) token_life: u64,
    serial: u32,
    /// Requests for a token that were refused.
    pub(super) refused: usize,
    codes: HashSet<String>,
    /// Access tokens that were not used.
    tokens: HashSet<String>,
    pub(super) sessions: HashSet<String>,
    /// A session ends after so many requests.
    pub(super) session_requests: Option<usize>,
    used: HashMap<String, usize>,
    /// Id and time of change in milliseconds.
    pub(super) jobs: Vec<(u64, i64)>,
    pub(super) queue: Option<Queue>,
    /// By the beginning of a request's line.
    pub(super) faults: VecDeque<(&'static str, Fault)>,
    /// Method, path and what of the query is no secret.
    pub(super) requests: Vec<String>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<String>,
    pub(super) handed: BTreeMap<u64, Vec<String>>,
    pub(super) last: u64,
}

#[derive(Clone)]
pub(super) struct House {
    pub(super) rooms: Arc<Mutex<Rooms>>,
    pub(super) address: String,
}

impl House {
    pub(super) async fn open() -> Self {
        let rooms = Rooms { gives_refresh: true, token_life: 600, ..Rooms::default() };
        serve(|address| Self { rooms: Arc::new(Mutex::new(rooms)), address }, answer).await
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Rooms) -> T) -> T {
        change(&mut self.rooms.lock().unwrap())
    }

    pub(super) fn manifest(&self, text: &str) -> String {
        text.replace("HOME", &self.address)
    }

    pub(super) fn fault(&self, at: &'static str, fault: Fault) {
        self.with(|rooms| rooms.faults.push_back((at, fault)));
    }

    /// An event that waits in the queue.
    pub(super) fn event(&self, number: u64, name: &str, id: u64) -> String {
        let body = format!("{{ \"eventId\":\"e-{number}\", \"name\":\"{name}\",\"id\":{id} }}");
        self.with(|rooms| rooms.queue.get_or_insert_default().waiting.push_back(body.clone()));
        body
    }

    pub(super) fn take_requests(&self) -> Vec<String> {
        self.with(|rooms| std::mem::take(&mut rooms.requests))
    }

    /// How many requests so far began so.
    pub(super) fn count(&self, begin: &str) -> usize {
        self.with(|rooms| rooms.requests.iter().filter(|request| request.starts_with(begin)).count())
    }
}

async fn answer(house: House, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 65536).await.unwrap();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let form = String::from_utf8(body.to_vec()).unwrap();
    let url = reqwest::Url::parse(&format!("http://x/?{query}&{form}")).unwrap();
    let params: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let proof = header("x-session").or_else(|| header("authorization"));
    let mut rooms = house.rooms.lock().unwrap();
    let shown: Vec<String> = ["start", "where", "batch", "grant_type", "names"]
        .iter()
        .filter_map(|name| params.get(*name).map(|value| format!("{name}={value}")))
        .collect();
    let line = format!("{} {} {}", parts.method, parts.uri.path(), shown.join(" ")).trim_end().to_owned();
    let fault = match rooms.faults.front() {
        Some((at, _)) if line.starts_with(at) => rooms.faults.pop_front().map(|(_, fault)| fault),
        _ => None,
    };
    rooms.requests.push(line);
    match fault {
        Some(Fault::Status(status)) => return plain(status, "{}"),
        Some(Fault::Moved(to)) => return led(307, &to),
        Some(Fault::Lost) | None => {}
    }
    let good = rooms.answer(&house.address, parts.method.as_str(), parts.uri.path(), &params, proof);
    if matches!(fault, Some(Fault::Lost)) { plain(503, "{}") } else { good }
}

impl Rooms {
    fn answer(
        &mut self,
        home: &str,
        method: &str,
        path: &str,
        params: &BTreeMap<String, String>,
        proof: Option<String>,
    ) -> Response<Body> {
        let is = |name: &str, value: &str| params.get(name).is_some_and(|given| given == value);
        match (method, path) {
            ("GET", "/loginInfo") if is("username", "api.user") => {
                plain(200, format!("{{\"oauthUrl\":\"{home}/oauth\",\"restUrl\":\"{home}/services\"}}"))
            }
            ("GET", "/oauth/authorize") => {
                let known = is("username", "api.user") && is("password", "password") && is("client_id", "client");
                if !known || !is("action", "Login") || !is("response_type", "code") {
                    return plain(200, "<html>a login page</html>");
                }
                let code = self.next("code");
                self.codes.insert(code.clone());
                led(302, &format!("https://elsewhere.example/cb?code={code}&state=x"))
            }
            ("POST", "/oauth/token") => self.token(params),
            ("POST", "/services/login") => {
                // A token opens one session.
                if !params.get("access_token").is_some_and(|token| self.tokens.remove(token)) || !is("version", "*") {
                    return plain(400, "{\"errorMessage\":\"Invalid or expired OAuth access token.\"}");
                }
                let key = self.next("session");
                self.sessions.insert(key.clone());
                plain(200, format!("{{\"key\":\"{key}\",\"restUrl\":\"{home}/rest/\"}}"))
            }
            _ => match self.is_proven(proof.as_deref().unwrap_or_default()) {
                true => self.data(method, path.strip_prefix("/rest/").unwrap_or("none"), params),
                false => plain(401, "{}"),
            },
        }
    }

    fn token(&mut self, params: &BTreeMap<String, String>) -> Response<Body> {
        let given = |name: &str| params.get(name).cloned().unwrap_or_default();
        let client = given("client_id") == "client" && given("client_secret") == "secret";
        let good = match given("grant_type").as_str() {
            "authorization_code" => self.codes.remove(&given("code")),
            "refresh_token" => self.refresh.as_ref() == Some(&given("refresh_token")),
            _ => false,
        };
        if !client || !good {
            self.refused += 1;
            return plain(400, "{\"error\":\"invalid_grant\"}");
        }
        let token = self.next("token");
        self.tokens.insert(token.clone());
        self.refresh = self.gives_refresh.then(|| self.next("refresh"));
        let refresh = self.refresh.as_ref().map(|token| format!(",\"refresh_token\":\"{token}\"")).unwrap_or_default();
        plain(200, format!("{{\"access_token\":\"{token}\",\"expires_in\":{}{refresh}}}", self.token_life))
    }

    fn is_proven(&mut self, proof: &str) -> bool {
        if let Some(token) = proof.strip_prefix("Bearer ") {
            return self.tokens.contains(token);
        }
        let used = self.used.entry(proof.to_owned()).or_default();
        *used += 1;
        if self.session_requests.is_some_and(|most| *used > most) {
            self.sessions.remove(proof);
        }
        self.sessions.contains(proof)
    }

    fn data(&mut self, method: &str, path: &str, params: &BTreeMap<String, String>) -> Response<Body> {
        match (method, path) {
            ("GET", "jobs") => {
                let from = params["where"].strip_prefix("changed > ").map_or(0, |text| text.parse::<i64>().unwrap());
                let start = params.get("start").map_or(0, |text| text.parse().unwrap());
                let mut rows: Vec<_> = self.jobs.iter().filter(|(_, changed)| *changed > from).collect();
                rows.sort_by_key(|(_, changed)| std::cmp::Reverse(*changed));
                let rows: Vec<_> = rows
                    .into_iter()
                    .skip(start)
                    .take(params["count"].parse().unwrap())
                    .map(|(id, changed)| format!("{{\"id\":{id},\"changed\":{changed}}}"))
                    .collect();
                plain(200, format!("{{\"start\":{start},\"data\":[{}]}}", rows.join(",")))
            }
            // The last row as its only answer, without anything around it.
            ("GET", "job/7") => plain(200, "{\"id\":7,\"t\":\"bare\"}"),
            ("GET", "job/8") => plain(200, "{\"data\":{\"id\":8,\"t\":\"inside\"}}"),
            ("PUT", "events/acme") if params.contains_key("names") => {
                let queue = self.queue.get_or_insert_default();
                plain(200, format!("{{\"last\":{}}}", queue.last))
            }
            ("GET", "events/acme/last") => match &self.queue {
                Some(queue) => plain(200, format!("{{\"result\":{}}}", queue.last)),
                None => plain(404, "{}"),
            },
            ("GET", "events/acme") => self.hand_out(params.get("batch").map(|number| number.parse().unwrap())),
            _ => plain(404, "{}"),
        }
    }

    fn hand_out(&mut self, again: Option<u64>) -> Response<Body> {
        let Some(queue) = &mut self.queue else { return plain(404, "{}") };
        let number = again.unwrap_or_else(|| {
            let events: Vec<String> = queue.waiting.drain(..queue.waiting.len().min(2)).collect();
            if events.is_empty() {
                return 0;
            }
            queue.last += 1;
            queue.handed.insert(queue.last, events);
            queue.last
        });
        match queue.handed.get(&number) {
            Some(events) => plain(200, format!("{{\"batch\":{number},\"events\":[{}]}}", events.join(" , "))),
            None if again.is_some() => plain(404, "{}"),
            None => plain(200, ""),
        }
    }

    fn next(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}-{}", self.serial)
    }
}

fn led(status: u16, to: &str) -> Response<Body> {
    let mut response = plain(status, "");
    response.headers_mut().insert("location", to.parse().unwrap());
    response
}
