//! How a request proves who asks, and where that is asked for.

use hirewire_yaml::{Node, Problems};

use super::read::text;

/// How a request proves who asks.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    /// A key as the user of HTTP Basic: without a password, or with any.
    ApiKey {
        any_password: bool,
    },
    /// A key in a header of its own, behind this text.
    KeyHeader {
        header: String,
        before: String,
    },
    ClientCredentials(Token),
    SessionLogin(SessionLogin),
    /// User and password, in the header of an envelope (WS-Security, UsernameToken); by HTTP Basic where there is none.
    UsernameToken,
}

/// OAuth 2 client credentials: where a token is asked for, and how long it is good.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) path: String,
    pub(crate) grant_type: String,
    pub(crate) lifetime_secs: u64,
    /// Where its answer says until when, as an instant.
    pub(crate) expiry_field: String,
}

/// A user's session: a code for the user's password, a token for the code or for a refresh token, a session for the token.
#[derive(Debug, Clone)]
pub(crate) struct SessionLogin {
    /// Paths of the three, behind the address that the settings name.
    pub(crate) authorize: String,
    pub(crate) token: String,
    pub(crate) login: String,
    /// Seconds that a token is good.
    pub(crate) lifetime_secs: u64,
    /// Of the login's answer: the session's key, and the address that its requests go to.
    pub(crate) session: String,
    pub(crate) url: String,
    /// The header that takes the key.
    pub(crate) header: String,
}

impl Auth {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (kind, value) =
            node.tagged(&["api_key", "key_header", "client_credentials", "session_login", "username_token"], problems)?;
        let mut map = value.map(problems)?;
        let auth = match kind {
            "api_key" => {
                let any = map.get("password").map_or(Some(false), |node| node.choice(&[("any", true)], problems));
                Some(Self::ApiKey { any_password: any? })
            }
            "key_header" => Some(Self::KeyHeader {
                header: text(&mut map, "header", problems)?,
                before: map.get("before").map_or(Some(""), |node| node.text(problems))?.to_owned(),
            }),
            "client_credentials" => Some(Self::ClientCredentials(Token {
                path: text(&mut map, "path", problems)?,
                grant_type: text(&mut map, "grant_type", problems)?,
                lifetime_secs: map.require("lifetime_secs", problems)?.whole(1, problems)?,
                expiry_field: text(&mut map, "expiry_field", problems)?,
            })),
            "session_login" => Some(Self::SessionLogin(SessionLogin {
                authorize: text(&mut map, "authorize", problems)?,
                token: text(&mut map, "token", problems)?,
                login: text(&mut map, "login", problems)?,
                lifetime_secs: map.require("lifetime_secs", problems)?.whole(1, problems)?,
                session: text(&mut map, "session", problems)?,
                url: text(&mut map, "url", problems)?,
                header: text(&mut map, "header", problems)?,
            })),
            _ => Some(Self::UsernameToken),
        };
        map.finish(problems);
        auth
    }
}
