//! One request in, the vendor's answer out: is it proven, which list is it of, does it meet a fault, what is its page?

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::account::Account;
use super::body::{insert, scalar};
use super::fault::{Fault, When};
use super::graphql;
use super::page::{Page, Params, is_later, page};
use super::queue;
use super::xml as soap;
use super::{CLIENT, KEY, State};
use crate::clock::iso_ms;
use crate::http::{self, json, query_pairs, text, truncated};
use crate::rules::{Auth, Next, Refusal, Rules, Send, Stream, Token};

const MAX_BODY: usize = 1024 * 1024;
const JSON: &str = "application/json";
const XML: &str = "text/xml;charset=UTF-8";

pub(super) async fn answer(Shared(state): Shared<Arc<State>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let mut soap = state.rules.soap.as_ref().and_then(|soap| soap::Request::read(soap, &body));
    let place = state.rules.graphql.as_ref().map(|by| format!("{}/{}", state.rules.base_path, by.path));
    let mut graphql = place.filter(|place| place == parts.uri.path()).map(|_| graphql::Request::read(&body));
    let asked = Asked {
        method: parts.method,
        path: match &graphql {
            Some(Ok(request)) => format!("{}/{}", state.rules.base_path, request.path),
            Some(Err(_)) | None => parts.uri.path().to_owned(),
        },
        params: match (&mut soap, state.rules.send) {
            _ if graphql.is_some() => graphql
                .as_mut()
                .and_then(|read| read.as_mut().ok())
                .map(|by| std::mem::take(&mut by.params))
                .unwrap_or_default(),
            (Some(request), _) => std::mem::take(&mut request.params),
            (None, Send::Query) => {
                let form = text(&parts.headers, "content-type") == Some("application/x-www-form-urlencoded");
                let form = String::from_utf8_lossy(if form { &body } else { &[] });
                [query_pairs(parts.uri.query().unwrap_or_default()), query_pairs(&form)].concat()
            }
            (None, Send::JsonBody) => fields(&body),
        },
        headers: parts.headers,
        soap,
        graphql,
    };
    let (mut response, now) = state.with(|account| (asked.answer(&state, account), account.now()));
    let date = Timestamp::from_millisecond(now).unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S GMT");
    if let Ok(date) = HeaderValue::from_str(&date.to_string()) {
        response.headers_mut().insert("date", date);
    }
    response
}

/// The members of a JSON object as parameters.
fn fields(body: &[u8]) -> Params {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return Params::new() };
    let text = |value: &Value| scalar(value).unwrap_or_else(|| value.to_string());
    members.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

struct Asked {
    method: Method,
    path: String,
    params: Params,
    headers: HeaderMap,
    /// `None`: it is no request by SOAP.
    soap: Option<soap::Request>,
    /// `None`: nor one by GraphQL; else what it asks for, or the code of the error that it is.
    graphql: Option<Result<graphql::Request, &'static str>>,
}

