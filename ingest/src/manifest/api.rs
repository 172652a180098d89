//! The `api:` part of a manifest: what is polled, and how.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hirewire_service::settings::duration_or_zero;
use hirewire_yaml::{Map, Node, Problems, Value};

use super::Rows;
use super::auth::Auth;
use super::graphql::Graphql;
use super::narrow::Narrowed;
use super::soap::Soap;
use super::stream::{Before, Stream};
use super::values::{flag, header, header_value, optional, pairs, path, required_path, required_text, url};
use crate::json::Path;

/// Headers that a request has by itself.
const OWN_HEADERS: [&str; 4] = ["authorization", "content-length", "host", "transfer-encoding"];

/// How the vendor's lists are read.
#[derive(Debug)]
pub struct Api {
    /// A connection may override it.
    pub base_url: BaseUrl,
    /// Sent with each request for a page or a row. Nothing secret.
    pub headers: HeaderMap,
    pub auth: Auth,
    /// Requests are made over TLS with a certificate of the connection's own (RFC 8705, section 2), beside `auth`.
    pub mutual_tls: bool,
    pub send: Send,
    /// For the lists that are asked for so.
    pub soap: Option<Soap>,
    /// The same by GraphQL.
    pub graphql: Option<Graphql>,
    /// How an answer with a good status says that it is none.
    pub errors: Option<Errors>,
    pub paging: Paging,
    /// Where an answer holds its rows.
    pub(crate) rows: Rows,
    pub rate_limit: RateLimit,
    /// Parameters of the first request of every list.
    pub first_page: Vec<(String, String)>,
    /// How far behind the vendor's clock a window ends: lists show a change only after a while.
    pub lag: Duration,
    /// How far a window reaches back into the one before it.
    pub overlap: Duration,
    /// In the order in which they are polled.
    pub streams: Vec<Stream>,
}

/// In front of the lists' paths, without a slash at its end.
#[derive(Debug)]
pub enum BaseUrl {
    Shared(String),
    /// Each customer has one: a connection must name it. Holds what such a one looks like.
    PerConnection(String),
    /// The answer to the login holds it, at this path.
    Session(Path),
}

/// How a request carries its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// GET, in the URL.
    Query,
    /// POST, as an object of JSON.
    JsonBody,
}

/// What an answer with status 200 holds that is a failure.
#[derive(Debug)]
pub struct Errors {
    pub(crate) told: Told,
    /// Texts, lists on the way walked through: the vendor's codes.
    pub(crate) codes: Option<Path>,
    /// Codes of a login that does not work, or not any more.
    pub(crate) login: Vec<String>,
    /// Codes of a limit that is reached.
    pub(crate) limited: Vec<String>,
    /// Codes of a page or a token that the vendor does not know any more.
    pub(crate) expired: Vec<String>,
    /// Codes of a thing that was asked for by its id and is not there.
    pub(crate) gone: Vec<String>,
}

/// How an answer says whether it is one.
#[derive(Debug)]
pub(crate) enum Told {
    /// By a boolean: it is one only if that is true.
    Unless(Path),
    /// By errors: it is one only if there is nothing there, null or an empty list.
    At(Path),
}

/// How the next page is found.
#[derive(Debug)]
pub enum Paging {
    /// A `Link` header with `rel="next"`, whose query parameter `param` is sent alone. The rest of the link is not
    /// followed, so that an answer can never send the token elsewhere.
    LinkCursor { param: String },
    /// A token in the body, sent as `param` with the parameters of the first request.
    NextToken(NextToken),
    /// A URL in the body, whose query parameter `param` is sent with the parameters of the first request. The rest of the
    /// URL is not followed either.
    NextLink(NextLink),
    /// The number of the page, sent as `param` with the parameters of the first request, from 2 on.
    PageNumber(PageNumber),
    /// The rows before the page, counted, sent as `param` with the parameters of the first request. A page without rows is
    /// behind the last one: so it does not matter how many the vendor gives at most.
    Offset { param: String },
}

