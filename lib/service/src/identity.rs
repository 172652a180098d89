//! Our own certificate, which we show to who wants to see one (mutual TLS).
//!
//! In: settings that name two secrets. Out: an identity for TLS, made when it is used, so that a certificate that was
//! renewed is seen without a restart.

use hirewire_yaml::{Map, Problems};
use openssl::pkey::PKey;
use openssl::x509::X509;

use crate::secret::{Secret, SecretError};

/// PEM of a certificate, with the chain behind it, and of its key in PKCS #8.
#[derive(Debug, Clone)]
pub struct Identity {
    certificate: Secret,
    key: Secret,
}

/// Why there is no identity. Holds nothing of the key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
    /// Reads `certificate` and `key`, both or none. What is not there yet is an absence, as of any secret.
    pub fn read(map: &mut Map<'_>, problems: &mut Problems) -> Option<Option<Self>> {
        let (certificate, key) = match (map.get("certificate"), map.get("key")) {
            (None, None) => return Some(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (one, other) => {
                let (node, hint) = (one.or(other)?, "write `certificate` and `key`, or neither");
                problems.add(node, "a certificate of our own needs its key", hint);
                return None;
            }
        };
        let identity = Self { certificate: Secret::read(certificate, problems)?, key: Secret::read(key, problems)? };
        let Err(error) = identity.of_now() else { return Some(Some(identity)) };
        let (node, hint) = match error {
            IdentityError::Absent(_) => return Some(Some(identity)),
            IdentityError::Certificate => (certificate, "name a file that begins with our certificate"),
            IdentityError::Key => (key, "`openssl pkcs8 -topk8 -nodes` writes a key in this form"),
            IdentityError::Strangers => (key, "name the two that were made together"),
        };
        problems.add(node, error.to_string(), hint);
        None
    }

    #[must_use]
    pub fn secrets(&self) -> [&Secret; 2] {
        [&self.certificate, &self.key]
    }

    /// What is shown now.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn of_now(&self) -> Result<reqwest::Identity, IdentityError> {
        let (certificate, key) = (self.certificate.bytes()?, self.key.bytes()?);
        let theirs = X509::from_pem(&certificate).and_then(|first| first.public_key());
        let theirs = theirs.map_err(|_| IdentityError::Certificate)?;
        let identity = reqwest::Identity::from_pkcs8_pem(&certificate, &key).map_err(|_| IdentityError::Key)?;
        let own = PKey::private_key_from_pem(&key).map_err(|_| IdentityError::Key)?;
        if own.public_eq(&theirs) { Ok(identity) } else { Err(IdentityError::Strangers) }
    }
}
