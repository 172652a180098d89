//! One request for one page, and what the vendor's answer means.
//!
//! Lane and page in, [`Page`] out. Keeps the connection's token, its view of the vendor's clock, and the time before
//! which its limit allows no request.

use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use reqwest::{StatusCode, Url};

use super::failure::Failure;
use super::retry;
use super::token::Tokens;
use super::window::Window;
use crate::connection::{Credentials, Poll};
use crate::json;
use crate::manifest::{Api, Auth, Filter, NextToken, Paging, Stream};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole answer, body included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// A larger page is not read: it is a page of a list, not an export.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// The `Date` header has seconds only, and an answer takes a while: less than this is no difference of clocks.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_millis(1500);

/// A page as it came.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) body: Bytes,
    /// The vendor's cursor of the next page.
    pub(super) next: Option<String>,
    pub(super) received_at: Timestamp,
    /// From when on the vendor will not answer this list any more, if it says so.
    pub(super) sunset: Option<Timestamp>,
}

/// The requests of one connection, one at a time.
pub(super) struct Client {
    http: reqwest::Client,
    tokens: Tokens,
    not_before: Option<Instant>,
    /// The vendor's clock minus ours, as far as it is behind ours.
    clock_behind: SignedDuration,
}

impl Client {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // An answer must not send the token elsewhere, nor the environment send it through a stranger.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("hirewire/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, tokens: Tokens::default(), not_before: None, clock_behind: SignedDuration::ZERO })
    }

    /// The vendor's time, or ours if that is earlier.
    pub(super) fn vendor_now(&self) -> Timestamp {
        Timestamp::now().checked_add(self.clock_behind).unwrap_or_else(|_| Timestamp::now())
    }

    /// How long the vendor's limit forbids the next request.
    pub(super) fn limit_wait(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(Instant::now()))
    }

    /// Asks for a page of `window`. A refused token is replaced once.
    pub(super) async fn page(
        &mut self,
        api: &Api,
        poll: &Poll,
        stream: &Stream,
        params: &[(String, String)],
        window: &Window,
    ) -> Result<Page, Failure> {
        let url = page_url(api, poll, stream, params, window).ok_or(Failure::Refused(0))?;
        match self.ask(api, poll, url.clone(), window.page.is_some()).await {
            Err(Failure::Credentials(_)) if self.tokens_were_used() => {
                self.tokens.forget();
                self.ask(api, poll, url, window.page.is_some()).await
            }
            other => other,
        }
    }

    fn tokens_were_used(&self) -> bool {
        self.tokens.is_some()
    }

    async fn ask(&mut self, api: &Api, poll: &Poll, url: Url, cursor: bool) -> Result<Page, Failure> {
        let request = self.http.get(url).header("accept", "application/json");
        let request = match (&api.auth, &poll.credentials) {
            (Auth::Oauth2ClientCredentials(auth), Credentials::Client(client)) => {
                request.bearer_auth(self.tokens.get(&self.http, auth, client).await?)
            }
            (Auth::BasicApiKey, Credentials::ApiKey(key)) => {
                let key = key.text().map_err(|error| Failure::Credentials(error.to_string()))?;
                request.basic_auth(key, None::<&str>)
            }
            // Settings are read by the manifest's kind.
            (Auth::Oauth2ClientCredentials(_) | Auth::BasicApiKey, _) => {
                return Err(Failure::Credentials(
                    "they are of another kind than the vendor's manifest names".to_owned(),
                ));
            }
        };
        let mut response = request.send().await.map_err(|error| Failure::transport(&error))?;
        let received_at = Timestamp::now();
        let (status, headers) = (response.status(), response.headers().clone());
        self.note_clock(&headers, received_at);
        let now = self.vendor_now();
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        if let Some(wait) = retry::limit_wait(&api.rate_limit, &headers, now, limited) {
            self.not_before = Some(Instant::now() + wait);
        }
        match status.as_u16() {
            200 => {}
            429 => {
                return Err(Failure::Limited {
                    wait: retry::retry_after(&headers, now).or(Some(self.limit_wait()).filter(|w| !w.is_zero())),
                });
            }
            401 => return Err(Failure::Credentials("the vendor answered 401".to_owned())),
            403 => return Err(Failure::Forbidden),
            status @ (408 | 425 | 500..) => {
                return Err(Failure::Busy { status, wait: retry::retry_after(&headers, now) });
            }
            status @ (400 | 404 | 410 | 422) if cursor => return Err(Failure::PageGone(status)),
            status => return Err(Failure::Refused(status)),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Failure::transport(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_PAGE_BYTES {
                return Err(Failure::Broken("a page larger than 64 MiB"));
            }
        }
        let next = match &api.paging {
            Paging::LinkCursor { param } => next_cursor(&headers, param),
            Paging::NextToken(rules) => next_token(&body, rules)?,
        };
        Ok(Page { body: body.into(), next, received_at, sunset: retry::sunset(&headers) })
    }

    fn note_clock(&mut self, headers: &HeaderMap, received_at: Timestamp) {
        if let Some(date) = retry::date(headers) {
            let ahead = date.duration_since(received_at);
            self.clock_behind = if ahead < -CLOCK_TOLERANCE { ahead } else { SignedDuration::ZERO };
        }
    }
}

