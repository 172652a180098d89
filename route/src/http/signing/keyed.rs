//! A keyed hash over a request, as data: which header holds it, what it is taken over, how it is written.
//!
//! The words are those by which a vendor's manifest says how its deliveries are proven (`docs/manifest.md`,
//! `webhook.signature.hmac`): what one of them signs, this signs too. Of several secrets each gives a hash: in one header,
//! or each in a header of its own.

use hirewire_service::Secret;
use hirewire_service::hmac::{Algorithm, Encoding};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{SigningError, Unsigned};

/// The checked form of `signing.hmac`.
#[derive(Debug, Clone)]
pub(crate) struct Scheme {
    pub(crate) secrets: Vec<Secret>,
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: Encoding,
    /// One for all hashes, or as many as secrets.
    pub(crate) headers: Vec<HeaderName>,
    /// In front of each hash.
    pub(crate) before: String,
    /// Between what stands in one header.
    pub(crate) between: String,
    /// Whether the whole value of a header is in base64, beside the hash in it.
    pub(crate) is_wrapped: bool,
    pub(crate) signed: Vec<Part>,
    /// Between those parts.
    pub(crate) by: String,
    pub(crate) sent_at: Option<SentAt>,
}

/// A part of what the hash is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The exact bytes of the body.
    Body,
    /// In capitals, as `POST`.
    Method,
    /// Of the URL, with the query behind it.
    Path,
    /// A header's value; of one that is not there nothing.
    Header(HeaderName),
    /// The time of sending, which stands beside the hash.
    SentAt,
    /// As it is written.
    Text(String),
}

/// Where a request says when it is sent.
#[derive(Debug, Clone)]
pub(crate) struct SentAt {
    pub(crate) place: TimePlace,
    pub(crate) unit: Unit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimePlace {
    Header(HeaderName),
    /// `<name>=` and the time, before the hash in its header.
    Claim(String),
}

/// Since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
}

impl Scheme {
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The time, if it has a header, and then the hash.
    ///
    /// # Errors
    /// When a secret cannot be read.
    pub(super) fn put(
        &self,
        request: &Unsigned<'_>,
        now: Timestamp,
        headers: &mut HeaderMap,
    ) -> Result<(), SigningError> {
        let time = self.sent_at.as_ref().map(|sent_at| sent_at.unit.text(now)).unwrap_or_default();
        let mut claims = Vec::new();
        match self.sent_at.as_ref().map(|sent_at| &sent_at.place) {
            Some(TimePlace::Header(name)) => put(headers, name, &time)?,
            Some(TimePlace::Claim(name)) => claims.push(format!("{name}={time}")),
            None => {}
        }
        let signed = self.signed(request, &time, headers);
        let mut hashes = Vec::with_capacity(self.secrets.len());
        for secret in &self.secrets {
            let hash = self.algorithm.hash(&secret.bytes()?, &[&signed]);
            hashes.push(format!("{}{}", self.before, self.encoding.encode(&hash)));
        }
        match self.headers.as_slice() {
            [one] => {
                claims.append(&mut hashes);
                put(headers, one, &self.value(&claims))
            }
            each => each.iter().zip(hashes).try_for_each(|(name, hash)| {
                let all: Vec<String> = claims.iter().cloned().chain([hash]).collect();
                put(headers, name, &self.value(&all))
            }),
        }
    }

    fn value(&self, claims: &[String]) -> String {
        let value = claims.join(&self.between);
        if self.is_wrapped { Encoding::Base64.encode(value.as_bytes()) } else { value }
    }

    fn signed(&self, request: &Unsigned<'_>, time: &str, headers: &HeaderMap) -> Vec<u8> {
        let path = match request.url.query() {
            Some(query) => format!("{}?{query}", request.url.path()),
            None => request.url.path().to_owned(),
        };
        let part = |part: &Part| match part {
            Part::Body => request.body.to_vec(),
            Part::Method => request.method.as_str().into(),
            Part::Path => path.as_str().into(),
            Part::Header(name) => headers.get(name).map(|value| value.as_bytes().to_vec()).unwrap_or_default(),
            Part::SentAt => time.into(),
            Part::Text(text) => text.as_str().into(),
        };
        self.signed.iter().map(part).collect::<Vec<_>>().join(self.by.as_bytes())
    }
}

fn put(headers: &mut HeaderMap, name: &HeaderName, text: &str) -> Result<(), SigningError> {
    // The settings let nothing through that a header cannot hold.
    let value = HeaderValue::from_str(text).map_err(|_| SigningError::Shape)?;
    headers.insert(name.clone(), value);
    Ok(())
}

