//! The `api:` part of a manifest: what is polled, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use hirewire_service::settings::duration_or_zero;
use hirewire_yaml::{Map, Node, Problems};

use super::{Subject, header, path, required_path, required_text};
use crate::json::Path;

/// How the vendor's lists are read.
#[derive(Debug)]
pub struct Api {
    /// Without a slash at its end. A connection may override it.
    pub base_url: String,
    pub auth: Auth,
    pub paging: Paging,
    pub rate_limit: RateLimit,
    /// Parameters of the first request of every list.
    pub first_page: Vec<(String, String)>,
    pub window: Window,
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
    pub param: String,
    /// The value of the first window, with `{to}`.
    pub first: String,
    /// The value of each later one, with `{from}` and `{to}`.
    pub then: String,
    /// Where a row says when it changed last.
    pub(crate) field: Path,
}

/// One list.
#[derive(Debug)]
pub struct Stream {
    /// The last part of the list's path; also the name that mappings know.
    pub name: String,
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
        let rate_limit = map.get("rate_limit").map_or(Some(RateLimit::default()), |n| RateLimit::read(n, problems));
        let first_page = pairs(map.get("first_page"), problems);
        let window = map.require("window", problems).and_then(|node| Window::read(node, problems));
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
            rate_limit: rate_limit?,
            first_page: first_page?,
            window: window?,
            lag: lag?,
            overlap: overlap?,
            streams: streams?,
        })
    }
}

impl Auth {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (_, value) = node.tagged(&["oauth2_client_credentials"], problems)?;
        let mut map = value.map(problems)?;
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
        let (_, value) = node.tagged(&["link_cursor"], problems)?;
        let mut map = value.map(problems)?;
        let param = required_text(&mut map, "param", problems);
        map.finish(problems);
        Some(Self::LinkCursor { param: param? })
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
        let param = required_text(&mut map, "param", problems);
        let first = template(&mut map, "first", &["{to}"], problems);
        let then = template(&mut map, "then", &["{from}", "{to}"], problems);
        let field = required_path(&mut map, "field", problems);
        map.finish(problems);
        Some(Self { param: param?, first: first?, then: then?, field: field? })
    }
}

impl Stream {
    fn read(name: &str, node: &Node, window: Option<&Window>, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let subject = map.require("subject", problems).and_then(|node| Subject::read(node, problems));
        let id = map.get("id").map_or_else(|| Path::parse("id"), |node| path(node, problems));
        let params = pairs(map.get("params"), problems);
        let each = match map.get("each") {
            None => Some(None),
            Some(node) => each(node, problems).map(Some),
        };
        let whole = flag(&mut map, "whole", problems);
        let restricted = flag(&mut map, "restricted", problems);
        let known = [("bytes", Repeats::Bytes), ("version", Repeats::Version)];
        let repeats = map.get("repeats").map_or(Some(Repeats::Bytes), |node| node.choice(&known, problems));
        map.finish(problems);
        Some(Self {
            name: name.to_owned(),
            subject: subject?,
            id: id?,
            params: params?,
            each: each?,
            window: if whole { None } else { Some(window?.clone()) },
            restricted,
            repeats: repeats?,
        })
    }
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
