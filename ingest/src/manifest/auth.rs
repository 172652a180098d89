//! How a request proves who asks: the `auth:` part of an API.

use hirewire_yaml::{Map, Node, Problems};

use super::values::{header, header_value, list_path, optional, pairs, path, required_path, required_text, url};
use crate::json::Path;

/// How a request proves who asks.
#[derive(Debug)]
pub enum Auth {
    Oauth2ClientCredentials(ClientCredentials),
    Oauth2RefreshToken(RefreshToken),
    SessionLogin(Box<SessionLogin>),
    /// An API key as the user of HTTP Basic, with a password that everybody may know, or none.
    BasicApiKey {
        password: Option<String>,
    },
    /// An API key in a header, in lower case; `before` stands in front of it there.
    ApiKeyHeader {
        header: String,
        before: String,
    },
    /// User and password: in the envelope of a request by SOAP (WS-Security's UsernameToken), by HTTP Basic for others.
    UsernameToken {
        /// In their place, where a connection has a refresh token.
        or: Option<RefreshToken>,
    },
}

/// RFC 6749 section 4.4.
#[derive(Debug)]
pub struct ClientCredentials {
    pub token_url: String,
    pub(crate) rules: TokenRules,
    /// The parameter that names a user to act as, where the vendor has one.
    pub act_as: Option<String>,
}

/// RFC 6749 section 6, where each answer may hold another refresh token in the place of the one that was used.
#[derive(Debug)]
pub struct RefreshToken {
    pub token_url: String,
    /// Each customer has a URL of its own, which a connection must name: `token_url` is what such a one looks like.
    pub(crate) per_customer: bool,
    pub(crate) rules: TokenRules,
}

/// How tokens are asked for, and what an answer holds.
#[derive(Debug)]
pub(crate) struct TokenRules {
    pub(crate) client: ClientIn,
    pub(crate) life: Life,
}

/// Where a request for a token holds the client's id and secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientIn {
    /// HTTP Basic; the other parameters as a form.
    Basic,
    /// With the other parameters, as a form.
    Form,
    /// With the other parameters, in the URL.
    Query,
}

/// Where an answer says how long its token is good.
#[derive(Debug)]
pub(crate) enum Life {
    /// Until an instant (RFC 3339).
    Until(Path),
    /// For so many seconds.
    Seconds(Path),
}

/// A user's session at one of several data centres: first a token by OAuth 2, then a session by the token.
#[derive(Debug)]
pub struct SessionLogin {
    pub servers: Servers,
    /// Paths behind the data centre's OAuth address.
    pub(crate) authorize: String,
    pub(crate) token: String,
    /// Sent with the user's name and password for an authorization code (RFC 6749 section 4.1).
    pub(crate) params: Vec<(String, String)>,
    pub(crate) rules: TokenRules,
    pub(crate) login: Login,
}

/// How a user's data centre is found.
#[derive(Debug)]
pub struct Servers {
    /// Answers with the addresses of a user's data centre.
    pub url: String,
    /// The parameter that takes the user's name.
    pub(crate) user: String,
    /// Where the answer holds the address of OAuth, and that of the login.
    pub(crate) oauth: Path,
    pub(crate) login: Path,
    /// Nothing secret is sent to a host outside this domain, whatever an answer says.
    pub(crate) within: String,
}

/// How a token becomes a session.
#[derive(Debug)]
pub(crate) struct Login {
    /// Behind the data centre's address.
    pub(crate) path: String,
    /// The parameter that takes the token. It is good for one login.
    pub(crate) token: String,
    pub(crate) params: Vec<(String, String)>,
    /// Where the answer holds the session's key, and the header that takes it, in lower case.
    pub(crate) session: Path,
    pub(crate) header: String,
}

