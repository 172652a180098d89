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

use super::account::{Account, Fault, When};
use super::body::scalar;
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
        let Some((stream, owner)) = self.list(rules) else { return json(404, &[], "{}".to_owned()) };
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
        if let Some((of, id)) = stream.owner.as_ref().zip(owner.as_deref())
            && !account.knows(&of.stream, id)
        {
            return refused(rules, &Refusal { status: 404, error: of.gone.clone() });
        }
        match page(rules, account, stream, owner.as_deref(), &self.params) {
            Ok(page) => {
                account.served += page.rows.len() as u64;
                account.page_was_given(page.next.is_some());
                self.give(state, page, fault)
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
        let expected = match auth {
            Auth::ApiKey => format!("Basic {}", STANDARD.encode(format!("{KEY}:"))),
            Auth::ClientCredentials(_) => format!("Bearer t{}", account.tokens),
        };
        text(&self.headers, "authorization") == Some(&expected)
    }

    /// The list that is asked for, and whose it is.
    fn list<'r>(&self, rules: &'r Rules) -> Option<(&'r Stream, Option<String>)> {
        let path = self.path.strip_prefix(&rules.base_path)?.strip_prefix('/')?;
        // An exact path before one with a place in it: `opportunities/deleted` is no opportunity.
        let exact = rules.streams.iter().find(|stream| stream.path == path);
        let found = exact
            .map(|stream| (stream, None))
            .or_else(|| rules.streams.iter().find_map(|stream| Some((stream, Some(owner_in(&stream.path, path)?)))));
        let (stream, owner) = found?;
        let param = stream.owner.as_ref().and_then(|owner| owner.param.as_ref());
        let told = param.map(|name| {
            let value = self.params.iter().find(|(key, _)| key == name);
            value.map(|(_, value)| value.clone()).unwrap_or_default()
        });
        Some((stream, owner.or(told)))
    }

    fn give(&self, state: &State, page: Page, fault: Option<Fault>) -> Response {
        let rules = &*state.rules;
        let own = self.params.iter().find(|(name, _)| name == rules.paging.next.param());
        let next = match fault {
            Some(Fault::Circle) => own.map(|(_, cursor)| cursor.clone()).or(page.next),
            _ => page.next,
        };
        let mut headers = Vec::new();
        if let (Next::Link { param }, Some(next)) = (&rules.paging.next, &next) {
            let link = format!("<{}{}?{param}={}>; rel=\"next\"", state.origin, self.path, encode(next));
            headers.push(("Link".to_owned(), link));
        }
        let body = body(rules, &page.rows, next, page.sync);
        match fault {
            Some(Fault::Half) => truncated(&headers, body, false),
            Some(Fault::BrokenOff) => truncated(&headers, body, true),
            _ => json(200, &headers, body),
        }
    }
}

/// The rows with what stands around them.
fn body(rules: &Rules, rows: &[String], next: Option<String>, sync: Option<String>) -> String {
    let list = format!("[{}]", rows.join(","));
    let Some(key) = &rules.answer.rows else { return list };
    let mut members = Vec::new();
    if let Some(errors) = &rules.answer.errors {
        members.push(format!("\"{}\":true", errors.flag));
    }
    members.push(format!("\"{key}\":{list}"));
    if let Next::Token { field, more, encoded, .. } = &rules.paging.next {
        members.push(format!("\"{more}\":{}", next.is_some()));
        let written = next.map(|next| if *encoded { encode(&next) } else { next });
        members.extend(written.map(|next| format!("\"{field}\":{}", Value::from(next))));
    }
    if let Some(rule) = &rules.sync {
        members.extend(sync.map(|token| format!("\"{}\":{}", rule.field, Value::from(token))));
    }
    format!("{{{}}}", members.join(","))
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

/// The id in the place of `{owner}`, if `path` is `pattern` otherwise.
fn owner_in(pattern: &str, path: &str) -> Option<String> {
    let (before, after) = pattern.split_once("{owner}")?;
    let id = path.strip_prefix(before)?.strip_suffix(after)?;
    let decoded = query_pairs(&format!("id={id}")).pop()?.1;
    (!id.is_empty() && !id.contains('/')).then_some(decoded)
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
        let owner = |path: &str| owner_in("opportunities/{owner}/offers", path);
        assert_eq!(owner("opportunities/a-1/offers").as_deref(), Some("a-1"));
        assert_eq!(owner("opportunities/a%20b/offers").as_deref(), Some("a b"));
        for none in ["opportunities//offers", "opportunities/a/b/offers", "opportunities/a/notes", "offers"] {
            assert_eq!(owner(none), None, "{none}");
        }
    }
}
