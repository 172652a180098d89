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
use super::page::{Page, Params, page};
use super::{CLIENT, KEY, State};
use crate::clock::iso_ms;
use crate::http::{json, query_pairs, text, truncated};
use crate::rules::{Auth, Next, Refusal, Rules, Send, Stream, Token};

const MAX_BODY: usize = 1024 * 1024;

pub(super) async fn answer(Shared(state): Shared<Arc<State>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        params: match state.rules.send {
            Send::Query => query_pairs(parts.uri.query().unwrap_or_default()),
            Send::JsonBody => fields(&body),
        },
        headers: parts.headers,
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
}

impl Asked {
    fn answer(&self, state: &State, account: &mut Account) -> Response {
        let rules = &*state.rules;
        if let Some(token) = rules.token().filter(|token| token.path == self.path) {
            return self.give_token(token, account);
        }
        account.asked.push(std::time::Instant::now());
        if !self.is_proven(&rules.auth, account) {
            return json(401, &[], "{\"errors\":[\"unauthorized\"]}".to_owned());
        }
        let method = if rules.send == Send::Query { Method::GET } else { Method::POST };
        if self.method != method {
            return json(405, &[], String::new());
        }
        if rules.send == Send::JsonBody && text(&self.headers, "content-type") != Some("application/json") {
            return json(415, &[], String::new());
        }
        if let Some((_, status)) = rules.required_headers.iter().find(|(name, _)| !self.headers.contains_key(*name)) {
            return json(*status, &[], "{\"errors\":[\"a header is missing\"]}".to_owned());
        }
        let Some(target) = self.target(rules) else { return json(404, &[], "{}".to_owned()) };
        let later = self.params.iter().any(|(name, _)| name == rules.paging.next.param());
        let fault = account.meet(if later { When::LaterPage } else { When::FirstPage });
        match fault {
            Some(Fault::Status(status)) => return json(status, &[], "{\"errors\":[\"a fault\"]}".to_owned()),
            Some(Fault::RetryAfter(status, secs)) => {
                let name = rules.rate.retry_header.clone().unwrap_or_else(|| "Retry-After".to_owned());
                return json(status, &[(name, secs.to_string())], "{}".to_owned());
            }
            Some(Fault::TokenEnded) => return json(401, &[], "{}".to_owned()),
            Some(Fault::Code(code)) => return refused(rules, &Refusal { status: 400, error: code.to_owned() }),
            Some(Fault::Half | Fault::BrokenOff | Fault::Circle | Fault::PagesForgotten) | None => {}
        }
        let (streams, owner) = match target {
            Target::Row(streams, id) => {
                let found = streams.into_iter().find_map(|stream| Some((stream, account.one(&stream.name, &id)?)));
                let Some((stream, version)) = found else { return json(404, &[], "{}".to_owned()) };
                let place = stream.by_id.as_ref().and_then(|by_id| by_id.row.as_deref());
                return told(&[], around(place, version.value.clone()), fault.as_ref());
            }
            Target::Lists(streams, owner) => (streams, owner),
        };
        let Some(stream) = streams.first() else { return json(404, &[], "{}".to_owned()) };
        if let Some(of) = stream.owner.as_ref().filter(|of| !account.has_lists_of(of, &owner)) {
            return refused(rules, &Refusal { status: 404, error: of.gone.clone() });
        }
        match page(rules, account, &streams, &owner, &self.params) {
            Ok(page) => {
                account.served += page.rows.len() as u64;
                account.page_was_given(page.next.is_some());
                self.give(state, stream, page, fault)
            }
            Err(refusal) => refused(rules, &refusal),
        }
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
            Auth::ClientCredentials(_) => given == Some(&format!("Bearer t{}", account.tokens)),
        }
    }

    /// What is asked for.
    fn target<'r>(&self, rules: &'r Rules) -> Option<Target<'r>> {
        let path = self.path.strip_prefix(&rules.base_path)?.strip_prefix('/')?;
        let listed = || rules.streams.iter().filter(|stream| stream.listed);
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

    fn give(&self, state: &State, stream: &Stream, page: Page, fault: Option<Fault>) -> Response {
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
        let body = self.body(state, stream, page, next);
        told(&headers, body, fault.as_ref())
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
            Next::Link { .. } => {}
            Next::Token { field, more, encoded, .. } => {
                if let Some(more) = more {
                    insert(&mut body, more, next.is_some().into());
                }
                if let Some(next) = next {
                    insert(&mut body, field, if *encoded { encode(&next) } else { next }.into());
                }
            }
            Next::Number { param, url, last } => {
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
fn told(headers: &[(String, String)], body: Value, fault: Option<&Fault>) -> Response {
    match fault {
        Some(Fault::Half) => truncated(headers, body.to_string(), false),
        Some(Fault::BrokenOff) => truncated(headers, body.to_string(), true),
        _ => json(200, headers, body.to_string()),
    }
}

/// A refusal as the vendor tells it.
fn refused(rules: &Rules, refusal: &Refusal) -> Response {
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
