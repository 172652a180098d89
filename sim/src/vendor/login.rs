//! A user's session: the authorization code, the token and the session, each good for one use or until it ends.

use std::collections::BTreeSet;

use axum::response::Response;
use serde_json::json;

use super::page::Params;
use super::{CLIENT, KEY};
use crate::http;
use crate::rules::SessionLogin;

/// What was given out and is good.
#[derive(Debug, Default)]
pub(super) struct Logins {
    serial: u64,
    codes: BTreeSet<String>,
    /// A token opens one session.
    tokens: BTreeSet<String>,
    /// It works once, and each answer holds another.
    refresh: Option<String>,
    session: Option<String>,
}

impl Logins {
    /// `None`: the request is for something else.
    pub(super) fn answer(
        &mut self,
        rules: &SessionLogin,
        path: &str,
        params: &Params,
        base_url: &str,
    ) -> Option<Response> {
        let given = |name: &str| params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let refused = |status, why: &str| http::json(status, &[], json!({"errorMessage": why}).to_string());
        if path == rules.authorize {
            let known = given("client_id") == CLIENT && given("username") == CLIENT && given("password") == KEY;
            if !known || given("response_type") != "code" {
                return Some(http::answer(200, "text/html", &[], "<html>a login page</html>".to_owned()));
            }
            let code = self.next("code");
            self.codes.insert(code.clone());
            let to = format!("https://client.example/callback?code={code}");
            return Some(http::json(302, &[("Location".to_owned(), to)], String::new()));
        }
        if path == rules.token {
            let client = given("client_id") == CLIENT && given("client_secret") == KEY;
            let good = match given("grant_type") {
                "authorization_code" => self.codes.remove(given("code")),
                "refresh_token" => self.refresh.take_if(|kept| kept == given("refresh_token")).is_some(),
                _ => false,
            };
            if !client || !good {
                return Some(refused(400, "invalid_grant"));
            }
            let (token, refresh) = (self.next("token"), self.next("refresh"));
            self.tokens.insert(token.clone());
            let answer = json!({"access_token": token, "refresh_token": refresh, "expires_in": rules.lifetime_secs});
            self.refresh = Some(refresh);
            return Some(http::json(200, &[], answer.to_string()));
        }
        if path == rules.login {
            if !self.tokens.remove(given("access_token")) {
                return Some(refused(400, "Invalid or expired OAuth access token."));
            }
            let session = self.next("session");
            let answer = json!({rules.session.as_str(): session, rules.url.as_str(): base_url});
            self.session = Some(session);
            return Some(http::json(200, &[], answer.to_string()));
        }
        None
    }

    pub(super) fn is_open(&self, session: Option<&str>) -> bool {
        self.session.is_some() && self.session.as_deref() == session
    }

    /// No session is good any more.
    pub(super) fn end(&mut self) {
        self.session = None;
    }

    fn next(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}-{}", self.serial)
    }
}
