//! The `api:` part of a manifest: what is polled, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use hirewire_service::settings::duration_or_zero;
use hirewire_yaml::{Map, Node, Problems};
use jiff::Timestamp;

use super::{Subject, header, path, required_path, required_text};
use crate::json::Path;

/// How the vendor's lists are read.
#[derive(Debug)]
pub struct Api {
    /// Without a slash at its end. A connection may override it.
    pub base_url: String,
    pub auth: Auth,
    pub paging: Paging,
    /// Where an answer holds its rows; the root, if the answer is the list.
    pub(crate) rows: Path,
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

/// How a request proves who asks.
#[derive(Debug)]
pub enum Auth {
    Oauth2ClientCredentials(ClientCredentials),
    /// An API key as the user of HTTP Basic, without a password.
    BasicApiKey,
}

/// RFC 6749 section 4.4, client id and secret by HTTP Basic.
#[derive(Debug)]
pub struct ClientCredentials {
    pub token_url: String,
    /// Where the answer says until when the token is good, as an RFC 3339 instant.
    pub(crate) expires_at: Path,
    /// The parameter that names a user to act as, where the vendor has one.
    pub act_as: Option<String>,
}

/// How the next page is found.
#[derive(Debug)]
pub enum Paging {
    /// A `Link` header with `rel="next"`, whose query parameter `param` is sent alone. The rest of the link is not
    /// followed, so that an answer can never send the token elsewhere.
    LinkCursor { param: String },
    /// A token in the body, sent as `param` with the parameters of the first request.
    NextToken(NextToken),
}

/// Where an answer says which page follows.
#[derive(Debug)]
pub struct NextToken {
    pub(crate) param: String,
    pub(crate) next: Path,
    /// A boolean: whether a page follows.
    pub(crate) more: Path,
    /// The token stands percent-encoded in the body.
    pub(crate) encoded: bool,
}

/// Headers that tell how much may still be asked, in lower case.
#[derive(Debug, Default)]
pub struct RateLimit {
    pub remaining: Option<String>,
    /// Seconds since 1970 at which the count starts anew.
    pub reset_epoch: Option<String>,
}

/// How a list is narrowed to what changed in `(from, to]`.
#[derive(Debug, Clone)]
pub struct Window {
    pub filter: Filter,
    /// Where a row says when it changed last.
    pub(crate) field: Path,
    /// Of instants, in the filter and in `field`.
    pub format: TimeFormat,
}

/// The parameters that a window becomes.
#[derive(Debug, Clone)]
pub enum Filter {
    /// One parameter for both ends.
    One {
        param: String,
        /// The value of the first window, with `{to}`.
        first: String,
        /// The value of each later one, with `{from}` and `{to}`.
        then: String,
    },
    /// A parameter for each end. The first window has only the later one.
    Two { from: String, to: String },
}

/// How an instant is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    Rfc3339,
    /// Milliseconds since 1970.
    EpochMs,
}

impl TimeFormat {
    pub(crate) fn write(self, instant: Timestamp) -> String {
        match self {
            Self::Rfc3339 => instant.to_string(),
            Self::EpochMs => instant.as_millisecond().to_string(),
        }
    }

    pub(crate) fn read(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Rfc3339 => text.parse().ok(),
            Self::EpochMs => Timestamp::from_millisecond(text.parse().ok()?).ok(),
        }
    }
}

/// One list.
#[derive(Debug)]
pub struct Stream {
    /// The name that mappings know.
    pub name: String,
    /// Behind the base URL.
    pub path: String,
    pub subject: Subject,
    /// Where a row holds its own id.
    pub(crate) id: Path,
    /// Further parameters of the first request, told to the mapping as well.
    pub params: Vec<(String, String)>,
    /// Parameters of which each value is a list of its own, with its own cursor.
    pub each: Option<(String, Vec<String>)>,
    /// `None`: the list has no filter and is read whole each time.
    pub window: Option<Window>,
    /// Rows may carry answers about a person's demographics.
    pub restricted: bool,
    pub repeats: Repeats,
}

/// What makes a row that overlap shows again a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// The same bytes.
    Bytes,
    /// The same id and time of change: the bytes hold something that is new in every answer, as a signed URL.
    Version,
}

