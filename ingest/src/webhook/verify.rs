//! The proof that a delivery comes from the vendor.
//!
//! [`Delivery`] in, [`VerifiedRequest`] out: nothing else makes one. The signature is taken over the bytes that the
//! vendor made, the body, values in it or headers beside it, never re-serialised, and compared in constant time. A request is called forged only
//! when every configured secret could be read: our own faults never look like the vendor's.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hirewire_service::Secret;
use hmac::{Hmac as Keyed, KeyInit, Mac};
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use crate::connection::Connection;
use crate::json;
use crate::manifest::{Algorithm, Encoding, Hmac, Part, Place, SentAt, Signature, Signed};

/// Signatures of one request that are looked at. More is no rotation.
const MAX_SIGNATURES: usize = 16;

/// A delivery that nobody has vouched for yet.
#[derive(Debug)]
pub struct Delivery {
    pub connection: Arc<Connection>,
    pub headers: HeaderMap,
    /// After decompression, at most as long as the settings allow.
    pub body: Bytes,
    pub received_at: Timestamp,
}

/// A delivery of which the vendor's signature is proven.
#[derive(Debug)]
pub struct VerifiedRequest(Delivery);

impl VerifiedRequest {
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.0
    }
}

/// Why a delivery is not accepted as the vendor's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// Surely not signed with a secret of this connection.
    Forged(&'static str),
    /// A secret could not be read, so nothing is sure. Says which, never its value.
    SecretNotLoaded(String),
}

/// The secrets of one connection: one, or two while a new one is brought in.
#[derive(Debug, Clone)]
pub struct Verifier {
    secrets: Vec<Secret>,
}

impl Verifier {
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self { secrets }
    }

    /// Checks the vendor's signature by `scheme`. Secrets are read anew each time, so that a changed file counts.
    ///
    /// # Errors
    /// When no secret proves it.
    pub fn verify(&self, scheme: &Signature, delivery: Delivery) -> Result<VerifiedRequest, Unproven> {
        let hmac = match scheme {
            Signature::None => return Ok(VerifiedRequest(delivery)),
            Signature::Hmac(hmac) => hmac,
        };
        let claimed = hmac.claims(&delivery);
        let Some(signed) = hmac.signed(&delivery) else {
            return Err(Unproven::Forged("the body lacks what is signed"));
        };
        let mut unread = None;
        for secret in &self.secrets {
            match secret.bytes() {
                Ok(key) if key.is_empty() => unread = Some("an empty secret".to_owned()),
                Ok(key) => {
                    let proof = hmac.compute(&key, &signed);
                    if claimed.iter().any(|claim| bool::from(claim.ct_eq(&proof))) {
                        return match &hmac.sent_at {
                            Some(sent_at) if !sent_at.is_recent(&delivery) => {
                                Err(Unproven::Forged("it is signed, but was not sent just now"))
                            }
                            _ => Ok(VerifiedRequest(delivery)),
                        };
                    }
                }
                Err(error) => unread = Some(error.to_string()),
            }
        }
        Err(match unread {
            Some(which) => Unproven::SecretNotLoaded(which),
            None if claimed.is_empty() => Unproven::Forged("no readable signature"),
            None => Unproven::Forged("the signature does not match"),
        })
    }
}

impl SentAt {
    fn is_recent(&self, delivery: &Delivery) -> bool {
        let sent = self.at.text(&delivery.headers, &delivery.body).and_then(|text| self.format.read(&text));
        sent.is_some_and(|sent| delivery.received_at.duration_since(sent).unsigned_abs() <= self.within)
    }
}

impl Hmac {
    /// What the delivery says its hash is.
    fn claims(&self, delivery: &Delivery) -> Vec<Vec<u8>> {
        let values: Vec<String> = match &self.claim {
            Place::Header(name) => {
                let values = delivery.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
                values.map(str::to_owned).collect()
            }
            Place::Field(path) => json::scalar(&delivery.body, path).into_iter().collect(),
        };
        let claims = values.iter().flat_map(|value| match &self.between {
            None => vec![value.as_str()],
            Some(between) => value.split(between.as_str()).map(str::trim).collect(),
        });
        claims.take(MAX_SIGNATURES).filter_map(|claim| self.decode(claim.as_bytes())).collect()
    }

    /// The bytes that the hash is taken over; `None` if the body lacks one of the values.
    fn signed<'d>(&self, delivery: &'d Delivery) -> Option<Cow<'d, [u8]>> {
        let body = &delivery.body;
        match &self.signed {
            Signed::Body => Some(Cow::Borrowed(body)),
            Signed::Fields(paths) => {
                let values: Option<Vec<String>> = paths.iter().map(|path| json::scalar(body, path)).collect();
                Some(Cow::Owned(values?.concat().into_bytes()))
            }
            Signed::Joined { parts, by } => {
                let value = |part: &Part| -> &[u8] {
                    match part {
                        Part::Body => body,
                        Part::Header(name) => delivery.headers.get(name).map_or(&[][..], |value| value.as_bytes()),
                    }
                };
                Some(Cow::Owned(parts.iter().map(value).collect::<Vec<_>>().join(by.as_bytes())))
            }
        }
    }

    /// The hash that a value claims; `None` when it has another shape.
    fn decode(&self, value: &[u8]) -> Option<Vec<u8>> {
        let encoded = value.strip_prefix(self.before.as_bytes())?;
        match self.encoding {
            Encoding::Hex => hex::decode(encoded).ok(),
            Encoding::Base64 => BASE64.decode(encoded).ok(),
        }
    }

    fn compute(&self, key: &[u8], body: &[u8]) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Sha1 => keyed::<Keyed<sha1::Sha1>>(key, body),
            Algorithm::Sha256 => keyed::<Keyed<sha2::Sha256>>(key, body),
            Algorithm::Sha512 => keyed::<Keyed<sha2::Sha512>>(key, body),
        }
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8], body: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length; the type cannot say so. An empty result equals no claim of a hash's length.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 section 4.3 and RFC 2202 section 3, test case 2 of both.
    #[test]
    fn the_hashes_are_those_of_the_rfcs() {
        let hmac = |algorithm| Hmac {
            algorithm,
            encoding: Encoding::Hex,
            claim: Place::Header("s".to_owned()),
            before: String::new(),
            between: None,
            signed: Signed::Body,
            sent_at: None,
        };
        let hash = |algorithm| hex::encode(hmac(algorithm).compute(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(hash(Algorithm::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(hash(Algorithm::Sha256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(
            hash(Algorithm::Sha512),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737"
        );
    }
}
