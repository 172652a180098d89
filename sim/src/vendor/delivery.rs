//! Deliveries, signed as the vendor signs them, and spoilt in ways that must be noticed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::body::{at, scalar};
use crate::rules::{Claim, Encoding, Signed, WebhookRules};
use crate::sign::hmac;

/// What goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// How a signed delivery is spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    None,
    /// What is signed is another.
    Altered,
    /// The hash lacks its end.
    HashCutOff,
    /// The hash is written in letters of the other case: of hex the same bytes, of base64 others.
    OtherCase,
    /// There is no hash.
    Unsigned,
}

/// Brings deliveries.
#[derive(Debug, Clone)]
pub struct Courier(reqwest::Client);

impl Courier {
    /// # Errors
    /// When no client can be made.
    pub fn new() -> Result<Self, reqwest::Error> {
        reqwest::Client::builder().no_proxy().build().map(Self)
    }

    /// Sends a delivery, once; gives the status of the answer.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn deliver(&self, url: &str, delivery: &Delivery) -> Result<u16, reqwest::Error> {
        let mut request = self.0.post(url).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        Ok(request.send().await?.status().as_u16())
    }
}

/// A delivery of `event`, the body of a fixture, signed with `secret` and sent at `sent_at_ms`.
#[must_use]
pub fn sign(rules: &WebhookRules, event: &Value, secret: &[u8], sent_at_ms: i64, tamper: Tamper) -> Delivery {
    let signature = &rules.signature;
    let mut value = event.clone();
    if let Some(field) = &signature.sent_at {
        set(&mut value, field, sent_at_ms.into());
    }
    let plain = value.to_string();
    let signed = match &signature.signed {
        Signed::Body => plain.clone(),
        Signed::Fields(fields) => fields.iter().filter_map(|field| at(&value, field).and_then(scalar)).collect(),
    };
    let hash = spoilt(encoded(signature.encoding, &hmac(secret, &[signed.as_bytes()])), signature.encoding, tamper);
    let claim = format!("{}{hash}", signature.prefix);
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    if let Some(name) = &rules.event_id_header {
        headers.push((name.clone(), hex::encode(hmac(secret, &[plain.as_bytes()]))));
    }
    if let (Signed::Fields(fields), Tamper::Altered) = (&signature.signed, tamper)
        && let Some(first) = fields.first()
    {
        set(&mut value, first, "another".into());
    }
    let mut body = match &signature.claim {
        Claim::Header(name) => {
            if tamper != Tamper::Unsigned {
                headers.push((name.clone(), claim));
            }
            plain
        }
        Claim::Field(field) => {
            set(&mut value, field, if tamper == Tamper::Unsigned { Value::Null } else { claim.into() });
            value.to_string()
        }
    };
    if tamper == Tamper::Altered && signature.signed == Signed::Body {
        body.push(' ');
    }
    Delivery { headers, body }
}

/// Puts a member into an object.
fn set(value: &mut Value, key: &str, member: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), member);
    }
}

fn encoded(encoding: Encoding, hash: &[u8]) -> String {
    match encoding {
        Encoding::HexLower => hex::encode(hash),
        Encoding::Base64 => STANDARD.encode(hash),
    }
}

fn spoilt(mut hash: String, encoding: Encoding, tamper: Tamper) -> String {
    match (tamper, encoding) {
        (Tamper::HashCutOff, _) => hash.truncate(hash.len() - 4),
        (Tamper::OtherCase, Encoding::HexLower) => hash.make_ascii_uppercase(),
        (Tamper::OtherCase, Encoding::Base64) => {
            hash = hash
                .chars()
                .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
                .collect();
        }
        (Tamper::None | Tamper::Altered | Tamper::Unsigned, _) => {}
    }
    hash
}