impl Api {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let base_url = map.require("base_url", problems).and_then(|node| url(node, problems));
        let auth = map.require("auth", problems).and_then(|node| Auth::read(node, problems));
        let paging = map.require("paging", problems).and_then(|node| Paging::read(node, problems));
        let rows = map.get("rows").map_or_else(|| Some(Path::default()), |node| path(node, problems));
        let rate_limit = map.get("rate_limit").map_or(Some(RateLimit::default()), |n| RateLimit::read(n, problems));
        let first_page = pairs(map.get("first_page"), problems);
        let window = map.get("window").map(|node| Window::read(node, problems));
        let lag = map.require("lag", problems).and_then(|node| duration_or_zero(node, problems));
        let overlap = map.require("overlap", problems).and_then(|node| duration_or_zero(node, problems));
        let streams = map.require("streams", problems).and_then(|node| {
            let mut entries = node.map(problems)?;
            let read = |(_, name, node)| Stream::read(name, node, window.as_ref(), problems);
            entries.entries().map(read).collect::<Option<Vec<_>>>()
        });
        map.finish(problems);
        Some(Self {
            base_url: base_url?,
            auth: auth?,
            paging: paging?,
            rows: rows?,
            rate_limit: rate_limit?,
            first_page: first_page?,
            lag: lag?,
            overlap: overlap?,
            streams: streams?,
        })
    }
}

impl Auth {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) = node.tagged(&["oauth2_client_credentials", "basic_api_key"], problems)?;
        let mut map = value.map(problems)?;
        if kind == "basic_api_key" {
            map.finish(problems);
            return Some(Self::BasicApiKey);
        }
        let token_url = map.require("token_url", problems).and_then(|node| url(node, problems));
        let expires_at = required_path(&mut map, "expires_at", problems);
        let act_as = map.get("act_as").and_then(|node| node.text(problems)).map(str::to_owned);
        map.finish(problems);
        Some(Self::Oauth2ClientCredentials(ClientCredentials {
            token_url: token_url?,
            expires_at: expires_at?,
            act_as,
        }))
    }
}

impl Paging {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) = node.tagged(&["link_cursor", "next_token"], problems)?;
        let mut map = value.map(problems)?;
        let param = required_text(&mut map, "param", problems);
        if kind == "link_cursor" {
            map.finish(problems);
            return Some(Self::LinkCursor { param: param? });
        }
        let next = required_path(&mut map, "next", problems);
        let more = required_path(&mut map, "more", problems);
        let encoded = flag(&mut map, "encoded", problems);
        map.finish(problems);
        Some(Self::NextToken(NextToken { param: param?, next: next?, more: more?, encoded }))
    }
}

impl RateLimit {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let mut name = |key| map.get(key).and_then(|node| header(node, problems));
        let limit = Self { remaining: name("remaining"), reset_epoch: name("reset_epoch") };
        map.finish(problems);
        Some(limit)
    }
}

impl Window {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let filter = if node.peek("from").is_some() || node.peek("to").is_some() {
            let from = required_text(&mut map, "from", problems);
            let to = required_text(&mut map, "to", problems);
            from.zip(to).map(|(from, to)| Filter::Two { from, to })
        } else {
            let param = required_text(&mut map, "param", problems);
            let first = template(&mut map, "first", &["{to}"], problems);
            let then = template(&mut map, "then", &["{from}", "{to}"], problems);
            param.zip(first).zip(then).map(|((param, first), then)| Filter::One { param, first, then })
        };
        let field = required_path(&mut map, "field", problems);
        let formats = [("rfc3339", TimeFormat::Rfc3339), ("epoch_ms", TimeFormat::EpochMs)];
        let format = map.get("format").map_or(Some(TimeFormat::Rfc3339), |node| node.choice(&formats, problems));
        map.finish(problems);
        Some(Self { filter: filter?, field: field?, format: format? })
    }
}

