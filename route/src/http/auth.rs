//! How a sink shows who we are: a header made of a secret, a token that is asked for, a certificate of our own.
//!
//! In: settings whose secrets are read when they are used. Out: a header that no log shows, an identity for TLS.

use std::hash::{DefaultHasher, Hash, Hasher};

use hirewire_service::{Secret, SecretError};
use openssl::pkey::PKey;
use openssl::x509::X509;
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

/// Changes when a secret changes.
pub(super) fn fingerprint<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for secret in secrets {
        secret.bytes().ok().hash(&mut hasher);
    }
    hasher.finish()
}

/// Our own certificate, for mutual TLS: PEM, the chain behind it, and its key in PKCS #8.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: Secret,
    pub(crate) key: Secret,
}

/// Why there is no identity. Holds nothing of the key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    Absent(#[from] SecretError),
    #[error("it is no certificate in PEM")]
    Certificate,
    #[error("it is no key in PEM and PKCS #8 (BEGIN PRIVATE KEY)")]
    Key,
    #[error("it is not the key of the certificate")]
    Strangers,
}

impl Identity {
    pub(super) fn secrets(&self) -> [&Secret; 2] {
        [&self.certificate, &self.key]
    }

    /// # Errors
    /// [`IdentityError`].
    pub(crate) fn check(&self) -> Result<(), IdentityError> {
        let (certificate, key) = (self.certificate.bytes()?, self.key.bytes()?);
        let theirs = X509::from_pem(&certificate).and_then(|first| first.public_key());
        let theirs = theirs.map_err(|_| IdentityError::Certificate)?;
        native_tls::Identity::from_pkcs8(&certificate, &key).map_err(|_| IdentityError::Key)?;
        let own = PKey::private_key_from_pem(&key).map_err(|_| IdentityError::Key)?;
        if own.public_eq(&theirs) { Ok(()) } else { Err(IdentityError::Strangers) }
    }

    /// `None` when a file cannot be read or the two do not fit.
    pub(super) fn read(&self) -> Option<reqwest::Identity> {
        match self.check() {
            Ok(()) => reqwest::Identity::from_pkcs8_pem(&self.certificate.bytes().ok()?, &self.key.bytes().ok()?).ok(),
            Err(error) => {
                tracing::warn!(%error, "a sink's certificate cannot be used");
                None
            }
        }
    }
}