impl Asked {
    fn answer(&self, state: &State, account: &mut Account) -> Response {
        let rules = &*state.rules;
        if let Some(token) = rules.token().filter(|token| token.path == self.path) {
            return self.give_token(token, account);
        }
        if let Auth::SessionLogin(login) = &rules.auth {
            let base_url = format!("{}{}/", state.origin, rules.base_path);
            if let Some(answer) = account.logins.answer(login, &self.path, &self.params, &base_url) {
                return answer;
            }
        }
        account.asked.push(std::time::Instant::now());
        if !self.is_proven(&rules.auth, account) {
            return match (rules.soap.as_ref().filter(|_| self.soap.is_some()), &rules.graphql) {
                (Some(soap), _) => soap_fault(&soap.login),
                (None, Some(graphql)) => json(200, &[], graphql::refused(&graphql.login)),
                (None, None) => json(401, &[], "{\"errors\":[\"unauthorized\"]}".to_owned()),
            };
        }
        match (&rules.graphql, &self.graphql) {
            (Some(_), None) => return json(404, &[], "{}".to_owned()),
            (Some(_), Some(Err(code))) => return json(200, &[], graphql::refused(code)),
            (Some(_), Some(Ok(_))) | (None, _) => {}
        }
        if let Some(answer) = self.of_the_queue(rules, account) {
            return answer;
        }
        let body = self.soap.is_some() || self.graphql.is_some() || rules.send == Send::JsonBody;
        if self.method != if body { Method::POST } else { Method::GET } {
            return json(405, &[], String::new());
        }
        if (rules.send == Send::JsonBody || self.graphql.is_some())
            && self.soap.is_none()
            && text(&self.headers, "content-type") != Some("application/json")
        {
            return json(415, &[], String::new());
        }
        if let Some((_, status)) = rules.required_headers.iter().find(|(name, _)| !self.headers.contains_key(*name)) {
            return json(*status, &[], "{\"errors\":[\"a header is missing\"]}".to_owned());
        }
        let Some(target) = self.target(rules) else { return json(404, &[], "{}".to_owned()) };
        if rules.required_params.iter().any(|name| self.param(name).is_none()) {
            return json(400, &[], "{\"errors\":[\"a parameter is missing\"]}".to_owned());
        }
        if self.soap.as_ref().is_some_and(|request| !request.ordered) {
            return soap_fault("Client.validationError");
        }
        let later = is_later(rules, &self.params);
        let fault = account.meet(if later { When::LaterPage } else { When::FirstPage });
        if let Some(refusal) = self.refusing(rules, fault.as_ref()) {
            return refusal;
        }
        let (streams, owner) = match target {
            Target::Row(streams, id) => {
                let found = streams.iter().find_map(|stream| Some((stream, account.one(&stream.name, &id)?)));
                let Some((stream, version)) = found else {
                    return match &self.graphql {
                        Some(_) => told(JSON, &[], self.by_graphql(account, None, None, &Value::Null), None),
                        None => json(404, &[], "{}".to_owned()),
                    };
                };
                let place = stream.by_id.as_ref().and_then(|by_id| by_id.row.as_deref());
                let body = around(place, version.value.clone());
                let body = self.by_graphql(account, Some(stream), place, &body);
                if fault.is_none() {
                    account.was_read(&streams, &id);
                }
                return told(JSON, &[], body, fault.as_ref());
            }
            Target::Lists(streams, owner) => (streams, owner),
        };
        let Some(stream) = streams.first() else { return json(404, &[], "{}".to_owned()) };
        if let Some(of) = stream.owner.as_ref().filter(|of| !account.has_lists_of(of, &owner)) {
            return refused(rules, &Refusal { status: 404, error: of.gone.clone() });
        }
        if account.served > account.most {
            return json(503, &[], "{}".to_owned());
        }
        match page(rules, account, &streams, &owner, &self.params) {
            Ok(page) => {
                account.served += page.rows.len() as u64;
                account.page_was_given(page.next.is_some());
                if let Some(id) = owner.first().filter(|_| fault.is_none()) {
                    account.was_read(&streams, id);
                }
                account.heard(&streams, !later, page.next.is_none() && fault.is_none(), &self.params);
                self.give(state, account, stream, page, fault)
            }
            Err(_) if self.soap.is_some() => soap_fault("Client.validationError"),
            Err(refusal) => refused(rules, &refusal),
        }
    }

    /// `None`: the request is for something else. A fault meets the requests for the next batch.
    fn of_the_queue(&self, rules: &Rules, account: &mut Account) -> Option<Response> {
        let queue = rules.queue.as_ref()?;
        let path = self.path.strip_prefix(&rules.base_path)?.strip_prefix('/')?;
        let is_last = places_in(&queue.last_path, path).is_some();
        places_in(&queue.path, path).filter(|_| !is_last).map(|_| ()).or(is_last.then_some(()))?;
        let gone = json(404, &[], "{}".to_owned());
        let next = !is_last && self.method == Method::GET && self.param(&queue.again).is_none();
        let fault = if next { account.meet(When::FirstPage) } else { None };
        let rows = account.page_rows;
        let kept = &mut account.queue;
        let answer = match (&self.method, is_last) {
            (&Method::PUT, false) => kept.make(queue, &self.params),
            _ if !kept.is_made() => return Some(gone),
            (_, true) => kept.told_last(queue),
            // What is refused hands nothing out; what is cut off did.
            (_, false) if matches!(fault, Some(Fault::Status(_) | Fault::RetryAfter(..) | Fault::TokenEnded)) => {
                return self.refusing(rules, fault.as_ref());
            }
            (_, false) => kept.hand_out(queue, &self.params, rows),
        };
        Some(match answer {
            queue::Answer::Body(body) => told(JSON, &[], body, fault.as_ref()),
            queue::Answer::Refused(status) => json(status, &[], "{}".to_owned()),
        })
    }

