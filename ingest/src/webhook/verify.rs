//! The proof that a delivery comes from the vendor.
//!
//! [`Delivery`] in, [`VerifiedRequest`] out: nothing else makes one. The signature is taken over the bytes that the
//! vendor made, the body, values in it or headers beside it, never re-serialised, and compared in constant time. A request is called forged only
//! when every configured secret could be read: our own faults never look like the vendor's.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use hirewire_service::Secret;
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use crate::connection::Connection;
use crate::json;
use crate::manifest::{Hmac, Part, Place, SentAt, Signature, Signed, TimePlace};

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

/// Judges by the secrets of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Verifier<'a> {
    secrets: &'a [Secret],
}

impl<'a> Verifier<'a> {
    #[must_use]
    pub fn new(secrets: &'a [Secret]) -> Self {
        Self { secrets }
    }

    /// Checks the vendor's signature by `scheme`. Secrets are read anew each time, so that a changed file counts.
    ///
    /// # Errors
    /// When no secret proves it.
    pub fn verify(&self, scheme: &Signature, delivery: Delivery) -> Result<VerifiedRequest, Unproven> {
        let hmac = match scheme {
            Signature::None => return Ok(VerifiedRequest(delivery)),
            Signature::Token(token) => {
                let claimed = delivery.headers.get(&token.header).map_or(&[][..], |value| value.as_bytes());
                let claimed = claimed.strip_prefix(token.before.as_bytes()).unwrap_or_default();
                self.prove(|secret| bool::from(claimed.ct_eq(secret)), claimed.is_empty())?;
                return Ok(VerifiedRequest(delivery));
            }
            Signature::Hmac(hmac) => hmac,
        };
        let claims = hmac.claims(&delivery);
        let claimed = hmac.hashes(&claims);
        let Some(signed) = hmac.signed(&delivery, &claims) else {
            return Err(Unproven::Forged("it lacks what is signed"));
        };
        let proves = |secret: &[u8]| {
            let proof = hmac.algorithm.hash(secret, &[&signed]);
            claimed.iter().any(|claim| bool::from(claim.ct_eq(&proof)))
        };
        self.prove(proves, claimed.is_empty())?;
        match &hmac.sent_at {
            Some(sent_at) if !sent_at.is_recent(&delivery, &claims) => {
                Err(Unproven::Forged("it is signed, but was not sent just now"))
            }
            _ => Ok(VerifiedRequest(delivery)),
        }
    }

    /// Whether one of the secrets does it. `nothing`: there is nothing that it could prove.
    fn prove(&self, proves: impl Fn(&[u8]) -> bool, nothing: bool) -> Result<(), Unproven> {
        let mut unread = None;
        for secret in self.secrets {
            match secret.bytes() {
                Ok(key) if key.is_empty() => unread = Some("an empty secret".to_owned()),
                Ok(key) if proves(&key) => return Ok(()),
                Ok(_) => {}
                Err(error) => unread = Some(error.to_string()),
            }
        }
        Err(match unread {
            Some(which) => Unproven::SecretNotLoaded(which),
            None if nothing => Unproven::Forged("no readable signature"),
            None => Unproven::Forged("the signature does not match"),
        })
    }
}

impl SentAt {
    fn is_recent(&self, delivery: &Delivery, claims: &Claims) -> bool {
        let text = match &self.at {
            TimePlace::Place(place) => place.text(&delivery.headers, &delivery.body),
            TimePlace::Claim(name) => claims.named(name).map(str::to_owned),
        };
        let sent = text.and_then(|text| self.format.read(&text));
        sent.is_some_and(|sent| delivery.received_at.duration_since(sent).unsigned_abs() <= self.within)
    }
}

/// What stands where the signature does: hashes, and what is signed beside the body.
struct Claims(Vec<String>);