/// Where an answer says which page follows.
#[derive(Debug)]
pub struct NextToken {
    pub(crate) param: String,
    pub(crate) next: Path,
    /// A boolean: whether a page follows. `None`: one does if the answer names it.
    pub(crate) more: Option<Path>,
    /// The token stands percent-encoded in the body.
    pub(crate) encoded: bool,
}

/// Where an answer has the URL of the page that follows: absent or null on the last one.
#[derive(Debug)]
pub struct NextLink {
    pub(crate) param: String,
    pub(crate) next: Path,
}

/// Pages that are counted.
#[derive(Debug)]
pub struct PageNumber {
    pub(crate) param: String,
    pub(crate) last: LastPage,
}

/// How an answer says whether its page is the last one.
#[derive(Debug)]
pub enum LastPage {
    /// By a boolean.
    Flag(Path),
    /// By the number of pages there are; none, if there are no rows.
    Of(Path),
}

/// Headers that tell how much may still be asked, in lower case.
#[derive(Debug, Default)]
pub struct RateLimit {
    pub remaining: Option<String>,
    /// Seconds since 1970 at which the count starts anew.
    pub reset_epoch: Option<String>,
    /// Seconds until the count starts anew. At most one of the two.
    pub reset_after: Option<String>,
}

impl Api {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let base_url = map.require("base_url", problems).and_then(|node| BaseUrl::read(node, problems));
        let auth = map.require("auth", problems).and_then(|node| Auth::read(node, problems));
        if let (Some(BaseUrl::Session(_)), Some(auth)) = (&base_url, &auth)
            && !matches!(auth, Auth::SessionLogin(_))
        {
            let hint = "only `session_login` has an answer that holds it: write the URL";
            problems.add(node.peek("base_url").unwrap_or(node), "an address that no login tells", hint);
        }
        let headers = fixed_headers(map.get("headers"), auth.as_ref(), problems);
        let mutual_tls = flag(&mut map, "mutual_tls", problems);
        let sends = [("query", Send::Query), ("json_body", Send::JsonBody)];
        let soap = map.get("soap").map(|node| Soap::read(node, problems));
        let graphql = map.get("graphql").map(|node| Graphql::read(node, problems));
        if let (Some(node), None) = (map.get("graphql"), map.get("errors")) {
            let hint = "GraphQL's errors come under 200: write {at: errors, codes: errors.extensions.code}";
            problems.add(node, "`graphql` without `errors`", hint);
        }
        let send = map.get("send").map_or(Some(Send::Query), |node| node.choice(&sends, problems));
        let errors = match map.get("errors") {
            None => Some(None),
            Some(node) => Errors::read(node, problems).map(Some),
        };
        let paging = map.require("paging", problems).and_then(|node| Paging::read(node, problems));
        let rows = map.get("rows").map_or(Some(Rows::List(Path::default())), |node| Rows::read(node, problems));
        let rate_limit = map.get("rate_limit").map_or(Some(RateLimit::default()), |n| RateLimit::read(n, problems));
        let first_page = pairs(map.get("first_page"), problems);
        let shared = (map.get("window"), map.get("sync"));
        let narrowed = match shared {
            (None, None) => None,
            (window, sync) => Some(Narrowed::read(window, sync, problems)),
        };
        let lag = map.require("lag", problems).and_then(|node| duration_or_zero(node, problems));
        let overlap = map.require("overlap", problems).and_then(|node| duration_or_zero(node, problems));
        let streams = map.require("streams", problems).and_then(|node| {
            let mut entries = node.map(problems)?;
            let (mut names, mut streams) = (Vec::new(), Vec::new());
            for (_, name, node) in entries.entries() {
                let soap = soap.as_ref().and_then(Option::as_ref);
                let graphql = graphql.as_ref().and_then(Option::as_ref);
                let before = Before { narrowed: narrowed.as_ref(), names: &names, streams: &streams, soap, graphql };
                let stream = Stream::read(name, node, &before, problems);
                names.push(name);
                streams.push(stream);
            }
            streams.into_iter().collect::<Option<Vec<_>>>()
        });
        map.finish(problems);
        let (soap, graphql) = (optional(soap)?, optional(graphql)?);
        let api = Self {
            base_url: base_url?,
            headers: headers?,
            auth: auth?,
            mutual_tls,
            send: send?,
            soap,
            graphql,
            errors: errors?,
            paging: paging?,
            rows: rows?,
            rate_limit: rate_limit?,
            first_page: first_page?,
            lag: lag?,
            overlap: overlap?,
            streams: streams?,
        };
        for stream in &api.streams {
            let Some(node) = node.peek("streams").and_then(|streams| streams.peek(&stream.name)) else { continue };
            if let (Some(node), Some(request)) = (node.peek("request"), &stream.request) {
                request.check_params(node, &stream.name, &api.sent(stream), problems);
            }
            if let (Some(node), Some(query)) = (node.peek("query"), &stream.query) {
                query.check_variables(node, &stream.name, &api.sent(stream), problems);
            }
            let one = stream.one.as_ref().and_then(|one| Some((one, one.query.as_ref()?)));
            if let (Some(node), Some((one, query))) = (node.peek("one").and_then(|one| one.peek("query")), one) {
                let sent: Vec<&str> = one.params.iter().map(|(name, _)| name.as_str()).chain(["id"]).collect();
                query.check_variables(node, &stream.name, &sent, problems);
            }
        }
        Some(api)
    }

    /// Names of all parameters that requests for a list may have.
    fn sent<'a>(&'a self, stream: &'a Stream) -> Vec<&'a str> {
        let texts = |pairs: &'a [(String, String)]| pairs.iter().map(|(name, _)| name.as_str());
        let mut sent: Vec<&str> = texts(&stream.params).collect();
        if stream.paged {
            sent.extend(texts(&self.first_page));
            sent.push(self.paging.param());
        }
        sent.extend(stream.each.iter().map(|(name, _)| name.as_str()));
        sent.extend(stream.per.iter().map(|per| per.param.as_str()));
        sent.extend(stream.each_in.iter().map(|(name, _)| name.as_str()));
        sent.extend(stream.window.iter().flat_map(|window| window.filter.params()));
        sent.extend(stream.sync.iter().map(|sync| sync.param.as_str()));
        if stream.per.is_none() && stream.request.is_some() {
            sent.extend(self.soap.iter().filter_map(|soap| soap.as_of.as_deref()));
        }
        sent
    }

    /// Whether rows of the list only name something, each of which is read in its place.
    #[must_use]
    pub fn is_thin(&self, stream: &str) -> bool {
        let details = self.streams.iter().filter(|detail| matches!(detail.rows, Some(Rows::One(_))));
        let parents = details.filter_map(|detail| self.streams.get(detail.per.as_ref()?.parent));
        parents.into_iter().any(|parent| parent.name == stream)
    }

    /// Whether other lists are asked for by the list's rows, one by one: then it need tell nothing itself.
    #[must_use]
    pub fn is_parent(&self, stream: &str) -> bool {
        let parents = self.streams.iter().filter_map(|list| self.streams.get(list.per.as_ref()?.parent));
        parents.into_iter().any(|parent| parent.name == stream)
    }

    /// The list whose ids it reads, if it is one of what is gone.
    #[must_use]
    pub fn swept_by(&self, stream: &Stream) -> Option<&Stream> {
        self.streams.get(stream.sweep.as_ref()?.of)
    }

    /// What an answer to a request for this list holds.
    pub(crate) fn rows_of<'a>(&'a self, stream: &'a Stream) -> &'a Rows {
        stream.rows.as_ref().unwrap_or(&self.rows)
    }
}

