//! How a sink shows who we are: a header made of a secret, a token that is asked for.
//!
//! In: settings whose secrets are read when they are used. Out: a header that no log shows.

use hirewire_service::Secret;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::token::OAuth;

#[derive(Debug, Clone)]
pub(crate) enum Auth {
    Bearer(Secret),
    Basic { user: String, password: Secret },
    Header { name: HeaderName, value: Secret },
    OAuth(OAuth),
}

/// Shown in the place of a token that was not asked for.
const NO_TOKEN: &str = "Bearer -";

impl Auth {
    pub(super) fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Bearer(secret) | Self::Basic { password: secret, .. } | Self::Header { value: secret, .. } => {
                vec![secret]
            }
            Self::OAuth(oauth) => oauth.secrets(),
        }
    }

    /// The name of that header.
    pub(crate) fn name(&self) -> &HeaderName {
        match self {
            Self::Bearer(_) | Self::Basic { .. } | Self::OAuth(_) => &AUTHORIZATION,
            Self::Header { name, .. } => name,
        }
    }

    /// The header that carries it; of OAuth 2 without its token, which takes a request to get.
    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, text) = match self {
            Self::Bearer(secret) => (AUTHORIZATION, format!("Bearer {}", secret.text().ok()?)),
            Self::Basic { user, password } => (AUTHORIZATION, basic(user, &password.text().ok()?)),
            Self::Header { name, value } => (name.clone(), value.text().ok()?),
            Self::OAuth(_) => (AUTHORIZATION, NO_TOKEN.to_owned()),
        };
        Some((name, sensitive(&text)?))
    }
}

/// HTTP Basic (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// A header's value that is not shown.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