    /// The answer to a request that a fault refuses; `None`: it does not.
    fn refusing(&self, rules: &Rules, fault: Option<&Fault>) -> Option<Response> {
        Some(match fault? {
            Fault::Status(status) => json(*status, &[], "{\"errors\":[\"a fault\"]}".to_owned()),
            Fault::RetryAfter(status, secs) => {
                let name = rules.rate.retry_header.clone().unwrap_or_else(|| "Retry-After".to_owned());
                json(*status, &[(name, secs.to_string())], "{}".to_owned())
            }
            Fault::TokenEnded => json(401, &[], "{}".to_owned()),
            Fault::Code(code) if self.soap.is_some() => soap_fault(code),
            Fault::Code(code) => refused(rules, &Refusal { status: 400, error: (*code).to_owned() }),
            Fault::Half | Fault::BrokenOff | Fault::Circle | Fault::PagesForgotten => return None,
        })
    }

    fn give_token(&self, token: &Token, account: &Account) -> Response {
        let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{KEY}")));
        if text(&self.headers, "authorization") != Some(&expected) {
            return json(401, &[], "{\"error\":\"invalid_client\"}".to_owned());
        }
        let expires = account.now() + i64::try_from(token.lifetime_secs).unwrap_or(i64::MAX) * 1000;
        let answer = serde_json::json!({
            "access_token": format!("t{}", account.tokens), "token_type": "Bearer", token.expiry_field.as_str(): iso_ms(expires),
        });
        json(200, &[], answer.to_string())
    }