impl Stream {
    /// `shared` is the window of all lists that have none of their own.
    fn read(name: &str, node: &Node, shared: Option<&Option<Window>>, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let at = map.get("path").map_or(Some(name), |node| list_path(node, problems));
        let subject = map.require("subject", problems).and_then(|node| Subject::read(node, problems));
        let id = map.get("id").map_or_else(|| Path::parse("id"), |node| path(node, problems));
        let params = pairs(map.get("params"), problems);
        let each = match map.get("each") {
            None => Some(None),
            Some(node) => each(node, problems).map(Some),
        };
        let whole = flag(&mut map, "whole", problems);
        let window = match (map.get("window"), shared, whole) {
            (None, _, true) => Some(None),
            (Some(own), _, false) => Window::read(own, problems).map(Some),
            // Its mistakes were told.
            (None, Some(shared), false) => shared.clone().map(Some),
            (None, None, false) => {
                problems.add(
                    node,
                    format!("no `window` for the list {name}"),
                    "add one here or to `api`, or `whole: true`",
                );
                None
            }
            (Some(own), _, true) => {
                problems.add(own, "`window` and `whole: true`", "a list is narrowed, or read whole: keep one");
                None
            }
        };
        let restricted = flag(&mut map, "restricted", problems);
        let known = [("bytes", Repeats::Bytes), ("version", Repeats::Version)];
        let repeats = map.get("repeats").map_or(Some(Repeats::Bytes), |node| node.choice(&known, problems));
        map.finish(problems);
        Some(Self {
            name: name.to_owned(),
            path: at?.to_owned(),
            subject: subject?,
            id: id?,
            params: params?,
            each: each?,
            window: window?,
            restricted,
            repeats: repeats?,
        })
    }
}

/// `opportunities/deleted`: a path behind the base URL that cannot lead elsewhere.
fn list_path<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a str> {
    let text = node.text(problems)?;
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
    };
    if !text.split('/').all(plain) {
        problems.add(node, format!("\"{text}\" is not the path of a list"), "write a/b, without slashes at its ends");
        return None;
    }
    Some(text)
}

fn flag(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> bool {
    map.get(key).and_then(|node| node.boolean(problems)).unwrap_or(false)
}

/// `{active: [true, false]}`: one parameter and its values.
fn each(node: &Node, problems: &mut Problems) -> Option<(String, Vec<String>)> {
    let mut map = node.map(problems)?;
    let mut entries = map.entries();
    let Some((_, name, values)) = entries.next() else {
        problems.add(node, "no parameter", "write for example {active: [true, false]}");
        return None;
    };
    if let Some((key, _, _)) = entries.next() {
        problems.add(key, "a second parameter", "only one can be walked through");
    }
    let values: Vec<String> =
        values.list(problems)?.iter().filter_map(|value| value.text(problems).map(str::to_owned)).collect();
    Some((name.to_owned(), values))
}

fn pairs(node: Option<&Node>, problems: &mut Problems) -> Option<Vec<(String, String)>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let mut map = node.map(problems)?;
    let pairs: BTreeMap<String, String> = map
        .entries()
        .filter_map(|(_, name, value)| Some((name.to_owned(), value.text(problems)?.to_owned())))
        .collect();
    Some(pairs.into_iter().collect())
}

fn template(map: &mut Map<'_>, key: &'static str, holds: &[&str], problems: &mut Problems) -> Option<String> {
    let node = map.require(key, problems)?;
    let text = node.text(problems)?;
    for part in holds {
        if !text.contains(part) {
            let hint = "a window has two ends; without one it reads too much or too little";
            problems.add(node, format!("`{key}` does not hold {part}"), hint);
        }
    }
    Some(text.to_owned())
}

/// An `https` address, without a slash at its end. `http` only on this machine: a token must not travel in the clear.
pub(crate) fn url(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    let Ok(parsed) = reqwest::Url::parse(text) else {
        problems.add(node, "not a URL", "write https://host/path");
        return None;
    };
    let here = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let usable = parsed.scheme() == "https" || (parsed.scheme() == "http" && here);
    if !usable || parsed.port() == Some(0) || parsed.query().is_some() || !parsed.username().is_empty() {
        let hint = "https, or http to this machine; without user name and query";
        problems.add(node, "a URL that cannot be used here", hint);
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}