impl Claims {
    /// What stands behind `<name>=`. Of several the first counts, whoever asks: the time that is judged is the one that
    /// is signed.
    fn named(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|claim| claim.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Hmac {
    fn claims(&self, delivery: &Delivery) -> Claims {
        let values: Vec<String> = match &self.claim {
            Place::Header(name) => {
                let names = std::iter::once(name).chain(&self.also);
                let values = names.flat_map(|name| delivery.headers.get_all(name));
                values.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
            }
            Place::Field(path) => json::scalar(&delivery.body, path).into_iter().collect(),
        };
        let values = values.into_iter().filter_map(|value| match self.decoded {
            None => Some(value),
            Some(encoding) => String::from_utf8(encoding.decode(value.as_bytes())?).ok(),
        });
        let claims = values.flat_map(|value| match &self.between {
            None => vec![value],
            Some(between) => value.split(between.as_str()).map(|claim| claim.trim().to_owned()).collect(),
        });
        Claims(claims.take(MAX_SIGNATURES).collect())
    }

    /// What the delivery says its hash is.
    fn hashes(&self, claims: &Claims) -> Vec<Vec<u8>> {
        claims.0.iter().filter_map(|claim| self.decode(claim.as_bytes())).collect()
    }

    /// The bytes that the hash is taken over; `None` if the body or the claims lack one of the values.
    fn signed<'d>(&self, delivery: &'d Delivery, claims: &Claims) -> Option<Cow<'d, [u8]>> {
        let body = &delivery.body;
        match &self.signed {
            Signed::Body => Some(Cow::Borrowed(body)),
            Signed::Fields(paths) => {
                let values: Option<Vec<String>> = paths.iter().map(|path| json::scalar(body, path)).collect();
                Some(Cow::Owned(values?.concat().into_bytes()))
            }
            Signed::Joined { parts, by } => {
                let value = |part: &Part| match part {
                    Part::Body => Some(&body[..]),
                    Part::Header(name) => Some(delivery.headers.get(name).map_or(&[][..], |value| value.as_bytes())),
                    Part::Claim(name) => claims.named(name).map(str::as_bytes),
                };
                Some(Cow::Owned(parts.iter().map(value).collect::<Option<Vec<_>>>()?.join(by.as_bytes())))
            }
        }
    }

    /// The hash that a value claims; `None` when it has another shape.
    fn decode(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.encoding.decode(value.strip_prefix(self.before.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use hirewire_service::hmac::Algorithm;

    use super::*;

    /// Whether a delivery with this value of the signature's header, made at 1000 seconds since 1970, is proven.
    fn is_proven(value: &str) -> bool {
        let manifest = "vendor: x\nwebhook:\n  signature: {hmac: {algorithm: sha256, encoding: hex, header: s, \
            decoded: base64, between: \",\", before: \"v2=\", signed: {joined: {parts: [{claim: t}, body], by: \".\"}}, \
            sent_at: {epoch_s: {claim: t}, within: 5m}}}\n  delivery_id: {header: s}\n  event: e\n  \
            subjects: {a: {Job: id}}\n";
        let manifest = crate::manifest::Manifest::parse("manifest.yaml", manifest).unwrap();
        let connection = Connection {
            name: "acme".to_owned(),
            tenant: "acme".to_owned(),
            manifest: manifest.clone(),
            webhook: None,
            poll: None,
        };
        let delivery = Delivery {
            connection: Arc::new(connection),
            headers: HeaderMap::from_iter([("s".parse().unwrap(), BASE64.encode(value).parse().unwrap())]),
            body: Bytes::from_static(b"{}"),
            received_at: Timestamp::from_second(1000).unwrap(),
        };
        let secrets = [Secret::from_value("key".to_owned())];
        Verifier::new(&secrets).verify(&manifest.webhook.as_ref().unwrap().signature, delivery).is_ok()
    }

    #[test]
    fn the_time_that_is_judged_is_the_one_that_is_signed() {
        let hash = |signed: &str| hex::encode(Algorithm::Sha256.hash(b"key", &[signed.as_bytes()]));
        let (now, old) = (hash("1000.{}"), hash("100.{}"));
        assert!(is_proven(&format!("t=1000,v2={now}")));
        assert!(is_proven(&format!("v2=00, v2={now}, u=7, t=1000")), "in any order, beside what is not known");
        for forged in [
            format!("t=100,v2={old}"),
            format!("t=1000,v2={old}"),
            format!("t=1000,t=100,v2={old}"),
            format!("t=100,t=1000,v2={old}"),
            format!("t=,v2={}", hash(".{}")),
            format!("v2={}", hash("{}")),
            format!("v2={now}"),
            format!("time=1000,v2={now}"),
            format!("t=1000,{now}"),
        ] {
            assert!(!is_proven(&forged), "{forged}");
        }
    }
}
