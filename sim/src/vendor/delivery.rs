//! Deliveries, signed as the vendor signs them, and spoilt in ways that must be noticed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::body::{at, scalar};
use crate::http::text;
use crate::rules::{Claim, Encoding, Part, SentAt, SignatureRules, Signed, WebhookRules};
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
        Ok(self.send(url, delivery).await?.status().as_u16())
    }

    /// Asks whether somebody listens: whether the answer is 200, with each header as it was sent.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn greet(&self, url: &str, greeting: &Delivery) -> Result<bool, reqwest::Error> {
        let answer = self.send(url, greeting).await?;
        let came_back = |(name, value): &(String, String)| text(answer.headers(), name) == Some(value.as_str());
        Ok(answer.status() == 200 && greeting.headers.iter().all(came_back))
    }

    async fn send(&self, url: &str, delivery: &Delivery) -> Result<reqwest::Response, reqwest::Error> {
        let mut request = self.0.post(url).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        request.send().await
    }
}

/// What a delivery tells.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its name; empty where nobody says it beside the body.
    pub event: String,
    pub body: Value,
    /// In the place of the header `link`.
    pub link: Option<String>,
    /// What names it, in the header that does; `None`: made of the body.
    pub id: Option<String>,
}

/// A delivery of `message`, signed with `secret` and sent at `sent_at_ms`.
#[must_use]
pub fn sign(rules: &WebhookRules, message: &Message, secret: &[u8], sent_at_ms: i64, tamper: Tamper) -> Delivery {
    let signature = &rules.signature;
    let mut value = message.body.clone();
    let seconds = sent_at_ms.div_euclid(1000).to_string();
    if let Some(SentAt::Field(field)) = &signature.sent_at {
        set(&mut value, field, sent_at_ms.into());
    }
    let plain = value.to_string();
    let mut headers = headers(rules, message, &plain, secret);
    if let Some(SentAt::Header(name)) = &signature.sent_at {
        headers.push((name.clone(), seconds.clone()));
    }
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let part = |part: &Part| match part {
        Part::Body => plain.as_str(),
        Part::SentAt => seconds.as_str(),
        Part::Header(name) => header(name).unwrap_or_default(),
    };
    let signed = match &signature.signed {
        Signed::Body => plain.clone(),
        Signed::Fields(fields) => fields.iter().filter_map(|field| at(&value, field).and_then(scalar)).collect(),
        Signed::Joined { parts, by } => parts.iter().map(part).collect::<Vec<_>>().join(by),
    };
    let claim = claim(signature, &signed, &seconds, secret, tamper);
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
    if tamper == Tamper::Altered && !matches!(signature.signed, Signed::Fields(_)) {
        body.push(' ');
    }
    Delivery { headers, body }
}

/// A request that asks whether somebody listens, if the vendor sends one.
#[must_use]
pub fn greeting(rules: &WebhookRules) -> Option<Delivery> {
    let name = rules.handshake.clone()?;
    Some(Delivery { headers: vec![(name, "a-word-of-the-vendor".to_owned())], body: String::new() })
}

/// All headers but those of the signature and the time of sending.
fn headers(rules: &WebhookRules, message: &Message, body: &str, secret: &[u8]) -> Vec<(String, String)> {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    if let Some(name) = &rules.event_id_header {
        let made = || hex::encode(hmac(secret, &[body.as_bytes()]));
        headers.push((name.clone(), message.id.clone().unwrap_or_else(made)));
    }
    for (name, value) in &rules.headers {
        let own = message.link.as_ref().filter(|_| name.eq_ignore_ascii_case("link"));
        headers.push((name.clone(), own.unwrap_or(value).clone()));
    }
    if let Claim::Header(name) = &rules.event {
        headers.push((name.clone(), message.event.clone()));
    }
    headers
}

/// What stands where the hash is claimed.
fn claim(rules: &SignatureRules, signed: &str, seconds: &str, secret: &[u8], tamper: Tamper) -> String {
    let hash = spoilt(encoded(rules.encoding, &hmac(secret, &[signed.as_bytes()])), rules.encoding, tamper);
    let mut claim = format!("{}{hash}", rules.prefix);
    if let Some(SentAt::Claim { before, by }) = &rules.sent_at {
        claim = format!("{before}{seconds}{by}{claim}");
    }
    if rules.wrapped { STANDARD.encode(claim) } else { claim }
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