    fn is_proven(&self, auth: &Auth, account: &Account) -> bool {
        let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("{KEY}:{password}")));
        let given = text(&self.headers, "authorization");
        match auth {
            Auth::ApiKey { any_password: false } => given == Some(&basic("")),
            Auth::ApiKey { any_password: true } => {
                let decoded = given.and_then(|given| STANDARD.decode(given.strip_prefix("Basic ")?).ok());
                decoded.is_some_and(|user| user.starts_with(format!("{KEY}:").as_bytes()))
            }
            Auth::KeyHeader { header, before } => text(&self.headers, header) == Some(&format!("{before}{KEY}")),
            Auth::UsernameToken => match &self.soap {
                Some(request) => request.login.as_ref().is_some_and(|(name, word)| name == CLIENT && word == KEY),
                None => given == Some(&format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{KEY}")))),
            },
            Auth::SessionLogin(login) => account.logins.is_open(text(&self.headers, &login.header)),
            Auth::ClientCredentials(_) => given == Some(&format!("Bearer t{}", account.tokens)),
        }
    }

    /// What is asked for.
    fn target<'r>(&self, rules: &'r Rules) -> Option<Target<'r>> {
        let path = self.path.strip_prefix(&rules.base_path)?.strip_prefix('/')?;
        let asked = self.soap.as_ref().map(|request| request.operation.as_str());
        let listed = || rules.streams.iter().filter(|stream| stream.listed && stream.operation.as_deref() == asked);
        // An exact path before one with a place in it: `opportunities/deleted` is no opportunity.
        let exact: Vec<&Stream> = listed().filter(|stream| stream.path == path).collect();
        if let Some(first) = exact.first() {
            let param = first.owner.as_ref().and_then(|owner| owner.param.as_ref());
            let owner = param.map(|name| self.param(name).unwrap_or_default().to_owned());
            let chosen = exact.iter().copied().filter(|stream| {
                stream.when.as_ref().is_some_and(|(name, value)| self.param(name) == Some(value.as_str()))
            });
            let chosen: Vec<&Stream> = chosen.collect();
            return Some(Target::Lists(if chosen.is_empty() { exact } else { chosen }, owner.into_iter().collect()));
        }
        let owned = listed().find_map(|stream| Some((stream, places_in(&stream.path, path)?)));
        if let Some((stream, owner)) = owned {
            return Some(Target::Lists(vec![stream], owner));
        }
        let by_id = |stream: &&'r Stream| {
            stream.by_id.as_ref().and_then(|by_id| places_in(&by_id.path, path)?.into_iter().next())
        };
        let id = rules.streams.iter().find_map(|stream| by_id(&stream))?;
        Some(Target::Row(rules.streams.iter().filter(|stream| by_id(stream).is_some()).collect(), id))
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn give(&self, state: &State, account: &Account, stream: &Stream, page: Page, fault: Option<Fault>) -> Response {
        let rules = &*state.rules;
        let own = self.param(rules.paging.next.param());
        let next = match fault {
            Some(Fault::Circle) => own.map(str::to_owned).or(page.next.clone()),
            _ => page.next.clone(),
        };
        let mut headers = Vec::new();
        if let (Next::Link { param }, Some(next)) = (&rules.paging.next, &next) {
            let link = format!("<{}{}?{param}={}>; rel=\"next\"", state.origin, self.path, encode(next));
            headers.push(("Link".to_owned(), link));
        }
        if stream.operation.is_some() {
            return told(XML, &headers, self.envelope(rules, stream, page), fault.as_ref());
        }
        let body = self.body(state, stream, page, next);
        let place = if stream.single { &stream.rows } else { stream.place(rules) };
        told(JSON, &headers, self.by_graphql(account, Some(stream), place.as_deref(), &body), fault.as_ref())
    }

    /// The body as it is; by GraphQL what was selected of it. `rows` is the place of the rows, which are those of `stream`.
    fn by_graphql(&self, account: &Account, stream: Option<&Stream>, rows: Option<&str>, body: &Value) -> String {
        let Some(Ok(request)) = &self.graphql else { return body.to_string() };
        let examples = stream.map_or(Vec::new(), |stream| account.like(&stream.name));
        request.answer(body, rows, &examples).unwrap_or_else(graphql::refused)
    }

    /// The same by SOAP.
    fn envelope(&self, rules: &Rules, stream: &Stream, page: Page) -> String {
        let mut rest = Value::Null;
        if let Next::Number { total: Some(total), .. } = &rules.paging.next {
            insert(&mut rest, total, page.pages.into());
        }
        if let Some(soap) = &rules.soap {
            insert(&mut rest, &soap.count, page.rows.len().into());
        }
        let rows: Vec<Value> = page.rows.into_iter().map(|(_, row)| row).collect();
        soap::answer(rules, stream, &rest, &rows)
    }

    /// The rows with what stands around them.
    fn body(&self, state: &State, stream: &Stream, page: Page, next: Option<String>) -> Value {
        let rules = &*state.rules;
        let mut rows = page.rows.into_iter();
        let rows = match (stream.single, stream.keyed) {
            (true, _) => rows.next().map_or(Value::Null, |(_, row)| row),
            (false, true) => Value::Object(rows.collect()),
            (false, false) => rows.map(|(_, row)| row).collect(),
        };
        let place = if stream.single { &stream.rows } else { stream.place(rules) };
        let mut body = around(place.as_deref(), rows);
        if !stream.paged || place.is_none() {
            return body;
        }
        if let Some(errors) = &rules.answer.errors {
            insert(&mut body, &errors.flag, true.into());
        }
        match &rules.paging.next {
            Next::Link { .. } | Next::Offset { .. } => {}
            Next::Token { field, more, encoded, .. } => {
                if let Some(more) = more {
                    insert(&mut body, more, next.is_some().into());
                }
                match next {
                    Some(next) => insert(&mut body, field, if *encoded { encode(&next) } else { next }.into()),
                    // The last row of a connection has a cursor too.
                    None if self.graphql.is_some() => insert(&mut body, field, "the-end".into()),
                    None => {}
                }
            }
            Next::Number { param, url, last, total } => {
                if let Some(total) = total {
                    insert(&mut body, total, page.pages.into());
                }
                if let Some(last) = last {
                    insert(&mut body, last, next.is_none().into());
                }
                if let Some((place, next)) = url.as_ref().zip(next) {
                    insert(&mut body, place, self.url(state, param, &next).into());
                }
            }
        }
        if let Some((rule, token)) = rules.sync.as_ref().zip(page.sync) {
            insert(&mut body, &rule.field, token.into());
        }
        body
    }

    /// The URL of this request with another value of a parameter.
    fn url(&self, state: &State, param: &str, value: &str) -> String {
        let others =
            self.params.iter().filter(|(name, _)| name != param).map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs = others.chain([(param, value)]).map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        format!("{}{}?{}", state.origin, self.path, pairs.collect::<Vec<_>>().join("&"))
    }
}