impl BaseUrl {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return url(node, problems).map(Self::Shared);
        }
        let (kind, value) = node.tagged(&["per_connection", "session"], problems)?;
        if kind == "session" {
            return path(value, problems).map(Self::Session);
        }
        url(value, problems).map(Self::PerConnection)
    }

    /// The URL, or one that looks like it; `None`: nobody knows before the login.
    pub(crate) fn example(&self) -> Option<&str> {
        match self {
            Self::Shared(url) | Self::PerConnection(url) => Some(url),
            Self::Session(_) => None,
        }
    }
}

/// Headers whose values everybody may know: none that a request has by itself, as that of the API key.
fn fixed_headers(node: Option<&Node>, auth: Option<&Auth>, problems: &mut Problems) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(node) = node else { return Some(headers) };
    for (key, _, value) in node.map(problems)?.entries() {
        let name = header(key, problems);
        let (Some(name), Some(value)) = (name, header_value(value, problems)) else { continue };
        let of_auth = auth.and_then(Auth::own_header).is_some_and(|own| *own == name);
        if of_auth || OWN_HEADERS.contains(&name.as_str()) {
            let hint = "leave it out; a key belongs to `auth`, and to a connection's settings";
            problems.add(key, format!("the header {name} is made for each request"), hint);
        }
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) else { continue };
        if headers.insert(name, value).is_some() {
            problems.add(key, "this header a second time", "a request has it once: keep one");
        }
    }
    Some(headers)
}