impl Auth {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let kinds = node.tagged(
            &[
                "oauth2_client_credentials",
                "oauth2_refresh_token",
                "session_login",
                "basic_api_key",
                "api_key_header",
                "username_token",
            ],
            problems,
        );
        let (kind, value) = kinds?;
        if kind == "session_login" {
            return SessionLogin::read(value, problems).map(Box::new).map(Self::SessionLogin);
        }
        let mut map = value.map(problems)?;
        if kind == "username_token" {
            let or = map.get("or_refresh_token").map(|node| RefreshToken::of_a_customer(node, problems));
            map.finish(problems);
            return optional(or).map(|or| Self::UsernameToken { or });
        }
        if kind == "basic_api_key" {
            let password = map.get("password").map(|node| node.name(problems).map(str::to_owned));
            map.finish(problems);
            return optional(password).map(|password| Self::BasicApiKey { password });
        }
        if kind == "api_key_header" {
            let name = map.require("header", problems).and_then(|node| header(node, problems));
            let before = map.get("before").map_or(Some(""), |node| header_value(node, problems));
            map.finish(problems);
            return Some(Self::ApiKeyHeader { header: name?, before: before?.to_owned() });
        }
        let token_url = map.require("token_url", problems).and_then(|node| url(node, problems));
        let rules = TokenRules::read(&mut map, problems);
        if kind == "oauth2_refresh_token" {
            map.finish(problems);
            let (token_url, per_customer) = (token_url?, false);
            return Some(Self::Oauth2RefreshToken(RefreshToken { token_url, per_customer, rules: rules? }));
        }
        let act_as = map.get("act_as").and_then(|node| node.text(problems)).map(str::to_owned);
        map.finish(problems);
        Some(Self::Oauth2ClientCredentials(ClientCredentials { token_url: token_url?, rules: rules?, act_as }))
    }

    /// The header that a request's proof stands in, in lower case, if it is one of the vendor's own.
    pub(super) fn own_header(&self) -> Option<&str> {
        match self {
            Self::ApiKeyHeader { header, .. } => Some(header),
            Self::SessionLogin(rules) => Some(&rules.login.header),
            Self::Oauth2ClientCredentials(_)
            | Self::Oauth2RefreshToken(_)
            | Self::BasicApiKey { .. }
            | Self::UsernameToken { .. } => None,
        }
    }
}

impl RefreshToken {
    fn of_a_customer(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let token_url = map.require("token_url", problems).and_then(|node| url(node, problems));
        let rules = TokenRules::read(&mut map, problems);
        map.finish(problems);
        Some(Self { token_url: token_url?, per_customer: true, rules: rules? })
    }
}

impl TokenRules {
    fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let places = [("basic", ClientIn::Basic), ("form", ClientIn::Form), ("query", ClientIn::Query)];
        let client = map.get("client").map_or(Some(ClientIn::Basic), |node| node.choice(&places, problems));
        let life = match (map.get("expires_at"), map.get("expires_in")) {
            (Some(_), Some(node)) => {
                problems.add(
                    node,
                    "both `expires_at` and `expires_in`",
                    "an instant, or the seconds until then: keep one",
                );
                None
            }
            (None, Some(node)) => path(node, problems).map(Life::Seconds),
            _ => required_path(map, "expires_at", problems).map(Life::Until),
        };
        Some(Self { client: client?, life: life? })
    }
}

impl SessionLogin {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let servers = map.require("servers", problems).and_then(|node| Servers::read(node, problems));
        let authorize = place(&mut map, "authorize", problems);
        let token = place(&mut map, "token", problems);
        let params = pairs(map.get("params"), problems);
        let rules = TokenRules::read(&mut map, problems);
        let login = map.require("login", problems).and_then(|node| Login::read(node, problems));
        map.finish(problems);
        Some(Self {
            servers: servers?,
            authorize: authorize?,
            token: token?,
            params: params?,
            rules: rules?,
            login: login?,
        })
    }
}

impl Servers {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let address = map.require("url", problems).and_then(|node| url(node, problems));
        let user = required_text(&mut map, "user", problems);
        let oauth = required_path(&mut map, "oauth", problems);
        let login = required_path(&mut map, "login", problems);
        let within = map.require("within", problems).and_then(|node| domain(node, problems));
        map.finish(problems);
        Some(Self { url: address?, user: user?, oauth: oauth?, login: login?, within: within? })
    }
}

impl Login {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let path = place(&mut map, "path", problems);
        let token = required_text(&mut map, "token", problems);
        let params = pairs(map.get("params"), problems);
        let session = required_path(&mut map, "session", problems);
        let name = map.require("header", problems).and_then(|node| header(node, problems));
        map.finish(problems);
        Some(Self { path: path?, token: token?, params: params?, session: session?, header: name? })
    }
}

/// A path behind an address.
fn place(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    map.require(key, problems).and_then(|node| list_path(node, &[], problems)).map(str::to_owned)
}

/// `vendor.example`: a domain, whose hosts are trusted.
fn domain(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.name(problems)?;
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if text.split('.').count() < 2 || !text.split('.').all(label) {
        problems.add(node, format!("\"{text}\" is not a domain"), "write vendor.example, without a protocol");
        return None;
    }
    Some(text.to_ascii_lowercase())
}