/// The first page by the stream's parameters and the window; a later one by the vendor's cursor, alone or with them.
fn page_url(api: &Api, poll: &Poll, stream: &Stream, params: &[(String, String)], window: &Window) -> Option<Url> {
    let mut url = Url::parse(&format!("{}/{}", poll.base_url, stream.path)).ok()?;
    let param = match &api.paging {
        Paging::LinkCursor { param } => param,
        Paging::NextToken(rules) => &rules.param,
    };
    if let (Paging::LinkCursor { .. }, Some(page)) = (&api.paging, &window.page) {
        url.query_pairs_mut().append_pair(param, page);
        return Some(url);
    }
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(api.first_page.iter().chain(params));
        if let Some(rules) = &stream.window {
            let to = rules.format.write(window.to);
            let from = window.from.map(|from| rules.format.write(from));
            match (&rules.filter, from) {
                (Filter::One { param, first, .. }, None) => query.append_pair(param, &first.replace("{to}", &to)),
                (Filter::One { param, then, .. }, Some(from)) => {
                    query.append_pair(param, &then.replace("{from}", &from).replace("{to}", &to))
                }
                (Filter::Two { to: param, .. }, None) => query.append_pair(param, &to),
                (Filter::Two { from: first, to: second }, Some(from)) => {
                    query.append_pair(first, &from).append_pair(second, &to)
                }
            };
        }
        if let Some(page) = &window.page {
            query.append_pair(param, page);
        }
    }
    Some(url)
}

/// The token of the page that follows, as a parameter's value. An answer that says that a page follows and does not
/// name it is unusable: its list would end too early.
fn next_token(body: &[u8], rules: &NextToken) -> Result<Option<String>, Failure> {
    match (json::truth(body, &rules.more), json::scalar(body, &rules.next)) {
        (Some(false), _) | (None, None) => Ok(None),
        (Some(true), None) => Err(Failure::Broken("a page follows, and the answer does not name it")),
        (Some(true) | None, Some(token)) => Ok(Some(if rules.encoded { decoded(token) } else { token })),
    }
}

/// A percent-encoded text, decoded; one that is surely not encoded stays as it is.
fn decoded(token: String) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte);
    if !token.bytes().all(safe) {
        return token;
    }
    let url = Url::parse(&format!("http://localhost/?t={token}")).ok();
    url.and_then(|url| url.query_pairs().next().map(|(_, value)| value.into_owned())).unwrap_or(token)
}

/// `param` of the link with `rel="next"` (RFC 8288).
fn next_cursor(headers: &HeaderMap, param: &str) -> Option<String> {
    let links = headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
    let target = links.flat_map(split_links).find_map(|(target, relations)| {
        relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next")).then_some(target)
    })?;
    // The link may be relative; only its query counts.
    let (_, query) = target.split_once('?')?;
    let query = query.split('#').next()?;
    let base = Url::parse(&format!("http://localhost/?{query}")).ok()?;
    base.query_pairs().find(|(name, _)| name == param).map(|(_, value)| value.into_owned()).filter(|v| !v.is_empty())
}

/// Target and `rel` of each link of a `Link` header.
fn split_links(header: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        // Parameters go on to the '<' of the next link; a quoted one may hold a comma, never a '<' in practice.
        let (params, _) = after.split_once('<').unwrap_or((after, ""));
        for param in params.split([';', ',']) {
            if let Some((name, value)) = param.split_once('=')
                && name.trim().eq_ignore_ascii_case("rel")
            {
                links.push((target, value.trim().trim_matches('"')));
            }
        }
        rest = after;
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([("link".parse().unwrap(), link.parse().unwrap())]);
        next_cursor(&headers, "cursor")
    }

    #[test]
    fn the_next_token_is_decoded_once_and_a_list_never_ends_by_a_missing_one() {
        let path = |text| json::Path::parse(text).unwrap();
        let rules =
            |encoded| NextToken { param: "offset".to_owned(), next: path("next"), more: path("hasNext"), encoded };
        let next = |body: &str| next_token(body.as_bytes(), &rules(true));
        let encoded = "{\"data\":[],\"hasNext\":true,\"next\":\"%5B3%2C1491%2C%22a%22%5D\"}";
        assert_eq!(next(encoded), Ok(Some("[3,1491,\"a\"]".to_owned())));
        assert_eq!(next_token(encoded.as_bytes(), &rules(false)), Ok(Some("%5B3%2C1491%2C%22a%22%5D".to_owned())));
        assert_eq!(
            next("{\"hasNext\":true,\"next\":\"0.1414895548650.a6070140-33db\"}"),
            Ok(Some("0.1414895548650.a6070140-33db".to_owned()))
        );
        assert_eq!(
            next("{\"hasNext\":true,\"next\":\"a&b=100%\"}"),
            Ok(Some("a&b=100%".to_owned())),
            "surely not encoded"
        );
        assert_eq!(next("{\"hasNext\":false,\"next\":\"left over\"}"), Ok(None));
        assert_eq!(next("{\"data\":[]}"), Ok(None));
        assert_eq!(next("{\"next\":\"n\"}"), Ok(Some("n".to_owned())));
        for body in ["{\"hasNext\":true}", "{\"hasNext\":true,\"next\":null}", "{\"hasNext\":true,\"next\":\"\"}"] {
            assert!(matches!(next(body), Err(Failure::Broken(_))), "{body}");
        }
    }

    #[test]
    fn the_cursor_of_the_next_link_is_found_and_of_no_other() {
        assert_eq!(next("<https://x.example/v3/a?cursor=abc>; rel=\"next\"").unwrap(), "abc");
        assert_eq!(
            next("<https://x.example/a?cursor=z>; rel=\"prev\", </a?q=1,2&cursor=a%2Bb%3D>; rel=next").unwrap(),
            "a+b="
        );
        assert_eq!(next("<https://x.example/a?cursor=abc>; title=\"t\"; rel=\"last next\"").unwrap(), "abc");
        for none in [
            "<https://x.example/a?page=1>; rel=\"last\"",
            "<https://x.example/a?page=2>; rel=\"next\"",
            "<https://x.example/a?cursor=>; rel=next",
            "nonsense",
            "<",
        ] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
