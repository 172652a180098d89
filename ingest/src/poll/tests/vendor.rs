//! A vendor in a test's own process: tokens, lists with windows and cursors, and faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};

use super::serving::{plain, serve};

/// What a request to a list meets, once.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// This status with these headers, and an error body.
    Status(u16, Vec<(&'static str, String)>),
    /// 200 with less of the body than there is, said to be whole.
    CutBody,
    /// The connection closes before the body that was announced is there.
    CutConnection,
    /// 200 with this body.
    Body(&'static str),
    /// The next link names the page that was asked for.
    Circle,
    /// Nothing: this request is answered as it should be.
    None,
}

/// A body that breaks off, and the connection with it.
struct Broken(Option<Bytes>);

impl hyper::body::Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(self.0.take().map(Frame::data).ok_or_else(|| std::io::Error::other("broken off"))))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) body: String,
}

#[derive(Default)]
pub(super) struct Account {
    pub(super) lists: BTreeMap<String, Vec<Row>>,
    pub(super) faults: VecDeque<Fault>,
    /// Faults of one list for ever.
    pub(super) broken: BTreeMap<String, Fault>,
    pub(super) per_page: usize,
    /// Lists that give all rows whatever the window.
    pub(super) unfiltered: Vec<String>,
    /// Path and query of each request to a list.
    pub(super) requests: Vec<String>,
    pub(super) tokens: u32,
    /// Only this token is good; `None`: no new one is given either.
    pub(super) good_token: Option<u32>,
    /// Added to the vendor's clock, in `Date` and in nothing else.
    pub(super) clock: SignedDuration,
    pub(super) headers: Vec<(&'static str, String)>,
    /// Page cursors of other generations are not known any more.
    pub(super) generation: u32,
    pub(super) token_life: SignedDuration,
}

#[derive(Clone, Default)]
pub(super) struct Vendor {
    pub(super) account: Arc<Mutex<Account>>,
    pub(super) address: String,
}

impl Vendor {
    pub(super) async fn start() -> Self {
        let account = Account {
            per_page: 3,
            good_token: Some(1),
            token_life: SignedDuration::from_hours(1),
            ..Account::default()
        };
        serve(|address| Self { account: Arc::new(Mutex::new(account)), address }, answer).await
    }

    /// Changes what the vendor has or does.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.account.lock().unwrap())
    }

    /// Puts a row in a list, in place of the one with its id.
    pub(super) fn put(&self, list: &str, id: u64, updated: Timestamp) -> String {
        let body = format!("{{ \"id\":{id}, \"job_id\" : 7,\"updated_at\":\"{updated}\",\"t\":\"\\u003c]\\\"\" }}");
        self.with(|account| {
            let rows = account.lists.entry(list.to_owned()).or_default();
            let created = rows.iter().find(|row| row.id == id).map_or(updated, |row| row.created);
            let row = Row { id, created, updated, body: body.clone() };
            rows.retain(|row| row.id != id);
            rows.push(row);
        });
        body
    }

    pub(super) fn fault(&self, faults: impl IntoIterator<Item = Fault>) {
        self.with(|account| account.faults.extend(faults));
    }

    pub(super) fn take_requests(&self) -> Vec<String> {
        self.with(|account| std::mem::take(&mut account.requests))
    }
}

async fn answer(vendor: Vendor, request: Request) -> Response<Body> {
    let mut account = vendor.account.lock().unwrap();
    let mut response = if request.uri().path() == "/token" {
        token(&mut account, &request)
    } else {
        list(&mut account, &vendor.address, &request)
    };
    let date = Timestamp::now().checked_add(account.clock).unwrap();
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    response.headers_mut().insert("date", date.parse().unwrap());
    for (name, value) in &account.headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

fn token(account: &mut Account, request: &Request) -> Response<Body> {
    let expected = format!("Basic {}", BASE64.encode("client:password"));
    let proven = request.headers().get("authorization").is_some_and(|value| *value == expected);
    if !proven || account.good_token.is_none() {
        return plain(401, "{\"error\":\"invalid_client\"}");
    }
    account.tokens += 1;
    account.good_token = Some(account.tokens);
    let ends = Timestamp::now().checked_add(account.clock).unwrap().checked_add(account.token_life).unwrap();
    plain(
        200,
        format!("{{\"access_token\":\"t{}\",\"token_type\":\"Bearer\",\"expires_at\":\"{ends}\"}}", account.tokens),
    )
}

fn list(account: &mut Account, address: &str, request: &Request) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let list = request.uri().path().trim_start_matches("/v3/").to_owned();
    account.requests.push(format!("{list}?{query}"));
    let token = account.good_token.map(|token| format!("Bearer t{token}"));
    if request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned) != token {
        return plain(401, "{}");
    }
    let fault = account.broken.get(&list).cloned().or_else(|| account.faults.pop_front()).unwrap_or(Fault::None);
    match &fault {
        Fault::Status(status, headers) => {
            let mut response = plain(*status, "{\"errors\":[\"a fault\"]}");
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            return response;
        }
        Fault::Body(body) => return plain(200, *body),
        Fault::CutBody | Fault::CutConnection | Fault::Circle | Fault::None => {}
    }
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
    let params: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    // A page cursor is the generation, the windows and the last id given.
    let (window, created, below) = match params.get("cursor") {
        Some(_) if params.len() > 1 => {
            return plain(422, "{\"errors\":[\"When passing a cursor, do not include other query params.\"]}");
        }
        Some(cursor) => {
            let parts: Vec<&str> = cursor.split('~').collect();
            if parts[0] != account.generation.to_string() {
                return plain(422, "{\"errors\":[\"unknown cursor\"]}");
            }
            (parts[1].to_owned(), parts[2].to_owned(), parts[3].parse().unwrap())
        }
        None => {
            let window = |name| params.get(name).cloned().unwrap_or_default();
            (window("updated_at"), window("created_at"), u64::MAX)
        }
    };
    let unfiltered = account.unfiltered.contains(&list);
    let mut rows: Vec<Row> = account.lists.get(&list).cloned().unwrap_or_default();
    rows.retain(|row| row.id < below && (unfiltered || (holds(&window, row.updated) && holds(&created, row.created))));
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    let more = rows.len() > account.per_page;
    rows.truncate(account.per_page);
    let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    let mut body = format!("[{}]\n", bodies.join(" ,\n"));
    if matches!(fault, Fault::CutBody) {
        body.truncate(body.len() - 4);
    }
    let mut response = match fault {
        Fault::CutConnection => Response::new(Body::new(Broken(Some(body.into())))),
        _ => plain(200, body),
    };
    let next = match fault {
        Fault::Circle => params.get("cursor").cloned().or(Some("round".into())),
        _ if more => Some(format!("{}~{window}~{created}~{}", account.generation, rows.last().unwrap().id)),
        _ => None,
    };
    if let Some(next) = next {
        let mut link = reqwest::Url::parse(&format!("{address}/v3/{list}")).unwrap();
        link.query_pairs_mut().append_pair("cursor", &next);
        response.headers_mut().insert("link", format!("<{link}>; rel=\"next\"").parse().unwrap());
    }
    response
}

/// `gt|<instant>|lte|<instant>`, or one of the two.
fn holds(window: &str, at: Timestamp) -> bool {
    let parts: Vec<&str> = window.split('|').collect();
    parts.chunks(2).filter(|pair| pair.len() == 2).all(|pair| {
        let end: Timestamp = pair[1].parse().unwrap();
        match pair[0] {
            "gt" => at > end,
            "lte" => at <= end,
            other => panic!("{other}"),
        }
    })
}