/// What a request asks for.
enum Target<'r> {
    /// Lists of one path, and whose they are.
    Lists(Vec<&'r Stream>, Vec<String>),
    /// One row, of any of these lists.
    Row(Vec<&'r Stream>, String),
}

/// A value at a place of an object that holds nothing else.
fn around(place: Option<&str>, value: Value) -> Value {
    let Some(place) = place else { return value };
    let mut body = Value::Null;
    insert(&mut body, place, value);
    body
}

/// An answer, or what a fault makes of it.
fn told(content_type: &str, headers: &[(String, String)], body: String, fault: Option<&Fault>) -> Response {
    match fault {
        Some(Fault::Half) => truncated(content_type, headers, body, false),
        Some(Fault::BrokenOff) => truncated(content_type, headers, body, true),
        _ => http::answer(200, content_type, headers, body),
    }
}

/// SOAP 1.1, section 6.2: a fault comes with 500.
fn soap_fault(code: &str) -> Response {
    http::answer(500, XML, &[], soap::fault(code))
}

/// A refusal as the vendor tells it.
fn refused(rules: &Rules, refusal: &Refusal) -> Response {
    if rules.graphql.is_some() {
        return json(200, &[], graphql::refused(&refusal.error));
    }
    match &rules.answer.errors {
        Some(errors) => {
            let body = serde_json::json!({errors.flag.as_str(): false, errors.codes.as_str(): [refusal.error]});
            json(200, &[], body.to_string())
        }
        None => json(refusal.status, &[], serde_json::json!({"errors": [refusal.error]}).to_string()),
    }
}

/// What stands in the places `{…}` of `pattern`, each a part of the path, if `path` is like it otherwise.
fn places_in(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (wanted, given) = (pattern.split('/'), path.split('/'));
    if wanted.clone().count() != given.clone().count() {
        return None;
    }
    let mut found = Vec::new();
    for (wanted, given) in wanted.zip(given) {
        if wanted.starts_with('{') && wanted.ends_with('}') {
            let (_, decoded) = query_pairs(&format!("id={given}")).pop()?;
            if given.is_empty() {
                return None;
            }
            found.push(decoded);
        } else if wanted != given {
            return None;
        }
    }
    Some(found)
}

/// Percent-encodes what is no letter, digit, `-`, `.`, `_` or `~`.
fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_stands_in_the_path_and_nowhere_else() {
        let owner = |path: &str| places_in("opportunities/{owner}/offers", path);
        assert_eq!(owner("opportunities/a-1/offers"), Some(vec!["a-1".to_owned()]));
        assert_eq!(owner("opportunities/a%20b/offers"), Some(vec!["a b".to_owned()]));
        for none in ["opportunities//offers", "opportunities/a/b/offers", "opportunities/a/notes", "offers"] {
            assert_eq!(owner(none), None, "{none}");
        }
    }
}
