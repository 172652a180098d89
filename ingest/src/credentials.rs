//! What proves a connection to its vendor, as configured: of the kind that the vendor's manifest names.
//!
//! Settings in, references to secrets out; a value is read when it is used.

use hirewire_service::Secret;
use hirewire_yaml::{Map, Node, Problems};

use crate::manifest::{Auth, ClientCredentials, RefreshToken, url};

/// What proves who asks.
#[derive(Debug, Clone)]
pub enum Credentials {
    Client(ClientSecrets),
    Refresh(RefreshSecrets),
    Session(SessionSecrets),
    ApiKey(Secret),
    User { name: Secret, password: Secret },
}

/// For tokens by OAuth 2 client credentials.
#[derive(Debug, Clone)]
pub struct ClientSecrets {
    pub client_id: Secret,
    pub client_secret: Secret,
    /// The vendor's user to act as; `None` acts as the credential itself.
    pub act_as: Option<String>,
    pub token_url: String,
}

/// For tokens by a refresh token that a person's consent gave.
#[derive(Debug, Clone)]
pub struct RefreshSecrets {
    pub client_id: Secret,
    pub client_secret: Secret,
    /// The first one. Each use gives another, which is kept.
    pub refresh_token: Secret,
    pub token_url: String,
}

/// For a session of a user.
#[derive(Debug, Clone)]
pub struct SessionSecrets {
    pub client_id: Secret,
    pub client_secret: Secret,
    pub username: Secret,
    pub password: Secret,
    /// `None`: the vendor is asked which data centre the user's is.
    pub servers: Option<ServerUrls>,
}

/// A data centre's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrls {
    pub oauth: String,
    pub login: String,
}

impl Credentials {
    pub(crate) fn read(map: &mut Map<'_>, auth: &Auth, problems: &mut Problems) -> Option<Self> {
        match auth {
            Auth::BasicApiKey { .. } | Auth::ApiKeyHeader { .. } => secret(map, "api_key", problems).map(Self::ApiKey),
            Auth::Oauth2ClientCredentials(auth) => ClientSecrets::read(map, auth, problems).map(Self::Client),
            Auth::Oauth2RefreshToken(auth) => RefreshSecrets::read(map, auth, problems).map(Self::Refresh),
            Auth::SessionLogin(_) => SessionSecrets::read(map, problems).map(Self::Session),
            Auth::UsernameToken { or: Some(auth) } if map.get("refresh_token").is_some() => {
                RefreshSecrets::read(map, auth, problems).map(Self::Refresh)
            }
            Auth::UsernameToken { .. } => {
                let (name, password) = (secret(map, "username", problems), secret(map, "password", problems));
                Some(Self::User { name: name?, password: password? })
            }
        }
    }
}

impl ClientSecrets {
    fn read(map: &mut Map<'_>, auth: &ClientCredentials, problems: &mut Problems) -> Option<Self> {
        let client_id = secret(map, "client_id", problems);
        let client_secret = secret(map, "client_secret", problems);
        let act_as = map.get("act_as").and_then(|node| {
            if auth.act_as.is_none() {
                problems.add(node, "this vendor cannot act as a user", "remove `act_as`");
            }
            node.name(problems).map(str::to_owned)
        });
        let token_url = map.get("token_url").map_or(Some(auth.token_url.clone()), |node| url(node, problems));
        Some(Self { client_id: client_id?, client_secret: client_secret?, act_as, token_url: token_url? })
    }
}

impl RefreshSecrets {
    fn read(map: &mut Map<'_>, auth: &RefreshToken, problems: &mut Problems) -> Option<Self> {
        let client_id = secret(map, "client_id", problems);
        let client_secret = secret(map, "client_secret", problems);
        let refresh_token = secret(map, "refresh_token", problems);
        let token_url = match map.get("token_url") {
            Some(node) => url(node, problems),
            None if auth.per_customer => {
                let hint = format!("this vendor has one for each customer, as {}", auth.token_url);
                problems.add(map.node(), "`token_url` is missing beside `refresh_token`", hint);
                None
            }
            None => Some(auth.token_url.clone()),
        };
        Some(Self {
            client_id: client_id?,
            client_secret: client_secret?,
            refresh_token: refresh_token?,
            token_url: token_url?,
        })
    }
}

impl SessionSecrets {
    fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let client_id = secret(map, "client_id", problems);
        let client_secret = secret(map, "client_secret", problems);
        let username = secret(map, "username", problems);
        let password = secret(map, "password", problems);
        let servers = match (map.get("oauth_url"), map.get("login_url")) {
            (None, None) => Some(None),
            (Some(oauth), Some(login)) => {
                let (oauth, login) = (url(oauth, problems), url(login, problems));
                oauth.zip(login).map(|(oauth, login)| Some(ServerUrls { oauth, login }))
            }
            (Some(node), None) | (None, Some(node)) => {
                let hint = "name both, or none: then the vendor is asked for them";
                problems.add(node, "one of `oauth_url` and `login_url` without the other", hint);
                None
            }
        };
        Some(Self {
            client_id: client_id?,
            client_secret: client_secret?,
            username: username?,
            password: password?,
            servers: servers?,
        })
    }
}

fn secret(map: &mut Map<'_>, key: &'static str, problems: &mut Problems) -> Option<Secret> {
    map.require(key, problems).and_then(|node: &Node| Secret::read(node, problems))
}
