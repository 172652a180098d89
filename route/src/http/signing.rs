//! How a request is signed: by Standard Webhooks, or by a keyed hash as its receiver wants it.
//!
//! In: a request as it is about to be sent. Out: headers beside its own. Each attempt is signed anew, with the secrets and
//! the time of then.

pub(crate) mod keyed;
pub(crate) mod standard;

use hirewire_service::{Secret, SecretError};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};

use keyed::Scheme;
use standard::Signer;

#[derive(Debug, Clone)]
pub(crate) enum Signing {
    Standard(Signer),
    Keyed(Scheme),
}

/// Why nothing could be signed. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    #[error("a signing secret cannot be read")]
    Unreadable(#[from] SecretError),
    #[error(
        "a signing secret is neither `whsec_` and 24 to 64 bytes in base64 nor `whsk_` and an Ed25519 key (32 bytes, or 64 with the public one behind it) in base64; write such a one into its file"
    )]
    Shape,
}

/// A request without its signature.
pub(crate) struct Unsigned<'a> {
    /// What it is known by to its receiver.
    pub(crate) key: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) body: &'a [u8],
}

impl Signing {
    pub(crate) fn secrets(&self) -> &[Secret] {
        match self {
            Self::Standard(signer) => signer.secrets(),
            Self::Keyed(scheme) => scheme.secrets(),
        }
    }

    /// Whether requests are signed that deliver nothing: questions for what was created before.
    pub(crate) fn signs_questions(&self) -> bool {
        matches!(self, Self::Keyed(_))
    }

    /// Puts the signature beside `headers`, which are signed as they are now.
    ///
    /// # Errors
    /// When a secret cannot be read, or is of the wrong shape.
    pub(crate) fn sign(
        &self,
        request: &Unsigned<'_>,
        now: Timestamp,
        headers: &mut HeaderMap,
    ) -> Result<(), SigningError> {
        match self {
            Self::Standard(signer) => signer.put(request, now, headers),
            Self::Keyed(scheme) => scheme.put(request, now, headers),
        }
    }
}