impl Errors {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let told = match map.get("at") {
            Some(node) => {
                if let Some(unless) = map.get("unless") {
                    problems.add(unless, "both `at` and `unless`", "an answer says it in one way: keep one");
                }
                path(node, problems).map(Told::At)
            }
            None => required_path(&mut map, "unless", problems).map(Told::Unless),
        };
        let codes = match map.get("codes") {
            None => Some(None),
            Some(node) => path(node, problems).map(Some),
        };
        let expired = words(&mut map, "expired", problems);
        let gone = words(&mut map, "gone", problems);
        let (login, limited) = (words(&mut map, "login", problems), words(&mut map, "limited", problems));
        map.finish(problems);
        Some(Self { told: told?, codes: codes?, login: login?, limited: limited?, expired: expired?, gone: gone? })
    }
}

/// Codes, which need a place where they stand.
fn words(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<Vec<String>> {
    let Some(node) = map.get(key) else { return Some(Vec::new()) };
    if map.node().peek("codes").is_none() {
        problems.add(node, format!("`{key}` without `codes`"), "say where the codes stand");
    }
    node.list(problems)?.iter().map(|item| item.name(problems).map(str::to_owned)).collect()
}

impl Paging {
    /// The parameter that says which page is asked for.
    pub(crate) fn param(&self) -> &str {
        match self {
            Self::LinkCursor { param } | Self::Offset { param } => param,
            Self::NextToken(rules) => &rules.param,
            Self::NextLink(rules) => &rules.param,
            Self::PageNumber(rules) => &rules.param,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) =
            node.tagged(&["link_cursor", "next_token", "next_link", "page_number", "offset"], problems)?;
        let mut map = value.map(problems)?;
        let param = required_text(&mut map, "param", problems);
        if kind == "link_cursor" {
            map.finish(problems);
            return Some(Self::LinkCursor { param: param? });
        }
        if kind == "offset" {
            map.finish(problems);
            return Some(Self::Offset { param: param? });
        }
        if kind == "page_number" {
            let last = if map.node().peek("total").is_some() {
                required_path(&mut map, "total", problems).map(LastPage::Of)
            } else {
                required_path(&mut map, "last", problems).map(LastPage::Flag)
            };
            map.finish(problems);
            return Some(Self::PageNumber(PageNumber { param: param?, last: last? }));
        }
        let next = required_path(&mut map, "next", problems);
        if kind == "next_link" {
            map.finish(problems);
            return Some(Self::NextLink(NextLink { param: param?, next: next? }));
        }
        let more = optional(map.get("more").map(|node| path(node, problems)));
        let encoded = flag(&mut map, "encoded", problems);
        map.finish(problems);
        Some(Self::NextToken(NextToken { param: param?, next: next?, more: more?, encoded }))
    }
}

impl RateLimit {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mut name = |key| map.get(key).and_then(|node| header(node, problems));
        let limit =
            Self { remaining: name("remaining"), reset_epoch: name("reset_epoch"), reset_after: name("reset_after") };
        if limit.reset_epoch.is_some() && limit.reset_after.is_some() {
            let hint = "a header holds an instant, or the seconds until then: keep one";
            problems.add(node, "both `reset_epoch` and `reset_after`", hint);
        }
        map.finish(problems);
        Some(limit)
    }
}