impl Unit {
    fn text(self, time: Timestamp) -> String {
        match self {
            Self::Seconds => time.as_second().to_string(),
            Self::Milliseconds => time.as_millisecond().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hirewire_yaml::Problems;
    use reqwest::{Method, Url};

    use super::*;
    use crate::settings::read_scheme;

    fn scheme(text: &str, secrets: &[&str]) -> Scheme {
        let mut problems = Problems::new();
        let secrets = secrets.iter().map(|secret| Secret::from_value(*secret)).collect();
        let scheme = read_scheme(&hirewire_yaml::parse("s.yaml", text).unwrap(), secrets, &mut problems);
        problems.into_result(scheme).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The headers that a PUT of `body` gets at 1,700,000,000.5 s.
    fn signed(text: &str, secrets: &[&str], body: &str) -> HeaderMap {
        let url = Url::parse("https://x.example/v1/a%20b?c=d").unwrap();
        let unsigned = Unsigned { key: "k", method: &Method::PUT, url: &url, body: body.as_bytes() };
        let mut headers = HeaderMap::from_iter([(HeaderName::from_static("x-api"), HeaderValue::from_static("7"))]);
        let now = Timestamp::from_millisecond(1_700_000_000_500).unwrap();
        scheme(text, secrets).put(&unsigned, now, &mut headers).unwrap();
        headers
    }

    /// Computed by `openssl dgst -sha1|-sha256|-sha512 -hmac KEY`; the first is Checkr's own vector
    /// (`checkr/webhook-verification-examples`).
    #[test]
    fn hashes_are_those_of_other_programs() {
        let of = |algorithm: &str, encoding: &str, key: &str, body: &str| {
            let text = format!("{{algorithm: {algorithm}, encoding: {encoding}, header: s, signed: body}}");
            signed(&text, &[key], body)["s"].to_str().unwrap().to_owned()
        };
        let checkr = "b7412f05e981a473b5ecbdb5393afaea02a679db6d7c8e56803512ec4ba98151";
        assert_eq!(of("sha256", "hex", "test-secret", "{\"monday\":\"75F\",\"tuesday\":\"80F\"}"), checkr);
        assert_eq!(of("sha1", "hex", "key", "body"), "70bbf6819d1037aa94ca7e7f537cbea25fe49283");
        assert_eq!(of("sha1", "base64", "key", "body"), "cLv2gZ0QN6qUyn5/U3y+ol/kkoM=");
        assert_eq!(
            of("sha512", "hex", "key", "body"),
            "b71e82b42ece244182aae00f5c418d84b5b0ac844874765e658e91b26261b32df39e9fcbf44424d0e3b53bab192e78a4936224ec940cf953164b70aacdd4c845"
        );
    }

    #[test]
    fn what_is_signed_is_put_together_as_it_is_written() {
        let text = "{algorithm: sha256, encoding: hex, header: X-Signature, before: 'v0=', between: ',', \
            signed: {joined: {by: ':', parts: [{text: v0}, {claim: t}, method, path, {header: X-Api}, {header: X-None}, body]}}, \
            sent_at: {epoch_s: {claim: t}}}";
        let scheme = scheme(text, &["key"]);
        let headers = signed(text, &["key"], "{}");
        let hash = scheme.algorithm.hash(b"key", &[b"v0:1700000000:PUT:/v1/a%20b?c=d:7::{}"]);
        assert_eq!(headers["x-signature"], format!("t=1700000000,v0={}", hex::encode(&hash)));
        let wrapped = signed(&text.replace("before:", "decoded: base64, before:"), &["key"], "{}");
        assert_eq!(wrapped["x-signature"], STANDARD.encode(headers["x-signature"].as_bytes()));
    }

    #[test]
    fn during_a_change_of_secrets_each_has_its_hash() {
        let (one, two) = ("{algorithm: sha256, encoding: base64, header: a, between: ' ', signed: body}", ["k", "l"]);
        let joined = signed(one, &two, "x");
        let hash = |key: &[u8]| STANDARD.encode(Algorithm::Sha256.hash(key, &[b"x"]));
        assert_eq!(joined["a"], format!("{} {}", hash(b"k"), hash(b"l")));
        let each = "{algorithm: sha256, encoding: base64, header: [a, b], signed: {joined: {parts: [{header: at}, body], \
            by: ''}}, sent_at: {epoch_ms: {header: at}}}";
        let each = signed(each, &two, "x");
        assert_eq!(each["at"], "1700000000500");
        let hash = |key: &[u8]| STANDARD.encode(Algorithm::Sha256.hash(key, &[b"1700000000500x"]));
        assert_eq!((&each["a"], &each["b"]), (&hash(b"k").parse().unwrap(), &hash(b"l").parse().unwrap()));
    }

    #[test]
    fn every_mistake_of_a_scheme_comes_with_its_line_and_a_hint() {
        let told = |text: &str, secrets: usize| {
            let mut problems = Problems::new();
            let secrets = vec![Secret::from_value("k"); secrets];
            let read = read_scheme(&hirewire_yaml::parse("s.yaml", text).unwrap(), secrets, &mut problems);
            assert!(read.is_none(), "{text}");
            problems.to_string()
        };
        let plain = "{algorithm: sha256, encoding: hex, header: a, signed: body";
        for (text, secrets, expected) in [
            ("{}", 1, "`algorithm` is missing"),
            ("{algorithm: md5, encoding: hex, header: a, signed: body}", 1, "s.yaml:1: \"md5\" is not known here"),
            (&format!("{plain}, within: 5m}}"), 1, "unknown key \"within\""),
            (&format!("{plain}}}"), 2, "several things in one header, and nothing between them (add `between: \",\"`)"),
            (
                &plain.replace("header: a", "header: [a, b], between: x").replace("body", "body}"),
                3,
                "2 headers for 3 secrets",
            ),
            (
                &plain.replace("header: a", "header: Content-Length").replace("body", "body}"),
                1,
                "`content-length` is set elsewhere",
            ),
            (&format!("{plain}, before: \"a\\nb\"}}"), 1, "no header can hold this"),
            (&format!("{plain}, sent_at: {{epoch_s: {{header: t}}}}}}"), 1, "a time that is not signed"),
            (&format!("{plain}, sent_at: {{}}}}"), 1, "neither `epoch_ms` nor `epoch_s`"),
            (&plain.replace("body", "{joined: {parts: [method], by: ''}}}"), 1, "the body is not signed"),
            (&plain.replace("body", "{joined: {parts: [body, {claim: t}], by: ''}}}"), 1, "nothing says what `t=` is"),
            (
                &plain.replace("body", "{joined: {parts: [body, {header: Host}], by: ''}}}"),
                1,
                "`host` is not there yet",
            ),
        ] {
            let told = told(text, secrets);
            assert!(told.contains(expected), "{expected} not in {told}");
        }
    }
}
